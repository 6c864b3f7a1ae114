"""The server's ledger beside what listens to it: anchors go on whether or not anybody does."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from control.evidence import Evidence
from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.writer import LogWriter
from tests.plant.site import until


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
