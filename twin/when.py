"""Moments and spans as people write them: `2026-11-21 06:00`, `-15m`, `1h30m`; pure, the clock is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from twin.errors import BadRequest

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_557_600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|[smhdwy])")
_FORM = "write it as 2026-11-21T06:00:00Z, or relative to now as -15m or -1h30m"


def parse_span_ns(text: str, what: str) -> int:
    """`1h30m`, `90s`, `7d` … in ns.

    Raises:
        BadRequest: not of that form; `what` names the place.
    """
    squeezed = text.replace(" ", "")
    parts = _PART.findall(squeezed)
    if not parts or "".join(n + u for n, u in parts) != squeezed:
        raise BadRequest(
            f"{what}: {text!r} is no span of time", f"write it as 90s, 15m, 1h30m; units {', '.join(SECONDS)}"
        )
    return round(sum(float(n) * SECONDS[u] for n, u in parts) * 1e9)


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
        span = parse_span_ns(relative[1:], what)
        return now_ns - span if relative[0] == "-" else now_ns + span
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise BadRequest(f"{what}: {text!r} is no moment", _FORM) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000 + moment.microsecond * 1000
    if abs(whole) >= 2**63:
        raise BadRequest(f"{what}: {text!r} is too far away", "choose a moment between 1678 and 2262")
    return whole
