"""Commands on disk: SQLite with WAL and FULL, so that what was recorded survives a power cut; decides nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from control.command import FINAL, Command, Priority, Status, Terms, Transition
from control.command_record import terms_text
from control.group import UNDO_KEY, Group, Team, author_of_undos, requests
from control.lease import Lease
from control.life import Step
from control.life_store import GROUPS, LEASES, LifeTable
from twin.errors import Conflict
from twin.interlock import Ruling, Sight

SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
  id TEXT PRIMARY KEY, author TEXT NOT NULL, key TEXT NOT NULL, point TEXT NOT NULL, value REAL NOT NULL,
  priority INTEGER NOT NULL, deadline INTEGER NOT NULL, reason TEXT NOT NULL, status TEXT NOT NULL, observed REAL,
  terms TEXT NOT NULL DEFAULT '{"deadline_s":30.0}', asked TEXT NOT NULL DEFAULT '', UNIQUE (author, key));
CREATE INDEX IF NOT EXISTS commands_status ON commands (status);
CREATE TABLE IF NOT EXISTS transitions (
  command TEXT NOT NULL REFERENCES commands (id), n INTEGER NOT NULL, status TEXT NOT NULL, time INTEGER NOT NULL,
  detail TEXT NOT NULL, entry INTEGER, author TEXT NOT NULL DEFAULT '', seen TEXT NOT NULL DEFAULT '',
  verdicts TEXT NOT NULL DEFAULT '', PRIMARY KEY (command, n));
CREATE INDEX IF NOT EXISTS transitions_sent ON transitions (time) WHERE status = 'SENT';
CREATE INDEX IF NOT EXISTS transitions_unaudited ON transitions (entry) WHERE entry IS NULL;
CREATE INDEX IF NOT EXISTS transitions_entry ON transitions (entry) WHERE entry IS NOT NULL;
"""
# Of stores made before there were such columns.
_ADDED = {
    "commands": {"terms": "TEXT NOT NULL DEFAULT '{\"deadline_s\":30.0}'", "asked": "TEXT NOT NULL DEFAULT ''"},
    "transitions": {
        "author": "TEXT NOT NULL DEFAULT ''",
        "seen": "TEXT NOT NULL DEFAULT ''",
        "verdicts": "TEXT NOT NULL DEFAULT ''",
    },
}
_COLUMNS = "id, author, key, point, value, priority, deadline, reason, status, observed, terms, asked"
_terms = msgspec.json.Decoder(Terms)
_seen = msgspec.json.Decoder(tuple[Sight, ...])
_verdicts = msgspec.json.Decoder(tuple[Ruling, ...])
_encoder = msgspec.json.Encoder()


Record = Command | Lease | Group
Mark = tuple[str, str, int, int]
"""(kind, id, n, ledger index) of a transition of a command, or of a step of a lease or group."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which commands: all that fit everything given. `before` is the cursor of the page before."""

    limit: int
    before: int | None = None
    statuses: tuple[Status, ...] = ()
    point: str = ""
    author: str = ""
    open: bool = False

    def where(self) -> tuple[str, tuple[object, ...]]:
        """As SQL over the table `commands`, and its values."""
        rows: list[tuple[str, tuple[object, ...]]] = [("TRUE", ())]
        if self.before is not None:
            rows.append(("rowid < ?", (self.before,)))
        if self.statuses:
            rows.append((f"status IN ({','.join('?' for _ in self.statuses)})", tuple(self.statuses)))
        if self.point:
            rows.append(("point = ?", (self.point,)))
        if self.author:
            rows.append(("author = ?", (self.author,)))
        if self.open:
            rows.append((f"status NOT IN ({','.join('?' for _ in FINAL)})", tuple(FINAL)))
        return " AND ".join(text for text, _ in rows), tuple(v for _, values in rows for v in values)


@dataclass(frozen=True, slots=True)
class Unaudited:
    """A transition or step that has no ledger entry yet."""

    record: Record
    n: int


def kind_of(record: Record) -> str:
    """As the ledger's entries name it."""
    return _KINDS[type(record)]


def told(record: Record) -> tuple[Transition, ...] | tuple[Step, ...]:
    """Its life so far."""
    return record.transitions if isinstance(record, Command) else record.steps


