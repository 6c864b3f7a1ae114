"""Alarms at work: every step durable, in the ledger and told, in order; over failing disks, restarts and kills."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from control.alarm_audit import as_entry
from control.alarm_read import AlarmReader
from control.alarm_store import AlarmStore, Taken, Wanted
from control.alarms import Alarms
from control.api.alarm_verbs import record_of
from control.api.part import Parts
from control.evidence import ALARM
from ledger.entry import Entry, encode
from tests.control.alarm_site import alarm_site, plant, problems
from tests.control.plants import until
from twin import quality
from twin.alarms import Shelf, Step
from twin.errors import Conflict, Unavailable
from twin.points import Point, Points

pytestmark = pytest.mark.usefixtures("typed_events")

HOUR = 3600 * 1_000_000_000
GOLDEN = Path(__file__).parents[1] / "ledger/golden/alarm_entry_v1.json"


async def test_a_step_is_on_disk_in_the_ledger_and_told(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(2)) as site:
        site.say(11.0, 0)
        site.say(1.0, 0)
        await until(site.words, lambda w: w == ["t0 active", "t0 cleared"])
        row = site.alarms.book.row("t0.level:high")
        (outcome,) = await site.alarms.say([row], lambda _: site.alarms.said(Step.ACKNOWLEDGED, "anna", "seen"))
        assert outcome.problem is None and outcome.state.acked_by == "anna"
        assert [(c["n"], c["step"]) for c in site.told()] == [(1, "active"), (2, "cleared"), (3, "acknowledged")]
        await until(lambda: site.evidence.entries(10, ALARM), lambda found: len(found) == 3)
        bodies = [e.body for _, e in site.evidence.entries(10, ALARM)][::-1]
        assert bodies == [as_entry(s) for s in await site.steps()]
        assert (bodies[2]["by"], bodies[2]["reason"], bodies[0]["value"]) == ("anna", "seen", 11.0)
    assert problems(tmp_path) == []


async def test_a_step_is_kept_and_told_while_somebody_reads_a_long_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, done = threading.Event(), threading.Event()
    read = AlarmReader.steps

    def slow(reader: AlarmReader, wanted: Wanted) -> list[Taken]:
        begun.set()
        assert done.wait(30)
        return read(reader, wanted)

    async with alarm_site(tmp_path, plant(2)) as site:
        monkeypatch.setattr(AlarmReader, "steps", slow)
        reading = asyncio.create_task(site.alarms.history(Wanted()))
        await until(begun.is_set, bool)
        site.say(11.0, 0)
        try:
            await until(site.told, lambda told: [c["step"] for c in told] == ["active"])
        finally:
            done.set()
        assert [s.step for s in await reading] == ["active"]


async def test_alarms_are_listed_and_told_without_a_look_into_the_plant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(points: Points, identity: int) -> Point:
        raise AssertionError(f"{identity} was looked up in {points}")

    async with alarm_site(tmp_path, plant(2)) as site:
        unit = site.live.plant.point("t0.level").unit
        monkeypatch.setattr(Points, "__getitem__", refused)
        site.say(11.0, 0)
        await until(site.words, lambda w: w == ["t0 active"])
        record = record_of(cast(Parts, SimpleNamespace(alarms=site.alarms)), 0)
        (change,) = site.told()
        assert record.unit == unit == cast(dict[str, object], change["alarm"])["unit"] != ""


async def test_history_has_all_that_happened_before_it_was_asked(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(2)) as site:
        site.say(11.0, 0)
        assert await site.words() == ["t0 active"]


def test_the_entry_of_a_step_is_written_as_it_was_in_version_1() -> None:
    step = Taken(
        7, 1_795_300_000_123_456_789, "t0.level:high", "t0.level", "t0", "high", "shelved", False, "anna", "meter cleaned",
        None, 1_795_303_600_123_456_789, 2,
    )  # fmt: skip
    active = Taken(
        8, 1_795_300_000_123_456_790, "t1.level:high", "t1.level", "t1", "low", "active", True, "", "", 11.5, None, 1
    )  # fmt: skip
    lines = [encode(Entry(ALARM, s.time, as_entry(s), version=1)).decode() for s in (step, active)]
    assert lines == json.loads(GOLDEN.read_text())


async def test_what_comes_and_goes_between_two_looks_is_not_lost(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(1)) as site:
        for _ in range(50):
            site.say(11.0, 0)
            site.say(1.0, 0)
        await until(site.words, lambda w: w == ["t0 active", "t0 cleared"] * 50)


async def test_a_thousand_alarms_at_once_stay_in_order_and_none_is_lost(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(1000)) as site:
        for tank in range(1000):
            site.say(11.0, tank)
            if tank % 20 == 0:
                await asyncio.sleep(0)  # as batches come
        await until(lambda: len([c for c in site.told() if c["step"] == "active"]), lambda n: n == 1000)
        told = [c["alarm"]["twin"] for c in site.told()]  # type: ignore[index]
        assert told == [f"t{n}" for n in range(1000)]
        kept = [s for s in await site.steps() if s.step == "active"]
        assert [s.twin for s in kept] == told
        floods = [s for s in await site.steps() if s.step == "flood"]
        assert len(floods) == 1 and floods[0].n == 12 and site.alarms.flooded  # the eleventh is one too many
        rows = [site.alarms.book.row(f"t{n}.level:high") for n in range(1000)]
        outcomes = await site.alarms.say(rows, lambda _: site.alarms.said(Step.ACKNOWLEDGED, "anna", ""))
        assert all(o.problem is None for o in outcomes)
        await until(lambda: len(site.evidence.entries(3000, ALARM)), lambda n: n == 2001)
    assert problems(tmp_path) == []


async def test_everything_stands_after_a_restart_as_it_did_and_what_was_active_is_unsure(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(3)) as site:
        site.say(11.0, 0, 1)
        say, said = site.alarms.say, site.alarms.said
        await say([0], lambda _: said(Step.ACKNOWLEDGED, "anna", ""))
        await say([1], lambda _: said(Step.SHELVED, "anna", "why", until=time.time_ns() + HOUR))
        await say([2], lambda _: said(Step.REMOVED, "emma", "broken"))
    async with alarm_site(tmp_path, plant(3), good=False) as site:
        await until(site.words, lambda w: w[-2:] == ["t0 unsure", "t1 unsure"])
        states = [site.alarms.book.state(row) for row in range(3)]
        assert [(s.active, s.unsure, s.acked, s.shelf) for s in states[:2]] == [
            (True, True, True, Shelf.UNSHELVED), (True, True, False, Shelf.TIMED)
        ]  # fmt: skip
        assert states[2].out_of_service and states[0].acked_by == "anna"
        site.say(1.0, 0)
        await until(site.words, lambda w: w[-2:] == ["t0 sure", "t0 cleared"])
    assert problems(tmp_path) == []


async def test_rates_are_of_the_time_in_which_a_server_ran(tmp_path: Path) -> None:
    begun = time.time_ns()
    async with alarm_site(tmp_path, plant(2)) as site:
        site.say(11.0, 0)
        await until(site.words, lambda w: w == ["t0 active"])
    stopped = time.time_ns()
    await asyncio.sleep(1.0)
    again = time.time_ns()
    async with alarm_site(tmp_path, plant(2)) as site:
        found = await site.alarms.statistics(begun - HOUR, time.time_ns())
        ran_s = (stopped - begun + time.time_ns() - again) / 1e9
        assert 0 < found.watched_s < ran_s and found.mean_10min == 1.0
        assert found.per_window[0] is None and found.count == 1


async def test_an_alarm_that_the_plant_no_longer_has_is_gone_and_says_so(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(2)) as site:
        site.say(11.0, 1)
        await until(site.words, lambda w: w == ["t1 active"])
    async with alarm_site(tmp_path, plant(1)) as site:
        await until(site.words, lambda w: w == ["t1 active", "t1 gone"])
        assert site.store.states() == {}


async def test_while_the_disk_fails_alarms_are_told_at_once_and_kept_when_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.alarms.RETRY_S", 0.05)
    save, full = AlarmStore.save, [True]

    def failing(self: AlarmStore, *what: object) -> None:
        if full[0]:
            raise sqlite3.OperationalError("database or disk is full")
        save(self, *what)  # type: ignore[arg-type]

    async with alarm_site(tmp_path, plant(2)) as site:
        monkeypatch.setattr(AlarmStore, "save", failing)
        site.say(11.0, 0)
        await until(site.told, lambda t: [c["step"] for c in t] == ["active"])  # type: ignore[attr-defined]
        assert await site.steps() == [] and site.alarms.waiting == 1
        with pytest.raises(Unavailable, match="it is done"):
            await site.alarms.say([0], lambda _: site.alarms.said(Step.ACKNOWLEDGED, "anna", ""))
        assert site.alarms.book.state(0).acked
        full[0] = False
        await until(site.words, lambda w: w == ["t0 active", "t0 acknowledged"])
        assert [c["step"] for c in site.told()] == ["active", "acknowledged"]


async def test_a_shelf_ends_by_itself(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(1)) as site:
        said = site.alarms.said(Step.SHELVED, "anna", "why", until=time.time_ns() + 200_000_000)
        await site.alarms.say([0], lambda _: said)
        await until(site.words, lambda w: w == ["t0 shelved", "t0 unshelved"])


async def test_old_steps_are_let_go_but_only_those_that_the_ledger_has(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(1)) as site:
        site.say(11.0, 0)
        await until(lambda: site.evidence.entries(5, ALARM), len)  # type: ignore[arg-type]
        await until(lambda: site.alarms.on_disk(site.store.unaudited, 5), lambda rows: rows == [])
        taken = (await site.steps())[0]
        site.store.save({}, [Taken(9, taken.time, "x", "", "", "low", "active", False, "", "", None, None, 1)], ())
        assert site.store.prune(2**62) == 1
        assert [s.n for s in await site.steps()] == [9]


async def test_a_forged_and_a_removed_step_are_found(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(3)) as site:
        site.say(11.0, 0, 1, 2)
        await until(lambda: site.alarms.on_disk(site.store.unaudited, 5), lambda rows: rows == [])
        await until(lambda: site.evidence.entries(5, ALARM), lambda e: len(e) == 3)
    with sqlite3.connect(tmp_path / "alarms.sqlite") as database:
        database.execute("UPDATE steps SET by = 'nobody' WHERE n = 2")
        database.execute("DELETE FROM steps WHERE n = 3")
    # The newest is looked for only as far as the file goes: a crash may have left the last ones to the next start.
    assert [p["place"] for p in problems(tmp_path)] == ["alarm step 2"]
    with sqlite3.connect(tmp_path / "alarms.sqlite") as database:
        database.execute("UPDATE steps SET by = '' WHERE n = 2")
        database.execute("UPDATE steps SET entry = entry + 100 WHERE n = 2")
    assert [p["place"] for p in problems(tmp_path)] == ["alarm step 3"]


async def test_bad_quality_keeps_it_active_and_counts_it_blind(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(2)) as site:
        site.say(11.0, 0)
        site.say(1.0, 0, 1, code=quality.BAD_NO_COMMUNICATION)
        await until(site.words, lambda w: w == ["t0 active", "t0 unsure"])
        found = {r.twin: (r.counts["low"], r.counts["blind"]) for r in await site.alarms.rollup()}
        assert found == {"t0": (1, 1), "t1": (0, 1)}


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_any_moment_loses_no_step_that_was_told(tmp_path: Path, seed: int) -> None:
    """The child tells each step after it is durable; it is killed by SIGKILL in the middle of the next ones."""
    words = [sys.executable, "-m", "tests.control.alarm_child", str(tmp_path)]
    told: list[int] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            told.append(int(line))
            if len(told) > 40 + 37 * seed:
                child.kill()
                break
    store, reader = AlarmStore(tmp_path / "alarms.sqlite"), AlarmReader.beside(tmp_path / "alarms.sqlite")
    kept = [s.n for s in reader.steps(Wanted(limit=5_000))][::-1]
    states = store.states()
    steps = {s.alarm: s.step for s in reader.steps(Wanted(limit=5_000))[::-1] if s.alarm}
    store.close()
    reader.close()
    assert kept == list(range(1, len(kept) + 1)) and set(told) <= set(kept)
    assert {a: s.active for a, s in states.items()} == {a: step == "active" for a, step in steps.items()}

    async def again() -> None:
        async with alarm_site(tmp_path, plant(20)) as site:
            await until(lambda: site.alarms.on_disk(site.store.unaudited, 5), lambda rows: rows == [])

    asyncio.run(again())
    assert problems(tmp_path) == []


async def settled(alarms: Alarms, person: str) -> bool:
    try:
        await alarms.check_settled(person)
    except Conflict:
        return False
    return True


async def test_an_erased_person_does_not_come_back_with_the_next_step(tmp_path: Path) -> None:
    async with alarm_site(tmp_path, plant(2)) as site:
        site.say(11.0, 0)
        site.say(11.0, 1)
        await until(site.words, lambda w: len(w) == 2)
        await site.alarms.say([0, 1], lambda _: site.alarms.said(Step.ACKNOWLEDGED, "zara", ""))
        await until(lambda: len(site.evidence.entries(10, ALARM)), lambda n: n == 4)
        async with asyncio.timeout(20):
            while not await settled(site.alarms, "zara"):
                await asyncio.sleep(0.02)
        site.say(1.0, 0)  # on its way while she is erased
        await site.alarms.rename("zara", "(erased 9)")
        site.say(1.0, 1)
        await until(site.words, lambda w: len(w) == 6)
        assert [site.alarms.book.state(row).acked_by for row in (0, 1)] == ["(erased 9)"] * 2
    assert [
        p.name for p in tmp_path.rglob("*") if p.is_file() and b"zara" in p.read_bytes() and p.parent.name != "ledger"
    ] == []
