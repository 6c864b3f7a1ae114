"""Commands on disk: SQLite with WAL and FULL, so that what was recorded survives a power cut; decides nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control.command import FINAL, Command, Priority, Status, Transition

SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
  id TEXT PRIMARY KEY, author TEXT NOT NULL, key TEXT NOT NULL, point TEXT NOT NULL, value REAL NOT NULL,
  priority INTEGER NOT NULL, deadline INTEGER NOT NULL, reason TEXT NOT NULL, status TEXT NOT NULL, observed REAL,
  UNIQUE (author, key));
CREATE INDEX IF NOT EXISTS commands_status ON commands (status);
CREATE TABLE IF NOT EXISTS transitions (
  command TEXT NOT NULL REFERENCES commands (id), n INTEGER NOT NULL, status TEXT NOT NULL, time INTEGER NOT NULL,
  detail TEXT NOT NULL, entry INTEGER, PRIMARY KEY (command, n));
CREATE INDEX IF NOT EXISTS transitions_unaudited ON transitions (entry) WHERE entry IS NULL;
"""
_COLUMNS = "id, author, key, point, value, priority, deadline, reason, status, observed"


@dataclass(frozen=True, slots=True)
class Unaudited:
    """A transition that has no ledger entry yet."""

    command: Command
    n: int


class CommandStore:
    """Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;" + SCHEMA)

    def close(self) -> None:
        self._db.close()

    def save(self, commands: Iterable[Command]) -> None:
        """Record the commands as they are, durably and all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for c in commands:
                row = (
                    c.id,
                    c.author,
                    c.key,
                    c.point,
                    c.value,
                    int(c.priority),
                    c.deadline,
                    c.reason,
                    c.status,
                    c.observed,
                )
                self._db.execute(
                    f"INSERT INTO commands ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?) "
                    "ON CONFLICT (id) DO UPDATE SET status = excluded.status, observed = excluded.observed",
                    row,
                )
                steps = [(c.id, n, t.status, t.time, t.detail) for n, t in enumerate(c.transitions)]
                self._db.executemany(
                    "INSERT OR IGNORE INTO transitions (command, n, status, time, detail) VALUES (?,?,?,?,?)", steps
                )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def by_key(self, author: str, key: str) -> Command | None:
        return next(iter(self._read("author = ? AND key = ?", (author, key))), None)

    def by_id(self, identity: str) -> Command | None:
        return next(iter(self._read("id = ?", (identity,))), None)

    def unfinished(self) -> list[Command]:
        """Every command whose life goes on."""
        marks = ",".join("?" for _ in FINAL)
        return self._read(f"status NOT IN ({marks})", tuple(FINAL))

    def newest(self, limit: int) -> list[Command]:
        return self._read("TRUE ORDER BY rowid DESC LIMIT ?", (limit,))

    def last_desired(self) -> list[Command]:
        """For every point its newest command, whatever became of it."""
        return self._read("rowid IN (SELECT max(rowid) FROM commands GROUP BY point)", ())

    def unaudited(self) -> list[Unaudited]:
        rows = self._db.execute(
            "SELECT t.command, t.n FROM transitions t JOIN commands c ON c.id = t.command "
            "WHERE t.entry IS NULL ORDER BY t.time, c.rowid, t.n"
        ).fetchall()
        found: dict[str, Command] = {}
        for identity, _ in rows:
            if identity not in found:
                found.update({c.id: c for c in self._read("id = ?", (identity,))})
        return [Unaudited(found[identity], n) for identity, n in rows]

    def audited(self, entries: Iterable[tuple[str, int, int]]) -> None:
        """Remember (command, n, ledger index)."""
        self._db.executemany(
            "UPDATE transitions SET entry = ? WHERE command = ? AND n = ?", [(e, c, n) for c, n, e in entries]
        )

    def _read(self, where: str, values: tuple[object, ...]) -> list[Command]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM commands WHERE {where}", values).fetchall()
        steps: dict[str, list[Transition]] = {row[0]: [] for row in rows}
        found = self._db.execute(
            "SELECT command, status, time, detail FROM transitions "
            f"WHERE command IN (SELECT id FROM commands WHERE {where}) ORDER BY command, n",
            values,
        )
        for command, status, time, detail in found:
            steps[command].append(Transition(Status(status), time, detail))
        return [_command(row, tuple(steps[row[0]])) for row in rows]


def _command(row: tuple[Any, ...], steps: tuple[Transition, ...]) -> Command:
    identity, author, key, point, value, priority, deadline, reason, status, observed = row
    return Command(
        identity, key, author, point, value, Priority(priority), deadline, reason, Status(status), steps, observed
    )
