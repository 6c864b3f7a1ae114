"""The ledger as a table: what each entry says, in DuckDB, so that "who did what to pump 335 last night" is one statement.

Derived, never truth: it follows the log, and is made anew when it is missing, damaged or of another log. No name is in
it, only numbers that the salts lead to a name (ledger/personal.py). Must not know HTTP, nor what an entry means.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from control.entry_kinds import told
from ledger.errors import LedgerError, LogClosed
from ledger.log import Log
from ledger.personal import Salts, is_sealed
from twin.duck import one, quoted, registered, transaction
from twin.errors import Unavailable

INDEX_FILE = "audit.duckdb"
NAME = "ledger_index"  # of the attached database
VERSION = 1  # another one: made anew
EVERY_S = 0.5  # how far it may lag behind the log when nobody asks
AT_ONCE = 20_000  # entries of one transaction: 0.2 s of work, 10 MB
READY_S = 15.0  # how long a question waits for entries that are not in it yet
ERASED = 0  # the tag of whoever cannot be opened
ERASED_NAME = "(erased)"  # shown for a person whose salts were deleted
_SCHEMA = f"""
CREATE TABLE {NAME}.state (version INTEGER, origin VARCHAR, upto BIGINT, root VARCHAR, row_count BIGINT, digest UBIGINT);
CREATE TABLE {NAME}.entries (
  entry BIGINT, n INTEGER, time_ns BIGINT, kind VARCHAR, action VARCHAR, actor_tag UBIGINT, actor VARCHAR,
  author_tag UBIGINT, author VARCHAR, twin VARCHAR, device VARCHAR, point VARCHAR, value DOUBLE, subject VARCHAR,
  command VARCHAR, outcome VARCHAR, reason VARCHAR, detail VARCHAR);
"""
_XOR = "coalesce(bit_xor(hash(e)), 0)"
PERSONS = "audit_persons"
NO_PERSONS = pa.table({"tag": pa.array([], pa.uint64()), "name": pa.array([], pa.string())})
VIEW = f"""
CREATE OR REPLACE TEMP VIEW audit AS
SELECT e.entry, e.n, make_timestamp_ns(e.time_ns) AS time, e.kind, e.action,
  CASE WHEN e.actor_tag IS NULL THEN e.actor ELSE coalesce(a.name, '{ERASED_NAME}') END AS actor,
  CASE WHEN e.author_tag IS NULL THEN e.author ELSE coalesce(b.name, '{ERASED_NAME}') END AS author,
  e.twin, e.device, e.point, e.value, e.subject, e.command, e.outcome, e.reason, e.detail
FROM {NAME}.entries e LEFT JOIN {PERSONS} a ON a.tag = e.actor_tag LEFT JOIN {PERSONS} b ON b.tag = e.author_tag
"""
"""`audit` over the index and the persons who can be opened: one row for each twin or point that an entry touches."""
_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("entry", pa.int64()), ("n", pa.int32()), ("time_ns", pa.int64()), ("kind", pa.string()), ("action", pa.string()),
    ("actor_tag", pa.uint64()), ("actor", pa.string()), ("author_tag", pa.uint64()), ("author", pa.string()),
    ("twin", pa.string()), ("device", pa.string()), ("point", pa.string()), ("value", pa.float64()),
    ("subject", pa.string()), ("command", pa.string()), ("outcome", pa.string()), ("reason", pa.string()),
    ("detail", pa.string()),
)  # fmt: skip
_AUDIT = re.compile(rf"\b(audit|{NAME})\b", re.IGNORECASE)
log = logging.getLogger("twinloop.index")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: all that fit everything given.

    Attributes:
        kind, twin, point, command: as the index has them; `*` stands for any characters. `command` also finds leases
            and groups by their id.
        by: who did it, or on whose behalf; `*` as above.
        since_ns, until_ns: from … to before, ns since 1970 UTC.
        before: only entries of a smaller index: the page after.
    """

    kind: str = ""
    twin: str = ""
    point: str = ""
    command: str = ""
    by: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    before: int | None = None

    def where(self) -> tuple[str, list[object]]:
        """As SQL over the view `audit`, and its values."""
        terms: list[str] = ["TRUE"]
        values: list[object] = []
        for columns, word in (
            (("kind",), self.kind), (("twin",), self.twin), (("point",), self.point),
            (("command", "subject"), self.command), (("actor", "author"), self.by),
        ):  # fmt: skip
            if word:
                like = "LIKE ? ESCAPE '\\'" if "*" in word else "= ?"
                terms.append(f"({' OR '.join(f'{c} {like}' for c in columns)})")
                values += [_pattern(word)] * len(columns)
        for term, value in (
            ("time >= make_timestamp_ns(?)", self.since_ns),
            ("time < make_timestamp_ns(?)", self.until_ns),
            ("entry < ?", self.before),
        ):
            if value is not None:
                terms.append(term)
                values.append(value)
        return " AND ".join(terms), values


