"""What the dispatcher may know of the running plant: the plant file's rules over the live twin, as they are now."""

from __future__ import annotations

from control.command import Command
from control.confirmation import default_feedback
from control.live import LiveTwin
from twin.interlock import ALLOWED, Judgement
from twin.plant import Feedback
from twin.points import Point
from twin.policy import FREE, Policy
from twin.quality import is_good


class LiveGround:
    """Implements control.orders.Ground; on the event loop only."""

    def __init__(self, live: LiveTwin) -> None:
        self._live = live

    def point(self, name: str) -> Point:
        return self._live.plant.point(name)

    def policy(self, point: Point) -> Policy:
        return FREE

    def gap_s(self, device: str) -> float:
        return 0.0

    def judge(self, command: Command, now: int) -> Judgement:
        return ALLOWED

    def reported(self, point: Point) -> float | None:
        columns = self._live.table.columns
        value = float(columns.value[point.id])
        return value if is_good(int(columns.quality[point.id])) and value == value else None

    def revision(self, point: Point) -> int:
        return int(self._live.table.columns.revision[point.id])

    def due(self, command: Command, now: int) -> Judgement:
        at = command.terms.at
        return ALLOWED if at is None or now >= at else Judgement(False, "its time has not come")

    def feedback(self, command: Command) -> Feedback:
        rule = self._live.plant.feedback_of_point.get(command.point)
        return rule if rule is not None else default_feedback(self.point(command.point), command.value)
