"""What models look at, worked out once for training and for serving; must not know models, files or the feed.

A whole record at once (`FeatureSet.of`) and sample by sample for many devices (`State.step`) give the same bits: scaled
values are whole numbers of STEPS to a standard deviation, and sums of whole numbers neither drift nor know an order.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from ml.records import Record
from ml.scaling import Scaler
from twin.errors import BadRequest
from twin.nearest import nearest

STEPS = 1 << 16  # to a standard deviation: finer than any instrument
FAR = 32  # standard deviations; what is farther off counts as this far
LENGTH_MAX = 1024  # samples: (FAR * STEPS * LENGTH_MAX) ** 2 is the largest sum that 64 bits hold
MISSING = -(1 << 31)  # in place of a value
FAINT = 1e-3  # weight of all that an exponential mean knows, below which it knows nothing
TOGETHER = 1000  # devices brought up to date at once: what they remember stays in the processor's cache
DAY_S, WEEK_S = 86_400.0, 604_800.0

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


class Sums(NamedTuple):
    """Of the known samples in a window, each shape (..., C): how many, their values, ages and products (newest: age 0)."""

    n: Whole
    x: Whole
    xx: Whole
    a: Whole
    aa: Whole
    ax: Whole


def _mean(s: Sums, length: int) -> Array:
    return _ratio(s.x, s.n) / STEPS


def _deviation(s: Sums, length: int) -> Array:
    return np.sqrt(_ratio(s.n * s.xx - s.x * s.x, s.n * s.n)) / STEPS


def _slope(s: Sums, length: int) -> Array:
    """A sample, by least squares; of less than half a window it would be noise."""
    slope = _ratio(s.a * s.x - s.n * s.ax, s.n * s.aa - s.a * s.a) / STEPS
    return np.where(2 * s.n >= length, slope, np.nan)


def _ratio(over: Whole, under: Whole) -> Array:
    return np.where(under > 0, over / np.maximum(under, 1), np.nan)


SUMMED: Mapping[str, Callable[[Sums, int], Array]] = {"mean": _mean, "sd": _deviation, "slope": _slope}
EXTREME: Mapping[str, np.ufunc] = {"min": np.minimum, "max": np.maximum}
CALENDAR: Mapping[str, float] = {"hour": DAY_S, "weekday": WEEK_S}
LENGTHS = ("lag", *SUMMED, *EXTREME, "ewm", "missing")
KINDS = (*LENGTHS, "since", *CALENDAR)


@dataclass(frozen=True, slots=True)
class Feature:
    """One number about a column, or two about the calendar.

    Attributes:
        kind: `lag` the value so many samples ago; `mean`, `sd`, `slope` (a sample, of half a window or more), `min`,
            `max` of the last `length` samples; `ewm` mean with weights that fall by 1/`length` a sample; `missing` share of
            the last `length` samples; `since` seconds since the last good one; `hour`, `weekday` sine and cosine. Those of
            values are in standard deviations under the operating condition.
        column: "" for the calendar.
        length: samples; 0 for `since` and the calendar.
    """

    kind: str
    column: str = ""
    length: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        if self.kind in CALENDAR:
            return (f"{self.kind}_sin", f"{self.kind}_cos")
        return (f"{self.column}.{self.kind}" + (f".{self.length}" if self.kind in LENGTHS else ""),)


def rows(kinds: Sequence[str], columns: Sequence[str], lengths: Sequence[int]) -> tuple[Feature, ...]:
    """Every kind of every length of every column, kind by kind, the column running fastest."""
    return tuple(Feature(kind, column, n) for kind in kinds for n in lengths for column in columns)


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Rows of features, and the scaler that makes values comparable.

    Attributes:
        columns: of the records it is computed from, in order; the scaler is of the same.
        zone_s: of the plant's clock before UTC, for the calendar.
        gap_s: silence after which a record starts afresh: windows and means do not reach over it.
    """

    columns: tuple[str, ...]
    rows: tuple[Feature, ...]
    scaler: Scaler
    zone_s: float = 0.0
    gap_s: float = math.inf

    def __post_init__(self) -> None:
        for row in self.rows:
            if row.kind not in KINDS:
                raise BadRequest(f"no feature {row.kind!r}", nearest(row.kind, KINDS))
            if row.kind not in CALENDAR and row.column not in self.columns:
                raise BadRequest(f"a feature of no column {row.column!r}", nearest(row.column, self.columns))
            least = 0 if row.kind == "lag" else 1
            if row.kind in LENGTHS and not least <= row.length <= LENGTH_MAX:
                raise BadRequest(f"{row.names[0]}: {row.length} samples", f"{least} … {LENGTH_MAX}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the numbers, in order: shape (F,)."""
        return tuple(name for row in self.rows for name in row.names)

    @property
    def reach(self) -> int:
        """Samples that must be kept for windows and lags."""
        return max((row.length + (row.kind == "lag") for row in self.rows if row.kind in LENGTHS), default=1)

    def hash(self) -> str:
        """SHA-256 over columns, rows and scaler."""
        digest = hashlib.sha256(json.dumps(self.to_plain(), sort_keys=True).encode())
        for name, tensor in sorted(self.scaler.tensors().items()):
            digest.update(f"\0{name}\0{tensor.dtype.str}\0{tensor.shape}\0".encode())
            digest.update(np.ascontiguousarray(tensor).tobytes())
        return digest.hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """All but the scaler, for a manifest."""
        told = [[row.kind, row.column, row.length] for row in self.rows]
        gap_s = self.gap_s if math.isfinite(self.gap_s) else None
        return {"columns": list(self.columns), "rows": told, "zone_s": self.zone_s, "gap_s": gap_s}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], scaler: Scaler) -> Self:
        gap_s = math.inf if plain["gap_s"] is None else float(plain["gap_s"])
        told = tuple(Feature(*row) for row in plain["rows"])
        return cls(tuple(plain["columns"]), told, scaler, float(plain["zone_s"]), gap_s)

    def of(self, record: Record) -> Array:
        """Features at every sample of a record: (T, C) -> (T, F), NaN where nothing is known.

        Raises:
            BadRequest: the record has not as many columns.
        """
        if record.values.shape[1] != len(self.columns):
            raise BadRequest(f"{record.device} has {record.values.shape[1]} columns", f"in order {self.columns}")
        breaks = np.flatnonzero(np.diff(record.time_s) > self.gap_s) + 1
        edges = [0, *breaks.tolist(), len(record)]
        whole = self.quantised(record.values)
        parts = [
            _features(self, _Whole(whole[first:after], record.time_s[first:after]))
            for first, after in itertools.pairwise(edges)
        ]
        return np.concatenate(parts)

    def start(self, devices: int) -> State:
        """What `devices` devices are to remember, before their first samples."""
        return State(self, devices)

    def quantised(self, values: Array) -> Whole:
        """Scaled values in whole steps, MISSING where NaN. (N, C) -> (N, C)."""
        steps = np.rint(np.clip(self.scaler.scaled(values), -FAR, FAR) * STEPS)
        return np.where(np.isfinite(steps), np.nan_to_num(steps), MISSING).astype(np.int64)


