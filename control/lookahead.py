"""What a look-ahead says, and which predicted alarms stand because of it; pure: simulates nothing, reads no clock.

A predicted alarm is not an alarm: nothing is wrong yet (ISA-18.2 knows alarms of what is). It has words of its own.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from control.observed import Held
from control.prediction import Fan, span
from sim.result import LimitRisk, Result
from sim.scenario import Limit
from twin.lookahead import Lookahead

SAMPLES = 96  # sample times over the horizon: a crossing is told to a hundredth of it
SAMPLE_MIN_S = 60.0
# A limit that was not read for longer than both, before it was found passed, came at an unknown time.
UNSEEN_SHARE = 0.05  # of the horizon: less does not matter
UNSEEN_NS = 5_000_000_000  # several looks: a plant that runs fast is not away between two of them
# Quantiles of each output that a score is computed from: of 200 futures, whatever their distribution, the CRPS of all of
# them is met to 0.4 %; by the five of a fan only to 7 %, where what is forecast is a count or a yes or no.
SCORED = 20
SCORED_LEVELS = (np.arange(SCORED) + 0.5) / SCORED  # (M,)
CENTRAL = (0.05, 0.5, 0.95)  # of the time of a crossing, given that it comes


@dataclass(frozen=True, slots=True)
class Expected:
    """One limit in one forecast.

    Attributes:
        probability, low, high: that it is passed within the horizon, and its 95 % Wilson interval.
        early_s, at_s, late_s: when, in the plant's own time, given that it is: 5, 50, 95 %; None when it never was.
        by: the probability by each sample time.
    """

    limit: str
    probability: float
    low: float
    high: float
    early_s: float | None
    at_s: float | None
    late_s: float | None
    by: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The plant ahead with nobody commanding anything.

    Attributes:
        made_at: when the snapshot was taken, ns since 1970 UTC.
        clock_s: the plant's own time then.
        took_s: how long the simulation took.
        held: every settable point that was known at the start.
        started: what the outputs read at the start; None where that was not good.
        noise: standard deviation of an output's instrument, in its unit, where the model states one.
        times_s: sample times after the start, the start included.
        fans: output -> its 5, 25, 50, 75, 95 % quantiles at those times; empty once scored.
        drawn: output -> its quantiles at SCORED_LEVELS, `packed`; empty once scored.
        paces: output that only counts up -> what it rose by in a second before the start, in the plant's time; None
            while that is not known.
    """

    id: str
    made_at: int
    clock_s: float
    horizon_s: float
    replications: int
    seed: int
    took_s: float
    backend: str
    state_hash: str
    model_hash: str
    limits: tuple[Expected, ...]
    held: Mapping[str, Held]
    started: Mapping[str, float | None]
    noise: Mapping[str, float]
    units: Mapping[str, str]
    times_s: tuple[float, ...]
    fans: Mapping[str, Fan]
    drawn: Mapping[str, bytes] = field(default_factory=dict)
    paces: Mapping[str, float | None] = field(default_factory=dict)


def packed(samples: NDArray[np.floating[Any]]) -> bytes:
    """Futures of one output, shape (R, T), as their quantiles at SCORED_LEVELS: values that occurred, no mixtures."""
    drawn = np.quantile(samples, SCORED_LEVELS, axis=0, method="inverted_cdf")
    return zlib.compress(drawn.astype("<f4").tobytes())


def unpacked(drawn: bytes) -> NDArray[np.float64]:
    """Quantiles at SCORED_LEVELS, shape (M, T)."""
    return np.frombuffer(zlib.decompress(drawn), "<f4").astype(np.float64).reshape(SCORED, -1)


def sample_every_s(horizon_s: float) -> float:
    return max(SAMPLE_MIN_S, horizon_s / SAMPLES)


def seed_of(identity: str) -> int:
    """Another one for each forecast: the same chance every time would be wrong the same way every time."""
    return (
        int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") >> 11
    )  # 53 bits: JSON numbers hold no more


def forecast_of(
    identity: str,
    result: Result,
    held: Mapping[str, Held],
    started: Mapping[str, float | None],
    noise: Mapping[str, float],
    drawn: Mapping[str, bytes],
) -> Forecast:
    """What an experiment without scenarios says."""
    base = result.baseline
    return Forecast(
        id=identity,
        made_at=result.taken_at,
        clock_s=result.clock_s,
        horizon_s=result.horizon_s,
        replications=result.replications,
        seed=result.seed,
        took_s=result.wall_s,
        backend=result.backend,
        state_hash=result.state_hash,
        model_hash=result.model_hash,
        limits=tuple(expected(risk, result.times_s, result.clock_s) for risk in base.limits),
        held=held,
        started=started,
        noise=noise,
        units=result.units,
        times_s=result.times_s,
        fans={name: tuple(tuple(_short(x) for x in row) for row in rows) for name, rows in base.fans.items()},
        drawn=drawn,
    )


