"""The server's ledger beside what listens to it: anchors go on whether or not anybody does."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from control.erasing import Erased, erase_stopped
from control.evidence import Evidence
from ledger.entry import Entry, encode
from ledger.errors import LogLocked
from ledger.log import Log
from ledger.verify import verify
from ledger.writer import LogWriter
from tests.plant.site import until
from twin.anchoring import Anchoring
from twin.errors import NotFound


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
