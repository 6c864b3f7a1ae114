"""Forecasts of every column of a record: the ridge always, the network where it beats it; must not know files or screens."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import forecaster, recurrent_training, ridge
from ml.contest import UNITS_MIN, Verdict, blocks, judge
from ml.forecast_model import COVERED, LEVELS, MISSING_MAX, TASK, ForecastModel
from ml.intervals import excess, margin
from ml.model_file import CODE, Manifest, ModelFile
from ml.records import DataSet, constant, even
from ml.recurrent_training import RUN, Held
from ml.scaling import Scaler, fit_scaler
from ml.scores import coverage, mae, mse, pinball
from ml.training import Course
from ml.trial import KEPT_MAX, Seed, Trial, kept
from ml.windows import Windows, parts, windows
from twin.errors import BadRequest
from twin.nearest import nearest

NETWORKS = {"none": "none", "no": "none", "window": "window", "yes": "window", "recurrent": "recurrent"}
CHALLENGERS = {"window": "forecaster", "recurrent": "recurrent"}
HELD_MAX = 4_000_000  # numbers forecast at once to choose, to calibrate or to test: with quantiles some 200 MB
WINDOWS_MIN = 200  # of the training part: fewer than some weights each
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ForecastOptions:
    """
    Attributes:
        lookback, horizon: rows that are seen, and that are told.
        shares: of each record's rows, in time: to learn, to choose and calibrate, to test.
        rows: only the first so many of each record; 0: all.
        network: which one may challenge the ridge: none; window, which sees whole windows; recurrent, which remembers and
            takes one sample at a time. no is none, yes is window.
        memory: numbers that the recurrent one remembers of a device, 4 … 512.
    """

    lookback: int = 96
    horizon: int = 96
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    rows: int = 0
    network: str = "window"
    memory: int = 32

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise BadRequest(f"no network {self.network!r}", nearest(self.network, NETWORKS))
        object.__setattr__(self, "network", NETWORKS[self.network])
        if not 4 <= self.memory <= 512:
            raise BadRequest(f"memory {self.memory}", "4 … 512 numbers a device")
        if not 1 <= self.lookback <= 2_000 or not 1 <= self.horizon <= 2_000:
            raise BadRequest(f"lookback {self.lookback}, horizon {self.horizon}", "1 … 2,000 rows each")
        if min(self.shares) < 0 or not self.shares[0] or abs(sum(self.shares) - 1) > 1e-9:
            raise BadRequest(f"shares {self.shares}", "three shares of the rows that sum to 1, the first above 0")


def train(data: DataSet, options: ForecastOptions, seed: int, course: Course) -> ModelFile:
    """Learn from each record's first rows, choose and calibrate on the next.

    Raises:
        BadRequest: too few rows, or a column without values. Cancelled: the course was.
    """
    cut = _cut(data, options)
    model, verdict, held = _trained(cut, options, seed, course)
    mean, truth = _settled(held, held.asked(model)[0])
    told = {"held_out_mse": mse(mean, truth), **_told(verdict)}
    settings = {**dataclasses.asdict(options), "levels": list(model.levels), "step_s": data.step_s}
    manifest = Manifest(
        _kind(model), TASK, settings, data.columns, data.units, data.hash(), "", CODE, seed, told
    )  # fmt: skip
    return ModelFile(manifest, model.tensors())


def evaluate(data: DataSet, options: ForecastOptions, seeds: Sequence[int], course: Course) -> Trial:
    """Train with each seed on the first rows and open the last ones once.

    Raises:
        As `train`.
    """
    cut = _cut(data, options)
    found = []
    for n, seed in enumerate(seeds):
        begun = time.monotonic()
        model, verdict, _ = _trained(
            cut, options, seed, course.part(n / len(seeds), (n + 1) / len(seeds), f"seed {seed}")
        )
        test = _Part.of(cut, options, 1, model.scaler)
        figures = _figures(model, test)
        raw = {**_told(verdict), **_farthest(model, test, data.columns)}
        found.append(Seed(seed, figures, time.monotonic() - begun, raw))
        floor = _figures(dataclasses.replace(model, network=None, recurrent=None), test)
    rows = [round(share * (options.rows or len(cut.records[0]))) for share in options.shares]
    protocol = (
        f"{options.lookback} rows seen, {options.horizon} told, every window; in time {rows[0]} rows to learn, {rows[1]} to"
        f" choose and calibrate, {rows[2]} to test, opened once; each column scaled by mean and spread of the first part; errors"
        " over all columns, on that scale"
    )
    if options.network == "recurrent":
        protocol += f"; the recurrent network remembers, from up to {RUN} rows before its first window on"
    model_words = "ridge" if options.network == "none" else f"ridge challenged by {CHALLENGERS[options.network]}"
    return Trial(TASK, model_words, data.hash()[:12], protocol, found,
                 {name: floor[name] for name in ("mse", "mae")}, "ridge")  # fmt: skip


def _kind(model: ForecastModel) -> str:
    if model.recurrent is not None:
        return CHALLENGERS["recurrent"]
    return "ridge" if model.network is None else CHALLENGERS["window"]


@dataclass(frozen=True, slots=True)
class _Part:
    """Windows of a part of all records, scaled, one record below the other.

    Attributes:
        seen, ahead: shape (N, L, C), (N, H, C).
        runs: of each record, the part and the rows before it. rows: in each, the newest row of its windows.
        stride: every so many-th window is in it.
    """

    seen: Array
    ahead: Array
    runs: tuple[Array, ...]
    rows: tuple[NDArray[np.intp], ...]
    stride: int = 1

    @classmethod
    def of(cls, data: DataSet, options: ForecastOptions, part: int, scaler: Scaler) -> _Part:
        """The held-out (0) or the test (1) part; a window may look back over its border."""
        runs, found = [], []
        for record, cuts in zip(data.records, parts(data, options.shares), strict=True):
            first = max(0, cuts[part] - options.lookback - RUN)
            runs.append(scaler.scaled(record.values[first : cuts[1] if part == 0 else len(record)]))
            found.append(windows(runs[-1], options.lookback, options.horizon, cuts[part] - first))
        count = sum(len(w.seen) for w in found) * options.horizon * len(data.columns)
        stride = max(1, -(-count // HELD_MAX))
        seen, ahead = (np.concatenate([getattr(w, name)[::stride] for w in found]) for name in ("seen", "ahead"))
        return cls(seen, ahead, tuple(runs), tuple(w.origin[::stride] for w in found), stride)

    def between(self, first: int, after: int) -> _Part:
        """Windows `first` … `after - 1`."""
        begin = np.cumsum([0, *map(len, self.rows)])
        rows = [r[max(0, first - b) : max(0, after - b)] for r, b in zip(self.rows, begin[:-1], strict=True)]
        return dataclasses.replace(self, seen=self.seen[first:after], ahead=self.ahead[first:after], rows=tuple(rows))

    def asked(self, model: ForecastModel) -> tuple[Array, Array]:
        return model.scaled(self.seen, model.memories(self.runs, self.rows))

    def asked_bare(self, model: ForecastModel) -> tuple[Array, Array]:
        return model.bare(self.seen, model.memories(self.runs, self.rows))


def _farthest(model: ForecastModel, test: _Part, columns: Sequence[str]) -> dict[str, Any]:
    """What was told of the last step ahead, column after column."""
    some = np.unique(np.linspace(0, len(test.seen) - 1, min(KEPT_MAX, len(test.seen))).astype(np.intp))
    memory = model.memories(test.runs, test.rows)
    mean, quantiles = model.scaled(test.seen[some], None if memory is None else memory[some])
    truth, told = test.ahead[some, -1].T.ravel(), mean[:, -1].T.ravel()  # (C N,)
    low, high = quantiles[:, -1, :, 0].T.ravel(), quantiles[:, -1, :, -1].T.ravel()
    return kept(truth, told, low, high, np.repeat(columns, len(some)).tolist(), COVERED, "column")


def _figures(model: ForecastModel, test: _Part) -> dict[str, float]:
    mean, quantiles = test.asked(model)
    mean, truth = _settled(test, mean)
    return {
        "mse": mse(mean, truth),
        "mae": mae(mean, truth),
        "coverage_90": coverage(quantiles[..., 0], quantiles[..., -1], truth),
        "pinball": pinball(quantiles, np.array(model.levels), truth),
        "told": float(np.isfinite(truth).sum() / np.isfinite(test.ahead).sum()),
    }


def _settled(part: _Part, mean: Array) -> tuple[Array, Array]:
    """What is told in service, and the truth of it; NaN elsewhere. (N, H, C) -> twice (N, H, C).

    Raises:
        BadRequest: nothing is.
    """
    known = np.isfinite(part.seen).mean(axis=1) > 1 - MISSING_MAX  # (N, C): others are not told
    mean = np.where(known[:, None], mean, np.nan)
    truth = np.where(np.isfinite(mean), part.ahead, np.nan)
    if not np.isfinite(truth).any():
        raise BadRequest(
            "of no held-out window more than half is measured",
            "give data with fewer gaps, or a longer step between rows",
        )
    return mean, truth


def _told(verdict: Verdict | None) -> dict[str, object]:
    return {} if verdict is None else {"contest": verdict.reason, "network": verdict.better}


def _cut(data: DataSet, options: ForecastOptions) -> DataSet:
    """The rows that are used.

    Raises:
        BadRequest: too few, or columns that tell nothing.
    """
    some = data if not options.rows else dataclasses.replace(
        data, records=tuple(r.between(0, options.rows) for r in data.records)
    )  # fmt: skip
    some = even(some, options.lookback)
    count = sum(max(0, cut - options.lookback - options.horizon + 1) for cut, _ in parts(some, options.shares))
    if count < WINDOWS_MIN:
        raise BadRequest(
            f"{count} windows of {options.lookback} + {options.horizon} rows to learn from",
            f"{WINDOWS_MIN} or more: give more rows, or look less far; a silence of {options.lookback} rows ends a record",
        )
    still = constant(some)
    if still:
        raise BadRequest(f"{', '.join(still)} never moves or was never measured", "leave it out")
    return some


def _trained(
    data: DataSet, options: ForecastOptions, seed: int, course: Course
) -> tuple[ForecastModel, Verdict | None, _Part]:
    cuts = parts(data, options.shares)
    first = dataclasses.replace(
        data, records=tuple(r.between(0, a) for r, (a, _) in zip(data.records, cuts, strict=True))
    )
    scaler = fit_scaler(first)
    runs = [scaler.scaled(r.values) for r in first.records]
    learnt = [windows(run, options.lookback, options.horizon) for run in runs]
    held = _Part.of(data, options, 0, scaler)
    middle = len(held.seen) // 2  # one half to choose by, the other to judge what was chosen
    chosen_by, judged_by = held.between(0, middle), held.between(middle, len(held.seen))
    course.at(0.0, "ridge")
    sums = ridge.Sums.of(learnt, len(data.columns), options.lookback, options.horizon)
    plain, _ = ridge.fit(sums, [_windows(chosen_by)])
    errors = held.ahead - plain.forecast(held.seen)  # (N, H, C)
    spread = np.nanquantile(errors, LEVELS, axis=0).transpose(1, 2, 0)  # (H, C, Q)
    whole = np.concatenate(runs)
    reach = np.stack([np.nanmin(whole, axis=0), np.nanmax(whole, axis=0)])
    champion = ForecastModel(scaler, plain, None, None, spread, np.zeros(spread.shape[:2]), reach)
    if options.network == "none":
        return _calibrated(champion, held), None, held
    if options.network == "window":
        network = forecaster.fit(plain, learnt, [_windows(chosen_by)], seed, course)
        challenger = dataclasses.replace(champion, network=network)
    else:
        chosen = Held(chosen_by.runs, chosen_by.rows, plain.forecast(chosen_by.seen), chosen_by.ahead)
        recurrent = recurrent_training.fit(plain, spread, LEVELS, runs, chosen, options.memory, seed, course)
        challenger = dataclasses.replace(champion, recurrent=recurrent)
    verdict = _contest(champion, challenger, judged_by, options)
    return _calibrated(challenger if verdict.better else champion, held), verdict, held


def _windows(part: _Part) -> Windows:
    return Windows(part.seen, part.ahead, np.concatenate(part.rows))


def _contest(champion: ForecastModel, challenger: ForecastModel, held: _Part, options: ForecastOptions) -> Verdict:
    """By blocks of time longer than windows overlap."""
    length = min(-(-(options.lookback + options.horizon) // held.stride), len(held.seen) // UNITS_MIN)

    def losses(model: ForecastModel) -> Array:
        squared: Array = np.nanmean((held.asked_bare(model)[0] - held.ahead) ** 2, axis=(1, 2))  # (N,)
        return blocks(squared, length)

    return judge(losses(champion), losses(challenger))


def _calibrated(model: ForecastModel, held: _Part) -> ForecastModel:
    _, quantiles = held.asked_bare(model)
    margins = margin(excess(quantiles[..., 0], quantiles[..., -1], held.ahead), COVERED)  # (H, C)
    return dataclasses.replace(model, margins=np.where(np.isfinite(margins), margins, 0.0))
