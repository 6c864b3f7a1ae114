"""What a Modbus link makes of answers: pipelined, refused, absent, late; and what it writes, on real sockets."""

from __future__ import annotations

import asyncio
import logging
import random
import struct

import pytest

from protocols.link import Backoff, LinkState, WriteOutcome
from tests.protocols.modbus_bench import asked, link_to, misbehaving, refusal, registers
from tests.protocols.protocol_bench import RecordingSink, point, running, until
from twin.points import Point
from twin.quality import BAD_NO_COMMUNICATION, BAD_NO_DATA, GOOD


class Plc:
    """A device whose holding registers are a dictionary; it notes what it is asked."""

    def __init__(self, cells: dict[int, int]) -> None:
        self.cells = cells
        self.asked: list[tuple[int, int, int]] = []
        self.unknown: set[int] = set()  # functions that it does not have

    async def __call__(self, request: bytes) -> bytes:
        function, start, word = asked(request)
        self.asked.append((function, start, word))
        if function in self.unknown:
            return refusal(request, 1)
        if function in (3, 4):
            if any(cell not in self.cells for cell in range(start, start + word)):
                return refusal(request, 2)
            return registers(request, *(self.cells[cell] for cell in range(start, start + word)))
        if function == 6:
            self.cells[start] = word
            return request
        if function == 22:
            keep, value = word, int.from_bytes(request[12:14], "big")
            self.cells[start] = self.cells[start] & keep | value & ~keep & 0xFFFF
            return request
        for place in range(word):
            self.cells[start + place] = int.from_bytes(request[13 + 2 * place : 15 + 2 * place], "big")
        return request[:4] + b"\0\6" + request[6:12]

    def written(self) -> list[tuple[int, int, int]]:
        return [a for a in self.asked if a[0] not in (3, 4)]


def at(port: int) -> str:
    return f"modbus://127.0.0.1:{port}/1"


async def test_requests_are_under_way_together_and_answers_may_come_in_any_order() -> None:
    held: list[bytes] = []
    together = [1, 3, 4, 1]  # the first question is asked alone; then two bursts at a time, the first one block short

    async def turned_round(request: bytes) -> bytes:
        held.append(registers(request, asked(request)[1]))
        if len(held) < together[0]:
            return b""
        del together[0]
        answers, held[:] = b"".join(reversed(held)), []
        return answers

    points = tuple(point(i, f"holding:{10 * i}") for i in range(9))
    sink = RecordingSink()
    async with misbehaving(turned_round) as port, running(link_to(sink, at(port), points, outstanding=4, poll_s=9.0)):
        await until(lambda: len(sink.latest) == 9, "all are read")
    assert {i: sink.value(i) for i in range(9)} == {i: 10.0 * i for i in range(9)}
    assert together == [] and "late_answers" not in sink.metrics


async def test_one_is_under_way_at_a_time_unless_the_plant_says_otherwise() -> None:
    under_way = most = 0

    async def counted(request: bytes) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return registers(request, 1)

    sink = RecordingSink()
    points = tuple(point(i, f"holding:{10 * i}") for i in range(20))
    async with misbehaving(counted) as port, running(link_to(sink, at(port), points)):
        await until(lambda: len(sink.latest) == 20, "all are read")
    assert most == 1


async def test_a_refusal_among_pipelined_answers_is_narrowed_down_and_the_others_stand() -> None:
    plc = Plc({n: n for n in range(60) if n != 37})
    points = tuple(point(i, f"holding:{i}") for i in range(60))
    sink = RecordingSink()
    async with (
        misbehaving(plc) as port,
        running(link_to(sink, at(port), points, outstanding=8, max_registers=10, poll_s=9.0)),
    ):
        await until(lambda: len(sink.latest) == 60, "all are read or known to be missing")
    assert [i for i in range(60) if sink.quality(i) != GOOD] == [37]
    assert [sink.value(i) for i in range(60) if i != 37] == [float(i) for i in range(60) if i != 37]
    assert [letter.point for letter in sink.letters] == ["twin37.value"]