class _View(Protocol):
    """What features are read from: N moments of one device, or one moment of N devices."""

    @property
    def time_s(self) -> Array: ...  # (N,)

    @property
    def seen(self) -> Whole: ...  # (N,) samples since the start

    def lag(self, samples: int) -> Whole: ...  # (N, C)

    def sums(self, length: int) -> Sums: ...  # each (N, C)

    def extreme(self, length: int, ufunc: np.ufunc) -> Whole: ...  # (N, C), MISSING where nothing is known

    def ewm(self, length: int) -> tuple[Array, Array]: ...  # weighted sum and weight, (N, C)

    def since(self) -> Array: ...  # (N, C)


def _features(chosen: FeatureSet, view: _View) -> Array:
    """(N, F)."""
    out = np.empty((len(view.time_s), len(chosen.names)))  # (N, F)
    blocks: dict[tuple[str, int], list[tuple[int, int]]] = {}  # kind and length -> (place, column)
    place = 0
    for row in chosen.rows:
        if row.kind in CALENDAR:
            period_s = CALENDAR[row.kind]
            turn = (view.time_s + chosen.zone_s) % period_s * (2 * math.pi / period_s)
            out[:, place], out[:, place + 1] = np.sin(turn), np.cos(turn)
        else:
            length = row.length if row.kind in LENGTHS else 0
            blocks.setdefault((row.kind, length), []).append((place, chosen.columns.index(row.column)))
        place += len(row.names)
    sums = {n: view.sums(n) for n in {n for kind, n in blocks if kind in SUMMED or kind == "missing"}}
    for (kind, length), pairs in blocks.items():
        places, columns = zip(*pairs, strict=True)
        out[:, places] = _block(kind, length, view, sums)[:, columns]
    return out