class CommandStore:
    """Used from one thread at a time."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, cached_statements=256)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;" + SCHEMA)
        for table, columns in _ADDED.items():
            held = {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}
            for name in columns.keys() - held:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {columns[name]}")

        self.leases = LifeTable(self._db, LEASES)
        self.groups = LifeTable(self._db, GROUPS)

    def close(self) -> None:
        self._db.close()

    def check_settled(self, person: str) -> None:
        """
        Raises:
            Conflict: a command, lease or group of that person is not over, or not yet in the ledger.
        """
        final = ",".join(f"'{status}'" for status in FINAL)
        open_of = self._db.execute(
            f"SELECT count(*) FROM commands WHERE author = ? AND status NOT IN ({final})", (person,)
        ).fetchone()[0]
        told = (
            "SELECT count(*) FROM transitions t JOIN commands c ON c.id = t.command "
            "WHERE t.entry IS NULL AND ? IN (c.author, t.author)"
        )
        waiting = self._db.execute(told, (person,)).fetchone()[0]
        for table in (self.leases, self.groups):
            more = table.unsettled(person)
            open_of, waiting = open_of + more[0], waiting + more[1]
        if open_of or waiting:
            raise Conflict(
                f"{open_of} commands, leases and groups of {person!r} are not over, {waiting} steps not in the ledger",
                "wait for them, cancel or release them; without a server start one",
            )

    def rename(self, person: str, name: str) -> None:
        """Everywhere, durably; the file keeps no trace of what stood there."""
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for table in ("commands", "transitions", "leases", "leases_steps", "groups", "groups_steps"):
                self._db.execute(f"UPDATE {table} SET author = ? WHERE author = ?", (name, person))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def save(
        self,
        commands: Iterable[Command],
        audited: Sequence[Mark] = (),
        leases: Iterable[Lease] = (),
        groups: Iterable[Group] = (),
    ) -> None:
        """Record all of them as they are, and what became ledger entries: durably, all or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for c in commands:
                self._db.execute(
                    f"INSERT INTO commands ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET "
                    "status = excluded.status, observed = excluded.observed, deadline = excluded.deadline",
                    (
                        c.id, c.author, c.key, c.point, c.value, int(c.priority), c.deadline, c.reason, c.status,
                        c.observed, terms_text(c.terms), c.asked,
                    ),
                )  # fmt: skip
                self._db.executemany(
                    "INSERT OR IGNORE INTO transitions (command, n, status, time, detail, author, seen, verdicts) "
                    "VALUES (?,?,?,?,?,?,?,?)",
                    [
                        (c.id, n, t.status, t.time, t.detail, t.by, _text(t.seen), _text(t.verdicts))
                        for n, t in enumerate(c.transitions)
                    ],
                )
            self._db.executemany(
                "UPDATE transitions SET entry = ? WHERE command = ? AND n = ?",
                [(e, c, n) for kind, c, n, e in audited if kind == "command"],
            )
            self.leases.save(leases)
            self.groups.save(groups)
            self.leases.mark((i, n, e) for kind, i, n, e in audited if kind == "lease")
            self.groups.mark((i, n, e) for kind, i, n, e in audited if kind == "group")
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

    def team(self, group: Group) -> Team:
        """The group with its commands."""
        keys = [(group.author, request.key) for request in requests(group)]
        undos = [(author_of_undos(group), f"{UNDO_KEY}{n}") for n in range(len(group.members))]
        team = Team(group, {}, {})
        for command in self.by_keys([*keys, *undos]).values():
            team.note(command)
        return team

    def unfinished(self) -> list[Command]:
        """Every command whose life goes on, in the order of submission."""
        marks = ",".join("?" for _ in FINAL)
        return self._read(f"status NOT IN ({marks}) ORDER BY rowid", tuple(FINAL))

    def newest(self, limit: int) -> list[Command]:
        return self._read("TRUE ORDER BY rowid DESC LIMIT ?", (limit,))

    def page(self, wanted: Wanted) -> tuple[list[Command], str | None]:
        """The newest first, and the cursor of those after them, None when there are none."""
        terms, values = wanted.where()
        where = f"{terms} ORDER BY rowid DESC LIMIT ?"
        values = (*values, wanted.limit)
        found = self._read(where, values)
        if len(found) < wanted.limit:
            return found, None
        (last,) = self._db.execute(
            f"SELECT min(rowid) FROM (SELECT rowid FROM commands WHERE {where})", values
        ).fetchone()
        return found, str(last)

    def last_desired(self) -> list[Command]:
        """For every point its newest command, whatever became of it."""
        return self._read("rowid IN (SELECT max(rowid) FROM commands GROUP BY point)", ())

    def newest_entry(self) -> int:
        """The highest index that a transition or step has in the ledger, -1 when none has one."""
        tables = ("transitions", "leases_steps", "groups_steps")
        found = [self._db.execute(f"SELECT max(entry) FROM {t} WHERE entry IS NOT NULL").fetchone()[0] for t in tables]
        return max((int(index) for index in found if index is not None), default=-1)

    def last_sent(self, since: int) -> list[Command]:
        """For every point the command that was sent to it last, of those sent after that moment (ns since 1970)."""
        newest = (
            "SELECT c.id AS id, max(t.time) FROM transitions t JOIN commands c ON c.id = t.command "
            "WHERE t.status = 'SENT' AND t.time > ? GROUP BY c.point"
        )
        return self._read(f"id IN (SELECT id FROM ({newest}))", (since,))

    def unaudited(self) -> list[Unaudited]:
        """In the order in which they happened."""
        lives = [Unaudited(record, n) for table in (self.leases, self.groups) for record, n in table.unaudited()]
        return sorted([*self._unaudited(), *lives], key=lambda u: told(u.record)[u.n].time)

    def _unaudited(self) -> list[Unaudited]:
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
            "SELECT command, status, time, detail, author, seen, verdicts FROM transitions "
            f"WHERE command IN (SELECT id FROM commands WHERE {where}) ORDER BY command, n",
            values,
        )
        for command, status, time, detail, author, seen, verdicts in found:
            sights, said = _seen.decode(seen) if seen else (), _verdicts.decode(verdicts) if verdicts else ()
            steps[command].append(Transition(Status(status), time, detail, author, sights, said))
        return [_command(row, tuple(steps[row[0]])) for row in rows]


_KINDS: dict[type[Record], str] = {Command: "command", Lease: "lease", Group: "group"}


def _text(told: tuple[Sight, ...] | tuple[Ruling, ...]) -> str:
    return _encoder.encode(told).decode() if told else ""


def _command(row: tuple[Any, ...], steps: tuple[Transition, ...]) -> Command:
    identity, author, key, point, value, priority, deadline, reason, status, observed, terms, asked = row
    return Command(
        identity, key, author, point, value, Priority(priority), deadline, reason, Status(status), steps, observed,
        _terms.decode(terms), asked,
    )  # fmt: skip
