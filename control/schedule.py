"""Whether a scheduled command may go now, and how moments are written for one; pure: no clock, no I/O.

Must not know what a condition means: it is told whether it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from control.command import Command, Status
from twin.errors import BadRequest
from twin.interlock import ALLOWED, Judgement, Sight
from twin.when import parse_duration_s, parse_when_ns

LOOK_EVERY_S = 0.5  # at a plant's clock and at conditions: as often as a poll of a device brings something new
DAY_S = 86_400.0
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_FORM = "write 06:00, +30m, 2026-11-21T06:00:00Z, `plant 06:00` or `plant +2h`"


@dataclass(frozen=True, slots=True)
class Moment:
    """When a command is to go: `at` in ns since 1970 UTC, or `at_plant_s` on the plant's own clock."""

    at: int | None = None
    at_plant_s: float | None = None


def parse_moment(text: str, now: int, clock_s: float | None) -> Moment:
    """A moment as people write it. A time of day is the next one: UTC, or of the day on the plant's clock.

    Args:
        clock_s: what the plant's own clock shows; None: it has none, or nobody can tell.

    Raises:
        BadRequest: it is no such moment, or the plant's clock cannot be told.
    """
    words = text.strip()
    if words.startswith("plant"):
        return Moment(at_plant_s=_plant_moment(words.removeprefix("plant").strip(), text, clock_s))
    found = _TIME.fullmatch(words)
    if found is None:
        return Moment(at=parse_when_ns(words, now, "at"))
    day_ns = int(DAY_S * 1e9)
    at = now - now % day_ns + int(_seconds(found) * 1e9)
    return Moment(at=at if at > now else at + day_ns)


def _plant_moment(words: str, text: str, clock_s: float | None) -> float:
    if clock_s is None:
        raise BadRequest(f"at: {text!r}, and the plant's clock cannot be told", "name a moment of the day outside")
    if words.startswith("+"):
        return clock_s + parse_duration_s(words[1:].strip(), "at")
    found = _TIME.fullmatch(words)
    if found is None:
        raise BadRequest(f"at: {text!r} is no moment", _FORM)
    at_s = clock_s - clock_s % DAY_S + _seconds(found)
    return at_s if at_s > clock_s else at_s + DAY_S


def _seconds(found: re.Match[str]) -> float:
    hour, minute, second = found.groups()
    return int(hour) * 3600.0 + int(minute) * 60.0 + int(second or 0)


def due(command: Command, clock_s: float | None, now: int, condition: Judgement = ALLOWED) -> Judgement:
    """Whether its time has come and its condition holds.

    Args:
        clock_s: what the plant's own clock shows, None when that is not good.
        condition: whether `terms.when` holds; asked only where there is one.
    """
    terms = command.terms
    if terms.at is not None and now < terms.at:
        return Judgement(False, f"its time comes in {(terms.at - now) / 1e9:.0f} s")
    if terms.at_plant_s is not None:
        if clock_s is None:
            return Judgement(False, "the plant's clock cannot be told")
        if clock_s < terms.at_plant_s:
            return Judgement(False, f"its time comes in {terms.at_plant_s - clock_s:.0f} s of the plant's clock")
    return condition if terms.when else ALLOWED


def next_look(command: Command, now: int) -> int | None:
    """When it may be due at the earliest, ns since 1970 UTC; None: something else than time decides."""
    terms = command.terms
    watched = terms.at_plant_s is not None or terms.when != ""
    later = now + int(LOOK_EVERY_S * 1e9)
    if terms.at is not None and now < terms.at:
        return terms.at
    return later if watched else None


def send_by(command: Command, now: int) -> int:
    """Last moment to send a scheduled command that is due: so long after its time, whenever it is seen to be due."""
    terms = command.terms
    start = now if terms.at is None or terms.when or terms.at_plant_s is not None else terms.at
    last = start + int(terms.deadline_s * 1e9)
    return last if terms.latest is None else min(last, terms.latest)


def too_late(command: Command, clock_s: float | None, now: int) -> str:
    """Why a command that is due may not go any more, "" when it may.

    It has been due for longer than its deadline: nobody was there to send it. How long ago that was on the wall is told
    from how fast the plant's clock has run since the command was submitted.
    """
    terms = command.terms
    if terms.when:
        return ""  # holds now
    late_s = (now - terms.at) / 1e9 if terms.at is not None else None
    if terms.at_plant_s is not None and clock_s is not None:
        then = _clock_at_submission(command)
        ran_s = (now - command.submitted_at) / 1e9
        if then is not None and clock_s > then and ran_s > 0:
            since_s = (clock_s - terms.at_plant_s) * ran_s / (clock_s - then)
            late_s = since_s if late_s is None else min(late_s, since_s)
    if late_s is None or late_s <= terms.deadline_s:
        return ""
    return f"its time came {late_s:.0f} s ago, when nobody could send it; its deadline was {terms.deadline_s:g} s"


def _clock_at_submission(command: Command) -> float | None:
    """The plant's clock as it was seen when the command began to wait for it."""
    for transition in command.transitions:
        if transition.status is Status.SCHEDULED and transition.seen:
            return transition.seen[0].value
    return None


def clock_seen(clock: str, clock_s: float, quality: int) -> Sight:
    """What the step to SCHEDULED keeps of the plant's clock, first of what it saw."""
    return Sight(clock, clock_s, None, quality, None)
