"""Anchoring for the server: asks the chain's process, and keeps every receipt in `anchors.jsonl`.

Must not import the chain: the EVM holds the interpreter lock for 10 ms and more at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ledger.errors import AnchorConflict, AnchorError, AnchorTimeout, AnchorWorkerDied, ChainError, LogLocked
from ledger.files import ANCHORS, CHAIN, write_all
from ledger.receipts import Receipt, parse_receipt, read_receipts

TIMEOUT_S = 30.0  # an anchor takes ~15 ms and a start ~1 s; this is for a machine that is badly short of time
ANSWER_BYTES_MAX = 4 * 1024 * 1024  # 1,000 receipts are ~400 kB
_REFUSALS = {error.__name__: error for error in (AnchorConflict, AnchorError, ChainError, LogLocked)}


class Anchorer:
    """Anchors one log's roots on one chain. Call from a thread: every method but the properties may block.

    `anchor` never blocks longer than about twice `timeout_s` (one wait for its turn, one for the chain).
    """

    def __init__(self, log_dir: Path | str, chain_dir: Path | str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.log_dir = Path(log_dir)
        self.chain_dir = Path(chain_dir) if chain_dir is not None else self.log_dir / CHAIN
        self.timeout_s = timeout_s
        self._turn = threading.Lock()
        self._worker: _Worker | None = None
        self._closed = False
        self._pending: int | None = None
        self._receipts = read_receipts(self.log_dir)[0]

    @property
    def last(self) -> Receipt | None:
        """The newest receipt: how far, and (its `block_time_s`) since when, the log is anchored."""
        return self._receipts[-1] if self._receipts else None

    @property
    def pending(self) -> int | None:
        """The size that the chain is asked to record at this moment."""
        return self._pending

    @property
    def worker_pid(self) -> int | None:
        return self._worker.process.pid if self._worker else None

    def receipts(self) -> tuple[Receipt, ...]:
        return tuple(self._receipts)

    def covering(self, index: int) -> Receipt | None:
        """The first anchor that contains entry `index`."""
        return next((receipt for receipt in self._receipts if receipt.size > index), None)

    def start(self) -> None:
        """Start the chain's process and fetch receipts that a crash left behind, so that the first anchor is quick."""
        deadline = time.monotonic() + self.timeout_s
        with _Turn(self._turn, self.timeout_s):
            self._running(deadline)

    def anchor(self, size: int, root: bytes) -> Receipt:
        """Record `root` of the first `size` entries, which are durable. The newest anchor again gives its receipt.

        Raises AnchorConflict (the chain has another history), AnchorTimeout, AnchorWorkerDied, ChainError; after any
        of them the next call settles what happened before it records anything.
        """
        with _Turn(self._turn, self.timeout_s):
            deadline = time.monotonic() + self.timeout_s
            self._pending = size
            try:
                try:
                    return self._anchored(size, root, deadline)
                except AnchorWorkerDied:  # killed since the last anchor: a new process knows what the chain has
                    self._stop()
                    return self._anchored(size, root, deadline)
            except (AnchorTimeout, AnchorWorkerDied):
                self._stop()
                raise
            finally:
                self._pending = None

    def close(self) -> None:
        """End the chain's process. May be called again."""
        with _Turn(self._turn, self.timeout_s):
            self._closed = True
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _anchored(self, size: int, root: bytes, deadline: float) -> Receipt:
        worker = self._running(deadline)
        last = self.last
        if last is not None and (last.size, last.root_bytes()) == (size, root):
            return last
        previous_root = last.root_bytes() if last is not None else bytes(32)
        request = {"do": "anchor", "previous_root": previous_root.hex(), "root": root.hex(), "size": size}
        receipt = parse_receipt(worker.ask(request, deadline)["receipt"])
        if (receipt.number, receipt.size, receipt.root_bytes()) != (len(self._receipts), size, root):
            raise AnchorConflict(f"{self.chain_dir}: asked for size {size}, the chain answered {receipt}")
        self._keep([receipt])
        return receipt

    def _running(self, deadline: float) -> _Worker:
        if self._closed:
            raise AnchorError("anchoring is closed; make a new Anchorer")
        if self._worker is not None and self._worker.process.poll() is None:
            return self._worker
        self._stop()
        try:
            worker = _Worker(self.chain_dir)
        except OSError as error:
            raise AnchorError(f"the anchor process cannot be started ({error}); free memory and try again") from error
        try:
            worker.answer(deadline)  # ready
            self._reconcile(worker, deadline)
        except AnchorError:
            worker.stop()
            raise
        except LogLocked as error:
            worker.stop()
            raise AnchorError(f"{error}") from error
        self._worker = worker
        return worker

    def _reconcile(self, worker: _Worker, deadline: float) -> None:
        """Compare the newest receipt with the chain's, and keep the ones the chain has beyond it."""
        self._receipts, whole_bytes = read_receipts(self.log_dir)
        path = self.log_dir / ANCHORS
        try:
            if path.exists() and path.stat().st_size != whole_bytes:
                os.truncate(path, whole_bytes)  # a line cut short by a crash; the chain still has its receipt
        except OSError as error:
            raise AnchorError(
                f"{path}: the torn last line cannot be cut off ({error}); make the file writable"
            ) from error
        last = self.last
        if last is not None:
            found = _receipts(worker.ask({"do": "receipts", "first": last.number}, deadline))
            if not found or found[0] != last:
                raise AnchorConflict(
                    f"{self.chain_dir}: the chain does not have anchor {last.number} (size {last.size}) of {path}: "
                    "give the chain that belongs to this log, or restore it from a copy"
                )
        while found := _receipts(worker.ask({"do": "receipts", "first": len(self._receipts)}, deadline)):
            self._keep(found)

    def _keep(self, receipts: list[Receipt]) -> None:
        path = self.log_dir / ANCHORS
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                write_all(descriptor, "".join(receipt.line() for receipt in receipts).encode())
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._stop()  # the next call reads the file again and asks the chain
            raise AnchorError(f"{path}: the disk refused a receipt ({error}); the chain has it, try again") from error
        self._receipts = [*self._receipts, *receipts]

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


