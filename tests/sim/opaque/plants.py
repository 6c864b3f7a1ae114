"""Layouts with foreign models, and how the tests run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sim.components.fluid import Demand
from sim.kernel.assembly import assemble
from sim.kernel.interpreter import Interpreter
from sim.kernel.names import Names
from sim.kernel.world import Packed, unpack
from sim.layout import Layout
from sim.opaque.component import Stepped, Ties
from sim.opaque.fmu import Fmu
from sim.opaque.generator import Generator, Life
from sim.spec import Constant, Level, Param, Port, Signal, Var

Step = tuple[float, str, float | str]


def tank_class(model: Fmu) -> type[Stepped]:
    """The tests' FMU as a component."""

    class Tank(Stepped):
        step = Constant(10.0)
        inflow, level = Port(Signal), Port(Signal)
        first, wear, steps, gate = Param(1.0), Var(0), Var(0), Param(1.0)
        ties = Ties(
            reads={"inflow": inflow, "open": gate},
            writes={"level": level, "total": wear, "steps": steps},
            begins={"level_start": first},
        )

    Tank.model = model
    return Tank


def tank_plant(path: Path, *, first: float = 1.0, replay: bool = False, **parameters: float) -> Layout:
    """One tank, fed by a signal; seconds."""
    plant = Layout("tank")
    cls = tank_class(Fmu(str(path), parameters, replay=replay))
    plant.add(cls, "tank", inflow=plant.signal("inflow", 0.2), level=plant.signal("level"), first=first)
    return plant


def run(
    plant: Layout, horizon: float, *steps: Step, state: Packed | None = None, fresh: int = 1, replication: int = 0
) -> Interpreter:  # fmt: skip
    """The run at the horizon."""
    assembly = assemble(plant, seed=3, trace=10_000)
    names = Names(assembly)
    if state is not None:
        assembly.world = unpack(state)
    going = Interpreter(assembly, replication=replication, acts=[names.act(*s) for s in steps], fresh=fresh)
    going.run(horizon)
    return going


def told(going: Interpreter, names: Sequence[str]) -> list[float]:
    """Signals and numbers by name."""
    from sim.kernel import loop

    known = Names(going.assembly)
    found = [known.reading(name) for name in names]
    return [loop.read(going.world, r.kind, r.index, going.world.now) for r in found]


def drain(starts: Mapping[str, float]) -> Life:
    """Lets a third of what it was told flow off."""
    given = 0.0
    while True:
        _, inputs = yield {"flow": -given}
        given = inputs["level"] / 3 * inputs["valve"]


class Drain(Stepped):
    model = Generator(drain, ("level", "valve"), ("flow",))
    step = Constant(5.0)
    valve, tank = Port(Signal), Port(Level)
    ties = Ties(reads={"level": tank, "valve": valve}, writes={"flow": tank})


def shed() -> Layout:
    plant = Layout("shed", "min")
    tank = plant.tank("tank", 30.0, 100.0)
    plant.add(Demand, "rain", tank=tank, sign=1.0)
    plant.add(Drain, "drain", tank=tank, valve=plant.signal("valve", 0.1))
    return plant
