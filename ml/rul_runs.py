"""Runs to failure made ready for learning: columns that tell something, rows, held-out moments; must not know models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.features import FeatureSet, rows
from ml.records import DataSet, Record
from ml.rul_model import ready
from ml.scaling import Scaler, fit_scaler
from twin.errors import BadRequest, LimitExceeded

Array = NDArray[np.float64]
RUNS_MIN = 10  # a margin that holds 90 % takes nine held-out devices at least
ROWS_MIN = 5  # samples of a run: fewer have no trend
NUMBERS_MAX = 150_000_000  # features of all rows: 1.2 GB, and as much again for each of two copies
DRAWS = 20  # moments of each held-out run at which it is asked, as if it were cut there
STRAIGHT = 1e-9  # of its span: how near a column lies to a straight line in time if it counts time
DISTINCT = 0.05  # of a column's correlation with what is left: below, it tells nothing of wear


def life_left(record: Record) -> Array:
    """Of a run to failure, at every sample, (T,)."""
    left: Array = record.time_s[-1] - record.time_s
    return left


def truncated(data: DataSet, seed: int) -> tuple[DataSet, Array]:
    """Each run cut at a moment drawn from its length, as a device is met that has not failed yet, and what was left."""
    rng = np.random.default_rng(seed)
    ends = [int(rng.integers(min(ROWS_MIN, len(r)), len(r) + 1)) for r in data.records]
    left = [r.time_s[-1] - r.time_s[end - 1] for r, end in zip(data.records, ends, strict=True)]
    return replace(data, records=tuple(r.between(0, e) for r, e in zip(data.records, ends, strict=True))), np.array(
        left
    )


def restarted(data: DataSet, starts: int, rng: np.random.Generator) -> DataSet:
    """Each run `starts` times as if it had been watched only from a later moment on.

    Means over a short past look different from those over a long one. In a whole run the past is as long as the age, so a
    model would learn the age from it: a counter by the back door, and wrong for a device that is first met in mid-life.
    """
    long = [r for r in data.records if len(r) > ROWS_MIN]
    again = [r.between(int(rng.integers(1, len(r) - ROWS_MIN + 1)), len(r)) for _ in range(starts) for r in long]
    return replace(data, records=tuple(again))


def checked(data: DataSet, window: int) -> None:
    """
    Raises:
        BadRequest: too few or too short runs, two of one device, or one without any value of a column.
    """
    if len(data.records) < RUNS_MIN:
        raise BadRequest(f"{len(data.records)} runs to failure", f"{RUNS_MIN} or more, each with its device's name")
    if len(data.devices) < len(data.records):
        raise BadRequest("a device has several runs", "name each run as a device of its own")
    for record in data.records:
        if len(record) < ROWS_MIN:
            raise BadRequest(f"{record.device} has {len(record)} samples", f"{ROWS_MIN} or more, or leave it out")
        empty = np.flatnonzero(~np.isfinite(record.values).any(axis=0))
        if len(empty):
            raise BadRequest(
                f"{record.device}: {data.columns[empty[0]]} has no value at all", "leave out the device or the column"
            )
    if max(map(len, data.records)) <= window:
        raise BadRequest(f"no run is longer than the window of {window}", "a smaller window, or 0")


def telling(data: DataSet, settings: tuple[str, ...], conditions: int, cap: float) -> tuple[DataSet, tuple[str, ...]]:
    """The data with those columns only that say something of wear, and the names of the others.

    Others are steady under each condition, count time (a counter knows the age, which is no wear), or do not go with what
    is left. Settings stay where they tell the condition.

    Raises:
        BadRequest: none is left.
    """
    scaler = fit_scaler(data, settings, conditions)
    left = np.concatenate([np.minimum(cap, life_left(r)) for r in data.records])  # (N,)
    scaled = scaler.scaled(data.stacked())  # (N, C)
    keep: list[str] = []
    for place, name in enumerate(data.columns):
        if name in settings and conditions > 1:
            keep.append(name)
        elif np.isfinite(scaler.deviation[:, place]).any() and not _counts(data, place):
            known = np.isfinite(scaled[:, place])
            if abs(_correlation(scaled[known, place], left[known])) >= DISTINCT:
                keep.append(name)
    if not set(keep) - set(settings):
        raise BadRequest(f"none of {', '.join(data.columns)} goes with what is left", "give columns that show wear")
    return data.having(keep), tuple(name for name in data.columns if name not in keep)


def _counts(data: DataSet, place: int) -> bool:
    """Whether a column rises by the same amount with time in every run."""
    pace = []
    for record in data.records:
        x, t = record.values[:, place], record.time_s
        known = np.isfinite(x)
        x, t = x[known], t[known]
        span = np.ptp(x)
        if len(x) < ROWS_MIN or not span > 0:
            return False
        slope = (x[-1] - x[0]) / (t[-1] - t[0])
        if np.abs(x - x[0] - slope * (t - t[0])).max() > STRAIGHT * span:
            return False
        pace.append(slope)
    return bool(np.ptp(pace) <= STRAIGHT * abs(pace[0]))


def _correlation(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    under = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / under if under > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Rows:
    """All moments of all runs, ready to learn from.

    Attributes:
        inputs: shape (N, F), float32, statistics first, then samples. share: of the cap that was left, (N,).
        run: whose row it is, (N,). low, high: range of each feature, (F,).
    """

    features: FeatureSet
    scaler: Scaler
    statistics: int
    window: int
    low: Array
    high: Array
    inputs: NDArray[np.float32]
    share: NDArray[np.float32]
    run: NDArray[np.intp]

    @classmethod
    def of(cls, data: DataSet, again: DataSet, features: FeatureSet, window: int, cap: float) -> Self:
        """Of the runs, all; of those that start later, as much as differs from them: until windows are full.

        Raises:
            LimitExceeded: more than NUMBERS_MAX numbers.
        """
        records = (*data.records, *again.records)
        reach = [len(r) for r in data.records] + [min(len(r), features.reach) for r in again.records]
        if sum(reach) * len(features.rows) > NUMBERS_MAX:
            raise LimitExceeded(
                f"{sum(reach):,} rows of {len(features.rows)} features", "fewer runs, columns or windows, or no window"
            )
        each = [features.of(r)[:n] for r, n in zip(records, reach, strict=True)]
        left = [np.minimum(cap, life_left(r))[:n] / cap for r, n in zip(records, reach, strict=True)]
        told = DataSet(
            features.names, tuple(Record(r.device, r.time_s[: len(v)], v) for r, v in zip(records, each, strict=True))
        )
        scaler, whole = fit_scaler(told), np.concatenate(each)  # (N, F)
        places = {device: k for k, device in enumerate(data.devices)}
        run = np.repeat([places[r.device] for r in records], reach)
        statistics = sum(row.kind != "lag" for row in features.rows)
        inputs = ready(whole, scaler, statistics, window)
        low, high = np.nanmin(whole, axis=0), np.nanmax(whole, axis=0)
        share = np.concatenate(left).astype(np.float32)
        return cls(features, scaler, statistics, window, low, high, inputs, share, run)

    def bare(self) -> Rows:
        """Without the samples: what the ridge looks at."""
        s, features = self.statistics, replace(self.features, rows=self.features.rows[: self.statistics])
        scaler = replace(self.scaler, mean=self.scaler.mean[:, :s], deviation=self.scaler.deviation[:, :s])
        low, high, inputs = self.low[:s], self.high[:s], self.inputs[:, :s]
        return replace(self, features=features, scaler=scaler, window=0, low=low, high=high, inputs=inputs)

    def apart(self, folds: NDArray[np.intp], fold: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs and labels of all runs that are not in the fold."""
        mine = folds[self.run] != fold
        return self.inputs[mine], self.share[mine]


