"""What if? Scripts ask here: scenarios of a layout, or of a plant as it is now; must not know how replications run.

crew = Scenario("crew +1").add("crew.capacity", 1)
result = compare(line, [crew], horizon="8h", kpis=["parts"], until=Precision("parts", 2), goal="max parts")
print(result)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.answers import Answers
from sim.experiment import Precision, Progress, Question, answer
from sim.job import Job
from sim.kpi import usual
from sim.layout import Layout
from sim.layout_job import SAMPLES, Beginning, layout_job
from sim.result import Goal, Plan, Result, parse_goal
from sim.runner import Runner
from sim.scenario import Scenario, parse_limit, parse_scenario
from sim.statistics import CONFIDENCE
from twin.errors import BadRequest
from twin.when import parse_duration_s

if TYPE_CHECKING:  # a layout's first answer does not wait for what only a plant needs
    from twin.columns import Snapshot
    from twin.plant import Plant

__all__ = ["Goal", "Now", "Plan", "Precision", "Result", "Runner", "Scenario", "compare", "job_of", "parse_scenario"]


@dataclass(frozen=True, slots=True)
class Now:
    """A plant as a snapshot tells it."""

    plant: Plant
    snapshot: Snapshot


Base = Layout | Now


def compare(
    base: Base,
    options: Sequence[Scenario | str] = (),
    *,
    horizon: str | float,
    kpis: Sequence[str] = (),
    until: Precision | None = None,
    goal: str = "",
    limits: Sequence[str] = (),
    follow: Sequence[str] = (),
    every: str | float = "",
    replications: int = 64,
    seed: int = 1,
    confidence: float = CONFIDENCE,
    backend: str = "auto",
    begin: Beginning | None = None,
    runner: Runner | None = None,
    answers: Answers | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Result:
    """Each option against the base left as it is, by replications with common random numbers. Blocks.

    Args:
        options: scenarios, or their text as `crew.capacity=3 at 2h`.
        horizon: a text as `8h`, or a number in the layout's unit (of a plant: seconds).
        kpis: figures by name, see `sim.kpi`; the usual ones of what is followed when empty.
        until: replications are doubled until the half-width is reached or their maximum.
        goal: `max parts` or `min energy_kwh`; `result.best()` needs it.
        limits: `tank_1.level<3`: the probability over time that it is passed.
        follow: outputs with a fan chart; of a plant its model's own when empty.
        every: between samples, as `horizon`; a SAMPLES-th of it when empty.
        backend: `auto`, `kernel` or `simpy`, for a layout.
        begin: where a layout starts; fresh when None.
        runner: all processors for this call when None.
        answers: results kept by the content of the question.

    Raises:
        BadRequest: an unknown name, a value that cannot be. Refused: the state is not known well enough, or a component
        did what cannot be. LimitExceeded: too much memory. Cancelled: `cancel` was set.
    """
    parsed = tuple(parse_limit(text) for text in limits)
    wanted = parse_goal(goal) if goal else None
    names = tuple(dict.fromkeys([*kpis, *([until.kpi] if until else []), *([wanted.kpi] if wanted else [])]))
    job = job_of(
        base, options, horizon=horizon, kpis=names, limits=limits, follow=follow, every=every, seed=seed,
        backend=backend, begin=begin,
    )  # fmt: skip
    told = names if kpis else tuple(dict.fromkeys([*usual(job.outputs, job.figures), *names]))
    asked = Question(replications, until, told, parsed, wanted, confidence)
    with lent(runner) as hired:
        if answers is None:
            return answer(job, asked, hired, progress=progress, cancel=cancel)
        return answers.answer(job, asked, hired, progress=progress, cancel=cancel)


def job_of(
    base: Base,
    options: Sequence[Scenario | str] = (),
    *,
    horizon: str | float,
    kpis: Sequence[str] = (),
    limits: Sequence[str] = (),
    follow: Sequence[str] = (),
    every: str | float = "",
    seed: int = 1,
    backend: str = "auto",
    begin: Beginning | None = None,
) -> Job:
    """The replications of a question; arguments as `compare`.

    Raises:
        BadRequest, Refused: as `compare`.
    """
    scenarios = tuple(parse_scenario(o) if isinstance(o, str) else o for o in options)
    parsed = tuple(parse_limit(text) for text in limits)
    unit_s = base.unit_s if isinstance(base, Layout) else 1.0
    horizon_s = span_s(horizon, unit_s, "horizon")
    every_s = span_s(every, unit_s, "every") if every else horizon_s / SAMPLES
    if isinstance(base, Layout):
        return layout_job(
            base, scenarios, horizon_s=horizon_s, seed=seed, sample_every_s=every_s, outputs=follow, kpis=kpis,
            limits=parsed, begin=begin, backend=backend,
        )  # fmt: skip
    from sim.plant_job import plant_job

    return plant_job(
        base.plant, base.snapshot, scenarios, follow or None, kpis, parsed, horizon_s, every_s, seed, backend
    )


def span_s(span: str | float, unit_s: float, what: str) -> float:
    """Seconds of a text or of a number of units.

    Raises:
        BadRequest: no positive time.
    """
    found = parse_duration_s(span, what) if isinstance(span, str) else float(span) * unit_s
    if not found > 0:
        raise BadRequest(f"{what} of {span}", "a positive time such as 8h")
    return found


@contextmanager
def lent(runner: Runner | None) -> Iterator[Runner]:
    """The runner, or one of all processors for as long as it is needed."""
    if runner is not None:
        yield runner
        return
    hired = Runner(os.cpu_count() or 1)
    try:
        yield hired
    finally:
        hired.close()
