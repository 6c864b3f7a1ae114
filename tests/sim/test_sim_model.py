"""The [model] table: every mistake is told with its key and its fix, and none by an exception."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.model import Model, model_mistakes, read_model
from twin.errors import BadRequest
from twin.plant import Plant


def with_model(plant: Plant, **changes: Any) -> Plant:
    return dataclasses.replace(plant, model={**copy.deepcopy(dict(plant.model)), **changes})


def with_row(plant: Plant, **row: Any) -> Plant:
    return with_model(plant, element=[*plant.model["element"], row])


def test_the_water_plant_has_no_mistakes_and_ties_every_measured_point(plant: Plant, model: Model) -> None:
    assert model_mistakes(plant) == []
    measured = {p.name for p in plant.points if p.device and not p.writable and p.name != plant.clock}
    assert set(model.reads) == measured
    assert set(model.sets) == {p.name for p in plant.points if p.writable}


@pytest.mark.parametrize(
    ("changes", "key", "fix"),
    [
        ({"kind": "fmu"}, "model.kind", "epanet"),
        ({"network": "net4.inp"}, "model.network", "name an EPANET .inp"),
        ({"network": 5}, "model.network", "write it as text"),
        ({"step_s": 0}, "model.step_s", "from 1 to 3600"),
        ({"step_s": True}, "model.step_s", "from 1 to 3600"),
        ({"outputs": ["tank_1.levle"]}, "model.outputs", "tank_1.level"),
        ({"outputs": "tank_1.level"}, "model.outputs", "write a list"),
        ({"energy": ["336"]}, "model.energy", "335"),
        ({"demand": None}, "model.demand", "add [model.demand]"),
        ({"element": []}, "model.element", "add [[model.element]]"),
    ],
)
def test_a_wrong_key_is_named_with_its_fix(plant: Plant, changes: dict[str, Any], key: str, fix: str) -> None:
    mistakes = model_mistakes(with_model(plant, **changes))
    assert any(key in m and fix in m for m in mistakes), mistakes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"twins": "tank_*", "element": "tank"}, 'write "node" or "link"'),
        ({"twins": "tanc_*", "element": "node"}, "no twin is called"),
        ({"twins": "tank_1", "element": "node", "id": "99"}, "the network has no node '99' for tank_1"),
        ({"twins": "tank_1", "element": "node", "id": "1", "reads": {"depth": "level"}}, "tank_1.depth is no point"),
        ({"twins": "tank_1", "element": "node", "id": "1", "reads": {"level": "colour"}}, "one of inflow"),
        ({"twins": "tank_1", "element": "node", "id": "1", "reads": {"level": "pressure"}}, "needs a unit like 'mH2O'"),
        ({"twins": "tank_1", "element": "node", "id": "1", "reads": {"level": "level"}}, "tied twice"),
        ({"twins": "pump_10", "element": "link", "id": "10", "sets": {"running": "status"}}, "not writable"),
        (
            {"twins": "tank_1", "element": "node", "id": "1", "sd": -1, "start": {"level": "level"}},
            "model.element 9.sd",
        ),
    ],
)
def test_a_wrong_row_is_named_with_its_number(plant: Plant, row: dict[str, Any], message: str) -> None:
    mistakes = model_mistakes(with_row(plant, **row))
    assert len(mistakes) == 1
    assert "model.element 9" in mistakes[0] and message in mistakes[0]


def test_all_mistakes_come_at_once(plant: Plant) -> None:
    broken = with_model(plant, step_s=-1, outputs=["a.b"], energy=["x"], demand={"level_sd": "much"})
    mistakes = model_mistakes(broken)
    assert len(mistakes) >= 6
    with pytest.raises(BadRequest) as caught:
        read_model(broken)
    assert all(m in caught.value.message for m in mistakes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("UNITS                LPS", "UNITS GPM", "save it with UNITS LPS"),
        ("[CONTROLS]", "[CONTROLS]\nLINK 335 CLOSED AT TIME 5", "remove them"),
    ],
)
def test_a_network_file_that_would_not_obey_is_refused(
    plant: Plant, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (Path(plant.folder) / "net3.inp").read_text()
    assert old in text
    (tmp_path / "changed.inp").write_text(text.replace(old, new))
    [mistake] = model_mistakes(with_model(plant, network=str(tmp_path / "changed.inp")))
    assert message in mistake


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["network", "step_s", "stale_after_s", "outputs", "energy", "demand", "element"]),
    value=ANYTHING,
)
def test_no_table_however_wrong_breaks_the_check(plant: Plant, key: str, value: Any) -> None:
    assert isinstance(model_mistakes(with_model(plant, **{key: value})), list)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["twins", "element", "id", "reads", "sets", "start", "sd"]), value=ANYTHING)
def test_no_row_however_wrong_breaks_the_check(plant: Plant, key: str, value: Any) -> None:
    row = {"twins": "tank_1", "element": "node", "id": "1", key: value}
    assert isinstance(model_mistakes(with_row(plant, **row)), list)
