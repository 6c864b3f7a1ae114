"""A plant in memory for the dispatcher's model test, its disk, and what may be said of a command; must not know the runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from control.command import TRANSITIONS, Command, Status
from control.command_store import CommandStore
from twin.errors import NotFound
from twin.interlock import ALLOWED, Judgement
from twin.plant import Feedback
from twin.points import Point
from twin.policy import Policy, Preflight

SECOND = 1_000_000_000
WITHIN_S = 1.0
# device -> (least time between two writes, its points and what is asked of commands on them)
YARD: dict[str, tuple[float, dict[str, Policy]]] = {
    "a": (
        0.0,
        {
            "a.free": Policy(),
            "a.plain": Policy(),
            "a.chosen": Policy(select=True, select_timeout_s=3.0),
            "a.approved": Policy(approvals=1, approval_timeout_s=4.0),
        },
    ),
    "b": (
        0.1,
        {
            "b.free": Policy(),
            "b.slow": Policy(every_s=0.7),
            "b.both": Policy(select=True, select_timeout_s=3.0, approvals=2, approval_timeout_s=5.0),
            "b.guessed": Policy(preflight=Preflight.WARN),
        },
    ),
    "c": (0.0, {"c.free": Policy(), "c.slewing": Policy(slew_per_s=2.0), "c.stepping": Policy(step_max=2.0)}),
}


class Wrong(AssertionError):
    """Something that may never be."""


def hold(true: bool, what: str, *about: object) -> None:
    if not true:
        raise Wrong(what, *about)


@dataclass
class Yard:
    """Implements control.orders.Ground: the plant as it is now."""

    registers: dict[str, float] = field(default_factory=dict)
    revisions: Counter[str] = field(default_factory=Counter)
    locked: set[str] = field(default_factory=set)  # points whose interlock refuses
    holding: set[str] = field(default_factory=set)  # conditions that hold
    clock_s: float = 0.0  # the plant's own
    judged: dict[str, tuple[int, bool]] = field(default_factory=dict)  # command -> when last, and what was said
    points: dict[str, Point] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [(device, name) for device, (_, points) in YARD.items() for name in points]
        for n, (device, name) in enumerate(names):
            self.points[name] = Point(n, name, device, name[2:], "double", "", device, f"{n}", writable=True)
            self.registers[name] = 0.0

    def point(self, name: str) -> Point:
        if name not in self.points:
            raise NotFound(f"no point {name}")
        return self.points[name]

    def policy(self, point: Point) -> Policy:
        return YARD[point.device][1][point.name]

    def gap_s(self, device: str) -> float:
        return YARD[device][0]

    def misfit(self, point: Point, value: float) -> str:
        return ""

    def is_stop(self, command: Command) -> bool:
        return True

    def judge(self, command: Command, now: int) -> Judgement:
        allowed = command.point not in self.locked
        self.judged[command.id] = now, allowed
        return ALLOWED if allowed else Judgement(False, f"{command.point} is locked")

    def reported(self, point: Point) -> float | None:
        return self.registers[point.name]

    def revision(self, point: Point) -> int:
        return self.revisions[point.name]

    def due(self, command: Command, now: int) -> Judgement:
        terms = command.terms
        due = (terms.at is None or now >= terms.at) and (not terms.when or terms.when in self.holding)
        due = due and (terms.at_plant_s is None or self.clock_s >= terms.at_plant_s)
        return ALLOWED if due else Judgement(False, "not yet")

    def condition(self, command: Command, now: int) -> Judgement:
        return ALLOWED if command.terms.when in self.holding else Judgement(False, "not yet")

    def late(self, command: Command, now: int) -> str:
        return ""

    def feedback(self, command: Command) -> Feedback:
        return Feedback(command.point, command.point, 0.0, WITHIN_S)

    def act(self, command: Command) -> None:
        self.registers[command.point] = command.value
        self.revisions[command.point] += 1


class Disk:
    """The store, which forgets nothing; what is kept may only grow along the table."""

    def __init__(self) -> None:
        self.store = CommandStore(":memory:")
        self.held: dict[str, Command] = {}

    def save(self, commands: Iterable[Command]) -> None:
        commands = list(commands)
        for new in commands:
            old = self.held.get(new.id)
            known = len(old.transitions) if old is not None else 0
            hold(old is None or new.transitions[:known] == old.transitions, "the past was changed", old, new)
            hold(new.status is new.transitions[-1].status, "status and last step differ", new)
            steps = [t.status for t in new.transitions]
            for before, after in pairwise(steps):
                hold(after in TRANSITIONS[before], "no such step", before, after, new)
            times = [t.time for t in new.transitions]
            hold(times == sorted(times), "time ran backwards", new)
        self.store.save(commands)
        self.held.update({c.id: c for c in commands})


def untrue(command: Command, acts: int) -> str:
    """What the number of effects has against the command's life, "" for nothing."""
    steps = [t.status for t in command.transitions]
    if acts > 1:
        return "two effects"
    if command.status is Status.CONFIRMED and acts != 1:
        return "confirmed without an effect"
    if command.status in (Status.REFUSED, Status.EXPIRED, Status.CANCELLED) and acts:
        return "an effect, and it ended without"
    if Status.ACKNOWLEDGED in steps and acts != 1:
        return "acknowledged without an effect"
    if Status.SENT not in steps and acts:
        return "an effect before it was sent"
    return ""
