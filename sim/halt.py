"""Flags that stop replications in the middle: seen by the kernel and the interpreter every so many events; must not run them.

A flag is a number in memory, so that machine code without the interpreter's lock and other processes see it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
from numpy.typing import NDArray

RUNS_MAX = 64  # experiments of one runner at a time; the flags of those beyond are never raised
WATCH_S = 0.1  # from a cancel to its flag, at most
_here = threading.local()
_NEVER = np.zeros(1, np.int64)
_shared: list[NDArray[np.int64]] = []  # of a worker process: the flags of the runner that it works for


class Halted(Exception):
    """A replication was told to stop; there is nothing of it."""


def current() -> NDArray[np.int64]:
    """The flag of what this thread runs, shape (1,): not 0 says stop."""
    found: NDArray[np.int64] = getattr(_here, "flag", _NEVER)
    return found


@contextmanager
def under(flag: NDArray[np.int64] | None) -> Iterator[None]:
    """What this thread runs inside stops when the flag is raised."""
    before = current()
    _here.flag = before if flag is None else flag
    try:
        yield
    finally:
        _here.flag = before


@contextmanager
def following(cancel: threading.Event) -> Iterator[NDArray[np.int64]]:
    """A flag that is raised soon after the event."""
    flag, over = np.zeros(1, np.int64), threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_S):
            if cancel.is_set():
                flag[0] = 1
                return

    watcher = threading.Thread(target=watch, name="cancel", daemon=True)
    watcher.start()
    try:
        yield flag
    finally:
        over.set()


class Flags:
    """The flags of a runner's experiments, in memory that its worker processes share."""

    def __init__(self, context: BaseContext | None = None) -> None:
        self.memory: Any = (context or multiprocessing.get_context()).RawArray(ctypes.c_int64, RUNS_MAX)
        self._flags = as_array(self.memory)
        self._free = list(range(RUNS_MAX))
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """The number of a flag that nobody has."""
        with self._lock:
            if not self._free:
                return None
            number = self._free.pop()
        self._flags[number] = 0
        return number

    def flag(self, number: int | None) -> NDArray[np.int64] | None:
        return None if number is None else self._flags[number : number + 1]

    def give_back(self, number: int | None, running: Sequence[Future[Any]]) -> None:
        """Stop what still runs under a flag; it is free when all of that has ended."""
        if number is None:
            return
        left = [f for f in running if not f.done()]
        if not left:
            self._release(number)
            return
        self._flags[number] = 1
        count = len(left)

        def ended(_: Future[Any]) -> None:
            nonlocal count
            with self._lock:
                count -= 1
                last = count == 0
            if last:
                self._release(number)

        for future in left:
            future.add_done_callback(ended)

    def raise_all(self) -> None:
        """The runner ends."""
        self._flags[:] = 1

    def _release(self, number: int) -> None:
        with self._lock:
            self._free.append(number)


def as_array(memory: Any) -> NDArray[np.int64]:
    """The flags in shared memory, shape (RUNS_MAX,)."""
    return np.frombuffer(memory, np.int64)


def share(memory: Any) -> None:
    """In a worker process: the flags that its tasks name."""
    _shared[:] = [as_array(memory)]


def shared(number: int | None) -> NDArray[np.int64] | None:
    """In a worker process: the flag of a task."""
    return _shared[0][number : number + 1] if _shared and number is not None else None
