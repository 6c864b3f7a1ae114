"""Components of a line that makes parts: source, machine, conveyor, batch process, sink."""

from __future__ import annotations

from sim.resume import Going, Loan, Resume
from sim.spec import (
    Buffer,
    Component,
    Constant,
    Exponential,
    Hazard,
    Items,
    Param,
    Port,
    Resource,
    State,
    Timer,
    Var,
    command,
    on,
    when,
)


class Source(Component):
    """Brings parts; waits while there is no room."""

    between = Exponential(1.0)
    out = Port(Buffer)
    work = State("waiting", "blocked")
    made = Var(0)
    next = Hazard(between)
    resume = Resume(going=(Going(next, work.waiting),))

    @on(next)
    def arrives(self) -> None:
        self.work = "blocked"

    @when(lambda s: s.work == "blocked" and s.out.space >= 1)
    def delivers(self) -> None:
        self.out.put(1)
        self.made += 1
        self.work = "waiting"
        self.next.start()


class Machine(Component):
    """Takes a part, works, gives it on; blocked after service; breaks with time, and a crew repairs it.

    Work that a breakdown interrupts goes on where it stopped. Without a crew repairs begin at once.
    """

    cycle, mttf, mttr = Exponential(1.0), Exponential(60.0), Exponential(8.0)
    inp, out, crew = Port(Buffer), Port(Buffer), Port(Resource, optional=True)
    work, health = State("idle", "busy", "blocked"), State("up", "down")
    made, failures = Var(0), Var(0)
    speed = Param(1.0)
    job = Timer(cycle, while_=health.up, speed=speed)
    fail = Hazard(mttf)
    fix = Timer(mttr)
    resume = Resume(
        going=(Going(job, work.busy), Going(fail, health.up), Going(fix, health.down, loan=crew)),
        loans=(Loan(crew, health.down, waits=health.down),),
    )

    @when(lambda m: m.work == "blocked" and m.out.space >= 1)
    def unload(self) -> None:
        self.out.put(1)
        self.made += 1
        self.work = "idle"

    @when(lambda m: m.work == "idle" and m.inp.level >= 1)
    def load(self) -> None:
        self.inp.take(1)
        self.work = "busy"
        self.job.start()

    @on(job)
    def done(self) -> None:
        self.work = "blocked"

    @on(fail)
    def breaks(self) -> None:
        self.health = "down"
        self.failures += 1
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


def _ride(c: Conveyor) -> None:
    if c.end == "riding":
        c.ride.start(max(0.0, c.belt.first - c.now))


class Conveyor(Component):
    """Carries parts for a while, each behind the one before; they pile up at its end when there is no room."""

    transit = Constant(1.0)
    inp, out = Port(Buffer), Port(Buffer)
    places = Param(10)
    belt = Items(256)
    ride = Timer()
    end = State("empty", "riding", "waiting")
    resume = Resume(then=_ride, only=end.riding)

    @when(lambda c: c.end == "waiting" and c.out.space >= 1)
    def unload(self) -> None:
        self.belt.pop()
        self.out.put(1)
        self.end = "empty"

    @when(lambda c: c.inp.level >= 1 and c.belt.level < c.places and c.belt.space >= 1)
    def load(self) -> None:
        self.inp.take(1)
        self.belt.push(self.now + self.transit.draw())

    @when(lambda c: c.end == "empty" and c.belt.level >= 1)
    def follow(self) -> None:
        self.end = "riding"
        self.ride.start(max(0.0, self.belt.first - self.now))

    @on(ride)
    def arrives(self) -> None:
        self.end = "waiting"


class Batch(Component):
    """Gathers `size` parts, works on all of them at once, and gives `gives` parts."""

    cycle = Exponential(10.0)
    inp, out, crew = Port(Buffer), Port(Buffer), Port(Resource, optional=True)
    size, gives = Param(4), Param(4)
    work = State("idle", "manned", "busy", "done")
    batches = Var(0)
    job = Timer(cycle)
    resume = Resume(going=(Going(job, work.busy),), loans=(Loan(crew, work.busy, waits=work.manned),))

    @when(lambda b: b.work == "done" and b.out.space >= b.gives)
    def unload(self) -> None:
        self.out.put(self.gives)
        self.batches += 1
        self.work = "idle"

    @when(lambda b: b.work == "idle" and b.inp.level >= b.size)
    def load(self) -> None:
        self.inp.take(self.size)
        if self.crew.connected:
            self.work = "manned"
            self.crew.request()
        else:
            self.work = "busy"
            self.job.start()

    @on(crew)
    def begins(self) -> None:
        self.work = "busy"
        self.job.start()

    @on(job)
    def done(self) -> None:
        self.work = "done"
        if self.crew.connected:
            self.crew.release()


class Sink(Component):
    """Takes parts away, one by one."""

    between = Constant(0.0)
    inp = Port(Buffer)
    work = State("idle", "busy")
    taken = Var(0)
    next = Timer(between)
    open = State("yes", "no")
    resume = Resume(going=(Going(next, work.busy),))

    @when(lambda s: s.work == "idle" and s.open == "yes" and s.inp.level >= 1)
    def takes(self) -> None:
        self.inp.take(1)
        self.taken += 1
        self.work = "busy"
        self.next.start()

    @on(next)
    def ready(self) -> None:
        self.work = "idle"

    @command
    def close(self) -> None:
        self.open = "no"

    @command
    def reopen(self) -> None:
        self.open = "yes"
