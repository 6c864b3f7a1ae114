"""A works of any size: the folder that is written loads without a mistake, and says what was asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from control.plants import RULES
from scenarios.works import write_works
from twin.errors import BadRequest, Conflict
from twin.plantfile import load_plant


def test_a_works_has_the_devices_and_points_asked_for_on_all_protocols(tmp_path: Path) -> None:
    write_works(tmp_path / "w", 20, 37, {"modbus": {"poll_s": 0.25}})
    plant = load_plant(tmp_path / "w", RULES)
    assert Counter(d.protocol for d in plant.devices) == {"modbus": 14, "mqtt": 4, "opcua": 2}
    assert all(len(plant.points_of_device(d.id)) == 37 for d in plant.devices)
    assert {d.settings["poll_s"] for d in plant.devices if d.protocol == "modbus"} == {0.25}
    assert {p.type for p in plant.points} == {"double", "integer", "boolean", "string", "enum"}
    assert plant.feedbacks and not plant.notices


@pytest.mark.parametrize(("devices", "points"), [(0, 1), (1, 0), (2_001, 1), (1_000, 1_001)])
def test_a_works_without_end_or_without_anything_is_refused(tmp_path: Path, devices: int, points: int) -> None:
    with pytest.raises(BadRequest, match="devices of"):
        write_works(tmp_path / "w", devices, points)
    assert not (tmp_path / "w").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(Conflict, match="not empty"):
        write_works(tmp_path, 1, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
