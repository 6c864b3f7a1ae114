"""Starting from the live state: what is taken from the snapshot, and when that is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.epanet import LinkInput
from sim.model import Model
from sim.start import start_state
from twin.columns import Snapshot
from twin.errors import Refused
from twin.plant import Plant
from twin.quality import BAD_SENSOR_FAILURE


def test_the_start_is_what_the_instruments_read(plant: Plant, model: Model, morning: Snapshot) -> None:
    start = start_state(plant, model, morning)
    assert start.clock_s == 8 * 3600 + 120
    assert start.levels_m == {"1": (5.0, 0.01), "2": (7.0, 0.01), "3": (9.0, 0.01)}
    assert start.links == {"10": LinkInput(False, 1.0), "335": LinkInput(True, 1.0), "330": LinkInput(False, 1.0)}
    assert start.demand_l_s == pytest.approx(815 - 45 - 14 - 160)


def test_an_intervention_returns_to_what_the_pump_did_and_not_to_what_it_was_told(
    plant: Plant, model: Model, snapshot_with: Callable[..., Snapshot]
) -> None:
    tripped = snapshot_with({"pump_335.running": 0.0, "pump_335.status": 1.0, "pump_335.speed": 85.0})
    start = start_state(plant, model, tripped)
    assert start.settings["pump_335.status"] == 0.0
    assert start.settings["pump_335.speed"] == pytest.approx(85.0)


def test_every_point_that_is_missing_bad_or_stale_is_listed(
    plant: Plant, model: Model, snapshot_with: Callable[..., Snapshot]
) -> None:
    snapshot = snapshot_with(
        {"tank_1.level": None},
        quality={"tank_2.level": BAD_SENSOR_FAILURE},
        age_s={"pump_335.running": 45.0},
    )
    with pytest.raises(Refused) as caught:
        start_state(plant, model, snapshot)
    text = caught.value.message
    assert "tank_1.level is BadWaitingForInitialData" in text
    assert "tank_2.level is BadSensorFailure" in text
    assert "pump_335.running is 45 s old (at most 30 s)" in text
    assert "tank_3.level" not in text


def test_a_point_that_the_model_does_not_need_may_be_bad(
    plant: Plant, model: Model, snapshot_with: Callable[..., Snapshot]
) -> None:
    snapshot = snapshot_with({"pipe_101.flow": 3.0}, quality={"pipe_101.flow": BAD_SENSOR_FAILURE})
    assert start_state(plant, model, snapshot).demand_l_s > 0


def test_the_hash_names_the_state_used_and_nothing_else(
    plant: Plant, model: Model, snapshot_with: Callable[..., Snapshot], morning: Snapshot
) -> None:
    same = start_state(plant, model, snapshot_with({"pipe_101.flow": 3.0})).hash
    other = start_state(plant, model, snapshot_with({"tank_1.level": 5.000001})).hash
    assert start_state(plant, model, morning).hash == same != other
