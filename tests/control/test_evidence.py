"""The server's ledger beside what listens to it: anchors go on whether or not anybody does."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from control.erasing import Erased, erase_stopped
from control.evidence import Evidence
from ledger.entry import Entry, encode
from ledger.errors import LogDamaged, LogLocked, NoteError
from ledger.log import Log
from ledger.personal import Salts
from ledger.verify import verify
from ledger.writer import LogWriter
from tests.plant.site import until
from twin.anchoring import Anchoring
from twin.errors import NotFound
from twin.store import Store


def test_what_a_crash_left_to_anchor_is_anchored_before_anybody_listens_and_later_anchors_are_told(
    tmp_path: Path,
) -> None:
    left = Log.open(tmp_path / "ledger", "twinloop.local/works")
    writer = LogWriter(left)
    writer.submit(encode(Entry("login", time.time_ns(), {"user": "ann"})), 0.0).result(10)
    writer.close()
    left.close()

    evidence = Evidence(tmp_path / "ledger", "works", time.time_ns)
    told = threading.Event()
    try:
        assert until(lambda: evidence.reach().anchored, lambda size: size > 0) == 1
        evidence.on_anchor = told.set
        evidence.record("login", {"user": "ben"}).result(10)
    finally:
        evidence.close()
    assert told.is_set()


def test_an_erased_person_is_named_no_more_and_everything_else_still_fits(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "ledger", "works", time.time_ns)
    for name in ("ann", "ben"):
        evidence.record("login", {"user": name, "role": "operator", "by": "password", "peer": "192.0.2.7"})
    evidence.writer.close()
    assert [e.body["user"] for _, e in evidence.entries(9, "login")] == ["ben", "ann"]
    assert b"ann" not in (tmp_path / "ledger" / "log").read_bytes()
    with pytest.raises(LogLocked):
        erase_stopped(tmp_path, "ann", "root", time.time_ns())
    evidence.close()
    assert erase_stopped(tmp_path, "ann", "root", time.time_ns()) == Erased([2], ["ann"], [])
    with pytest.raises(NotFound):
        erase_stopped(tmp_path, "ann", "root", time.time_ns())
    evidence = Evidence(tmp_path / "ledger", "works", time.time_ns)
    found = evidence.entries(9)
    assert [e.body.get("user") for _, e in found] == [None, "ben", "(erased)"]
    assert [e.body.get("peer") for _, e in found] == [None, "192.0.2.7", "192.0.2.7"]
    assert (found[0][1].kind, verify(tmp_path / "ledger").problems) == ("erasure", ())
    evidence.close()


def test_an_anchor_is_made_on_demand_and_late_ones_are_an_alarm_until_they_come(tmp_path: Path) -> None:
    now_ns = [1_700_000_000 * 10**9]
    evidence = Evidence(tmp_path / "ledger", "works", lambda: now_ns[0], Anchoring(every_s=3_600.0, alarm_s=300.0))
    told: list[str] = []
    try:
        until(lambda: evidence.anchorer.pending, lambda size: size is None)
        evidence.on_anchor = lambda: told.append(evidence.reach().alarm)
        evidence.record("login", {"user": "ann"}).result(10)
        assert evidence.reach().waits_s == 0.0
        now_ns[0] += 301 * 10**9
        assert "1 entries wait for an anchor, the oldest for 301 s: no anchor came" in evidence.reach().alarm
        until(lambda: evidence.log.signed.size, lambda size: size == 1)
        found = evidence.anchor_now(60.0)
        assert (found.anchored, found.waits_s, found.alarm) == (1, 0.0, "")
    finally:
        evidence.close()
    assert told[-1] == ""


def test_a_node_that_is_away_is_told_with_the_alarm_and_entries_are_recorded_all_the_same(tmp_path: Path) -> None:
    now_ns = [1_700_000_000 * 10**9]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        away = Anchoring(f"http://127.0.0.1:{free.getsockname()[1]}", 5, timeout_s=1.0, alarm_s=60.0)
    evidence = Evidence(tmp_path / "ledger", "works", lambda: now_ns[0], away)
    try:
        evidence.record("login", {"user": "ann"}).result(10)
        until(lambda: evidence.log.signed.size, lambda size: size == 1)
        now_ns[0] += 61 * 10**9
        found = evidence.anchor_now(60.0)
        assert (found.recorded, found.checkpointed, found.anchored) == (1, 1, 0)
        assert "cannot be reached" in found.alarm
    finally:
        evidence.close()


@pytest.fixture
def anchored(tmp_path: Path) -> Path:
    """The data folder of a server that recorded, anchored and stopped."""
    evidence = Evidence(tmp_path / "ledger", "works", time.time_ns)
    evidence.record("login", {"user": "ann"}).result(10)
    until(lambda: (evidence.anchor_now(10.0).anchored, evidence.entries(9, "chain")), lambda found: bool(found[1]))
    evidence.close()
    return tmp_path / "ledger"


def test_an_entry_says_where_the_log_is_anchored_once(anchored: Path) -> None:
    evidence = Evidence(anchored, "works", time.time_ns)
    evidence.record("login", {"user": "ben"}).result(10)
    until(lambda: evidence.anchor_now(10.0), lambda reach: reach.anchored == reach.recorded)
    named = [e.body for _, e in evidence.entries(9, "chain")]
    assert [(b["contract"], b["before"]) for b in named] == [(evidence.anchorer.receipts()[0].contract, "")]
    evidence.close()


def rewritten(ledger: Path) -> None:
    """Log, key, checkpoint and receipts are made anew around a changed entry; only the chain stays."""
    with Log.open(ledger) as old:
        size = old.size
    receipts = (ledger / "anchors.jsonl").read_text().splitlines()
    for path in ledger.iterdir():
        if path.is_file() and path.name != "salts.sqlite":
            path.unlink()
    shutil.rmtree(ledger / "tile")
    with Log.open(ledger, "twinloop.local/works") as new:
        new.append([encode(Entry("login", n, {"user": "forged"})) for n in range(size)])
        new.checkpoint()
        forged = [json.loads(line) for line in receipts]
        lines = [json.dumps(r | {"root": "0x" + new.root(r["size"]).hex()}, sort_keys=True) for r in forged]
    (ledger / "anchors.jsonl").write_text("".join(line + "\n" for line in lines))
    Log.open(ledger).close()  # by itself it is sound


def unchained(ledger: Path) -> None:
    shutil.rmtree(ledger / "chain")


def shortened(ledger: Path) -> None:
    with contextlib.closing(sqlite3.connect(ledger / "chain" / "chain.sqlite")) as db, db:
        db.execute("DELETE FROM receipt")


@pytest.mark.parametrize("attack", [rewritten, unchained, shortened])
def test_a_log_that_contradicts_its_chain_is_not_opened(anchored: Path, attack: Callable[[Path], None]) -> None:
    attack(anchored)
    with pytest.raises(LogDamaged, match="chain"):
        Evidence(anchored, "works", time.time_ns)
    with Log.open(anchored):
        pass  # nothing holds it


def test_whoever_begins_another_chain_leaves_a_second_entry(anchored: Path) -> None:
    first = json.loads((anchored / "anchors.jsonl").read_text().splitlines()[0])["contract"]
    shutil.rmtree(anchored / "chain")
    (anchored / "anchors.jsonl").unlink()
    assert "has no receipt of contract" in str(verify(anchored).problems)
    evidence = Evidence(anchored, "works", time.time_ns)
    named = until(lambda: (evidence.anchor_now(10.0), evidence.entries(9, "chain"))[1], lambda found: len(found) == 2)
    assert named[0][1].body["before"] == first
    evidence.close()
    assert verify(anchored).problems == ()


def test_a_salt_that_went_while_nothing_followed_the_log_leaves_no_number_in_the_index(
    anchored: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(Salts(anchored)) as salts:
        salts.erase("ann")
    evidence = Evidence(anchored, "works", time.time_ns)
    evidence.index.ready()
    rows = evidence.index._con.execute("SELECT DISTINCT author_tag, actor_tag FROM ledger_index.entries").fetchall()
    assert {tag for row in rows for tag in row} <= {None, 0}
    evidence.close()
    evidence = Evidence(anchored, "works", time.time_ns)  # and it is whole
    assert [e.body.get("user") for _, e in evidence.entries(9, "login")] == ["(erased)"]
    assert "made anew" not in caplog.text
    evidence.close()


def test_a_line_of_a_witness_that_is_none_refuses_the_start_and_holds_nothing(tmp_path: Path) -> None:
    Log.open(tmp_path / "ledger", "twinloop.local/works").close()
    (tmp_path / "ledger" / "witnesses").write_text("http://x nonsense\n")
    with Store(tmp_path / "history.duckdb", beside=tmp_path / "index") as store:
        with pytest.raises(NoteError, match="witnesses, line 1"):
            Evidence(tmp_path / "ledger", "works", time.time_ns, history=store)
        assert store.batches_from(0) == []
