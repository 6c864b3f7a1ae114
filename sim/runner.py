"""Runs replications on threads, a warm pool of processes, or inline; must not know what an experiment asks or concludes."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.halt import Flags, Halted, following, share, shared, under
from sim.job import Block, Job, Where
from twin.errors import Unavailable

CHUNK_S = 0.4  # work per task: long against ~0.2 ms of dispatch, short against the patience of a person who cancels
FAR_CHUNK_S = 2.0  # another machine's task costs some 2 ms and the way there
THREAD_CHUNK_S = 0.1  # a person who cancels, and the last thread to end, wait no longer
SHARES = 2  # of what is left, for each worker
LEAST_S = 0.01  # work per task at least: ten times what handing it out costs
FIRST_CHUNK = 4  # replications of the first tasks, before their speed is known
FIRST_THREAD_CHUNK = 32
CANCEL_POLL_S = 0.1
CLOSE_S = 1.0  # for workers to end by themselves
WORKER_DIED = 'ask again; a script of your own must do its work below if __name__ == "__main__":'


class Cancelled(Exception):
    """The caller cancelled the experiment; nothing of it remains."""


class Runner:
    """Runs blocks of replications. Results do not depend on the number of workers.

    Args:
        workers: processes to keep warm, and threads of compiled jobs; 0 runs in the caller's thread.
        far: runs what would run in processes, on other machines: Dask's `Client.get_executor()` (extra `scale`), or
            anything with that interface. It stays the caller's to close, and has this many workers.
    """

    def __init__(self, workers: int, far: Executor | None = None) -> None:
        self.workers, self._far = workers, far
        self._flags = Flags(multiprocessing.get_context("forkserver"))
        self._pool: ProcessPoolExecutor | None = None
        self._threads = ThreadPoolExecutor(workers, "replications") if workers > 0 else None
        if workers > 0 and far is None:
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
        span = range(first, first + count)
        while span:
            job = job.faster()
            rest = yield from self._as_it_runs(job, span, cancel)
            span = range(rest, span.stop)

    def _as_it_runs(self, job: Job, span: range, cancel: threading.Event) -> Generator[Block, None, int]:
        """Blocks until all are done or something faster is ready; what comes next."""
        if self._threads is not None and job.where is Where.THREADS:
            pace = Pace(self.workers, THREAD_CHUNK_S, FIRST_THREAD_CHUNK)
            return (yield from self._spread(self._threads, job, span, pace, cancel))
        if self._far is not None and job.where is Where.PROCESSES:
            return (yield from self._spread(self._far, job, span, Pace(self.workers, FAR_CHUNK_S), cancel))
        if self._pool is not None and job.where is Where.PROCESSES:
            try:
                return (yield from self._spread(self._pool, job, span, Pace(self.workers), cancel))
            except BrokenProcessPool as failure:
                self._pool = self._new_pool()
                raise Unavailable("a simulation worker died", WORKER_DIED) from failure
        return (yield from _inline(job, span, Pace(1), cancel))

    def close(self) -> None:
        """Drop what has not begun and end the workers."""
        self._flags.raise_all()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        if self._pool is not None:
            _end(self._pool)
            for end in self._lifeline:
                end.close()

    def _new_pool(self) -> ProcessPoolExecutor:
        # Fork from a process with threads or torch would copy their locks: the fork server has neither.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["sim.warm"])
        reader, _ = self._lifeline
        return ProcessPoolExecutor(
            self.workers, mp_context=context, initializer=begin_worker, initargs=(reader, self._flags.memory)
        )  # fmt: skip

    def _spread(
        self, pool: Executor, job: Job, span: range, pace: Pace, cancel: threading.Event
    ) -> Generator[Block, None, int]:
        at, end, running = span.start, span.stop, set[Future[tuple[Block, float]]]()
        number = None if pool is self._far else self._flags.take()
        flag = self._flags.flag(number) if pool is self._threads else number
        try:
            while at < end or running:
                if job.faster() is not job:
                    end = at
                # Two tasks a worker: one runs, one waits, so that no worker idles and the next sizes are learnt.
                while at < end and len(running) < 2 * self.workers:
                    size = min(pace.chunk(end - at), end - at)
                    running.add(pool.submit(run_timed, job, at, size, flag))
                    at += size
                done, running = wait(running, timeout=CANCEL_POLL_S, return_when=FIRST_COMPLETED)
                if cancel.is_set():
                    raise Cancelled
                for future in done:
                    yield pace.learn(future.result())
        finally:
            for future in running:
                future.cancel()
            self._flags.give_back(number, list(running))  # cancelled, or one of them has failed
        return at


@dataclass(slots=True)
class Pace:
    """How many replications a task gets: `chunk_s` of work, but every worker gets a share."""

    workers: int
    chunk_s: float = CHUNK_S
    first: int = FIRST_CHUNK
    replication_s: float | None = None

    def chunk(self, left: int) -> int:
        """Smaller towards the end of what is left, so that the last worker to end keeps nobody waiting long."""
        share = math.ceil(left / max(1, SHARES * self.workers))
        if self.replication_s is None:
            return min(self.first, share)
        return max(1, min(max(share, round(LEAST_S / self.replication_s)), round(self.chunk_s / self.replication_s)))

    def learn(self, timed: tuple[Block, float]) -> Block:
        block, took_s = timed
        self.replication_s = max(1e-6, took_s / block.replications)
        return block


def _inline(job: Job, span: range, pace: Pace, cancel: threading.Event) -> Generator[Block, None, int]:
    at = span.start
    with following(cancel) as flag:
        while at < span.stop and job.faster() is job:
            if cancel.is_set():
                raise Cancelled
            try:
                timed = run_timed(job, at, min(pace.chunk(span.stop - at), span.stop - at), flag)
            except Halted:
                raise Cancelled from None
            block = pace.learn(timed)
            at += block.replications
            yield block
    return at


def run_timed(job: Job, first: int, count: int, flag: NDArray[np.int64] | int | None = None) -> tuple[Block, float]:
    """A block and the seconds it took: what a worker runs.

    Args:
        flag: stops it when raised; of a process its number.

    Raises:
        Halted: it was.
    """
    begun = time.perf_counter()
    with under(shared(flag) if flag is None or isinstance(flag, int) else flag):
        block = job.block(first, count)
    return block, time.perf_counter() - begun


def _end(pool: ProcessPoolExecutor) -> None:
    """Workers that do not see their flag in time, deep in a solver or in a loop without end, are killed."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    until = time.monotonic() + CLOSE_S
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()


def begin_worker(lifeline: Connection, flags: Any) -> None:
    """Leave Ctrl-C to the process that uses the pool, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share(flags)
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
