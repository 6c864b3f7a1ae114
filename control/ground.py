"""What the dispatcher may know of the running plant: the plant file's rules over the live twin, as they are now."""

from __future__ import annotations

from dataclasses import replace

from control import schedule
from control.command import Command, Priority
from control.confirmation import default_feedback
from control.live import LiveTwin
from protocols.catalog import PROTOCOLS
from twin.errors import BadRequest
from twin.expression import Expression, parse
from twin.interlock import ALLOWED, Judgement, Sight
from twin.plant import Feedback
from twin.points import Point
from twin.policy import Policy
from twin.quality import is_good

POINTS_MAX = 20_000  # points kept ready, some 10 MB: more than one plant's commands go to in an hour
CONDITIONS_MAX = 1_000  # parsed ones that are kept; another one is parsed anew each time


class LiveGround:
    """Implements control.orders.Ground; on the event loop only."""

    def __init__(self, live: LiveTwin) -> None:
        self._live = live
        self._plant = live.plant
        self._points: dict[str, Point] = {}  # a look into the columns of a plant costs fifty times as much
        self._conditions: dict[tuple[str, str], Expression] = {}  # by commanded point and text

    def point(self, name: str) -> Point:
        self._follow_edits()
        found = self._points.get(name)
        if found is None:
            if len(self._points) >= POINTS_MAX:
                self._points.clear()
            found = self._points[name] = self._plant.point(name)
        return found

    def _follow_edits(self) -> None:
        """What was looked up in a plant that was edited since may be gone."""
        if self._plant is not self._live.plant:
            self._plant = self._live.plant
            self._points.clear()
            self._conditions.clear()

    def misfit(self, point: Point, value: float) -> str:
        return PROTOCOLS[self._live.plant.device_of_id[point.device].protocol].rules.misfit(point, value)

    def policy(self, point: Point) -> Policy:
        return self._live.plant.controls.policy(point)

    def gap_s(self, device: str) -> float:
        return self._live.plant.controls.gap_s(device)

    def judge(self, command: Command, now: int) -> Judgement:
        plant, emergency = self._live.plant, command.priority is Priority.EMERGENCY
        point = self.point(command.point)
        return plant.controls.judge(point, command.value, self._live.table.columns, now, emergency)

    def is_stop(self, command: Command) -> bool:
        stops = self._live.plant.controls.stops
        return any((command.point, command.value) in stop.sets for stop in stops)

    def reported(self, point: Point) -> float | None:
        columns = self._live.table.columns
        value = float(columns.value[point.id])
        return value if is_good(int(columns.quality[point.id])) and value == value else None

    def revision(self, point: Point) -> int:
        return int(self._live.table.columns.revision[point.id])

    def due(self, command: Command, now: int) -> Judgement:
        seen = self._clock_seen() if command.terms.at_plant_s is not None else ()
        clock_s = seen[0].value if seen and is_good(seen[0].quality) else None
        try:
            condition = self.condition(command, now) if command.terms.when else ALLOWED
        except BadRequest as error:  # an edit took a point of it away
            condition = Judgement(False, str(error))
        judgement = schedule.due(command, clock_s, now, condition)
        return replace(judgement, seen=(*seen, *judgement.seen))

    def condition(self, command: Command, now: int) -> Judgement:
        text = command.terms.when
        self._follow_edits()
        found = self._conditions.get((command.point, text))
        if found is None:
            found = parse(text, self._live.plant.point_of_name, target=self.point(command.point))
            if len(self._conditions) >= CONDITIONS_MAX:
                del self._conditions[next(iter(self._conditions))]
            self._conditions[command.point, text] = found
        answer = found.holds(self._live.table.columns, now, command.value)
        return Judgement(answer.truth is True, answer.detail, answer.seen)

    def late(self, command: Command, now: int) -> str:
        seen = self._clock_seen() if command.terms.at_plant_s is not None else ()
        return schedule.too_late(command, seen[0].value if seen else None, now)

    def _clock_seen(self) -> tuple[Sight, ...]:
        """The plant's own clock, if it has one and shows something."""
        clock = self._live.plant.clock
        if clock is None:
            return ()
        columns, point = self._live.table.columns, self.point(clock)
        value = float(columns.value[point.id])
        return (schedule.clock_seen(clock, value, int(columns.quality[point.id])),) if value == value else ()

    def feedback(self, command: Command) -> Feedback:
        rule = self._live.plant.feedback_of_point.get(command.point)
        return rule if rule is not None else default_feedback(self.point(command.point), command.value)
