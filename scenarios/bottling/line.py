"""The bottling line as a layout: what simulated devices live by and what-ifs run; must not know points or protocols.

Parts are crates of twenty bottles; time is in seconds. Machines behave as PackML machines do (ANSI/ISA-TR88.00.02).
"""

from __future__ import annotations

from collections.abc import Mapping

from sim.components.line import Conveyor
from sim.glance import Glance
from sim.layout import Layout
from sim.resume import Going, Loan, Resume
from sim.spec import (
    Buffer,
    Component,
    Condition,
    Constant,
    Hazard,
    Level,
    LogNormal,
    Param,
    Port,
    Resource,
    State,
    Timer,
    Triangular,
    Uniform,
    Var,
    Weibull,
    command,
    on,
    when,
)

MACHINES = ("filler", "labeller", "packer")
CONVEYORS = ("conveyor_1", "conveyor_2")
DESIGN_SPEED = 5.0  # crates a minute
TRANSIT_S = 30.0
SHIFT_S = 8 * 3600.0
SUPPLY = 1e15  # empty crates: more than are ever used


class PackMachine(Component):
    """Works on one crate after the other; wears while it works, breaks, and is repaired or maintained by the crew."""

    cycle = Triangular(10.0, 12.0, 15.0)
    life = Weibull(5400.0, 2.0)  # of work since it was last repaired or maintained
    repair, service = LogNormal(600.0, 0.5), Triangular(240.0, 300.0, 420.0)
    inspection = Uniform(0.0, 1.0)
    inp, out, crew, behind = Port(Buffer), Port(Buffer), Port(Resource), Port(Level, optional=True)
    work = State("idle", "busy", "done")
    health = State("up", "broken", "repair", "due", "service")
    order = State("run", "stop")
    speed, reject = Param(1.0), Param(0.0, low=0.0, high=1.0)
    made, rejected, failures = Var(0), Var(0), Var(0)
    job = Timer(cycle, while_=health.up, speed=speed)
    fail = Hazard(life, while_=work.busy)
    fix, tend = Timer(repair), Timer(service)
    resume = Resume(
        going=(
            Going(job, work.busy), Going(fail, health.up), Going(fix, health.repair), Going(tend, health.service),
        ),
        loans=(Loan(crew, Condition(health, ("repair", "service")), waits=Condition(health, ("broken", "due"))),),
    )  # fmt: skip

    @when(lambda m: m.work == "done" and m.health == "up" and m.out.space >= 1)
    def unload(self) -> None:
        self.out.put(1)
        self.made += 1
        self.work = "idle"
        if self.behind.connected:
            self.behind.take(1)

    @when(lambda m: m.work == "idle" and m.health == "up" and m.order == "run" and m.inp.level >= 1)
    def load(self) -> None:
        self.inp.take(1)
        self.work = "busy"
        self.job.start()

    @on(job)
    def finished(self) -> None:
        if self.inspection.draw() < self.reject:
            self.rejected += 1
            self.work = "idle"
        else:
            self.work = "done"

    @on(fail)
    def breaks(self) -> None:
        self.failures += 1
        self.health = "broken"
        self.crew.request()

    @on(crew)
    def attended(self) -> None:
        if self.health == "broken":
            self.health = "repair"
            self.fix.start()
        else:
            self.health = "service"
            self.tend.start()

    @on(fix)
    def repaired(self) -> None:
        self.health = "up"
        self.crew.release()
        self.fail.start()

    @on(tend)
    def maintained(self) -> None:
        self.health = "up"
        self.crew.release()
        self.fail.start()

    @command
    def start(self) -> None:
        self.order = "run"

    @command
    def stop(self) -> None:
        self.order = "stop"

    @command
    def maintain(self) -> None:
        if self.health == "up":
            self.health = "due"
            self.fail.stop()
            self.crew.request()


class ShiftPlan(Component):
    """The board at the end of the line: what the shift should have packed by now, less what it has."""

    length = Constant(SHIFT_S)
    behind = Port(Level)
    rate, known = Param(0.0), Var(0.0)  # crates an hour
    shift = Hazard(length)
    resume = Resume(going=(Going(shift),))

    @when(lambda p: p.known != p.rate)
    def planned(self) -> None:
        self.known = self.rate
        self.behind.flow = self.rate / 3600.0

    @on(shift)
    def ends(self) -> None:
        if self.behind.level > 0:
            self.behind.take(self.behind.level)
        else:
            self.behind.put(-self.behind.level)
        self.shift.start()


