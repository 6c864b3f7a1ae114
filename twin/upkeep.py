"""What the history thread does between batches: roll up, drop what has expired; decides when, in `due`, and does it.

Must not know the queue or the ledger: whoever must agree to a loss is asked through `may_drop`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from twin import tiers
from twin.duck import one, transaction
from twin.history_schema import mark, set_mark
from twin.keyframes import ALWAYS, NEVER, write_frame
from twin.retention import HOUR_NS, Expiry, Retention
from twin.tiers import SECOND_NS, TIERS, Tier

ROLL_ROWS = 500_000  # of one roll-up: some 100 ms of the history thread
# A coarser tier waits until most of its windows are whole: each roll-up in the middle of one leaves a partial row.
ROLL_EVERY_NS = {"1s": 10 * SECOND_NS, "1min": 600 * SECOND_NS, "1h": 4 * HOUR_NS}
DROP_EVERY_NS = HOUR_NS
MERGE_WINDOWS = 3600  # of one merging: an hour of 1 s, 2.5 days of 1 min, 150 days of 1 h
DROPPED, OLDEST_AS_OF, OLDEST_KNOWN_AT = "dropped", "oldest_as_of", "oldest_known_at"


@dataclass(frozen=True, slots=True)
class Behind:
    """How far a tier is behind: batches after `after` up to `upto` with `rows` of raw history."""

    after: int
    upto: int
    rows: int


def due(tier: Tier, behind: Behind, since_ns: int) -> bool:
    """Whether a tier is rolled up now, `since_ns` after its last roll-up."""
    full = tier is TIERS[0] and behind.rows >= ROLL_ROWS
    return behind.upto > behind.after and (full or since_ns >= ROLL_EVERY_NS[tier.name])


class Upkeep:
    """Used on the history thread alone. `may_drop` returns whether the loss is on record; without it nothing goes."""

    def __init__(
        self, retention: Retention, clock: Callable[[], int], may_drop: Callable[[Expiry], bool] = lambda _: True
    ) -> None:
        self._retention = retention
        self._clock = clock
        self._may_drop = may_drop
        self._last = {t.name: clock() for t in TIERS}
        self._dropped_at = NEVER

    def step(self, con: duckdb.DuckDBPyConnection) -> bool:
        """The next piece of work that is due, some 100 ms at most but for a drop; False when none is."""
        now = self._clock()
        for tier in TIERS:
            behind = _behind(con, tier)
            if due(tier, behind, now - self._last[tier.name]):
                if not _roll(con, tier, behind):
                    self._last[tier.name] = now
                return True
        if now - DROP_EVERY_NS >= self._dropped_at:
            self._dropped_at = now
            self.drop(con)
            return True
        return any(_merge(con, tier, now) for tier in TIERS)

    def drop(self, con: duckdb.DuckDBPyConnection) -> Expiry | None:
        """Roll everything up and drop what has expired; what left raw history, if anything did."""
        now, kept = self._clock(), self._retention
        expiry = None if kept.raw is None else _expiry(con, now - kept.raw)
        if expiry is not None or any(kept.of_tier(t.name) is not None for t in TIERS):
            for tier in TIERS:
                while _roll(con, tier, _behind(con, tier)):
                    pass
        if expiry is not None and self._may_drop(expiry):
            _drop_raw(con, expiry)
        else:
            expiry = None
        for tier in TIERS:
            age = kept.of_tier(tier.name)
            if age is not None:
                _drop_windows(con, tier, now - age)
        return expiry


def oldest(con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """(as of, known at): the earliest instants of which raw history can still tell the state."""
    return mark(con, OLDEST_AS_OF, NEVER), mark(con, OLDEST_KNOWN_AT, NEVER)


def _behind(con: duckdb.DuckDBPyConnection, tier: Tier) -> Behind:
    after = mark(con, tier.mark, NEVER)
    place = TIERS.index(tier)
    if place:
        return Behind(after, mark(con, TIERS[place - 1].mark, NEVER), 0)
    row = one(con, "SELECT max(batch), sum(rows) FROM batches WHERE batch > ?", [after])
    upto, rows = row if row else (None, None)
    return Behind(after, after, 0) if upto is None else Behind(after, int(upto), int(rows))


def _roll(con: duckdb.DuckDBPyConnection, tier: Tier, behind: Behind) -> bool:
    """One roll-up, of about ROLL_ROWS when raw; True when more is left."""
    if behind.upto <= behind.after:
        return False
    upto = behind.upto
    if tier is TIERS[0] and behind.rows > ROLL_ROWS:
        row = one(
            con,
            "SELECT min(batch) FROM (SELECT batch, sum(rows) OVER (ORDER BY batch) AS seen FROM batches WHERE batch > ?) "
            "WHERE seen >= ?",
            [behind.after, ROLL_ROWS],
        )
        upto = upto if row is None or row[0] is None else int(row[0])
    with transaction(con):
        tiers.roll_up(con, tier, behind.after, upto)
        set_mark(con, tier.mark, upto)
    return upto < behind.upto


def _expiry(con: duckdb.DuckDBPyConnection, before: int) -> Expiry | None:
    """The batches from the oldest on whose every reading is older than `before`; None when there are none."""
    row = one(
        con,
        "WITH young AS (SELECT coalesce(min(batch), $always) AS first FROM batches "
        "  WHERE greatest(max_source, max_received) >= $before) "
        "SELECT min(batch), max(batch), count(*), sum(rows), max(max_source), max(max_received) FROM batches "
        "WHERE batch < (SELECT first FROM young)",
        {"always": ALWAYS, "before": before},
    )
    if row is None or not row[2]:
        return None
    first, last, batches, rows, source, received = (int(n) for n in row)
    as_of, known_at = oldest(con)
    # From the latest dropped reading on, the keyframe at `last` stands for all of them.
    return Expiry(first, last, batches, rows, max(as_of, source, received), max(known_at, received))


def _drop_raw(con: duckdb.DuckDBPyConnection, expiry: Expiry) -> None:
    """Drop the batches and keep their state as one keyframe, all in one transaction."""
    with transaction(con):
        if not one(con, "SELECT 1 FROM frames WHERE frame = ?", [expiry.last]):
            write_frame(con, expiry.last)
        for table, column in (("keyframes", "frame"), ("frames", "frame")):
            con.execute(f"DELETE FROM {table} WHERE {column} < ?", [expiry.last])
        for table in ("readings", "batches"):
            con.execute(f"DELETE FROM {table} WHERE batch <= ?", [expiry.last])
        for name, value in (
            (DROPPED, expiry.last), (OLDEST_AS_OF, expiry.oldest_as_of), (OLDEST_KNOWN_AT, expiry.oldest_known_at),
        ):  # fmt: skip
            set_mark(con, name, value)


def _drop_windows(con: duckdb.DuckDBPyConnection, tier: Tier, before: int) -> None:
    """Drop a tier's windows that began before an instant and are in the next tier, if there is one."""
    with transaction(con):
        con.execute(f"DELETE FROM {tier.table} WHERE start < ? AND batch <= ?", [before, _held(con, tier)])


def _merge(con: duckdb.DuckDBPyConnection, tier: Tier, now: int) -> bool:
    """Merge the partial rows of one stretch of old windows; False when there is none left."""
    stretch = MERGE_WINDOWS * tier.width_ns
    until = (now - DROP_EVERY_NS) // stretch * stretch
    name = f"merged_{tier.name}"
    row = one(
        con, f"SELECT min(start) FROM {tier.table} WHERE start >= ? AND start < ?", [mark(con, name, NEVER), until]
    )
    if row is None or row[0] is None:
        return False
    end = min(int(row[0]) // stretch * stretch + stretch, until)
    with transaction(con):
        tiers.compact(con, tier, int(row[0]), end, _held(con, tier))
        set_mark(con, name, end)
    return True


def _held(con: duckdb.DuckDBPyConnection, tier: Tier) -> int:
    """The last batch whose windows of this tier nobody reads again to roll them up."""
    coarser = TIERS[TIERS.index(tier) + 1 :]
    return mark(con, coarser[0].mark if coarser else tier.mark, NEVER)
