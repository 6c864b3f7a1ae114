"""Components of what flows: pump, valve, pipe, heater, demand; the tanks between them are levels of the layout."""

from __future__ import annotations

import math

from sim.resume import Going, Loan, Resume
from sim.spec import (
    Component,
    Constant,
    Exponential,
    Hazard,
    Level,
    Param,
    Port,
    Resource,
    State,
    Timer,
    Transfer,
    Uniform,
    Var,
    at_start,
    command,
    crosses,
    on,
    when,
)


def _pumping(p: Pump) -> None:
    p.line.rate = p.rate if p.run == "on" else 0.0


def _passing(v: Valve) -> None:
    v.line.rate = v.rate if v.position == "open" else 0.0


def _ticking(c: Stepwise) -> None:
    c.tick.start(0.0)  # what flows between two steps is set anew at once


def _drawing(d: Demand) -> None:
    d.tank.flow = d.rate


class Pump(Component):
    """Keeps the level of `dst` between `low` and `high`; fails only while it runs; an empty `src` gives what it gets."""

    mttf, mttr = Exponential(90.0), Exponential(20.0)
    src, dst, crew = Port(Level), Port(Level), Port(Resource, optional=True)
    rate, low, high = Param(5.0), Param(30.0), Param(80.0)
    call, run, health = State("no", "yes"), State("off", "on"), State("up", "down")
    starts = Var(0)
    line = Transfer(src, dst)
    fail = Hazard(mttf, while_=run.on)
    fix = Timer(mttr)
    resume = Resume(
        going=(Going(fail, health.up), Going(fix, health.down, loan=crew)),
        loans=(Loan(crew, health.down, waits=health.down),),
        then=_pumping,
    )

    @when(lambda p: p.run == "off" and p.call == "yes" and p.health == "up")
    def start(self) -> None:
        self.run = "on"
        self.starts += 1
        self.line.rate = self.rate

    @when(lambda p: p.run == "on" and (p.call == "no" or p.health == "down"))
    def stop(self) -> None:
        self.run = "off"
        self.line.rate = 0.0

    @crosses(dst, low, "down")
    def is_low(self) -> None:
        self.call = "yes"

    @crosses(dst, high, "up")
    def is_high(self) -> None:
        self.call = "no"

    @on(fail)
    def breaks(self) -> None:
        self.health = "down"
        if self.crew.connected:
            self.crew.request()
        else:
            self.fix.start()

    @on(crew)
    def repair(self) -> None:
        self.fix.start()

    @on(fix)
    def fixed(self) -> None:
        self.health = "up"
        if self.crew.connected:
            self.crew.release()
        self.fail.start()

    @command
    def switch_on(self) -> None:
        self.call = "yes"

    @command
    def switch_off(self) -> None:
        self.call = "no"


class Valve(Component):
    """Lets so much through while it is open, at most what its source holds."""

    src, dst = Port(Level), Port(Level)
    rate = Param(1.0)
    position = State("closed", "open")
    line = Transfer(src, dst)
    resume = Resume(then=_passing)

    @at_start
    def begin(self) -> None:
        if self.position == "open":
            self.line.rate = self.rate

    @command
    def open(self) -> None:
        self.position = "open"
        self.line.rate = self.rate

    @command
    def close(self) -> None:
        self.position = "closed"
        self.line.rate = 0.0


class Stepwise(Component):
    """What flows is set every `step`, in a handler of `@on(Stepwise.tick)` that starts `tick` again; constant between."""

    step = Constant(1.0)
    tick = Timer(step)
    resume = Resume(then=_ticking)

    @at_start
    def begin(self) -> None:
        self.tick.start(0.0)


class Pipe(Stepwise):
    """Runs from the higher level to the lower one, `coefficient` times the root of their difference, set every `step`.

    The levels are heights. Between two steps the flow is constant: the error shrinks in proportion to the step.
    """

    src, dst = Port(Level), Port(Level)
    coefficient = Param(1.0)
    forth, back = Transfer(src, dst), Transfer(dst, src)

    @on(Stepwise.tick)
    def adjust(self) -> None:
        head = self.src.level - self.dst.level
        self.forth.rate = self.coefficient * math.sqrt(max(head, 0.0))
        self.back.rate = self.coefficient * math.sqrt(max(-head, 0.0))
        self.tick.start()


class Heater(Stepwise):
    """A thermostat: heats `temperature` between `low` and `high` against losses to `ambient`, set every `step`."""

    temperature = Port(Level)
    power, losses, ambient = Param(2.5), Param(0.05), Param(20.0)
    low, high = Param(58.0), Param(62.0)
    heat = State("off", "on")

    @on(Stepwise.tick)
    def adjust(self) -> None:
        gain = self.power if self.heat == "on" else 0.0
        self.temperature.flow = gain - self.losses * (self.temperature.level - self.ambient)
        self.tick.start()

    @crosses(temperature, low, "down")
    def cold(self) -> None:
        self.heat = "on"

    @crosses(temperature, high, "up")
    def warm(self) -> None:
        self.heat = "off"


class Demand(Component):
    """Takes (or, positive, brings) another amount every `hold`."""

    hold, size = Constant(15.0), Uniform(1.0, 4.0)
    tank = Port(Level)
    sign = Param(-1.0)
    next = Timer(hold)
    rate = Var(0)
    resume = Resume(going=(Going(next),), then=_drawing)

    @at_start
    def begin(self) -> None:
        self.next.start(0.0)

    @on(next)
    def change(self) -> None:
        self.rate = self.sign * self.size.draw()
        self.tank.flow = self.rate
        self.next.start()


class Battery(Stepwise):
    """Charges from a surplus and serves a load: the signed power of `net`, limited by `power`, with losses in charging."""

    charge = Port(Level)
    load, supply = Param(1.0), Param(0.0)
    power, efficiency = Param(5.0, low=0.0), Param(0.9, low=0.0, high=1.0)

    @on(Stepwise.tick)
    def adjust(self) -> None:
        net = max(-self.power, min(self.power, self.supply - self.load))
        self.charge.flow = net * self.efficiency if net > 0 else net
        self.tick.start()
