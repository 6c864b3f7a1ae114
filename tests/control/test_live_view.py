"""What a script is told of a value: its unit, quality and age, and that it is never good when nobody vouches for it."""

from __future__ import annotations

import numpy as np
import pytest

from control.api import wire
from control.live_view import LiveView
from twin import quality
from twin.errors import BadRequest, NotFound

NOW = 1_790_000_000_000_000_000
POINTS = [("tank.level", "double", "m", "plc"), ("pump.on", "boolean", "", "plc"), ("tank.note", "string", "", "")]


def info(identity: int, name: str, kind: str, unit: str, device: str) -> wire.PointInfo:
    twin, _, known = name.partition(".")
    return wire.PointInfo(
        identity, name, twin, known, kind, unit, device, False, None, None, False, 0, "", "off", "", []
    )  # fmt: skip


def plant(points: list[tuple[str, str, str, str]]) -> wire.PlantInfo:
    return wire.PlantInfo("p", "P", "1", [], [], [], [info(i, *p) for i, p in enumerate(points)], None, [], [], [])


def columns(*rows: tuple[int, float, int, float], text: dict[str, str] | None = None) -> wire.Columns:
    """(id, value, quality, age in s when it is NOW)"""
    ids, values, codes, ages = zip(*rows, strict=True)
    times = NOW / 1e6 - np.array(ages) * 1e3
    return wire.Columns(
        np.array(ids, "<u4").tobytes(), np.array(values, "<f8").tobytes(), np.array(codes, "<u4").tobytes(),
        times.astype("<f8").tobytes(), times.astype("<f8").tobytes(), text or {},
    )  # fmt: skip


@pytest.fixture
def view() -> LiveView:
    made = LiveView()
    made.adopt(plant(POINTS))
    made.apply(columns((0, 3.5, 0, 1.0), (1, 1.0, 0, 0.0), (2, np.nan, 0, 900.0), text={"2": "cleaned"}), True)
    return made


def test_a_value_has_its_unit_quality_and_age(view: LiveView) -> None:
    value = view.value("tank.level", NOW, 0.1)
    assert (value.value, value.unit, value.good, round(value.age_s or 0)) == (3.5, "m", True, 1)
    assert str(value) == "tank.level = 3.5 m (good, 1.0 s old)"


def test_nothing_is_good_once_the_server_is_silent(view: LiveView) -> None:
    for name, *_ in POINTS:
        assert view.value(name, NOW, 2.0).good
        assert view.value(name, NOW, 3.0).stale and not view.value(name, NOW, 3.0).good
    assert view.holds(view.condition("tank.level > 3 m"), NOW, 2.0).truth is True
    answer = view.holds(view.condition("tank.level > 3 m"), NOW, 3.0)
    assert answer.truth is None and "nothing was heard" in answer.detail


def test_what_a_device_reports_grows_old_by_the_servers_clock_and_what_people_keep_does_not(view: LiveView) -> None:
    assert view.value("tank.level", NOW + 12 * 10**9, 0.0).stale
    assert view.value("tank.note", NOW + 12 * 10**9, 0.0).text == "cleaned"
    assert view.value("tank.note", NOW + 12 * 10**9, 0.0).good
    view.observe((NOW + 11 * 10**9) / 1e6, NOW)  # our clock is slow
    assert view.value("tank.level", NOW, 0.0).stale


@pytest.mark.parametrize("code", [quality.UNCERTAIN_LAST_USABLE, quality.BAD_NO_COMMUNICATION])
def test_bad_quality_is_told_and_no_condition_goes_by_it(view: LiveView, code: int) -> None:
    view.apply(columns((0, 3.5, code, 0.0)), False)
    assert not view.value("tank.level", NOW, 0.0).good
    answer = view.holds(view.condition("tank.level > 3 m and pump.on"), NOW, 0.0)
    assert answer.truth is None and quality.name(code) in answer.detail


def test_a_name_or_a_unit_that_is_wrong_is_said_with_the_right_one(view: LiveView) -> None:
    with pytest.raises(NotFound, match=r"did you mean tank\.level"):
        view.value("tank.leve", NOW, 0.0)
    with pytest.raises(BadRequest):
        view.condition("tank.level > 3 kg")


def test_a_value_that_came_before_the_plant_knew_its_point_is_there_once_it_does(view: LiveView) -> None:
    view.apply(columns((3, 7.0, 0, 0.0)), False)
    view.adopt(plant([*POINTS, ("tank.flow", "double", "m3/h", "plc")]))
    assert view.value("tank.flow", NOW, 0.0).value == 7.0
    assert view.value("tank.level", NOW, 0.0).value == 3.5


def test_a_snapshot_replaces_everything(view: LiveView) -> None:
    view.apply(columns((1, 0.0, 0, 0.0)), True)
    assert view.value("tank.level", NOW, 0.0).value is None
    assert not view.value("tank.level", NOW, 0.0).good
