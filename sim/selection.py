"""Asks a simulation which of many options is best: the procedures of `sim.ranking` on replications of a job."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.job import join
from sim.kpi import values
from sim.question import Question
from sim.ranking import Selection, kn, ocba
from sim.result import parse_goal
from sim.runner import Runner
from sim.scenario import Scenario
from sim.whatif import Base, job_of, lent
from twin.errors import BadRequest

METHODS = ("kn", "ocba")


@dataclass(frozen=True, slots=True)
class Ranked:
    """A selection with the names of what was selected from; the base left as it is takes part as `baseline`."""

    names: tuple[str, ...]
    goal: str
    selection: Selection

    @property
    def best(self) -> str:
        return self.names[self.selection.best]


def select(
    base: Base, options: Sequence[Scenario | str], *, goal: str, horizon: str | float, delta: float = 0.0,
    method: str = "kn", budget: int = 10_000, confidence: float = 0.95, seed: int = 1, runner: Runner | None = None,
    **asked: Any,
) -> Ranked:  # fmt: skip
    """The option that serves the goal best.

    Args:
        goal: `max parts`, `min energy_kwh`.
        delta: KN: a smaller difference is nobody's concern.
        budget: OCBA: replications of all options together; KN: at most so many of one.
        asked: more of `sim.whatif.job_of`.
    """
    if method not in METHODS:
        raise BadRequest(f"method {method!r}", f"one of {', '.join(METHODS)}")
    wanted = parse_goal(goal)
    job = job_of(base, options, Question(goal=wanted), horizon=horizon, seed=seed, **asked)
    with lent(runner) as hired:

        def sample(numbers: Sequence[int], first: int, count: int) -> NDArray[np.float64]:
            some = job.asking([job.scenarios[i] for i in numbers])
            block = join(hired.run(some, first, count))
            return np.stack([wanted.sign * values(some, block, s, wanted.kpi) for s in range(len(numbers))])

        count = len(job.scenarios)
        if method == "kn":
            found = kn(sample, count, delta, confidence=confidence, most=budget)
        else:
            found = ocba(sample, count, budget=budget, confidence=confidence)
    means = tuple(wanted.sign * mean for mean in found.means)
    return Ranked(tuple(s.name for s in job.scenarios), str(wanted), dataclasses.replace(found, means=means))
