"""When a sent command counts as done: only the process says so, within its time; pure."""

from __future__ import annotations

from dataclasses import dataclass

from control.command import Command, Status
from twin.plant import Feedback
from twin.points import Point

DEFAULT_WITHIN_S = 10.0


@dataclass(slots=True)
class Quest:
    """A command whose outcome is sought.

    Attributes:
        end: when its time is over, ns since 1970; None: the feedback cannot be read, so no time runs.
        seen: what the feedback showed last.
    """

    end: int | None
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The status to take now, and why."""

    to: Status
    detail: str


def default_feedback(point: Point, value: float) -> Feedback:
    """Without a rule in the plant: the point itself, to a rounding error of the value and of its register."""
    step = abs(point.scale) if point.type not in ("boolean", "enum") else 0.0
    tolerance = max(step / 2 if point.type == "integer" else 0.0, 1e-6 * abs(value), 1e-9 * abs(point.scale))
    return Feedback(point.name, point.name, tolerance, DEFAULT_WITHIN_S)


def begun(rule: Feedback, now: int) -> Quest:
    return Quest(now + int(rule.within_s * 1e9))


def found(quest: Quest, command: Command, rule: Feedback, value: float | None, now: int) -> Finding | None:
    """What a look at the feedback settles; None: look again. `value` None: it could not be read.

    Without a usable read-back an acknowledged command becomes UNKNOWN, and an unknown one stays so: it is read back for
    as long as it takes, because nothing else may be said of it.
    """
    if value is not None:
        quest.seen = value
        if abs(value - command.value) <= rule.tolerance:
            return Finding(Status.CONFIRMED, f"{rule.feedback} reads {value:g}")
    unheard = None
    if quest.end is not None and now >= quest.end:
        if quest.seen is not None:
            late = f"still reads {quest.seen:g} after {rule.within_s:g} s, {command.value:g} was wanted"
            return Finding(Status.FAILED, f"{rule.feedback} {late}")
        quest.end = None
        if command.status is Status.ACKNOWLEDGED:
            detail = f"{rule.feedback} could not be read back; the command may have taken effect"
            unheard = Finding(Status.UNKNOWN, detail)
    if quest.end is None and value is not None:
        quest.end = now + int(rule.within_s * 1e9)  # the device can be read again: it has its time anew
    return unheard
