"""Compares scenarios with a base left as it is, by paired replications; must not know processes, screens or models."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.job import Block, Job, join, sample_times_s
from sim.kpi import passed_s, values
from sim.question import Precision, Question, asked_as, check
from sim.result import Choice, Draft, Figure, Goal, LimitRisk, Outcome, Result
from sim.runner import Runner
from sim.scenario import Limit, Scenario
from sim.statistics import QUANTILES, Difference, fan, half_width, paired_difference, wilson
from sim.versions import versions

SAME_MIN = 1_000  # equal pairs before they are believed to be: what differs in 1 of 300 has shown by then (95 %)

Progress = Callable[[int, int], None]
"""(replications done, replications planned); called in the caller's thread."""


def left_s(done: int, planned: int, spent_s: float) -> float | None:
    """Seconds that the rest takes at the pace so far; None before the first replications are there."""
    return spent_s * (planned - done) / done if done > 0 else None


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
        BadRequest: `sim.question.check` finds something. Refused: the model finds no solution, or a component did what
        cannot be. LimitExceeded: too much memory. Cancelled: `cancel` was set.
    """
    begun = time.perf_counter()
    check(job, asked)
    block, stopped = replicate(job, asked, runner, progress, cancel)
    result = conclude(job, asked, block, stopped)
    return dataclasses.replace(result, wall_s=time.perf_counter() - begun)


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
    if block.replications < min(SAME_MIN, precision.replications_max) and any(np.ptp(each) == 0 for each in told):
        return False
    return all(half_width(each, confidence) <= precision.half_width for each in told)


# --- after -----------------------------------------------------------------------------------------------------------


def conclude(job: Job, asked: Question, block: Block, stopped: str) -> Result:
    """The result of replications that have run; pure."""
    origin = job.origin
    kpis = {name: [values(job, block, s, name) for s in range(len(job.scenarios))] for name in asked.figures(job)}
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
    drafts, by_hand = drafts_of(job, scenario)
    sampled = {name: block.samples[s, :, :, c].astype(np.float64) for c, name in enumerate(job.outputs)}
    return Outcome(
        name=scenario.name,
        interventions=scenario.interventions,
        fans={name: _rows(fan(each)) for name, each in sampled.items()},
        kpis={name: figure_of(arms[s], asked.confidence) for name, arms in kpis.items()},
        differences={n: paired_difference(a[s], a[0], asked.confidence) for n, a in kpis.items()} if s else {},
        limits=tuple(_risk(job, block, s, x, asked.confidence) for x in asked.limits),
        drafts=drafts,
        by_hand=by_hand,
    )


def drafts_of(job: Job, scenario: Scenario) -> tuple[tuple[Draft, ...], tuple[str, ...]]:
    """The commands that a scenario is to the plant, and what of it no command can do."""
    drafts, by_hand = [], []
    for step, made in zip(scenario.interventions, job.drafts(scenario), strict=True):
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
        f"{goal}: {name} is better by {abs(gain.mean):.4g} ± {gain.half_width:.3g}, P(better) = {gain.p_greater:.2f}"
    )
    return f"{better}; not told apart from {', '.join(rivals)}" if rivals else better


def _rows(samples: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in samples.tolist())


def figure_of(samples: NDArray[np.float64], confidence: float) -> Figure:
    """Of one scenario, (replications,)."""
    quantiles = tuple(np.quantile(samples, QUANTILES).tolist())
    return Figure(float(samples.mean()), quantiles, half_width(samples, confidence))


def _risk(job: Job, block: Block, scenario: int, limit: Limit, confidence: float) -> LimitRisk:
    passed = np.sort(passed_s(job, block, scenario, limit))
    hits = np.searchsorted(passed, sample_times_s(job), side="right").tolist()
    count = len(passed)
    intervals = [wilson(h, count, confidence) for h in hits]
    low, high = zip(*intervals, strict=True)
    return LimitRisk(str(limit), tuple(h / count for h in hits), low, high)
