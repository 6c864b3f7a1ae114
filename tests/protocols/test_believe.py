"""Which values are believed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.believe import SOURCE_AHEAD_MAX_NS, TEXT_MAX, Unbelievable, source_time, twin_value, wire_value
from tests.protocols.protocol_bench import point


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