class _Turn:
    """A lock that is waited for only so long."""

    def __init__(self, lock: threading.Lock, timeout_s: float) -> None:
        self._lock, self._timeout_s = lock, timeout_s

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._timeout_s):
            raise AnchorTimeout(f"another anchor is still under way after {self._timeout_s:g} s; try again later")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _Worker:
    """The chain's process and its two pipes."""

    def __init__(self, chain_dir: Path) -> None:
        source = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        self._buffer = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ledger.anchor_worker", str(chain_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C in the server's terminal must not end the chain first
        )

    def ask(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise AnchorWorkerDied(f"the anchor process ended ({error}); it is started again") from error
        return self.answer(deadline)

    def answer(self, deadline: float) -> dict[str, Any]:
        """The next line as an object. Raises what the worker refused with, AnchorTimeout, AnchorWorkerDied."""
        value: dict[str, Any] = json.loads(self._line(deadline))
        if "error" in value:
            raise _REFUSALS.get(value["error"], AnchorError)(value["message"])
        return value

    def stop(self) -> None:
        """Close its input, on which it ends, and make sure that it did."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(OSError):  # it is gone already
            self.process.stdin.close()
        try:
            self.process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _line(self, deadline: float) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._buffer:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                self.process.kill()
                raise AnchorTimeout("the chain did not answer in time; it is started again and asked what it has")
            data = os.read(descriptor, 65_536)
            if not data or len(self._buffer) > ANSWER_BYTES_MAX:
                self.process.kill()
                raise AnchorWorkerDied("the anchor process ended before it answered; it is started again")
            self._buffer += data
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        return bytes(line)


def _receipts(answer: dict[str, Any]) -> list[Receipt]:
    return [parse_receipt(value) for value in answer["receipts"]]
