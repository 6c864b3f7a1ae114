"""Commands on disk: SQLite with WAL and FULL, so that what was recorded survives a power cut; decides nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from control.command import FINAL, Command, Priority, Status, Terms, Transition
from twin.interlock import Sight

SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
  id TEXT PRIMARY KEY, author TEXT NOT NULL, key TEXT NOT NULL, point TEXT NOT NULL, value REAL NOT NULL,
  priority INTEGER NOT NULL, deadline INTEGER NOT NULL, reason TEXT NOT NULL, status TEXT NOT NULL, observed REAL,
  terms TEXT NOT NULL DEFAULT '{"deadline_s":30.0}', asked TEXT NOT NULL DEFAULT '', UNIQUE (author, key));
CREATE INDEX IF NOT EXISTS commands_status ON commands (status);
CREATE TABLE IF NOT EXISTS transitions (
  command TEXT NOT NULL REFERENCES commands (id), n INTEGER NOT NULL, status TEXT NOT NULL, time INTEGER NOT NULL,
  detail TEXT NOT NULL, entry INTEGER, author TEXT NOT NULL DEFAULT '', seen TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (command, n));
CREATE INDEX IF NOT EXISTS transitions_unaudited ON transitions (entry) WHERE entry IS NULL;
CREATE INDEX IF NOT EXISTS transitions_entry ON transitions (entry) WHERE entry IS NOT NULL;
"""
# Of stores made before there were such columns.
_ADDED = {
    "commands": {"terms": "TEXT NOT NULL DEFAULT '{\"deadline_s\":30.0}'", "asked": "TEXT NOT NULL DEFAULT ''"},
    "transitions": {"author": "TEXT NOT NULL DEFAULT ''", "seen": "TEXT NOT NULL DEFAULT ''"},
}
_COLUMNS = "id, author, key, point, value, priority, deadline, reason, status, observed, terms, asked"
_terms = msgspec.json.Decoder(Terms)
_seen = msgspec.json.Decoder(tuple[Sight, ...])
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Unaudited:
    """A transition that has no ledger entry yet."""

    command: Command
    n: int


class CommandStore:
    """Used from one thread at a time."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, cached_statements=256)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;" + SCHEMA)
        for table, columns in _ADDED.items():
            held = {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}
            for name in columns.keys() - held:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {columns[name]}")

    def close(self) -> None:
        self._db.close()

    def save(self, commands: Iterable[Command], audited: Iterable[tuple[str, int, int]] = ()) -> None:
        """Record the commands as they are, and (command, n, ledger index) of transitions: durably, all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for c in commands:
                self._db.execute(
                    f"INSERT INTO commands ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET "
                    "status = excluded.status, observed = excluded.observed, deadline = excluded.deadline",
                    (
                        c.id, c.author, c.key, c.point, c.value, int(c.priority), c.deadline, c.reason, c.status,
                        c.observed, _encoder.encode(c.terms).decode(), c.asked,
                    ),
                )  # fmt: skip
                self._db.executemany(
                    "INSERT OR IGNORE INTO transitions (command, n, status, time, detail, author, seen) "
                    "VALUES (?,?,?,?,?,?,?)",
                    [(c.id, n, t.status, t.time, t.detail, t.by, _text(t)) for n, t in enumerate(c.transitions)],
                )
            self._db.executemany(
                "UPDATE transitions SET entry = ? WHERE command = ? AND n = ?", [(e, c, n) for c, n, e in audited]
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def by_keys(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Command]:
        """(author, key) -> the command submitted with it."""
        found = (self._read("author = ? AND key = ?", pair) for pair in keys)
        return {(c.author, c.key): c for commands in found for c in commands}

    def by_id(self, identity: str) -> Command | None:
        return next(iter(self._read("id = ?", (identity,))), None)

    def unfinished(self) -> list[Command]:
        """Every command whose life goes on, in the order of submission."""
        marks = ",".join("?" for _ in FINAL)
        return self._read(f"status NOT IN ({marks}) ORDER BY rowid", tuple(FINAL))

    def newest(self, limit: int) -> list[Command]:
        return self._read("TRUE ORDER BY rowid DESC LIMIT ?", (limit,))

    def last_desired(self) -> list[Command]:
        """For every point its newest command, whatever became of it."""
        return self._read("rowid IN (SELECT max(rowid) FROM commands GROUP BY point)", ())

    def newest_entry(self) -> int:
        """The highest index that a transition has in the ledger, -1 when none has one."""
        (found,) = self._db.execute("SELECT max(entry) FROM transitions WHERE entry IS NOT NULL").fetchone()
        return -1 if found is None else int(found)

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

    def _read(self, where: str, values: Sequence[object]) -> list[Command]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM commands WHERE {where}", values).fetchall()
        if not rows:
            return []
        steps: dict[str, list[Transition]] = {row[0]: [] for row in rows}
        found = self._db.execute(
            "SELECT command, status, time, detail, author, seen FROM transitions "
            f"WHERE command IN (SELECT id FROM commands WHERE {where}) ORDER BY command, n",
            values,
        )
        for command, status, time, detail, author, seen in found:
            steps[command].append(Transition(Status(status), time, detail, author, _seen.decode(seen) if seen else ()))
        return [_command(row, tuple(steps[row[0]])) for row in rows]


def _text(step: Transition) -> str:
    return _encoder.encode(step.seen).decode() if step.seen else ""


def _command(row: tuple[Any, ...], steps: tuple[Transition, ...]) -> Command:
    identity, author, key, point, value, priority, deadline, reason, status, observed, terms, asked = row
    return Command(
        identity, key, author, point, value, Priority(priority), deadline, reason, Status(status), steps, observed,
        _terms.decode(terms), asked,
    )  # fmt: skip
