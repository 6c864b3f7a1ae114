"""Forecasts of every column of a record: the ridge always, the network where it beats it; must not know files or screens."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import forecaster, ridge
from ml.contest import UNITS_MIN, Verdict, blocks, judge
from ml.forecaster import LEVELS, Forecaster
from ml.intervals import excess, margin
from ml.model_file import CODE, Manifest, ModelFile
from ml.records import DataSet, constant
from ml.ridge import Ridge
from ml.scaling import Scaler, fit_scaler
from ml.scores import coverage, mae, mse, pinball
from ml.training import Course
from ml.trial import KEPT_MAX, Seed, Trial, kept
from ml.windows import Windows, parts, windows
from twin.errors import BadRequest

TASK = "forecast"
MISSING_MAX = 0.5  # share of a window's values: with fewer measured it says nothing
WINDOWS_MIN = 200  # of the training part: fewer than some weights each
COVERED = 0.90  # what the outer quantiles promise
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ForecastOptions:
    """
    Attributes:
        lookback, horizon: rows that are seen, and that are told.
        shares: of each record's rows, in time: to learn, to choose and calibrate, to test.
        rows: only the first so many of each record; 0: all.
        network: whether a network may challenge the ridge.
    """

    lookback: int = 96
    horizon: int = 96
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    rows: int = 0
    network: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.lookback <= 2_000 or not 1 <= self.horizon <= 2_000:
            raise BadRequest(f"lookback {self.lookback}, horizon {self.horizon}", "1 … 2,000 rows each")
        if min(self.shares) < 0 or not self.shares[0] or abs(sum(self.shares) - 1) > 1e-9:
            raise BadRequest(f"shares {self.shares}", "three shares of the rows that sum to 1, the first above 0")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is told of the next rows.

    Attributes:
        mean: shape (N, H, C), in the units of the data; NaN where nothing may be told.
        quantiles: shape (N, H, C, Q) of `levels`, the outer two widened or narrowed to hold what they promise.
        known: whether a window was whole enough, shape (N, C).
    """

    mean: Array
    quantiles: Array
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class ForecastModel:
    """A trained forecast.

    Attributes:
        network: None where the ridge is not beaten.
        spread: of the ridge's errors, quantiles by column and step, shape (H, C, Q); the network has its own.
        margins: by which the outer quantiles are moved, shape (H, C).
    """

    scaler: Scaler
    ridge: Ridge
    network: Forecaster | None
    spread: Array
    margins: Array
    levels: tuple[float, ...] = LEVELS

    def forecast(self, seen: Array) -> Forecast:
        """(N, L, C) -> the next H rows."""
        known = np.isfinite(seen).mean(axis=1) > 1 - MISSING_MAX  # (N, C)
        flat = self.scaler.scaled(seen.reshape(-1, seen.shape[2])).reshape(seen.shape)
        mean, quantiles = self.scaled(flat)
        size = np.where(np.isfinite(self.scaler.deviation[0]), self.scaler.deviation[0], 0.0)
        mean = np.where(known[:, None], mean * size + self.scaler.mean[0], np.nan)
        told = quantiles * size[:, None] + self.scaler.mean[0][:, None]
        return Forecast(mean, np.where(known[:, None, :, None], told, np.nan), known)

    def scaled(self, seen: Array) -> tuple[Array, Array]:
        """As `forecast`, on scaled values."""
        mean, quantiles = self.bare(seen)
        quantiles[..., 0] -= self.margins
        quantiles[..., -1] += self.margins
        return mean, np.sort(quantiles, axis=-1)  # a margin below 0 must not turn them around

    def bare(self, seen: Array) -> tuple[Array, Array]:
        """Before the margins."""
        if self.network is not None:
            return self.network.forecast(seen)
        mean = self.ridge.forecast(seen)
        return mean, mean[..., None] + self.spread

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        net = {} if self.network is None else self.network.tensors()
        return {**self.scaler.tensors(), **self.ridge.tensors(), **net, "spread": self.spread, "margins": self.margins}


def model_of(file: ModelFile) -> ForecastModel:
    """The model in a file."""
    t = file.tensors
    levels = tuple(file.manifest.settings["levels"])
    network = Forecaster.from_tensors(t, levels) if "net.linear" in t else None
    return ForecastModel(Scaler.from_tensors(t), Ridge.from_tensors(t), network, t["spread"], t["margins"], levels)


