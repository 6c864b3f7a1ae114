"""What is asked of replications: how many, which figures, what is better; and its limits; must not know what runs them."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from sim.job import Job, Where, sample_times_s
from sim.kpi import limits_of, needed, usual
from sim.result import Goal
from sim.scenario import BASELINE, Limit
from sim.statistics import CONFIDENCE
from twin.errors import BadRequest, LimitExceeded

SCENARIOS_MAX = 8  # paired intervals of more options tell little: `sim.ranking` compares those
REPLICATIONS_MAX = 4096  # half-widths shrink with the root: past this a better model pays more
COMPILED_MAX = 100_000  # replications on the kernel: 15 s of LINE10 on two threads
PRECISE_MAX = 1024  # replications of a precision that names no maximum: a minute of the water plant
SAMPLES_MAX = 2000  # times of one trajectory: more than a screen has columns
OUTPUTS_MAX = 64  # points; keeps a result under some 10 MB
MEMORY_MAX_BYTES = 1 << 30  # of samples: what an experiment may hold beside a running server
FIGURES_MAX = 200  # rows of a table that nobody reads


@dataclass(frozen=True, slots=True)
class Precision:
    """Go on until the half-width of this figure's difference is reached for every scenario.

    Attributes:
        kpi: `tank_1.level.final`, `tank_1.level.min`, `energy_kwh`, `parts` …; without scenarios, its own half-width.
    """

    kpi: str
    half_width: float
    replications_max: int = PRECISE_MAX


_PRECISION = re.compile(r"\s*(?P<kpi>\S.*?)\s*(?:±|\+/-)\s*(?P<width>\S+)\s*")


def parse_precision(text: str, replications_max: int = PRECISE_MAX) -> Precision:
    """`parts±1`, `tank_1.level.min +/- 0.05`.

    Raises:
        BadRequest: not of that form.
    """
    match = _PRECISION.fullmatch(text)
    width = _number(match["width"]) if match else math.nan
    if match is None or not 0 < width < math.inf:
        raise BadRequest(
            f"precision {text!r} is not understood", "write FIGURE±HALFWIDTH, such as tank_1.level.min±0.05"
        )
    return Precision(match["kpi"], width, replications_max)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a job.

    Attributes:
        replications: pairs at first; doubled until `precision` is reached or its maximum.
        kpis: figures by name; the usual ones of the job's outputs when empty.
        goal: what is better.
    """

    replications: int = 64
    precision: Precision | None = None
    kpis: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    goal: Goal | None = None
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if not isinstance(self.replications, int):
            raise BadRequest(f"{self.replications!r} replications", "a whole number")

    @property
    def named(self) -> tuple[str, ...]:
        """Every figure that it names."""
        precision = () if self.precision is None else (self.precision.kpi,)
        goal = () if self.goal is None else (self.goal.kpi,)
        return tuple(dict.fromkeys([*self.kpis, *precision, *goal]))

    def figures(self, job: Job) -> tuple[str, ...]:
        """The figures that are told."""
        return tuple(dict.fromkeys([*(self.kpis or usual(job.outputs, job.figures)), *self.named]))


def check(job: Job, asked: Question, scenarios_max: int = SCENARIOS_MAX) -> None:
    """
    Args:
        scenarios_max: besides the baseline.

    Raises:
        BadRequest: a limit of this module is exceeded, or a figure is unknown.
        LimitExceeded: too much memory.
    """
    told = asked.figures(job)
    needed(told, job.figures, job.outputs)
    for limit in (*asked.limits, *limits_of(told)):
        if job.limits is not None and limit not in job.limits:
            raise BadRequest(f"nothing looks at {limit} between samples", "name it where the job is made")
    if not 0 < job.horizon_s < math.inf:
        raise BadRequest(f"horizon of {job.horizon_s:g} s", "a positive time")
    if not job.horizon_s / SAMPLES_MAX <= job.sample_every_s <= job.horizon_s:
        raise BadRequest(
            f"a sample every {job.sample_every_s:g} s", f"at most the horizon and at most {SAMPLES_MAX} samples"
        )
    most = COMPILED_MAX if job.where is Where.THREADS else REPLICATIONS_MAX
    if not 1 <= asked.replications <= most:
        raise BadRequest(f"{asked.replications} replications", f"take 1 … {most}")
    if len(job.scenarios) - 1 > scenarios_max:
        raise BadRequest(f"{len(job.scenarios) - 1} scenarios", _fewer(scenarios_max))
    if len({s.name for s in job.scenarios}) < len(job.scenarios):
        raise BadRequest("two scenarios have one name", f"name them apart; {BASELINE.name!r} is taken")
    if len(job.outputs) > OUTPUTS_MAX or len(told) > FIGURES_MAX or not told:
        count = f"{len(job.outputs)} outputs and {len(told)} figures"
        raise BadRequest(count, f"take at most {OUTPUTS_MAX} outputs and 1 … {FIGURES_MAX} figures")
    if not 0.5 <= asked.confidence < 1:
        raise BadRequest(f"confidence {asked.confidence:g}", "a share from 0.5 to below 1, such as 0.95")
    if asked.precision is not None:
        _check_precision(asked.precision, most)
    _check_memory(job, asked)


def _fewer(scenarios_max: int) -> str:
    compared = scenarios_max == SCENARIOS_MAX
    return f"take at most {scenarios_max}" + (", or rank them: `twinloop whatif rank`" if compared else "")


def _check_precision(precision: Precision, most: int) -> None:
    if not precision.half_width > 0 or not 1 <= precision.replications_max <= most:
        raise BadRequest(f"precision {precision}", f"half-width > 0, replications_max 1 … {most}")


def _check_memory(job: Job, asked: Question) -> None:
    most = asked.replications if asked.precision is None else asked.precision.replications_max
    numbers = (len(sample_times_s(job)) + 2) * len(job.outputs) + len(job.figures) + len(job.limits or ())
    needed = 8 * 2 * len(job.scenarios) * max(asked.replications, most) * numbers  # twice: joining copies
    if needed > MEMORY_MAX_BYTES:
        raise LimitExceeded(
            f"the samples need {needed / 2**20:.0f} MB, the limit MEMORY_MAX_BYTES is {MEMORY_MAX_BYTES / 2**20:.0f} MB",
            "ask for fewer outputs, samples or replications",
        )


def asked_as(job: Job, asked: Question) -> dict[str, Any]:
    """The question as plain values; `sim.replay` reads it."""
    return {
        "scenarios": [dataclasses.asdict(s) for s in job.scenarios[1:]],
        "outputs": list(job.outputs),
        "horizon_s": job.horizon_s,
        "sample_every_s": job.sample_every_s,
        "seed": job.seed,
        "replications": asked.replications,
        "precision": None if asked.precision is None else dataclasses.asdict(asked.precision),
        "kpis": list(asked.kpis),
        "limits": [str(limit) for limit in asked.limits],
        "goal": None if asked.goal is None else [asked.goal.kpi, str(asked.goal.sense)],
        "confidence": asked.confidence,
    }
