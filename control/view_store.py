"""Views of the console that people saved under a name, and handover notes: SQLite; blocks for some ms. Knows no HTTP.

A view belongs to a name (an account, or `operator` for all who came by a link) or to everybody.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from control.authors import PROVIDED
from twin.errors import BadRequest, Conflict, LimitExceeded, NotFound, NotPermitted
from twin.role import Role

OF_ONE_MAX, OF_ALL_MAX = 100, 200  # views: more than a menu can show
NAME_MAX, ADDRESS_MAX, NOTE_MAX = 80, 2_000, 2_000  # characters
NOTES_KEPT = 5_000  # newest; several a shift for years
UNDO_NS = 24 * 3600 * 1_000_000_000  # how long a deleted view can be had back
SHARERS = frozenset({Role.SUPERVISOR, Role.ENGINEER, Role.ADMIN})
"""Who may save, change and delete what everybody sees."""
ALL = ""
"""Owner of a view that everybody sees: no account has an empty name."""
_COLUMNS = "id, name, owner, by, address"
SCHEMA = """
CREATE TABLE IF NOT EXISTS views (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, by TEXT NOT NULL, address TEXT NOT NULL, deleted INTEGER);
CREATE UNIQUE INDEX IF NOT EXISTS views_name ON views (owner, name) WHERE deleted IS NULL;
CREATE TABLE IF NOT EXISTS startups (owner TEXT PRIMARY KEY, id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notes (
  n INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, by TEXT NOT NULL, text TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class View:
    """`address` is what stands behind the # of the console's own address."""

    id: str
    name: str
    owner: str
    by: str
    address: str

    @property
    def shared(self) -> bool:
        return self.owner == ALL


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: no more of a caller is needed."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Note:
    """Written at `time` (ns since 1970)."""

    n: int
    time: int
    by: str
    text: str


class ViewStore:
    """Used from any thread, one after the other."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;" + SCHEMA)
        self._turn = threading.Lock()

    def close(self) -> None:
        self._db.close()

    # --- views -------------------------------------------------------------------------------------------------------

    def views(self, who: Person) -> tuple[list[View], str]:
        """Everybody's and their own by name, and the id of the one that opens first, "" for none."""
        with self._turn:
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM views WHERE owner IN (?, ?) AND deleted IS NULL ORDER BY owner, name",
                (ALL, who.name),
            ).fetchall()
            first = self._db.execute("SELECT id FROM startups WHERE owner = ?", (who.name,)).fetchone()
        found = [View(*row) for row in rows]
        return found, first[0] if first and any(v.id == first[0] for v in found) else ""

    def save(self, who: Person, identity: str, name: str, address: str, shared: bool, now: int) -> View:
        """
        Raises:
            BadRequest: no name, or no address of the console. NotPermitted: not for all. Conflict: the name is taken.
            LimitExceeded: there are too many.
        """
        view = View(identity, _name(name), ALL if shared else who.name, who.name, _address(address))
        _permit(who, view)
        with self._turn:
            self._check_room(view.owner)
            row = (view.id, view.name, view.owner, view.by, view.address)
            self._write(view.name, f"INSERT INTO views ({_COLUMNS}) VALUES (?,?,?,?,?)", row)
        return view

    def change(self, who: Person, identity: str, name: str | None, address: str | None) -> View:
        """Another name or address. Raises as `save`; NotFound."""
        with self._turn:
            old = self._find(who, identity, deleted=False)
            _permit(who, old)
            view = View(
                old.id, old.name if name is None else _name(name), old.owner, who.name,
                old.address if address is None else _address(address),
            )  # fmt: skip
            row = (view.name, view.by, view.address, view.id)
            self._write(view.name, "UPDATE views SET name = ?, by = ?, address = ? WHERE id = ?", row)
        return view

    def delete(self, who: Person, identity: str, now: int) -> None:
        """It can be had back within a day, with others of its owner deleted last, as many as there may be views.

        Raises:
            NotFound. NotPermitted.
        """
        with self._turn:
            view = self._find(who, identity, deleted=False)
            _permit(who, view)
            self._db.execute("UPDATE views SET deleted = ? WHERE id = ?", (now, identity))
            self._db.execute("DELETE FROM views WHERE deleted < ?", (now - UNDO_NS,))
            older = (
                "SELECT id FROM views WHERE owner = ? AND deleted IS NOT NULL ORDER BY deleted DESC LIMIT -1 OFFSET ?"
            )
            self._db.execute(f"DELETE FROM views WHERE id IN ({older})", (view.owner, _most(view.owner)))

    def restore(self, who: Person, identity: str, now: int) -> View:
        """What was deleted within a day, as it was. Raises as `save`; NotFound."""
        with self._turn:
            self._db.execute("DELETE FROM views WHERE deleted < ?", (now - UNDO_NS,))
            view = self._find(who, identity, deleted=True)
            _permit(who, view)
            self._check_room(view.owner)
            self._write(view.name, "UPDATE views SET deleted = NULL WHERE id = ?", (identity,))
        return view

    def open_first(self, who: Person, identity: str) -> None:
        """The view that opens when they sign in; "" for none.

        Raises:
            NotFound.
        """
        with self._turn:
            if identity:
                self._find(who, identity, deleted=False)
            self._db.execute("DELETE FROM startups WHERE owner = ?", (who.name,))
            if identity:
                self._db.execute("INSERT INTO startups VALUES (?, ?)", (who.name, identity))

    def _find(self, who: Person, identity: str, deleted: bool) -> View:
        where = f"deleted IS {'NOT ' if deleted else ''}NULL"
        found = self._db.execute(
            f"SELECT {_COLUMNS} FROM views WHERE id = ? AND owner IN (?, ?) AND {where}", (identity, ALL, who.name)
        ).fetchone()
        if found is None:
            raise NotFound(f"no view {identity[:80]!r}", "it may be another's, or deleted for more than a day")
        return View(*found)

    def _check_room(self, owner: str) -> None:
        most = _most(owner)
        sql = "SELECT count(*) FROM views WHERE owner = ? AND deleted IS NULL"
        if self._db.execute(sql, (owner,)).fetchone()[0] >= most:
            raise LimitExceeded(f"there are {most} views", "delete one")

    def _write(self, name: str, sql: str, values: tuple[str, ...]) -> None:
        try:
            self._db.execute(sql, values)
        except sqlite3.IntegrityError:
            raise Conflict(f"there is a view {name!r}", "choose another name, or change that one") from None

    # --- notes -------------------------------------------------------------------------------------------------------

    def note(self, by: str, text: str, now: int) -> Note:
        """
        Raises:
            BadRequest: empty, or too long.
        """
        words = text.strip()
        if not 0 < len(words) <= NOTE_MAX:
            raise BadRequest(f"a note of {len(words)} characters", f"1 … {NOTE_MAX}")
        with self._turn:
            made = self._db.execute("INSERT INTO notes (time, by, text) VALUES (?,?,?)", (now, by, words)).lastrowid
            self._db.execute("DELETE FROM notes WHERE n <= (SELECT max(n) FROM notes) - ?", (NOTES_KEPT,))
        assert made is not None
        return Note(made, now, by, words)

    def notes(self, limit: int) -> list[Note]:
        """Newest first."""
        with self._turn:
            rows = self._db.execute("SELECT n, time, by, text FROM notes ORDER BY n DESC LIMIT ?", (limit,)).fetchall()
        return [Note(*row) for row in rows]

    # --- persons (control/erasing.py) --------------------------------------------------------------------------------

    def names(self) -> set[str]:
        """Everybody who is named here: the ledger knows of no view and no note."""
        sql = "SELECT owner FROM views UNION SELECT by FROM views UNION SELECT owner FROM startups UNION SELECT by FROM notes"
        with self._turn:
            return {name for (name,) in self._db.execute(sql)}

    def forget_account(self, account: str) -> None:
        """Its views and those of its tokens (`tool:anna`) go: another of its name must not find them. A person of that name
        at a provider (`oidc:anna`) is somebody else."""
        whose = [name for name in self.names() if name == account or _token_of(name) == account]
        with self._turn:
            for sql in ("DELETE FROM views WHERE owner = ?", "DELETE FROM startups WHERE owner = ?"):
                self._db.executemany(sql, [(name,) for name in whose])

    def check_settled(self, subject: str) -> None:
        """Nothing of it is ever on its way into the ledger."""

    def rename(self, subject: str, name: str) -> None:
        """A person's name as another; their own views go: nobody else could open them."""
        with self._turn:
            for sql in ("DELETE FROM views WHERE owner = ?", "DELETE FROM startups WHERE owner = ?"):
                self._db.execute(sql, (subject,))
            for table in ("views", "notes"):
                self._db.execute(f"UPDATE {table} SET by = ? WHERE by = ?", (name, subject))
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _token_of(name: str) -> str:
    """Whose token it is, "" for what is none."""
    face, colon, account = name.partition(":")
    return account if colon and f"{face}:" != PROVIDED else ""


def _most(owner: str) -> int:
    return OF_ALL_MAX if owner == ALL else OF_ONE_MAX


def _permit(who: Person, view: View) -> None:
    if view.shared and who.role not in SHARERS:
        raise NotPermitted(f"views for all are not for the role {who.role}", "save it for yourself")


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not 0 < len(name) <= NAME_MAX:
        raise BadRequest(f"a name of {len(name)} characters", f"1 … {NAME_MAX}")
    return name


def _address(text: str) -> str:
    if not text.startswith("#/") or len(text) > ADDRESS_MAX:
        raise BadRequest(
            f"address {text[:80]!r}", f"what stands behind the console's own address, #/…, {ADDRESS_MAX} at most"
        )
    return text
