"""Which parameters matter: a tornado one at a time, and what the spread of a figure is made of; must not know backends."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.beginning import States
from sim.beliefs import Belief, quantile, spread
from sim.experiment import Progress, figure_of, replicate
from sim.job import Block, Job
from sim.kernel.world import Packed
from sim.kpi import values
from sim.layout_job import LayoutJob
from sim.provenance import Provenance, provenance
from sim.question import Question, check
from sim.result import Figure, plain
from sim.runner import Runner
from sim.scenario import Intervention, Scenario
from sim.statistics import CONFIDENCE, Difference, paired_difference
from sim.whatif import Base, job_of, lent
from twin.errors import BadRequest

PARAMETERS_MAX = 50
REPLICATIONS = 256  # a tornado shows what is large: its bars need no narrow intervals
LOW, HIGH = 0.1, 0.9  # quantiles of a tornado's ends


@dataclass(frozen=True, slots=True)
class Bar:
    """What a parameter does to a figure at its 10 and 90 % quantile, each against the base, paired."""

    parameter: str
    low_value: float
    high_value: float
    low: Difference
    high: Difference

    @property
    def width(self) -> float:
        return abs(self.high.mean - self.low.mean)


@dataclass(frozen=True, slots=True)
class Tornado:
    """Which parameters matter to a figure.

    Attributes:
        base: the figure with everything left as it is.
        bars: one for each parameter, the widest first.
    """

    kpi: str
    base: Figure
    bars: tuple[Bar, ...]
    replications: int
    confidence: float
    made: Provenance

    def to_json(self) -> dict[str, Any]:
        """Values that any JSON encoder takes; an infinite half-width becomes null."""
        content = dataclasses.asdict(self)
        told: dict[str, Any] = plain({**content.pop("made"), **content})
        return told

    def __str__(self) -> str:
        """One line a parameter: its ends, and what they do to the figure."""
        wide = max([9, *(len(bar.parameter) for bar in self.bars)]) + 2
        lines = [f"{self.kpi}, left as it is: {self.base.mean:.5g}"]
        lines += [f"{b.parameter:{wide}}{_end(b.low_value, b.low)}   {_end(b.high_value, b.high)}" for b in self.bars]
        return "\n".join(lines)


def _end(value: float, told: Difference) -> str:
    return f"{value:>10.5g}: {told.mean:>+10.4g} ± {told.half_width:<8.3g}" + ("" if told.resolved else " not resolved")


def tornado(
    base: Base, beliefs: Mapping[str, Belief], kpi: str, *, horizon: str | float, replications: int = REPLICATIONS,
    seed: int = 1, confidence: float = CONFIDENCE, runner: Runner | None = None, progress: Progress | None = None,
    cancel: threading.Event | None = None, **asked: Any,
) -> Tornado:  # fmt: skip
    """Each parameter alone at its 10 and 90 % quantile.

    Args:
        asked: more of `sim.whatif.job_of`.
    """
    swung = ends(beliefs)
    question = Question(replications, kpis=(kpi,), confidence=confidence)
    job = job_of(base, arms(swung), question, horizon=horizon, seed=seed, **asked)
    with lent(runner) as hired:
        return swing(job, swung, question, hired, progress=progress, cancel=cancel)


Ends = Mapping[str, tuple[float, float]]
"""Parameter -> its 10 and its 90 % quantile."""


def ends(beliefs: Mapping[str, Belief]) -> Ends:
    """
    Raises:
        BadRequest: too few or too many parameters.
    """
    _check(beliefs)
    return {name: (quantile(b, LOW), quantile(b, HIGH)) for name, b in beliefs.items()}


def arms(swung: Ends) -> tuple[Scenario, ...]:
    """The scenarios of a tornado: two a parameter."""
    return tuple(
        _setting({n: value}, f"{n}={value:g} ({end})")
        for n, pair in swung.items()
        for end, value in zip("-+", pair, strict=True)
    )


def check_tornado(job: Job, asked: Question) -> None:
    """
    Raises:
        BadRequest, LimitExceeded: as `sim.question.check`; a tornado has more scenarios.
    """
    check(job, asked, 2 * PARAMETERS_MAX)


def swing(
    job: Job, swung: Ends, asked: Question, runner: Runner, *, progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Tornado:  # fmt: skip
    """The tornado of a job whose scenarios are the `arms` of `swung`. Blocks for its whole time.

    Args:
        asked: of its figures the first is told.

    Raises:
        as `sim.experiment.answer`.
    """
    begun = time.perf_counter()
    check_tornado(job, asked)
    (kpi, *_), block = asked.kpis, replicate(job, asked, runner, progress, cancel)[0]
    found = [values(job, block, s, kpi) for s in range(len(job.scenarios))]
    told = iter(paired_difference(each, found[0], asked.confidence) for each in found[1:])
    bars = [Bar(name, low, high, next(told), next(told)) for name, (low, high) in swung.items()]
    made = provenance(job, block.backend, time.perf_counter() - begun)
    ordered = tuple(sorted(bars, key=lambda bar: -bar.width))
    return Tornado(kpi, figure_of(found[0], asked.confidence), ordered, block.replications, asked.confidence, made)


@dataclass(frozen=True, slots=True)
class Split:
    """Variance of a figure by where it comes from; the parts sum to `total`, estimates below 0 are told as 0.

    Attributes:
        interaction: what chance and state do differently for other parameters.
    """

    total: float
    parameters: float
    state: float
    chance: float
    interaction: float


def variance_split(
    base: Base, beliefs: Mapping[str, Belief], kpi: str, *, horizon: str | float, parameters: int = 32,
    states: int = 16, replications: int = 16, seed: int = 1, runner: Runner | None = None, **asked: Any,
) -> Split:  # fmt: skip
    """The spread of a figure, split among parameters, the state at the start and chance.

    Every draw of the parameters runs with the same states and the same chance: (parameters, states, replications) runs.
    """
    _check(beliefs)
    if min(parameters, states, replications) < 2:
        raise BadRequest(f"{parameters} × {states} × {replications} runs", "at least 2 of each")
    arms = [_setting(draw, f"draw {k}") for k, draw in enumerate(spread(beliefs, parameters, seed))]
    job = job_of(base, (), Question(kpis=(kpi,)), horizon=horizon, seed=seed, **asked).asking(arms)
    if isinstance(job, LayoutJob) and job.begin.states is not None:
        begin = dataclasses.replace(job.begin, states=partial(_repeated, job.begin.states, replications))
        job = dataclasses.replace(job, begin=begin)
        return split_of(_sampled(job, kpi, states * replications, runner).reshape(parameters, states, replications))
    found = _sampled(job, kpi, states * replications, runner)
    return split_of(found.reshape(parameters, 1, states * replications))


def split_of(y: NDArray[np.float64]) -> Split:
    """Components of variance of a crossed design, parameters × (states with replications in them), (p, s, r)."""
    p, s, r = y.shape
    whole = y.mean()
    rows, cells = y.mean(axis=(1, 2)), y.mean(axis=0)
    rest = y - rows[:, None, None] - cells[None] + whole
    interaction = float((rest**2).sum() / ((p - 1) * (s * r - 1)))
    parameters = float(rows.var(ddof=1)) - interaction / (s * r)
    within = float(cells.var(axis=1, ddof=1).mean())
    between = float(cells.mean(axis=1).var(ddof=1)) - within / r if s > 1 else 0.0
    parts = [max(0.0, x) for x in (parameters, between, within - interaction / p, interaction)]
    return Split(sum(parts), *parts)


def _repeated(states: States, times: int, replication: int) -> Packed:
    return states(replication // times)


def _setting(numbers: Mapping[str, float], name: str) -> Scenario:
    return Scenario(name, tuple(Intervention(0.0, point, value) for point, value in numbers.items()))


def _sampled(job: Job, kpi: str, count: int, runner: Runner | None) -> NDArray[np.float64]:
    """The figure, shape (scenarios, count)."""
    with lent(runner) as hired:
        block: Block = replicate(job, Question(count), hired)[0]
    return np.stack([values(job, block, s, kpi) for s in range(len(job.scenarios))])


def _check(beliefs: Mapping[str, Belief]) -> None:
    if not 1 <= len(beliefs) <= PARAMETERS_MAX:
        raise BadRequest(f"beliefs of {len(beliefs)} parameters", f"give 1 … {PARAMETERS_MAX}")