def expected(risk: LimitRisk, times_s: Sequence[float], clock_s: float) -> Expected:
    early, middle, late = (crossing_s(risk.probability, times_s, share) for share in CENTRAL)
    return Expected(
        risk.limit,
        risk.probability[-1],
        risk.low[-1],
        risk.high[-1],
        None if early is None else clock_s + early,
        None if middle is None else clock_s + middle,
        None if late is None else clock_s + late,
        tuple(_short(p) for p in risk.probability),
    )


def crossing_s(by: Sequence[float], times_s: Sequence[float], share: float) -> float | None:
    """When that share of the futures that pass the limit at all has passed it: seconds after the start, between samples
    as if they passed at an even rate. None when none does."""
    wanted = share * by[-1]
    if by[-1] <= 0:
        return None
    row = next(k for k, p in enumerate(by) if p >= wanted)
    if row == 0 or by[row] == by[row - 1]:
        return times_s[row]
    return times_s[row - 1] + (times_s[row] - times_s[row - 1]) * (wanted - by[row - 1]) / (by[row] - by[row - 1])


def beyond(limit: Limit, value: float) -> bool:
    return bool(limit.passed(np.asarray(value)))


def _short(value: float) -> float:
    """Seven digits: all that a sample has, and a third of the bytes."""
    return float(f"{value:.7g}")


# --- predicted alarms ----------------------------------------------------------------------------------------------------


class Status(StrEnum):
    """What became of a predicted alarm."""

    PREDICTED = "predicted"  # it stands: the limit is likely to be passed within the horizon
    CAME = "came"  # the limit was passed
    CLEARED = "cleared"  # it is no longer likely
    LAPSED = "lapsed"  # for a whole horizon nobody could look ahead again
    MISSED = "missed"  # the limit was passed, and no alarm had been predicted


TRANSITIONS: Mapping[Status | None, frozenset[Status]] = {
    None: frozenset({Status.PREDICTED, Status.MISSED}),
    Status.PREDICTED: frozenset({Status.CAME, Status.CLEARED, Status.LAPSED}),
}
"""A status that is not here is the last one."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a forecast said of a limit: probability with its 95 % interval, and when (as in Expected)."""

    probability: float
    low: float
    high: float
    early_s: float | None
    at_s: float | None
    late_s: float | None
    made_at: int
    clock_s: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """A predicted alarm and what became of it.

    Attributes:
        first: what was said when it was raised; of one that was missed, what was said last before it came.
        last: what was said last while it stood.
        ended_at: ns since 1970 UTC; None while it stands.
        ended_clock_s: the plant's own time then.
        detail: why it ended, or how likely it was thought.
        timed: whether somebody saw it come; else it was found so after a time in which nobody could look.
    """

    id: str
    limit: str
    status: Status
    first: Said
    last: Said
    ended_at: int | None = None
    ended_clock_s: float | None = None
    detail: str = ""
    timed: bool = True

    @property
    def lead_s(self) -> float | None:
        """How long before it came it was predicted, in the plant's time; None where nobody saw it come."""
        if self.status is not Status.CAME or self.ended_clock_s is None or not self.timed:
            return None
        return self.ended_clock_s - self.first.clock_s

    @property
    def error_s(self) -> float | None:
        """How much later than first said it came."""
        if self.lead_s is None or self.first.at_s is None or self.ended_clock_s is None:
            return None
        return self.ended_clock_s - self.first.at_s

    @property
    def inside(self) -> bool | None:
        """Whether it came within the 90 % interval first said."""
        first, at_s = self.first, self.ended_clock_s
        if self.lead_s is None or at_s is None or first.early_s is None or first.late_s is None:
            return None
        return first.early_s <= at_s <= first.late_s


