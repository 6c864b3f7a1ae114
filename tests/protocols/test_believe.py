"""Which values are believed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.believe import (
    SOURCE_AHEAD_MAX_NS,
    TEXT_MAX,
    Unbelievable,
    plain_value,
    source_time,
    twin_value,
    wire_value,
)
from tests.protocols.protocol_bench import point
from twin.schema import Array, Enum, EnumValue, Member, Object, Primitive

MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 4)))
WORD = Enum("string", (EnumValue("idle", "IDLE"), EnumValue("busy", "BUSY")))
STOPS = Object((Member("route", Array(Object((Member("speed", Primitive("double")),)))),))


@pytest.mark.parametrize(
    ("kind", "wire", "reason"),
    [("double", "1", "type"), ("double", True, "type"), ("double", None, "type"), ("double", math.nan, "nan"),
     ("double", math.inf, "nan"), ("double", 10**400, "range"), ("double", 101.0, "range"), ("boolean", 2, "type"),
     ("integer", 1.5, "type"), ("string", 1, "type"), ("double", [1], "type")],
)  # fmt: skip
def test_what_the_point_cannot_mean_is_not_believed(kind: str, wire: Any, reason: str) -> None:
    with pytest.raises(Unbelievable) as doubt:
        twin_value(point(0, "a", kind, low=-100.0, high=100.0), wire)
    assert doubt.value.reason == reason


def test_a_text_has_an_end() -> None:
    assert twin_value(point(0, "a", "string"), "x" * TEXT_MAX)[1] is not None
    with pytest.raises(Unbelievable) as doubt:
        twin_value(point(0, "a", "string"), "x" * (TEXT_MAX + 1))
    assert doubt.value.reason == "overflow"


def test_a_clock_may_run_ahead_a_little() -> None:
    assert source_time(SOURCE_AHEAD_MAX_NS, 0) == 0, "but it never outranks what is said after it"
    with pytest.raises(Unbelievable):
        source_time(SOURCE_AHEAD_MAX_NS + 1, 0)
    with pytest.raises(Unbelievable):
        source_time(-(2**64), 0)


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1000), st.floats(-1000, 1000))
def test_what_is_written_reads_back_as_the_same_number(value: float, scale: float, offset: float) -> None:
    there = point(0, "a", scale=scale, offset=offset)
    back, _ = twin_value(there, wire_value(there, value))
    assert math.isclose(back, value, rel_tol=1e-9, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("enum", "wire", "value", "text"),
    [(MODE, 4, 4.0, "auto"), (MODE, 4.0, 4.0, "auto"), (MODE, "auto", 4.0, "auto"), (WORD, "BUSY", 1.0, "busy"),
     (WORD, "busy", 1.0, "busy"), (WORD, 1, 1.0, "busy")],
)  # fmt: skip
def test_an_enum_has_a_code_and_a_name_however_the_device_says_it(
    enum: Enum, wire: Any, value: float, text: str
) -> None:
    assert twin_value(point(0, "a", "enum", schema=enum), wire) == (value, text)


@pytest.mark.parametrize(
    ("enum", "wire"), [(MODE, 1), (MODE, "on"), (MODE, True), (MODE, None), (WORD, 2), (MODE, 0.5)]
)
def test_a_code_that_the_interface_does_not_list_is_not_believed(enum: Enum, wire: Any) -> None:
    with pytest.raises(Unbelievable, match=f"is none of {'0 off, 4 auto' if enum is MODE else 'IDLE idle'}") as doubt:
        twin_value(point(0, "a", "enum", schema=enum), wire)
    assert doubt.value.reason == "enum"


@pytest.mark.parametrize(
    ("enum", "value", "wire"), [(MODE, 4.0, 4), (WORD, 1.0, "BUSY"), (WORD, 0.0, "IDLE"), (MODE, 3.0, 3)]
)
def test_an_enum_goes_out_as_its_device_says_it(enum: Enum, value: float, wire: Any) -> None:
    found = plain_value(point(0, "a", "enum", schema=enum), value)
    assert (found, type(found)) == (wire, type(wire))


def test_a_structured_value_becomes_canonical_text() -> None:
    value, text = twin_value(point(0, "a", "object", schema=STOPS), {"route": [{"speed": 1}, {}]})
    assert math.isnan(value)
    assert text == '{"route":[{"speed":1.0},{}]}'


@pytest.mark.parametrize(
    ("wire", "said"),
    [({"route": [{}, {"speed": "fast"}]}, r"route\[1\]\.speed: a number is wanted"), ([], "an object is wanted"),
     ({"rout": []}, "has no field 'rout'"), ("{}", "an object is wanted"), (object(), "an object is wanted"),
     ({"route": [{"speed": 1.5}] * 10_000}, "are the limit")],
)  # fmt: skip
def test_a_structured_value_of_another_shape_says_where_it_differs(wire: Any, said: str) -> None:
    with pytest.raises(Unbelievable, match=said) as doubt:
        twin_value(point(0, "a", "object", schema=STOPS), wire)
    assert doubt.value.reason == "schema"


def test_texts_of_a_set_form_are_checked() -> None:
    there = point(0, "a", "string", schema=Primitive("date"))
    assert twin_value(there, "2030-01-31")[1] == "2030-01-31"
    with pytest.raises(Unbelievable, match="a date like") as doubt:
        twin_value(there, "31.1.2030")
    assert doubt.value.reason == "schema"


def test_a_decimal_may_come_as_text() -> None:
    there = point(0, "a", schema=Primitive("decimal"), high=100.0)
    assert twin_value(there, "12.50") == (12.5, None)
    with pytest.raises(Unbelievable) as doubt:
        twin_value(there, "1000")
    assert doubt.value.reason == "range"
