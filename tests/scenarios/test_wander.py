"""The mover of any plant: values of the right type and range that move, commands taken over, one seed one plant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from control.plants import RULES
from scenarios.mover import Measured
from scenarios.wander import Wanderer
from scenarios.works import write_works
from twin.plant import Plant
from twin.plantfile import load_plant


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    folder = tmp_path_factory.mktemp("works") / "plant"
    write_works(folder, 10, 30)
    return load_plant(folder, RULES)


def values(measured: Measured) -> dict[int, float]:
    return dict(zip(measured.ids.tolist(), measured.value.tolist(), strict=True))


def test_every_bound_point_says_something_that_fits(works: Plant) -> None:
    mover = Wanderer(works, 1)
    first = mover.advance(0.0)
    said = values(first) | dict(mover.settings())
    bound = {p.id for p in works.points if p.device}
    assert said.keys() | first.text.keys() == bound
    for identity, value in said.items():
        point = works.points[identity]
        assert point.low <= value <= point.high
        assert point.type not in ("integer", "boolean", "enum") or value == int(value)
    assert {works.points[i].type for i in first.text} == {"string"}


def test_values_move_within_their_range_and_as_many_as_asked(works: Plant) -> None:
    mover = Wanderer(works, 1, activity=0.2)
    wandering = ("temperature", "speed", "power", "vibration")
    rows = np.flatnonzero(np.isin(mover.advance(0.0).ids, [p.id for p in works.points if p.property in wandering]))
    first = mover.advance(0.0)
    low, high = works.points.numbers("low")[first.ids], works.points.numbers("high")[first.ids]
    before, moves = first.value, []
    for n in range(1, 401):
        after = mover.advance(n * 1.0).value
        moves.append(np.mean(before[rows] != after[rows]))
        before = after
        assert np.all((low <= after) & (after <= high))
    assert np.mean(moves) == pytest.approx(1 - np.exp(-0.2), rel=0.1)


def test_scaled_registers_show_steps(works: Plant) -> None:
    mover = Wanderer(works, 1)
    said = values(mover.advance(50.0))
    pressures = [said[p.id] for p in works.points if p.property == "pressure" and p.scale == 0.01]
    assert pressures and all(v * 100 == pytest.approx(round(v * 100), abs=1e-6) for v in pressures)


def test_the_same_seed_gives_the_same_plant(works: Plant) -> None:
    one, same, other = Wanderer(works, 3), Wanderer(works, 3), Wanderer(works, 4)
    for at_s in (0.0, 3.2, 10.0):
        np.testing.assert_array_equal(one.advance(at_s).value, same.advance(at_s).value)
    assert not np.array_equal(one.advance(20.0).value, other.advance(20.0).value)


def test_what_is_told_is_taken_over_and_its_feedback_follows(works: Plant) -> None:
    mover = Wanderer(works, 1)
    run, setpoint = works.point("device_001_m1.run"), works.point("device_001_m1.setpoint")
    output, running = works.point("device_001_m1.output"), works.point("device_001_m1.running")
    mover.advance(1.0)
    before = values(mover.advance(1.0))[output.id]
    assert mover.command(setpoint, 90.0) and mover.command(run, 1.0)
    assert mover.settings()[setpoint.id] == 90.0
    soon = values(mover.advance(1.5))
    assert min(before, 90.0) < soon[output.id] < max(before, 90.0)
    assert soon[running.id] == 1.0
    assert values(mover.advance(15.0))[output.id] == 90.0


@pytest.mark.parametrize(
    ("point", "value"), [("setpoint", 101.0), ("setpoint", float("nan")), ("run", 2.0), ("mode", 7.0), ("speed", 5.0)]
)
def test_what_no_device_could_do_is_refused(works: Plant, point: str, value: float) -> None:
    mover = Wanderer(works, 1)
    assert not mover.command(works.point(f"device_001_m1.{point}"), value)


def test_a_plant_of_any_types_is_moved(tmp_path: Path) -> None:
    """Texts of a set form and structured values, on devices that can carry them."""
    contents = [
        {"@type": "Telemetry", "name": "when", "schema": "dateTime"},
        {"@type": "Telemetry", "name": "place", "schema": {"@type": "Object", "fields": [
            {"name": "x", "schema": "double"}, {"name": "label", "schema": "string"}]}},
        {"@type": "Telemetry", "name": "row", "schema": {"@type": "Array", "elementSchema": "integer"}},
    ]  # fmt: skip
    interface = {"@context": "dtmi:dtdl:context;3", "@id": "dtmi:test:T;1", "@type": "Interface", "contents": contents}
    (tmp_path / "interfaces").mkdir()
    (tmp_path / "interfaces" / "t.json").write_text(json.dumps(interface))
    (tmp_path / "plant.toml").write_text(
        '[plant]\nid = "p"\n[[device]]\nid = "ua"\nprotocol = "opcua"\nendpoint = "opc.tcp://127.0.0.1:0"\n'
        '[[twin]]\nid = "t"\ninterface = "dtmi:test:T;1"\n'
    )
    (tmp_path / "points.csv").write_text(
        "point,device,address,type,unit,scale,access,audit,low,high\n"
        "t.when,ua,ns=2;s=when,string,,1,r,no,,\nt.place,ua,ns=2;s=place,object,,1,r,no,,\nt.row,ua,ns=2;s=row,object,,1,r,no,,\n"
    )
    plant = load_plant(tmp_path, RULES)
    said = Wanderer(plant, 1).advance(0.0).text
    assert said[plant.point("t.when").id] == "2026-01-01T00:01:00Z"
    assert json.loads(said[plant.point("t.place").id]) == {"label": "text 2", "x": 1.5}
    assert json.loads(said[plant.point("t.row").id]) == [1, 2, 3]
