"""The served Modbus cells: what is not good does not look good, and a write means whole values or nothing."""

from __future__ import annotations

import math
import random
import struct

import pytest

from protocols.modbus import image as cells
from protocols.modbus.address import Table, parse_address
from protocols.modbus.codec import DeviceException, read_request, write_coils_request, write_registers_request
from protocols.modbus.image import Image, Written, request
from protocols.modbus.map import Aspect, Row

LEVEL = Row("tank.level", Aspect.VALUE, parse_address("holding:0:uint16"), 0.001)
FLOW = Row("pump.flow", Aspect.VALUE, parse_address("holding:1:float32:CDAB"))
RUN = Row("pump.run", Aspect.VALUE, parse_address("coil:0"))
BIT = Row("pump.run", Aspect.VALUE, parse_address("holding:3:bit4"))
OTHER = Row("pump.hot", Aspect.VALUE, parse_address("holding:3:bit0"))
NAME = Row("pump.name", Aspect.VALUE, parse_address("input:0:string3"))
QUALITY = Row("tank.level", Aspect.QUALITY, parse_address("input:10:uint32"))
ROWS = (LEVEL, FLOW, RUN, BIT, OTHER, NAME, QUALITY)


def image(bad: str = "exception") -> Image:
    made = Image(ROWS, bad)
    for row, value in ((LEVEL, 3.25), (FLOW, 1.5), (RUN, 1.0), (BIT, 1.0), (OTHER, 0.0)):
        made.show(row, value, None, True)
    made.show(NAME, math.nan, "Süd", True)
    return made


def refused(code: int, work: object) -> None:
    with pytest.raises(DeviceException) as caught:
        work()  # type: ignore[operator]
    assert caught.value.code == code


def test_values_stand_in_their_cells_scaled_and_ordered() -> None:
    made = image()
    level, low, high = struct.unpack(">3H", made.read(Table.HOLDING, 0, 3))
    assert (level, struct.unpack(">f", struct.pack(">HH", high, low))[0]) == (3250, 1.5)
    assert made.read(Table.HOLDING, 3, 1) == b"\x00\x10", "two points share a register, bit by bit"
    assert made.read(Table.COIL, 0, 1) == b"\x01"
    assert made.read(Table.INPUT, 0, 3) == "Süd".encode() + b"\0\0"
    assert struct.unpack(">I", made.read(Table.INPUT, 10, 2))[0] == 0x8032_0000, "not good before it was read"


def test_before_the_first_value_nothing_is_answered() -> None:
    for bad in cells.BAD_WAYS:
        made = Image([LEVEL, RUN], bad)
        refused(cells.FAILURE, lambda made=made: made.read(Table.COIL, 0, 1))
        if bad != "sentinel":
            refused(cells.FAILURE, lambda made=made: made.read(Table.HOLDING, 0, 1))


def test_what_is_not_good_is_an_exception_a_sentinel_or_the_last_value_as_the_plant_says() -> None:
    for bad, expected in (("exception", None), ("sentinel", b"\xff\xff"), ("last", b"\x0c\xb2")):
        made = image(bad)
        if bad == "sentinel":
            made.show(LEVEL, 3.25, None, True)
        made.show(LEVEL, 3.25, None, False)
        if expected is None:
            refused(cells.FAILURE, lambda made=made: made.read(Table.HOLDING, 0, 1))
            refused(cells.FAILURE, lambda made=made: made.read(Table.HOLDING, 0, 3))
            assert made.read(Table.HOLDING, 1, 2), "its neighbours are answered"
        else:
            assert made.read(Table.HOLDING, 0, 1) == expected
        made.show(LEVEL, 1.0, None, True)
        assert made.read(Table.HOLDING, 0, 1) == struct.pack(">H", 1000)
    bit = image("sentinel")
    bit.show(RUN, 1.0, None, False)
    refused(cells.FAILURE, lambda: bit.read(Table.COIL, 0, 1))


def test_a_value_that_its_type_cannot_carry_is_not_cut_to_one_that_it_can() -> None:
    made = image()
    for value in (70.0, -0.1, math.nan, math.inf):
        made.show(LEVEL, value, None, True)
        refused(cells.FAILURE, lambda: made.read(Table.HOLDING, 0, 1))


def test_cells_that_nobody_serves_have_no_value() -> None:
    made = image()
    for table, start, count in (
        (Table.HOLDING, 4, 1),
        (Table.HOLDING, 0, 5),
        (Table.DISCRETE, 0, 1),
        (Table.COIL, 1, 1),
    ):
        refused(cells.ILLEGAL_ADDRESS, lambda t=table, s=start, c=count: made.read(t, s, c))
    refused(cells.ILLEGAL_VALUE, lambda: made.read(Table.HOLDING, 0, 0))
    refused(cells.ILLEGAL_VALUE, lambda: made.read(Table.HOLDING, 0, 126))


def test_a_write_means_whole_values_in_the_twins_unit() -> None:
    made = image()
    assert made.meant(Written(Table.HOLDING, 0, (1500,))) == [(LEVEL, 1.5)]
    assert made.meant(Written(Table.HOLDING, 0, (1500, 0, 0x4000))) == [(LEVEL, 1.5), (FLOW, 2.0)]
    assert made.meant(Written(Table.COIL, 0, (0,))) == [(RUN, 0.0)]
    half, hole, bit = (1, (0,)), (2, (0, 0, 0)), (3, (16,))
    for start, registers in (half, hole, bit):
        refused(cells.ILLEGAL_ADDRESS, lambda s=start, r=registers: made.meant(Written(Table.HOLDING, s, r)))


def test_requests_are_read_as_they_were_meant() -> None:
    assert request(read_request(Table.INPUT, 3, 7)) == (Table.INPUT, 3, 7)
    assert request(write_registers_request(5, [1, 2])) == Written(Table.HOLDING, 5, (1, 2))
    assert request(write_coils_request(9, [True, False, True])) == Written(Table.COIL, 9, (1, 0, 1))
    assert request(b"\x05\x00\x02\xff\x00") == Written(Table.COIL, 2, (1,))
    assert request(b"\x06\x00\x02\x00\x09") == Written(Table.HOLDING, 2, (9,))
    refused(cells.ILLEGAL_VALUE, lambda: request(b"\x05\x00\x02\x12\x34"))
    refused(cells.ILLEGAL_FUNCTION, lambda: request(b"\x2b\x0e\x01\x00"))


@pytest.mark.parametrize("seed", range(5))
def test_garbage_is_answered_with_an_exception_and_nothing_else(seed: int) -> None:
    chance, made = random.Random(seed), image()
    for _ in range(2000):
        pdu = bytes([chance.choice((1, 2, 3, 4, 5, 6, 15, 16, 23, 99))]) + chance.randbytes(chance.randrange(0, 12))
        try:
            wanted = request(pdu)
            made.meant(wanted) if isinstance(wanted, Written) else made.read(*wanted)
        except DeviceException as refusal:
            assert len(cells.refusal(pdu[0], refusal.code)) == 2
