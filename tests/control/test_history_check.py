"""History against the ledger: what was changed, removed or added behind its back is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from control.evidence import HISTORY_RETENTION, Evidence
from control.history_check import check_history
from ledger.entry import Entry
from twin.history import History
from twin.readings import Readings
from twin.retention import HOUR_NS, Expiry, Retention
from twin.store import Store
from twin.upkeep import Upkeep


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[Store, Evidence]]:
    """Three recorded batches."""
    evidence = Evidence(tmp_path / "ledger", "test", time.time_ns)
    with Store(tmp_path / "history.duckdb") as store:
        history = History(store, ["a.x", "b.y"], evidence.record_batch)
        for n in range(3):
            history.record(Readings.of([0, 1], [float(n), 5.0], n))
            history.flush().result(10)
        history.close()
        evidence.writer.close()
        yield store, evidence
    evidence.close()


def problems(store: Store, evidence: Evidence) -> list[str]:
    found = check_history(store, (e for _, e in evidence.entries(1000)))
    assert found["ok"] is not bool(found["problems"])
    return [f"{p['place']}: {p['what']}" for p in found["problems"]]


def test_untouched_history_fits(parts: tuple[Store, Evidence]) -> None:
    assert problems(*parts) == []


ADDED = "INSERT INTO readings VALUES ({}, 0, 1, 9.0, NULL, 0, 1, 1, false)"


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("UPDATE readings SET value = 7 WHERE batch = 1 AND row = 0", "history batch 1: its rows are not what"),
        ("DELETE FROM readings WHERE batch = 2", "history batch 2: its rows are gone"),
        (ADDED.format(0), "history batch 0: its rows are not what"),
        (ADDED.format(3), "history batch 3: its rows are not in the ledger"),
        (ADDED.format(-1), "history batch -1: its rows are not in the ledger"),
        (ADDED.format(10**12), f"history batch {10**12}: its rows are not in the ledger"),
    ],
)
def test_tampering_is_found_and_located(parts: tuple[Store, Evidence], tampering: str, said: str) -> None:
    parts[0].cursor().execute(tampering)
    found = problems(*parts)
    assert len(found) == 1
    assert found[0].startswith(said)


def test_a_batch_that_a_crash_kept_from_the_ledger_waits_and_is_caught_up(tmp_path: Path) -> None:
    with Store(tmp_path / "history.duckdb") as store:
        history = History(store, ["a.x"], lambda _: None)  # the crash: committed, never recorded
        history.record(Readings.of([0], [1.0], 1))
        history.close()
        evidence = Evidence(tmp_path / "ledger", "test", time.time_ns)
        before = check_history(store, [])
        assert (before["batches"], before["waiting"], before["ok"]) == (0, 1, True)
        assert evidence.catch_up(store) == 1
        evidence.writer.close()
        entries = [e for _, e in evidence.entries(10)]
        assert [e.body["batch"] for e in entries][-1] == 0
        evidence.close()


def test_batches_that_were_let_go_on_record_have_expired_and_all_others_are_missed(
    parts: tuple[Store, Evidence],
) -> None:
    store, evidence = parts
    con = store.cursor()
    expiry = Upkeep(Retention(raw=HOUR_NS), lambda: 2 * HOUR_NS, lambda _: True).drop(con)
    assert expiry == Expiry(0, 2, 3, 6, 2, 2)
    entries = [e for _, e in evidence.entries(1000)]
    assert check_history(store, entries)["problems"][0]["what"] == "its rows are gone"
    let_go = Entry(HISTORY_RETENTION, 1, {"first": 0, "last": 1, "batches": 2, "rows": 4})
    found = check_history(store, [*entries, let_go])
    assert (found["expired"], found["ok"]) == (2, False)
    assert [p["place"] for p in found["problems"]] == ["history batch 2"]


def test_the_server_puts_a_loss_on_record_before_it_happens(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "ledger", "test", time.time_ns)
    with Store(tmp_path / "history.duckdb") as store:
        now = [0]
        upkeep = Upkeep(Retention(raw=HOUR_NS), lambda: now[0], evidence.record_retention)
        history = History(store, ["a.x"], evidence.record_batch, upkeep)
        for n in range(4):
            history.record(Readings.of([0], [float(n)], n * HOUR_NS))
            history.flush().result(10)
        now[0] = 3 * HOUR_NS
        until_s = time.monotonic() + 20
        while (found := check_history(store, (e for _, e in evidence.entries(1000))))["expired"] < 2:
            assert time.monotonic() < until_s, found
            history.flush().result(10)
        history.close()
        assert found["problems"] == []
        evidence.writer.close()
        entry = evidence.entries(10, HISTORY_RETENTION)[0][1]
        assert entry.body["last"] == 1
        evidence.close()


def test_a_loss_that_cannot_be_put_on_record_does_not_happen(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "ledger", "test", time.time_ns)
    evidence.close()
    assert not evidence.record_retention(Expiry(0, 2, 3, 6, 2, 2))


COLUMNS = {"value": "<f8", "quality": "<u4", "source_time": "<i8", "received_time": "<i8", "series": "<i4"}


def test_every_flipped_byte_of_every_batch_is_found_in_its_batch(parts: tuple[Store, Evidence]) -> None:
    con = parts[0].cursor()
    rows = con.execute("SELECT batch, row FROM readings ORDER BY ALL").fetchall()
    assert len(rows) == 6
    for column, kind in COLUMNS.items():
        for batch, row in rows:
            at = f"FROM readings WHERE batch = {batch} AND row = {row}"
            kept = con.execute(f"SELECT {column} {at}").fetchnumpy()[column].astype(kind)
            for position in range(kept.itemsize):
                flipped = bytearray(kept.tobytes())
                flipped[position] ^= 1 << (position + row) % 8
                put = f"UPDATE readings SET {column} = ? WHERE batch = {batch} AND row = {row}"
                con.execute(put, [np.frombuffer(bytes(flipped), kind)[0].item()])
                found = problems(*parts)
                assert [said.partition(":")[0] for said in found] == [f"history batch {batch}"], (column, position)
                con.execute(put, [kept[0].item()])
    assert problems(*parts) == []
