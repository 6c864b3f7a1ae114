"""Compares scenarios with a plant left as it is, by paired replications; must not know processes, screens or models."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.job import Block, Job, Where, join, sample_times_s
from sim.kpi import usual, values
from sim.result import Choice, Draft, Figure, Goal, LimitRisk, Outcome, Result
from sim.runner import Runner
from sim.scenario import BASELINE, Limit, Scenario, Verb
from sim.statistics import CONFIDENCE, QUANTILES, Difference, fan, half_width, paired_difference, violated_by, wilson
from sim.streams import SEED_MAX
from sim.versions import versions
from twin.errors import BadRequest, LimitExceeded
from twin.nearest import nearest

if TYPE_CHECKING:  # what a plant needs is loaded when one is asked about: a layout's first answer does not wait for it
    from twin.columns import Snapshot
    from twin.plant import Plant

HORIZON_MAX_S = 7 * 86_400.0  # of a plant: beliefs of what comes to it say nothing useful past a week
SCENARIOS_MAX = 8  # paired intervals of more options tell little: `sim.ranking` compares those
REPLICATIONS_MAX = 4096  # half-widths shrink with the root: past this a better model pays more
COMPILED_MAX = 100_000  # replications on the kernel: 15 s of LINE10 on two threads
SAMPLES_MAX = 2000  # times of one trajectory: more than a screen has columns
OUTPUTS_MAX = 64  # points; keeps a result under some 10 MB
MEMORY_MAX_BYTES = 1 << 30  # of samples: what an experiment may hold beside a running server
FIGURES_MAX = 200  # rows of a table that nobody reads

Progress = Callable[[int, int], None]
"""(replications done, replications planned); called in the caller's thread."""