async def test_pipelined_answers_that_never_come_are_asked_again_in_the_next_cycle() -> None:
    swallowed = 0

    async def swallows(request: bytes) -> bytes:
        nonlocal swallowed
        _, start, _ = asked(request)
        if start == 30 and swallowed < 2:
            swallowed += 1
            return b""
        return registers(request, start)

    sink = RecordingSink()
    points = tuple(point(i, f"holding:{10 * i}") for i in range(6))
    async with (
        misbehaving(swallows) as port,
        running(link_to(sink, at(port), points, outstanding=8, timeout_s=0.1)),
    ):
        await until(lambda: sink.value(3) == 30.0, "it comes in the end")
    assert swallowed == 2 and LinkState.OFFLINE not in sink.states


BITS = (
    point(0, "holding:5:bit0", "boolean", writable=True),
    point(1, "holding:5:bit15", "boolean", writable=True),
    point(2, "holding:5", "integer"),
)


@pytest.mark.parametrize(
    ("how", "functions"), [("mask", [22, 22]), ("rewrite", [6, 6])]
)  # fmt: skip
async def test_a_bit_is_written_and_its_neighbours_stay(how: str, functions: list[int]) -> None:
    plc, sink = Plc({5: 0x8004}), RecordingSink()
    async with misbehaving(plc) as port:
        wire = link_to(sink, at(port), BITS, bit_writes=how)
        async with running(wire):
            await until(lambda: sink.value(1) == 1.0, "the bits are read")
            verdicts = await asyncio.gather(wire.write(BITS[0], 1.0, 2.0), wire.write(BITS[1], 0.0, 2.0))
            assert [v.outcome for v in verdicts] == [WriteOutcome.ACCEPTED] * 2
            await until(lambda: sink.value(2) == 5.0, "both changed, and nothing else")
    assert [a[0] for a in plc.written()] == functions


async def test_a_device_without_masks_refuses_and_the_refusal_names_the_setting() -> None:
    plc, sink = Plc({5: 4}), RecordingSink()
    plc.unknown = {22}
    async with misbehaving(plc) as port:
        wire = link_to(sink, at(port), BITS)
        async with running(wire):
            await until(lambda: sink.online, "the link is up")
            verdict = await wire.write(BITS[0], 1.0, 2.0)
    assert verdict.outcome is WriteOutcome.REFUSED
    assert verdict.detail.startswith("IllegalFunction") and "bit_writes" in verdict.detail
    assert plc.cells == {5: 4}


async def test_texts_are_read_and_what_is_no_text_is_kept_as_evidence() -> None:
    plc, sink = Plc(dict(enumerate(struct.unpack(">4H", b"PUMP 7\0\0")))), RecordingSink()
    name = point(0, "holding:0:string4", "string")
    async with misbehaving(plc) as port, running(link_to(sink, at(port), (name,))):
        await until(lambda: sink.texts.get(0) == "PUMP 7", "the text is read")
        plc.cells[0] = 0xFFFE
        await until(lambda: (name.name, "decode") in sink.reasons, "no text any more")
        assert sink.letters[0].raw == b"\xff\xfeMP 7\0\0" and "UTF-8" in sink.letters[0].detail
        plc.cells[0] = 0x4A55
        await until(lambda: sink.texts.get(0) == "JUMP 7", "a text again")


async def test_what_sunspec_does_not_implement_is_a_quality_and_no_dead_letter() -> None:
    numbers = ("holding:0:int16:sf=2:sunspec", "holding:1:uint16:sf=3:sunspec", "holding:4:float32:sunspec")
    texts = (*numbers, "holding:6:string2:sunspec")
    points = tuple(point(i, t, "string" if "string" in t else "double") for i, t in enumerate(texts))
    plc, sink = Plc({0: 2300, 1: 10, 2: 0xFFFF, 3: 0x8000, 4: 0x7FC0, 5: 0, 6: 0, 7: 0}), RecordingSink()
    async with misbehaving(plc) as port, running(link_to(sink, at(port), points)):
        await until(lambda: len(sink.latest) == 4, "all are read")
        assert (sink.value(0), sink.quality(0)) == (230.0, GOOD)
        assert [sink.quality(i) for i in (1, 2, 3)] == [BAD_NO_DATA] * 3
        plc.cells |= {0: 0x8000, 3: 1, 6: 0x4F4B}
        await until(lambda: sink.quality(0) == BAD_NO_DATA, "the inverter sleeps")
        await until(lambda: sink.value(1) == 100.0 and sink.texts.get(3) == "OK", "the others wake up")
    assert sink.letters == []


