"""Runs replications on a warm pool of processes, or inline; must not know what an experiment asks or concludes."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from sim.engine import Block, Job, run_block
from twin.errors import Unavailable

CHUNK_S = 0.4  # work per task: long against ~0.2 ms of dispatch, short against the patience of a person who cancels
FIRST_CHUNK = 4  # replications of the first tasks, before their speed is known
CANCEL_POLL_S = 0.1

Work = Callable[[Job, int, int], Block]


class Cancelled(Exception):
    """The caller cancelled the experiment; nothing of it remains."""


class Runner:
    """Runs blocks of replications. Results do not depend on the number of workers.

    Args:
        workers: processes to keep warm; 0 runs in the caller's thread.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._replication_s: float | None = None
        if workers > 0:
            # Nothing is ever sent: it ends when this process does.
            self._lifeline = multiprocessing.Pipe(duplex=False)
            self._pool = self._new_pool()

    def warm(self) -> None:
        """Start the workers now, so that the first experiment does not wait for them (seconds; blocks)."""
        if self._pool is not None:
            wait([self._pool.submit(os.getpid) for _ in range(self.workers)])

    def worker_pids(self) -> list[int]:
        """Process ids of the workers started so far."""
        return sorted(self._pool._processes) if self._pool is not None else []

    def run(self, job: Job, first: int, count: int, cancel: threading.Event | None = None) -> Iterator[Block]:
        """Blocks that cover replications `first` … `first + count - 1`, in any order, as they become ready.

        Raises:
            Cancelled: `cancel` was set; tasks not yet begun are dropped.
            Unavailable: a worker died; the next run gets new ones.
        """
        cancel = cancel or threading.Event()
        if self._pool is None:
            yield from self._inline(job, first, count, cancel)
        else:
            yield from self._pooled(self._pool, job, first, count, cancel)

    def close(self) -> None:
        """Drop what has not begun and end the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            for end in self._lifeline:
                end.close()

    def _new_pool(self) -> ProcessPoolExecutor:
        # Fork from a process with threads or torch would copy their locks: the fork server has neither.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["sim.warm"])
        reader, _ = self._lifeline
        return ProcessPoolExecutor(self.workers, mp_context=context, initializer=begin_worker, initargs=(reader,))

    def _inline(self, job: Job, first: int, count: int, cancel: threading.Event) -> Iterator[Block]:
        at, end = first, first + count
        while at < end:
            if cancel.is_set():
                raise Cancelled
            block = self._learn(run_timed(job, at, min(self._chunk(count), end - at)))
            at += block.samples.shape[1]
            yield block

    def _pooled(
        self, pool: ProcessPoolExecutor, job: Job, first: int, count: int, cancel: threading.Event
    ) -> Iterator[Block]:
        at, end = first, first + count
        running: set[Future[tuple[Block, float]]] = set()
        try:
            while at < end or running:
                # Two tasks a worker: one runs, one waits, so that no worker idles and the next sizes are learnt.
                while at < end and len(running) < 2 * self.workers:
                    size = min(self._chunk(count), end - at)
                    running.add(pool.submit(run_timed, job, at, size))
                    at += size
                done, running = wait(running, timeout=CANCEL_POLL_S, return_when=FIRST_COMPLETED)
                if cancel.is_set():
                    raise Cancelled
                for future in done:
                    yield self._learn(future.result())
        except BrokenProcessPool as failure:
            self._pool = self._new_pool()
            raise Unavailable("a simulation worker died", "ask again") from failure
        finally:
            for future in running:
                future.cancel()

    def _chunk(self, count: int) -> int:
        """Replications of the next task: CHUNK_S of work, but every worker gets a share."""
        if self._replication_s is None:
            return FIRST_CHUNK
        share = math.ceil(count / max(1, self.workers))
        return max(1, min(share, round(CHUNK_S / self._replication_s)))

    def _learn(self, timed: tuple[Block, float]) -> Block:
        block, took_s = timed
        self._replication_s = max(1e-6, took_s / block.samples.shape[1])
        return block


def run_timed(job: Job, first: int, count: int) -> tuple[Block, float]:
    """A block and the seconds it took: what a worker runs."""
    begun = time.perf_counter()
    block = run_block(job, first, count)
    return block, time.perf_counter() - begun


def begin_worker(lifeline: Connection) -> None:
    """Leave Ctrl-C to the process that uses the pool, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(lifeline)


def die_with_parent(lifeline: Connection) -> None:
    """End this process as soon as the process that uses the pool is gone, even by SIGKILL.

    The system closes the other end of the lifeline with the process that holds it. The parent's id would not tell: a
    worker's parent is the fork server, which lives for as long as any worker does.
    """

    def watch() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, name="die-with-parent", daemon=True).start()
