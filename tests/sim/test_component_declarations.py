"""What a user gets wrong when writing a component or a layout: told at once, with the place and the fix."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sim.component_type import component_type
from sim.components.fluid import Pump
from sim.components.line import Conveyor, Machine
from sim.kernel.assembly import assemble
from sim.layout import Layout
from sim.spec import (
    Buffer,
    Component,
    Constant,
    Exponential,
    Hazard,
    Items,
    Level,
    LogNormal,
    Misspelt,
    Param,
    Port,
    Signal,
    State,
    Timer,
    Transfer,
    Triangular,
    Uniform,
    Var,
    Weibull,
    crosses,
    on,
    process,
    when,
)

# --- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Exponential(-1.0), "Exponential(-1) (mean must be positive)"),
        (lambda: Exponential(0.0), "Exponential(0) (mean must be positive)"),
        (lambda: Exponential(math.nan), "Exponential(nan) (mean must be finite)"),
        (lambda: Exponential(math.inf), "Exponential(inf) (mean must be finite)"),
        (lambda: Exponential("slow"), "Exponential('slow',) (give numbers: mean)"),
        (Exponential, "Exponential() (give mean)"),
        (lambda: Constant(-0.1), "Constant(-0.1) (value must be 0 or more)"),
        (lambda: Uniform(5.0, 2.0), "Uniform(5, 2) (low <= high must hold)"),
        (lambda: Uniform(-1.0, 2.0), "Uniform(-1, 2) (low must be 0 or more)"),
        (lambda: Weibull(4.0, 0.0), "Weibull(4, 0) (shape must be positive)"),
        (lambda: Weibull(4.0), "Weibull(4) (give scale, shape)"),
        (lambda: LogNormal(4.0, -0.5), "LogNormal(4, -0.5) (sigma must be 0 or more)"),
        (lambda: Triangular(1.0, 9.0, 5.0), "Triangular(1, 9, 5) (low <= mode <= high must hold)"),
        (State, "name 1 to 62 different states"),
        (lambda: State("up", "up"), "name 1 to 62 different states"),
        (lambda: State(*(f"s{i}" for i in range(63))), "name 1 to 62 different states"),
        (lambda: State("up", "not so good"), "'not so good' (letters, digits and _"),
        (lambda: State("name"), "'name' (letters, digits and _; not name, index, values)"),
        (lambda: State(1, 2), "letters, digits and _"),
        (lambda: Param(math.nan), "Param(nan) (give a finite number)"),
        (lambda: Var("none"), "Var('none') (give a finite number)"),
        (lambda: Timer(5.0), "Timer(5.0) (give a distribution, such as Constant(5.0))"),
        (Hazard, "Hazard(None) (give a distribution"),
        (lambda: Timer(Constant(1.0), while_=State("up")), "name a value of a State, such as health.up"),
        (lambda: Timer(Constant(1.0), speed=2.0), "Timer(speed=2.0) (name a Param or a Var)"),
        (lambda: Port(int), "one of Buffer, Resource, Level, Signal"),
        (lambda: Port([]), "one of Buffer, Resource, Level, Signal"),
        (lambda: Items(0), "Items(0) (a whole number from 1 to 100000)"),
        (lambda: Items(2.5), "Items(2.5) (a whole number"),
        (lambda: Transfer(Port(Level), Port(Buffer)), "give two Port(Level)"),
        (lambda: Transfer(Port(Level), "T1"), "give two Port(Level)"),
        (lambda: on(State("up")), "of a State or a number, use @when"),
        (lambda: when(True), "@when(True) (give a lambda"),
        (lambda: crosses(Port(Level), 5.0, "up"), "give a Port(Level) and a Param or a Var"),
        (lambda: crosses(Port(Level), Param(5.0), "upwards"), '("up" or "down")'),
    ],
)
def test_a_field_that_cannot_be_says_so_where_it_is_written(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(Misspelt, match=re.escape(message)):
        made()


# --- classes ---------------------------------------------------------------------------------------------------------


class Foreign(Component):
    level, limit, chance = Port(Level), Param(1.0), Constant(1.0)
    health = State("up", "down")


class TimerOfAnother(Component):
    job = Timer(Foreign.chance)


class GateOfAnother(Component):
    chance = Constant(1.0)
    job = Timer(chance, while_=Foreign.health.up)


class CrossesAnother(Component):
    level = Port(Level)

    @crosses(level, Foreign.limit, "up")
    def full(self) -> None:
        pass


class LoanOfABuffer(Component):
    parts = Port(Buffer)

    @on(parts)
    def lent(self) -> None:
        pass


class CrossesABuffer(Component):
    parts, limit = Port(Buffer), Param(1.0)

    @crosses(parts, limit, "up")
    def full(self) -> None:
        pass


class TwoArguments(Component):
    chance = Constant(1.0)
    job = Timer(chance)

    @on(job)
    def done(self, much: float) -> None:
        pass


class WaitsInside(Component):
    chance = Constant(1.0)
    job = Timer(chance)

    @on(job)
    def done(self):  # type: ignore[no-untyped-def]
        yield 5.0


class DoesNotWait(Component):
    @process
    def life(self, env: object) -> None:
        pass


class TwoForOneTimer(Component):
    chance = Constant(1.0)
    job = Timer(chance)

    @on(job)
    def done(self) -> None:
        pass

    @on(job)
    def ready(self) -> None:
        pass


class Overrides(Machine):
    def done(self) -> None:
        self.made += 2


class WatchesALevel(Component):
    tank = Port(Level)

    @when(lambda w: w.tank.level > 5)
    def full(self) -> None:
        pass


class WatchesTheTime(Component):
    @when(lambda w: w.now > 5)
    def late(self) -> None:
        pass


class WatchesAFlow(Component):
    src, dst = Port(Level), Port(Level)
    line = Transfer(src, dst)

    @when(lambda w: w.line.flow < 1)
    def slow(self) -> None:
        pass


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (TimerOfAnother, "TimerOfAnother.job uses chance of another type (declare it in this one)"),
        (GateOfAnother, "GateOfAnother.job uses health of another type"),
        (CrossesAnother, "CrossesAnother.full uses limit of another type"),
        (LoanOfABuffer, "LoanOfABuffer.lent needs a Port(Resource), parts goes to a Buffer"),
        (CrossesABuffer, "CrossesABuffer.full needs a Port(Level), parts goes to a Buffer"),
        (TwoArguments, "TwoArguments.done takes more than the component (write def name(self))"),
        (WaitsInside, "WaitsInside.done waits in the middle (mark it @process, or start a Timer and write @on(it))"),
        (DoesNotWait, "DoesNotWait.life does not wait (write yield in it)"),
        (TwoForOneTimer, "TwoForOneTimer.ready and done are both @on(job) (write one handler)"),
        (Overrides, "Overrides.done replaces a handler without a mark"),
    ],
)
def test_a_class_whose_parts_do_not_fit_is_refused(cls: type[Component], message: str) -> None:
    with pytest.raises(Misspelt, match=re.escape(message)):
        component_type(cls)


def test_two_marks_on_one_handler_are_refused() -> None:
    job, ready = Timer(Constant(1.0)), Timer(Constant(2.0))
    with pytest.raises(Misspelt, match="has two marks"):

        @on(job)
        @on(ready)
        def both(self: Component) -> None:
            pass


@pytest.mark.parametrize(
    ("cls", "ports", "message"),
    [
        (WatchesALevel, ("tank",), "WatchesALevel.full watches tank.level, which moves all the time (@crosses(tank,"),
        (WatchesTheTime, (), "WatchesTheTime.late watches the time (start a Timer"),
        (WatchesAFlow, ("src", "dst"), "WatchesAFlow.slow watches line.flow, which changes when its source runs empty"),
    ],
)
def test_a_rule_that_would_miss_what_it_watches_is_refused_with_its_line(
    cls: type[Component], ports: tuple[str, ...], message: str
) -> None:
    plant = Layout()
    plant.add(cls, "X", **{port: plant.tank(port, 1.0, 9.0) for port in ports})
    with pytest.raises(Misspelt, match=rf"test_component_declarations\.py:\d+: rule {re.escape(message)}"):
        assemble(plant)


# --- layouts ---------------------------------------------------------------------------------------------------------


def machine(plant: Layout, **fields: Any) -> None:
    given = {"inp": plant.buffer("in"), "out": plant.buffer("out"), **fields}
    plant.add(Machine, "M", **{name: value for name, value in given.items() if value is not ...})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda p: machine(p, out=...), "M.out is not connected (add(…, out=…) with a Buffer)"),
        (lambda p: machine(p, out=p.tank("T", 1, 2)), "M.out is connected to Level (connect a Buffer of this layout)"),
        (lambda p: machine(p, out="out"), "M.out is connected to 'out' (connect a Buffer of this layout)"),
        (lambda p: machine(p, out=Layout().buffer("out")), "connect a Buffer of this layout"),
        (lambda p: machine(p, crew=p.buffer("c")), "M.crew is connected to Buffer (connect a Resource of this layout)"),
        (lambda p: machine(p, cicle=Constant(1)), "M: Machine has no field 'cicle' (did you mean cycle"),
        (lambda p: machine(p, cycle=5.0), "M.cycle = 5.0 (a distribution)"),
        (lambda p: machine(p, speed="fast"), "M.speed = 'fast' (a finite number)"),
        (lambda p: machine(p, speed=math.nan), "M.speed = nan (a finite number)"),
        (lambda p: machine(p, health="broken"), "M.health = 'broken' (one of ('up', 'down'))"),
        (lambda p: machine(p, job=5.0), "M.job = 5.0"),
        (lambda p: (machine(p), machine(p)), "'in' is there already (choose another name)"),
        (lambda p: p.buffer("B", -1), "buffer B: level 0 of -1 (0 <= level <= capacity)"),
        (lambda p: p.buffer("B", 5, level=6), "buffer B: level 6 of 5"),
        (lambda p: p.buffer("B", math.nan), "B: capacity nan (give a finite number)"),
        (lambda p: p.buffer("B", math.inf), "B: capacity inf (give a finite number)"),
        (lambda p: p.buffer("B", "many"), "B: capacity 'many' (give a finite number)"),
        (lambda p: p.buffer("B", items=-3), "buffer B holds -3 numbers (a whole number from 0 to 100000)"),
        (lambda p: p.buffer("B", 5, level=1, items=5), "begin empty, and push them"),
        (lambda p: p.resource("crew", -1), "resource crew: capacity -1 (a whole number from 0 to 1000000000)"),
        (lambda p: p.resource("crew", 1.5), "resource crew: capacity 1.5"),
        (lambda p: p.resource("crew", math.nan), "crew: capacity nan (give a finite number)"),
        (lambda p: p.tank("T", 11, 10), "tank T: level 11 (0 <= level <= 10)"),
        (lambda p: p.tank("T", 1, 10, floor=2), "tank T: level 1 (2 <= level <= 10)"),
        (lambda p: p.tank("T", math.nan, 10), "T: level nan (give a finite number)"),
        (lambda p: p.level("x", math.inf), "x: level inf (give a finite number)"),
        (lambda p: p.signal("s", math.nan), "s: value nan (give a finite number)"),
        (lambda p: (p.buffer("M.health"), machine(p)), "M.health is there already (it is the health of M"),
        (lambda p: (machine(p), p.buffer("M.job")), "'M.job' is there already (it is the job of M"),
        (lambda p: (machine(p), p.signal("M.done")), "'M.done' is there already (it is the done of M"),
        (lambda p: p.buffer("1st"), "name '1st' (letters, digits and _, no digit first)"),
        (lambda p: p.buffer("of parts"), "name 'of parts'"),
        (lambda p: p.buffer(""), "name ''"),
        (lambda p: p.add(int, "M"), "M: <class 'int'> is no component (give a class that inherits from Component)"),
        (lambda p: p.add(Pump(), "P"), "is no component"),
        (lambda p: p.entity("none"), "nothing shared is called 'none'"),
        (lambda p: p.component("none"), "no component is called 'none'"),
        (lambda p: Layout("x", "week"), "time_unit 'week' (one of s, min, h, d)"),
    ],
)
def test_a_layout_that_cannot_be_says_so_where_it_is_written(made: Callable[[Layout], Any], message: str) -> None:
    with pytest.raises(Misspelt, match=re.escape(message)):
        made(Layout("wrong"))


@pytest.mark.parametrize("given", [5.0, "1 2 3", [1.0] * 257, [math.nan], ...])
def test_a_belt_begins_with_the_numbers_on_it_or_nothing(given: Any) -> None:
    plant = Layout()
    belt = plant.buffer("shared", items=3) if given is ... else given
    with pytest.raises(Misspelt, match=r"C\.belt"):
        plant.add(Conveyor, "C", inp=plant.buffer("in"), out=plant.buffer("out"), belt=belt)


def test_numbers_of_numpy_are_numbers() -> None:
    plant = Layout()
    parts = plant.buffer("B", np.int64(5), level=np.float32(2.0))
    plant.add(Machine, "M", inp=parts, out=plant.buffer("out"), speed=np.float32(0.5), cycle=Exponential(np.int32(3)))
    assert parts.capacity == 5.0
    assert plant.components[0].values["speed"] == 0.5


def test_signals_need_signals() -> None:
    class Ear(Component):
        heard = Port(Signal)

    plant = Layout()
    with pytest.raises(Misspelt, match=r"ear\.heard is connected to Resource \(connect a Signal of this layout\)"):
        plant.add(Ear, "ear", heard=plant.resource("crew", 1))
