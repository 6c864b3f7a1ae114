"""Leases on a real PLC across restarts and a full disk: who held goes on holding, and what was promised comes about once."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from control.lease import Lease, LeaseRequest, LeaseStatus
from control.leases import Leases
from protocols.link import LinkState
from tests.control.plants import Bench, Pump, bench, serve_pump, until
from twin.errors import Conflict, NotFound, Reserved, Unavailable

NUMBERS = count()


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


def held(ttl_s: float = 1.0) -> LeaseRequest:
    return LeaseRequest(f"key {next(NUMBERS)}", ("pump.speed",), ttl_s, revert={"pump.speed": 30.0})


def leases_of(plc: Bench) -> Leases:
    return Leases(plc.commands, plc.store, time.time_ns, lambda: f"lease-{time.time_ns():x}-{next(NUMBERS)}")


async def status(leases: Leases, made: Lease, wanted: LeaseStatus) -> Lease:
    return await until(lambda: leases.get(made.id), lambda x: x.status is wanted)  # type: ignore[attr-defined, return-value]


async def test_a_lease_survives_a_restart_with_its_whole_time_and_then_reverts_once(tmp_path: Path, pump: Pump) -> None:
    async with bench(tmp_path, pump) as running:
        await ready(running)
        made = await leases_of(running).take(held(), "anna")
    async with bench(tmp_path, pump) as again:
        leases = leases_of(again)
        (found,) = await until(leases.held, len)  # type: ignore[misc, arg-type]
        assert found.id == made.id and found.beaten_at > made.until  # it was down for longer than the lease lives
        with pytest.raises(Reserved):
            await again.submit("pump.speed", 50.0)
        await status(leases, made, LeaseStatus.EXPIRED)
        done = await again.submit("pump.status", key="after")
        await again.until(done.id, "CONFIRMED")
        assert pump.writes == [("pump.speed", 30.0), ("pump.status", 1.0)]
        entries = await until(
            lambda: [e.body for _, e in again.evidence.entries(100, "lease")], lambda bodies: len(bodies) == 2
        )
        assert [(b["n"], b["status"]) for b in entries] == [(1, "EXPIRED"), (0, "ACTIVE")]  # type: ignore[attr-defined]
        assert entries[1]["revert"] == {"pump.speed": 30.0}  # type: ignore[index]


async def test_a_revert_that_was_recorded_when_the_server_stopped_is_sent_by_the_next_one(
    tmp_path: Path, pump: Pump
) -> None:
    """The device is away when the lease expires, and comes back to another server."""
    async with bench(tmp_path, pump) as running:
        await ready(running)
        await pump.served.stop()
        await until(lambda: running.live.states["plc"], lambda s: s is not LinkState.ONLINE)
        leases = leases_of(running)
        await status(leases, await leases.take(held(), "anna"), LeaseStatus.EXPIRED)
        assert pump.writes == []
    back = await serve_pump(pump.served.endpoint)
    try:
        async with bench(tmp_path, back) as again:
            await until(lambda: again.live.table.columns.value[2], lambda v: v == 30.0)
            assert back.writes == [("pump.speed", 30.0)]
    finally:
        await back.served.stop()


async def test_a_heartbeat_keeps_a_lease_and_costs_no_commit(plc: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    leases = leases_of(plc)
    made = await leases.take(held(), "anna")
    await until(plc.store.unaudited, lambda left: not left)
    saved: list[object] = []
    monkeypatch.setattr(plc.store, "save", lambda *values: saved.append(values))
    end = time.monotonic() + 2.0  # twice as long as it lives without
    while time.monotonic() < end:
        assert (await leases.beat(made.id, "anna")).status is LeaseStatus.ACTIVE
        await asyncio.sleep(0.1)
    assert saved == []
    monkeypatch.undo()
    await leases.release(made.id, "anna")
    with pytest.raises(Conflict, match="is RELEASED"):
        await leases.beat(made.id, "anna")
    with pytest.raises(NotFound):
        await leases.beat("nobody's", "anna")


async def test_takes_of_one_key_at_once_make_one_lease(plc: Bench) -> None:
    leases = leases_of(plc)
    asked = held()
    made = await asyncio.gather(*(leases.take(asked, "anna") for _ in range(10)))
    assert len({x.id for x in made}) == 1
    await leases.release(made[0].id, "anna")


async def test_of_two_holders_at_once_exactly_one_holds_the_point(plc: Bench) -> None:
    leases = leases_of(plc)
    made = await asyncio.gather(
        *(leases.take(held(), holder) for holder in ("anna", "bob", "carla")), return_exceptions=True
    )
    assert sorted(type(x).__name__ for x in made) == ["Lease", "Reserved", "Reserved"]
    (one,) = leases.held()
    await leases.release(one.id, one.holder)


async def test_a_lease_that_could_not_be_recorded_is_not_held(plc: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    save = plc.store.save

    def full(commands: object, audited: object = (), leases: Iterable[Lease] = (), groups: object = ()) -> None:
        if list(leases):
            raise sqlite3.OperationalError("database or disk is full")
        save(commands, audited, leases, groups)  # type: ignore[arg-type]

    monkeypatch.setattr(plc.store, "save", full)
    leases = leases_of(plc)
    with pytest.raises(Unavailable, match="could not be recorded"):
        await leases.take(held(), "anna")
    monkeypatch.undo()
    await until(leases.held, lambda found: not found)
    bobs = await leases.take(held(), "bob")
    await leases.release(bobs.id, "bob")


async def test_what_is_shown_newest_first_knows_the_last_heartbeat(plc: Bench) -> None:
    leases = leases_of(plc)
    first = await leases.take(LeaseRequest("a", ("pump.speed",), 60.0), "anna")
    second = await leases.take(LeaseRequest("b", ("pump.status",), 60.0), "anna")
    beaten = await leases.beat(first.id, "anna")
    await leases.release(second.id, "anna")
    assert [(x.id, x.status) for x in await leases.newest(2)] == [
        (second.id, LeaseStatus.RELEASED),
        (first.id, LeaseStatus.ACTIVE),
    ]
    assert (await leases.newest(10))[1].beaten_at == beaten.beaten_at
    await leases.release(first.id, "anna")
