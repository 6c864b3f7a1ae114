"""The index of the ledger answers who did what to which twin, follows the log, and is made anew when it must be."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from control.audit_index import INDEX_FILE, PERSONS, VIEW, AuditIndex, Wanted, names_audit
from control.entry_kinds import sealed
from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.personal import Salts

NIGHT = 1_700_000_000 * 10**9


class Works:
    """A ledger and its index in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log, self.salts = Log.open(folder / "ledger", "twinloop.local/works"), Salts(folder / "ledger")
        self.duck = duckdb.connect()
        self.index = AuditIndex(self.duck.cursor, folder / "index", self.log, self.salts)

    def record(self, kind: str, body: dict[str, Any], at_s: int = 0) -> int:
        entry = Entry(kind, NIGHT + at_s * 10**9, sealed(kind, body, self.salts.seal))
        return self.log.append([encode(entry)]).start

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.index.ready()
        with contextlib.closing(self.duck.cursor()) as con:
            con.register(PERSONS, self.index.persons())
            con.execute(VIEW)
            found: list[tuple[Any, ...]] = con.execute(sql).fetchall()
            return found

    def close(self) -> None:
        self.index.close()
        self.duck.close()
        self.salts.close()
        self.log.close()


def command(point: str, author: str, n: int = 0, status: str = "QUEUED", by: str = "", **more: Any) -> dict[str, Any]:
    return {
        "id": f"c-{point}", "n": n, "author": author, "by": by, "point": point, "device": "plc", "value": 60.0,
        "status": status, "reason": "less noise", "detail": "", **more,
    }  # fmt: skip


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    made = Works(tmp_path)
    yield made
    made.close()


def a_night(works: Works) -> None:
    works.record("server.start", {"version": "1", "plant": "works", "epoch": 1})
    works.record("command", command("pump_335.speed", "ann", by="ann"), 10)
    works.record("command", command("pump_335.speed", "ann", 1, "SENT"), 11)
    works.record("command", command("pump_335.speed", "ann", 2, "CONFIRMED"), 12)
    works.record("command", command("tank_1.valve", "ben", by="ben"), 20)
    works.record(
        "lease", {"id": "l-1", "n": 0, "holder": "ben", "by": "ben", "status": "ACTIVE", "detail": "taken",
                  "targets": ["pump_335.speed", "tank_1.valve"]}, 30,
    )  # fmt: skip
    lines = ["+ twin pump_9 dtmi:x;1", "+ relationship pump_335 feeds tank_1", '= pump_335.serial "X 1"']
    works.record("graph", {"edit": 1, "author": "eve", "count": 3, "sha256": "0", "changes": lines}, 40)
    works.record("login", {"user": "ann", "role": "operator", "by": "password", "peer": "192.0.2.1"}, 50)
    works.record("history.batch", {"batch": 0, "rows": 9, "sha256": "ab"}, 60)


def test_who_did_what_to_a_pump_last_night_is_one_statement(works: Works) -> None:
    a_night(works)
    found = works.rows(
        "SELECT DISTINCT entry, kind, action, actor, author, outcome FROM audit WHERE twin = 'pump_335' "
        "AND time >= make_timestamp_ns(1700000011000000000) ORDER BY entry"
    )
    assert found == [
        (2, "command", "SENT", "", "ann", ""),
        (3, "command", "CONFIRMED", "", "ann", "CONFIRMED"),
        (5, "lease", "ACTIVE", "ben", "ben", ""),
        (6, "graph", "edited", "eve", "", ""),
    ]
    assert works.rows("SELECT twin, point FROM audit WHERE entry = 6 ORDER BY n") == [
        ("pump_9", ""), ("pump_335", ""), ("tank_1", ""), ("pump_335", "pump_335.serial"),
    ]  # fmt: skip
    assert works.rows("SELECT DISTINCT actor FROM audit WHERE actor LIKE 'a%'") == [("ann",)]
    assert works.rows("SELECT device, value, command FROM audit WHERE entry = 1") == [("plc", 60.0, "c-pump_335.speed")]
    assert works.rows("SELECT count(DISTINCT entry) FROM audit") == [(works.log.size,)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), [8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (Wanted(kind="command"), [4, 3, 2, 1]),
        (Wanted(twin="pump_*"), [6, 5, 3, 2, 1]),
        (Wanted(point="tank_1.*"), [5, 4]),
        (Wanted(by="ann"), [7, 3, 2, 1]),
        (Wanted(by="*n", twin="tank_1"), [5, 4]),
        (Wanted(command="l-1"), [5]),
        (Wanted(command="c-pump_335.speed", before=3), [2, 1]),
        (Wanted(since_ns=NIGHT + 20 * 10**9, until_ns=NIGHT + 40 * 10**9), [5, 4]),
        (Wanted(twin="pump_33_"), []),  # SQL's own signs are plain characters
        (Wanted(by="'; DROP TABLE x"), []),
    ],
)
def test_entries_are_found_by_what_they_say(works: Works, wanted: Wanted, found: list[int]) -> None:
    a_night(works)
    assert works.index.find(wanted, 100) == found
    assert works.index.find(wanted, 2) == found[:2]


