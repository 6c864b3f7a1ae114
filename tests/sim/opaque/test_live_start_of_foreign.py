"""A plant whose layout file holds a foreign part: its what-ifs begin the model with what the points tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.layout_rows import parse_layout_model
from sim.runner import Runner
from sim.whatif import Now, compare
from twin.columns import Snapshot
from twin.plant import Plant
from twin.points import Point, Points
from twin.readings import Readings
from twin.table import PointTable

NOW = 1_700_000_000_000_000_000
LAYOUT = """
from sim.layout import Layout
from sim.opaque.component import Stepped, Ties
from sim.opaque.generator import Generator
from sim.spec import Component, Constant, Port, Signal, Var, {mark}


def grow(starts):
    size = starts["size"]
    while True:
        seconds, inputs = yield {{"size": size}}
        size *= 1.0 + inputs["rate"] * seconds


class Grower(Stepped):
    model = Generator(grow, ("rate",), ("size",), ("size",))
    step = Constant(10.0)
    rate, size = Port(Signal), Port(Signal)
    ties = Ties(reads={{"rate": rate}}, writes={{"size": size}}, begins={{"size": size}})


class Visitor(Component):
    visits = Var(0)

    @{mark}
    def life(self, env):
        while True:
            yield env.timeout(60.0)
            self.visits += 1


def layout():
    made = Layout("greenhouse", "s")
    made.add(Grower, "grower", rate=made.signal("rate", 0.001), size=made.signal("size"))
    made.add(Visitor, "visitor")
    return made
"""
MODEL: dict[str, Any] = {
    "kind": "layout",
    "layout": "line.py",
    "stale_after_s": 30.0,
    "outputs": ["house.size"],
    "read": [{"point": "house.rate", "field": "rate"}, {"point": "house.size", "field": "size"}],
    "set": [{"point": "house.rate", "target": "rate"}],
}


def greenhouse(folder: Path, mark: str = "process_anew") -> Plant:
    (folder / "line.py").write_text(LAYOUT.format(mark=mark))
    rows = [("house.clock", "s", False), ("house.rate", "", True), ("house.size", "", False)]
    points = [
        Point(i, name, *name.split("."), "double", unit, "plc", "", writable=writable)
        for i, (name, unit, writable) in enumerate(rows)
    ]
    return Plant("house", "House", str(folder), {}, (), (), (), Points.of(tuple(points)), (), "house.clock", MODEL)


def measured(plant: Plant, size: float) -> Snapshot:
    table = PointTable.sized(plant.points.size)
    for name, value in {"house.clock": 3600.0, "house.rate": 0.001, "house.size": size}.items():
        table.apply(Readings.of([plant.point(name).id], [value], NOW, 0))
    return table.snapshot(1, 1, NOW)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_model_begins_with_what_was_measured(tmp_path: Path, workers: int) -> None:
    plant = greenhouse(tmp_path)
    runner = Runner(workers)
    try:
        result = compare(
            Now(plant, measured(plant, 7.0)), ["house.rate=0.002 at 2m"], horizon=600.0, replications=4, runner=runner
        )
    finally:
        runner.close()
    assert "Grower is the generator grow" in result.why
    # At the end a sample shows what was before the last step; the option grows twice as fast after two minutes.
    assert result.baseline.kpis["house.size.final"].mean == pytest.approx(7.0 * 1.01**59)
    gained = 7.0 * (1.01**12 * 1.02**47 - 1.01**59)
    assert result.scenarios[0].differences["house.size.final"].mean == pytest.approx(gained)


def test_a_process_that_cannot_begin_anew_is_a_mistake_of_the_plant(tmp_path: Path) -> None:
    _, mistakes = parse_layout_model(greenhouse(tmp_path, "process"))
    assert any("visitor is a SimPy process, whose state nobody can tell" in m and "process_anew" in m for m in mistakes)
