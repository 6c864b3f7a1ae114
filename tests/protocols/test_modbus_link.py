"""The Modbus link against our own simulated device, and against devices that misbehave, on real sockets."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import math
import struct
import time
from collections.abc import AsyncIterator

import pytest

from protocols.link import LinkState, WriteOutcome
from protocols.modbus import codec
from protocols.modbus.device import ModbusDevice
from protocols.modbus.link import ModbusLink
from tests.protocols.modbus_bench import link_to, misbehaving, refusal, registers
from tests.protocols.protocol_bench import (
    Cable,
    RecordingSink,
    Wished,
    device,
    free_port,
    point,
    running,
    until,
)
from twin.points import Point
from twin.quality import BAD_DEVICE_FAILURE, BAD_NODE_ID_UNKNOWN, GOOD, severity

LEVEL = point(0, "input:0:float32", low=0.0, high=10.0)
FLOW = point(1, "input:2:int32:CDAB", scale=0.01)
SPEED = point(2, "holding:10", writable=True, low=0.0, high=1500.0)
SETPOINT = point(3, "holding:20:float64:DCBA", writable=True)
PUMP = point(4, "coil:5", "boolean", writable=True)
FLOAT_SWITCH = point(5, "discrete:17", "boolean")
COUNT = point(6, "holding:30:uint64", "integer")
POINTS = (LEVEL, FLOW, SPEED, SETPOINT, PUMP, FLOAT_SWITCH, COUNT)
START = {0: 2.5, 1: -12.34, 2: 0.0, 3: 1.5, 4: 0.0, 5: 1.0, 6: 2.0**40}


class Bench:
    """One device on a port that stays the same over restarts."""

    def __init__(self) -> None:
        self.wished = Wished()
        self.port = free_port()
        self.device: ModbusDevice | None = None

    async def power_on(self, points: tuple[Point, ...] = POINTS) -> None:
        at = f"modbus://127.0.0.1:{self.port}/7"
        self.device = ModbusDevice(device("modbus", at), points, self.wished, time.time_ns)
        await self.device.start()
        if points is POINTS:
            await self.publish(START)

    async def power_off(self) -> None:
        if self.device is not None:
            await self.device.stop()
            self.device = None

    async def publish(self, values: dict[int, float]) -> None:
        assert self.device is not None
        await self.device.publish(values, time.time_ns(), {})


def link(sink: RecordingSink, port: int, points: tuple[Point, ...] = POINTS, **settings: object) -> ModbusLink:
    return link_to(sink, f"modbus://127.0.0.1:{port}/7", points, **settings)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.power_on()
    yield bench
    await bench.power_off()


async def test_all_four_tables_all_orders_and_units_arrive(bench: Bench) -> None:
    sink = RecordingSink()
    async with running(link(sink, bench.port)):
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
        for id, expected in START.items():
            assert math.isclose(sink.latest[id][0], expected, rel_tol=1e-6), id
            assert sink.quality(id) == GOOD
        await bench.publish({0: 3.0, 5: 0.0})
        await until(lambda: sink.value(0) == 3.0 and sink.value(5) == 0.0, "changes arrive")
        assert sink.beats == 0, "each reading confirms its own cell; nothing vouches for the others"
        assert sink.metrics["lag_ms"] > 0
    assert sink.letters == []
    assert sink.states == [LinkState.CONNECTING, LinkState.ONLINE, LinkState.STOPPED]
    assert not sink.early


async def test_one_register_that_the_device_does_not_have_is_reported_once_and_stops_nobody(bench: Bench) -> None:
    points = tuple(point(i, f"holding:{100 + i}") for i in range(9))
    await bench.power_off()
    await bench.power_on(tuple(p for p in points if p.id != 4))
    sink = RecordingSink()
    async with running(link(sink, bench.port, points)):
        await until(lambda: len(sink.latest) == 9, "every point has a reading")
        assert sink.quality(4) == BAD_NODE_ID_UNKNOWN
        assert all(sink.quality(i) == GOOD for i in range(9) if i != 4)
        await bench.publish({3: 33.0, 5: 55.0})
        await until(lambda: sink.value(3) == 33.0 and sink.value(5) == 55.0, "its neighbours go on")
    assert [(letter.reason, letter.point) for letter in sink.letters] == [("unknown_address", "twin4.value")]
    assert not sink.early
    assert "IllegalDataAddress" in sink.letters[0].detail


async def test_an_impossible_value_becomes_a_dead_letter_and_the_others_go_on(bench: Bench) -> None:
    sink = RecordingSink()
    async with running(link(sink, bench.port)):
        await until(lambda: sink.value(0) == 2.5, "the level is read")
        await bench.publish({0: math.nan})
        await until(lambda: ("twin0.value", "nan") in sink.reasons, "NaN is noticed")
        await bench.publish({0: 99.0, 2: 700.0})
        await until(lambda: ("twin0.value", "range") in sink.reasons, "the range is noticed")
        await until(lambda: sink.value(2) == 700.0, "the speed goes on")
        assert sink.value(0) == 2.5


async def test_a_simulated_sensor_beyond_its_register_saturates_as_real_ones_do(bench: Bench) -> None:
    sink = RecordingSink()
    async with running(link(sink, bench.port)):
        await until(lambda: sink.online, "the link is up")
        await bench.publish({1: 1e12, 2: math.nan})
        await until(lambda: sink.value(1) == (2**31 - 1) * 0.01, "the flow saturates")
        assert sink.value(2) == 0.0


async def test_a_restarted_device_is_found_again_and_values_flow(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    sink = RecordingSink()
    async with running(link(sink, bench.port)):
        await until(lambda: sink.online, "the link is up")
        await bench.power_off()
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
        await bench.power_on()
        await bench.publish({0: 6.5})
        await until(lambda: sink.value(0) == 6.5, "values flow again")
        assert sink.online
    gc.collect()  # so that asyncio complains about exceptions that nobody took
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == ["twinloop.link"]


async def test_a_half_open_connection_is_noticed_by_missing_answers(bench: Bench) -> None:
    sink = RecordingSink()
    async with Cable(bench.port) as cable, running(link(sink, cable.port, timeout_s=0.1)):
        await until(lambda: sink.online, "the link is up")
        cable.swallow = True
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "silence is noticed")
        cable.swallow = False
        await until(lambda: sink.online, "the link is up again")


async def test_accepted_writes_reach_the_device_between_polls(bench: Bench) -> None:
    sink = RecordingSink()
    wire = link(sink, bench.port)
    async with running(wire):
        await until(lambda: sink.online, "the link is up")
        verdicts = await asyncio.gather(
            wire.write(SPEED, 900.0, 2.0), wire.write(SETPOINT, -2.25, 2.0), wire.write(PUMP, 1.0, 2.0)
        )
        assert [v.outcome for v in verdicts] == [WriteOutcome.ACCEPTED] * 3
        assert bench.wished.writes == [(2, 900.0), (3, -2.25), (4, 1.0)]
        reading = await wire.read(SETPOINT, 2.0)
        assert reading is not None and float(reading.value[0]) == -2.25
        assert (await wire.write(PUMP, 0.0, 2.0)).outcome is WriteOutcome.ACCEPTED
        assert (await wire.write(SPEED, 0.0, 2.0)).outcome is WriteOutcome.ACCEPTED
        await until(lambda: sink.value(4) == 0.0 and sink.value(2) == 0.0, "zeros are written too")


async def test_a_command_goes_before_the_next_poll_request() -> None:
    functions: list[int] = []

    async def slowly(request: bytes) -> bytes:
        functions.append(request[7])
        await asyncio.sleep(0.03)
        if request[7] == 6:
            return request
        return registers(request, 1)

    sink = RecordingSink()
    points = tuple(point(i, f"holding:{10 * i}", writable=True) for i in range(5))
    async with misbehaving(slowly) as port:
        wire = link(sink, port, points)
        async with running(wire):
            await until(lambda: sink.online and len(functions) % 5 == 1, "a cycle has just begun")
            before = len(functions)
            assert (await wire.write(points[4], 1.0, 2.0)).outcome is WriteOutcome.ACCEPTED
            assert 6 in functions[before : before + 2], "at most the one that was on its way goes before it"


async def test_a_device_that_accepts_connections_but_never_answers_is_not_online() -> None:
    async def never(request: bytes) -> bytes:
        await asyncio.sleep(3600)
        return b""

    sink = RecordingSink()
    async with misbehaving(never) as port, running(link(sink, port, (point(0, "holding:0"),), timeout_s=0.1)):
        await until(lambda: LinkState.OFFLINE in sink.states, "silence is noticed")
    assert LinkState.ONLINE not in sink.states and sink.beats == 0


async def test_a_register_that_knows_no_function_6_is_written_with_function_16(bench: Bench) -> None:
    sink = RecordingSink()
    wire = link(sink, bench.port, single_register_writes=False)
    async with running(wire):
        await until(lambda: sink.online, "the link is up")
        assert (await wire.write(SPEED, 321.0, 2.0)).outcome is WriteOutcome.ACCEPTED
        assert bench.wished.writes == [(2, 321.0)]


async def test_a_refused_write_says_why(bench: Bench) -> None:
    sink = RecordingSink()
    wire = link(sink, bench.port)
    async with running(wire):
        await until(lambda: sink.value(2) == 0.0, "everything is read")
        bench.wished.refuse = True
        refused = await wire.write(SPEED, 5.0, 2.0)
        assert (refused.outcome, refused.detail) == (WriteOutcome.REFUSED, "IllegalDataValue")
        too_fast = await wire.write(SPEED, 9000.0, 2.0)
        assert (too_fast.outcome, too_fast.detail) == (WriteOutcome.REFUSED, "IllegalDataValue")
        misfit = await wire.write(SPEED, 70_000.0, 2.0)
        assert misfit.outcome is WriteOutcome.REFUSED and "uint16" in misfit.detail
        read_only = await wire.write(COUNT, 1.0, 2.0)
        assert (read_only.outcome, read_only.detail) == (WriteOutcome.REFUSED, "IllegalDataAddress")
        assert sink.value(2) == 0.0


async def test_a_write_without_an_answer_is_unknown_and_one_without_a_connection_is_not_sent(bench: Bench) -> None:
    sink = RecordingSink()
    async with Cable(bench.port) as cable:
        wire = link(sink, cable.port, timeout_s=2.0, poll_s=5.0)
        assert (await wire.write(SPEED, 1.0, 0.2)).outcome is WriteOutcome.NOT_SENT
        async with running(wire):
            await until(lambda: len(sink.latest) == len(POINTS), "everything is read")
            cable.swallow = True
            assert (await wire.write(SPEED, 500.0, 0.2)).outcome is WriteOutcome.UNKNOWN
            assert bench.wished.writes == [(2, 500.0)]


async def test_an_answer_of_another_unit_is_not_believed() -> None:
    async def another(request: bytes) -> bytes:
        answer = bytearray(registers(request, 7))
        answer[6] = 9
        return bytes(answer)

    sink = RecordingSink()
    async with misbehaving(another) as port, running(link(sink, port, (point(0, "holding:0"),), timeout_s=0.05)):
        await until(lambda: sink.metrics.get("late_answers", 0) >= 2, "they are counted")
    assert sink.latest == {} and LinkState.ONLINE not in sink.states


async def test_a_late_answer_is_dropped_and_the_next_one_is_the_right_one() -> None:
    calls = 0

    async def late_once(request: bytes) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 3:
            await asyncio.sleep(0.25)  # longer than the link waits
        return registers(request, calls)

    sink = RecordingSink()
    async with misbehaving(late_once) as port, running(link(sink, port, (point(0, "holding:0"),), timeout_s=0.1)):
        await until(lambda: (sink.value(0) or 0) > 6, "values flow on")
    assert sink.metrics["late_answers"] >= 1
    assert LinkState.OFFLINE not in sink.states
    values = [float(batch.value[0]) for batch in sink.batches]
    assert values == sorted(set(values)) and 3.0 not in values


async def test_garbage_becomes_evidence_and_a_new_connection() -> None:
    calls = 0

    async def garbage_once(request: bytes) -> bytes:
        nonlocal calls
        calls += 1
        return b"HTTP/1.1 400 Bad Request\r\n\r\n" if calls == 2 else registers(request, calls)

    sink = RecordingSink()
    async with misbehaving(garbage_once) as port, running(link(sink, port, (point(0, "holding:0"),))):
        await until(lambda: (sink.value(0) or 0) > 3, "values flow again")
    assert [letter.reason for letter in sink.letters] == ["decode"]
    assert sink.letters[0].raw.startswith(b"HTTP")
    assert LinkState.OFFLINE in sink.states and sink.metrics["reconnects"] == 1


async def test_a_truncated_answer_is_called_truncated() -> None:
    calls = 0

    async def short_once(request: bytes) -> bytes:
        nonlocal calls
        calls += 1
        whole = registers(request, calls)
        return registers(request) if calls == 2 else whole

    sink = RecordingSink()
    async with misbehaving(short_once) as port, running(link(sink, port, (point(0, "holding:0"),))):
        await until(lambda: (sink.value(0) or 0) > 3, "values flow again")
    assert [letter.reason for letter in sink.letters] == ["truncated"]


async def test_a_device_failure_is_a_quality_and_not_the_end_of_the_link() -> None:
    failing = True

    async def answer(request: bytes) -> bytes:
        if failing:
            return refusal(request, 4)
        return registers(request, 5)

    sink = RecordingSink()
    async with misbehaving(answer) as port, running(link(sink, port, (point(0, "holding:0"),))):
        await until(lambda: sink.quality(0) == BAD_DEVICE_FAILURE, "the failure shows")
        assert severity(sink.latest[0][1]) == 2
        failing = False
        await until(lambda: sink.value(0) == 5.0, "the value is back")
    assert LinkState.OFFLINE not in sink.states


async def test_a_register_that_appears_later_is_found(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("protocols.modbus.link.MISSING_RETRY_S", 0.2)
    there = False

    caplog.set_level("INFO", "twinloop.link")

    async def answer(request: bytes) -> bytes:
        start, count = struct.unpack(">HH", request[8:12])
        if start + count > 1 and not there:
            return refusal(request, 2)
        return registers(request, *range(start + 1, start + count + 1))

    sink = RecordingSink()
    async with misbehaving(answer) as port, running(link(sink, port, (point(0, "input:0"), point(1, "input:1")))):
        await until(lambda: sink.value(0) == 1.0 and sink.quality(1) == BAD_NODE_ID_UNKNOWN, "one of two is there")
        there = True
        await until(lambda: sink.value(1) == 2.0, "the other is found")
    assert len(sink.letters) == 1
    assert [r.message for r in caplog.records if "now" in r.message] == ["d1: the device has input:1 now"]


async def test_delays_between_requests_are_kept() -> None:
    asked: list[float] = []

    async def note(request: bytes) -> bytes:
        asked.append(time.monotonic())
        return registers(request, 1)

    sink = RecordingSink()
    points = tuple(point(i, f"holding:{10 * i}") for i in range(3))
    settings = {"request_delay_s": 0.05, "connect_delay_s": 0.1, "poll_s": 0.01}
    started = time.monotonic()
    async with misbehaving(note) as port, running(link(sink, port, points, **settings)):
        await until(lambda: len(asked) >= 6, "two cycles")
    assert asked[0] - started >= 0.1
    assert min(b - a for a, b in itertools.pairwise(asked)) >= 0.045


async def test_a_gateway_that_does_not_echo_transaction_ids_can_be_used() -> None:
    async def zero_id(request: bytes) -> bytes:
        return b"\0\0" + registers(request, 9)[2:]

    sink = RecordingSink()
    async with (
        misbehaving(zero_id) as port,
        running(link(sink, port, (point(0, "holding:0"),), match_transaction=False)),
    ):
        await until(lambda: sink.value(0) == 9.0, "the value is read")


async def test_a_gateway_that_does_not_echo_transaction_ids_is_said_to_be_one(caplog: pytest.LogCaptureFixture) -> None:
    async def zero_id(request: bytes) -> bytes:
        return b"\0\0" + registers(request, 9)[2:]

    sink = RecordingSink()
    async with misbehaving(zero_id) as port, running(link(sink, port, (point(0, "holding:0"),), timeout_s=0.1)):
        await until(lambda: LinkState.OFFLINE in sink.states, "it does not work")
    assert "match_transaction = false" in caplog.text and sink.latest == {}


async def test_another_client_sees_holes_as_illegal_and_reads_bits(bench: Bench) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)

    async def ask(pdu: bytes) -> bytes:
        writer.write(codec.frame(1, 7, pdu))
        header = await reader.readexactly(7)
        return await reader.readexactly(int.from_bytes(header[4:6], "big") - 1)

    assert await ask(struct.pack(">BHH", 3, 10, 2)) == b"\x83\x02"
    assert await ask(codec.write_coils_request(5, [True])) == struct.pack(">BHH", 15, 5, 1)
    assert await ask(struct.pack(">BHH", 1, 5, 1)) == b"\x01\x01\x01"
    assert await ask(codec.write_registers_request(20, [0] * 4)) == struct.pack(">BHH", 16, 20, 4)
    assert await ask(codec.write_registers_request(9, [0, 0])) == b"\x90\x02"
    assert bench.wished.writes == [(4, 1.0), (3, 0.0)]
    writer.close()


@pytest.mark.parametrize("scheme", ["modbus", "modbus+rtu"])
async def test_a_simulated_device_serves_texts_bits_and_scaled_values_as_it_says_them(scheme: str) -> None:
    points = (
        point(0, "holding:0:string6:BADC", "string"), point(1, "holding:9:bit15", "boolean", writable=True),
        point(2, "input:4:int16:sf=5"), point(3, "holding:20:bcd32", "integer", writable=True),
    )  # fmt: skip
    wished, sink = Wished(), RecordingSink()
    served = ModbusDevice(device("modbus", f"{scheme}://127.0.0.1:0/7"), points, wished, time.time_ns)
    await served.start()
    await served.publish({0: "Pumpe süd", 1: 1.0, 2: -12.0, 3: 12_345_678.0}, time.time_ns(), {})
    wire = link_to(sink, served.endpoint, points)
    try:
        async with running(wire):
            await until(lambda: len(sink.latest) == 4, "all are read")
            assert sink.texts == {0: "Pumpe süd"}
            assert [sink.value(i) for i in (1, 2, 3)] == [1.0, -12.0, 12_345_678.0]
            assert (await wire.write(points[1], 0.0, 2.0)).outcome is WriteOutcome.ACCEPTED
            assert (await wire.write(points[3], 99.0, 2.0)).outcome is WriteOutcome.ACCEPTED
            await until(lambda: sink.value(1) == 0.0 and sink.value(3) == 99.0, "it shows what was written")
        assert wished.writes == [(1, 0.0), (3, 99.0)]
    finally:
        await served.stop()
