"""Leases and groups on disk, each with every step of its life; in the commands' database and in their commits.

So a crash never leaves a member without its group, or an expired lease without its reverts. Decides nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from control.command import Priority
from control.group import TRANSITIONS as GROUP_TRANSITIONS
from control.group import Group, Member
from control.lease import TRANSITIONS as LEASE_TRANSITIONS
from control.lease import Lease
from control.life import Step

SCHEMA = """
CREATE TABLE IF NOT EXISTS {table} (
  id TEXT PRIMARY KEY, author TEXT NOT NULL, key TEXT NOT NULL, priority INTEGER NOT NULL, reason TEXT NOT NULL,
  status TEXT NOT NULL, rest TEXT NOT NULL, asked TEXT NOT NULL, UNIQUE (author, key));
CREATE INDEX IF NOT EXISTS {table}_status ON {table} (status);
CREATE TABLE IF NOT EXISTS {table}_steps (
  id TEXT NOT NULL REFERENCES {table} (id), n INTEGER NOT NULL, status TEXT NOT NULL, time INTEGER NOT NULL,
  detail TEXT NOT NULL, author TEXT NOT NULL, entry INTEGER, PRIMARY KEY (id, n));
CREATE INDEX IF NOT EXISTS {table}_steps_unaudited ON {table}_steps (entry) WHERE entry IS NULL;
"""
_COLUMNS = "id, author, key, priority, reason, rest, asked"


class Life(Protocol):
    """A record whose life is told in steps."""

    @property
    def id(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def priority(self) -> Priority: ...
    @property
    def reason(self) -> str: ...
    @property
    def asked(self) -> str: ...
    @property
    def steps(self) -> tuple[Step, ...]: ...
    @property
    def final(self) -> bool: ...


L = TypeVar("L", bound=Life)
Row = tuple[str, str, str, Priority, str, str, str, tuple[Step, ...]]
"""id, author, key, priority, reason, the rest as JSON, asked, steps."""


@dataclass(frozen=True, slots=True)
class Form(Generic[L]):
    """How one kind of record lies in its table: `rest` is JSON of what never changes, `ends` the final statuses."""

    table: str
    ends: frozenset[str]
    rest: Callable[[L], bytes]
    made: Callable[[Row], L]


class LifeTable(Generic[L]):
    """Used inside the command store's transactions, from its thread."""

    def __init__(self, db: sqlite3.Connection, form: Form[L], *, new: bool = True) -> None:
        """`new`: made where there is none yet."""
        self._db, self._form = db, form
        if new:
            db.executescript(SCHEMA.format(table=form.table))

    def save(self, records: Iterable[L]) -> None:
        """As they are; the caller begins and commits."""
        table = self._form.table
        for r in records:
            self._db.execute(
                f"INSERT INTO {table} ({_COLUMNS}, status) VALUES (?,?,?,?,?,?,?,?) "
                "ON CONFLICT (id) DO UPDATE SET status = excluded.status",
                (
                    r.id, r.author, r.key, int(r.priority), r.reason, self._form.rest(r).decode(), r.asked,
                    str(r.steps[-1].status),
                ),
            )  # fmt: skip
            self._db.executemany(
                f"INSERT OR IGNORE INTO {table}_steps (id, n, status, time, detail, author) VALUES (?,?,?,?,?,?)",
                [(r.id, n, str(s.status), s.time, s.detail, s.by) for n, s in enumerate(r.steps)],
            )

    def mark(self, audited: Iterable[tuple[str, int, int]]) -> None:
        """(id, n, ledger index); the caller begins and commits."""
        self._db.executemany(
            f"UPDATE {self._form.table}_steps SET entry = ? WHERE id = ? AND n = ?", [(e, i, n) for i, n, e in audited]
        )

    def by_key(self, author: str, key: str) -> L | None:
        return next(iter(self._read("author = ? AND key = ?", (author, key))), None)

    def by_id(self, identity: str) -> L | None:
        return next(iter(self._read("id = ?", (identity,))), None)

    def unfinished(self) -> list[L]:
        """Oldest first."""
        marks = ",".join("?" for _ in self._form.ends)
        return self._read(f"status NOT IN ({marks}) ORDER BY rowid", tuple(sorted(self._form.ends)))

    def newest(self, limit: int) -> list[L]:
        return self._read("TRUE ORDER BY rowid DESC LIMIT ?", (limit,))

    def unaudited(self) -> list[tuple[L, int]]:
        """Steps without a ledger entry, in the order in which they were taken."""
        rows = self._db.execute(
            f"SELECT id, n FROM {self._form.table}_steps WHERE entry IS NULL ORDER BY time, id, n"
        ).fetchall()
        found: dict[str, L] = {}
        for identity, _ in rows:
            if identity not in found:
                found.update({r.id: r for r in self._read("id = ?", (identity,))})
        return [(found[identity], n) for identity, n in rows]

    def unsettled(self, person: str) -> tuple[int, int]:
        """(records of theirs whose life goes on, steps by them or of their records that have no ledger entry)."""
        table, marks = self._form.table, ",".join("?" for _ in self._form.ends)
        ends = sorted(self._form.ends)
        alive = self._db.execute(
            f"SELECT count(*) FROM {table} WHERE author = ? AND status NOT IN ({marks})", (person, *ends)
        ).fetchone()[0]
        waiting = self._db.execute(
            f"SELECT count(*) FROM {table}_steps s JOIN {table} r USING (id) "
            "WHERE s.entry IS NULL AND ? IN (r.author, s.author)",
            (person,),
        ).fetchone()[0]
        return int(alive), int(waiting)

    def everything(self) -> list[tuple[L, str, list[int | None]]]:
        """Every record that has steps, the status that its row says, and the ledger index of every step."""
        table = self._form.table
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            return []
        status_of = dict(self._db.execute(f"SELECT id, status FROM {table}"))
        indexes: dict[str, list[int | None]] = {identity: [] for identity in status_of}
        for identity, entry in self._db.execute(f"SELECT id, entry FROM {table}_steps ORDER BY id, n"):
            indexes.setdefault(identity, []).append(entry)
        return [
            (record, status_of[record.id], indexes[record.id])
            for record in self._read(f"id IN (SELECT id FROM {table}_steps)", ())
        ]

    def _read(self, where: str, values: tuple[object, ...]) -> list[L]:
        table = self._form.table
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM {table} WHERE {where}", values).fetchall()
        found = []
        for identity, author, key, priority, reason, rest, asked in rows:
            steps = self._db.execute(
                f"SELECT status, time, detail, author FROM {table}_steps WHERE id = ? ORDER BY n", (identity,)
            )
            told = tuple(Step(*step) for step in steps)
            found.append(self._form.made((identity, author, key, Priority(priority), reason, rest, asked, told)))
        return found


