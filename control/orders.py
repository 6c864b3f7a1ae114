"""What the dispatcher asks of the plant and what it orders; must not know who answers or obeys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from control.command import Command
from control.group import Team
from control.lease import Lease
from twin.interlock import Judgement
from twin.plant import Feedback
from twin.points import Point
from twin.policy import Policy


class Ground(Protocol):
    """What the dispatcher may know of plant and twin; every answer is of this moment."""

    def point(self, name: str) -> Point:
        """
        Raises:
            NotFound: the plant has none of that name.
        """

    def misfit(self, point: Point, value: float) -> str:
        """Why its device can never take the value, "" where it can."""

    def policy(self, point: Point) -> Policy: ...

    def gap_s(self, device: str) -> float:
        """Least time between two writes to the device."""

    def judge(self, command: Command, now: int) -> Judgement:
        """By the interlocks."""

    def reported(self, point: Point) -> float | None:
        """What the plant says of it; None: nothing good."""

    def revision(self, point: Point) -> int: ...

    def is_stop(self, command: Command) -> bool:
        """Whether a declared emergency stop sets its point to its value."""

    def due(self, command: Command, now: int) -> Judgement:
        """Whether its time has come and its condition holds."""

    def condition(self, command: Command, now: int) -> Judgement:
        """Whether the condition of its schedule holds.

        Raises:
            BadRequest: it cannot be read.
        """

    def late(self, command: Command, now: int) -> str:
        """Why it may not go any more although it is due, "" when it may."""

    def feedback(self, command: Command) -> Feedback: ...


@dataclass(slots=True)
class Orders:
    """What follows from an event.

    Attributes:
        answer: the command that the event was about.
        kept: id -> command as it is now: make all of them durable together, before any write.
        writes: SENT commands to hand to their links.
        predictions: DRAFT commands to predict.
        leases, groups: those whose life went on, by id: made durable together with `kept`.
        looks: SEEKING commands whose feedback is to be read; that needs no record and may begin at once.
    """

    answer: Command | None = None
    kept: dict[str, Command] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    leases: dict[str, Lease] = field(default_factory=dict)
    groups: dict[str, Team] = field(default_factory=dict)

    def add(self, more: Orders) -> None:
        self.kept.update(more.kept)
        self.writes += more.writes
        self.predictions += more.predictions
        self.looks += more.looks
        self.leases.update(more.leases)
        self.groups.update(more.groups)
