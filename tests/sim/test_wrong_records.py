"""Records of layouts that nobody wrote, and numbers beyond any plant: refused with place and fix, never run."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sim.kernel.assembly import assemble
from sim.kernel.names import Names
from sim.layout import Layout
from sim.layout_record import record, restored
from sim.opaque.generator import Generator
from sim.spec import Misspelt, State
from tests.sim.layouts import line10


def broken(path: tuple[Any, ...], value: object) -> dict[str, Any]:
    made = copy.deepcopy(record(line10()))
    place: Any = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("components", 0, "type"), "os:system"),
        (("components", 0, "type"), "nowhere:Machine"),
        (("components", 0, "ports", "out"), 10**6),
        (("components", 0, "ports", "out"), -7),
        (("components", 0, "values"), {"life": 3}),
        (("components", 0, "values"), {"nothing": 3.0}),
        (("components", 1), 3),
        (("shared", 0, 6), 10**9),
        (("shared", 0, 2), "much"),
        (("shared", 0, 1), "Nothing"),
        (("shared", 0), []),
        (("time_unit",), "year"),
        (("components",), 5),
    ],
)
def test_a_record_that_nobody_wrote_is_refused(path: tuple[Any, ...], value: object) -> None:
    assert record(restored(record(line10()))) == record(line10())
    with pytest.raises(Misspelt):
        restored(broken(path, value))


@pytest.mark.parametrize("value", [1e300, 1e19, 9e18, 1.5])
def test_more_units_than_can_be_counted_are_refused(value: float) -> None:
    names = Names(assemble(line10()))
    for more in (False, True):
        with pytest.raises(Misspelt, match="whole number of units"):
            names.act(1.0, "crew.capacity", value, more=more)
    with pytest.raises(Misspelt, match="whole number"):
        Layout().resource("crew", value)  # type: ignore[arg-type]


def test_a_queue_has_a_largest_size() -> None:
    with pytest.raises(Misspelt, match="from 0 to 100000"):
        Layout().buffer("queue", items=10**9)


def test_a_state_that_there_is_not_is_named() -> None:
    with pytest.raises(Misspelt, match=r"no state 'upp' \(one of"):
        State("up", "down").upp  # noqa: B018


def test_a_generator_is_one() -> None:
    with pytest.raises(Misspelt, match="a function that yields"):
        Generator(lambda starts: {})  # type: ignore[arg-type, return-value]
