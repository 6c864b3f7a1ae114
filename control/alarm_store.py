"""Alarms on disk: how each stands, every step it took, what rules owe; SQLite with WAL and FULL; decides nothing.

A file of its own: no command waits behind a flood of alarms.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from twin.alarms import State
from twin.errors import Conflict

PRUNED_MAX = 10_000  # steps let go in one turn: some 50 ms
SCHEMA = """
CREATE TABLE IF NOT EXISTS alarms (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS steps (
  n INTEGER PRIMARY KEY, time INTEGER NOT NULL, alarm TEXT NOT NULL, point TEXT NOT NULL, twin TEXT NOT NULL,
  priority TEXT NOT NULL, step TEXT NOT NULL, rings INTEGER NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL,
  value REAL, until INTEGER, occurrence INTEGER NOT NULL, entry INTEGER);
CREATE INDEX IF NOT EXISTS steps_alarm ON steps (alarm, n);
CREATE INDEX IF NOT EXISTS steps_time ON steps (time);
CREATE INDEX IF NOT EXISTS steps_unaudited ON steps (n) WHERE entry IS NULL;
CREATE TABLE IF NOT EXISTS deliveries (
  id TEXT PRIMARY KEY, rule TEXT NOT NULL, n INTEGER NOT NULL, time INTEGER NOT NULL, state TEXT NOT NULL,
  attempts INTEGER NOT NULL, next_at INTEGER NOT NULL, detail TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_waiting ON deliveries (rule, next_at) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS watches (begun INTEGER PRIMARY KEY, ended INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_time ON deliveries (time);
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """A step as it is kept. `alarm` "" for what is of all of them: a flood began, or ended. Times in ns since 1970."""

    n: int
    time: int
    alarm: str
    point: str
    twin: str
    priority: str
    step: str
    rings: bool
    by: str
    reason: str
    value: float | None
    until: int | None
    occurrence: int


COLUMNS = tuple(f.name for f in fields(Taken))


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a rule owes. `id` is its idempotency key; `state`: waiting, done, dead (given up), limited (too many)."""

    id: str
    rule: str
    n: int
    time: int
    state: str
    attempts: int
    next_at: int
    detail: str
    body: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which steps; empty for any. `before`: with smaller numbers only."""

    alarm: str = ""
    twins: frozenset[str] | None = None
    priorities: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    by: str = ""
    start: int | None = None
    end: int | None = None
    before: int | None = None
    limit: int = 100


class AlarmStore:
    """Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + SCHEMA)

    def close(self) -> None:
        self._db.close()

    # --- who is erased -----------------------------------------------------------------------------------------------

    def check_settled(self, person: str) -> None:
        """
        Raises:
            Conflict: something that the person did is not yet in the ledger.
        """
        waiting = self._db.execute("SELECT count(*) FROM steps WHERE entry IS NULL AND by = ?", (person,)).fetchone()[0]
        if waiting:
            raise Conflict(
                f"{waiting} steps of alarms by {person!r} are not in the ledger yet", "try again in a second"
            )

    def rename(self, person: str, name: str) -> None:
        """In steps, states and deliveries, durably; the file keeps no trace of what stood there."""
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("UPDATE steps SET by = ? WHERE by = ?", (name, person))
            for table in ("alarms", "deliveries"):
                for identity, body in self._db.execute(f"SELECT id, body FROM {table}").fetchall():
                    held = msgspec.json.decode(body)
                    if (told := _renamed(held, person, name)) != held:
                        text = msgspec.json.encode(told, order="sorted").decode()
                        self._db.execute(f"UPDATE {table} SET body = ? WHERE id = ?", (text, identity))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- how alarms stand --------------------------------------------------------------------------------------------

    def save(self, states: Mapping[str, State | None], steps: Iterable[Taken], deliveries: Iterable[Delivery]) -> None:
        """All or nothing, durably; None: the plant has no such alarm any more. A step that is kept already stays as it is."""
        kept = [(i, msgspec.json.encode(s, order="sorted").decode()) for i, s in states.items() if s is not None]
        gone = [(i,) for i, s in states.items() if s is None]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO alarms VALUES (?,?)", kept)
            self._db.executemany("DELETE FROM alarms WHERE id = ?", gone)
            self._db.executemany(
                f"INSERT OR IGNORE INTO steps ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",
                map(astuple, steps),
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO deliveries VALUES (?,?,?,?,?,?,?,?,?)", map(astuple, deliveries)
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def states(self) -> dict[str, State]:
        rows = self._db.execute("SELECT id, body FROM alarms")
        return {identity: msgspec.json.decode(body, type=State) for identity, body in rows}

    def newest(self) -> int:
        """Number of the newest step, 0 for none."""
        return int(self._db.execute("SELECT coalesce(max(n), 0) FROM steps").fetchone()[0])

    def rung_since(self, time: int) -> list[int]:
        rows = self._db.execute("SELECT time FROM steps WHERE time > ? AND rings ORDER BY n", (time,))
        return [row[0] for row in rows]

    def prune(self, before: int) -> int:
        """Let go of old steps that the ledger has, and of what rules have done; returns how many steps."""
        done = self._db.execute(
            "DELETE FROM steps WHERE n IN (SELECT n FROM steps WHERE time < ? AND entry IS NOT NULL LIMIT ?)",
            (before, PRUNED_MAX),
        )
        self._db.execute("DELETE FROM watches WHERE ended < ?", (before,))
        self._db.execute("DELETE FROM deliveries WHERE time < ? AND state <> 'waiting'", (before,))
        return done.rowcount

    def watched(self, begun: int, until: int) -> None:
        """A server that began to watch then still did."""
        self._db.execute(
            "INSERT INTO watches VALUES (?,?) ON CONFLICT (begun) DO UPDATE SET ended = excluded.ended", (begun, until)
        )

    # --- what the ledger has to hear ---------------------------------------------------------------------------------

    def unaudited(self, limit: int) -> list[Taken]:
        sql = f"SELECT {', '.join(COLUMNS)} FROM steps WHERE entry IS NULL ORDER BY n LIMIT ?"
        return [taken_of(row) for row in self._db.execute(sql, (limit,))]

    def audited(self, entries: Iterable[tuple[int, int]]) -> None:
        """Remember (ledger index, n)."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("UPDATE steps SET entry = ? WHERE n = ?", entries)
        self._db.execute("COMMIT")

    # --- what rules owe ----------------------------------------------------------------------------------------------

    def owed(self, rule: str) -> Delivery | None:
        """What is to be tried next."""
        sql = "SELECT * FROM deliveries WHERE rule = ? AND state = 'waiting' ORDER BY next_at, n LIMIT 1"
        row = self._db.execute(sql, (rule,)).fetchone()
        return None if row is None else Delivery(*row)

    def tried(self, delivery: Delivery) -> None:
        """As it stands after an attempt."""
        self._db.execute(
            "UPDATE deliveries SET state = ?, attempts = ?, next_at = ?, detail = ? WHERE id = ?",
            (delivery.state, delivery.attempts, delivery.next_at, delivery.detail, delivery.id),
        )

    def delivery(self, identity: str) -> Delivery | None:
        row = self._db.execute("SELECT * FROM deliveries WHERE id = ?", (identity,)).fetchone()
        return None if row is None else Delivery(*row)

    def deliveries(self, rule: str, state: str, limit: int) -> list[Delivery]:
        """Newest first; "" for any."""
        sql = "SELECT * FROM deliveries WHERE (? = '' OR rule = ?) AND (? = '' OR state = ?) ORDER BY n DESC LIMIT ?"
        return [Delivery(*row) for row in self._db.execute(sql, (rule, rule, state, state, limit))]

    def counts(self) -> dict[str, dict[str, int]]:
        """By rule, by state."""
        found: dict[str, dict[str, int]] = {}
        for rule, state, count in self._db.execute("SELECT rule, state, count(*) FROM deliveries GROUP BY 1, 2"):
            found.setdefault(rule, {})[state] = count
        return found

    def acted_since(self, rule: str, time: int) -> list[int]:
        sql = "SELECT time FROM deliveries WHERE rule = ? AND time > ? AND state <> 'limited' ORDER BY n"
        return [row[0] for row in self._db.execute(sql, (rule, time))]

    def orphans(self, rules: Sequence[str], detail: str) -> None:
        """What rules owe that the plant has no more is given up."""
        marks = ", ".join("?" * len(rules))
        self._db.execute(
            f"UPDATE deliveries SET state = 'dead', detail = ? WHERE state = 'waiting' AND rule NOT IN ({marks})",
            (detail, *rules),
        )


def taken_of(row: Sequence[object]) -> Taken:
    values = dict(zip(COLUMNS, row, strict=True))
    return Taken(**{**values, "rings": bool(values["rings"])})  # type: ignore[arg-type]


def _renamed(held: Any, person: str, name: str) -> Any:
    """With every text that is the person's name."""
    if isinstance(held, dict):
        return {key: _renamed(item, person, name) for key, item in held.items()}
    if isinstance(held, list):
        return [_renamed(item, person, name) for item in held]
    return name if held == person else held