def train(data: DataSet, options: ForecastOptions, seed: int, course: Course) -> ModelFile:
    """Learn from each record's first rows, choose and calibrate on the next.

    Raises:
        BadRequest: too few rows, or a column without values. Cancelled: the course was.
    """
    cut = _cut(data, options)
    model, verdict, held = _trained(cut, options, seed, course)
    told = {"held_out_mse": mse(model.scaled(held.seen)[0], held.ahead), **_told(verdict)}
    settings = {**dataclasses.asdict(options), "levels": list(model.levels)}
    kind = "ridge" if model.network is None else "forecaster"
    manifest = Manifest(
        kind, TASK, settings, data.columns, data.units, data.hash(), "", CODE, seed, told
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
        test = _joined(cut, options, 1, model.scaler)
        figures = _figures(model, test)
        raw = {**_told(verdict), **_farthest(model, test, data.columns)}
        found.append(Seed(seed, figures, time.monotonic() - begun, raw))
        floor = _figures(dataclasses.replace(model, network=None), test)
    rows = [round(share * (options.rows or len(cut.records[0]))) for share in options.shares]
    protocol = (
        f"{options.lookback} rows seen, {options.horizon} told, every window; in time {rows[0]} rows to learn, {rows[1]} to"
        f" choose and calibrate, {rows[2]} to test, opened once; each column scaled by mean and spread of the first part; errors"
        " over all columns, on that scale"
    )
    return Trial(TASK, "ridge challenged by forecaster" if options.network else "ridge", data.hash()[:12], protocol, found,
                 {name: floor[name] for name in ("mse", "mae")}, "ridge")  # fmt: skip


def _farthest(model: ForecastModel, test: Windows, columns: Sequence[str]) -> dict[str, Any]:
    """What was told of the last step ahead, column after column."""
    some = np.unique(np.linspace(0, len(test.seen) - 1, min(KEPT_MAX, len(test.seen))).astype(np.intp))
    mean, quantiles = model.scaled(test.seen[some])
    truth, told = test.ahead[some, -1].T.ravel(), mean[:, -1].T.ravel()  # (C N,)
    low, high = quantiles[:, -1, :, 0].T.ravel(), quantiles[:, -1, :, -1].T.ravel()
    return kept(truth, told, low, high, np.repeat(columns, len(some)).tolist(), COVERED, "column")


def _figures(model: ForecastModel, test: Windows) -> dict[str, float]:
    mean, quantiles = model.scaled(test.seen)
    return {
        "mse": mse(mean, test.ahead),
        "mae": mae(mean, test.ahead),
        "coverage_90": coverage(quantiles[..., 0], quantiles[..., -1], test.ahead),
        "pinball": pinball(quantiles, np.array(model.levels), test.ahead),
    }


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
    count = sum(max(0, cut - options.lookback - options.horizon + 1) for cut, _ in parts(some, options.shares))
    if count < WINDOWS_MIN:
        raise BadRequest(
            f"{count} windows of {options.lookback} + {options.horizon} rows to learn from",
            f"{WINDOWS_MIN} or more: give more rows, or look less far",
        )
    still = constant(some)
    if still:
        raise BadRequest(f"{', '.join(still)} never moves or was never measured", "leave it out")
    return some


def _trained(
    data: DataSet, options: ForecastOptions, seed: int, course: Course
) -> tuple[ForecastModel, Verdict | None, Windows]:
    cuts = parts(data, options.shares)
    first = dataclasses.replace(
        data, records=tuple(r.between(0, a) for r, (a, _) in zip(data.records, cuts, strict=True))
    )
    scaler = fit_scaler(first)
    learnt = [windows(scaler.scaled(r.values), options.lookback, options.horizon) for r in first.records]
    held = _joined(data, options, 0, scaler)
    chosen_by, judged_by = _halves(held)
    course.at(0.0, "ridge")
    sums = ridge.Sums.of(learnt, len(data.columns), options.lookback, options.horizon)
    plain, _ = ridge.fit(sums, [chosen_by])
    errors = held.ahead - plain.forecast(held.seen)  # (N, H, C)
    spread = np.nanquantile(errors, LEVELS, axis=0).transpose(1, 2, 0)  # (H, C, Q)
    none = np.zeros(spread.shape[:2])
    champion = ForecastModel(scaler, plain, None, spread, none)
    if not options.network:
        return _calibrated(champion, held), None, held
    network = forecaster.fit(plain, learnt, [chosen_by], seed, course)
    challenger = dataclasses.replace(champion, network=network)
    verdict = _contest(champion, challenger, judged_by, options)
    return _calibrated(challenger if verdict.better else champion, held), verdict, held


def _halves(held: Windows) -> tuple[Windows, Windows]:
    """One half to choose by, the other to judge what was chosen."""
    middle = len(held.seen) // 2
    return (
        Windows(held.seen[:middle], held.ahead[:middle], held.origin[:middle]),
        Windows(held.seen[middle:], held.ahead[middle:], held.origin[middle:]),
    )


def _contest(champion: ForecastModel, challenger: ForecastModel, held: Windows, options: ForecastOptions) -> Verdict:
    """By blocks of time longer than windows overlap."""
    length = min(options.lookback + options.horizon, len(held.seen) // UNITS_MIN)

    def losses(model: ForecastModel) -> Array:
        squared: Array = np.nanmean((model.bare(held.seen)[0] - held.ahead) ** 2, axis=(1, 2))  # (N,)
        return blocks(squared, length)

    return judge(losses(champion), losses(challenger))


def _calibrated(model: ForecastModel, held: Windows) -> ForecastModel:
    _, quantiles = model.bare(held.seen)
    margins = margin(excess(quantiles[..., 0], quantiles[..., -1], held.ahead), COVERED)  # (H, C)
    return dataclasses.replace(model, margins=np.where(np.isfinite(margins), margins, 0.0))


def _joined(data: DataSet, options: ForecastOptions, part: int, scaler: Scaler) -> Windows:
    """All windows of the held-out (0) or test (1) part; a window may look back over its border."""
    found = []
    for record, cuts in zip(data.records, parts(data, options.shares), strict=True):
        end = cuts[1] if part == 0 else len(record)
        values = record.values[max(0, cuts[part] - options.lookback) : end]
        found.append(windows(scaler.scaled(values), options.lookback, options.horizon))
    return Windows(*(np.concatenate([getattr(w, name) for w in found]) for name in ("seen", "ahead", "origin")))