class Alarms:
    """One life a limit. Whoever holds it carries out what its methods return: alarms that are others now.

    Between `p_clear` and `p_min` everything stays as it is. A limit that was passed is not predicted again before it is
    kept and unlikely to be passed: a level that plays around its limit makes one predicted alarm, not many.
    """

    def __init__(self, asked: Lookahead, limits: Iterable[Limit], standing: Iterable[Alarm], new_id: Callable[[], str]):
        self._asked, self._new_id = asked, new_id
        self._limits = {str(limit): limit for limit in limits}
        self._standing = {a.limit: a for a in standing if a.limit in self._limits}
        self._passed: set[str] = set()  # limits that were passed, and not safe since
        # Plant time and our time at which a limit was last read as kept, since the start.
        self._kept: dict[str, tuple[float, int]] = {}
        self._beyond: set[str] = set()  # limits that are passed now
        self._said: dict[str, Said] = {}

    @property
    def standing(self) -> list[Alarm]:
        """The soonest first."""
        return sorted(self._standing.values(), key=lambda a: a.last.at_s or 0.0)

    @property
    def passed_now(self) -> list[str]:
        """Limits that are passed already: those are matters of alarms, not of forecasts."""
        return [name for name in self._limits if name in self._beyond]

    def read(self, values: Mapping[str, float], clock_s: float, now: int) -> list[Alarm]:
        """Good readings of now, by point; those that are not good are left out, and say nothing.

        Args:
            clock_s: the plant's own time.
        """
        changed = [
            self._read(name, values[x.point], clock_s, now) for name, x in self._limits.items() if x.point in values
        ]
        lapsed = [self._lapsed(alarm, clock_s, now) for alarm in list(self._standing.values())]
        return [a for a in (*changed, *lapsed) if a is not None]

    def look(self, forecast: Forecast, now: int) -> list[Alarm]:
        """A new forecast; also what only changes its words is returned."""
        found = [self._look(x, forecast, now) for x in forecast.limits if x.limit in self._limits]
        return [a for a in found if a is not None]

    def _read(self, name: str, value: float, clock_s: float, now: int) -> Alarm | None:
        if not beyond(self._limits[name], value):
            self._kept[name] = clock_s, now
            self._beyond.discard(name)
            return None
        self._beyond.add(name)
        kept = self._kept.get(name)
        known, alarm, said = name in self._passed, self._standing.get(name), self._said.get(name)
        self._passed.add(name)
        if alarm is not None:
            near_s = UNSEEN_SHARE * self._asked.horizon_s
            timed = kept is not None and (clock_s - kept[0] <= near_s or now - kept[1] <= UNSEEN_NS)
            detail = f"read {value:g}" if timed else f"read {value:g}; nobody saw it come"
            return replace(self._end(alarm, Status.CAME, clock_s, now, detail), timed=timed)
        # Without a forecast that reaches to now nothing was said that could have been wrong.
        if known or kept is None or said is None or not 0 <= clock_s - said.clock_s <= self._asked.horizon_s:
            return None
        detail = f"read {value:g}; P = {said.probability:.2f} was said {span(round(clock_s - said.clock_s))} before"
        return Alarm(self._new_id(), name, _moved(None, Status.MISSED), said, said, now, clock_s, detail)

    def _look(self, found: Expected, forecast: Forecast, now: int) -> Alarm | None:
        name, asked = found.limit, self._asked
        said = Said(
            found.probability, found.low, found.high, found.early_s, found.at_s, found.late_s, forecast.made_at,
            forecast.clock_s,
        )  # fmt: skip
        self._said[name] = said
        alarm = self._standing.get(name)
        if found.probability < asked.p_clear:
            if name not in self._beyond:
                self._passed.discard(name)
            if alarm is None:
                return None
            ended = self._end(alarm, Status.CLEARED, forecast.clock_s, now, f"P = {found.probability:.2f}")
            return replace(ended, last=said)
        if alarm is not None:
            self._standing[name] = replace(alarm, last=said)
        elif found.probability >= asked.p_min and name not in self._passed:
            self._standing[name] = Alarm(self._new_id(), name, _moved(None, Status.PREDICTED), said, said)
        return self._standing.get(name)

    def _lapsed(self, alarm: Alarm, clock_s: float, now: int) -> Alarm | None:
        if clock_s - alarm.last.clock_s <= self._asked.horizon_s:
            return None
        return self._end(alarm, Status.LAPSED, clock_s, now, f"no forecast for {span(self._asked.horizon_s)}")

    def _end(self, alarm: Alarm, status: Status, clock_s: float, now: int, detail: str) -> Alarm:
        del self._standing[alarm.limit]
        moved = _moved(alarm.status, status)
        return replace(alarm, status=moved, ended_at=now, ended_clock_s=clock_s, detail=detail)


def _moved(before: Status | None, after: Status) -> Status:
    assert after in TRANSITIONS[before], f"{before} -> {after}"
    return after


def sentence(alarm: Alarm) -> str:
    """`tank_1.level<1: P = 0.83 (0.75 … 0.89), in 42 min ± 4 min`, from the plant's time of the forecast."""
    said = alarm.last
    if said.at_s is None or said.early_s is None or said.late_s is None:
        return f"{alarm.limit}: P = {said.probability:.2f}"
    ahead, half = said.at_s - said.clock_s, (said.late_s - said.early_s) / 2
    return (
        f"{alarm.limit}: P = {said.probability:.2f} ({said.low:.2f} … {said.high:.2f}), "
        f"in {span(round(ahead))} ± {span(round(half))}"
    )


# --- shelves -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shelf:
    """A limit whose predicted alarms somebody does not want to hear of for a while (ISA-18.2: shelving).

    They are predicted and scored all the same. `until` in ns since 1970 UTC.
    """

    limit: str
    until: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Spread:
    """What is dropped of a forecast once it is scored."""

    fans: Mapping[str, Fan]
    drawn: Mapping[str, bytes]


def split(forecast: Forecast) -> tuple[str, str]:
    """(body, fans) as JSON: the fans are most of it, and are dropped once they are scored."""
    body = msgspec.json.encode(replace(forecast, fans={}, drawn={}), order="sorted").decode()
    return body, msgspec.json.encode(Spread(forecast.fans, forecast.drawn), order="sorted").decode()


def join(body: str, fans: str | None) -> Forecast:
    """The forecast of `split`; without its fans where they are gone."""
    made = msgspec.json.decode(body, type=Forecast)
    if fans is None:
        return made
    spread = msgspec.json.decode(fans, type=Spread)
    return replace(made, fans=spread.fans, drawn=spread.drawn)
