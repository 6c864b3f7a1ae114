"""How well an alarm system works: rates, floods, bad actors, chattering, standing; pure, over steps of a time span.

Sources: EEMUA 191 (rates per operator, the five levels), ISA-18.2-2016 clause 16 / IEC 62682 (flood, chattering,
fleeting, stale, targets). Only alarms that rang are counted: what nobody was told of loads nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from twin.alarm import PRIORITIES, SHARES, Priority
from twin.alarms import Step

NS = 1_000_000_000
WINDOW_NS = 600 * NS  # ten minutes: the unit of all rates of EEMUA 191
FLOOD_BEGINS = 10  # more than so many in a window, an operator (ISA-18.2)
FLOOD_ENDS = 5  # fewer than so many (ISA-18.2)
CHATTER_COUNT, CHATTER_NS = 3, 60 * NS  # so often within a minute (ISA-18.2: chattering)
FLEETING_NS = 10 * NS  # over before anybody could have looked
STANDING_NS = 86_400 * NS  # a day (ISA-18.2: stale)
TOP = 10
LISTED_MAX = 1_000  # of each list: more than anybody mends at a time
LEVELS: Sequence[tuple[str, float, float, float]] = (
    ("predictive", 1.0, 10.0, 0.01),
    ("robust", 2.0, 100.0, 0.05),
    ("stable", 10.0, 100.0, 0.25),
    ("reactive", 100.0, 1000.0, 0.5),
)
"""(name, mean in ten minutes, most in ten minutes, part of time in flood), each at most; else `overloaded`."""


@dataclass(frozen=True, slots=True)
class Happening:
    """A step of an alarm, as history keeps it."""

    time: int
    alarm: str
    priority: Priority
    step: Step
    rings: bool


@dataclass(frozen=True, slots=True)
class Flood:
    """From the window that went over until the one that fell below; `end` None: it goes on."""

    start: int
    end: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Actor:
    """An alarm and how often it did it."""

    alarm: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm that has been active since."""

    alarm: str
    since: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures of [start, end), ns since 1970 UTC. Rates are per operator and of the time that was watched.

    Attributes:
        watched_s: how long a server watched within the span.
        by_priority: how many rang. shares: each one's part.
        mean_10min: alarms in ten minutes, of ten watched minutes at least; per_hour, per_day follow from it.
        most_10min: in any ten minutes, wherever they begin.
        over_10min: part of ten-minute spans with more than FLOOD_BEGINS.
        in_flood: part of the watched time.
        to_ack_s: median from coming to acknowledgement; None: nobody acknowledged any.
        top, top_share: bad actors, and their part of all.
        chattering: at least CHATTER_COUNT times within a minute; fleeting: over within FLEETING_NS.
        per_window: how many rang in each ten minutes from start on; None where nobody watched.
    """

    start: int
    end: int
    operators: int
    watched_s: float
    count: int
    by_priority: Mapping[Priority, int]
    shares: Mapping[Priority, float]
    mean_10min: float
    per_hour: float
    per_day: float
    most_10min: float
    over_10min: float
    in_flood: float
    floods: tuple[Flood, ...]
    level: str
    to_ack_s: float | None
    top: tuple[Actor, ...]
    top_share: float
    chattering: tuple[Actor, ...]
    fleeting: tuple[Actor, ...]
    standing: tuple[Standing, ...]
    per_window: tuple[int | None, ...]


def statistics(
    steps: Sequence[Happening], start: int, end: int, operators: int, active: Iterable[tuple[str, int]],
    watches: Iterable[tuple[int, int]],
) -> Statistics:  # fmt: skip
    """
    Args:
        steps: of the span, in order of time.
        active: (alarm, since) of those that are active at `end` and told.
        watches: when a server watched; they may lap over.
    """
    rung = [s for s in steps if s.rings and s.priority is not Priority.JOURNAL and start <= s.time < end]
    times = np.array([s.time for s in rung], np.int64)
    windows = max(1, -(-(end - start) // WINDOW_NS))
    per_window = np.bincount((times - start) // WINDOW_NS, minlength=windows)[:windows]
    spans = _union(watches, start, end)
    seen = _seen(spans, start, windows) | (per_window > 0)
    watched = sum(b - a for a, b in spans)
    mean = len(rung) / (max(watched, WINDOW_NS) / WINDOW_NS) / operators
    within = np.arange(1, len(times) + 1) - np.searchsorted(times, times - WINDOW_NS, "right")
    most = float(within.max(initial=0)) / operators
    over = float(np.mean(per_window[seen] > FLOOD_BEGINS * operators)) if seen.any() else 0.0
    found = floods(times, operators, end)
    flooded = min(1.0, sum((f.end or end) - f.start for f in found) / max(watched, 1))
    counts = Counter(s.alarm for s in rung)
    top = tuple(_actors(counts.most_common(TOP), len(rung)))
    by_priority: Counter[Priority] = Counter(s.priority for s in rung)
    count = max(len(rung), 1)
    return Statistics(
        start, end, operators, watched / NS, len(rung),
        {p: by_priority[p] for p in PRIORITIES if p is not Priority.JOURNAL},
        {p: by_priority[p] / count for p in SHARES},
        mean, mean * 6, mean * 144, most,
        over, flooded, tuple(found), level(mean, most, flooded),
        _to_ack_s(steps), top, sum(a.share for a in top),
        tuple(_actors(_chattering(rung).most_common(LISTED_MAX), len(rung))),
        tuple(_actors(_fleeting(steps).most_common(LISTED_MAX), len(rung))),
        tuple(sorted((Standing(a, t) for a, t in active if end - t >= STANDING_NS), key=lambda s: s.since)[:LISTED_MAX]),
        tuple(n if told else None for n, told in zip(per_window.tolist(), seen.tolist(), strict=True)),
    )  # fmt: skip


def _union(spans: Iterable[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """Within [start, end), in order, none over another."""
    found: list[tuple[int, int]] = []
    for a, b in sorted((max(a, start), min(b, end)) for a, b in spans):
        if a >= b:
            continue
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], b))
        else:
            found.append((a, b))
    return found


def _seen(spans: Iterable[tuple[int, int]], start: int, windows: int) -> NDArray[np.bool_]:
    """Windows in which somebody watched at all."""
    seen = np.zeros(windows, np.bool_)
    for a, b in spans:
        seen[(a - start) // WINDOW_NS : -(-(b - start) // WINDOW_NS)] = True
    return seen


def level(mean: float, most: float, flooded: float) -> str:
    """Of EEMUA 191's five levels the best whose every bound is kept."""
    return next((n for n, a, b, c in LEVELS if mean <= a and most <= b and flooded <= c), "overloaded")


