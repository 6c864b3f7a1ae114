"""How long a plant keeps its history, tier by tier; pure values and their text form; must not know files or DuckDB."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

FOREVER = "forever"
HOUR_NS = 3600 * 1_000_000_000
_UNITS_NS = {"h": HOUR_NS, "d": 24 * HOUR_NS, "w": 7 * 24 * HOUR_NS, "y": 365 * 24 * HOUR_NS}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([hdwy])")
KEPT_MAX_NS = 200 * _UNITS_NS["y"]  # beyond it an instant of today minus the duration is no 64-bit time any more


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each tier is kept, in ns; None is for ever. Ages count from the source's time.

    Everything is kept unless the plant says otherwise: nobody may lose evidence that they never meant to give up.
    """

    raw: int | None = None
    second: int | None = None
    minute: int | None = None
    hour: int | None = None

    def of_tier(self, name: str) -> int | None:
        return {"1s": self.second, "1min": self.minute, "1h": self.hour}[name]


KEEP_EVERYTHING = Retention()


@dataclass(frozen=True, slots=True)
class Expiry:
    """Batches `first` … `last` that leave the file, and what can still be asked afterwards (ns since 1970 UTC)."""

    first: int
    last: int
    batches: int
    rows: int
    oldest_as_of: int
    oldest_known_at: int


KEYS = ("raw", "second", "minute", "hour")


def duration(text: str) -> int | None:
    """`12h`, `30d`, `4w`, `2y` in ns; None for `forever`. A day has 24 h, a year 365 days.

    Raises:
        ValueError: it is none of these; the message is the fix.
    """
    if text == FOREVER:
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f'write a whole number and h, d, w or y, such as "30d", or "{FOREVER}"')
    length = int(found[1]) * _UNITS_NS[found[2]]
    if length > KEPT_MAX_NS:
        raise ValueError(f'at most 200y; for longer write "{FOREVER}"')
    return length


def parse(table: dict[str, object], mistake: Callable[[str, str, str], None]) -> Retention:
    """The table [history] of plant.toml; `mistake(key, message, fix)` is told what cannot be read."""
    found: dict[str, int | None] = {}
    for key in KEYS:
        text = table.get(key)
        if not isinstance(text, str):
            continue  # left out, or already named as no text
        try:
            found[key] = duration(text)
        except ValueError as error:
            mistake(key, f"{key} = {text!r} is no duration", str(error))
    return Retention(**found)
