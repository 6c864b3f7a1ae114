"""Promotions reach the ledger once each, whoever carries them and whenever it crashed; a changed record is found."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from control import model_audit
from control.evidence import MODEL, Evidence
from control.model_audit import MARK, Promotions, check_promotions, record_stopped, waits
from control.models import carry
from control.places import LEDGER, MODELS
from ledger.entry import Entry, decode, encode
from ledger.log import Log
from ledger.verify import verify
from ml.registry import RECORD, Registry
from tests.control.plants import until
from tests.ml.test_registry import a_model, contest, two


def a_ledger(data: Path, entries: int = 3) -> None:
    """As a server leaves it."""
    with Log.open(data / LEDGER) as ledger:
        ledger.append([encode(Entry("point", n, {"n": n})) for n in range(entries)])
        ledger.checkpoint()


def recorded(data: Path) -> dict[int, Entry]:
    with Log.open(data / LEDGER) as ledger:
        return {k: decode(ledger.read(k)) for k in range(ledger.size)}


def digests(data: Path) -> list[str]:
    return [str(e.body["digest"]) for e in recorded(data).values() if e.kind == MODEL]


def test_promotions_of_a_stopped_server_become_entries_once(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    registry, first, second = two(tmp_path / MODELS)
    assert record_stopped(tmp_path) == 3 and record_stopped(tmp_path) == 0
    registry.promote(second, contest(first), "bob", "better", 50)
    assert waits(tmp_path) == 1 and record_stopped(tmp_path) == 1
    (tmp_path / MODELS / MARK).unlink()  # it saves time, no more
    assert record_stopped(tmp_path) == 0
    assert digests(tmp_path) == [p.digest for p in registry.record()]
    last = recorded(tmp_path)[6]
    assert last.time_ns == 50 and last.body["by"] == "bob" and last.body["contest"]["p"] == 0.01  # type: ignore[index, call-overload]
    assert not verify(tmp_path / LEDGER).problems


def test_a_crash_between_entry_and_mark_records_nothing_twice(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    registry, first, second = two(tmp_path / MODELS)
    record_stopped(tmp_path)
    mark = (tmp_path / MODELS / MARK).read_bytes()
    registry.promote(second, contest(first), "bob", "better", 50)
    record_stopped(tmp_path)
    (tmp_path / MODELS / MARK).write_bytes(mark)
    assert record_stopped(tmp_path) == 0
    (tmp_path / MODELS / MARK).write_text('{"rows": 99, "entry": 1}')  # of another ledger
    assert record_stopped(tmp_path) == 0


def test_without_a_ledger_nothing_is_recorded(tmp_path: Path) -> None:
    two(tmp_path / MODELS)
    assert record_stopped(tmp_path) == 0 and not (tmp_path / LEDGER).exists()


async def test_a_running_server_carries_what_the_command_line_promotes(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / LEDGER, "works", time.time_ns)
    try:
        registry, first, second = two(tmp_path / MODELS)
        task = asyncio.create_task(Promotions(tmp_path, evidence).run())
        await until(lambda: evidence.log.size, lambda n: n == 3)
        registry.promote(second, contest(first), "bob", "better", 50)
        await until(lambda: (evidence.log.size, waits(tmp_path)), lambda n: n == (4, 0))
        task.cancel()
        again = asyncio.create_task(Promotions(tmp_path, evidence).run())  # after a restart
        registry.add(a_model(7), "", "bob", "another", 60)
        await until(lambda: evidence.log.size, lambda n: n == 5)
        again.cancel()
    finally:
        await asyncio.to_thread(evidence.close)
    assert digests(tmp_path) == [p.digest for p in registry.record()]


def test_an_auditor_finds_what_was_changed_forged_or_removed(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    registry, first, second = two(tmp_path / MODELS)
    record_stopped(tmp_path)
    registry.promote(second, contest(first), "bob", "better", 50)
    record, entries = registry.record(), recorded(tmp_path)
    assert check_promotions(record, entries) == []  # the newest waits
    (tmp_path / MODELS / RECORD).unlink()
    two(tmp_path / MODELS)[0].promote(second, contest(first), "eve", "mine", 51)
    forged = [*record[:2], registry.record()[-1]]
    assert [p["place"] for p in check_promotions(forged, entries)] == ["promotion 2"]
    changed = check_promotions(
        [record[0], record[0].__class__(1, 11, "", "", (), "eve", "", None, "x"), record[2]], entries
    )
    assert changed[0]["what"] == "it is not what the ledger recorded"
    assert len(check_promotions([], entries)) == 3
    assert model_audit.entry(record[3])["n"] == 3


def test_a_ledger_that_takes_nothing_does_not_undo_a_promotion(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    registry, _, _ = two(tmp_path / MODELS)
    with Log.open(tmp_path / LEDGER):  # somebody else writes
        assert "takes no entry now" in carry(registry)
    assert carry(registry) == "3 ledger entries made" and carry(registry) == ""
    assert carry(Registry(tmp_path / "elsewhere")) == ""
