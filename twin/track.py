"""All readings of one point over a stretch of time as columns, for arithmetic; must not know what is computed."""

from __future__ import annotations

import duckdb
import numpy as np
from numpy.typing import NDArray

from twin.errors import LimitExceeded

READINGS_MAX = 2_000_000  # of one point: a week at three a second, 40 MB
# A fall of quality that the twin noticed stands where it was noticed, not at the value's own time.
_ROWS = (
    "SELECT CASE WHEN noticed THEN greatest(source_time, received_time) ELSE source_time END t, value, quality "
    "FROM readings WHERE series = (SELECT id FROM series WHERE name = $name) "
    "AND t > $start AND t <= $end ORDER BY t, batch, row LIMIT $most"
)
Columns = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint32]]
"""(time in ns since 1970 UTC, value, OPC UA quality), shape (N,) each."""


def read(con: duckdb.DuckDBPyConnection, name: str, start: int, end: int) -> Columns:
    """Readings in (start, end] ns, oldest first.

    Raises:
        LimitExceeded: there are more than READINGS_MAX.
    """
    asked = {"name": name, "start": start, "end": end, "most": READINGS_MAX + 1}
    found = con.execute(_ROWS, asked).fetchnumpy()
    if len(found["t"]) > READINGS_MAX:
        raise LimitExceeded(f"{name} was read more than {READINGS_MAX} times", "look at a shorter stretch of time")
    value = np.ma.filled(found["value"].astype(np.float64), np.nan)
    return found["t"].astype(np.int64), np.asarray(value), found["quality"].astype(np.uint32)
