"""Tanks, pumps and heaters start from what is told of them: flows follow from states, and levels are as sure as measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.glance import Glance
from sim.kernel.assembly import Assembly, assemble
from sim.kernel.interpreter import Interpreter
from sim.kernel.names import Names
from sim.kernel.world import Packed, unpack
from sim.layout_rows import read_layout_model
from sim.live import FRESH, start
from tests.sim.line_plant import snapshot
from twin.plant import Plant
from twin.points import Point, Points

TANKS = """
from sim.components.fluid import Demand, Heater, Pump, Valve
from sim.layout import Layout
from sim.spec import Constant, Uniform, Weibull


def layout() -> Layout:
    plant = Layout("tanks", "min")
    crew = plant.resource("crew", 1)
    one, two, three = plant.tank("T1", 90, 120), plant.tank("T2", 60, 100), plant.tank("T3", 50, 100)
    plant.add(Demand, "well", tank=one, size=Uniform(2.0, 4.5), sign=1.0)
    plant.add(Pump, "P1", src=one, dst=two, crew=crew, rate=6.0, mttf=Weibull(60.0, 2.0))
    plant.add(Pump, "P2", src=two, dst=three, crew=crew, rate=5.0, low=25.0, high=75.0, mttf=Weibull(60.0, 2.0))
    plant.add(Valve, "V1", src=three, dst=one, rate=0.5, position="open")
    plant.add(Demand, "town", tank=three)
    plant.add(Heater, "boiler", temperature=plant.level("temperature", 55.0))
    return plant
"""
PUMPS, DEMANDS, LEVELS = ("P1", "P2"), ("well", "town"), ("T1", "T2", "T3", "temperature")


def model(sd: float = 0.0) -> dict[str, Any]:
    states = {"call": ("no", "yes"), "run": ("off", "on"), "health": ("down", "up")}
    read: list[dict[str, Any]] = [
        {"for": list(PUMPS), "point": f"*.{s}", "state": f"*.{s}", "map": {"false": v[0], "true": v[1]}}
        for s, v in states.items()
    ]
    read[-1]["age"] = "*.since"
    read += [{"for": list(PUMPS), "point": "*.life", "timer": "*.fail"}]
    read += [{"for": list(DEMANDS), "point": "*.rate", "field": "*.rate"}]
    read += [{"for": list(DEMANDS), "point": "*.held", "timer": "*.next"}]
    read += [{"for": list(LEVELS), "point": "*.level", "field": "*.level", "sd": sd}]
    read += [{"point": "boiler.heat", "state": "boiler.heat", "map": {"false": "off", "true": "on"}}]
    read += [{"point": "V1.open", "state": "V1.position", "map": {"false": "closed", "true": "open"}}]
    return {
        "kind": "layout", "layout": "tanks.py", "stale_after_s": 30.0, "read": read, "outputs": ["T3.level"],
    }  # fmt: skip


def tank_plant(folder: Path, sd: float = 0.0) -> Plant:
    (folder / "tanks.py").write_text(TANKS)
    rows = [("plant.clock", "double", "s")]
    for p in PUMPS:
        rows += [(f"{p}.{s}", "boolean", "") for s in ("call", "run", "health")]
        rows += [(f"{p}.since", "double", "min"), (f"{p}.life", "double", "min")]
    rows += [(f"{d}.{n}", "double", unit) for d in DEMANDS for n, unit in (("rate", ""), ("held", "min"))]
    rows += [(f"{name}.level", "double", "") for name in LEVELS]
    rows += [("boiler.heat", "boolean", ""), ("V1.open", "boolean", "")]
    points = Points.of(Point(i, n, *n.split("."), k, u, "plc", "") for i, (n, k, u) in enumerate(rows))
    return Plant("tanks", "Tanks", str(folder), {}, (), (), (), points, (), "plant.clock", model(sd))


def read_off(g: Glance) -> dict[str, float]:
    found = {"plant.clock": g.now * 60, "V1.open": float(g.state("V1.position") == "open")}
    for p in PUMPS:
        found |= {f"{p}.call": float(g.state(f"{p}.call") == "yes"), f"{p}.run": float(g.state(f"{p}.run") == "on")}
        found |= {f"{p}.health": float(g.state(f"{p}.health") == "up"), f"{p}.since": g.since(f"{p}.health")}
        found[f"{p}.life"] = g.age(f"{p}.fail")
    for d in DEMANDS:
        found |= {f"{d}.rate": g.number(f"{d}.rate"), f"{d}.held": g.age(f"{d}.next")}
    found |= {f"{name}.level": g.number(f"{name}.level") for name in LEVELS}
    return found | {"boiler.heat": float(g.state("boiler.heat") == "on")}


def levels_after(assembly: Assembly, state: Packed, horizon: float, replication: int) -> list[float]:
    bound = Assembly(assembly.layout, unpack(state), assembly.places, assembly.first_saturation)
    run = Interpreter(bound, replication=replication, fresh=FRESH)
    begin = run.world.now
    run.run(begin + horizon)
    return [Glance(run, Names(bound)).number(f"{name}.level") for name in LEVELS]


@pytest.mark.parametrize("minutes", [7.0, 130.0, 411.0, 800.0])
def test_tanks_of_which_everything_is_told_have_the_future_of_their_exact_state(tmp_path: Path, minutes: float) -> None:
    plant = tank_plant(tmp_path)
    made = read_layout_model(plant)
    assembly = assemble(made.layout, seed=3)
    run = Interpreter(assembly)
    run.run(minutes)
    told = start(plant, made, snapshot(plant, read_off(Glance(run, Names(assembly))))).sample(3, 0)
    for replication in range(3):
        ours = levels_after(assembly, told, 200.0, replication)
        # The boiler's thermostat looks at once instead of within its next minute: it alone may differ, and by little.
        exact = levels_after(assembly, run.aged(), 200.0, replication)
        assert ours[:3] == pytest.approx(exact[:3], abs=1e-6)
        assert ours[3] == pytest.approx(exact[3], abs=3.0)


def test_a_level_is_as_uncertain_as_its_measurement_and_stays_in_its_tank(tmp_path: Path) -> None:
    plant = tank_plant(tmp_path, sd=2.0)
    made = read_layout_model(plant)
    assembly = assemble(made.layout, seed=3)
    run = Interpreter(assembly)
    run.run(50.0)
    shown = read_off(Glance(run, Names(assembly))) | {"T1.level": 60.0, "T2.level": 99.5}
    begin = start(plant, made, snapshot(plant, shown))
    drawn = np.array([begin.sample(1, r).column("amount") for r in range(1000)])
    one, two = (made.layout.entity(name).number for name in ("T1", "T2"))
    assert drawn[:, one].mean() == pytest.approx(60.0, abs=0.25)
    assert drawn[:, one].std() == pytest.approx(2.0, abs=0.2)
    assert drawn[:, two].max() == 100.0


def test_a_pump_that_was_switched_off_below_its_threshold_stays_off(tmp_path: Path) -> None:
    plant = tank_plant(tmp_path)
    made = read_layout_model(plant)
    assembly = assemble(made.layout, seed=3)
    run = Interpreter(assembly)
    run.run(50.0)
    shown = read_off(Glance(run, Names(assembly))) | {"P2.call": 0.0, "P2.run": 0.0, "T3.level": 20.0}
    state = start(plant, made, snapshot(plant, shown)).sample(3, 0)
    bound = Assembly(assembly.layout, unpack(state), assembly.places, assembly.first_saturation)
    onward = Interpreter(bound, fresh=FRESH)
    onward.run(3.0)
    assert Glance(onward, Names(bound)).state("P2.run") == "off"
