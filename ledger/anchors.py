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
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ledger.anchoring import Event, Heard, NodeSettings
from ledger.errors import (
    AnchorConflict,
    AnchorError,
    AnchorReorganised,
    AnchorTimeout,
    AnchorWorkerDied,
    ChainError,
    ContractMissing,
    ContractRefused,
    LogLocked,
)
from ledger.files import ANCHORS, CHAIN, VOID_ANCHORS, replace, write_all
from ledger.receipts import Receipt, parse_receipt, read_receipts

TIMEOUT_S = 30.0  # an anchor takes ~15 ms and a start ~1 s; this is for a machine that is badly short of time
VOID_MAX = 64  # receipts that a chain may take back before a person has to look
ANSWER_BYTES_MAX = 4 * 1024 * 1024  # 1,000 receipts are ~400 kB
_REFUSALS = {
    error.__name__: error
    for error in (
        AnchorConflict, AnchorError, AnchorReorganised, AnchorTimeout, ChainError, ContractMissing,
        ContractRefused, LogLocked,
    )
}  # fmt: skip


class Anchorer:
    """Anchors one log's roots on one chain. Call from a thread: every method but the properties may block.

    `anchor` never blocks longer than about twice `timeout_s` (one wait for its turn, one for the chain).
    """

    def __init__(
        self,
        log_dir: Path | str,
        chain_dir: Path | str | None = None,
        timeout_s: float = TIMEOUT_S,
        node: NodeSettings | None = None,
    ) -> None:
        self.log_dir = Path(log_dir)
        self.chain_dir = Path(chain_dir) if chain_dir is not None else self.log_dir / CHAIN
        self.node = node
        self.timeout_s = timeout_s if node is None else timeout_s + 2 * node.timeout_s  # a contract may come first
        self.voided = 0  # receipts that the chain took back since the start
        self.writer = ""  # address that sends; known once the process runs
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
            except (AnchorTimeout, AnchorWorkerDied, AnchorReorganised):
                self._stop()  # the next call asks what the chain has
                raise
            finally:
                self._pending = None

    def send(self, contract: str, function: str, values: Sequence[Any]) -> dict[str, Any]:
        """Call a function of a registry as the chain's writer, for example `revoke(bytes32,bytes32)` of ModelRegistry;
        hashes are hex. The transaction (fields of Mined) and the contract's `address`, once it is in a block.

        Raises:
            ContractRefused: with its reason. AnchorTimeout: it may still come; look before repeating.
        """
        answer = self._asked({"do": "send", "contract": contract, "function": function, "values": list(values)})
        return {**answer["mined"], "address": answer["address"]}

    def view(self, contract: str, function: str, values: Sequence[Any]) -> bytes:
        """What a function of a contract answers. Raises ContractMissing where it is not on the chain."""
        answer = self._asked({"do": "view", "contract": contract, "function": function, "values": list(values)})
        return bytes.fromhex(answer["data"])

    def events(self, contract: str, event: str, from_block: int, confirmations: int) -> Heard:
        """What a contract said from a block on, at most 1,000 blocks of it, where it is deep enough."""
        asked = {"contract": contract, "event": event, "from_block": from_block, "depth": confirmations}
        answer = self._asked({"do": "events", **asked})
        events = tuple(Event(**{**one, "topics": tuple(one["topics"])}) for one in answer["events"])
        return Heard(events, answer["next_block"])

    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        with _Turn(self._turn, self.timeout_s):
            deadline = time.monotonic() + self.timeout_s
            try:
                return self._running(deadline).ask(request, deadline)
            except (AnchorTimeout, AnchorWorkerDied):
                self._stop()
                raise

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
            worker = _Worker(self.chain_dir, self.node)
        except OSError as error:
            raise AnchorError(f"the anchor process cannot be started ({error}); free memory and try again") from error
        try:
            self.writer = str(worker.answer(deadline)["writer"])
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
                self._void(worker, deadline)
        while found := _receipts(worker.ask({"do": "receipts", "first": len(self._receipts)}, deadline)):
            self._keep(found)

    def _void(self, worker: _Worker, deadline: float) -> None:
        """A node's chain took anchors back: what it no longer has goes to `anchors-void.jsonl`.

        Raises:
            AnchorConflict: the chain is our own, which never does, or it has none of the newest receipts.
        """
        path = self.log_dir / ANCHORS
        first = max(0, len(self._receipts) - VOID_MAX - 1)
        theirs = _receipts(worker.ask({"do": "receipts", "first": first}, deadline))
        same = sum(1 for ours, other in zip(self._receipts[first:], theirs, strict=False) if ours == other)
        keep = first + same
        if self.node is None or same == 0 or self._receipts[first:keep] != theirs[:same]:
            raise AnchorConflict(
                f"{self.chain_dir}: the chain {'has another' if theirs[same:] else 'does not have'} anchor "
                f"{self._receipts[-1].number} (size {self._receipts[-1].size}) of {path}: "
                "give the chain that belongs to this log, or restore it from a copy"
            )
        gone = self._receipts[keep:]
        try:
            self._append(self.log_dir / VOID_ANCHORS, gone)  # first: a crash here voids them once more
            replace(path, "".join(receipt.line() for receipt in self._receipts[:keep]).encode())
        except OSError as error:
            raise AnchorError(f"{path}: the disk refused what a reorganised chain needs ({error})") from error
        self._receipts = self._receipts[:keep]
        self.voided += len(gone)

    def _append(self, path: Path, receipts: Sequence[Receipt]) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, "".join(receipt.line() for receipt in receipts).encode())
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _keep(self, receipts: list[Receipt]) -> None:
        path = self.log_dir / ANCHORS
        try:
            self._append(path, receipts)
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

    def __init__(self, chain_dir: Path, node: NodeSettings | None) -> None:
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
        assert self.process.stdin is not None
        first = {"node": None if node is None else asdict(node)}  # not an argument: an address may hold a key
        with contextlib.suppress(OSError):  # it ended already, which `answer` tells
            self.process.stdin.write(json.dumps(first).encode() + b"\n")
            self.process.stdin.flush()

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
