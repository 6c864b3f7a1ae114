"""Which predicted alarms stand because of the forecasts of a look-ahead, and what became of each; pure, reads no clock.

A predicted alarm is not an alarm: nothing is wrong yet (ISA-18.2 knows alarms of what is). It has words of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from control.lookahead import Expected, Forecast, beyond
from control.prediction import span
from sim.scenario import Limit
from twin.lookahead import Lookahead

# A limit that was not read for longer than both, before it was found passed, came at an unknown time.
UNSEEN_SHARE = 0.05  # of the horizon: less does not matter
UNSEEN_NS = 5_000_000_000  # several looks: a plant that runs fast is not away between two of them


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
class Again:
    """Passings of a limit after the one that its record tells of, while it was quiet.

    Attributes:
        foreseen, unforeseen: by the newest forecast made since the limit was kept again: P >= p_min, or not.
        unsaid: there was no forecast in between.
    """

    foreseen: int = 0
    unforeseen: int = 0
    unsaid: int = 0

    @property
    def count(self) -> int:
        return self.foreseen + self.unforeseen + self.unsaid

    def __add__(self, other: Again) -> Again:
        return Again(
            self.foreseen + other.foreseen, self.unforeseen + other.unforeseen, self.unsaid + other.unsaid
        )  # fmt: skip


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
        again: how often the limit was passed after it came, before another alarm could be predicted.
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
    again: Again = Again()

    @property
    def is_news(self) -> bool:
        """Whether it is predicted or ended just now; else only its words or counts are others."""
        return self.first == self.last if self.status is Status.PREDICTED else not self.again.count

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


@dataclass(frozen=True, slots=True)
class Quiet:
    """A limit that was passed and is not predicted again yet.

    Attributes:
        alarm: that it came, or was missed.
        armed_s: plant time from which it is predicted again if it is kept until then; None while it is passed.
    """

    alarm: Alarm
    armed_s: float | None


class Alarms:
    """One life a limit. Whoever holds it carries out what its methods return: alarms that are others now.

    Between `p_clear` and `p_min` everything stays as it is. A limit that was passed is quiet until it has been kept for
    `off_delay_s` on end (ISA-18.2: off-delay): a level that plays around its limit makes one predicted alarm, not many,
    and each further passing is counted on its record.
    """

    def __init__(self, asked: Lookahead, limits: Iterable[Limit], standing: Iterable[Alarm], new_id: Callable[[], str]):
        self._asked, self._new_id = asked, new_id
        self._limits = {str(limit): limit for limit in limits}
        self._standing = {a.limit: a for a in standing if a.limit in self._limits}
        self._quiet: dict[str, Alarm] = {}
        # Plant time and our time at which a limit was last read as kept, since the start.
        self._kept: dict[str, tuple[float, int]] = {}
        self._since: dict[str, float] = {}  # plant time from which on it has been kept without a break
        self._beyond: set[str] = set()  # limits that are passed now
        self._said: dict[str, Said] = {}  # by the newest forecast made since the limit was last found kept

    @property
    def standing(self) -> list[Alarm]:
        """The soonest first."""
        return sorted(self._standing.values(), key=lambda a: a.last.at_s or 0.0)

    @property
    def passed_now(self) -> list[str]:
        """Limits that are passed already: those are matters of alarms, not of forecasts."""
        return [name for name in self._limits if name in self._beyond]

    @property
    def quiet(self) -> list[Quiet]:
        """Limits of which nothing is predicted although it may be likely, in the plant's order."""
        found = [self._quiet[name] for name in self._limits if name in self._quiet]
        return [
            Quiet(a, None if a.limit in self._beyond else self._since[a.limit] + self._asked.off_delay_s)
            for a in found
        ]  # fmt: skip

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
        if beyond(self._limits[name], value):
            return self._passed(name, value, clock_s, now)
        began = self._since.get(name)
        if name in self._beyond or began is None or clock_s < began or not self._seen(name, clock_s, now):
            self._since[name] = clock_s
        self._kept[name] = clock_s, now
        self._beyond.discard(name)
        return None

    def _passed(self, name: str, value: float, clock_s: float, now: int) -> Alarm | None:
        if name in self._beyond:
            return None
        self._beyond.add(name)
        alarm, quiet, said = self._standing.get(name), self._quiet.get(name), self._said.pop(name, None)
        # Without a forecast that reaches to now nothing was said that could have been wrong.
        if said is not None and not 0 <= clock_s - said.clock_s <= self._asked.horizon_s:
            said = None
        if alarm is not None:
            timed = self._seen(name, clock_s, now)
            detail = f"read {value:g}" if timed else f"read {value:g}; nobody saw it come"
            found = replace(self._end(alarm, Status.CAME, clock_s, now, detail), timed=timed)
        elif quiet is not None:
            found = replace(quiet, again=quiet.again + self._judged(said))
        elif said is None or name not in self._kept:
            return None
        else:
            detail = f"read {value:g}; P = {said.probability:.2f} was said {span(round(clock_s - said.clock_s))} before"
            found = Alarm(self._new_id(), name, _moved(None, Status.MISSED), said, said, now, clock_s, detail)
        self._quiet[name] = found
        return found

    def _seen(self, name: str, clock_s: float, now: int) -> bool:
        """Whether the limit was read as kept only just before."""
        kept = self._kept.get(name)
        near_s = UNSEEN_SHARE * self._asked.horizon_s
        return kept is not None and (clock_s - kept[0] <= near_s or now - kept[1] <= UNSEEN_NS)

    def _judged(self, said: Said | None) -> Again:
        if said is None:
            return Again(unsaid=1)
        return Again(foreseen=1) if said.probability >= self._asked.p_min else Again(unforeseen=1)

    def _look(self, found: Expected, forecast: Forecast, now: int) -> Alarm | None:
        name, asked, limit = found.limit, self._asked, self._limits[found.limit]
        alarm, started = self._standing.get(name), forecast.started.get(limit.point)
        # Of a forecast that began with the limit passed, or before it was last kept again, P is no forecast.
        if name in self._beyond or (started is not None and beyond(limit, started)):
            return None
        if forecast.clock_s < self._since.get(name, forecast.clock_s):
            return None
        said = Said(
            found.probability, found.low, found.high, found.early_s, found.at_s, found.late_s, forecast.made_at,
            forecast.clock_s,
        )  # fmt: skip
        self._said[name] = said
        if forecast.clock_s - self._since.get(name, forecast.clock_s) >= asked.off_delay_s:
            self._quiet.pop(name, None)
        if found.probability < asked.p_clear:
            if alarm is None:
                return None
            ended = self._end(alarm, Status.CLEARED, forecast.clock_s, now, f"P = {found.probability:.2f}")
            return replace(ended, last=said)
        if alarm is not None:
            self._standing[name] = replace(alarm, last=said)
        elif found.probability >= asked.p_min and name not in self._quiet:
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
