"""What-ifs of the running server: each a snapshot, work on a thread with the runner's help, progress and a cancel.

Must not know HTTP, nor what is asked: `control.asking`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from control.asking import Asking, Kind, Work
from control.compiled import begin_kernel
from control.errors import words
from control.live import LiveTwin
from protocols.link import Clock
from sim.answers import Answers
from sim.experiment import left_s
from sim.runner import Cancelled, Runner
from sim.whatif import Now
from twin.columns import Snapshot
from twin.errors import LimitExceeded, NotFound, TwinloopError

RUNNING_MAX = 2  # they share the worker processes; a third would only slow both
RUNS_KEPT = 50  # results of ~100 kB each
SNAPSHOTS_KEPT = 8  # of the newest runs, to be looked into as branches: 44 MB each a million points
log = logging.getLogger("twinloop.whatif")


class State(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Run:
    """One what-if. `asked` is the request as it came, shown with the answer; `snapshot` where it starts; `left_s` how long
    it still takes at its pace, as far as it is planned now: a ranking or a search may end before."""

    id: str
    kind: Kind
    about: str
    asked: Any
    started_at: int
    snapshot: Snapshot | None = None
    state: State = State.RUNNING
    progress: float = 0.0
    left_s: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    cancel: threading.Event = field(default_factory=threading.Event)


class WhatIfs:
    """Owned by the event loop; experiments block threads, replications burn worker processes."""

    def __init__(self, live: LiveTwin, runner: Runner, clock: Clock, new_id: Callable[[], str]) -> None:
        self._live, self._runner, self._clock, self._new_id = live, runner, clock, new_id
        self._runs: dict[str, Run] = {}
        self._answers = Answers()
        self._checked = 0  # questions that are being looked at
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Warm the workers, have the kernel made, then hold the tasks of all experiments until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await asyncio.to_thread(begin_kernel, self._live.plant)
                await asyncio.to_thread(self._runner.warm)
                await asyncio.Event().wait()
        finally:
            for run in self._runs.values():
                run.cancel.set()
            await asyncio.to_thread(self._runner.close)

    async def start(self, request: Any, asking: Asking, start: Snapshot | None = None) -> Run:
        """From the twin's state right now, or from a branch.

        Args:
            request: as it came, to be shown with the answer.

        Raises:
            BadRequest: an unknown point, a value or count out of range.
            Refused: the twin does not know the plant's state well enough to start.
            LimitExceeded: RUNNING_MAX experiments are running.
        """
        running = sum(r.state is State.RUNNING for r in self._runs.values()) + self._checked
        if running >= RUNNING_MAX or self._tasks is None:
            raise LimitExceeded(f"{running} what-ifs are running", "wait for one or cancel it")
        snapshot = self._live.snapshot() if start is None else start
        self._checked += 1
        try:
            work = await asyncio.to_thread(asking.prepare, Now(self._live.plant, snapshot))
        finally:
            self._checked -= 1
        run = Run(self._new_id(), asking.kind, asking.about, request, self._clock(), snapshot)
        self._runs[run.id] = run
        for old in self.all()[SNAPSHOTS_KEPT:]:
            old.snapshot = None
        while len(self._runs) > RUNS_KEPT:
            del self._runs[next(i for i, r in self._runs.items() if r.state is not State.RUNNING)]
        self._tasks.create_task(self._experiment(run, work))
        return run

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(run.state is State.RUNNING for run in self._runs.values())

    def get(self, identity: str) -> Run:
        run = self._runs.get(identity)
        if run is None:
            raise NotFound(f"no what-if {identity!r}", f"the newest {RUNS_KEPT} are kept until the server stops")
        return run

    def all(self) -> list[Run]:
        """Newest first."""
        return list(self._runs.values())[::-1]

    def cancel(self, identity: str) -> Run:
        run = self.get(identity)
        run.cancel.set()
        return run

    async def _experiment(self, run: Run, work: Work) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()

        def progress(done: int, planned: int) -> None:
            left = left_s(done, planned, loop.time() - begun)
            loop.call_soon_threadsafe(self._move, run, State.RUNNING, done / planned, left)

        try:
            run.result = await asyncio.to_thread(work, self._runner, self._answers, progress, run.cancel)
            self._move(run, State.DONE, 1.0)
        except Cancelled:
            self._move(run, State.CANCELLED, run.progress)
        except TwinloopError as error:
            run.error = ": ".join(part for part in words(error) if part)
            self._move(run, State.FAILED, run.progress)
        except Exception:  # a model's own fault must not end the server that watches the plant
            log.exception("what-if %s failed", run.id)
            run.error = "something went wrong inside the simulation: the server's log has the details"
            self._move(run, State.FAILED, run.progress)

    def _move(self, run: Run, state: State, progress: float, left: float | None = None) -> None:
        if run.state is State.RUNNING:
            run.state, run.progress, run.left_s = state, progress, left
            body = {"id": run.id, "state": state.value, "progress": progress, "left_s": left}
            self._live.feed.announce("whatif", self._clock(), body)