def floods(times: NDArray[np.int64], operators: int, end: int) -> list[Flood]:
    """More than ten in ten minutes until fewer than five, an operator; overlapping windows, each alarm a look."""
    watch, found, first = FloodWatch(operators), list[Flood](), 0
    for n, time in enumerate(times.tolist()):
        if (over := watch.over(time)) is not None:
            found[-1] = Flood(found[-1].start, over, n - first)
        if watch.rung(time):
            first = n + 1 - watch.count
            found.append(Flood(time, None, 0))
    if watch.on:
        found[-1] = Flood(found[-1].start, watch.over(end), len(times) - first)
    return found


class FloodWatch:
    """Whether a flood is on, alarm by alarm."""

    def __init__(self, operators: int) -> None:
        self._begins, self._ends = FLOOD_BEGINS * operators, FLOOD_ENDS * operators
        self._times: deque[int] = deque()
        self.on = False

    @property
    def count(self) -> int:
        """Rung within the last window, as of the last look."""
        return len(self._times)

    def rung(self, time: int) -> bool:
        """Whether a flood begins with it. Ask `over` first."""
        self._times.append(time)
        begins = not self.on and len(self._times) > self._begins
        self.on = self.on or begins
        return begins

    def over(self, now: int) -> int | None:
        """When the flood ended, if it has by now and was on."""
        ended: int | None = None
        while self._times and self._times[0] <= now - WINDOW_NS:
            left = self._times.popleft() + WINDOW_NS
            if self.on and len(self._times) < self._ends:
                self.on, ended = False, left
        return ended


def priority_check(priorities: Iterable[Priority]) -> dict[Priority, tuple[int, float, float]]:
    """Of configured alarms by priority: how many, their part, and what it should be at most (for `low`: at least)."""
    counts: Counter[Priority] = Counter(p for p in priorities if p != Priority.JOURNAL)
    whole = max(sum(counts.values()), 1)
    return {p: (counts[p], counts[p] / whole, wanted) for p, wanted in SHARES.items()}


def _actors(counts: Iterable[tuple[str, int]], whole: int) -> list[Actor]:
    return [Actor(alarm, count, count / max(whole, 1)) for alarm, count in counts]


def _chattering(rung: Sequence[Happening]) -> Counter[str]:
    """How often each came, of those that came three times within a minute."""
    times: dict[str, list[int]] = defaultdict(list)
    for s in rung:
        times[s.alarm].append(s.time)
    found: Counter[str] = Counter()
    for alarm, mine in times.items():
        spans = zip(mine, mine[CHATTER_COUNT - 1 :], strict=False)
        if any(last - first <= CHATTER_NS for first, last in spans):
            found[alarm] = len(mine)
    return found


def _fleeting(steps: Sequence[Happening]) -> Counter[str]:
    """How often each was over within seconds."""
    came: dict[str, int] = {}
    found: Counter[str] = Counter()
    for s in steps:
        if s.step is Step.ACTIVE and s.rings:
            came[s.alarm] = s.time
        elif s.step is Step.CLEARED and (since := came.pop(s.alarm, None)) is not None:
            found[s.alarm] += s.time - since <= FLEETING_NS
    return +found


def _to_ack_s(steps: Sequence[Happening]) -> float | None:
    came: dict[str, int] = {}
    took: list[float] = []
    for s in steps:
        if s.rings:
            came[s.alarm] = s.time
        elif s.step is Step.ACKNOWLEDGED and (since := came.pop(s.alarm, None)) is not None:
            took.append((s.time - since) / 1e9)
    return median(took) if took else None
