"""Raw readings of one point in order of time, a page at a time; must not know who reads them."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

# A fall of quality that the twin noticed stands where it was noticed, not at the value's own time.
_ROWS = (
    "SELECT CASE WHEN noticed THEN greatest(source_time, received_time) ELSE source_time END t, "
    "value, quality, text, batch, row FROM readings WHERE series = (SELECT id FROM series WHERE name = $name)"
)
_FORWARDS = (
    f"SELECT * FROM ({_ROWS}) WHERE t >= $start AND t < $end AND (t, batch, row) > ($at, $batch, $row) "
    "ORDER BY t, batch, row LIMIT $most"
)
_BACKWARDS = (
    f"SELECT * FROM ({_ROWS}) WHERE t > $start AND t <= $end AND (t, batch, row) < ($at, $batch, $row) "
    "ORDER BY t DESC, batch DESC, row DESC LIMIT $most"
)
BEFORE_ALL = -(2**62)  # ns since 1970: the year 1823
AFTER_ALL = 2**62
Place = tuple[int, int, int]
"""(time, batch, row): where a reading stands among all of its point."""


@dataclass(frozen=True, slots=True)
class Past:
    """One reading of history. `value` is NaN where there is no number; `quality` an OPC UA status code."""

    place: Place
    value: float
    quality: int
    text: str | None

    @property
    def time(self) -> int:
        """ns since 1970 UTC."""
        return self.place[0]


@dataclass(frozen=True, slots=True)
class Span:
    """Which readings of one point are asked for.

    Attributes:
        start, end: [start, end) ns since 1970 UTC; (start, end] when `newest_first`.
        most: at most so many.
        after: place of the last one had before, to go on from.
    """

    start: int
    end: int
    most: int
    newest_first: bool = False
    after: Place | None = None


def read(con: duckdb.DuckDBPyConnection, name: str, span: Span) -> list[Past]:
    """In the order asked for; empty for a name that history does not know."""
    edge = AFTER_ALL if span.newest_first else BEFORE_ALL
    at, batch, row = span.after or (edge, edge, 0)
    asked = {
        "name": name,
        "start": span.start,
        "end": span.end,
        "most": span.most,
        "at": at,
        "batch": batch,
        "row": row,
    }
    found = con.execute(_BACKWARDS if span.newest_first else _FORWARDS, asked).fetchall()
    return [Past((t, b, r), value, quality, text) for t, value, quality, text, b, r in found]
