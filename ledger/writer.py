"""Group commit: one thread that makes entries of many callers durable with one disk flush.

Must not know what an entry says, nor how the log lays out its bytes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from ledger.bulk import Packed, pack
from ledger.errors import LedgerBusy, LedgerError, LogClosed, LogFailed
from ledger.note import Checkpoint
from ledger.tickets import Progress, Ticket

QUEUE_MAX = 50_000  # ~0.5 s of the fastest measured disk, ~15 MB of ordinary entries
QUEUE_BYTES_MAX = 64 * 1024 * 1024  # the same for large entries: what a server can spare while a disk hangs
BATCH_BYTES_MAX = 4 * 1024 * 1024  # one flush stays below ~50 ms on an ordinary disk
CHECKPOINT_EVERY_S = 1.0  # an entry is provable within this time of being durable


class Appendable(Protocol):
    """What the writer needs of a log."""

    @property
    def size(self) -> int: ...
    def append_packed(self, packed: Packed) -> range: ...
    def checkpoint(self) -> Checkpoint: ...


class _Batch:
    """What goes into one flush: of what was handed over, together or one by one."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._data: list[bytes] = []
        self._lengths: list[int] = []
        self._leaves: list[bytes] = []

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, packed: Packed) -> None:
        self.size_bytes += len(packed.data)
        self._data.append(packed.data)
        self._lengths += packed.lengths
        self._leaves.append(packed.leaves)

    def packed(self) -> Packed:
        return Packed(b"".join(self._data), self._lengths, b"".join(self._leaves))


class LogWriter:
    """The one writer of a log. `submit` never waits for the disk; its ticket tells once the entry is durable."""

    def __init__(
        self, log: Appendable, queue_max: int = QUEUE_MAX, checkpoint_every_s: float = CHECKPOINT_EVERY_S
    ) -> None:
        self._log = log
        self._queue_max = queue_max
        self._checkpoint_every_s = checkpoint_every_s
        self._queue: deque[_Batch] = deque()
        self._queued = 0  # entries
        self._queue_bytes = 0
        self._taken = log.size  # entries of the log and of the queue: the next one's index
        self._progress = Progress(log.size)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closing = False
        self._ended: LedgerError | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._grown = threading.Event()  # since the last checkpoint
        self._over = threading.Event()  # nothing will be appended any more
        self._unsigned: LedgerError | None = None  # why no checkpoint could be signed
        self._signing = threading.Thread(target=self._sign, name="ledger-checkpoints", daemon=True)
        self._thread.start()
        self._signing.start()

    @property
    def waiting(self) -> int:
        """How many entries are not yet handed to the disk."""
        return self._queued

    @property
    def failure(self) -> LedgerError | None:
        """Why nothing can be recorded any more, None while all is well."""
        ended = self._unsigned or self._ended
        return ended if not isinstance(ended, LogClosed) else None

    def submit(self, payload: bytes, wait_s: float = 0.0) -> Ticket[int]:
        """Queue one entry; the ticket gives its index, or LogFailed.

        A full queue is waited for at most `wait_s`, then LedgerBusy. Raises EntryTooLarge, LogFailed, LogClosed.
        """
        first = self._put((payload,), wait_s)
        return Ticket(self._progress, first + 1, first)

    def submit_many(self, payloads: Sequence[bytes], wait_s: float = 0.0) -> Ticket[range]:
        """Queue entries that are to follow on each other; one ticket gives all their indexes, or LogFailed.

        Raises as `submit` does, and then nothing is queued.
        """
        first = self._put(payloads, wait_s)
        stop = first + len(payloads)
        return Ticket(self._progress, stop, range(first, stop))

    def _put(self, payloads: Sequence[bytes], wait_s: float) -> int:
        """The index that the first of them will have: nobody else appends to this log."""
        packed = pack(payloads)  # on the caller's thread, while the disk works
        with self._lock:
            if self._is_full():
                self._changed.wait_for(lambda: not self._is_full() or self._ended is not None, wait_s)
            if self._ended is not None:
                raise self._ended
            if self._closing:
                raise LogClosed("the ledger's writer is closed; nothing was recorded")
            if self._is_full():
                raise LedgerBusy(f"{self._queued:,} entries wait for the disk; nothing was recorded, submit again")
            if not self._queue:
                self._changed.notify_all()
            if payloads:
                if not self._queue or self._queue[-1].size_bytes >= BATCH_BYTES_MAX:
                    self._queue.append(_Batch())
                self._queue[-1].add(packed)
            self._queued += len(payloads)
            self._queue_bytes += len(packed.data)
            first = self._taken
            self._taken = first + len(payloads)
            return first

    def close(self) -> None:
        """Make what was submitted durable, sign a checkpoint, end the thread. May be called again."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._signing.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _is_full(self) -> bool:
        return self._queued >= self._queue_max or self._queue_bytes >= QUEUE_BYTES_MAX

    def _run(self) -> None:
        ended: LedgerError = LogFailed("the ledger's writer ended unexpectedly; restart the server")
        try:
            self._work()
            ended = LogClosed("the ledger's writer is closed; nothing was recorded")
        except LedgerError as error:
            ended = error
        finally:  # whatever happened, nobody waits for ever
            with self._lock:
                self._ended = ended
                self._queue.clear()
                self._queued = self._queue_bytes = 0
                self._changed.notify_all()
            self._progress.end(ended)
            self._over.set()

    def _work(self) -> None:
        while batch := self._next_batch():
            indexes = self._log.append_packed(batch.packed())
            if indexes.start != self._progress.durable:
                raise LogFailed(f"entry {indexes.start} is not from here: only its writer may append to an open log")
            self._progress.advance(indexes.stop)
            self._grown.set()

    def _sign(self) -> None:
        """Sign what was appended, on a thread of its own: its flushes keep no entry waiting."""
        failure: LedgerError | None = LogFailed("the signing of checkpoints ended unexpectedly; restart the server")
        try:
            while not self._over.wait(self._checkpoint_every_s):
                self._sign_grown()
            self._sign_grown()
            failure = None
        except LedgerError as error:
            failure = error
        finally:
            with self._changed:
                self._unsigned = failure
                self._changed.notify_all()

    def _sign_grown(self) -> None:
        if self._grown.is_set():
            self._grown.clear()
            self._log.checkpoint()

    def _next_batch(self) -> _Batch | None:
        """What goes into one flush; None when the writer is closing. Raises why nothing can be signed."""
        with self._lock:
            self._changed.wait_for(lambda: self._queue or self._closing or self._unsigned is not None)
            if self._unsigned is not None:
                raise self._unsigned
            if not self._queue:
                return None
            batch = self._queue.popleft()
            self._queued -= len(batch)
            self._queue_bytes -= batch.size_bytes
            self._changed.notify_all()
        return batch
