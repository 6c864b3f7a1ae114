"""Asks a simulation which of many options is best: the procedures of `sim.ranking` on replications of a job."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.experiment import Progress, drafts_of
from sim.job import Job, Where, join
from sim.kpi import values
from sim.provenance import Provenance, provenance
from sim.question import COMPILED_MAX, REPLICATIONS_MAX, Question, check
from sim.ranking import BATCH, OPTIONS_MAX, Selection, check_budget, check_selection, kn, ocba
from sim.result import Goal, Plan, parse_goal, plain
from sim.runner import Runner
from sim.scenario import BASELINE, Scenario
from sim.statistics import CONFIDENCE
from sim.whatif import Base, job_of, lent
from twin.errors import BadRequest

METHODS = ("kn", "ocba")


@dataclass(frozen=True, slots=True)
class Contest:
    """What makes one of many options the best, and how sure that shall be.

    Attributes:
        delta: KN: a smaller difference is nobody's concern.
        budget: OCBA: replications of all options together; KN: at most so many of one.
    """

    goal: Goal
    method: str = "kn"
    delta: float = 0.0
    budget: int = REPLICATIONS_MAX
    confidence: float = CONFIDENCE

    def check(self, options: int) -> None:
        """
        Raises:
            BadRequest: among so many options nothing can be selected so.
        """
        if self.method not in METHODS:
            raise BadRequest(f"method {self.method!r}", f"one of {', '.join(METHODS)}")
        check_selection(options, self.delta if self.method == "kn" else 1.0, self.confidence)
        if self.method == "ocba":
            check_budget(options, self.budget)


@dataclass(frozen=True, slots=True)
class Option:
    """What became of one of them: its figure's mean over the replications that it got; dropped when it did not survive."""

    name: str
    mean: float
    replications: int
    survived: bool


@dataclass(frozen=True, slots=True)
class Ranked:
    """A selection with the names of what was selected from; the base left as it is takes part as `baseline`.

    Attributes:
        plan: commands for the best, none when the base may be left as it is.
    """

    names: tuple[str, ...]
    goal: Goal
    selection: Selection
    plan: Plan
    made: Provenance

    @property
    def best(self) -> str:
        return self.names[self.selection.best]

    def to_json(self) -> dict[str, Any]:
        """Values that any JSON encoder takes; `options` with the best first, those dropped last."""
        s = self.selection
        order = sorted(range(len(self.names)), key=lambda i: (i not in s.survivors, -self.goal.sign * s.means[i]))
        options = [dataclasses.asdict(Option(self.names[i], s.means[i], s.counts[i], i in s.survivors)) for i in order]
        content: dict[str, Any] = plain(
            {
                **dataclasses.asdict(self.made), "goal": dataclasses.asdict(self.goal), "method": s.method,
                "best": self.best, "p_correct": s.p_correct, "resolved": s.resolved, "reason": self.plan.reason,
                "replications": sum(s.counts), "options": options, "plan": dataclasses.asdict(self.plan),
            }
        )  # fmt: skip
        return content

    def __str__(self) -> str:
        """One line an option, the best first, then the reason."""
        told = self.to_json()["options"]
        wide = max(len(name) for name in self.names) + 2
        lines = [f"{'option':{wide}}{self.goal.kpi:>16}{'replications':>14}"]
        lines += [
            f"{o['name']:{wide}}{o['mean']:>16.5g}{o['replications']:>14}" + ("" if o["survived"] else "  dropped")
            for o in told
        ]
        return "\n".join([*lines, self.plan.reason])