def test_an_erased_person_is_nobody_in_it_and_no_name_was_ever_written_there(works: Works) -> None:
    a_night(works)
    works.index.ready()
    tag = works.salts.tag("ann")
    works.salts.erase("ann")
    works.index.forget(tag)
    assert works.rows("SELECT DISTINCT actor FROM audit ORDER BY 1") == [("",), ("(erased)",), ("ben",), ("eve",)]
    assert works.index.find(Wanted(by="ann"), 9) == []
    again = works.record("login", {"user": "ann", "role": "operator", "by": "password", "peer": "192.0.2.1"})
    assert works.index.find(Wanted(by="ann"), 9) == [again]
    works.close()
    kept = b"".join(p.read_bytes() for p in (works.folder / "index").iterdir())
    assert b"pump_335" in kept
    assert not [name for name in (b"ann", b"ben", b"eve", b"192.0.2.1") if name in kept]
    reopened = Works(works.folder)  # what was forgotten is whole: nothing is made anew
    assert reopened.rows("SELECT count(*) FROM audit WHERE actor = '(erased)'") == [(2,)]
    reopened.close()


@contextlib.contextmanager
def reopened(works: Works) -> Iterator[Works]:
    again = Works(works.folder)
    try:
        again.index.ready()
        yield again
    finally:
        again.close()


def left(works: Works) -> Path:
    """The index's file, after all was closed."""
    a_night(works)
    works.index.ready()
    works.close()
    return works.folder / "index" / INDEX_FILE


def test_what_it_lacks_is_added_at_a_start(works: Works) -> None:
    left(works)
    with Log.open(works.folder / "ledger") as log:
        body = sealed("login", {"user": "zoe"}, lambda name: name)
        log.append([encode(Entry("login", NIGHT, body))])
    with reopened(works) as again:
        assert again.index.find(Wanted(by="zoe"), 9) == [9]
        assert again.rows("SELECT count(DISTINCT entry) FROM audit") == [(10,)]


def test_a_changed_row_is_noticed_and_all_is_made_anew(works: Works) -> None:
    path = left(works)
    with contextlib.closing(duckdb.connect(str(path))) as con:
        con.execute("UPDATE entries SET twin = 'pump_336' WHERE twin = 'pump_335'")
    with reopened(works) as again:
        assert again.index.find(Wanted(twin="pump_336"), 9) == []
        assert again.index.find(Wanted(twin="pump_335"), 9) == [6, 5, 3, 2, 1]


@pytest.mark.parametrize("place", [0, 4_096, 12_288, -2_000])
def test_a_damaged_or_missing_file_is_made_anew(works: Works, place: int) -> None:
    path = left(works)
    data = bytearray(path.read_bytes())
    data[place:][:1_000] = b""
    data[place : place + 1_000] = b"\xa5" * len(data[place : place + 1_000])
    path.write_bytes(data)
    with reopened(works) as again:
        assert again.index.find(Wanted(twin="pump_335"), 9) == [6, 5, 3, 2, 1]
    path.unlink()
    with reopened(works) as again:
        assert again.index.find(Wanted(kind="command"), 9) == [4, 3, 2, 1]


def test_the_index_of_another_log_is_made_anew(works: Works) -> None:
    path = left(works)
    other = Works(works.folder / "other")
    other.record("login", {"user": "ann"})
    other.close()
    (other.folder / "index" / INDEX_FILE).write_bytes(path.read_bytes())
    with reopened(other) as again:
        assert again.index.find(Wanted(), 9) == [0]


WRITER = """
import sys, itertools
from pathlib import Path
sys.path.insert(0, ".")
from tests.control.test_audit_index import Works, command
works = Works(Path(sys.argv[1]))
print("open", flush=True)
for n in itertools.count():
    works.record("command", command(f"pump_{n % 7}.speed", "ann", n, by="ann"))
"""


def test_it_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    for run in range(4):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        size = (tmp_path / "ledger" / "log").stat().st_size
        while (tmp_path / "ledger" / "log").stat().st_size < size + 40_000 * (run + 1):
            assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        works = Works(tmp_path)
        counted = works.rows("SELECT count(DISTINCT entry), count(*), max(entry) FROM audit")
        assert counted == [(works.log.size, works.log.size, works.log.size - 1)]
        of_pump = [i for i, payload in enumerate(works.log.entries()) if b'"point":"pump_3.speed"' in payload]
        assert works.index.find(Wanted(twin="pump_3", by="ann"), 1_000_000) == of_pump[::-1]
        works.close()


def test_a_statement_is_known_to_ask_for_it() -> None:
    assert names_audit("SELECT * FROM Audit")
    assert not names_audit("SELECT audited FROM points")
