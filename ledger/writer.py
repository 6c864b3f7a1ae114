"""Group commit: one thread that makes entries of many callers durable with one disk flush.

Must not know what an entry says, nor how the log lays out its bytes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from types import TracebackType
from typing import Protocol, Self

from ledger.errors import LedgerBusy, LedgerError, LogClosed, LogFailed
from ledger.frames import FRAME_BYTES_MAX, HEADER, frame
from ledger.note import Checkpoint

QUEUE_MAX = 50_000  # ~0.5 s of the fastest measured disk, ~15 MB of ordinary entries
QUEUE_BYTES_MAX = 64 * 1024 * 1024  # the same for large entries: what a server can spare while a disk hangs
BATCH_BYTES_MAX = 4 * 1024 * 1024  # one flush stays below ~50 ms on an ordinary disk
CHECKPOINT_EVERY_S = 1.0  # an entry is provable within this time of being durable


class Appendable(Protocol):
    """What the writer needs of a log."""

    def append(self, payloads: list[bytes]) -> range: ...
    def checkpoint(self) -> Checkpoint: ...


class LogWriter:
    """The one writer of a log. `submit` never waits for the disk; its future resolves once the entry is durable."""

    def __init__(
        self, log: Appendable, queue_max: int = QUEUE_MAX, checkpoint_every_s: float = CHECKPOINT_EVERY_S
    ) -> None:
        self._log = log
        self._queue_max = queue_max
        self._checkpoint_every_s = checkpoint_every_s
        self._queue: deque[tuple[bytes, Future[int]]] = deque()
        self._queue_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._ended: LedgerError | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many entries are not yet handed to the disk."""
        return len(self._queue)

    @property
    def failure(self) -> LedgerError | None:
        """Why nothing can be recorded any more, None while all is well."""
        return self._ended if not isinstance(self._ended, LogClosed) else None

    def submit(self, payload: bytes, wait_s: float = 0.0) -> Future[int]:
        """Queue one entry; the future gives its index, or LogFailed.

        A full queue is waited for at most `wait_s`, then LedgerBusy. Raises EntryTooLarge, LogFailed, LogClosed.
        """
        if not 0 < len(payload) <= FRAME_BYTES_MAX - HEADER.size:
            frame(payload)  # raises, saying which limit
        future: Future[int] = Future()
        with self._changed:
            if self._is_full():
                self._changed.wait_for(lambda: not self._is_full() or self._ended is not None, wait_s)
            if self._ended is not None:
                raise self._ended
            if self._closing:
                raise LogClosed("the ledger's writer is closed; nothing was recorded")
            if self._is_full():
                raise LedgerBusy(f"{len(self._queue):,} entries wait for the disk; nothing was recorded, submit again")
            self._queue.append((payload, future))
            self._queue_bytes += len(payload)
            if len(self._queue) == 1:
                self._changed.notify_all()
        return future

    def close(self) -> None:
        """Make what was submitted durable, sign a checkpoint, end the thread. May be called again."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _is_full(self) -> bool:
        return len(self._queue) >= self._queue_max or self._queue_bytes >= QUEUE_BYTES_MAX

    def _run(self) -> None:
        ended: LedgerError = LogFailed("the ledger's writer ended unexpectedly; restart the server")
        try:
            self._work()
            ended = LogClosed("the ledger's writer is closed; nothing was recorded")
        except LedgerError as error:
            ended = error
        finally:  # whatever happened, nobody waits for ever
            with self._changed:
                self._ended = ended
                left = list(self._queue)
                self._queue.clear()
                self._changed.notify_all()
            for _, future in left:
                _fail(future, ended)

    def _work(self) -> None:
        grown, due = False, 0.0
        while True:
            batch = self._next_batch(due - time.monotonic() if grown else None)
            if batch:
                self._commit(batch)
                if not grown:
                    grown, due = True, time.monotonic() + self._checkpoint_every_s
            closing = self._closing and not self._queue
            if grown and (closing or time.monotonic() >= due):
                self._log.checkpoint()
                grown = False
            if closing and not batch:
                return

    def _next_batch(self, wait_s: float | None) -> list[tuple[bytes, Future[int]]]:
        """The entries of one flush; empty when `wait_s` passed or the writer is closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing, wait_s)
            batch: list[tuple[bytes, Future[int]]] = []
            batch_bytes = 0
            while self._queue and batch_bytes < BATCH_BYTES_MAX:
                item = self._queue.popleft()
                batch.append(item)
                batch_bytes += HEADER.size + len(item[0])
            self._queue_bytes -= sum(len(payload) for payload, _ in batch)
            self._changed.notify_all()
        return batch

    def _commit(self, batch: list[tuple[bytes, Future[int]]]) -> None:
        indexes: range | None = None
        failure: LedgerError = LogFailed("the ledger's writer ended while writing; restart the server")
        try:
            indexes = self._log.append([payload for payload, _ in batch])
        except LedgerError as error:
            failure = error
            raise
        finally:
            if indexes is None:
                for _, future in batch:
                    _fail(future, failure)
        for index, (_, future) in zip(indexes, batch, strict=True):
            if future.set_running_or_notify_cancel():  # a caller that gave up does not undo the entry
                future.set_result(index)


def _fail(future: Future[int], error: LedgerError) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
