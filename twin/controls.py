"""What a plant asks of commands, looked up by point and device; frozen, must not know how it was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from twin.columns import Columns
from twin.guard import Guard, judged
from twin.interlock import Interlock, Judgement
from twin.points import Point
from twin.policy import FREE, Policy


@dataclass(frozen=True, slots=True)
class Stop:
    """What an emergency stop does: `sets` are names of points and the values they get, in the order of the file."""

    id: str
    name: str
    sets: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Controls:
    """Everything is settled when the plant is read: edits of a running plant add nothing that can be commanded.

    Attributes:
        interlocks: the rows, in the order of the file.
        policies: by id of point, of those that a row names.
        guards: by id of point, of those that an interlock guards.
        gaps: least seconds between two writes, by id of device, of those that a row names.
    """

    interlocks: tuple[Interlock, ...] = ()
    stops: tuple[Stop, ...] = ()
    policies: Mapping[int, Policy] = field(default_factory=dict)
    guards: Mapping[int, tuple[Guard, ...]] = field(default_factory=dict)
    gaps: Mapping[str, float] = field(default_factory=dict)

    def policy(self, point: Point) -> Policy:
        return self.policies.get(point.id, FREE)

    @property
    def limits(self) -> tuple[str, ...]:
        """Those that any policy names, each once."""
        return tuple(dict.fromkeys(limit for policy in self.policies.values() for limit in policy.limits))

    def gap_s(self, device: str) -> float:
        return self.gaps.get(device, 0.0)

    def judge(self, point: Point, value: float, columns: Columns, now: int, emergency: bool = False) -> Judgement:
        """Whether the interlocks let the value be commanded to the point now.

        Args:
            now: ns since 1970 UTC.
            emergency: interlocks of `emergency = false` are passed over.
        """
        return judged(self.guards.get(point.id, ()), value, columns, now, emergency)


NO_CONTROLS = Controls()
