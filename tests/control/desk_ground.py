"""A plant as the dispatcher asks it, in memory: the tests set what it says; no device, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from control.command import Command, Status
from control.dispatcher import Dispatcher
from control.orders import Orders
from control.request import Request
from protocols.link import Verdict, WriteOutcome
from tests.control.plants import plant
from twin.errors import NotFound
from twin.interlock import ALLOWED, Judgement
from twin.plant import Feedback, Plant
from twin.points import Point
from twin.policy import FREE, Policy

SECOND = 1_000_000_000


@dataclass
class SaidGround:
    """Implements control.orders.Ground by what a test says."""

    plant: Plant = field(default_factory=lambda: plant("modbus://127.0.0.1:1/1"))
    policies: dict[str, Policy] = field(default_factory=dict)
    forbidden: dict[str, str] = field(default_factory=dict)  # point -> why its interlock refuses
    values: dict[str, float] = field(default_factory=dict)
    not_due: dict[str, str] = field(default_factory=dict)  # point -> what its schedule waits for
    lates: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)  # points that an edit took away

    def point(self, name: str) -> Point:
        if name in self.gone:
            raise NotFound(f"no point is called {name!r}")
        return self.plant.point(name)

    def policy(self, point: Point) -> Policy:
        return self.policies.get(point.name, FREE)

    def gap_s(self, device: str) -> float:
        return 0.0

    def judge(self, command: Command, now: int) -> Judgement:
        why = self.forbidden.get(command.point)
        return ALLOWED if why is None else Judgement(False, why)

    def misfit(self, point: Point, value: float) -> str:
        return ""

    def is_stop(self, command: Command) -> bool:
        return command.value == 0.0

    def reported(self, point: Point) -> float | None:
        return self.values.get(point.name)

    def revision(self, point: Point) -> int:
        return 0

    def due(self, command: Command, now: int) -> Judgement:
        why = self.not_due.get(command.point)
        return ALLOWED if why is None else Judgement(False, why)

    def condition(self, command: Command, now: int) -> Judgement:
        return self.due(command, now)

    def late(self, command: Command, now: int) -> str:
        return self.lates.get(command.point, "")

    def feedback(self, command: Command) -> Feedback:
        return Feedback(command.point, command.point, 0.0, 1.0)


@dataclass
class Table:
    """A dispatcher on that ground, with what it has written and the newest state of everything it kept."""

    ground: SaidGround = field(default_factory=SaidGround)
    now: int = SECOND
    commands: dict[str, Command] = field(default_factory=dict)
    written: list[tuple[str, float]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.desk = Dispatcher(self.ground)
        self._numbers: Iterator[int] = iter(range(10**9))
        self.online("plc")

    def new_id(self) -> str:
        return f"c{next(self._numbers)}"

    def online(self, device: str, there: bool = True) -> Orders:
        return self.took(self.desk.link(device, there, self.now))

    def took(self, orders: Orders) -> Orders:
        """The orders, carried out as far as a plant without devices can."""
        self.commands.update(orders.kept)
        for identity in orders.writes:
            self.written.append((self.commands[identity].point, self.commands[identity].value))
            self.sent.append(identity)
        return orders

    def submit(self, point: str, value: float, author: str, key: str = "", **more: object) -> Command:
        asked = Request(key or f"key {next(self._numbers)}", point, value, **more)  # type: ignore[arg-type]
        answer = self.took(self.desk.submit(asked, author, self.new_id(), None, self.now)).answer
        assert answer is not None
        return answer

    def confirm(self, identity: str) -> Orders:
        """The device takes the write, and the process shows it."""
        orders = self.answer(identity, WriteOutcome.ACCEPTED)
        orders.add(self.took(self.desk.observed(identity, self.commands[identity].value, (), self.now)))
        return orders

    def answer(self, identity: str, outcome: WriteOutcome) -> Orders:
        return self.took(self.desk.answered(identity, Verdict(outcome), self.now))

    def status(self, identity: str) -> Status:
        return self.commands[identity].status
