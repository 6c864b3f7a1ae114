"""Groups on a real PLC across restarts, and commands that wait for their time there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from control.group import GroupRequest, GroupStatus, MemberRequest, Team
from control.groups import Groups
from protocols.link import LinkState
from tests.control.plants import Bench, Pump, bench, serve_pump, until
from twin.errors import BadRequest, Conflict, NotFound

NUMBERS = count()
START = (MemberRequest("pump.status", 1.0, 0.0), MemberRequest("pump.speed", 80.0, "previous"))
BREAKS = (*START, MemberRequest("far.status", 1.0))  # that device is dead


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("typed_events")]


@pytest_asyncio.fixture(loop_scope="module")
async def pump() -> AsyncIterator[Pump]:
    """Of tests that start servers of their own."""
    served = await serve_pump()
    yield served
    await served.served.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    served = await serve_pump()
    async with bench(tmp_path_factory.mktemp("running"), served) as made:
        await ready(made)
        yield made
    await served.served.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def plc(running: Bench) -> Bench:
    """The one server of this file's tests, with nothing written so far."""
    running.pump.follows = True
    await running.pump.show(status=0.0, running=0.0, speed=100.0, mode=0.0)
    await until(lambda: running.live.table.columns.value[2], lambda v: v == 100.0)
    running.pump.writes.clear()
    return running


async def ready(plc: Bench) -> None:
    """The twin has heard the pump."""
    await until(lambda: plc.live.states["plc"], lambda s: s is LinkState.ONLINE)
    await until(lambda: plc.live.table.columns.value[2], lambda v: v == v)


def key() -> str:
    return f"key {next(NUMBERS)}"


def groups_of(plc: Bench) -> Groups:
    return Groups(plc.commands, plc.store, lambda: f"group-{time.time_ns():x}-{next(NUMBERS)}")


async def reached(groups: Groups, identity: str, wanted: GroupStatus) -> Team:
    return await until(lambda: groups.get(identity), lambda t: t.group.status is wanted)  # type: ignore[attr-defined, return-value]


async def test_a_group_is_confirmed_by_the_process_step_by_step(plc: Bench) -> None:
    groups = groups_of(plc)
    made = await groups.submit(GroupRequest(key(), START), "anna")
    done = await reached(groups, made.group.id, GroupStatus.CONFIRMED)
    assert plc.pump.writes == [("pump.status", 1.0), ("pump.speed", 80.0)]
    first, second = done.in_order
    assert first.transitions[-1].time <= second.transitions[1].time  # confirmed before the next one left
    assert [c.author for c in done.in_order] == ["anna", "anna"]


async def test_submits_of_one_key_at_once_make_one_group(plc: Bench) -> None:
    groups = groups_of(plc)
    asked = GroupRequest(key(), START)
    made = await asyncio.gather(*(groups.submit(asked, "anna") for _ in range(10)))
    assert len({t.group.id for t in made}) == 1
    await reached(groups, made[0].group.id, GroupStatus.CONFIRMED)
    assert len(plc.pump.writes) == 2
    with pytest.raises(Conflict):
        await groups.submit(GroupRequest(asked.key, START, "together"), "anna")


async def test_a_group_that_was_half_done_when_the_server_stopped_is_undone_by_the_next_one(
    tmp_path: Path, pump: Pump
) -> None:
    async with bench(tmp_path, pump) as running:
        await ready(running)
        groups = groups_of(running)
        asked = GroupRequest(key(), BREAKS, deadline_s=1.5)
        made = (await groups.submit(asked, "anna")).group.id
        await until(lambda: groups.get(made), lambda t: t.members[2].status == "QUEUED")  # type: ignore[attr-defined]
    async with bench(tmp_path, pump) as again:
        groups = groups_of(again)
        done = await reached(groups, made, GroupStatus.COMPENSATED)
        assert "step 3 (far.status) is EXPIRED" in done.group.steps[1].detail
        assert (await groups.submit(asked, "anna")).group == done.group  # the same answer for ever
    assert pump.writes == [("pump.status", 1.0), ("pump.speed", 80.0), ("pump.speed", 100.0), ("pump.status", 0.0)]


async def test_a_group_in_doubt_when_the_server_stopped_is_read_back_and_goes_on(tmp_path: Path, pump: Pump) -> None:
    pump.follows = False  # the process does not show it: the server stops with an acknowledged step
    async with bench(tmp_path, pump) as running:
        await ready(running)
        groups = groups_of(running)
        made = (await groups.submit(GroupRequest(key(), START), "anna")).group.id
        await until(lambda: groups.get(made), lambda t: t.members[0].status == "ACKNOWLEDGED")  # type: ignore[attr-defined]
    pump.follows = True
    await pump.show(status=1.0, running=1.0)
    async with bench(tmp_path, pump) as again:
        await reached(groups_of(again), made, GroupStatus.CONFIRMED)
    assert pump.writes == [("pump.status", 1.0), ("pump.speed", 80.0)]