async def test_a_scaled_value_is_written_with_the_devices_own_factor() -> None:
    limit = point(0, "holding:0:int16:sf=7", writable=True, scale=10.0)
    plc, sink = Plc({0: 50, 7: 0xFFFF}), RecordingSink()
    async with misbehaving(plc) as port:
        wire = link_to(sink, at(port), (limit,))
        async with running(wire):
            await until(lambda: sink.value(0) == 50.0, "50 × 0.1 × 10")
            assert (await wire.write(limit, 123.0, 2.0)).outcome is WriteOutcome.ACCEPTED
            assert plc.cells[0] == 123
            misfit = await wire.write(limit, 0.5, 2.0)
            assert misfit.outcome is WriteOutcome.REFUSED and "whole number" in misfit.detail
            reading = await wire.read(limit, 2.0)
            assert reading is not None and float(reading.value[0]) == 123.0


async def test_a_number_that_is_none_in_bcd_is_kept_as_evidence() -> None:
    plc, sink = Plc({0: 0x1234, 1: 0x12A4}), RecordingSink()
    points = (point(0, "holding:0:bcd16", "integer"), point(1, "holding:1:bcd16", "integer"))
    async with misbehaving(plc) as port, running(link_to(sink, at(port), points)):
        await until(lambda: sink.value(0) == 1234.0, "the digits are read")
        await until(lambda: ("twin1.value", "decode") in sink.reasons, "and those that are none")
    assert sink.value(1) is None


@pytest.mark.parametrize("read_back", [True, False])
async def test_what_was_written_is_read_at_once_where_the_plant_says_so(read_back: bool) -> None:
    plc, sink = Plc({0: 1, 1: 2}), RecordingSink()
    points = (point(0, "holding:0", writable=True), point(1, "holding:1"))
    async with misbehaving(plc) as port:
        wire = link_to(sink, at(port), points, poll_s=60.0, read_back=read_back)
        async with running(wire):
            await until(lambda: len(sink.latest) == 2, "all are read")
            assert (await wire.write(points[0], 9.0, 2.0)).outcome is WriteOutcome.ACCEPTED
            await wire.read(points[1], 2.0)
            assert sink.value(0) == (9.0 if read_back else 1.0)
            assert plc.asked[-2:] == ([(3, 0, 1), (3, 1, 1)] if read_back else [(6, 0, 9), (3, 1, 1)])


async def test_coils_are_written_with_the_function_that_the_device_knows() -> None:
    functions: list[int] = []

    async def answer(request: bytes) -> bytes:
        functions.append(request[7])
        if request[7] == 1:
            return request[:4] + b"\0\4" + request[6:8] + b"\1\0"
        return request[:4] + b"\0\6" + request[6:12]

    sink, coil = RecordingSink(), point(0, "coil:3", "boolean", writable=True)
    async with misbehaving(answer) as port:
        wire = link_to(sink, at(port), (coil,), single_coil_writes=False, read_back=False, poll_s=60.0)
        async with running(wire):
            await until(lambda: sink.online, "the link is up")
            assert (await wire.write(coil, 1.0, 2.0)).outcome is WriteOutcome.ACCEPTED
    assert functions == [1, 15]


async def test_a_gateway_that_speaks_for_an_absent_device_does_not_make_it_online() -> None:
    away = True

    async def gateway(request: bytes) -> bytes:
        return refusal(request, 11) if away else registers(request, 5)

    sink = RecordingSink()
    async with misbehaving(gateway) as port, running(link_to(sink, at(port), (point(0, "holding:0"),))):
        await until(lambda: LinkState.OFFLINE in sink.states, "the device is away")
        assert LinkState.ONLINE not in sink.states and sink.latest == {}
        away = False
        await until(lambda: sink.value(0) == 5.0, "it is there")
        away = True
        await until(lambda: sink.quality(0) == BAD_NO_COMMUNICATION, "the gateway says that it is away again")
        await until(lambda: not sink.online, "three times")


