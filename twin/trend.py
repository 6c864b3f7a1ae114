"""One point over time for a chart: from raw readings while they are few and kept, else from the tier that fits.

Must not know what a chart looks like.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from twin import upkeep
from twin.duck import one
from twin.tiers import TIERS, Tier, windows

RAW = "raw"
RAW_MAX = 200_000  # readings decimated for one chart: some 50 ms
# A fall of quality that the twin noticed stands where it was noticed, not at the value's own time.
_RAW = (
    "SELECT CASE WHEN noticed THEN greatest(source_time, received_time) ELSE source_time END t, "
    "CASE WHEN isnan(value) THEN NULL ELSE value END v, quality q FROM readings "
    "WHERE series = (SELECT id FROM series WHERE name = $name) AND t BETWEEN $start AND $end "
    "AND source_time <= $end AND (source_time >= $start OR noticed)"
)
# What was in force when the span began: history keeps changes only.
_HELD = (
    "SELECT t, v, q FROM (SELECT CASE WHEN noticed THEN greatest(source_time, received_time) ELSE source_time END t, "
    "CASE WHEN isnan(value) THEN NULL ELSE value END v, quality q FROM readings "
    "WHERE series = (SELECT id FROM series WHERE name = $name) AND source_time < $start) "
    "WHERE t < $start ORDER BY t DESC LIMIT 1"
)
# Of every window its extremes, and its last reading with the worst quality.
_TIER = (
    "SELECT unnest([start, start, coalesce(newest.time, start)]) t, unnest([low, high, newest.value]) v, "
    "unnest([0, 0, quality]) q, unnest([low, high, 0]) needed FROM (%s)"
)
_DECIMATED = (
    "WITH r AS (%s), n AS (SELECT count(*) c FROM r), "
    "b AS (SELECT *, (t - $start) // $width slot FROM r) "
    "SELECT t, v, q FROM r WHERE (SELECT c FROM n) <= $most "
    "UNION SELECT unnest([arg_min(t, v), arg_max(t, v), arg_max(t, q)]), "
    "  unnest([min(v), max(v), arg_max(v, q)]), unnest([arg_min(q, v), arg_max(q, v), max(q)]) "
    "  FROM b WHERE (SELECT c FROM n) > $most GROUP BY slot ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """(time, value, quality) oldest first. `tier`: what they were read from; `whole`: they are all the readings there are.

    `held`: the newest raw reading from before, which holds until the first of them.
    """

    rows: list[tuple[int, float | None, int]]
    tier: str
    whole: bool
    held: tuple[int, float | None, int] | None = None


def read(con: duckdb.DuckDBPyConnection, name: str, start: int, end: int, most: int) -> Drawn:
    """What lies in [start, end] ns.

    Beyond `most` rows each stretch of time keeps its lowest, highest and worst reading (M4-like decimation).
    """
    count, tier = _tier(con, name, start, end, most)
    rows = _RAW if tier is None else _of_tier(tier, start, end)
    # Of a stretch: in ns times stretches a year of them would leave 64 bits.
    width = max(1, -(-(end - start + 1) // (most // 3 + 1)))
    values = {"name": name, "start": start, "end": end, "most": most, "width": width}
    found = con.execute(_DECIMATED % rows, values).fetchall()
    told = [(int(t), v, int(q)) for t, v, q in found if t is not None and q is not None]
    before = one(con, _HELD, {"name": name, "start": start})
    held = None if before is None else (int(before[0]), before[1], int(before[2]))
    return Drawn(told, RAW if tier is None else tier.name, tier is None and count <= most, held)


def choose(raw_rows: int, raw_kept: bool, span_ns: int, most: int) -> Tier | None:
    """None for raw readings; else the coarsest tier that still gives `most` windows, or the finest one."""
    if raw_kept and raw_rows <= RAW_MAX:
        return None
    return next((t for t in reversed(TIERS) if span_ns // t.width_ns >= most), TIERS[0])


def _tier(con: duckdb.DuckDBPyConnection, name: str, start: int, end: int, most: int) -> tuple[int, Tier | None]:
    """Raw readings there, and what to read."""
    row = one(con, f"SELECT count(*) FROM ({_RAW})", {"name": name, "start": start, "end": end})
    count = int(row[0]) if row else 0
    return count, choose(count, start >= upkeep.oldest(con)[0], end - start, most)


def _of_tier(tier: Tier, start: int, end: int) -> str:
    where = f"series = (SELECT id FROM series WHERE name = $name) AND start BETWEEN $start - {tier.width_ns} AND $end"
    return (
        f"SELECT t, v, q FROM ({_TIER % windows(tier, where)}) WHERE needed IS NOT NULL AND t BETWEEN $start AND $end"
    )
