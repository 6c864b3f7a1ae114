"""What an interlock is, what it saw and said; must not know commands or devices."""

from __future__ import annotations

from dataclasses import dataclass

from twin import quality
from twin.columns import NEVER, Columns
from twin.points import Point

NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a point. `quality` is an OPC UA status code; `age_s` None: nobody could say it is old."""

    point: str
    value: float | None
    text: str | None
    quality: int
    age_s: float | None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one judge said: `interlocks`, `policy` or `preflight`. It goes into the evidence."""

    of: str
    allowed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`detail` says which interlocks refuse and why, "" when all allow; `verdicts` are of those who were asked."""

    allowed: bool
    detail: str = ""
    seen: tuple[Sight, ...] = ()
    verdicts: tuple[Ruling, ...] = ()


ALLOWED = Judgement(True)


@dataclass(frozen=True, slots=True)
class Interlock:
    """A row of the plant file.

    Attributes:
        require: expression that must hold for a command to be sent.
        when: expression under which it is asked for at all; "" for always.
        max_age_s: what was received longer ago counts as not known.
        message: for people, "" for none.
        emergency: whether it holds for emergencies too.
        points: names of the commanded points that it guards.
    """

    id: str
    require: str
    when: str
    max_age_s: float
    message: str
    emergency: bool
    points: tuple[str, ...]


def see(columns: Columns, point: Point, now: int) -> Sight:
    """The point as the columns have it; `now` in ns since 1970 UTC.

    Only what a device reports grows old: values that people keep, and Twinloop's own, hold until somebody changes them.
    """
    row = point.id
    value, received = columns.value.item(row), columns.received_time.item(row)
    age_s = None
    if point.device and received != NEVER:
        age_s = (now - received) / NS_PER_S if now > received else 0.0
    text = columns.text.get(row)
    return Sight(point.name, value if value == value else None, text, columns.quality.item(row), age_s)


def trouble(sight: Sight, point: Point, max_age_s: float) -> str:
    """Why nobody can go by what was seen, such as `is stale (31 s old)`; "" where one can."""
    if not quality.is_good(sight.quality):
        never = sight.quality == quality.BAD_WAITING_FOR_INITIAL_DATA
        return "was never read" if never else f"is {quality.name(sight.quality)}"
    if sight.age_s is not None and sight.age_s > max_age_s:
        return f"is stale ({sight.age_s:.3g} s old)"
    if point.type == "string":
        return "has no text" if sight.text is None else ""
    return "has no value" if sight.value is None else ""


def shown(sight: Sight, point: Point) -> str:
    """`tank_1.level is 0.9 m`, `pump_335.fault is on`, `pump_335.mode is auto`."""
    if sight.text is not None:
        return f"{point.name} is {sight.text}" if point.type == "enum" else f"{point.name} is '{sight.text}'"
    return f"{point.name} is {amount(sight.value, point)}"


def amount(value: float | None, point: Point) -> str:
    """A value of a point in words."""
    if value is None:
        return "without a value"
    if point.type == "boolean":
        return "on" if value else "off"
    return f"{value:.6g} {point.unit}".rstrip()
