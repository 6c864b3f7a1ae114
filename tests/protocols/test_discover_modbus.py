"""What a search of a Modbus unit finds: the cells that answer, SunSpec's models, and no more questions than needed."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.discovery import Found
from protocols.modbus import sunspec
from protocols.modbus.address import REGISTERS_MAX, Table, check_address
from protocols.modbus.discover import Wanted, discover
from protocols.modbus.probing import (
    Answer,
    Read,
    Readable,
    Refusal,
    Span,
    explore,
    meaningful,
    parse_span,
    parse_units,
    runs,
)
from tests.protocols.protocol_bench import Cable, device, free_port
from twin.errors import Unavailable
from twin.schema import Primitive


def asked(cells: set[int], span: Span, most: int = REGISTERS_MAX) -> tuple[Readable, int]:
    """A search of a table with these cells; a device that takes `most` cells at once. Gives the number of questions."""
    search, count = explore(span), 0
    answer: Answer | None = None
    try:
        read = next(search)
        while True:
            count += 1
            whole = read.count <= most and all(c in cells for c in range(read.start, read.start + read.count))
            answer = tuple(range(read.start, read.start + read.count)) if whole else Refusal.CELLS
            read = search.send(answer)
    except StopIteration as end:
        return end.value, count


def row(first: int, count: int) -> set[int]:
    return set(range(first, first + count))


def test_a_table_that_answers_to_everything_takes_a_question_a_block() -> None:
    found, count = asked(row(0, 1000), Span(0, 999, 125, 10))
    assert set(found.cells) == row(0, 1000) and count == 8 and found.together == 125


def test_rows_of_cells_are_found_to_their_ends() -> None:
    cells = row(7, 40) | row(100, 10) | row(250, 126) | row(990, 10)
    found, count = asked(cells, Span(0, 999, 125, 10))
    assert set(found.cells) == cells
    assert found.runs() == [(7, 40), (100, 10), (250, 126), (990, 10)]
    assert count < 500  # one by one it would be 1000


def test_short_rows_are_found_at_the_beginning_and_beside_others() -> None:
    found, _ = asked({3, 4, 507, 511} | row(520, 10), Span(0, 999, 125, 10))
    assert found.runs() == [(3, 2), (507, 1), (511, 1), (520, 10)]


def test_a_table_that_is_not_there_takes_one_question() -> None:
    search = explore(Span(0, 9999, 125, 10))
    next(search)
    with pytest.raises(StopIteration) as end:
        search.send(Refusal.TABLE)
    assert not end.value.value.exists


def test_a_device_that_takes_few_cells_at_once_is_understood() -> None:
    found, _ = asked(row(0, 200), Span(0, 499, 125, 10), most=30)
    assert set(found.cells) == row(0, 200) and found.together == 30


@given(
    st.lists(st.tuples(st.integers(0, 480), st.integers(1, 60)), max_size=6), st.sampled_from([1, 4, 10]),
    st.sampled_from([1, 16, 125]),
)  # fmt: skip
def test_no_row_as_long_as_the_stride_is_missed_and_nothing_is_made_up(
    rows: list[tuple[int, int]], stride: int, most: int
) -> None:
    cells = {c for first, count in rows for c in range(first, min(first + count, 500))}
    found, _ = asked(cells, Span(0, 499, 125, stride), most)
    assert set(found.cells) <= cells
    assert {c for first, count in runs(cells) if count >= 2 * stride for c in range(first, first + count)} <= set(
        found.cells
    )
    if stride == 1:
        assert set(found.cells) == cells


def test_long_rows_of_zeros_are_left_out_only_where_everything_answers() -> None:
    everything = Readable({c: int(c in (5, 400)) for c in range(1000)})
    kept, left_out = meaningful(everything)
    assert set(kept) == {5, 400, *range(5)} and left_out == 993
    some = Readable(dict.fromkeys(range(100), 0))
    assert meaningful(some) == (some.cells, 0)


def test_ranges_and_units_are_read_as_people_write_them() -> None:
    assert parse_span("0-9999") == (0, 9999) and parse_span("7") == (7, 7)
    assert parse_units("1-3, 20") == (1, 2, 3, 20)
    for wrong in ("", "9-1", "0-65536", "a"):
        with pytest.raises(ValueError, match="range of addresses"):
            parse_span(wrong)
    for wrong in ("", "1-", "256", "3-1"):
        with pytest.raises(ValueError, match="unit"):
            parse_units(wrong)


# --- against a real server -------------------------------------------------------------------------------------------


def registers(*blocks: tuple[int, Iterable[int]]) -> list[SimData]:
    return [SimData(at, values=list(values), datatype=DataType.REGISTERS) for at, values in blocks]


def bits(*blocks: tuple[int, Iterable[bool]]) -> list[SimData]:
    return [SimData(at, values=list(values), datatype=DataType.BITS) for at, values in blocks]


@asynccontextmanager
async def unit(
    holding: list[SimData], inputs: list[SimData] | None = None, action: Any = None, units: tuple[int, ...] = (1,)
) -> AsyncIterator[int]:
    """pymodbus with these tables as units; gives its port."""
    coils, discrete = bits((0, [True] * 16)), bits((32, [False] * 16))
    tables = (coils, discrete, holding, inputs or registers((0, [1])))
    devices = [SimDevice(id=number, simdata=tables, action=action) for number in units]
    server = ModbusTcpServer(devices, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


async def found_at(port: int, number: int = 1, **more: Any) -> Found:
    settings = {k: more.pop(k) for k in ("timeout_s", "request_delay_s") if k in more}
    wanted = Wanted(**({"last": 499} | more))
    where = device("modbus", f"modbus://127.0.0.1:{port}/{number}", **settings)
    return await discover(where, wanted, lambda count, what: None, time.time_ns)


def cells(found: Found, table: str) -> list[tuple[int, int]]:
    return runs(int(v.address.split(":")[1]) for v in found.values if v.address.startswith(f"{table}:"))


async def test_what_answers_becomes_values_that_a_plant_takes() -> None:
    async with unit(registers((10, range(20)), (300, range(130))), registers((5, [3, 4]))) as port:
        found = await found_at(port)
    assert cells(found, "holding") == [(10, 20), (300, 130)]
    assert (cells(found, "coil"), cells(found, "discrete"), cells(found, "input")) == ([(0, 16)], [(32, 16)], [(5, 2)])
    for value in found.values:
        check_address(value.address, value.type, value.writable)
    register = next(v for v in found.values if v.address == "holding:10")
    assert register.type == "integer" and "by hand" in register.note and not register.writable
    assert found.complete and not found.settings


async def test_a_busy_device_is_asked_again() -> None:
    busy = [True] * 2

    async def action(*words: Any) -> Any:
        return ExcCodes.DEVICE_BUSY if busy and busy.pop() else None

    async with unit(registers((0, range(10))), action=action) as port:
        assert cells(await found_at(port, last=50), "holding") == [(0, 10)]


async def test_the_search_ends_after_so_many_requests_and_says_so() -> None:
    async with unit(registers((0, range(10)))) as port:
        found = await found_at(port, requests_max=30)
    assert not found.complete and "stopped after 30 requests" in found.remarks[-1]
    assert cells(found, "coil") == [(0, 16)]  # what was found before counts


async def test_a_unit_that_keeps_silent_is_unavailable() -> None:
    async with unit(registers((0, [1]))) as port, Cable(port) as cable:
        cable.swallow = True
        with pytest.raises(Unavailable, match="no answer"):
            await found_at(cable.port, timeout_s=0.1)
    with pytest.raises(Unavailable):
        await found_at(free_port(), timeout_s=0.5)


async def test_a_unit_that_always_fails_is_unavailable() -> None:
    async with unit(registers((0, range(10)))) as port:
        with pytest.raises(Unavailable, match="ServerDeviceFailure"):  # pymodbus for a unit that it does not have
            await found_at(port, number=9)


async def test_a_unit_that_falls_silent_ends_the_search_with_what_was_found() -> None:
    async with unit(registers((0, range(10)))) as port, Cable(port) as cable:
        where = device("modbus", f"modbus://127.0.0.1:{cable.port}/1", timeout_s=0.1)

        def told(count: int, what: str) -> None:
            cable.swallow = count >= 30

        found = await discover(where, Wanted(last=499), told, time.time_ns)
    assert not found.complete and "no answer" in found.remarks[-1] and cells(found, "coil") == [(0, 16)]


# --- SunSpec ---------------------------------------------------------------------------------------------------------


def text(words: str, count: int) -> list[int]:
    raw = words.encode().ljust(2 * count, b"\0")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, 2 * count, 2)]


def inverter() -> list[int]:
    """Model 103 as a device has it: what is not there says so."""
    model = [103, 50, *([0xFFFF] * 50)]
    for entry in sunspec.MODELS[103][1]:
        absent = {"int16": [0x8000], "acc32": [0, 0], "bits32": [0xFFFF] * 2}.get(entry.type, [0xFFFF])
        model[entry.offset : entry.offset + len(absent)] = absent
    model[2], model[6], model[14], model[15] = 215, 0xFFFF, 0xFF9C, 0  # 21.5 A, -100 W
    model[24:26], model[26], model[38] = [0x0001, 0x86A0], 2, 4
    return model


CHAIN = [
    *sunspec.MARK, 1, 66, *text("Sunny", 16), *text("Model 5", 16), *([0] * 8), *text("1.0", 8), *text("4711", 16), 1, 0,
    *inverter(), 64999, 3, 7, 8, 9, sunspec.END, 0,
]  # fmt: skip


@pytest.mark.parametrize("base", sunspec.BASES)
async def test_sunspec_models_are_read_wherever_they_begin(base: int) -> None:
    async with unit(registers((base, CHAIN), (440, range(20)))) as port:
        found = await found_at(port)
    things = {t.path[0]: t for t in found.things}
    assert things["d1 inverter"].kind == "SunSpec 103" and things["d1 common"].description == "Sunny, Model 5, 4711"
    values = {v.name[0]: v for v in found.values if v.thing == ("d1 inverter",)}
    start = base + 2 + 68
    assert set(values) == {"A", "W", "WH", "St"}  # and nothing that the device does not have
    assert values["A"].address == f"holding:{start + 2}:uint16:sf={start + 6}:sunspec" and values["A"].unit == "A"
    assert values["W"].address == f"holding:{start + 14}:int16:sf={start + 15}:sunspec"
    assert values["WH"].address == f"holding:{start + 24}:acc32:sf={start + 26}:sunspec"
    assert values["St"].type == "enum"
    for value in found.values:
        check_address(value.address, value.type, value.writable)
    assert {v.address for v in found.values if v.thing == ("d1 model 64999",)} == {
        f"holding:{start + 54 + i}" for i in range(3)
    }
    assert sum("not implemented" in s.reason for s in found.skipped) > 20
    # The registers of the models are not offered a second time.
    assert cells(replace_models(found), "holding") == [(440, 20)]


def replace_models(found: Found) -> Found:
    return Found((), tuple(v for v in found.values if v.thing == ("d1 holding registers",)))


@pytest.mark.parametrize("number", sorted(sunspec.MODELS))
def test_no_two_points_of_a_model_share_a_register(number: int) -> None:
    lengths = {1: 66, **dict.fromkeys((101, 102, 103), 50), **dict.fromkeys((111, 112, 113), 60)}
    length = lengths.get(number, 105 if number < 210 else 124)
    registers = [number, length, *([0x1111] * length)]
    model = sunspec.described("d", sunspec.Model(number, 100, length), registers, set())
    taken: set[int] = set()
    for value in model.values:
        check_address(value.address, value.type, False)
        place = value.address.split(":")
        size = {"32": 2}.get(place[2][-2:], 1) if not place[2].startswith("string") else int(place[2][6:])
        own = set(range(int(place[1]), int(place[1]) + size))
        assert not own & taken and max(own) < 102 + length
        taken |= own
    assert not model.skipped and len({v.name for v in model.values}) == len(model.values)


def test_a_float_that_is_no_number_is_not_implemented() -> None:
    length, nan = 60, struct.unpack(">2H", struct.pack(">f", float("nan")))
    registers = [113, length, *(nan * 30)]
    described = sunspec.described("d", sunspec.Model(113, 0, length), registers, set())
    assert not [v for v in described.values if v.schema == Primitive("double")]
    assert random.Random(1).choice(described.skipped).reason.startswith("SunSpec")


def test_reads_never_leave_the_span() -> None:
    search = explore(Span(100, 160, 125, 10))
    read = next(search)
    assert read == Read(100, 61)
    while True:
        assert read.start >= 100 and read.start + read.count <= 161 and read.count >= 1
        try:
            read = search.send(tuple([1] * read.count) if read.count <= 2 and read.start > 120 else Refusal.CELLS)
        except StopIteration:
            break
    assert Table.HOLDING.value == "holding"