async def test_a_busy_device_says_nothing_of_its_values() -> None:
    busy = False

    async def plc(request: bytes) -> bytes:
        return refusal(request, 6) if busy else registers(request, 5)

    sink = RecordingSink()
    async with misbehaving(plc) as port, running(link_to(sink, at(port), (point(0, "holding:0"),))):
        await until(lambda: sink.value(0) == 5.0, "it is read")
        busy, before = True, sink.metrics.get("lag_ms")
        await until(lambda: sink.metrics.get("lag_ms") != before, "it goes on")
        assert sink.quality(0) == GOOD and LinkState.OFFLINE not in sink.states


async def test_what_waits_when_the_next_cycle_is_due_is_said() -> None:
    slow = True

    async def plc(request: bytes) -> bytes:
        if slow:
            await asyncio.sleep(0.03)
        return registers(request, 5)

    sink = RecordingSink()
    points: tuple[Point, ...] = tuple(point(i, f"holding:{10 * i}") for i in range(10))
    async with misbehaving(plc) as port, running(link_to(sink, at(port), points)):
        await until(lambda: sink.metrics.get("queued", 0) > 0, "the device is too slow for its period")
        slow = False
        await until(lambda: sink.metrics["queued"] == 0, "it keeps up again")


async def test_a_write_whose_turn_does_not_come_is_not_sent() -> None:
    seen: list[int] = []

    async def reads_only(request: bytes) -> bytes:
        seen.append(asked(request)[0])
        return registers(request, 1) if seen[-1] == 3 else b""

    sink, speed = RecordingSink(), point(0, "holding:0", writable=True)
    async with misbehaving(reads_only) as port:
        wire = link_to(sink, at(port), (speed,), timeout_s=5.0)
        async with running(wire):
            await until(lambda: sink.online, "the link is up")
            first = asyncio.create_task(wire.write(speed, 1.0, 0.3))
            await until(lambda: seen[-1] == 6, "it is under way")
            second = await wire.write(speed, 2.0, 0.1)
            assert second.outcome is WriteOutcome.NOT_SENT and "turn" in second.detail
            assert (await first).outcome is WriteOutcome.UNKNOWN
    assert seen.count(6) == 1


@pytest.mark.parametrize("outstanding", [1, 8])
async def test_a_device_that_spoils_its_answers_at_random_is_survived(
    outstanding: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def impatient(chance: random.Random) -> Backoff:
        return Backoff(chance, 0.001, 0.001)

    monkeypatch.setattr("protocols.healing.Backoff", impatient)
    chance, spoilt = random.Random(5), 0

    async def spoils(request: bytes) -> bytes:
        nonlocal spoilt
        answer = bytearray(registers(request, *range(asked(request)[1], asked(request)[1] + asked(request)[2])))
        if spoilt >= 120 or chance.random() < 0.5:
            return bytes(answer)
        spoilt += 1
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(answer))
            match chance.randrange(3):
                case 0:
                    answer[place] = chance.randrange(256)
                case 1:
                    del answer[place:]
                    break
                case _:
                    answer[place:place] = chance.randbytes(5)
        return bytes(answer)

    points = tuple(point(i, f"holding:{i}", "integer") for i in range(30))
    sink = RecordingSink()
    settings = {"outstanding": outstanding, "max_registers": 4, "timeout_s": 0.05, "poll_s": 0.01}
    async with misbehaving(spoils) as port, running(link_to(sink, at(port), points, **settings)):
        await until(lambda: spoilt >= 120, "it has done its worst", within_s=40.0)
        await until(lambda: [sink.value(i) for i in range(30)] == list(range(30)), "the truth again", within_s=40.0)
    assert {record.name for record in caplog.records if record.levelno >= logging.WARNING} <= {"twinloop.link"}
    assert {letter.reason for letter in sink.letters} <= {"decode", "truncated", "unknown_address", "range", "type"}