class _LeaseRest(msgspec.Struct, frozen=True):
    targets: tuple[str, ...]
    ttl_s: float
    revert: tuple[tuple[str, float], ...]


class _GroupRest(msgspec.Struct, frozen=True):
    members: tuple[Member, ...]
    order: Literal["sequence", "together"]
    deadline_s: float


def _lease(row: Row) -> Lease:
    identity, author, key, priority, reason, rest, asked, steps = row
    r = msgspec.json.decode(rest, type=_LeaseRest)
    return Lease(
        identity, key, author, r.targets, priority, r.ttl_s, r.revert, reason, asked, steps, beaten_at=steps[0].time
    )


def _group(row: Row) -> Group:
    identity, author, key, priority, reason, rest, asked, steps = row
    r = msgspec.json.decode(rest, type=_GroupRest)
    return Group(identity, key, author, r.members, r.order, priority, r.deadline_s, reason, asked, steps)


def _ends(transitions: Mapping[Any, frozenset[Any]]) -> frozenset[str]:
    return frozenset(str(status) for status, following in transitions.items() if not following)


LEASES: Form[Lease] = Form(
    "leases",
    _ends(LEASE_TRANSITIONS),
    lambda x: msgspec.json.encode(_LeaseRest(x.targets, x.ttl_s, x.revert)),
    _lease,
)
GROUPS: Form[Group] = Form(
    "groups",
    _ends(GROUP_TRANSITIONS),
    lambda x: msgspec.json.encode(_GroupRest(x.members, x.order, x.deadline_s)),
    _group,
)
