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
from sim.beginning import Beginning
from sim.experiment import Progress, answer
from sim.job import Job
from sim.kernel.interpreter import EVENTS_MAX
from sim.layout import Layout
from sim.layout_job import SAMPLES, layout_job
from sim.question import Precision, Question, parse_precision
from sim.result import Goal, Plan, Result, parse_goal
from sim.runner import Runner
from sim.scenario import Limit, Scenario, parse_limit, parse_scenario
from sim.statistics import CONFIDENCE
from sim.streams import SEED_MAX
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
    until: Precision | str | None = None,
    goal: str = "",
    limits: Sequence[str | Limit] = (),
    follow: Sequence[str] = (),
    every: str | float = "",
    replications: int = 64,
    seed: int = 1,
    confidence: float = CONFIDENCE,
    backend: str = "auto",
    events_max: int = EVENTS_MAX,
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
        until: replications are doubled until the half-width is reached or their maximum; as text `parts±1`.
        goal: `max parts` or `min energy_kwh`; `result.best()` needs it.
        limits: `tank_1.level<3`: the probability over time that it is passed.
        follow: outputs with a fan chart; of a plant its model's own when empty.
        every: between samples, as `horizon`; a SAMPLES-th of it when empty.
        backend: `auto`, `kernel` or `simpy`, for a layout.
        events_max: of one replication of a layout; one that has more stops the question with a message.
        begin: where a layout starts; fresh when None.
        runner: all processors for this call when None.
        answers: results kept by the content of the question.

    Raises:
        BadRequest: an unknown name, a value that cannot be. Refused: the state is not known well enough, or a component
        did what cannot be. LimitExceeded: too much memory. Cancelled: `cancel` was set.
    """
    asked = question(kpis, until, goal, limits, replications, confidence)
    job = job_of(
        base, options, asked, horizon=horizon, follow=follow, every=every, seed=seed, backend=backend,
        events_max=events_max, begin=begin,
    )  # fmt: skip
    told = answer if answers is None else answers.answer
    with lent(runner) as hired:
        return told(job, asked, hired, progress=progress, cancel=cancel)


def question(
    kpis: Sequence[str] = (),
    until: Precision | str | None = None,
    goal: str = "",
    limits: Sequence[str | Limit] = (),
    replications: int = 64,
    confidence: float = CONFIDENCE,
) -> Question:
    """A question of its texts; arguments as `compare`.

    Raises:
        BadRequest: a text that is not understood.
    """
    for name, given in (("kpis", kpis), ("limits", limits)):
        if isinstance(given, str):
            raise BadRequest(f"{name}={given!r}", "give a list of texts")
    parsed = tuple(parse_limit(limit) if isinstance(limit, str) else limit for limit in limits)
    wanted = parse_goal(goal) if goal else None
    precision = parse_precision(until) if isinstance(until, str) else until
    return Question(replications, precision, tuple(kpis), parsed, wanted, confidence)


def job_of(
    base: Base,
    options: Sequence[Scenario | str],
    asked: Question,
    *,
    horizon: str | float,
    follow: Sequence[str] = (),
    every: str | float = "",
    seed: int = 1,
    backend: str = "auto",
    events_max: int = EVENTS_MAX,
    begin: Beginning | None = None,
) -> Job:
    """The replications that a question needs; arguments as `compare`.

    Raises:
        BadRequest, Refused: as `compare`.
    """
    if not isinstance(seed, int) or not 0 <= seed <= SEED_MAX:
        raise BadRequest(f"seed {seed}", f"take 0 … {SEED_MAX}")
    scenarios = tuple(parse_scenario(o) if isinstance(o, str) else o for o in options)
    unit_s = base.unit_s if isinstance(base, Layout) else 1.0
    horizon_s = span_s(horizon, unit_s, "horizon")
    every_s = span_s(every, unit_s, "every") if every else horizon_s / SAMPLES
    if isinstance(base, Layout):
        return layout_job(
            base, scenarios, horizon_s=horizon_s, seed=seed, sample_every_s=every_s, outputs=follow, kpis=asked.named,
            limits=asked.limits, begin=begin, backend=backend, events_max=events_max,
        )  # fmt: skip
    from sim.plant_job import plant_job

    return plant_job(
        base.plant, base.snapshot, scenarios, asked, outputs=follow or None, horizon_s=horizon_s,
        sample_every_s=every_s, seed=seed, backend=backend,
    )  # fmt: skip


def span_s(span: str | float, unit_s: float, what: str) -> float:
    """Seconds of a text or of a number of units.

    Raises:
        BadRequest: no positive time.
    """
    if not isinstance(span, str | int | float):
        raise BadRequest(f"{what} of {span!r}", "a positive time such as 8h, or a number")
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
