"""Forecasts of the look-ahead, their scores, predicted alarms and shelves on disk: SQLite with WAL and FULL; decides nothing.

A file of its own: nothing that a command waits for is ever behind a forecast.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from control.lookahead import Forecast, join, split
from control.lookahead_alarms import Alarm, Shelf, Status
from control.lookahead_score import Score
from control.prediction_store import sha256
from twin.errors import Conflict

SCORES_KEPT = 10_000  # newest forecasts with their scores, 2 kB each: a fortnight and more at 576 a day
ALARMS_KEPT = 10_000  # newest predicted alarms, half a kB each; their ends stay in the ledger
SCHEMA = """
CREATE TABLE IF NOT EXISTS forecasts (
  n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL, fans TEXT, score TEXT);
CREATE INDEX IF NOT EXISTS forecasts_waiting ON forecasts (n) WHERE score IS NULL;
CREATE TABLE IF NOT EXISTS alarms (
  n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS alarms_standing ON alarms (n) WHERE status = 'predicted';
CREATE TABLE IF NOT EXISTS shelves (body_limit TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS steps (
  n INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, body TEXT NOT NULL, entry INTEGER);
CREATE INDEX IF NOT EXISTS steps_unaudited ON steps (n) WHERE entry IS NULL;
"""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the ledger has to hear of: an alarm predicted or ended, a shelf taken or left."""

    n: int
    time: int
    body: str

    @property
    def sha256(self) -> str:
        """Of the body but for who did it: a hash of a name would tell the name."""
        body = msgspec.json.decode(self.body)
        return sha256(msgspec.json.encode({k: v for k, v in body.items() if k != "by"}, order="sorted").decode())

    @property
    def whole_sha256(self) -> str:
        """As entries of version 1 have it."""
        return sha256(self.body)


class LookaheadStore:
    """Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + SCHEMA)

    def close(self) -> None:
        self._db.close()

    # --- forecasts ---------------------------------------------------------------------------------------------------

    def save(self, forecast: Forecast) -> None:
        """Durably, until it is scored and SCORES_KEPT newer ones are."""
        body, fans = split(forecast)
        self._both(
            ("INSERT INTO forecasts (id, body, fans) VALUES (?,?,?)", (forecast.id, body, fans)),
            (
                "DELETE FROM forecasts WHERE score IS NOT NULL AND n <= (SELECT max(n) FROM forecasts) - ?",
                (SCORES_KEPT,),
            ),
        )

    def settle(self, score: Score) -> None:
        """Durably, once; its fans have done their work."""
        text = msgspec.json.encode(score, order="sorted").decode()
        self._db.execute(
            "UPDATE forecasts SET score = ?, fans = NULL WHERE id = ? AND score IS NULL", (text, score.forecast)
        )

    def of(self, identity: str) -> Forecast | None:
        row = self._db.execute("SELECT body, fans FROM forecasts WHERE id = ?", (identity,)).fetchone()
        return None if row is None else join(*row)

    def waiting(self) -> list[Forecast]:
        """Without a score, oldest first; without their fans."""
        rows = self._db.execute("SELECT body FROM forecasts WHERE score IS NULL ORDER BY n")
        return [join(row[0], None) for row in rows]

    def scores(self, limit: int) -> list[Score]:
        """Newest first."""
        rows = self._db.execute("SELECT score FROM forecasts WHERE score IS NOT NULL ORDER BY n DESC LIMIT ?", (limit,))
        return [msgspec.json.decode(row[0], type=Score) for row in rows]

    # --- predicted alarms and shelves --------------------------------------------------------------------------------

    def keep(self, alarm: Alarm, step: tuple[int, str] | None) -> None:
        """The alarm as it is now, and with it what the ledger has to hear, (time, body): both or neither."""
        text = msgspec.json.encode(alarm, order="sorted").decode()
        self._both(
            (
                "INSERT INTO alarms (id, status, body) VALUES (?,?,?) "
                "ON CONFLICT (id) DO UPDATE SET status = excluded.status, body = excluded.body",
                (alarm.id, alarm.status.value, text),
            ),
            *_told(step),
            ("DELETE FROM alarms WHERE status <> ? AND n <= (SELECT max(n) FROM alarms) - ?",
             (Status.PREDICTED.value, ALARMS_KEPT)),
        )  # fmt: skip

    def standing(self) -> list[Alarm]:
        return self._alarms("status = 'predicted' ORDER BY n", ())

    def alarms(self, limit: int) -> list[Alarm]:
        """Newest first."""
        return self._alarms("TRUE ORDER BY n DESC LIMIT ?", (limit,))

    def shelve(self, shelf: Shelf, step: tuple[int, str]) -> None:
        text = msgspec.json.encode(shelf, order="sorted").decode()
        self._both(("INSERT OR REPLACE INTO shelves VALUES (?,?)", (shelf.limit, text)), *_told(step))

    def unshelve(self, limit: str, step: tuple[int, str]) -> None:
        self._both(("DELETE FROM shelves WHERE body_limit = ?", (limit,)), *_told(step))

    def shelves(self) -> list[Shelf]:
        rows = self._db.execute("SELECT body FROM shelves ORDER BY body_limit")
        return [msgspec.json.decode(row[0], type=Shelf) for row in rows]

    def check_settled(self, person: str) -> None:
        """
        Raises:
            Conflict: something that the person did is not yet in the ledger.
        """
        rows = self._db.execute("SELECT body FROM steps WHERE entry IS NULL").fetchall()
        if any(msgspec.json.decode(body).get("by") == person for (body,) in rows):
            raise Conflict(f"steps of {person!r} in the look-ahead are not in the ledger yet", "try again in a second")

    def rename(self, person: str, name: str) -> None:
        """In steps and shelves, durably; the file keeps no trace of what stood there."""
        self._db.execute("PRAGMA secure_delete = ON")
        changed: list[tuple[str, Sequence[object]]] = []
        for table, key in (("steps", "n"), ("shelves", "body_limit")):
            for row, text in self._db.execute(f"SELECT {key}, body FROM {table}").fetchall():
                body = msgspec.json.decode(text)
                if body.get("by") == person:
                    text = msgspec.json.encode({**body, "by": name}, order="sorted").decode()
                    changed.append((f"UPDATE {table} SET body = ? WHERE {key} = ?", (text, row)))
        self._both(*changed)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- what the ledger has to hear ---------------------------------------------------------------------------------

    def unaudited(self, limit: int) -> list[Step]:
        rows = self._db.execute("SELECT n, time, body FROM steps WHERE entry IS NULL ORDER BY n LIMIT ?", (limit,))
        return [Step(*row) for row in rows]

    def audited(self, entries: Iterable[tuple[int, int]]) -> None:
        """Remember (ledger index, n)."""
        self._db.executemany("UPDATE steps SET entry = ? WHERE n = ?", entries)

    def _alarms(self, where: str, values: Sequence[object]) -> list[Alarm]:
        rows = self._db.execute(f"SELECT body FROM alarms WHERE {where}", tuple(values))
        return [msgspec.json.decode(row[0], type=Alarm) for row in rows]

    def _both(self, *statements: tuple[str, Sequence[object]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for text, values in statements:
                self._db.execute(text, tuple(values))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise


def _told(step: tuple[int, str] | None) -> list[tuple[str, Sequence[object]]]:
    return [] if step is None else [("INSERT INTO steps (time, body) VALUES (?,?)", step)]
