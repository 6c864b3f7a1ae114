"""What was read of a plant after a forecast: tracks, the plant's own clock, settings that changed; pure, reads no history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sim.scenario import Limit
from sim.statistics import QUANTILES

GAPS = 3.0  # a clock that was told this many times more rarely than usual was not heard: the server was away
KNOWN_SHARE = 0.9  # of the sample times need a good reading before "the limit was kept" may be said


@dataclass(frozen=True, slots=True)
class Track:
    """Readings of one point in order of time.

    Attributes:
        time: ns since 1970 UTC, shape (N,).
        value: shape (N,).
        good: shape (N,).
    """

    time: NDArray[np.int64]
    value: NDArray[np.float64]
    good: NDArray[np.bool_]

    def since(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """From when the reading is that is in force at each moment; the moment itself where there is none."""
        row = np.searchsorted(self.time, at, side="right") - 1
        found = at.copy()
        found[row >= 0] = self.time[row[row >= 0]]
        return found

    def in_force(self, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """The newest reading at each moment, NaN where there is none or it is not good: shape of `at`."""
        row = np.searchsorted(self.time, at, side="right") - 1
        known = row >= 0
        found = np.full(len(at), np.nan)
        found[known] = np.where(self.good[row[known]], self.value[row[known]], np.nan)
        return found

    def passed(self, limit: Limit, until: int) -> bool:
        """Whether a good reading up to that moment passed the limit, between sample times too."""
        return bool(limit.passed(self.value[self.good & (self.time <= until)]).any())


NO_TRACK = Track(np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_))


class Started(Protocol):
    """A forecast, as far as what was read is compared with it."""

    @property
    def made_at(self) -> int: ...
    @property
    def started(self) -> Mapping[str, float | None]: ...


def since_start(forecast: Started, name: str, tracks: Mapping[str, Track]) -> Track:
    """The track with what it read at the start in front: history keeps changes, and there may have been none."""
    track, started = tracks.get(name, NO_TRACK), forecast.started.get(name)
    if started is None:
        return track
    return Track(
        np.concatenate([[forecast.made_at], track.time]).astype(np.int64),
        np.concatenate([[started], track.value]),
        np.concatenate([[True], track.good]),
    )


# --- the plant's clock ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlantClock:
    """The plant's own time over ours, from its good readings up to the first that goes back."""

    time: NDArray[np.int64]
    seconds: NDArray[np.float64]

    def read(self, at_ns: int) -> float:
        """Plant seconds at a moment; the nearest that was read beyond both ends."""
        return float(np.interp(at_ns, self.time, self.seconds))

    def heard(self, seconds: NDArray[np.float64], least_s: float) -> NDArray[np.bool_]:
        """Where the plant was heard: not in a gap between two readings of the clock that is longer than GAPS of its
        usual ones, and than `least_s`. What was last read before such a gap says nothing of the time within.
        """
        gaps_s = np.diff(self.seconds)
        if not len(gaps_s):
            return np.zeros(len(seconds), np.bool_)
        after = np.clip(np.searchsorted(self.seconds, seconds, side="left"), 1, len(gaps_s))
        return np.asarray(gaps_s[after - 1] <= max(least_s, GAPS * float(np.median(gaps_s))), np.bool_)

    def read_at(self, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Plant seconds at each moment, between two readings as if the clock went evenly."""
        return np.asarray(np.interp(at, self.time, self.seconds), np.float64)

    def told_before(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """When the clock was last told, at or before each moment."""
        return self.time[np.clip(np.searchsorted(self.time, at, side="right") - 1, 0, None)]

    def moments(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """When the clock showed these: ns since 1970 UTC."""
        return np.interp(seconds, self.seconds, self.time.astype(np.float64)).astype(np.int64)


def plant_clock(made_at: int, clock_s: float, readings: Track) -> tuple[PlantClock, bool]:
    """The clock from the start of a forecast on, and whether it was set back (which ends what can be compared)."""
    later = readings.good & (readings.time > made_at)
    time = np.concatenate([[made_at], readings.time[later]]).astype(np.int64)
    seconds = np.concatenate([[clock_s], readings.value[later]])
    back = np.flatnonzero(np.diff(seconds) < 0)
    end = int(back[0]) + 1 if len(back) else len(seconds)
    return PlantClock(time[:end], seconds[:end]), end < len(seconds)


# --- what a forecast took for given --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """What a settable point was told when a forecast was made; nearer than `tolerance` is the same."""

    value: float
    tolerance: float


def first_change(
    held: Mapping[str, Held], tracks: Mapping[str, Track], made_at: int, point: str = "", told: float = np.nan
) -> tuple[int, str] | None:
    """(moment, why) at which a settable point was first told something else than the forecast took for given.

    Args:
        point: the one that the forecast's own command tells `told`; "" where there is none.
    """
    found: list[tuple[int, str]] = []
    for name, known in held.items():
        track = tracks.get(name)
        if track is None:
            continue
        fits = np.abs(track.value - known.value) <= known.tolerance
        if name == point:
            done = np.abs(track.value - told) <= known.tolerance
            fits = np.where(np.logical_or.accumulate(done & track.good), done, fits)
        other = np.flatnonzero(track.good & ~fits & (track.time > made_at))
        if len(other):
            row = int(other[0])
            found.append((int(track.time[row]), f"{name} was set to {track.value[row]:g}"))
    return min(found, default=None)


def widened(
    fan: NDArray[np.float64], noise: float, levels: Sequence[float] | NDArray[np.float64] = QUANTILES
) -> NDArray[np.float64]:
    """The quantiles of a reading where `fan` has those of the true value, at these levels: (M, K) -> (M, K).

    Exact where both are Gaussian; else right for a wide fan and for a wide noise.
    """
    if noise <= 0.0:
        return fan
    median = (fan[(len(fan) - 1) // 2] + fan[len(fan) // 2]) / 2
    reach = special.ndtri(np.asarray(levels))[:, None] * noise  # (M, 1)
    away = fan - median
    return np.asarray(median + np.sign(reach + away) * np.hypot(away, reach), np.float64)
