"""History against the ledger: what was changed, removed or added behind its back is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.evidence import Evidence
from control.history_check import check_history
from twin.history import History
from twin.readings import Readings
from twin.store import Store


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[Store, Evidence]]:
    """Three recorded batches."""
    evidence = Evidence(tmp_path / "ledger", "test", time.time_ns, lambda: None)
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
        evidence = Evidence(tmp_path / "ledger", "test", time.time_ns, lambda: None)
        before = check_history(store, [])
        assert (before["batches"], before["waiting"], before["ok"]) == (0, 1, True)
        assert evidence.catch_up(store) == 1
        evidence.writer.close()
        entries = [e for _, e in evidence.entries(10)]
        assert [e.body["batch"] for e in entries][-1] == 0
        evidence.close()
