"""Plants that tests of the simulation run."""

from __future__ import annotations

import random

from sim.components.fluid import Battery, Demand, Heater, Pipe, Pump, Valve
from sim.components.line import Batch, Conveyor, Machine, Sink, Source
from sim.layout import Entity, Layout
from sim.spec import Constant, Distribution, Exponential, LogLogistic, LogNormal, Triangular, Uniform, Weibull


def line10(machines: int = 10, capacity: int = 10, crew: int = 2, **fields: Distribution) -> Layout:
    """LINE10: machines in series, a shared crew; minutes."""
    line = Layout("line10", "min")
    people = line.resource("crew", crew)
    between = [line.buffer(f"B{i}", capacity) for i in range(1, machines)]
    buffers = [line.buffer("supply", level=1e15), *between, line.buffer("parts")]
    for i in range(machines):
        line.add(Machine, f"M{i + 1}", inp=buffers[i], out=buffers[i + 1], crew=people, **fields)
    return line


def three_tanks() -> Layout:
    """A well, two pumps in a row, a town, a leak, and one who repairs; minutes."""
    plant = Layout("tanks", "min")
    crew = plant.resource("crew", 1)
    one, two, three = plant.tank("T1", 90, 120), plant.tank("T2", 60, 100), plant.tank("T3", 50, 100)
    plant.add(Demand, "well", tank=one, size=Uniform(2.0, 4.5), sign=1.0)
    plant.add(Pump, "P1", src=one, dst=two, crew=crew, rate=6.0)
    plant.add(Pump, "P2", src=two, dst=three, crew=crew, rate=5.0, low=25.0, high=75.0)
    plant.add(Demand, "town", tank=three)
    plant.add(Demand, "leak", tank=two, size=Uniform(0.2, 0.6), hold=Constant(7.0))
    return plant


def _time(chance: random.Random, mean: float) -> Distribution:
    return chance.choice(
        [
            Exponential(mean), Constant(mean), Uniform(0.5 * mean, 1.5 * mean), Weibull(mean, 1.7),
            LogLogistic(mean, 3.0), LogNormal(mean, 0.4), Triangular(0.5 * mean, mean, 2 * mean),
        ]
    )  # fmt: skip


def random_plant(seed: int) -> Layout:
    """A line and a chain of tanks that share a crew, of components picked at random."""
    chance = random.Random(seed)
    plant = Layout(f"random{seed}", "min")
    crew = plant.resource("crew", chance.randint(1, 3))
    _random_line(plant, chance, crew)
    _random_tanks(plant, chance, crew)
    return plant


def _random_line(plant: Layout, chance: random.Random, crew: Entity) -> None:
    buffer = plant.buffer("B0", chance.randint(1, 20))
    plant.add(Source, "source", out=buffer, between=_time(chance, 1.0))
    for i in range(1, chance.randint(2, 6)):
        nxt = plant.buffer(f"B{i}", chance.randint(4, 20))
        kind = chance.choice([Machine, Machine, Conveyor, Batch])
        if kind is Machine:
            made = {"cycle": _time(chance, 1.0), "mttf": _time(chance, 30.0), "mttr": _time(chance, 5.0)}
            shared = {"crew": crew} if chance.random() < 0.7 else {}
            plant.add(Machine, f"M{i}", inp=buffer, out=nxt, speed=chance.choice([1.0, 0.5, 2.0]), **made, **shared)
        elif kind is Conveyor:
            plant.add(Conveyor, f"C{i}", inp=buffer, out=nxt, transit=_time(chance, 2.0), places=chance.randint(1, 9))
        else:
            size = float(chance.randint(1, min(4, int(buffer.capacity))))
            plant.add(Batch, f"A{i}", inp=buffer, out=nxt, size=size, gives=float(chance.randint(1, 4)), crew=crew)
        buffer = nxt
    plant.add(Sink, "sink", inp=buffer, between=_time(chance, 0.5))


def _random_tanks(plant: Layout, chance: random.Random, crew: Entity) -> None:
    src = plant.tank("T0", chance.uniform(0, 90), 100)
    plant.add(Demand, "well", tank=src, size=_time(chance, 3.0), sign=1.0)
    for i in range(1, chance.randint(2, 5)):
        dst = plant.tank(f"T{i}", chance.uniform(0, 100), 100)
        kind = chance.choice([Pump, Pump, Valve, Pipe])
        if kind is Pump:
            plant.add(Pump, f"P{i}", src=src, dst=dst, crew=crew, rate=chance.uniform(2, 8))
        elif kind is Valve:
            plant.add(
                Valve, f"V{i}", src=src, dst=dst, rate=chance.uniform(1, 5), position=chance.choice(["open", "closed"])
            )
        else:
            plant.add(Pipe, f"L{i}", src=src, dst=dst, coefficient=chance.uniform(0.1, 2))
        src = dst
    plant.add(Demand, "town", tank=src, size=_time(chance, 2.0))
    plant.add(Heater, "boiler", temperature=plant.level("temperature", 55.0))
    plant.add(Battery, "battery", charge=plant.tank("charge", 5.0, 10.0), supply=chance.uniform(0, 3))
