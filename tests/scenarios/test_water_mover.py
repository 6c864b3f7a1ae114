"""The water behind the devices: it obeys commands, its instruments are noisy, and a seed replays it."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios.mover import Measured
from scenarios.water.fleet import TrueDemand, WaterMover
from twin.plant import Plant
from twin.quality import UNCERTAIN

CALM = TrueDemand(level_sd=0.0, walk_sd=0.0, junction_sd=0.0)


def readings_of(measured: Measured) -> dict[int, float]:
    return dict(zip(measured.ids.tolist(), measured.value.tolist(), strict=True))


def reading(plant: Plant, mover: WaterMover, name: str, elapsed_s: float) -> float:
    return readings_of(mover.advance(elapsed_s))[plant.point(name).id]


def test_every_measured_point_has_a_reading_and_every_command_point_a_setting(plant: Plant) -> None:
    mover = WaterMover(plant, seed=1)
    measured = mover.advance(0)
    bound = {p.id for p in plant.points if p.device}
    assert set(measured.ids.tolist()) | mover.settings().keys() == bound
    assert not set(measured.ids.tolist()) & mover.settings().keys()
    assert all(plant.points[i].low <= v <= plant.points[i].high for i, v in readings_of(measured).items())


def test_the_plant_starts_with_the_river_pump_alone(plant: Plant) -> None:
    mover = WaterMover(plant, seed=1)
    told = {plant.points[i].name: value for i, value in mover.settings().items()}
    assert told == {
        "pump_10.status": 0.0,
        "pump_10.speed": 100.0,
        "pump_335.status": 1.0,
        "pump_335.speed": 100.0,
        "station.bypass": 0.0,
    }
    assert reading(plant, mover, "pump_335.running", 0) == 1.0
    assert reading(plant, mover, "pump_10.running", 0) == 0.0


def test_a_stopped_pump_stops_the_flow_and_tank_1_falls(plant: Plant) -> None:
    mover = WaterMover(plant, seed=2)
    before_m = reading(plant, mover, "tank_1.level", 600)
    assert mover.command(plant.point("pump_335.status"), 0.0)
    assert reading(plant, mover, "pump_335.running", 600) == 0.0
    assert reading(plant, mover, "pump_335.flow", 600) == 0.0
    assert reading(plant, mover, "station.flow", 600) == pytest.approx(0.0, abs=0.01)
    assert reading(plant, mover, "tank_1.level", 600 + 7200) < before_m - 1.0


def test_a_slower_pump_delivers_less_and_an_open_bypass_passes_the_river_by_itself(plant: Plant) -> None:
    mover = WaterMover(plant, seed=2, demand=CALM)
    full_l_s = reading(plant, mover, "pump_335.flow", 60)
    mover.command(plant.point("pump_335.speed"), 85.0)
    assert reading(plant, mover, "pump_335.flow", 60) < 0.95 * full_l_s
    mover.command(plant.point("pump_335.status"), 0.0)
    mover.command(plant.point("station.bypass"), 1.0)
    assert reading(plant, mover, "station.bypass_open", 60) == 1.0
    assert reading(plant, mover, "station.flow", 60) > 0.1 * full_l_s


@pytest.mark.parametrize(
    ("point", "value"),
    [("pump_335.status", 2.0), ("pump_335.speed", 130.0), ("pump_335.speed", float("nan")), ("tank_1.level", 3.0)],
)
def test_a_write_that_the_plant_cannot_obey_is_refused(plant: Plant, point: str, value: float) -> None:
    mover = WaterMover(plant, seed=1)
    before = mover.settings()
    assert not mover.command(plant.point(point), value)
    assert mover.settings() == before


def test_the_same_seed_and_commands_give_the_same_readings(plant: Plant) -> None:
    one, same, other = (WaterMover(plant, seed) for seed in (3, 3, 4))
    for elapsed_s in (0, 450, 900):
        expected = readings_of(one.advance(elapsed_s))
        assert readings_of(same.advance(elapsed_s)) == expected
        assert readings_of(other.advance(elapsed_s)) != expected


def test_instruments_are_as_noisy_as_they_are_said_to_be(plant: Plant) -> None:
    mover = WaterMover(plant, seed=5)
    readings = [readings_of(mover.advance(0)) for _ in range(300)]
    level = np.std([r[plant.point("tank_1.level").id] for r in readings])
    flow = np.array([r[plant.point("pipe_60.flow").id] for r in readings])
    pressure = np.std([r[plant.point("junction_101.pressure").id] for r in readings])
    assert level == pytest.approx(0.01, rel=0.15)
    assert flow.std() / flow.mean() == pytest.approx(0.005, rel=0.15)
    assert pressure == pytest.approx(0.3 * 9.80665, rel=0.15)


def test_a_gauge_at_the_end_of_its_range_says_so(plant: Plant) -> None:
    mover = WaterMover(plant, seed=1)
    mover.water.set_demand_multiplier(4.0)  # a burst main somewhere: junctions fall below vacuum
    measured = mover.advance(0)
    saturated = measured.quality == UNCERTAIN
    assert saturated.any()
    ends = zip(measured.ids[saturated].tolist(), measured.value[saturated].tolist(), strict=True)
    assert all(value in (plant.points[i].low, plant.points[i].high) for i, value in ends)


def test_the_true_demand_differs_from_seed_to_seed_and_wanders(plant: Plant) -> None:
    def drawn_l_s(seed: int, elapsed_s: float) -> float:
        mover = WaterMover(plant, seed, start_s=8 * 3600)
        mover.advance(elapsed_s)
        return mover.water.demand_l_s()

    at_start = [drawn_l_s(seed, 0) for seed in range(8)]
    assert 0.02 < np.std(np.log(at_start)) < 0.2
    assert drawn_l_s(1, 3000) != pytest.approx(drawn_l_s(1, 0), rel=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_no_sequence_of_commands_breaks_the_water(plant: Plant, seed: int) -> None:
    chance = np.random.default_rng(seed)
    mover = WaterMover(plant, seed, start_s=float(chance.integers(0, 86_400)))
    targets = [p for p in plant.points if p.writable]
    elapsed_s = 0.0
    for _ in range(25):
        point = targets[chance.integers(len(targets))]
        told = chance.integers(2) if point.type == "boolean" else chance.choice([0, 0.1, 30, 80, 100, 120])
        assert mover.command(point, float(told))
        elapsed_s += float(chance.integers(1, 4 * 3600))
        assert all(np.isfinite(mover.advance(elapsed_s).value))
