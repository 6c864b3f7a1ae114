"""What-ifs of the running server: each a snapshot, an experiment in worker processes, progress and a cancel.

Must not know HTTP; the experiment itself lives in sim/.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from control.errors import words
from control.live import LiveTwin
from protocols.link import Clock
from sim.answers import Answers
from sim.experiment import HORIZON_MAX_S, check_question, compare, left_s
from sim.result import Goal, parse_goal
from sim.runner import Cancelled, Runner
from sim.scenario import Limit, Scenario, parse_limit, parse_scenario
from twin.columns import Snapshot
from twin.errors import BadRequest, LimitExceeded, NotFound, TwinloopError
from twin.plant import Plant

RUNNING_MAX = 2  # they share the worker processes; a third would only slow both
RUNS_KEPT = 50  # results of ~100 kB each
SNAPSHOTS_KEPT = 8  # of the newest runs, to be looked into as branches: 44 MB each a million points
SAMPLES = 48  # sample times over the horizon: as many as a fan chart shows
SAMPLE_MIN_S = 60.0
log = logging.getLogger("twinloop.whatif")


class State(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as parsed at the edge."""

    scenarios: tuple[Scenario, ...]
    limits: tuple[Limit, ...]
    horizon_s: float
    replications: int
    seed: int
    kpis: tuple[str, ...] = ()
    goal: Goal | None = None


def question(
    scenarios: list[str], limits: list[str], horizon_s: float, replications: int, seed: int,
    kpis: Sequence[str] = (), goal: str = "",
) -> Question:  # fmt: skip
    """
    Args:
        kpis: figures by name; the usual ones when empty.
        goal: `min energy_kwh`: the best scenario is told, as draft commands.

    Raises:
        BadRequest: a text that does not parse, naming the place; no scenario; a horizon out of bounds.
    """
    if not scenarios:
        raise BadRequest("no scenario", "write at least one, such as pump_335.status=off for 4h")
    if not 0 < horizon_s <= HORIZON_MAX_S:
        raise BadRequest(f"horizon_s {horizon_s:g}", f"give a number in (0, {HORIZON_MAX_S:g}]")
    if not 0 <= seed < 2**63:
        raise BadRequest(f"seed {seed}", "give a whole number from 0 to 2⁶³ - 1")
    parsed = tuple(parse_scenario(text) for text in scenarios)
    wanted = parse_goal(goal) if goal else None
    names = dict.fromkeys([*kpis, *([wanted.kpi] if kpis and wanted else [])])
    told = tuple(parse_limit(text) for text in limits)
    return Question(parsed, told, horizon_s, replications, seed, tuple(names), wanted)


@dataclass(slots=True)
class Run:
    """One what-if. `asked` is the request as it came, shown with the result; `snapshot` where it starts; `left_s` how long
    it still takes at its pace, as far as it is planned now."""

    id: str
    asked: Any
    started_at: int
    snapshot: Snapshot | None = None
    state: State = State.RUNNING
    progress: float = 0.0
    left_s: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    cancel: threading.Event = field(default_factory=threading.Event)


def _sample_every_s(what: Question) -> float:
    return max(SAMPLE_MIN_S, what.horizon_s / SAMPLES)


class WhatIfs:
    """Owned by the event loop; experiments block threads, replications burn worker processes."""

    def __init__(self, live: LiveTwin, runner: Runner, clock: Clock, new_id: Callable[[], str]) -> None:
        self._live, self._runner, self._clock, self._new_id = live, runner, clock, new_id
        self._runs: dict[str, Run] = {}
        self._answers = Answers()
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Warm the workers, then hold the tasks of all experiments until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await asyncio.to_thread(self._runner.warm)
                await asyncio.Event().wait()
        finally:
            for run in self._runs.values():
                run.cancel.set()
            await asyncio.to_thread(self._runner.close)

    def start(self, asked: Any, what: Question, start: Snapshot | None = None) -> Run:
        """From the twin's state right now, or from a branch.

        Raises:
            BadRequest: an unknown point, a value or count out of range.
            Refused: the twin does not know the plant's state well enough to start.
            LimitExceeded: RUNNING_MAX experiments are running.
        """
        snapshot = self._live.snapshot() if start is None else start
        plant = self._live.plant
        check_question(
            plant, snapshot, what.scenarios, horizon_s=what.horizon_s, sample_every_s=_sample_every_s(what),
            replications=what.replications, limits=what.limits, kpis=what.kpis, goal=what.goal,
        )  # fmt: skip
        running = [r for r in self._runs.values() if r.state is State.RUNNING]
        if len(running) >= RUNNING_MAX or self._tasks is None:
            raise LimitExceeded(f"{len(running)} what-ifs are running", "wait for one or cancel it")
        run = Run(self._new_id(), asked, self._clock(), snapshot)
        self._runs[run.id] = run
        for old in self.all()[SNAPSHOTS_KEPT:]:
            old.snapshot = None
        while len(self._runs) > RUNS_KEPT:
            del self._runs[next(i for i, r in self._runs.items() if r.state is not State.RUNNING)]
        self._tasks.create_task(self._experiment(run, what, plant, snapshot))
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

    async def _experiment(self, run: Run, what: Question, plant: Plant, snapshot: Snapshot) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()

        def progress(done: int, planned: int) -> None:
            left = left_s(done, planned, loop.time() - begun)
            loop.call_soon_threadsafe(self._move, run, State.RUNNING, done / planned, left)

        try:
            result = await asyncio.to_thread(
                compare, plant, snapshot, what.scenarios, self._runner,
                horizon_s=what.horizon_s, sample_every_s=_sample_every_s(what), seed=what.seed,
                replications=what.replications, limits=what.limits,
                kpis=what.kpis, goal=what.goal, progress=progress, cancel=run.cancel, by=self._answers.answer,
            )  # fmt: skip
            run.result = await asyncio.to_thread(result.to_json)
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
