"""What a caller holds while its entries are on their way to the disk: a number, and where it is told how far the disk is.

Must not know entries or files. Entries become durable in the order they were handed over, so one number tells of all.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import threading
from collections.abc import Generator
from itertools import count
from typing import Any, Generic, TypeVar

from ledger.errors import LedgerError

T = TypeVar("T")


class Progress:
    """How many entries are durable, and why there will be no more once that is so."""

    def __init__(self, durable: int) -> None:
        self.durable = durable
        self.ended: LedgerError | None = None
        self._changed = threading.Condition()
        self._awaited: list[tuple[int, int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []  # a heap, by entry
        self._number = count()  # two that await the same entry are not compared further

    def advance(self, durable: int) -> None:
        """So many are durable now."""
        self._tell(durable, self.ended)

    def end(self, why: LedgerError) -> None:
        """What is not durable yet never will be."""
        self._tell(self.durable, why)

    def is_settled(self, stop: int) -> bool:
        """Whether it is known what became of the entries before number `stop`."""
        return self.durable >= stop or self.ended is not None

    def failure(self, stop: int) -> LedgerError | None:
        """Why they are not durable."""
        return None if self.durable >= stop else self.ended

    def wait(self, stop: int, timeout_s: float | None) -> bool:
        """Block until they are settled, or until `timeout_s` is over: then False."""
        if self.is_settled(stop):
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self.is_settled(stop), timeout_s)

    async def settled(self, stop: int) -> None:
        """The same for a task."""
        if self.is_settled(stop):
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        with self._changed:
            if self.is_settled(stop):
                return
            heapq.heappush(self._awaited, (stop, next(self._number), loop, waiter))
        await waiter

    def _tell(self, durable: int, ended: LedgerError | None) -> None:
        due = []
        with self._changed:
            self.durable, self.ended = durable, ended
            self._changed.notify_all()
            while self._awaited and self.is_settled(self._awaited[0][0]):
                due.append(heapq.heappop(self._awaited))
        for _, _, loop, waiter in due:
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(_wake, waiter)


class Ticket(Generic[T]):
    """Entries handed over together; their index or indexes are given out once they are durable."""

    __slots__ = ("_indexes", "_progress", "_stop")

    def __init__(self, progress: Progress, stop: int, indexes: T) -> None:
        self._progress, self._stop, self._indexes = progress, stop, indexes

    def done(self) -> bool:
        """Whether the entries are durable, or never will be."""
        return self._progress.is_settled(self._stop)

    def exception(self, timeout_s: float | None = None) -> LedgerError | None:
        """Why they are not durable, None when they are. Raises TimeoutError when neither is known in time."""
        if not self._progress.wait(self._stop, timeout_s):
            raise TimeoutError(f"not on disk within {timeout_s} s")
        return self._progress.failure(self._stop)

    def result(self, timeout_s: float | None = None) -> T:
        """The index or indexes. Raises LogFailed, LogClosed, and TimeoutError when it takes longer."""
        failure = self.exception(timeout_s)
        if failure is not None:
            raise failure
        return self._indexes

    async def settled(self) -> None:
        """Wait until `result` and `exception` answer at once; raises nothing."""
        await self._progress.settled(self._stop)

    def __await__(self) -> Generator[Any, None, T]:
        yield from self.settled().__await__()
        return self.result(0.0)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # a task that was cancelled meanwhile does not undo the entry
        waiter.set_result(None)
