"""HistoryRead of raw data: which readings answer a request, page by page; must not know any library or store.

Source: OPC UA Part 11, 6.5.3 (ReadRawModifiedDetails) and its table of bounding values.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from twin.past import AFTER_ALL, BEFORE_ALL, Past, Place, Span

PAGE = 1_000  # values of one node in one answer: some 30 KB; what is more comes with a continuation point
_POINT = struct.Struct("<qqq")  # time, batch, row of the last reading given
Read = Callable[[Span], Awaitable[list[Past]]]


class BadRange(ValueError):
    """Fewer than two of start, end and number are given."""


class BadContinuation(ValueError):
    """Not a continuation point of ours."""


@dataclass(frozen=True, slots=True)
class Raw:
    """What is asked of one node.

    Attributes:
        start, end: ns since 1970 UTC, None where not given.
        most: values at most, 0 for all.
        bounds: whether the readings around the ends are wanted, too.
    """

    start: int | None
    end: int | None
    most: int
    bounds: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no reading beyond this end of the range."""

    time: int


@dataclass(frozen=True, slots=True)
class Page:
    """Values in the order asked for, and where to go on: b"" when this was all."""

    values: list[Past | Missing]
    continuation: bytes


@dataclass(frozen=True, slots=True)
class _Way:
    """A range with a direction: `first` and `last` in the order of the answer; the last end may have no bound.

    `instant`: both ends are the same.
    """

    first: int
    last: int
    backwards: bool
    last_open: bool
    instant: bool = False


async def answer(raw: Raw, continuation: bytes, read: Read) -> Page:
    """One page of the answer.

    Raises:
        BadRange, BadContinuation.
    """
    way = _way(raw)
    after = _resume(continuation)
    values: list[Past | Missing] = []
    if raw.bounds and after is None:
        values += await _before(way, read)
    room = min(PAGE, raw.most or PAGE) - len(values)
    found = await read(_span(way, room + 1, after))  # one more than fits: is there more?
    values += found[:room]
    if len(found) > room:
        last = values[-1]
        return Page(values, _POINT.pack(*(last.place if isinstance(last, Past) else _edge(way))))
    if raw.bounds and not way.last_open and len(values) < (raw.most or PAGE + 1) and not (way.instant and found):
        values += await _beyond(way, read)
    return Page(values, b"")


def _way(raw: Raw) -> _Way:
    if [raw.start is not None, raw.end is not None, raw.most > 0].count(True) < 2:
        raise BadRange("two of start, end and number are needed")
    if raw.start is None:
        assert raw.end is not None
        return _Way(raw.end, BEFORE_ALL, True, True)
    if raw.end is None:
        return _Way(raw.start, AFTER_ALL, False, True)
    if raw.end < raw.start:
        return _Way(raw.start, raw.end, True, False)
    # One instant: the value at it, which a half-open range would leave out.
    instant = raw.start == raw.end
    return _Way(raw.start, raw.end + instant, False, False, instant)


def _span(way: _Way, most: int, after: Place | None) -> Span:
    """The first end is part of the answer, the last one is not."""
    if way.backwards:
        return Span(way.last, way.first, most, newest_first=True, after=after)
    return Span(way.first, way.last, most, after=after)


async def _before(way: _Way, read: Read) -> list[Past | Missing]:
    """The bound at the first end, unless a reading lies exactly there: that one comes by itself."""
    if await read(Span(way.first, way.first + 1, 1)):
        return []
    if way.backwards:
        found = await read(Span(way.first, AFTER_ALL, 1))
    else:
        found = await read(Span(BEFORE_ALL, way.first, 1, newest_first=True))
    return [found[0] if found else Missing(way.first)]


async def _beyond(way: _Way, read: Read) -> list[Past | Missing]:
    """The bound at the last end: the reading exactly there, else the next one beyond it."""
    if way.backwards:
        found = await read(Span(BEFORE_ALL, way.last, 1, newest_first=True))
    else:
        found = await read(Span(way.last, AFTER_ALL, 1))
    return [found[0] if found else Missing(way.last)]


def _resume(continuation: bytes) -> Place | None:
    """The place to go on after."""
    if not continuation:
        return None
    if len(continuation) != _POINT.size:
        raise BadContinuation("not a continuation point of this server")
    time, batch, row = _POINT.unpack(continuation)
    return time, batch, row


def _edge(way: _Way) -> Place:
    edge = AFTER_ALL if way.backwards else BEFORE_ALL
    return edge, edge, 0
