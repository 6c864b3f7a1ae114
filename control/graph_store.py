"""What the API added to a plant, on disk: SQLite with WAL and FULL, so that what was answered survives a power cut.

Decides nothing. An edit that is not yet in history and ledger waits in the table `edits` until it is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from twin.dtdl import declared, parse
from twin.dtdl_export import export_interface
from twin.edit import AddInterface, AddRelationship, AddTwin, Edit, KeepPoint
from twin.plant import Plant, Relationship, Twin

GRAPH_FILE = "graph.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS interfaces (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS twins (
  id TEXT PRIMARY KEY, interface TEXT NOT NULL, name TEXT NOT NULL, x REAL, y REAL);
CREATE TABLE IF NOT EXISTS relationships (
  source TEXT NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (source, name, target));
CREATE TABLE IF NOT EXISTS kept (twin TEXT NOT NULL, property TEXT NOT NULL, PRIMARY KEY (twin, property));
CREATE TABLE IF NOT EXISTS edits (
  n INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, body TEXT NOT NULL, readings BLOB NOT NULL);
"""


class KeptReadings(msgspec.Struct, frozen=True, array_like=True):
    """Values of kept points as columns of N rows: little-endian f64, u32 and i64; `text` by row."""

    names: list[str]
    value: bytes
    quality: bytes
    source_time: bytes
    text: dict[int, str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An edit that is durable here, and maybe not in history and ledger. `body` is what the ledger gets."""

    n: int
    time_ns: int
    body: dict[str, object]
    readings: KeptReadings


@dataclass(frozen=True, slots=True)
class Rows:
    """What an edit changes in the tables."""

    interfaces: Sequence[tuple[str, str]]
    twins: Sequence[tuple[str, str, str, float | None, float | None]]
    twins_gone: Sequence[tuple[str]]
    relationships: Sequence[tuple[str, str, str]]
    relationships_gone: Sequence[tuple[str, str, str]]
    kept: Sequence[tuple[str, str]]


def rows(before: Plant, after: Plant) -> Rows:
    """From one plant to the next."""
    new_interfaces = [i for i in after.interfaces if i in after.added.interfaces - before.added.interfaces]
    old, new = before.twin_of_id, after.twin_of_id
    ends = (after.added.relationships, before.added.relationships)
    return Rows(
        [(i, json.dumps(export_interface(declared(after.interfaces[i])))) for i in new_interfaces],
        [_twin_row(new[i]) for i in after.added.twins if i not in before.added.twins or new[i] != old[i]],
        [(i,) for i in before.added.twins - after.added.twins],
        [_ends(r) for r in ends[0] - ends[1]],
        [_ends(r) for r in ends[1] - ends[0]],
        [_halves(name) for name in after.added.kept - before.added.kept],
    )


class GraphStore:
    """Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + SCHEMA)

    def close(self) -> None:
        self._db.close()

    def additions(self) -> list[Edit]:
        """Everything that was added, in an order in which nothing comes before what it needs."""
        read = self._db.execute
        documents = read("SELECT id, document FROM interfaces ORDER BY n").fetchall()
        interfaces = [i for identity, text in documents for i in parse(text, identity).interfaces]
        twins = read("SELECT id, interface, name, x, y FROM twins ORDER BY id").fetchall()
        relationships = read("SELECT source, name, target FROM relationships ORDER BY rowid").fetchall()
        kept = read("SELECT twin, property FROM kept ORDER BY twin, property").fetchall()
        return [
            *(AddInterface(i) for i in interfaces),
            *(AddTwin(Twin(i, of, name, None if x is None else (x, y))) for i, of, name, x, y in twins),
            *(AddRelationship(Relationship(*row)) for row in relationships),
            *(KeepPoint(*row) for row in kept),
        ]

    def save(self, change: Rows | None, time_ns: int, body: dict[str, object], readings: KeptReadings) -> int:
        """Durable, all or nothing; returns the edit's number."""
        with self._transaction():
            if change is not None:
                self._write(change)
            done = self._db.execute(
                "INSERT INTO edits (time_ns, body, readings) VALUES (?, ?, ?)",
                (time_ns, json.dumps(body), msgspec.msgpack.encode(readings)),
            )
        assert done.lastrowid is not None
        return done.lastrowid

    def waiting(self) -> list[Waiting]:
        """Oldest first."""
        found = self._db.execute("SELECT n, time_ns, body, readings FROM edits ORDER BY n").fetchall()
        return [
            Waiting(n, time_ns, json.loads(body), msgspec.msgpack.decode(readings, type=KeptReadings))
            for n, time_ns, body, readings in found
        ]

    def settled(self, numbers: Iterable[int]) -> None:
        """These edits are in history and ledger."""
        with self._transaction():
            self._db.executemany("DELETE FROM edits WHERE n = ?", [(n,) for n in numbers])

    def _write(self, change: Rows) -> None:
        many = self._db.executemany
        many("INSERT OR REPLACE INTO interfaces (id, document) VALUES (?, ?)", change.interfaces)
        many("DELETE FROM twins WHERE id = ?", change.twins_gone)
        many("INSERT OR REPLACE INTO twins VALUES (?, ?, ?, ?, ?)", change.twins)
        many("DELETE FROM relationships WHERE source = ? AND name = ? AND target = ?", change.relationships_gone)
        many("INSERT OR IGNORE INTO relationships VALUES (?, ?, ?)", change.relationships)
        many("INSERT OR IGNORE INTO kept VALUES (?, ?)", change.kept)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _twin_row(twin: Twin) -> tuple[str, str, str, float | None, float | None]:
    return (twin.id, twin.interface, twin.name, *(twin.at or (None, None)))


def _ends(relationship: Relationship) -> tuple[str, str, str]:
    return relationship.source, relationship.name, relationship.target


def _halves(name: str) -> tuple[str, str]:
    twin, _, prop = name.partition(".")
    return twin, prop
