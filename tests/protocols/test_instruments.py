"""Faulty instruments: what they show of true values, and that they show the truth again afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.faults import Fault, Kind
from protocols.instruments import Instruments
from twin.plant import Device, Plant
from twin.points import Point, Points
from twin.quality import BAD_SENSOR_FAILURE

LEVEL, COUNT, PUMP, NAME, OTHER = range(5)


@pytest.fixture
def plant() -> Plant:
    points = (
        Point(LEVEL, "tank.level", "tank", "level", "double", "m", "plc", "holding:0:float32", low=0.0, high=10.0),
        Point(COUNT, "tank.count", "tank", "count", "integer", "", "plc", "holding:2"),
        Point(PUMP, "pump.on", "pump", "on", "boolean", "", "plc", "coil:0"),
        Point(NAME, "tank.name", "tank", "name", "string", "", "plc", "x"),
        Point(OTHER, "far.level", "far", "level", "double", "m", "far", "holding:0:float32", low=0.0, high=10.0),
    )
    devices = tuple(Device(name, "modbus", "modbus://127.0.0.1:1/1", {}) for name in ("plc", "far"))
    return Plant("test", "Test", "", {}, devices, (), (), Points.of(points), (), None, {})


@pytest.fixture
def instruments(plant: Plant) -> Instruments:
    return Instruments(plant, np.random.default_rng(5))


def truth(level: float = 5.0) -> tuple[NDArray[np.float64], NDArray[np.uint32]]:
    return np.array([level, 7.0, 1.0, np.nan, level]), np.zeros(5, np.uint32)


def test_a_sound_instrument_shows_the_truth(instruments: Instruments) -> None:
    shown = instruments.show(*truth(), 0.0)
    np.testing.assert_equal(shown.value, truth()[0])
    assert not shown.quality.any() and not shown.still.any()


@pytest.mark.parametrize("clock", [1.0, 0.0])
def test_a_frozen_value_stays_and_its_clock_goes_on_or_stops(instruments: Instruments, clock: float) -> None:
    instruments.show(*truth(5.0), 0.0)
    fault = Fault(1, 2, Kind.FREEZE, "plc", (), {"clock": clock})
    instruments.begin(fault, 1.0)
    shown = instruments.show(*truth(8.0), 1.5)
    assert shown.value[LEVEL] == 5.0 and shown.value[OTHER] == 8.0
    assert shown.still[LEVEL] == shown.still[NAME] == (clock == 0.0)
    assert not shown.still[OTHER]
    instruments.end(fault)
    assert instruments.show(*truth(8.0), 2.0).value[LEVEL] == 8.0


def test_a_drifting_value_leaves_the_truth_steadily_and_only_numbers_drift(instruments: Instruments) -> None:
    instruments.begin(Fault(1, 9, Kind.DRIFT, "plc", (), {"spans_per_s": 0.01}), 1.0)
    early, late = instruments.show(*truth(), 2.0), instruments.show(*truth(), 4.0)
    assert early.value[LEVEL] == pytest.approx(5.0 + 0.01 * 10) and late.value[LEVEL] == pytest.approx(5.0 + 0.03 * 10)
    assert late.value[COUNT] == 10.0  # a range without end counts as 100 wide, and a count stays whole
    assert late.value[PUMP] == 1.0 and late.value[OTHER] == 5.0


def test_spikes_go_both_ways_and_hit_their_share(instruments: Instruments) -> None:
    instruments.begin(Fault(0, 9, Kind.SPIKE, "plc", ("tank.level",), {"spans": 0.2, "share": 0.5}), 0.0)
    seen = [float(instruments.show(*truth(), n / 10).value[LEVEL]) for n in range(400)]
    assert set(np.round(seen, 9)) == {3.0, 5.0, 7.0}
    assert 140 < seen.count(5.0) < 260
    assert instruments.show(*truth(), 50.0).value[COUNT] == 7.0


def test_a_bad_quality_is_said_of_the_named_points_only(instruments: Instruments) -> None:
    fault = Fault(0, 1, Kind.BAD_QUALITY, "plc", ("pump.on",), {"code": BAD_SENSOR_FAILURE})
    instruments.begin(fault, 0.0)
    assert instruments.show(*truth(), 0.5).quality.tolist() == [0, 0, BAD_SENSOR_FAILURE, 0, 0]
    instruments.end(fault)
    assert not instruments.show(*truth(), 1.0).quality.any()


def test_a_frozen_value_neither_drifts_nor_jumps_and_what_it_is_given_stays_as_it_is(instruments: Instruments) -> None:
    instruments.show(*truth(), 0.0)
    instruments.begin(Fault(0, 9, Kind.FREEZE, "plc", (), {"clock": 1.0}), 0.0)
    instruments.begin(Fault(0, 9, Kind.DRIFT, "plc", (), {"spans_per_s": 1.0}), 0.0)
    value, quality = truth()
    assert instruments.show(value, quality, 5.0).value[LEVEL] == 5.0
    np.testing.assert_equal(value, truth()[0])
