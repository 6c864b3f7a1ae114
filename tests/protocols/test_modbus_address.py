"""Modbus endpoints and addresses: what is one, what suits a point, and what the message says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.address import (
    KINDS,
    ORDERS,
    Address,
    Endpoint,
    Medium,
    SerialLine,
    Table,
    check_address,
    check_endpoint,
    parse_address,
    parse_endpoint,
)


@pytest.mark.parametrize("table", ["coil", "discrete"])
def test_a_coil_has_no_type(table: str) -> None:
    assert parse_address(f"{table}:17") == Address(Table(table), 17, "bit")
    for more in (":uint16", ":bit3", ":sf=4", ":sunspec"):
        with pytest.raises(ValueError, match="no type"):
            parse_address(f"{table}:17{more}")


def test_registers_have_a_type_and_an_order() -> None:
    assert parse_address("holding:3") == Address(Table.HOLDING, 3, "uint16", "ABCD")
    assert parse_address("input:3:float64:DCBA").count == 4
    assert parse_address("holding:9:int16:BADC").order == "BADC"


def test_a_bit_of_a_register_a_text_and_a_scaled_value_have_addresses() -> None:
    assert parse_address("holding:10:bit3") == Address(Table.HOLDING, 10, "bit", "ABCD", 1, 3)
    assert parse_address("holding:20:string8:BADC") == Address(Table.HOLDING, 20, "string", "BADC", 8)
    scaled = parse_address("holding:40072:int16:sf=40076:sunspec")
    assert (scaled.factor, scaled.sunspec, scaled.count) == (40076, True, 1)
    assert parse_address("input:0:acc32:CDAB:sunspec").sunspec
    assert parse_address("holding:1:bcd32").count == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "form"), ("holding", "form"), ("holding:", "form"), ("holding:-1", "form"), ("holding:65536", "65535"),
     ("holding:65535:uint32", "65535"), ("holding:0:uint8", "types are"), ("register:1", "form"),
     ("holding:0:float32:ABDC", "orders are"), ("holding:0:uint16:CDAB", "one register"), ("HOLDING:0", "form"),
     ("holding:0:int16:DCBA", "one register"), ("holding:0:", "form"), ("holding:٣", "form"),
     ("holding:0:bit16", "types are"), ("holding:0:bit3:BADC", "bit11"), ("holding:0:string0", "types are"),
     ("holding:0:string126", "types are"), ("holding:0:string4:CDAB", "ABCD, or BADC"), ("holding:0:sf=7:int16", "form"),
     ("holding:0:float32:sf=7", "leave out sf"), ("holding:0:string4:sf=7", "leave out sf"),
     ("holding:0:int16:sf=65536", "65535"), ("holding:0:bcd16:sunspec", "leave out sunspec")],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_fix(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "kind", "writable", "said"),
    [("coil:0", "double", False, "boolean"), ("input:0", "double", True, "coil or holding"),
     ("discrete:0", "boolean", True, "coil or holding"), ("holding:0", "string", False, "stringN"),
     ("holding:0:string4", "double", False, "make the point string"), ("holding:0:string4", "string", True, "access r"),
     ("holding:0:float32", "boolean", False, "a bit or an integer"), ("holding:0", "object", False, "each field"),
     ("holding:0:float32", "enum", False, "integer type"), ("coil:0", "enum", False, "boolean"),
     ("holding:0:bit4", "integer", False, "boolean"), ("holding:0:int16:sf=9", "enum", False, "scaled")],
)  # fmt: skip
def test_an_address_that_does_not_suit_its_point_is_refused_with_the_fix(
    text: str, kind: str, writable: bool, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        check_address(text, kind, writable)


@pytest.mark.parametrize(
    ("text", "kind", "writable"),
    [("holding:0:bit4", "boolean", True), ("holding:0:string4", "string", False), ("holding:0:string4", "enum", False),
     ("holding:0:int16:sf=9", "double", True), ("holding:0:bcd16", "integer", True), ("coil:9", "boolean", True)],
)  # fmt: skip
def test_an_address_that_suits_its_point_is_taken(text: str, kind: str, writable: bool) -> None:
    check_address(text, kind, writable)


@pytest.mark.parametrize(
    "endpoint",
    ["modbus://h:502", "modbus://h/1", "tcp://h:502/1", "modbus://h:502/256", "modbus://h:502/1/2", "modbus://h:x/1",
     "modbus+rtu:///dev/ttyUSB0/1", "modbus+serial://h:1/1", "modbus+serial:///1", "modbus://u:p@h:502/1",
     "modbus+serial:///dev/ttyUSB0/1?baud=9601", "modbus+serial:///dev/ttyUSB0/1?speed=9600", "modbus://h:502/1?baud=9600"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_with_the_form(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"modbus|baud"):
        check_endpoint(endpoint)


def test_an_endpoint_names_its_medium_and_unit() -> None:
    assert parse_endpoint("modbus://plc.local:502/17") == Endpoint(Medium.TCP, "plc.local", 502, 17)
    assert parse_endpoint("modbus+rtu://[fe80::1]:4001/3") == Endpoint(Medium.RTU, "fe80::1", 4001, 3)
    line = SerialLine(19200, "E", 8, 2)
    assert parse_endpoint("modbus+serial:///dev/ttyUSB0/3?baud=19200&parity=E&stop=2") == Endpoint(
        Medium.SERIAL, "/dev/ttyUSB0", 0, 3, line
    )


@pytest.mark.parametrize(
    "endpoint",
    ["modbus://plc.local:502/17", "modbus+rtu://[fe80::1]:4001/3", "modbus+serial:///dev/ttyS1/9?baud=1200&parity=O"],
)
def test_an_endpoint_is_said_as_it_is_read(endpoint: str) -> None:
    assert parse_endpoint(str(parse_endpoint(endpoint))) == parse_endpoint(endpoint)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for parse in (parse_address, parse_endpoint):
        try:
            parse(text)
        except ValueError:
            continue


PARTS = st.sampled_from(
    ["coil", "discrete", "holding", "input", "0", "17", "65535", "99999", "bit3", "bit99", "string8", *KINDS, *ORDERS,
     "sf=3", "sf=", "sunspec", ""]
)  # fmt: skip


@given(st.lists(PARTS, max_size=7))
def test_any_parts_are_an_address_within_its_table_or_a_value_error(parts: list[str]) -> None:
    try:
        address = parse_address(":".join(parts))
    except ValueError:
        return
    assert 0 <= address.start < address.start + address.count <= 0x10000


@given(st.from_regex(r"modbus(\+rtu|\+serial)?://[a-z0-9:\[\]/.?=&@]{0,20}", fullmatch=True))
def test_anything_like_an_endpoint_is_one_or_a_value_error(endpoint: str) -> None:
    try:
        found = parse_endpoint(endpoint)
    except ValueError:
        return
    assert 0 <= found.unit <= 255 and found.host
