"""What a plant asks of its learned models: whose twins, from which properties, how often; frozen values, must not know models.

The answers are points of the twins, `pump_1.life` of a row `life`, in one block: twin by twin, answer by answer; after
them the points of the row's own twin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from twin.points import Point

INTERFACE = "dtmi:twinloop:Learned;1"
"""Interface of the twin that every [[learned]] gets: which model serves, and how it fares."""
SPANS = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


class Part(StrEnum):
    """Of an answer. VALUE: the number. LOW, HIGH: its interval. FLAG: whether it is too much. WHY: a text. MODEL: who said so."""

    VALUE = ""
    LOW = "low"
    HIGH = "high"
    FLAG = "alarm"
    WHY = "why"
    MODEL = "model"


class When(StrEnum):
    """Calls for a retraining."""

    NEVER = "never"
    DRIFT = "drift"  # of inputs, errors or intervals
    TIME = "time"  # so long after the last one


@dataclass(frozen=True, slots=True)
class Retraining:
    """
    Attributes:
        when: what calls for it. every_s: of TIME; and the shortest time between two.
        learn_s: the history that is learned from. hold_s: newest part of it, which training does not see and the
            contest with the champion is held on.
    """

    when: When = When.NEVER
    every_s: float = 86_400.0
    learn_s: float = 30 * 86_400.0
    hold_s: float = 6 * 86_400.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One number, flag or text that a twin is told.

    Attributes:
        of: the property that is forecast, "" of an answer about the twin. ahead_s: how far ahead, 0 for now.
        type, unit: of the point.
    """

    part: Part
    type: str
    unit: str = ""
    of: str = ""
    ahead_s: float = 0.0

    def point(self, row: str) -> str:
        """Name of the property: `life_low`, `ahead_level_10min_low`."""
        far = span(self.ahead_s) if self.ahead_s else ""
        return "_".join(word for word in (row, self.of, far, self.part.value) if word)


OWN = (
    ("state", "string", ""),  # see control.inference.State
    ("model", "string", ""),  # the champion's hash
    ("known", "integer", ""),  # twins with an answer
    ("took", "double", "ms"),
    ("skipped", "integer", ""),  # samples that were due while the one before was not ready
    ("drift", "string", ""),  # what is no longer as in training
    ("training", "double", "%"),  # of a retraining
    ("trained", "string", ""),  # what became of the newest one
)
"""(property, type, unit) of a row's own twin."""
SCORED = (
    ("error", "double", ""),  # of forecasts that came due, squared, in variances of the training data
    ("held", "double", "%"),  # of intervals that came due
)
"""Likewise, of a row whose answers are settled by what comes."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A row [[learned]].

    Attributes:
        id: of its own twin, and where the names of its answers begin; models compete for this scope.
        task: a row of TASKS.
        twins: in order. columns, units: properties that all of them have, in order.
        every_s: from one sample to the next, at whole multiples of it since 1970 UTC.
        tell, ahead_s: of forecasts, which properties and how far ahead.
        deadband: of the answers that are numbers, in their own unit.
        first: id of the first point of the block; -1 before ids are given.
    """

    id: str
    task: str
    twins: tuple[str, ...]
    columns: tuple[str, ...]
    units: tuple[str, ...]
    every_s: float
    tell: tuple[str, ...] = ()
    ahead_s: tuple[float, ...] = ()
    deadband: float = 0.0
    retraining: Retraining = Retraining()
    first: int = -1

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Of each twin, in order."""
        if self.task != "forecast":
            return TASKS[self.task]
        unit = dict(zip(self.columns, self.units, strict=True))
        numbers = (Part.VALUE, Part.LOW, Part.HIGH)
        told = [Answer(p, "double", unit[c], c, a) for c in self.tell for a in self.ahead_s for p in numbers]
        return (*told, Answer(Part.MODEL, "string"))

    @property
    def own(self) -> tuple[tuple[str, str, str], ...]:
        """(property, type, unit) of its own twin, in order."""
        return (*OWN, *SCORED) if self.task == "forecast" else OWN

    @property
    def size(self) -> int:
        """Points of the block."""
        return len(self.twins) * len(self.answers) + len(self.own)

    def points(self) -> list[Point]:
        """The block."""
        answers = [(a.point(self.id), a.type, a.unit) for a in self.answers]
        rows = [(twin, *answer) for twin in self.twins for answer in answers]
        rows += [(self.id, *own) for own in self.own]
        return [
            Point(self.first + k, f"{twin}.{name}", twin, name, kind, unit, "", "",
                  deadband=self.deadband if kind == "double" and twin != self.id else 0.0)
            for k, (twin, name, kind, unit) in enumerate(rows)
        ]  # fmt: skip


TASKS: Mapping[str, tuple[Answer, ...]] = {
    "forecast": (),  # by column and time
    "anomaly": (
        Answer(Part.VALUE, "double"), Answer(Part.FLAG, "boolean"), Answer(Part.WHY, "string"),
        Answer(Part.MODEL, "string"),
    ),
    "rul": (
        Answer(Part.VALUE, "double", "s"), Answer(Part.LOW, "double", "s"), Answer(Part.HIGH, "double", "s"),
        Answer(Part.MODEL, "string"),
    ),
}  # fmt: skip


def span(seconds: float) -> str:
    """The shortest name of a time: `10min`, `90s`, `1h`, `0_5s`."""
    word, unit = next(((w, u) for w, u in SPANS if math.isclose(seconds / u, round(seconds / u))), ("s", 1.0))
    return f"{seconds / unit:g}".replace(".", "_") + word
