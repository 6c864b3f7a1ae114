"""Moments and spans as people write them: `2026-11-21 06:00`, `-15m`, `1h30m`; pure, the clock is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from twin.errors import BadRequest

SECONDS_OF_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_FORM = "write it as 2026-11-21T06:00:00Z, or relative to now as -15m or -1h30m"


def parse_duration_s(text: str, place: str = "duration") -> float:
    """Seconds of `90s`, `30m`, `1h30m`, `2d`.

    Raises:
        BadRequest: it is no such duration.
    """
    if not _DURATION.fullmatch(text):
        number = text.isdecimal() and int(text) > 0  # no unit makes a time of 0
        fix = f"write {text}s, {text}m or {text}h" if number else "write 90s, 30m, 1h30m or 2d"
        raise BadRequest(f"{place}: {text!r} is no duration", fix)
    return sum(float(number) * SECONDS_OF_UNIT[unit] for number, unit in _DURATION_PART.findall(text))


def parse_when_ns(text: str, now_ns: int, what: str) -> int:
    """An instant in ns since 1970 UTC. A time without a zone is UTC; `now`, `-15m` and `now-15m` are relative.

    Raises:
        BadRequest: not of that form, or outside what 64 bits of ns hold; `what` names the place.
    """
    words = text.strip()
    relative = words.removeprefix("now").strip()
    if words == "now":
        return now_ns
    if relative[:1] in ("-", "+"):
        span = round(parse_duration_s(relative[1:].strip(), what) * 1e9)
        return _held(now_ns - span if relative[0] == "-" else now_ns + span, text, what)
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise BadRequest(f"{what}: {text!r} is no moment", _FORM) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000 + moment.microsecond * 1000
    return _held(whole, text, what)


def _held(time_ns: int, text: str, what: str) -> int:
    if abs(time_ns) >= 2**63:
        raise BadRequest(f"{what}: {text!r} is too far away", "choose a moment between 1678 and 2262")
    return time_ns
