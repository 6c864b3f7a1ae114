"""Commands against a real Modbus device: recorded first, written once, believed only when the process shows it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control.command import Command, Priority, Status
from control.request import Request
from ledger.entry import decode
from protocols.link import LinkState, Verdict
from protocols.modbus.link import ModbusLink
from tests.control.plants import Bench, Pump, bench, serve_pump, until
from twin.errors import BadRequest, Conflict, NotFound, Refused, Unavailable
from twin.points import Point

pytestmark = pytest.mark.usefixtures("typed_events")


@pytest.fixture
async def pump() -> AsyncIterator[Pump]:
    served = await serve_pump()
    yield served
    await served.served.stop()


@pytest.fixture
async def plc(tmp_path: Path, pump: Pump) -> AsyncIterator[Bench]:
    async with bench(tmp_path, pump) as running:
        await until(lambda: running.live.states["plc"], lambda s: s is LinkState.ONLINE)
        yield running


async def test_a_command_is_confirmed_by_the_process_and_written_once(plc: Bench) -> None:
    command = await plc.submit()
    done = await plc.until(command.id, "CONFIRMED")
    assert [t.status for t in done.transitions] == ["QUEUED", "SENT", "ACKNOWLEDGED", "CONFIRMED"]
    assert done.observed == 1.0
    assert plc.pump.writes == [("pump.status", 1.0)]


async def test_a_command_without_a_feedback_rule_is_read_back_itself(plc: Bench) -> None:
    command = await plc.submit("pump.speed", 80.0)
    done = await plc.until(command.id, "CONFIRMED")
    assert done.observed == pytest.approx(80.0)
    assert plc.pump.writes == [("pump.speed", pytest.approx(80.0))]


async def test_a_pump_that_takes_the_command_but_does_not_start_is_a_failure(plc: Bench) -> None:
    plc.pump.follows = False
    command = await plc.submit()
    done = await plc.until(command.id, "FAILED")
    assert done.observed == 0.0
    assert "still reads 0" in done.transitions[-1].detail


async def test_a_refusal_by_the_device_is_refused_with_its_words(plc: Bench) -> None:
    plc.pump.accepts = False
    command = await plc.submit()
    done = await plc.until(command.id, "REFUSED")
    assert done.transitions[-1].detail
    assert plc.commands.desired == {}


async def test_a_command_never_edits_what_the_plant_reported(plc: Bench) -> None:
    plc.pump.follows = False
    await until(lambda: plc.live.table.columns.value[1], lambda v: v == 0.0)
    command = await plc.submit()
    await plc.until(command.id, "ACKNOWLEDGED")
    assert plc.live.table.columns.value[1] == 0.0
    assert plc.commands.desired == {0: 1.0}


async def test_an_enum_is_commanded_by_its_code_and_confirmed(plc: Bench) -> None:
    with pytest.raises(BadRequest, match=r"3 is no value of pump\.mode.*one of 0 off, 4 auto"):
        await plc.submit("pump.mode", 3.0)
    command = await plc.submit("pump.mode", 4.0)
    await plc.until(command.id, "CONFIRMED")
    assert plc.pump.writes == [("pump.mode", 4.0)]
    assert plc.live.table.columns.text[5] == "auto"


async def test_the_same_key_and_body_give_the_same_command_for_ever(plc: Bench) -> None:
    first = await plc.submit()
    again = await plc.submit()
    await plc.until(first.id, "CONFIRMED")
    later = await plc.submit()
    assert first.id == again.id == later.id
    assert later.status == "CONFIRMED"
    assert len(plc.pump.writes) == 1


async def test_submits_of_one_key_at_once_make_one_command(plc: Bench) -> None:
    made = await asyncio.gather(*(plc.submit() for _ in range(20)))
    assert len({c.id for c in made}) == 1
    await plc.until(made[0].id, "CONFIRMED")
    assert len(plc.pump.writes) == 1


async def test_the_same_key_with_another_body_is_a_conflict(plc: Bench) -> None:
    await plc.submit()
    with pytest.raises(Conflict, match="key 'k' was used"):
        await plc.submit(value=0.0)


async def test_a_command_for_a_dead_device_waits_and_expires_and_holds_up_nobody(plc: Bench) -> None:
    far = await plc.submit("far.status", key="far", deadline_s=0.6)
    near = await plc.submit(key="near")
    await plc.until(near.id, "CONFIRMED")
    assert (await plc.commands.get(far.id)).status == "QUEUED"
    done = await plc.until(far.id, "EXPIRED")
    assert "deadline" in done.transitions[-1].detail


async def test_a_queued_command_can_be_cancelled_and_a_confirmed_one_cannot(plc: Bench) -> None:
    far = await plc.submit("far.status", key="far")
    assert (await plc.commands.cancel(far.id, "tester")).status == "CANCELLED"
    near = await plc.submit(key="near")
    await plc.until(near.id, "CONFIRMED")
    with pytest.raises(Conflict, match="CONFIRMED"):
        await plc.commands.cancel(near.id, "tester")


async def test_a_newer_command_for_the_same_point_supersedes_one_still_queued(plc: Bench) -> None:
    older = await plc.submit("far.status", 1.0, key="a")
    newer = await plc.submit("far.status", 0.0, key="b")
    assert (await plc.commands.get(older.id)).status == "SUPERSEDED"
    assert (await plc.commands.get(newer.id)).status == "QUEUED"


async def test_commands_wait_for_the_link_and_go_when_it_heals(tmp_path: Path) -> None:
    first = await serve_pump()
    endpoint = first.served.endpoint
    await first.served.stop()
    first.served.endpoint = endpoint
    async with bench(tmp_path, first) as running:
        command = await running.submit()
        await until(lambda: running.live.states["plc"], lambda s: s is LinkState.OFFLINE)
        assert (await running.commands.get(command.id)).status == "QUEUED"
        second = await serve_pump(endpoint)
        await running.until(command.id, "CONFIRMED")
        assert second.writes == [("pump.status", 1.0)]
        await second.served.stop()


async def test_a_lost_answer_is_unknown_and_settled_by_reading_back_without_a_second_write(
    tmp_path: Path, pump: Pump
) -> None:
    """A proxy swallows the answer to the write, then passes everything: the device did act."""
    swallow = asyncio.Event()
    port = pump.served.endpoint.rpartition(":")[2].split("/")[0]
    closed: list[asyncio.StreamWriter] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", int(port))
        closed.extend((writer, up_writer))

        async def to_device() -> None:
            while data := await reader.read(4096):
                if data[7] == 5 and not swallow.is_set():
                    up_writer.write(data)
                    swallow.set()
                    await asyncio.sleep(0.2)
                    writer.close()
                    return
                up_writer.write(data)

        async def to_link() -> None:
            while data := await up_reader.read(4096):
                if data[7] != 5:
                    writer.write(data)

        await asyncio.gather(to_device(), to_link(), return_exceptions=True)

    proxy = await asyncio.start_server(relay, "127.0.0.1", 0)
    behind = Pump(pump.served)
    real = pump.served.endpoint
    pump.served.endpoint = f"modbus://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/1"
    try:
        async with bench(tmp_path, behind) as running:
            await until(lambda: running.live.states["plc"], lambda s: s is LinkState.ONLINE)
            command = await running.submit()
            done = await running.until(command.id, "CONFIRMED")
            statuses = [t.status for t in done.transitions]
            assert statuses == ["QUEUED", "SENT", "UNKNOWN", "CONFIRMED"]
            assert pump.writes == [("pump.status", 1.0)]
    finally:
        pump.served.endpoint = real
        proxy.close()
        for writer in closed:
            writer.close()


async def test_after_a_restart_unfinished_commands_are_settled_and_finished_ones_stay(
    tmp_path: Path, pump: Pump
) -> None:
    async with bench(tmp_path, pump) as running:
        await until(lambda: running.live.states["plc"], lambda s: s is LinkState.ONLINE)
        done = await running.submit(key="done")
        done = await running.until(done.id, "CONFIRMED")
        waiting = await running.submit("far.status", key="waiting")
        sent = await running.submit("pump.speed", 50.0, key="sent")
        await running.until(sent.id, "CONFIRMED")
    async with bench(tmp_path, pump) as again:
        assert await again.commands.get(done.id) == done
        assert (await again.commands.get(waiting.id)).status == "QUEUED"
        assert (await again.submit(key="done")).id == done.id


async def test_a_command_that_was_being_sent_when_the_server_died_is_read_back_not_resent(
    tmp_path: Path, pump: Pump
) -> None:
    from control.command import Command, Transition, moved
    from tests.control.plants import CommandLike

    now = time.time_ns()
    tmp_path.mkdir(exist_ok=True)
    with CommandLike(tmp_path) as store:
        first = (Transition(Status.QUEUED, now, "submitted"),)
        command = Command(
            "c1", "k", "tester", "pump.status", 1.0, Priority.OPERATOR, now + 10**10, "", Status.QUEUED, first
        )
        store.save([command, moved(command, Status.SENT, now, "writing")])
    await pump.show(status=1.0, running=1.0)
    async with bench(tmp_path, pump) as running:
        done = await running.until("c1", "CONFIRMED")
        assert [t.status for t in done.transitions] == ["QUEUED", "SENT", "UNKNOWN", "CONFIRMED"]
    assert pump.writes == []


async def test_every_transition_is_one_ledger_entry_in_order(tmp_path: Path, pump: Pump) -> None:
    async with bench(tmp_path, pump) as running:
        await until(lambda: running.live.states["plc"], lambda s: s is LinkState.ONLINE)
        command = await running.submit()
        await running.until(command.id, "CONFIRMED")
        log = running.evidence.log

        def steps() -> list[object]:
            entries = [decode(log.read(i)) for i in range(log.size)]
            return [e.body["status"] for e in entries if e.kind == "command"]

        await until(steps, lambda s: len(s) == 4)  # type: ignore[arg-type]
        assert steps() == ["QUEUED", "SENT", "ACKNOWLEDGED", "CONFIRMED"]
        await until(running.store.unaudited, lambda left: left == [])


BAD = [
    (Request("k", "pump.nothing", 1.0, Priority.OPERATOR, 5, ""), NotFound, "no point is called 'pump.nothing'"),
    (Request("k", "pump.running", 1.0, Priority.OPERATOR, 5, ""), Refused, "pump.running is not writable"),
    (Request("k", "pump.status", 0.5, Priority.OPERATOR, 5, ""), BadRequest, "pump.status is boolean"),
    (Request("k", "pump.speed", 121.0, Priority.OPERATOR, 5, ""), BadRequest, "121 % is outside 0 … 120"),
    (Request("k", "pump.speed", float("nan"), Priority.OPERATOR, 5, ""), BadRequest, "not a finite number"),
    (Request("k", "pump.speed", float("inf"), Priority.OPERATOR, 5, ""), BadRequest, "not a finite number"),
    (Request("", "pump.status", 1.0, Priority.OPERATOR, 5, ""), BadRequest, "the key has 0 characters"),
    (Request("k", "pump.status", 1.0, Priority.OPERATOR, 0, ""), BadRequest, "deadline_s 0"),
    (Request("k", "pump.status", 1.0, Priority.OPERATOR, float("nan"), ""), BadRequest, "deadline_s nan"),
    (Request("k", "pump.status", 1.0, Priority.OPERATOR, 5, "x" * 1001), BadRequest, "the reason has 1001 characters"),
]


@pytest.mark.parametrize(("request_", "error", "said"), BAD)
async def test_a_request_that_can_never_work_says_why(
    plc: Bench, request_: Request, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await plc.commands.submit(request_, "tester")
    assert plc.pump.writes == []


async def test_a_disk_that_is_full_for_a_while_costs_answers_but_no_command_and_no_entry(
    plc: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await plc.submit(key="before")
    await plc.until(before.id, "CONFIRMED")
    await until(plc.store.unaudited, lambda left: left == [])
    save, full = plc.store.save, 3

    def no_room(*records: object) -> None:
        nonlocal full
        if full:
            full -= 1
            raise sqlite3.OperationalError("database or disk is full")
        save(*records)  # type: ignore[arg-type]

    monkeypatch.setattr(plc.store, "save", no_room)
    with pytest.raises(Unavailable, match="could not be recorded"):
        await plc.submit(value=0.0, key="refused")
    assert plc.pump.writes == [("pump.status", 1.0)]

    async def taken() -> Command | None:
        with contextlib.suppress(Unavailable):
            return await plc.submit(value=0.0, key="refused")
        return None

    command = await until(taken, lambda found: found is not None)
    assert isinstance(command, Command)
    await plc.until(command.id, "CONFIRMED")
    assert plc.pump.writes == [("pump.status", 1.0), ("pump.status", 0.0)]
    await until(plc.store.unaudited, lambda left: left == [])
    log = plc.evidence.log
    entries = [e.body for e in (decode(log.read(i)) for i in range(log.size)) if e.kind == "command"]
    assert len(entries) == len({(e["id"], e["n"]) for e in entries}) == 8


async def test_what_cannot_be_recorded_is_not_done_and_work_goes_on_once_it_can(plc: Bench, tmp_path: Path) -> None:
    """Somebody else holds the database for longer than a commit waits."""
    before = await plc.submit(key="before")
    await plc.until(before.id, "CONFIRMED")
    other = sqlite3.connect(next(tmp_path.rglob("commands.sqlite")), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable, match="could not be recorded"):
        await plc.submit("pump.speed", 70.0, key="lost")
    other.execute("ROLLBACK")
    other.close()
    assert ("pump.speed", pytest.approx(70.0)) not in plc.pump.writes
    again = await plc.submit("pump.speed", 70.0, key="lost")
    await plc.until(again.id, "CONFIRMED")
    assert plc.pump.writes == [("pump.status", 1.0), ("pump.speed", pytest.approx(70.0))]


async def test_a_write_is_on_disk_before_its_first_byte_leaves(
    plc: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the disk takes; a second reader of the file sees only what is committed."""
    reader = sqlite3.connect(next(tmp_path.rglob("commands.sqlite")))
    seen: list[list[tuple[str]]] = []
    write, save = ModbusLink.write, plc.store.save

    async def watched(self: ModbusLink, point: Point, value: float, timeout_s: float) -> Verdict:
        seen.append(reader.execute("SELECT status FROM commands WHERE point = ?", (point.name,)).fetchall())
        return await write(self, point, value, timeout_s)

    def slow(*records: object) -> None:
        time.sleep(0.05)
        save(*records)  # type: ignore[arg-type]

    monkeypatch.setattr(ModbusLink, "write", watched)
    monkeypatch.setattr(plc.store, "save", slow)
    commands = [await plc.submit(), await plc.submit("pump.speed", 70.0, key="other")]
    for command in commands:
        await plc.until(command.id, "CONFIRMED")
    reader.close()
    assert seen == [[("SENT",)], [("SENT",)]]


async def test_a_key_repeated_while_its_command_ends_disturbs_nobody(plc: Bench) -> None:
    """Cancelled and asked for again in one batch: the key finds what it was used for, and the batch is kept."""
    first = await plc.submit("far.status", 1.0, key="again")
    cancelled, again, other = await asyncio.gather(
        plc.commands.cancel(first.id, "tester"), plc.submit("far.status", 1.0, key="again"), plc.submit(key="other")
    )
    assert cancelled.status == again.status == "CANCELLED"
    assert again.id == first.id
    await plc.until(other.id, "CONFIRMED")
