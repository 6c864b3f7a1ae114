"""Learning dynamics: outputs of a plant from its inputs, by physics and a network on top; must not know files.

The physics alone is the champion. Networks that correct it, each trained without one fold of the data and asked together,
go into the model only if they beat it in free runs through the folds that each did not see.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.contest import UNITS_MIN, Verdict, judge
from ml.dynamics_folds import Folds, range_of
from ml.dynamics_model import TASK, DynamicsModel, Rollout
from ml.dynamics_network import correction
from ml.dynamics_physics import fit_physics
from ml.dynamics_runs import Stretch, checked, cut, scales_of, step_of, stretches
from ml.model_file import CODE, Manifest, ModelFile
from ml.records import DataSet, split_time
from ml.scores import coverage
from ml.training import Course, seeded
from ml.trial import Seed, Trial, kept
from twin.dynamics import PHYSICS, Dynamics, Form, Step
from twin.errors import BadRequest

HELD_OUT = 0.2  # of each record's rows, its last ones, for a trial that is given no test
LAGS = (1, 2, 3, 4, 6, 8, 12)  # of a linear model, tried on held-out stretches
ROWS_MAX = 20_000  # at once, drawn from more: the differences for 300 parameters are then 50 MB
FAR = 10  # times the horizon: how far a run must stay bounded
MODELS = ("best", "physics", "network")
PIECE = 1_024  # rows of what is drawn then
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DynamicsOptions:
    """How dynamics are learned. Rows must follow each other in equal steps; a gap begins a new run.

    Attributes:
        inputs, outputs: columns that drive, and that are told.
        physics: `linear` of the last rows, or `two_tanks`: one input pumps into the upper, one output is the lower level.
        step_s: seconds between two rows; 0: as their times say.
        lookback: measured rows that a free run begins with, 2 … 2000.
        horizon: rows of a free run in training, and up to which intervals widen, 16 … 4096.
        model: `best` the network if it beats the physics on stretches held out, else the physics; `physics`; `network`.
        lags: rows that the linear model looks back, 1 … 64; 0: what is best on stretches held out.
        ridge: penalty of the linear model, relative to the rows, above 0.
        width: of the network, 1 … 64. latent: states of its own, 0 … 8. members: networks a fold, 1 … 10.
        penalty: on the network's parameters, in squared spreads of the outputs, above 0.
        rounds: of each fit, 1 … 200. level: of the interval, 0.5 … 0.99.
        folds: parts of the data, in time or by device, each held out from networks of its own, 2 … 10.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    physics: str = "linear"
    step_s: float = 0.0
    lookback: int = 32
    horizon: int = 512
    model: str = "best"
    lags: int = 0
    ridge: float = 1e-5
    width: int = 8
    latent: int = 0
    members: int = 1
    penalty: float = 0.01
    rounds: int = 25
    level: float = 0.9
    folds: int = 6

    def __post_init__(self) -> None:
        for name, good, bounds in (
            ("physics", self.physics in PHYSICS, ", ".join(PHYSICS)),
            ("step_s", self.step_s >= 0, "0 or more seconds"),
            ("lookback", 2 <= self.lookback <= 2000, "2 … 2000 rows"),
            ("horizon", 16 <= self.horizon <= 4096, "16 … 4096 rows"),
            ("model", self.model in MODELS, ", ".join(MODELS)),
            ("lags", 0 <= self.lags <= min(64, self.lookback), "0 … 64, not above lookback"),
            ("ridge", self.ridge > 0, "above 0"),
            ("width", 1 <= self.width <= 64, "1 … 64"),
            ("latent", 0 <= self.latent <= 8, "0 … 8"),
            ("members", 1 <= self.members <= 10, "1 … 10"),
            ("penalty", self.penalty > 0, "above 0"),
            ("rounds", 1 <= self.rounds <= 200, "1 … 200"),
            ("level", 0.5 <= self.level <= 0.99, "0.5 … 0.99"),
            ("folds", 2 <= self.folds <= 10, "2 … 10"),
        ):
            if not good:
                raise BadRequest(f"{name} = {getattr(self, name)}", bounds)
        if self.physics == "two_tanks" and (len(self.inputs), len(self.outputs)) not in ((1, 1), (0, 0)):
            raise BadRequest(f"two_tanks of {self.inputs} and {self.outputs}", "one input, one output")


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a training stands on, without chance: it is the same for all seeds.

    Attributes:
        hash: of the data. whole: the physics of all runs. champions: that of each fold's rest.
        chosen_s: seconds that it took.
    """

    used: DataSet
    hash: str
    runs: Sequence[Stretch]
    folds: Folds
    whole: Dynamics
    champions: Sequence[Dynamics]
    chosen_s: float


def train(data: DataSet, options: DynamicsOptions, seed: int, course: Course) -> ModelFile:
    """A model of the outputs from the inputs.

    Raises:
        BadRequest: no roles, too few or too torn rows, a column that tells nothing. Cancelled: by the course.
    """
    return _trained(_ground(data, options, course.part(0.0, 0.2, "physics")), options, seed, course.part(0.2, 1.0))


def _trained(ground: _Ground, options: DynamicsOptions, seed: int, course: Course) -> ModelFile:
    seeded(seed)
    folds, verdict, held, dynamics = ground.folds, None, ground.champions, ground.whole
    plain = folds.losses(ground.champions)
    if options.model != "physics":
        networks = _networks(ground, options, seed, course)
        verdict = _judged(plain, folds.losses(networks))
        if verdict.better or options.model == "network":
            held = networks
            dynamics = replace(
                ground.whole, step=networks[0].step, parameters=torch.cat([d.parameters for d in networks])
            )
    model = DynamicsModel(dynamics, *folds.margins(held, options.horizon, options.level))
    form, used = dynamics.step.form, ground.used
    metrics = {
        "held_out_rmse": float(np.sqrt(np.nanmean(folds.losses(held)))), "physics_rmse": float(np.sqrt(np.nanmean(plain))),
        "verdict": asdict(verdict) if verdict else {}, "rows": sum(map(len, ground.runs)), "lags": form.lags,
    }  # fmt: skip
    settings = {"form": form.plain(), "lookback": options.lookback, "horizon": options.horizon}
    kind = f"{form.physics} and network" if form.width else form.physics
    manifest = Manifest(
        kind, TASK, settings | {"options": asdict(options)}, used.columns, used.units, ground.hash, "", CODE, seed,
        metrics,
    )  # fmt: skip
    course.at(1.0, "done")
    return ModelFile(manifest, model.tensors())


def _ground(data: DataSet, options: DynamicsOptions, course: Course) -> _Ground:
    begun = time.perf_counter()
    used = checked(data, options.inputs, options.outputs)
    step_s, gap = step_of(used, options.step_s)
    runs = stretches(used, options.inputs, options.outputs, gap, 2 * options.lookback)
    folds = Folds.of(runs, options.folds, options.lookback)
    form = Form(options.physics, options.inputs, options.outputs, step_s, options.lags or 1)
    if options.physics != "linear":
        form = replace(form, lags=1)
    elif not options.lags:
        form = replace(form, lags=_lags(form, runs, folds, options))
    champions = []
    for fold in range(options.folds):
        part = course.part(fold / (options.folds + 1), (fold + 1) / (options.folds + 1))
        champions.append(_physics(form, runs, folds.apart(fold), options, part))
    whole = _physics(form, runs, runs, options, course.part(options.folds / (options.folds + 1), 1.0))
    return _Ground(used, data.hash(), runs, folds, whole, champions, time.perf_counter() - begun)


def _physics(
    form: Form, runs: Sequence[Stretch], learnt: Sequence[Stretch], options: DynamicsOptions, course: Course
) -> Dynamics:
    """Of `learnt`, in the scales of all runs."""
    scales = scales_of(runs)
    found = fit_physics(form, scales, learnt, options.horizon, options.ridge, course)
    return Dynamics(Step(form, scales), found[None], range_of(runs), options.lookback)


def _lags(form: Form, runs: Sequence[Stretch], folds: Folds, options: DynamicsOptions) -> int:
    """Those whose free runs are best on what was held out."""
    losses = {}
    for lags in (n for n in LAGS if n <= options.lookback):
        some = replace(form, lags=lags)
        models = [_physics(some, runs, folds.apart(k), options, Course()) for k in range(options.folds)]
        losses[lags] = float(np.nanmean(folds.losses(models)))
    return min(losses, key=losses.__getitem__)


def _networks(ground: _Ground, options: DynamicsOptions, seed: int, course: Course) -> list[Dynamics]:
    """Those of each fold, which they did not see."""
    step = ground.whole.step
    step = replace(step, form=replace(step.form, width=options.width, latent=options.latent))
    found, each = [], options.folds * options.members
    for fold in range(options.folds):
        members: list[Tensor] = []
        for k in range(fold * options.members, (fold + 1) * options.members):
            part = course.part(k / each, (k + 1) / each, f"network {k + 1} of {each}")
            chance = np.random.default_rng([seed, k])
            runs = _drawn(ground.folds.apart(fold), chance)
            plain = ground.champions[fold].parameters[0]
            members.append(
                correction(step, plain, runs, options.horizon, options.penalty, options.rounds, chance, part)
            )
        found.append(replace(ground.whole, step=step, parameters=torch.stack(members)))
    return found


def _drawn(runs: Sequence[Stretch], chance: np.random.Generator) -> list[Stretch]:
    """At most ROWS_MAX rows, in whole pieces."""
    if sum(map(len, runs)) <= ROWS_MAX:
        return list(runs)
    pieces = cut(runs, PIECE, 32)
    found, rows = [], 0
    for k in chance.permutation(len(pieces)):
        if rows + len(pieces[k]) > ROWS_MAX:
            break
        found.append(pieces[k])
        rows += len(pieces[k])
    return found


def _judged(champion: Array, challenger: Array) -> Verdict:
    """By root mean squares: of squares a single block that overflows would be most of the variance."""
    there = np.isfinite(champion) & np.isfinite(challenger)
    return judge(np.sqrt(champion[there]), np.sqrt(challenger[there]))


def evaluate(
    data: DataSet, options: DynamicsOptions, seeds: Sequence[int], course: Course, test: DataSet | None = None
) -> Trial:
    """Train with each seed and run freely through the test records once.

    Args:
        test: records of the same columns; the last fifth of each record if there is none.

    Raises:
        As `train`, and a test that is too short.
    """
    checked(data, options.inputs, options.outputs)
    words = "test records of their own"
    if test is None:
        data, test = split_time(data, HELD_OUT)
        words = f"the last {HELD_OUT:.0%} of each record"
    _, gap = step_of(test, 0.0)
    runs = stretches(test, options.inputs, options.outputs, gap, options.lookback + UNITS_MIN)
    if not runs:
        raise BadRequest(f"no test record is longer than {options.lookback} rows", "longer ones, or a smaller lookback")
    ground = _ground(data, options, course.part(0.0, 0.1, "physics"))
    plain = _trained(ground, replace(options, model="physics"), 0, Course(cancel=course.cancel))
    floor = _scored(DynamicsModel.from_file(plain), runs, options)[0]
    done: list[Seed] = []
    for k, seed in enumerate(seeds):
        begun = time.perf_counter()
        part = course.part(0.1 + 0.9 * k / len(seeds), 0.1 + 0.9 * (k + 1) / len(seeds), f"seed {seed}")
        file = _trained(ground, options, seed, part)
        seconds = ground.chosen_s + time.perf_counter() - begun
        figures, raw = _scored(DynamicsModel.from_file(file), runs, options)
        done.append(Seed(seed, figures, seconds, raw | {"kind": file.manifest.kind, "metrics": file.manifest.metrics}))
    protocol = (
        f"Free runs over {words}: {len(runs)} of {sum(map(len, runs))} rows in steps of "
        f"{ground.whole.step.form.step_s:g} s. The first {options.lookback} measured outputs of each "
        f"run tell where it begins, by least squares; nothing later is looked at. rmse over the rows after them, rmse_all "
        f"with them. Held out in training: {options.folds} parts in time or by device, for the verdict and the intervals."
    )
    return Trial(TASK, done[0].raw["kind"], data.hash(), protocol, done, floor, options.physics)


def _scored(
    model: DynamicsModel, runs: Sequence[Stretch], options: DynamicsOptions
) -> tuple[dict[str, float], dict[str, Any]]:
    told, n = model.of(runs), model.lookback
    scale = 1.0 if len(options.outputs) == 1 else model.dynamics.step.scales.spread.numpy()
    errors = [(t.mean[0] - r.outputs) / scale for t, r in zip(told, runs, strict=True)]
    later = np.concatenate([e[n:] for e in errors])
    truth, mean, low, high = (
        np.concatenate(parts)
        for parts in (
            [r.outputs[n:] for r in runs], [t.mean[0, n:] for t in told], [t.low[0, n:] for t in told],
            [t.high[0, n:] for t in told],
        )
    )  # fmt: skip
    figures = {
        "rmse": float(np.sqrt(np.nanmean(later**2))), "rmse_all": float(np.sqrt(np.nanmean(np.concatenate(errors) ** 2))),
        "coverage_90" if options.level == 0.9 else "coverage": coverage(low, high, truth),
        "width": float(np.nanmean((high - low) / scale)),
        "unsure": float(np.mean(~np.concatenate([t.sure[0, n:] for t in told]))),
        "reach": _reach(model, runs, options),
    }  # fmt: skip
    for k, name in enumerate(options.outputs if len(options.outputs) > 1 else ()):
        figures[f"rmse_{name}"] = float(np.sqrt(np.nanmean((mean[:, k] - truth[:, k]) ** 2)))
    names = np.repeat(np.array(options.outputs), len(truth)).tolist()
    raw = kept(truth.T.ravel(), mean.T.ravel(), low.T.ravel(), high.T.ravel(), names, options.level, "output")
    return figures, raw


def _reach(model: DynamicsModel, runs: Sequence[Stretch], options: DynamicsOptions) -> float:
    """How far a run of ten times the horizon leaves the range of the test outputs, in spreads: inputs again and again."""
    run = max(runs, key=len)
    times = -(-(FAR * options.horizon + model.lookback) // len(run))
    inputs = np.tile(run.inputs, (times, 1))[: FAR * options.horizon + model.lookback]
    told: Rollout = model.rollout(inputs[None], run.outputs[None, : model.lookback])
    low, high = np.nanmin(run.outputs, axis=0), np.nanmax(run.outputs, axis=0)
    out = (
        np.maximum(np.maximum(told.mean[0] - high, low - told.mean[0]), 0.0) / model.dynamics.step.scales.spread.numpy()
    )
    return float(out.max())
