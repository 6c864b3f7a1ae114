"""Schedules of faults: a seed gives the same ones, a sheet is read with every mistake named, cables add faults up."""

from __future__ import annotations

import pytest

from protocols.faults import (
    COLUMNS,
    FAULTS_MAX,
    KINDS,
    NO_TROUBLE,
    Fault,
    Kind,
    Schedule,
    Scope,
    read_sheet,
    seeded,
    trouble,
)
from twin.errors import BadRequest
from twin.plant import Device, Plant
from twin.points import Point, Points
from twin.quality import BAD_DEVICE_FAILURE

HEAD = ",".join(COLUMNS) + "\n"


@pytest.fixture
def plant() -> Plant:
    devices = tuple(Device(name, "modbus", f"modbus://127.0.0.1:{n}/1", {}) for n, name in enumerate(("plc", "far"), 1))
    points = [Point(n, f"pump.p{n}", "pump", f"p{n}", "double", "", "plc", f"holding:{n}:float32") for n in range(8)]
    points.append(Point(8, "tank.level", "tank", "level", "double", "", "far", "holding:0"))
    return Plant("test", "Test", "", {}, devices, (), (), Points.of(points), (), None, {})


def test_the_same_seed_gives_the_same_faults_and_another_one_others(plant: Plant) -> None:
    first = seeded(plant, 7, 6.0, 1800.0)
    assert first == seeded(plant, 7, 6.0, 1800.0)
    assert first != seeded(plant, 8, 6.0, 1800.0)
    assert 120 < len(first.faults) < 200  # some of 180 fall into another of their kind
    assert {f.kind for f in first.faults} == set(Kind)
    assert {f.device for f in first.faults} == {"plc", "far"}


@pytest.mark.parametrize("seed", range(20))
def test_seeded_faults_keep_to_the_table(plant: Plant, seed: int) -> None:
    schedule = seeded(plant, seed, 12.0, 600.0)
    assert schedule.end_s <= 600.0
    assert [f.start_s for f in schedule.faults] == sorted(f.start_s for f in schedule.faults)
    for fault in schedule.faults:
        rule = KINDS[fault.kind]
        assert 0 <= fault.start_s < fault.end_s <= fault.start_s + rule.lasts_s[1]
        assert fault.parameters.keys() == rule.parameters.keys()
        assert all(rule.parameters[n].low <= v <= rule.parameters[n].high for n, v in fault.parameters.items())
        assert not fault.points or rule.scope is Scope.POINTS
        assert all(plant.point(name).device == fault.device for name in fault.points)


def test_a_compressed_schedule_has_the_same_faults_in_less_time(plant: Plant) -> None:
    whole = seeded(plant, 3, 6.0, 1800.0)
    short = whole.compressed(25.0)
    assert short.end_s == pytest.approx(whole.end_s / 25)
    assert [(f.kind, f.device, f.parameters) for f in short.faults] == [
        (f.kind, f.device, f.parameters) for f in whole.faults
    ]


def test_a_sheet_of_faults_is_read_with_defaults_for_what_it_leaves_out(plant: Plant) -> None:
    text = (
        HEAD
        + "10,20,delay,plc,,latency_s=0.5\n5,6,freeze,plc,pump.p1 pump.p2,clock=0\n0,1,bad_quality,far,,code=0x808B0000\n"
    )
    quality, freeze, delay = read_sheet(text, plant).faults
    assert delay.parameters == {"latency_s": 0.5, "jitter_s": 0.0}
    assert freeze.points == ("pump.p1", "pump.p2") and freeze["clock"] == 0.0
    assert quality["code"] == BAD_DEVICE_FAILURE


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0,1,dropp,plc,,", "line 2: kind 'dropp'.*drop"),
        ("0,1,drop,pcl,,", "no device 'pcl'"),
        ("x,1,drop,plc,,", "start_s = 'x' is no number"),
        ("2,1,drop,plc,,", "end_s after it"),
        ("0,inf,drop,plc,,", "end_s after it"),
        ("nan,1,drop,plc,,", "end_s after it"),
        ("0,1,drop,plc,pump.p1,", "leave points empty"),
        ("0,1,freeze,plc,tank.level,", "plc has no point 'tank.level'"),
        ("0,1,delay,plc,,speed=3", "no parameter 'speed'"),
        ("0,1,delay,plc,,latency_s=100", "outside 0 … 60"),
        ("0,1,bad_quality,plc,,code=0xZZ", "code = '0xZZ' is no number"),
    ],
)
def test_every_mistake_in_a_sheet_is_named_with_its_line(plant: Plant, row: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_sheet(HEAD + row + "\n", plant)


def test_a_sheet_with_other_columns_is_refused(plant: Plant) -> None:
    with pytest.raises(BadRequest, match="line 1"):
        read_sheet("from,to,kind,device\n", plant)
    with pytest.raises(BadRequest, match="line 1"):
        read_sheet("", plant)


def test_one_device_has_a_kind_of_fault_once_at_a_time() -> None:
    faults = [Fault(0, 10, Kind.DROP, "plc"), Fault(9, 11, Kind.DROP, "plc")]
    with pytest.raises(BadRequest, match="two faults drop of plc at 9 s"):
        Schedule.of(faults)
    assert len(Schedule.of([faults[0], Fault(10, 11, Kind.DROP, "plc"), Fault(1, 2, Kind.DROP, "far")]).faults) == 3


def test_a_schedule_has_a_limit(plant: Plant) -> None:
    with pytest.raises(BadRequest, match=f"{FAULTS_MAX}"):
        seeded(plant, 1, 1e6, 3600.0)
    with pytest.raises(BadRequest, match="take more than 0"):
        seeded(plant, 1, 0.0, 3600.0)


def test_faults_of_one_cable_add_up() -> None:
    slow = {"latency_s": 0.1, "jitter_s": 0.2}
    both = trouble([Fault(0, 1, Kind.DELAY, "a", (), slow), Fault(0, 1, Kind.DELAY, "b", (), slow)])
    assert both.latency_s == pytest.approx(0.2) and both.jitter_s == pytest.approx(0.4) and not both.dropped
    noisy = trouble([Fault(0, 1, Kind.GARBAGE, "a", (), {"share": 0.2}), Fault(0, 1, Kind.HALF_OPEN, "a")])
    assert noisy.garbage == 0.2 and noisy.silent and not noisy.stalled
    assert trouble([]) == NO_TROUBLE
