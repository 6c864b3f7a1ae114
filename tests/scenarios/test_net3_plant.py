"""The water plant's files: written by their script, free of mistakes, and whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from scenarios.water import make_plant
from sim.model import model_mistakes
from twin.plant import Plant


def test_running_the_script_again_gives_the_same_bytes(tmp_path: Path) -> None:
    make_plant.main(tmp_path)
    for name in make_plant.GENERATED:
        assert (tmp_path / name).read_bytes() == (make_plant.HERE / name).read_bytes(), name


def test_every_junction_tank_reservoir_and_pump_of_net3_is_a_twin(plant: Plant) -> None:
    kinds = Counter(t.interface for t in plant.twins)
    counted = {kind.split(":")[-1]: count for kind, count in kinds.items() if ":water:" in kind}
    assert counted == {
        "Junction;1": 92,
        "Tank;1": 3,
        "Reservoir;1": 2,
        "Pump;1": 2,
        "PumpStation;1": 1,
        "Pipe;1": 12,
        "Network;1": 1,
    }
    assert all(t.at is not None for t in plant.twins if ":water:" in t.interface and t.id != "network")


def test_every_pipe_of_net3_is_a_relationship(plant: Plant) -> None:
    names = Counter(r.name for r in plant.relationships)
    assert names["pipe"] == 117
    assert names["contains"] == 112  # every twin but the network is part of exactly one other


def test_each_device_serves_its_part_of_the_instruments(plant: Plant) -> None:
    served = {d.id: len(plant.points_of_device(d.id)) for d in plant.devices}
    assert served == {"scada": 19, "plc": 13, "pressures": 92}


def test_every_command_is_confirmed_by_a_feedback(plant: Plant) -> None:
    assert {p.name for p in plant.points if p.writable} == set(plant.feedback_of_point)


def test_the_model_of_the_plant_has_no_mistakes(plant: Plant) -> None:
    assert model_mistakes(plant) == []


@pytest.mark.parametrize("path", sorted((make_plant.HERE / "interfaces").glob("*.json")), ids=lambda p: p.stem)
def test_an_interface_says_what_each_of_its_values_is(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document["description"]
    assert all(c["displayName"] for c in document["contents"])