class Answerer(Protocol):
    """What answers a question: `answer`, or `sim.answers.Answers.answer`, which keeps results."""

    def __call__(
        self, job: Job, asked: Question, runner: Runner, *, progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Result: ...  # fmt: skip


def left_s(done: int, planned: int, spent_s: float) -> float | None:
    """Seconds that the rest takes at the pace so far; None before the first replications are there."""
    return spent_s * (planned - done) / done if done > 0 else None


__all__ = [
    "HORIZON_MAX_S",
    "REPLICATIONS_MAX",
    "Precision",
    "Question",
    "answer",
    "check_question",
    "compare",
    "left_s",
]


@dataclass(frozen=True, slots=True)
class Precision:
    """Go on until the half-width of this figure's difference is reached for every scenario.

    Attributes:
        kpi: `tank_1.level.final`, `tank_1.level.min`, `energy_kwh`, `parts` …; without scenarios, its own half-width.
    """

    kpi: str
    half_width: float
    replications_max: int = 1024


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


def compare(
    plant: Plant,
    snapshot: Snapshot,
    scenarios: Sequence[Scenario],
    runner: Runner,
    *,
    horizon_s: float,
    sample_every_s: float = 600.0,
    seed: int,
    replications: int = 64,
    precision: Precision | None = None,
    outputs: Sequence[str] | None = None,
    kpis: Sequence[str] = (),
    limits: Sequence[Limit] = (),
    goal: Goal | None = None,
    confidence: float = CONFIDENCE,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    by: Answerer | None = None,
) -> Result:
    """Each scenario against the plant left as it is, from its snapshot, with common random numbers. Blocks.

    Args:
        outputs: points to follow; the model's own when None. Points of limits and figures are added.
        kpis, goal, confidence: as in `Question`.
        by: answers it; `answer` when None.

    Raises:
        BadRequest: an unknown point, a value out of range, a limit of this module exceeded.
        Refused: the snapshot is not good enough to start from, or the model finds no solution.
        LimitExceeded: the samples would need more than MEMORY_MAX_BYTES.
        Cancelled: `cancel` was set.
    """
    from sim.plant_job import plant_job

    asked = Question(replications, precision, tuple(kpis), tuple(limits), goal, confidence)
    _check_horizon(horizon_s)
    job = plant_job(
        plant, snapshot, scenarios, outputs, asked.kpis, limits, float(horizon_s), float(sample_every_s), seed
    )
    return (by or answer)(job, asked, runner, progress=progress, cancel=cancel)


def check_question(
    plant: Plant,
    snapshot: Snapshot,
    scenarios: Sequence[Scenario],
    *,
    horizon_s: float,
    sample_every_s: float = 600.0,
    replications: int = 64,
    outputs: Sequence[str] | None = None,
    kpis: Sequence[str] = (),
    limits: Sequence[Limit] = (),
    goal: Goal | None = None,
) -> None:
    """Raise at once (milliseconds) what `compare` would raise of the question and the state; simulates nothing.

    Raises:
        BadRequest, Refused: as `compare`.
    """
    from sim.plant_job import plant_job

    _check_horizon(horizon_s)
    job = plant_job(plant, snapshot, scenarios, outputs, kpis, limits, float(horizon_s), float(sample_every_s), 0)
    check(job, Question(replications, None, tuple(kpis), tuple(limits), goal))


def answer(
    job: Job,
    asked: Question,
    runner: Runner,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Result:
    """What the job's replications say. Blocks for its whole time.

    Raises:
        As `compare`.
    """
    begun = time.perf_counter()
    check(job, asked)
    block, stopped = replicate(job, asked, runner, progress, cancel)
    result = conclude(job, asked, block, stopped)
    return dataclasses.replace(result, wall_s=time.perf_counter() - begun)


def _check_horizon(horizon_s: float) -> None:
    if not 0 < horizon_s <= HORIZON_MAX_S:
        raise BadRequest(f"horizon of {horizon_s:g} s", f"a positive time, at most {HORIZON_MAX_S:g} s")


# --- before ----------------------------------------------------------------------------------------------------------


def check(job: Job, asked: Question) -> None:
    """
    Raises:
        BadRequest: a limit of this module is exceeded, or a figure is unknown.
        LimitExceeded: too much memory.
    """
    if not 0 < job.horizon_s < math.inf:
        raise BadRequest(f"horizon of {job.horizon_s:g} s", "a positive time")
    if not 0 <= job.seed <= SEED_MAX:
        raise BadRequest(f"seed {job.seed}", f"take 0 … {SEED_MAX}")
    if not job.horizon_s / SAMPLES_MAX <= job.sample_every_s <= job.horizon_s:
        raise BadRequest(
            f"a sample every {job.sample_every_s:g} s", f"at most the horizon and at most {SAMPLES_MAX} samples"
        )
    most = COMPILED_MAX if job.where is Where.THREADS else REPLICATIONS_MAX
    if not 1 <= asked.replications <= most:
        raise BadRequest(f"{asked.replications} replications", f"take 1 … {most}")
    if len(job.scenarios) - 1 > SCENARIOS_MAX:
        raise BadRequest(f"{len(job.scenarios) - 1} scenarios", f"take at most {SCENARIOS_MAX}, or rank them")
    if len({s.name for s in job.scenarios}) < len(job.scenarios):
        raise BadRequest("two scenarios have one name", f"name them apart; {BASELINE.name!r} is taken")
    if len(job.outputs) > OUTPUTS_MAX or len(_kpis(job, asked)) > FIGURES_MAX or not _kpis(job, asked):
        count = f"{len(job.outputs)} outputs and {len(_kpis(job, asked))} figures"
        raise BadRequest(count, f"take at most {OUTPUTS_MAX} outputs and 1 … {FIGURES_MAX} figures")
    if not 0.5 <= asked.confidence < 1:
        raise BadRequest(f"confidence {asked.confidence:g}", "a share from 0.5 to below 1, such as 0.95")
    if asked.precision is not None:
        _check_precision(job, asked, asked.precision, most)
    if asked.goal is not None and asked.goal.kpi not in _kpis(job, asked):
        raise BadRequest(f"the goal {asked.goal.kpi!r} is not among the figures", "ask for it")
    _check_memory(job, asked)


def _check_precision(job: Job, asked: Question, precision: Precision, most: int) -> None:
    known = _kpis(job, asked)
    if precision.kpi not in known:
        raise BadRequest(f"no figure is called {precision.kpi!r}", nearest(precision.kpi, known))
    if not precision.half_width > 0 or not 1 <= precision.replications_max <= most:
        raise BadRequest(f"precision {precision}", f"half-width > 0, replications_max 1 … {most}")


def _check_memory(job: Job, asked: Question) -> None:
    most = asked.replications if asked.precision is None else asked.precision.replications_max
    numbers = len(sample_times_s(job)) * len(job.outputs) + len(job.figures)
    needed = 8 * 2 * len(job.scenarios) * max(asked.replications, most) * numbers  # twice: joining copies
    if needed > MEMORY_MAX_BYTES:
        raise LimitExceeded(
            f"the samples need {needed / 2**20:.0f} MB, the limit MEMORY_MAX_BYTES is {MEMORY_MAX_BYTES / 2**20:.0f} MB",
            "ask for fewer outputs, samples or replications",
        )


def _kpis(job: Job, asked: Question) -> tuple[str, ...]:
    return asked.kpis or usual(job.outputs, job.figures)


# --- replications ----------------------------------------------------------------------------------------------------


def replicate(
    job: Job,
    asked: Question,
    runner: Runner,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> tuple[Block, str]:
    """All replications as one block, in order, and why there are no more."""
    blocks: list[Block] = []
    precision = asked.precision
    done, planned = 0, asked.replications
    while True:
        for block in runner.run(job, done, planned - done, cancel):
            blocks.append(block)
            if progress is not None:
                progress(sum(b.replications for b in blocks), planned)
        whole = join(blocks)
        if precision is None:
            return whole, "fixed"
        if _reached(job, whole, precision, asked.confidence):
            return whole, "half-width"
        if planned >= precision.replications_max:
            return whole, "max"
        blocks = [whole]
        done, planned = planned, min(2 * planned, precision.replications_max)


def _reached(job: Job, block: Block, precision: Precision, confidence: float) -> bool:
    base, *others = (values(job, block, s, precision.kpi) for s in range(len(job.scenarios)))
    told = [other - base for other in others] or [base]
    return all(half_width(each, confidence) <= precision.half_width for each in told)


# --- after -----------------------------------------------------------------------------------------------------------


def conclude(job: Job, asked: Question, block: Block, stopped: str) -> Result:
    """The result of replications that have run; pure."""
    origin = job.origin
    kpis = {name: [values(job, block, s, name) for s in range(len(job.scenarios))] for name in _kpis(job, asked)}
    return Result(
        plant=origin.plant,
        taken_at=origin.taken_at,
        clock_s=origin.clock_s,
        state_hash=origin.state_hash,
        model_hash=origin.model_hash,
        backend=block.backend,
        seed=job.seed,
        replications=block.replications,
        stopped=stopped,
        horizon_s=job.horizon_s,
        demand_multiplier=block.multiplier,
        times_s=tuple(sample_times_s(job).tolist()),
        units={name: job.unit(name) for name in job.outputs},
        outcomes=tuple(_outcome(job, asked, block, s, kpis) for s in range(len(job.scenarios))),
        wall_s=0.0,
        why=origin.why,
        kernel_hash=job.faster().origin.kernel_hash,
        confidence=asked.confidence,
        choice=None
        if asked.goal is None
        else choice(job.scenarios, asked.goal, kpis[asked.goal.kpi], asked.confidence),
        question=asked_as(job, asked),
        base=origin.base,
        versions=versions(),
    )


def _outcome(
    job: Job, asked: Question, block: Block, s: int, kpis: Mapping[str, Sequence[NDArray[np.float64]]]
) -> Outcome:
    scenario = job.scenarios[s]
    drafts, by_hand = _drafts(job, scenario)
    sampled = {name: block.samples[s, :, :, c].astype(np.float64) for c, name in enumerate(job.outputs)}
    return Outcome(
        name=scenario.name,
        interventions=scenario.interventions,
        fans={name: _rows(fan(each)) for name, each in sampled.items()},
        kpis={name: _figure(arms[s]) for name, arms in kpis.items()},
        differences={n: paired_difference(a[s], a[0], asked.confidence) for n, a in kpis.items()} if s else {},
        limits=tuple(_risk(x, sampled[x.point], asked.confidence) for x in asked.limits),
        drafts=drafts,
        by_hand=by_hand,
    )


def _drafts(job: Job, scenario: Scenario) -> tuple[tuple[Draft, ...], tuple[str, ...]]:
    drafts, by_hand = [], []
    for step in scenario.interventions:
        made = job.draft(step.point, step.value) if step.verb is Verb.SET else None
        if made is None:
            by_hand.append(str(step))
        else:
            drafts.append(Draft(*made, step.at_s))
    return tuple(drafts), tuple(by_hand)


def choice(scenarios: Sequence[Scenario], goal: Goal, arms: Sequence[NDArray[np.float64]], confidence: float) -> Choice:
    """The scenario that serves the goal best; all its comparisons hold together with the confidence (Bonferroni)."""
    best = int(np.argmax([goal.sign * float(arm.mean()) for arm in arms]))
    each = 1 - (1 - confidence) / max(1, len(arms) - 1)
    against = {s: paired_difference(goal.sign * arms[best], goal.sign * arms[s], each) for s in range(len(arms))}
    rivals = tuple(scenarios[s].name for s, d in against.items() if s != best and not d.resolved)
    resolved = best != 0 and against[0].resolved
    p_better = against[0].p_greater
    name = scenarios[best].name
    return Choice(name, goal, p_better, resolved, rivals, _reason(name, goal, against[0], best, rivals, resolved))


def _reason(name: str, goal: Goal, gain: Difference, best: int, rivals: Sequence[str], resolved: bool) -> str:
    if best == 0:
        return f"{goal}: nothing asked about is better than leaving the plant as it is"
    if not resolved:
        return f"{goal}: not resolved; {name} looks best, but chance alone may make it so"
    better = (
        f"{goal}: {name} is better by {abs(gain.mean):.4g} ± {gain.half_width:.2g}, P(better) = {gain.p_greater:.2f}"
    )
    return f"{better}; not told apart from {', '.join(rivals)}" if rivals else better


def _rows(samples: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in samples.tolist())


def _figure(samples: NDArray[np.float64]) -> Figure:
    return Figure(float(samples.mean()), tuple(np.quantile(samples, QUANTILES).tolist()))


def _risk(limit: Limit, samples: NDArray[np.float64], confidence: float) -> LimitRisk:
    hits = violated_by(samples, limit.sign, limit.value).sum(axis=0).tolist()
    count = len(samples)
    intervals = [wilson(h, count, confidence) for h in hits]
    low, high = zip(*intervals, strict=True)
    return LimitRisk(str(limit), tuple(h / count for h in hits), low, high)


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
