"""Learning remaining life from runs to failure: what is held out, who wins, what a trial scores; must not know files.

Every device's record ends at its failure. The ridge is the champion; networks, one for each fold of devices and asked
together, go into the model only if they beat it on the devices that each did not see. Each round of networks has folds of
its own, so that a device is held out from networks that have seen different ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contest import judge
from ml.features import LENGTH_MAX
from ml.model_file import CODE, Manifest, ModelFile
from ml.records import DataSet, split_devices
from ml.rul_model import NETWORK, RIDGE, TASK, LifeModel, averaging, fit_margins, of_quantiles
from ml.rul_network import LEVELS, LifeNetwork, Member, Pace, Shape, fit_member
from ml.rul_ridge import LifeRidge, fit_ridge
from ml.rul_runs import Held, Rows, checked, feature_set, restarted, telling, truncated
from ml.scaling import fit_scaler
from ml.scores import coverage, late_penalty, rmse
from ml.training import Course, one_thread, seeded
from ml.trial import Seed, Trial, kept
from twin.errors import BadRequest

Array = NDArray[np.float64]
HELD_OUT = 0.2  # of the devices, for a trial that is given no test
MODELS = ("best", "ridge", "network")


@dataclass(frozen=True, slots=True)
class RulOptions:
    """How remaining life is learned. Times are in the unit of the records' times: seconds, or cycles.

    Attributes:
        cap: a longer life than this is told as this: wear does not show yet; above 0.
        settings: columns that tell the operating condition. conditions: how many there are, 1 … 24.
        model: `best` the network if it beats the ridge on held-out devices, else the ridge; `ridge`; `network`.
        windows: lengths of means and slopes, samples, 1 … 1024. means: of exponential means.
        window: last samples that the network sees as they are, 7 … 256; 0: none.
        starts: times that each run is learned anew from a later moment, drawn, so that the length of what is known of a
            device does not tell its age; 0 … 8.
        level: of the interval, 0.5 … 0.9: the network tells the quantiles .05 and .95.
        folds: of devices, 3 … 10. members: networks a fold, 1 … 10. penalty: of the ridge, relative to the rows.
        steps: of each network's training, 1 … 1000000, but at most `passes` through the rows, 1 … 1000. batch: rows a step.
        rate: largest step size, above 0 to 0.1.
        decay: of weights, 0 … 10. dropout: 0 … 0.9. width: of hidden layers, filters: of convolutions, 4 … 1024.
    """

    cap: float = 125.0
    settings: tuple[str, ...] = ()
    conditions: int = 1
    model: str = "best"
    windows: tuple[int, ...] = (10, 20, 40, 80, 160)
    means: tuple[int, ...] = (5, 20)
    window: int = 0
    starts: int = 1
    level: float = 0.9
    folds: int = 5
    members: int = 2
    penalty: float = 0.005
    steps: int = 1000
    passes: int = 10
    batch: int = 256
    rate: float = 5e-3
    decay: float = 1e-2
    dropout: float = 0.0
    width: int = 64
    filters: int = 16

    def __post_init__(self) -> None:
        lengths = (*self.windows, *self.means)
        for name, good, bounds in (
            ("cap", 0 < self.cap < math.inf, "above 0"),
            ("model", self.model in MODELS, ", ".join(MODELS)),
            ("windows", all(2 <= n <= LENGTH_MAX for n in lengths) and bool(self.windows), f"2 … {LENGTH_MAX}"),
            ("window", self.window == 0 or 7 <= self.window <= 256, "0, or 7 … 256"),
            ("starts", 0 <= self.starts <= 8, "0 … 8"),
            ("level", 0.5 <= self.level <= 0.9, "0.5 … 0.9"),
            ("folds", 3 <= self.folds <= 10, "3 … 10"),
            ("members", 1 <= self.members <= 10, "1 … 10"),
            ("penalty", 0 < self.penalty < math.inf, "above 0"),
            ("steps", 1 <= self.steps <= 1_000_000, "1 … 1000000"),
            ("passes", 1 <= self.passes <= 1000, "1 … 1000"),
            ("rate", 0 < self.rate <= 0.1, "above 0, to 0.1"),
            ("decay", 0 <= self.decay <= 10, "0 … 10"),
            ("dropout", 0 <= self.dropout <= 0.9, "0 … 0.9"),
            ("width", all(4 <= n <= 1024 for n in (self.width, self.filters)), "width and filters 4 … 1024"),
            ("batch", 8 <= self.batch <= 65_536, "8 … 65536"),
        ):  # fmt: skip
            if not good:
                raise BadRequest(f"{name} = {getattr(self, name)}", bounds)


def train(data: DataSet, options: RulOptions, seed: int, course: Course) -> ModelFile:
    """A model of remaining life from runs to failure: each record ends when its device did.

    Raises:
        BadRequest: too few or too short runs, or no column that tells anything. Cancelled: by the course.
    """
    rng = seeded(seed)
    checked(data, options.window)
    used, left_out = telling(data, options.settings, options.conditions, options.cap)
    course.at(0.0, "features")
    scaler = fit_scaler(used, options.settings if options.conditions > 1 else (), options.conditions, seed)
    window = 0 if options.model == "ridge" else options.window
    features = feature_set(used, scaler, options.windows, options.means, window)
    held = Held.drawn(used, options.cap, rng)
    folds = rng.permutation(len(used.records)) % options.folds  # (R,)
    made = Rows.of(used, restarted(used, options.starts, rng), features, window, options.cap)
    plain, told = _ridges(made, held, folds, options)
    champion, network, verdict, closer = _loss(told, held), None, None, 1.0
    if options.model != "ridge":
        rounds = [folds, *(rng.permutation(folds) for _ in range(1, options.members))]
        with one_thread():
            members, apart = _networks(made, held, rounds, options, seed, course.part(0.05, 0.98))
        other = of_quantiles(apart.mean(axis=0), options.cap)
        verdict = judge(champion, _loss(other, held))
        if verdict.better or options.model == "network":
            network, told = LifeNetwork(members[0].shape, members), other
            closer = averaging(of_quantiles(apart, options.cap)[0], held.truth, len(members))
    margins = fit_margins(told, held.truth, options.level, closer)
    made = made if network else made.bare()
    model = LifeModel(
        made.features,
        made.scaler,
        made.low,
        made.high,
        plain,
        network,
        margins,
        made.statistics,
        made.window,
        options.cap,
    )
    metrics = {
        "rmse": rmse(told[0], held.truth), "ridge_rmse": float(np.sqrt(champion.mean())),
        "width": float(np.mean(model.widened(told)[2] - model.widened(told)[1])), "runs": len(used.records),
        "averaging": closer, "verdict": asdict(verdict) if verdict else {}, "left_out": list(left_out),
    }  # fmt: skip
    course.at(1.0, "done")
    settings = model.settings() | {"options": asdict(options), "step_s": data.step_s}
    manifest = Manifest(
        RIDGE if network is None else NETWORK, TASK, settings, used.columns, used.units, data.hash(),
        model.features.hash(), CODE, seed, metrics,
    )  # fmt: skip
    return ModelFile(manifest, model.tensors())


def _ridges(made: Rows, held: Held, folds: NDArray[np.intp], options: RulOptions) -> tuple[LifeRidge, Array]:
    """The ridge of all runs, and what those of the others said of each, (3, R, D)."""
    told = np.empty((3, *held.truth.shape))
    for fold in range(options.folds):
        inputs, share = made.apart(folds, fold)
        ridge = fit_ridge(inputs[:, : made.statistics], share.astype(np.float64), options.penalty)
        rows = held.rows[folds == fold]  # (R', D)
        life = ridge.told(made.inputs[rows.ravel(), : made.statistics])
        told[:, folds == fold] = np.clip(life * options.cap, 0.0, options.cap).reshape(rows.shape)
    plain = fit_ridge(made.inputs[:, : made.statistics], made.share.astype(np.float64), options.penalty)
    return plain, told


def _networks(
    made: Rows, held: Held, rounds: Sequence[NDArray[np.intp]], options: RulOptions, seed: int, course: Course
) -> tuple[list[Member], Array]:
    """Networks for each fold of each round, and what those that did not see a run said of it, (rounds, R, D, Q)."""
    columns = (made.inputs.shape[1] - made.statistics) // made.window if made.window else 0
    shape = Shape(made.statistics, made.window, columns, options.filters, options.width, options.dropout)
    pace = Pace(options.steps, options.passes, options.batch, options.rate, options.decay)
    told, members = np.empty((len(rounds), *held.truth.shape, len(LEVELS))), []
    each = options.folds * len(rounds)
    for k in range(each):
        turn, fold = divmod(k, options.folds)
        part = course.part(k / each, (k + 1) / each, f"network {k + 1} of {each}")
        members.append(fit_member(*made.apart(rounds[turn], fold), shape, pace, seed * each + k, part))
        out = rounds[turn] == fold
        rows = held.rows[out]  # (R', D)
        told[turn, out] = LifeNetwork(shape, members[-1:]).told(made.inputs[rows.ravel()]).reshape(*rows.shape, -1)
    return members, told


def _loss(told: Array, held: Held) -> Array:
    """Mean squared error of each run, (R,)."""
    loss: Array = ((told[0] - held.truth) ** 2).mean(axis=1)
    return loss


def evaluate(
    data: DataSet, options: RulOptions, seeds: Sequence[int], course: Course,
    test: DataSet | None = None, left: Array | None = None,
) -> Trial:  # fmt: skip
    """Train on all runs with each seed and ask once at the end of each test record.

    Args:
        test: records cut before failure, and `left` what each device had left then; records to failure if there is no
            `left`; a fifth of the devices if there is no test.

    Raises:
        BadRequest: as `train`, or labels that do not fit the test records.
    """
    data, test, left, words = _parted(data, test, left)
    done, floors = [], []
    for k, seed in enumerate(seeds):
        begun = time.perf_counter()
        part = course.part(k / len(seeds), (k + 1) / len(seeds), f"seed {seed}")
        file = train(data, options, seed, part)
        seconds = time.perf_counter() - begun
        figures, raw = _scored(LifeModel.from_file(file), test, left)
        done.append(Seed(seed, figures, seconds, raw | {"kind": file.manifest.kind, "metrics": file.manifest.metrics}))
        plain = train(data, replace(options, model="ridge"), seed, Course(cancel=course.cancel))
        floors.append(_scored(LifeModel.from_file(plain), test, left)[0])
    floor = {name: float(np.mean([f[name] for f in floors])) for name in floors[0]}
    protocol = (
        f"Runs to failure of {len(data.devices)} devices for training, split by device for the networks, the verdict and "
        f"the margins; {words}; asked once at the last sample. rmse, score and coverage against life capped at "
        f"{options.cap:g}, rmse_uncapped against life as it was. The record's time and columns that are a straight line of it"
        " are no input."
    )
    return Trial(TASK, done[0].raw["kind"], data.hash(), protocol, done, floor, RIDGE)


def _parted(data: DataSet, test: DataSet | None, left: Array | None) -> tuple[DataSet, DataSet, Array, str]:
    """Runs to learn from, records to be asked about, what they had left, and how that came about."""
    if test is None:
        data, whole = split_devices(data, HELD_OUT, seed=0)
        test, left = truncated(whole, seed=0)
        return data, test, left, f"{len(test.records)} devices held out, each cut at random"
    if left is None:
        test, left = truncated(test, seed=0)
        return data, test, left, f"{len(test.records)} test devices, each cut at random"
    if len(left) != len(test.records):
        raise BadRequest(f"{len(left)} labels for {len(test.records)} test records", "one a device, in their order")
    return data, test, left, f"{len(left)} test records cut before failure, labels given"


def _scored(model: LifeModel, test: DataSet, left: Array) -> tuple[dict[str, float], dict[str, Any]]:
    told = [lives.last() for lives in model.of(test)]
    life, low, high = np.array([(t.life[0], t.low[0], t.high[0]) for t in told]).T
    known = np.isfinite(life)
    truth = np.where(known, np.minimum(left, model.cap), np.nan)
    raw = {
        "devices": [r.device for r in test.records], "left": left.tolist(), "life": life.tolist(), "low": low.tolist(),
        "high": high.tolist(), "sure": [bool(t.sure[0]) for t in told],
    }  # fmt: skip
    raw |= kept(truth, life, low, high, raw["devices"])
    figures = {
        "rmse": rmse(life, truth), "rmse_uncapped": rmse(life, np.where(known, left, np.nan)),
        "score": late_penalty(life[known], truth[known]), "coverage": coverage(low, high, truth),
        "width": float(np.mean(high[known] - low[known])), "unknown": float(np.mean(~known)),
    }  # fmt: skip
    return figures, raw