def layout(crew: int = 1, belt: int = 12, table: int = 10, reject: float = 0.01, plan: float = 210.0) -> Layout:
    """Empty crates without end; filled, carried, labelled, carried, packed.

    Args:
        belt: crates that fit on each conveyor; table: crates on the accumulation table at its end.
        reject: share of crates that the labeller takes out.
        plan: crates an hour that the line should pack.
    """
    line = Layout("bottling", "s")
    people = line.resource("crew", int(crew))
    supply, packed = line.buffer("supply", level=SUPPLY), line.buffer("packed")
    infeed = [line.buffer(f"infeed_{n}", 1) for n in (1, 2)]
    tables = [line.buffer(f"table_{n}", table) for n in (1, 2)]
    line.add(PackMachine, "filler", inp=supply, out=infeed[0], crew=people)
    line.add(PackMachine, "labeller", inp=tables[0], out=infeed[1], crew=people, reject=reject)
    behind = line.level("behind", 0.0)
    line.add(PackMachine, "packer", inp=tables[1], out=packed, crew=people, behind=behind)
    line.add(ShiftPlan, "plan", behind=behind, rate=plan)
    for name, before, after in zip(CONVEYORS, infeed, tables, strict=True):
        line.add(Conveyor, name, inp=before, out=after, transit=Constant(TRANSIT_S), places=float(belt))
    return line


# --- what the instruments of simulated devices show ------------------------------------------------------------------

# Numbers of PackML's StateCurrent and UnitModeCurrent.
CLEARING, STOPPED, SUSPENDED, EXECUTE, STOPPING, ABORTED, HOLDING, HELD = 1, 2, 5, 6, 7, 9, 10, 11
PRODUCTION, MAINTENANCE = 1, 2
STATE_OF_HEALTH: Mapping[str, int] = {"broken": ABORTED, "repair": CLEARING, "due": HOLDING, "service": HELD}
CRATE = ("idle", "busy", "done")


def shows(line: Glance) -> dict[str, float]:
    """Point -> value."""
    found: dict[str, float] = {"line.packed": line.number("packer.made"), "crew.busy": line.number("crew.busy")}
    for name in MACHINES:
        found |= {f"{name}.{point}": value for point, value in _machine(line, name).items()}
    for number, name in enumerate(CONVEYORS, 1):
        found[f"{name}.crates"] = line.number(f"{name}.belt.level")
        found[f"{name}.infeed"] = line.number(f"infeed_{number}.level")
        found[f"{name}.end"] = float(line.state(f"{name}.end") == "waiting")
        found[f"table_{number}.crates"] = line.number(f"table_{number}.level")
    return found


def _machine(line: Glance, name: str) -> dict[str, float]:
    work, health, order = (line.state(f"{name}.{field}") for field in ("work", "health", "order"))
    since_s = min(line.since(f"{name}.{field}") for field in ("work", "health", "order"))
    maintained = float(MAINTENANCE if health in ("due", "service") else PRODUCTION)
    runs = order == "run" or (work == "busy" and health == "up")
    return {
        "status.StateCurrent": float(_state(work, health, order)),
        "status.StateCurrentTime": since_s if health == "up" else line.since(f"{name}.health"),
        "status.UnitModeCurrent": maintained,
        "status.Running": float(runs),
        "status.Crate": float(CRATE.index(work)),
        "status.Blocked": float(work == "done" and health == "up"),
        "status.Starved": float(work == "idle" and health == "up" and order == "run"),
        "status.CurMachSpeed": line.number(f"{name}.speed") * DESIGN_SPEED,
        "command.UnitMode": maintained,
        "admin.ProdProcessedCount": line.number(f"{name}.made") + line.number(f"{name}.rejected"),
        "admin.ProdDefectiveCount": line.number(f"{name}.rejected"),
        "admin.AccTimeSinceReset": line.age(f"{name}.fail"),
    }


def _state(work: str, health: str, order: str) -> int:
    if health != "up":
        return STATE_OF_HEALTH[health]
    if order == "stop":
        return STOPPING if work == "busy" else STOPPED
    return EXECUTE if work == "busy" else SUSPENDED