async def test_a_step_that_the_process_does_not_follow_is_undone_too(plc: Bench) -> None:
    plc.pump.follows = False
    groups = groups_of(plc)
    made = await groups.submit(GroupRequest(key(), START), "anna")
    await until(lambda: plc.pump.writes, lambda w: len(w) == 2)  # type: ignore[arg-type]
    assert plc.pump.writes == [("pump.status", 1.0), ("pump.status", 0.0)]
    done = await reached(groups, made.group.id, GroupStatus.COMPENSATED)  # it reads 0: it never moved
    assert done.members[0].status == "FAILED" and done.members[1].status == "CANCELLED"


def of_group(plc: Bench, identity: str) -> list[object]:
    return [e.body for _, e in plc.evidence.entries(100, "group") if e.body["id"] == identity]


async def test_every_step_of_a_group_is_an_entry_of_the_ledger(plc: Bench) -> None:
    groups = groups_of(plc)
    made = await groups.submit(GroupRequest(key(), START), "anna")
    await reached(groups, made.group.id, GroupStatus.CONFIRMED)
    found = await until(lambda: of_group(plc, made.group.id), lambda b: len(b) == 2)  # type: ignore[arg-type]
    assert [b["status"] for b in found] == ["CONFIRMED", "RUNNING"]  # type: ignore[attr-defined]
    assert found[1]["members"][1] == {"point": "pump.speed", "value": 80.0, "undo": 100.0}  # type: ignore[index]
    with pytest.raises(NotFound):
        await groups.get("nobody's")


# --- commands that wait for their time -------------------------------------------------------------------------------


async def test_a_command_for_a_moment_is_sent_at_it_and_not_before(plc: Bench) -> None:
    at = time.time_ns() + 600_000_000
    made = await plc.submit("pump.speed", 50.0, key(), at=at)
    assert made.status == "SCHEDULED"
    done = await plc.until(made.id, "CONFIRMED")
    sent = next(t.time for t in done.transitions if t.status == "SENT")
    assert sent >= at


async def test_a_command_for_a_condition_is_sent_when_it_holds_and_says_what_it_saw(plc: Bench) -> None:
    made = await plc.submit("pump.status", 1.0, key(), when="pump.speed > 110 %")
    assert made.status == "SCHEDULED"
    await plc.pump.show(speed=115.0)
    done = await plc.until(made.id, "CONFIRMED")
    queued = next(t for t in done.transitions if t.status == "QUEUED")
    assert [(s.point, s.value) for s in queued.seen] == [("pump.speed", 115.0)]


async def test_a_condition_that_never_holds_expires_with_what_was_seen_last(plc: Bench) -> None:
    made = await plc.submit("pump.status", 1.0, key(), when="pump.speed > 110 %", wait_s=0.3)
    done = await plc.until(made.id, "EXPIRED")
    assert "pump.speed > 110 % does not hold: pump.speed is 100 %" in done.transitions[-1].detail
    assert [s.point for s in done.transitions[-1].seen] == ["pump.speed"]
    assert plc.pump.writes == []


async def test_a_condition_that_nobody_can_read_is_told_at_once(plc: Bench) -> None:
    with pytest.raises(BadRequest, match="sped"):
        await plc.submit("pump.status", 1.0, key(), when="pump.sped > 110 %")


async def test_a_scheduled_command_can_be_cancelled_and_is_never_sent(plc: Bench) -> None:
    made = await plc.submit("pump.speed", 50.0, key(), at=time.time_ns() + 300_000_000)
    await plc.commands.cancel(made.id, "anna", "no longer wanted")
    after = await plc.submit("pump.status", 1.0, key(), at=time.time_ns() + 600_000_000)
    await plc.until(after.id, "CONFIRMED")
    assert plc.pump.writes == [("pump.status", 1.0)]


async def test_a_scheduled_command_survives_a_restart_and_one_whose_time_passed_is_never_late(
    tmp_path: Path, pump: Pump
) -> None:
    async with bench(tmp_path, pump) as running:
        await ready(running)
        now = time.time_ns()
        missed = await running.submit("pump.speed", 50.0, key="missed", at=now + 1_500_000_000, deadline_s=0.2)
        coming = await running.submit("pump.status", 1.0, key="coming", at=now + 4_000_000_000)
        for command in (missed, coming):
            assert command.status == "SCHEDULED"
        # The server is gone before the first comes due; the test's clock goes on.
    end = now + 1_800_000_000
    while time.time_ns() < end:
        await asyncio.sleep(0.05)
    async with bench(tmp_path, pump) as again:
        late = await again.until(missed.id, "EXPIRED")
        assert "when nobody could send it" in late.transitions[-1].detail
        await again.until(coming.id, "CONFIRMED")
    assert pump.writes == [("pump.status", 1.0)]


async def test_plant_time_is_the_plants_own_clock(plc: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pump's speed stands for the clock: what it shows decides."""
    monkeypatch.setattr(plc.live, "plant", replace(plc.live.plant, clock="pump.speed"))
    made = await plc.submit("pump.status", 1.0, key(), at_plant_s=105.0)
    assert made.status == "SCHEDULED"
    assert [(s.point, s.value) for s in made.transitions[-1].seen] == [("pump.speed", 100.0)]
    await plc.pump.show(speed=105.0)
    done = await plc.until(made.id, "CONFIRMED")
    queued = next(t for t in done.transitions if t.status == "QUEUED")
    assert (queued.seen[0].point, queued.seen[0].value) == ("pump.speed", 105.0)
