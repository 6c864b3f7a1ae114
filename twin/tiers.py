"""Coarser tiers of history (1 s, 1 min, 1 h): their tables, how rows are rolled up into them, and how they are read.

Must not know threads or when to roll up. Everything here is SQL over one open history file.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import duckdb

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Tier:
    """One row a tier. `mark` names the last batch that the tier holds."""

    name: str
    table: str
    width_ns: int

    @property
    def mark(self) -> str:
        return f"rolled_{self.name}"


TIERS = (
    Tier("1s", "tier_1s", SECOND_NS),
    Tier("1min", "tier_1min", 60 * SECOND_NS),
    Tier("1h", "tier_1h", 3600 * SECOND_NS),
)
TIER_OF_NAME = {t.name: t for t in TIERS}
# `newest` orders by its fields, so the greatest is the last by source time, then by order of arrival.
_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
  series INTEGER NOT NULL, start BIGINT NOT NULL, low DOUBLE, high DOUBLE, total DOUBLE, good BIGINT NOT NULL,
  count BIGINT NOT NULL, newest STRUCT(time BIGINT, batch BIGINT, row INTEGER, value DOUBLE, text VARCHAR),
  quality UINTEGER NOT NULL, batch BIGINT NOT NULL);
"""
SCHEMA = "".join(_TABLE.format(table=t.table) for t in TIERS)
# Minimum, maximum and mean are of Good numbers only (OPC UA Part 13, 5.4.3). A fall of quality that the twin noticed
# is no reading: it lowers the quality of the window in which it was noticed, and adds nothing else.
_OF_RAW = """
SELECT series, t - t % {width} AS start, min(value) FILTER (usable) AS low, max(value) FILTER (usable) AS high,
  sum(value) FILTER (usable) AS total, count(*) FILTER (usable) AS good, count(*) FILTER (said) AS count,
  max({{'time': source_time, 'batch': batch, 'row': row, 'value': value, 'text': text}}) FILTER (said) AS newest,
  max(quality) AS quality, max(batch) AS batch
FROM (SELECT *, NOT coalesce(noticed, false) AS said, quality >> 30 = 0 AND said AND NOT isnan(value) AS usable,
    CASE WHEN said THEN source_time ELSE greatest(source_time, received_time) END AS t
  FROM readings WHERE {where}) GROUP BY ALL
"""
_MERGED = """
SELECT series, start - start % {width} AS start, min(low) AS low, max(high) AS high, sum(total) AS total,
  sum(good)::BIGINT AS good, sum(count)::BIGINT AS count, max(newest) AS newest, max(quality) AS quality,
  max(batch) AS batch FROM ({rows}) GROUP BY ALL
"""
_MARK = "coalesce((SELECT value FROM marks WHERE name = '{mark}'), -4611686018427387904)"


def partials(tier: Tier, where: str = "TRUE") -> str:
    """A query of every partial row of a tier, with what is not rolled up into it yet; one window may have several."""
    found = [f"SELECT * FROM {tier.table} WHERE {where}"]
    finer = TIERS[: TIERS.index(tier)]
    for source, target in reversed(list(pairwise((*finer, tier)))):
        rest = f"SELECT * FROM {source.table} WHERE batch > {_MARK.format(mark=target.mark)}"
        found.append(f"SELECT * FROM ({_MERGED.format(width=tier.width_ns, rows=rest)}) WHERE {where}")
    raw = _OF_RAW.format(width=tier.width_ns, where=f"batch > {_MARK.format(mark=TIERS[0].mark)}")
    found.append(f"SELECT * FROM ({raw}) WHERE {where}")
    return " UNION ALL ".join(found)


def windows(tier: Tier, where: str = "TRUE") -> str:
    """A query of a tier's windows, one row a series and window, up to the newest batch."""
    return _MERGED.format(width=tier.width_ns, rows=partials(tier, where))


def view(tier: Tier) -> str:
    """The SQL view `history_1s` …; needs the macro `quality_name` as `history` does."""
    return f"""
CREATE OR REPLACE TEMP VIEW history_{tier.name} AS
SELECT s.name AS point, make_timestamp_ns(w.start) AS start, w.low AS min, w.high AS max,
  CASE WHEN w.good > 0 THEN w.total / w.good END AS mean,
  CASE WHEN isnan(w.newest.value) THEN NULL ELSE w.newest.value END AS last, w.newest.text AS last_text, w.quality,
  quality_name(w.quality) AS quality_name, w.count
FROM ({windows(tier)}) w JOIN series s ON s.id = w.series
"""


VIEWS = "".join(f"{view(t)};" for t in TIERS)


def roll_up(con: duckdb.DuckDBPyConnection, tier: Tier, after: int, upto: int) -> None:
    """Add the partial rows of batches `after` + 1 … `upto` to a tier; part of the caller's transaction."""
    place = TIERS.index(tier)
    if place == 0:
        rows = _OF_RAW.format(width=tier.width_ns, where=f"batch > {after} AND batch <= {upto}")
    else:
        finer = f"SELECT * FROM {TIERS[place - 1].table} WHERE batch > {after} AND batch <= {upto}"
        rows = _MERGED.format(width=tier.width_ns, rows=finer)
    con.execute(f"INSERT INTO {tier.table} {rows}")


def compact(con: duckdb.DuckDBPyConnection, tier: Tier, start: int, end: int, upto: int) -> int:
    """Merge the partial rows of windows in [start, end) ns; part of the caller's transaction. Returns rows saved.

    Only rows of batches up to `upto` are touched, those that the next tier holds: a merged row bears one batch alone.
    """
    within = f"start >= {start} AND start < {end} AND batch <= {upto}"
    several = f"SELECT series, start FROM {tier.table} WHERE {within} GROUP BY ALL HAVING count(*) > 1"
    rows = f"SELECT * FROM {tier.table} WHERE {within} AND (series, start) IN ({several})"
    con.execute(f"CREATE OR REPLACE TEMP TABLE merged AS {_MERGED.format(width=tier.width_ns, rows=rows)}")
    gone = con.execute(
        f"DELETE FROM {tier.table} WHERE {within} AND (series, start) IN (SELECT series, start FROM merged)"
    )
    deleted = gone.fetchall()[0][0]
    con.execute(f"INSERT INTO {tier.table} SELECT * FROM merged")
    kept = con.execute("SELECT count(*) FROM merged").fetchall()[0][0]
    con.execute("DROP TABLE merged")
    return int(deleted) - int(kept)
