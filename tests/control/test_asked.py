"""What a caller sent of a command: units are checked and never converted, moments are absolute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from control.api.asked import request_of
from control.api.wire_command import CommandRequest
from control.command import Priority
from tests.control.served_plant import read_plant, write_plant
from twin.errors import BadRequest, NotFound, WrongUnit
from twin.plant import Plant

NOW = 1_800_000_000_000_000_000


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return read_plant(write_plant(tmp_path_factory.mktemp("asked")))


def asked(point: str, value: float | str, **more: Any) -> CommandRequest:
    return CommandRequest("k", point, value, **more)


@pytest.mark.parametrize("unit", ["%", "percent", None])
def test_a_value_in_the_points_unit_is_taken_as_it_is(plant: Plant, unit: str | None) -> None:
    assert request_of(asked("pump.speed", 80, unit=unit), plant, NOW).value == 80.0


@pytest.mark.parametrize(
    ("unit", "hint"),
    [
        ("ppm", "80 ppm is 0.008 %: give it in %"),
        ("bar", "give it in %"),
        ("", "80 is 8000 %: give it in %"),
        ("furlong", "give it in %"),
    ],
)
def test_a_value_in_another_unit_is_refused_and_the_hint_converts_it_where_that_can_be(
    plant: Plant, unit: str, hint: str
) -> None:
    with pytest.raises(WrongUnit) as caught:
        request_of(asked("pump.speed", 80, unit=unit), plant, NOW)
    assert caught.value.hint.startswith(hint)


def test_a_point_without_a_unit_takes_none(plant: Plant) -> None:
    assert request_of(asked("pump.status", "on", unit=""), plant, NOW).value == 1.0
    with pytest.raises(WrongUnit, match="no unit"):
        request_of(asked("pump.status", 1, unit="m"), plant, NOW)


@pytest.mark.parametrize("said", [1_800_000_060_000, "2027-01-15T08:01:00Z", "2027-01-15 08:01:00"])
def test_a_moment_is_milliseconds_or_iso(plant: Plant, said: float | str) -> None:
    request = request_of(asked("pump.status", 1, at=said, latest=said), plant, NOW)
    assert request.at == request.latest == 1_800_000_060_000_000_000


@pytest.mark.parametrize("said", ["+30m", "now", "-1h", "06:00", float("nan"), 1e300, "9999-01-01"])
def test_a_moment_that_moves_or_means_nothing_is_refused(plant: Plant, said: float | str) -> None:
    with pytest.raises(BadRequest, match="at: "):
        request_of(asked("pump.status", 1, at=said), plant, NOW)


def test_everything_said_of_a_command_reaches_the_request(plant: Plant) -> None:
    timed = replace(plant, clock="pump.speed")
    request = request_of(
        asked("pump.mode", "hand", priority="safety", deadline_s=5.0, reason="r", select=True, revision=7, at_plant_s=3.5,
              when="tank.level > 1 m", wait_s=60.0), timed, NOW,
    )  # fmt: skip
    assert (request.key, request.point, request.value, request.priority) == ("k", "pump.mode", 2.0, Priority.SAFETY)
    assert (request.deadline_s, request.reason, request.select, request.revision) == (5.0, "r", True, 7)
    assert (request.at_plant_s, request.when, request.wait_s) == (3.5, "tank.level > 1 m", 60.0)
    with pytest.raises(NotFound, match=r"pump\.mod"):
        request_of(asked("pump.mod", 1), plant, NOW)
    with pytest.raises(BadRequest, match="at_plant_s"):
        request_of(asked("pump.mode", "hand", at_plant_s=float("inf")), timed, NOW)
    with pytest.raises(BadRequest, match="no clock of its own"):
        request_of(asked("pump.mode", "hand", at_plant_s=3.5), plant, NOW)