def names_audit(sql: str) -> bool:
    """Whether a statement may be about the ledger's entries."""
    return _AUDIT.search(sql) is not None


def _pattern(word: str) -> str:
    if "*" not in word:
        return word
    plain = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return plain.replace("*", "%")


def attach(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """To read: it is as far as whoever wrote it last has brought it."""
    con.execute(f"ATTACH {quoted(str((folder / INDEX_FILE).resolve()))} AS {NAME} (READ_ONLY)")


class AuditIndex:
    """Attached to a DuckDB instance, which may be history's; a thread of its own follows the log.

    Args:
        connect: gives a connection to the instance, one for each thread that asks.
        folder: the instance may write here.
    """

    def __init__(
        self, connect: Callable[[], duckdb.DuckDBPyConnection], folder: Path, ledger: Log, salts: Salts
    ) -> None:
        self._connect, self._folder, self._log, self._salts = connect, folder, ledger, salts
        self._one = threading.Lock()  # whoever writes
        self._con = connect()
        self._upto = 0
        self._checked = False  # what an earlier run left is what the log says
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._said = ""
        self._attach()
        self._thread = threading.Thread(target=self._follow, name="audit-index", daemon=True)
        self._thread.start()

    @property
    def upto(self) -> int:
        """How many entries are in it."""
        return self._upto

    def bytes_on_disk(self) -> int:
        return sum(p.stat().st_size for p in self._folder.glob("*") if p.is_file())

    def ready(self, wait_s: float = READY_S) -> None:
        """Everything that is durable now is in it.

        Raises:
            Unavailable: not within that time.
        """
        if self._upto >= self._log.size and self._checked:
            return
        if not self._one.acquire(timeout=wait_s):
            raise Unavailable(
                f"the index of the ledger holds {self._upto:,} of {self._log.size:,} entries", "ask again in a while"
            )
        try:
            self._catch_up()
        except duckdb.Error as error:
            raise Unavailable(
                f"the index of the ledger cannot be made: {error}", "see whether the disk is full"
            ) from error
        finally:
            self._one.release()

    def persons(self) -> pa.Table:
        """Who stands behind the numbers, as the table that VIEW joins."""
        tags = self._salts.tags()
        return pa.table({"tag": pa.array(tags.values(), pa.uint64()), "name": pa.array(tags, pa.string())})

    def find(self, wanted: Wanted, last: int) -> list[int]:
        """Indexes of the newest entries that fit, newest first; what is durable now is among them.

        Raises:
            Unavailable.
        """
        where, values = wanted.where()
        rows = self.ask(f"SELECT DISTINCT entry FROM audit WHERE {where} ORDER BY entry DESC LIMIT {int(last)}", values)
        return [int(row[0]) for row in rows]

    def ask(self, sql: str, values: Sequence[object] | Mapping[str, object]) -> list[tuple[Any, ...]]:
        """A SELECT of ours over the view `audit`; what is durable now is in it.

        Raises:
            Unavailable.
        """
        self.ready()
        with contextlib.closing(self._connect()) as con, registered(con, **{PERSONS: self.persons()}):
            con.execute(VIEW)
            try:
                found: list[tuple[Any, ...]] = con.execute(sql, values).fetchall()
                return found
            except duckdb.Error as error:
                self._checked = False  # looked through, and made anew when it is damaged
                raise Unavailable(f"the index of the ledger cannot be read: {error}", "ask again in a while") from error

    def forget(self, tag: int) -> None:
        """A person was erased: their entries are nobody's from now on."""
        with self._one:
            self._catch_up()
            self._forget([tag])

    def close(self) -> None:
        """As far as it has come."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        with self._one:
            with contextlib.suppress(duckdb.Error):
                self._con.execute(f"DETACH {NAME}")
            self._con.close()

    # --- the work ----------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._stop.is_set():
            with self._one:
                try:
                    self._catch_up()
                    self._said = ""
                except (LogClosed, Unavailable, duckdb.Error, LedgerError, OSError) as error:
                    if self._said != str(error):
                        log.error("the index of the ledger does not follow: %s", error)
                    self._said = str(error)
            self._wake.wait(EVERY_S)

    def _catch_up(self) -> None:
        """Under the lock. What does not fit is made anew."""
        try:
            if not self._checked:
                self._check()
            self._append_all()
        except duckdb.Error as error:
            log.warning("the index of the ledger is made anew: %s", str(error).splitlines()[0])
            self._anew()
            self._append_all()

    def _attach(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._con.execute(f"ATTACH {quoted(str((self._folder / INDEX_FILE).resolve()))} AS {NAME}")
            held = self._con.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [NAME]
            ).fetchall()
            if {"state", "entries"} - {row[0] for row in held}:
                self._make()
        except duckdb.Error as error:
            log.warning("the index of the ledger is made anew: %s", str(error).splitlines()[0])
            self._anew()

    def _make(self) -> None:
        with transaction(self._con):
            self._con.execute(f"DROP TABLE IF EXISTS {NAME}.state; DROP TABLE IF EXISTS {NAME}.entries")
            self._con.execute(_SCHEMA)
            row = [VERSION, self._origin(), 0, self._log.root(0).hex()]
            self._con.execute(f"INSERT INTO {NAME}.state VALUES (?, ?, ?, ?, 0, 0)", row)
        self._upto, self._checked = 0, True

    def _anew(self) -> None:
        self._upto, self._checked = 0, False
        with contextlib.suppress(duckdb.Error):
            self._con.execute(f"DETACH DATABASE IF EXISTS {NAME}")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._con.execute(f"ATTACH {quoted(str((self._folder / INDEX_FILE).resolve()))} AS {NAME}")
        self._make()

    def _origin(self) -> str:
        return self._log.verifier.name

    def _check(self) -> None:
        """Whether what an earlier run left is of this log and whole: every row is read once."""
        state = one(self._con, f"SELECT version, origin, upto, root, row_count, digest FROM {NAME}.state")
        found = one(self._con, f"SELECT count(*), {_XOR} FROM {NAME}.entries e")
        if state is None or found is None or tuple(found) != tuple(state[4:]):
            raise duckdb.Error("its rows are not those that were written")
        version, origin, upto, root = state[:4]
        size = self._log.size
        if (version, origin) != (VERSION, self._origin()) or upto > size or self._log.root(upto).hex() != root:
            raise duckdb.Error(f"it is of another log, or of another version ({upto:,} entries)")
        self._upto = int(upto)
        if gone := self._gone():
            self._forget(gone)
        self._checked = True  # last: from here on it is ready for who asks

    def _forget(self, tags: list[int]) -> None:
        with transaction(self._con):
            for column in ("actor_tag", "author_tag"):
                said = f"UPDATE {NAME}.entries SET {column} = {ERASED} WHERE {column} IN (SELECT unnest(?::UBIGINT[]))"
                self._con.execute(said, [tags])
            self._con.execute(f"UPDATE {NAME}.state SET digest = (SELECT {_XOR} FROM {NAME}.entries e)")
        self._con.execute(f"CHECKPOINT {NAME}")

    def _gone(self) -> list[int]:
        """Numbers of persons whom nobody knows any more: they were erased while nothing followed the log."""
        rows = self._con.execute(
            f"SELECT actor_tag FROM {NAME}.entries UNION SELECT author_tag FROM {NAME}.entries"
        ).fetchall()
        return sorted({int(tag) for (tag,) in rows if tag} - set(self._salts.tags().values()))

    def _append_all(self) -> None:
        while (start := self._upto) < (size := self._log.size) and not self._stop.is_set():
            stop = min(start + AT_ONCE, size)
            table = self.rows(start, self._log.payloads(start, stop))
            with registered(self._con, fresh=table), transaction(self._con):
                self._con.execute(f"INSERT INTO {NAME}.entries SELECT * FROM fresh")
                self._con.execute(
                    f"UPDATE {NAME}.state SET upto = ?, root = ?, row_count = row_count + {table.num_rows}, "
                    f"digest = xor(digest, (SELECT {_XOR} FROM fresh e))",
                    [stop, self._log.root(stop).hex()],
                )
            self._upto = stop

    def rows(self, start: int, payloads: Sequence[bytes]) -> pa.Table:
        """What the index has of the entries from `start` on."""
        columns: list[list[Any]] = [[] for _ in _COLUMNS]
        for row in _rows(start, payloads, self._tagged):
            for column, cell in zip(columns, row, strict=True):
                column.append(cell)
        return pa.table({n: pa.array(c, t) for (n, t), c in zip(_COLUMNS, columns, strict=True)})

    def _tagged(self, name: str) -> tuple[int | None, str]:
        """(tag, name): of a sealed person the number, of others the name."""
        if not is_sealed(name):
            return None, name
        subject = self._salts.opened(name)
        return (ERASED if subject is None else self._salts.tag(subject)), ""


def _rows(start: int, payloads: Sequence[bytes], tagged: Callable[[str], tuple[int | None, str]]) -> Iterator[Any]:
    for entry, payload in enumerate(payloads, start):
        fields = msgspec.json.decode(payload)
        kind, time_ns = fields["kind"], fields["time_ns"]
        t = told(kind, fields["body"])
        actor, author = tagged(t.actor), tagged(t.author)
        for n, (twin, point) in enumerate(t.touched):
            yield (
                entry, n, time_ns, kind, t.action, *actor, *author, twin, t.device, point, t.value, t.subject, t.command,
                t.outcome, t.reason, t.detail,
            )  # fmt: skip