@dataclass(frozen=True, slots=True)
class Held:
    """Moments at which each run is asked while it is held out.

    Attributes:
        rows: places in `Rows`, shape (R, D). truth: life left, capped, shape (R, D).
    """

    rows: NDArray[np.intp]
    truth: Array

    @classmethod
    def drawn(cls, data: DataSet, cap: float, rng: np.random.Generator) -> Self:
        lengths = np.array([len(r) for r in data.records])
        at = rng.integers(ROWS_MIN - 1, lengths[:, None], (len(lengths), DRAWS))  # (R, D)
        left = np.stack([life_left(r)[k] for r, k in zip(data.records, at, strict=True)])
        return cls(at + (lengths.cumsum() - lengths)[:, None], np.minimum(cap, left))


def feature_set(
    data: DataSet, scaler: Scaler, windows: tuple[int, ...], means: tuple[int, ...], window: int
) -> FeatureSet:
    """Statistics of windows of what is no setting, then the last samples themselves, oldest first."""
    settings = {data.columns[k] for k in scaler.settings}
    worn = tuple(name for name in data.columns if name not in settings)
    told = (
        *rows(("mean", "slope"), worn, windows), *rows(("sd",), worn, windows[-1:]), *rows(("ewm",), worn, means)
    )  # fmt: skip
    return FeatureSet(data.columns, (*told, *rows(("lag",), worn, range(window - 1, -1, -1))), scaler)
