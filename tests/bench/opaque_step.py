"""Microseconds of one step of an FMU as a part of a plant, against FMPy's own calls for the same FMU; others in detail."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sim.epanet import NODE_QUANTITIES, Hydraulics
from sim.kernel.assembly import assemble
from sim.kernel.interpreter import Interpreter
from sim.layout import Layout
from sim.opaque.component import Stepped, Ties
from sim.opaque.network import Network
from sim.opaque.together import run_together
from sim.spec import Component, Constant, Port, Signal, Timer, at_start, on
from tests.bench import line, seconds
from tests.sim.opaque.fmus import TOKEN, tank_fmu
from tests.sim.opaque.plants import shed, tank_plant
from tests.sim.opaque.test_water import NETWORK, pumps

STEPS, ROWS = 2000, 64
STATES = tuple(f"x{i}" for i in range(8))


class Own(Component):
    """A component of our own with one timer, for comparison."""

    every, out = Constant(1.0), Port(Signal)
    tick = Timer(every)

    @at_start
    def begin(self) -> None:
        self.tick.start()

    @on(tick)
    def go(self) -> None:
        self.out.value = 0.9 * self.out.value + 1.0
        self.tick.start()


def layers() -> torch.nn.Module:
    parts = torch.nn.Linear(10, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 8)
    return torch.nn.Sequential(*parts)


class Learned(Stepped):
    model = Network(layers, STATES, ("u", "v"), rows=ROWS)
    u, y = Port(Signal), Port(Signal)
    ties = Ties(reads={"u": u}, writes={"x0": y})


def step_us(plant: Layout, every: float, steps: int = STEPS) -> float:
    """Of the only part of a plant, the best of a few runs."""
    run = Interpreter(assemble(plant))
    run.run(0.5 * every)

    def on_with_it() -> None:
        run.run(run.world.now + steps * every)

    best = seconds(on_with_it)
    run.close()
    return best / steps * 1e6


def bare_fmi2_us(path: Path) -> float:
    """FMPy's calls and nothing else: set, step, get."""
    import fmpy
    from fmpy.fmi2 import FMU2Slave

    with tempfile.TemporaryDirectory() as folder:
        fmpy.extract(str(path), folder)
        slave = FMU2Slave(guid=TOKEN, unzipDirectory=folder, modelIdentifier="tank", instanceName="bare")
        slave.instantiate()
        slave.setupExperiment()
        slave.enterInitializationMode()
        slave.exitInitializationMode()

        def loop() -> None:
            for step in range(STEPS):
                slave.setReal([1], [0.2])
                slave.setBoolean([7], [True])
                slave.doStep(10.0 * step, 10.0)
                slave.getReal([0, 5])
                slave.getInteger([6])

        best = seconds(loop)
        slave.terminate()
        slave.freeInstance()
    return best / STEPS * 1e6


def bare_epanet_us(steps: int) -> float:
    water = Hydraulics(NETWORK, 300, ("335",))

    def day() -> None:
        water.start(6 * 3600.0, {"1": 5.0}, {})
        for step in range(1, steps + 1):
            water.advance(300.0 * step)
            water.solve()
            water.read("node", [water.tanks["1"]], NODE_QUANTITIES["level"])

    return seconds(day) / steps * 1e6


def network_us(rows: int) -> float:
    """Per replication and step, `rows` of them in lock-step."""
    plant = Layout()
    plant.add(Learned, "net", u=plant.signal("u", 1.0), y=plant.signal("y"))
    runs = [Interpreter(assemble(plant), replication=r) for r in range(rows)]
    none: Any = np.empty(0), np.empty((0, 2), np.int64)
    run_together(runs, 0.5, *none)
    steps = 200 if rows == 1 else 50
    best = seconds(lambda: run_together(runs, runs[0].world.now + steps, *none))
    for run in runs:
        run.close()
    return best / steps / rows * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = {version: tank_fmu(Path(folder), version) for version in (2, 3)}
        value, bare = step_us(tank_plant(paths[2]), 10.0), bare_fmi2_us(paths[2])
        own = Layout()
        own.add(Own, "own", out=own.signal("out"))
        detail = {
            "fmi3_us": step_us(tank_plant(paths[3]), 10.0),
            "own_component_us": step_us(own, 1.0),
            "generator_and_its_tank_us": step_us(shed(), 5.0),
            "epanet_net3_us": step_us(pumps(), 300.0, 288),
            "epanet_net3_bare_us": bare_epanet_us(288),
            "network_alone_us": network_us(1),
            f"network_{ROWS}_each_us": network_us(ROWS),
        }
    line("opaque_step", round(value, 1), "us", round(bare, 1), {k: round(v, 1) for k, v in detail.items()})


if __name__ == "__main__":
    main()