def _block(kind: str, length: int, view: _View, sums: Mapping[int, Sums]) -> Array:
    """One kind and length for every column: (N, C)."""
    if kind in SUMMED:
        return SUMMED[kind](sums[length], length)
    if kind == "missing":
        return 1.0 - sums[length].n / np.minimum(view.seen, length)[:, None]
    if kind == "ewm":
        total, weight = view.ewm(length)
        return np.where(weight > FAINT, total / np.maximum(weight, FAINT), np.nan)
    if kind == "since":
        return view.since()
    steps = view.lag(length) if kind == "lag" else view.extreme(length, EXTREME[kind])
    return np.where(steps == MISSING, np.nan, steps / STEPS)


class _Whole:
    """Every moment of one record."""

    def __init__(self, steps: Whole, time_s: Array) -> None:
        self.steps, self.time_s = steps, time_s
        self.known = steps != MISSING  # (T, C)
        self.bare = np.where(self.known, steps, 0)  # (T, C)
        self.seen = np.arange(1, len(steps) + 1)

    def lag(self, samples: int) -> Whole:
        out = np.full_like(self.steps, MISSING)
        out[samples:] = self.steps[: max(0, len(self.steps) - samples)]
        return out

    def sums(self, length: int) -> Sums:
        t = np.arange(len(self.steps))[:, None]  # (T, 1)
        one, x = self.known.astype(np.int64), self.bare
        n, total, squares = self._within(one, length), self._within(x, length), self._within(x * x, length)
        at, at_square, at_x = (self._within(v, length) for v in (t * one, t * t * one, t * x))
        # Age is t less the place. Products may wrap around 64 bits on the way; the differences do not.
        return Sums(n, total, squares, t * n - at, t * t * n - 2 * t * at + at_square, t * total - at_x)

    def extreme(self, length: int, ufunc: np.ufunc) -> Whole:
        none = -MISSING if ufunc is np.minimum else MISSING
        steps = np.where(self.known, self.steps, none)
        out = steps.copy()
        for back in range(1, min(length, len(steps))):
            ufunc(out[back:], steps[:-back], out=out[back:])
        return np.where(out == none, MISSING, out)

    def ewm(self, length: int) -> tuple[Array, Array]:
        falls = [1.0, -(1.0 - 1.0 / length)]
        return lfilter([1.0], falls, self.bare / STEPS, axis=0), lfilter([1.0], falls, self.known * 1.0, axis=0)

    def since(self) -> Array:
        good = np.where(self.known, self.time_s[:, None], self.time_s[0])
        return self.time_s[:, None] - np.maximum.accumulate(good, axis=0)

    def _within(self, each: Whole, length: int) -> Whole:
        """Sums of the last `length` samples."""
        up_to = np.concatenate([np.zeros_like(each[:1]), each.cumsum(axis=0)])  # (T + 1, C)
        first = np.maximum(self.seen - length, 0)
        within: Whole = up_to[1:] - up_to[first]
        return within


