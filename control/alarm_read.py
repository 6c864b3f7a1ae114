"""Steps of alarms read from disk beside who writes them; must not know who asks, or how an alarm stands now."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import msgspec

from control.alarm_store import COLUMNS, Taken, Wanted, taken_of
from twin.alarm import Priority
from twin.alarm_statistics import Happening
from twin.alarms import State, Step

STATISTICS_MAX = 500_000  # steps of one span: a second to read


STANDING = """
SELECT a.id, coalesce(s.point, ''), coalesce(s.twin, ''), coalesce(s.priority, ''), a.body FROM alarms a LEFT JOIN
  (SELECT alarm, max(n), point, twin, priority FROM steps GROUP BY alarm) s ON s.alarm = a.id ORDER BY a.id
"""
"""SQLite takes columns beside max() from the row that has it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an alarm stands; `point`, `twin` and `priority` as in its newest step, "" where that is no longer kept."""

    id: str
    point: str
    twin: str
    priority: str
    state: State


class AlarmReader:
    """Used from one thread at a time, which may be another than that of the AlarmStore.

    It sees every commit from before it was asked, and holds up nobody who commits (WAL).
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @classmethod
    def beside(cls, path: Path) -> AlarmReader:
        """Of a file that an AlarmStore has open."""
        return cls(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False))

    def close(self) -> None:
        self._db.close()

    def steps(self, wanted: Wanted) -> list[Taken]:
        """Newest first."""
        where, values = _where(wanted)
        sql = f"SELECT {', '.join(COLUMNS)} FROM steps WHERE {where} ORDER BY n DESC LIMIT ?"
        return [taken_of(row) for row in self._db.execute(sql, (*values, wanted.limit))]

    def standing(self) -> list[Standing]:
        """Every alarm that ever took a step, in order of its id, as it was left."""
        rows = self._db.execute(STANDING)
        return [Standing(i, p, t, y, msgspec.json.decode(body, type=State)) for i, p, t, y, body in rows]

    def happenings(self, start: int, end: int) -> list[Happening]:
        """In order of time; at most STATISTICS_MAX, the newest."""
        sql = (
            "SELECT time, alarm, priority, step, rings FROM steps WHERE time >= ? AND time < ? AND alarm <> '' "
            "ORDER BY n DESC LIMIT ?"
        )
        rows = self._db.execute(sql, (start, end, STATISTICS_MAX)).fetchall()
        return [Happening(t, a, Priority(p), Step(s), bool(r)) for t, a, p, s, r in reversed(rows)]

    def watches(self, start: int, end: int) -> list[tuple[int, int]]:
        """When servers watched between the two, in order of time."""
        sql = "SELECT begun, ended FROM watches WHERE ended > ? AND begun < ? ORDER BY begun"
        return list(self._db.execute(sql, (start, end)))


def _where(wanted: Wanted) -> tuple[str, list[object]]:
    parts: list[str] = ["TRUE"]
    values: list[object] = []
    sets = {"twin": wanted.twins, "priority": wanted.priorities or None, "step": wanted.steps or None}
    for column, chosen in sets.items():
        if chosen is not None:
            # As one JSON text: a subtree may have more twins than a statement may have variables.
            parts.append(f"{column} IN (SELECT value FROM json_each(?))")
            values.append(msgspec.json.encode(sorted(chosen)).decode())
    plain = {"alarm = ?": wanted.alarm or None, "by = ?": wanted.by or None, "time >= ?": wanted.start,
             "time < ?": wanted.end, "n < ?": wanted.before}  # fmt: skip
    for part, value in plain.items():
        if value is not None:
            parts.append(part)
            values.append(value)
    return " AND ".join(parts), values
