"""Compares scenarios with the plant left as it is, by paired replications; must not know processes or screens."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.engine import BACKEND, Block, Job
from sim.model import read_model
from sim.result import Figure, LimitRisk, Outcome, Result
from sim.runner import Runner
from sim.scenario import BASELINE, Limit, Scenario
from sim.start import start_state
from sim.statistics import QUANTILES, fan, half_width, paired_difference, violated_by, wilson
from sim.streams import SEED_MAX
from twin.columns import Snapshot
from twin.errors import BadRequest
from twin.plant import Plant, nearest

HORIZON_MAX_S = 7 * 86_400.0  # demand beliefs say nothing useful past a week
SCENARIOS_MAX = 8  # more options need ranking and selection, not paired intervals
REPLICATIONS_MAX = 4096  # half-widths shrink with the root: past this a better model pays more
SAMPLES_MAX = 2000  # times of one trajectory: more than a screen has columns
OUTPUTS_MAX = 64  # points; keeps a result under some 10 MB

Progress = Callable[[int, int], None]
"""(replications done, replications planned); called in the caller's thread."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Go on until the half-width of this figure's difference is reached for every scenario.

    Attributes:
        kpi: `tank_1.level.final`, `tank_1.level.min` or `energy_kwh`.
    """

    kpi: str
    half_width: float
    replications_max: int = 1024


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
    limits: Sequence[Limit] = (),
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Result:
    """Each scenario against the baseline, from the snapshot, with common random numbers. Blocks for its whole time.

    Args:
        replications: pairs at first; doubled until `precision` is reached or its maximum.
        outputs: points to follow; the model's own when None. Points of limits are added.

    Raises:
        BadRequest: an unknown point, a value out of range, a limit of this module exceeded.
        Refused: the snapshot is not good enough to start from, or EPANET finds no solution.
        Cancelled: `cancel` was set.
    """
    begun = time.perf_counter()
    job = _job(plant, snapshot, scenarios, outputs, limits, float(horizon_s), float(sample_every_s), seed)
    _check(plant, job, replications, precision)
    block, stopped = _replicate(job, runner, replications, precision, progress, cancel)
    result = _result(plant, job, block, stopped, limits)
    return dataclasses.replace(result, wall_s=time.perf_counter() - begun)


def _result(plant: Plant, job: Job, block: Block, stopped: str, limits: Sequence[Limit]) -> Result:
    return Result(
        plant=plant.id,
        taken_at=job.start.taken_at,
        clock_s=job.start.clock_s,
        state_hash=job.start.hash,
        model_hash=job.model.hash,
        backend=BACKEND,
        seed=job.seed,
        replications=block.samples.shape[1],
        stopped=stopped,
        horizon_s=job.horizon_s,
        demand_multiplier=block.multiplier,
        times_s=tuple(job.times_s.tolist()),
        units={name: plant.point(name).unit for name in job.outputs},
        outcomes=_outcomes(job, block, limits),
        wall_s=0.0,
    )


def check_question(
    plant: Plant,
    snapshot: Snapshot,
    scenarios: Sequence[Scenario],
    *,
    horizon_s: float,
    sample_every_s: float = 600.0,
    replications: int = 64,
    outputs: Sequence[str] | None = None,
    limits: Sequence[Limit] = (),
) -> None:
    """Raise at once (milliseconds) what `compare` would raise of the question and the state; simulates nothing.

    Raises:
        BadRequest, Refused: as `compare`.
    """
    _check(plant, _job(plant, snapshot, scenarios, outputs, limits, horizon_s, sample_every_s, 0), replications, None)


def _job(
    plant: Plant,
    snapshot: Snapshot,
    scenarios: Sequence[Scenario],
    outputs: Sequence[str] | None,
    limits: Sequence[Limit],
    horizon_s: float,
    sample_every_s: float,
    seed: int,
) -> Job:
    model = read_model(plant)
    return Job(
        model=model,
        start=start_state(plant, model, snapshot),
        scenarios=(BASELINE, *scenarios),
        outputs=tuple(dict.fromkeys((*(model.outputs if outputs is None else outputs), *(x.point for x in limits)))),
        horizon_s=horizon_s,
        sample_every_s=sample_every_s,
        seed=seed,
    )


def _check(plant: Plant, job: Job, replications: int, precision: Precision | None) -> None:
    if not job.model.step_s <= job.horizon_s <= HORIZON_MAX_S:
        raise BadRequest(f"horizon of {job.horizon_s:g} s", f"take {job.model.step_s} … {HORIZON_MAX_S:g} s")
    if not 0 <= job.seed <= SEED_MAX:
        raise BadRequest(f"seed {job.seed}", f"take 0 … {SEED_MAX}")
    if not job.horizon_s / SAMPLES_MAX <= job.sample_every_s <= job.horizon_s or job.sample_every_s < 1:
        fix = f"at least 1 s, at most the horizon and at most {SAMPLES_MAX} samples"
        raise BadRequest(f"a sample every {job.sample_every_s:g} s", fix)
    if not 1 <= replications <= REPLICATIONS_MAX:
        raise BadRequest(f"{replications} replications", f"take 1 … {REPLICATIONS_MAX}")
    if len(job.scenarios) - 1 > SCENARIOS_MAX:
        raise BadRequest(f"{len(job.scenarios) - 1} scenarios", f"take at most {SCENARIOS_MAX}")
    if len({s.name for s in job.scenarios}) < len(job.scenarios):
        raise BadRequest("two scenarios have one name", f"name them apart; {BASELINE.name!r} is taken")
    if not 0 < len(job.outputs) <= OUTPUTS_MAX:
        raise BadRequest(f"{len(job.outputs)} outputs", f"take 1 … {OUTPUTS_MAX} points")
    for name in job.outputs:
        if name not in job.model.reads:
            raise BadRequest(f"the model does not tell {name!r}", nearest(name, job.model.reads))
    for scenario in job.scenarios:
        _check_scenario(plant, job, scenario)
    if precision is not None:
        _check_precision(job, precision)


def _check_precision(job: Job, precision: Precision) -> None:
    known = _kpi_names(job)
    if precision.kpi not in known:
        raise BadRequest(f"no figure is called {precision.kpi!r}", nearest(precision.kpi, known))
    if precision.half_width <= 0 or not 1 <= precision.replications_max <= REPLICATIONS_MAX:
        raise BadRequest(f"precision {precision}", f"half-width > 0, replications_max 1 … {REPLICATIONS_MAX}")


def _check_scenario(plant: Plant, job: Job, scenario: Scenario) -> None:
    settable = job.model.sets
    for step in scenario.interventions:
        place = f"scenario {scenario.name!r}: {step.point}"
        if step.point not in settable:
            hint = nearest(step.point, settable) or f"one of {', '.join(settable)}"
            raise BadRequest(f"{place} cannot be set", hint)
        if step.value is None:
            if step.point not in job.start.settings:
                raise BadRequest(f"{place} cannot be put back: its value is not measured", "leave `for` out")
            continue
        point = plant.point(step.point)
        if point.type == "boolean" and step.value not in (0.0, 1.0):
            raise BadRequest(f"{place}={step.value:g}", "take on or off")
        if not point.low <= step.value <= point.high:
            raise BadRequest(f"{place}={step.value:g}", f"take {point.low:g} … {point.high:g}")
        if not 0 <= step.at_s < job.horizon_s:
            raise BadRequest(f"{place} is set outside the horizon of {job.horizon_s:g} s", "look further ahead")


def _replicate(
    job: Job,
    runner: Runner,
    replications: int,
    precision: Precision | None,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> tuple[Block, str]:
    """All replications as one block, in order, and why there are no more."""
    blocks: list[Block] = []
    done, planned = 0, replications
    while True:
        for block in runner.run(job, done, planned - done, cancel):
            blocks.append(block)
            if progress is not None:
                progress(sum(b.samples.shape[1] for b in blocks), planned)
        whole = _join(blocks)
        if precision is None:
            return whole, "fixed"
        if _reached(job, whole, precision):
            return whole, "half-width"
        if planned >= precision.replications_max:
            return whole, "max"
        done, planned = planned, min(2 * planned, precision.replications_max)


def _join(blocks: Iterable[Block]) -> Block:
    ordered = sorted(blocks, key=lambda b: b.first)
    samples = np.concatenate([b.samples for b in ordered], axis=1)
    return Block(0, samples, np.concatenate([b.energy_kwh for b in ordered], axis=1), ordered[0].multiplier)


def _reached(job: Job, block: Block, precision: Precision) -> bool:
    base, *others = (_kpis(job, block, s)[precision.kpi] for s in range(len(job.scenarios)))
    return all(half_width(other - base) <= precision.half_width for other in others)


def _kpi_names(job: Job) -> list[str]:
    return [f"{name}.{figure}" for name in job.outputs for figure in ("final", "min")] + ["energy_kwh"]


def _kpis(job: Job, block: Block, scenario: int) -> dict[str, NDArray[np.float64]]:
    """Figure -> one number per replication, shape (R,)."""
    samples = block.samples[scenario]  # (R, T, P)
    kpis: dict[str, NDArray[np.float64]] = {}
    for column, name in enumerate(job.outputs):
        kpis[f"{name}.final"] = samples[:, -1, column]
        kpis[f"{name}.min"] = samples[:, :, column].min(axis=1)
    kpis["energy_kwh"] = block.energy_kwh[scenario]
    return kpis


def _outcomes(job: Job, block: Block, limits: Sequence[Limit]) -> tuple[Outcome, ...]:
    base = _kpis(job, block, 0)
    outcomes = []
    for s, scenario in enumerate(job.scenarios):
        kpis = _kpis(job, block, s)
        outcomes.append(
            Outcome(
                name=scenario.name,
                interventions=scenario.interventions,
                fans={name: _rows(fan(block.samples[s, :, :, c])) for c, name in enumerate(job.outputs)},
                kpis={name: _figure(values) for name, values in kpis.items()},
                differences={} if s == 0 else {n: paired_difference(v, base[n]) for n, v in kpis.items()},
                limits=tuple(_risk(x, block.samples[s, :, :, job.outputs.index(x.point)]) for x in limits),
            )
        )
    return tuple(outcomes)


def _rows(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def _figure(values: NDArray[np.float64]) -> Figure:
    return Figure(float(values.mean()), tuple(np.quantile(values, QUANTILES).tolist()))


def _risk(limit: Limit, samples: NDArray[np.float64]) -> LimitRisk:
    hits = violated_by(samples, limit.sign, limit.value).sum(axis=0).tolist()
    count = len(samples)
    intervals = [wilson(h, count) for h in hits]
    low, high = zip(*intervals, strict=True)
    return LimitRisk(str(limit), tuple(h / count for h in hits), low, high)