def select(
    base: Base, options: Sequence[Scenario | str], *, goal: str, horizon: str | float, delta: float = 0.0,
    method: str = "kn", budget: int = REPLICATIONS_MAX, confidence: float = CONFIDENCE, seed: int = 1,
    runner: Runner | None = None, progress: Progress | None = None, cancel: threading.Event | None = None, **asked: Any,
) -> Ranked:  # fmt: skip
    """The option that serves the goal best.

    Args:
        goal: `max parts`, `min energy_kwh`.
        delta, method, budget, confidence: as `Contest`.
        asked: more of `sim.whatif.job_of`.
    """
    contest = Contest(parse_goal(goal), method, delta, budget, confidence)
    job = job_of(base, options, Question(goal=contest.goal), horizon=horizon, seed=seed, **asked)
    with lent(runner) as hired:
        return rank(job, contest, hired, progress=progress, cancel=cancel)


def check_contest(job: Job, asked: Contest) -> None:
    """
    Raises:
        BadRequest: nothing can be selected so.
        LimitExceeded: too much memory.
    """
    count = len(job.scenarios)
    asked.check(count)
    check(job, Question(BATCH, goal=asked.goal, kpis=(asked.goal.kpi,)), OPTIONS_MAX - 1)
    most = COMPILED_MAX if job.where is Where.THREADS else REPLICATIONS_MAX
    most *= count if asked.method == "ocba" else 1
    if not 1 <= asked.budget <= most:
        raise BadRequest(f"a budget of {asked.budget}", f"take 1 … {most}")


def rank(
    job: Job, asked: Contest, runner: Runner, *, progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Ranked:  # fmt: skip
    """The scenario of the job that wins. Blocks for its whole time.

    Args:
        progress: hears how many replications there are at most: clear losers are dropped before.

    Raises:
        BadRequest, LimitExceeded: as `check_contest`. Cancelled: `cancel` was set. Refused: as `sim.whatif.compare`.
    """
    begun = time.perf_counter()
    check_contest(job, asked)
    goal, options, ran = asked.goal, len(job.scenarios), dict[str, None]()

    def sample(numbers: Sequence[int], first: int, count: int) -> NDArray[np.float64]:
        some = job.asking([job.scenarios[i] for i in numbers])
        block = join(runner.run(some, first, count, cancel))
        ran.update(dict.fromkeys(block.backend.split("+")))
        return np.stack([goal.sign * values(some, block, s, goal.kpi) for s in range(len(numbers))])

    if asked.method == "kn":
        found = kn(sample, options, asked.delta, confidence=asked.confidence, most=asked.budget, spent=progress)
    else:
        found = ocba(sample, options, budget=asked.budget, confidence=asked.confidence, spent=progress)
    found = dataclasses.replace(found, means=tuple(goal.sign * mean for mean in found.means))
    made = provenance(job, "+".join(ran), time.perf_counter() - begun)
    return Ranked(tuple(s.name for s in job.scenarios), goal, found, _plan(job, asked, found), made)


def _plan(job: Job, asked: Contest, found: Selection) -> Plan:
    """Nothing is to be done where leaving the base as it is may be as good."""
    name, reason = job.scenarios[found.best].name, _reason(job, asked, found)
    rivals = found.survivors if asked.method == "kn" else ()
    if not found.resolved or found.best == 0 or 0 in rivals:
        return Plan(BASELINE.name, (), (), reason)
    return Plan(name, *drafts_of(job, job.scenarios[found.best]), reason)


def _reason(job: Job, asked: Contest, found: Selection) -> str:
    goal, name = asked.goal, job.scenarios[found.best].name
    rivals = ", ".join(job.scenarios[i].name for i in found.survivors if i != found.best)
    if not found.resolved:
        sure = f" with P = {found.p_correct:.2f}" if asked.method == "ocba" else f", and so may be {rivals}"
        return f"{goal}: not resolved within the budget; {name} looks best{sure}"
    if asked.method == "ocba":
        told = f"{goal}: {name} is best, P(correct) about {found.p_correct:.2f}"
    elif rivals:
        told = f"{goal}: {name} is best, but no {asked.delta:g} better than {rivals}"
    else:
        told = (
            f"{goal}: {name} is best, right with {100 * asked.confidence:g} % if it is {asked.delta:g} better than all"
        )
    return f"{told}: the plant may be left as it is" if found.best == 0 else told