class State:
    """What many devices remember so that one more sample of each costs the same however long the windows are.

    `min` and `max` look through their window; all else is brought up to date by what comes in and what falls out.
    """

    def __init__(self, chosen: FeatureSet, devices: int) -> None:
        wide, reach = len(chosen.columns), chosen.reach
        self.chosen, self.devices = chosen, devices
        self.count = np.zeros(devices, np.int64)
        self.time_s = np.full(devices, np.nan)
        self.good_s = np.zeros((devices, wide))
        self.ring = np.full((devices, reach, wide), MISSING, np.int32)
        summed = {row.length for row in chosen.rows if row.kind in SUMMED or row.kind == "missing"}
        self.sums = {n: np.zeros((len(Sums._fields), devices, wide), np.int64) for n in sorted(summed)}
        means = sorted({row.length for row in chosen.rows if row.kind == "ewm"})
        self.ewm = {n: np.zeros((2, devices, wide)) for n in means}

    def step(self, time_s: Array, values: Array, at: NDArray[np.intp] | None = None) -> Array:
        """One sample more of each device, or of the devices `at`, none of them twice.

        Args:
            time_s: shape (N,). values: shape (N, C), NaN where nothing good was measured.

        Returns:
            Their features, shape (N, F).

        Raises:
            BadRequest: a time does not rise; nothing was taken then.
        """
        at = np.arange(self.devices) if at is None else at
        back = time_s <= self.time_s[at]
        if back.any():
            raise BadRequest(f"device {at[back][0]}: {time_s[back][0]} s does not rise", "give samples in order, once")
        out = np.empty((len(at), len(self.chosen.names)))  # (N, F)
        for first in range(0, len(at), TOGETHER):
            some = slice(first, first + TOGETHER)
            out[some] = self._step(time_s[some], self.chosen.quantised(values[some]), at[some])
        return out

    def _step(self, time_s: Array, steps: Whole, at: NDArray[np.intp]) -> Array:
        fresh = ~(time_s - self.time_s[at] <= self.chosen.gap_s)
        self._forget(at[fresh], time_s[fresh])
        known = steps != MISSING
        x = np.where(known, steps, 0)
        for length, sums in self.sums.items():
            sums[:, at] = _moved(sums[:, at], self._back(at, length), x, known, length)
        for length, pair in self.ewm.items():
            keep = 1.0 - 1.0 / length
            pair[:, at] = keep * pair[:, at] + np.stack([x / STEPS, known * 1.0])
        self.ring[at, self.count[at] % self.ring.shape[1]] = steps
        self.count[at] += 1
        self.time_s[at] = time_s
        self.good_s[at] = np.where(known, time_s[:, None], self.good_s[at])
        return _features(self.chosen, _Now(self, at))

    def _forget(self, who: NDArray[np.intp], time_s: Array) -> None:
        """Start these afresh at these times."""
        self.count[who] = 0
        self.ring[who] = MISSING
        self.good_s[who] = time_s[:, None]
        for kept in (*self.sums.values(), *self.ewm.values()):
            kept[:, who] = 0

    def _back(self, at: NDArray[np.intp], samples: int) -> Whole:
        """The values so many samples before the next one, (N, C)."""
        steps: Whole = self.ring[at, (self.count[at] - samples) % self.ring.shape[1]].astype(np.int64)
        return steps


def _moved(sums: Whole, leaving: Whole, x: Whole, known: NDArray[np.bool_], length: int) -> Whole:
    """Sums after the oldest left, all grew a sample older, and a new one came. (6, N, C) -> (6, N, C)."""
    n, total, squares, a, aa, ax = sums
    gone = (leaving != MISSING).astype(np.int64)
    old = leaving * gone
    age = length - 1
    n, total, squares = n - gone, total - old, squares - old * old
    a, aa, ax = a - age * gone, aa - age * age * gone, ax - age * old
    aa, a, ax = aa + 2 * a + n, a + n, ax + total
    return np.stack([n + known, total + x, squares + x * x, a, aa, ax])


class _Now:
    """The newest moment of the devices `at`."""

    def __init__(self, state: State, at: NDArray[np.intp]) -> None:
        self.state, self.at = state, at
        self.time_s, self.seen = state.time_s[at], state.count[at]

    def lag(self, samples: int) -> Whole:
        return self.state._back(self.at, samples + 1)

    def sums(self, length: int) -> Sums:
        return Sums(*self.state.sums[length][:, self.at])

    def extreme(self, length: int, ufunc: np.ufunc) -> Whole:
        none = -MISSING if ufunc is np.minimum else MISSING
        ring = self.state.ring
        places = (self.seen[:, None] - 1 - np.arange(length)) % ring.shape[1]  # (N, L)
        window = ring[self.at[:, None], places].astype(np.int64)  # (N, L, C)
        out: Whole = ufunc.reduce(np.where(window == MISSING, none, window), axis=1)
        return np.where(out == none, MISSING, out)

    def ewm(self, length: int) -> tuple[Array, Array]:
        total, weight = self.state.ewm[length][:, self.at]
        return total, weight

    def since(self) -> Array:
        return self.time_s[:, None] - self.state.good_s[self.at]
