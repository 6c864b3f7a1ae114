"""What a plant is, once read and found free of mistakes: frozen values with dense ids; must not know files or devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from twin.errors import NotFound
from twin.interface import Interface
from twin.retention import KEEP_EVERYTHING, Retention

Number = float


@dataclass(frozen=True, slots=True)
class Device:
    """An endpoint we talk to. `settings` are the protocol's own keys, already checked by the protocol."""

    id: str
    protocol: str
    endpoint: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Twin:
    """An instance of an Interface; `at` is its place in the drawing of the plant, in any unit, y upwards."""

    id: str
    interface: str
    name: str
    at: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Relationship:
    """`source` --name--> `target`, both twin ids."""

    source: str
    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Point:
    """One property or telemetry value of one twin, and its binding to a device.

    Attributes:
        id: dense id, the row in the point table.
        name: `twin.property`.
        type: `double`, `integer`, `boolean` or `string`.
        unit: symbol of the value's unit in the twin, "" when it has none.
        device: id of the device, "" for points that Twinloop computes itself (link states).
        address: the device's own words for it; its protocol parses them.
        scale, offset: twin value = wire value * scale + offset (unit conversion folded in).
        low, high: the range outside which a reading is not believed.
        writable: whether commands may target it.
        audit: whether each of its changes becomes a ledger entry.
    """

    id: int
    name: str
    twin: str
    property: str
    type: str
    unit: str
    device: str
    address: str
    scale: float = 1.0
    offset: float = 0.0
    low: float = float("-inf")
    high: float = float("inf")
    writable: bool = False
    audit: bool = False


@dataclass(frozen=True, slots=True)
class Feedback:
    """How a command on `point` is confirmed: `feedback` comes within `tolerance` of the value in time."""

    point: str
    feedback: str
    tolerance: float
    within_s: float


@dataclass(frozen=True)
class Plant:
    """The whole definition, consistent: every name in it resolves."""

    id: str
    name: str
    folder: str
    interfaces: Mapping[str, Interface]
    devices: tuple[Device, ...]
    twins: tuple[Twin, ...]
    relationships: tuple[Relationship, ...]
    points: tuple[Point, ...]
    feedbacks: tuple[Feedback, ...]
    clock: str | None
    model: Mapping[str, Any]
    retention: Retention = KEEP_EVERYTHING

    @cached_property
    def point_of_name(self) -> Mapping[str, Point]:
        return {p.name: p for p in self.points}

    @cached_property
    def device_of_id(self) -> Mapping[str, Device]:
        return {d.id: d for d in self.devices}

    @cached_property
    def feedback_of_point(self) -> Mapping[str, Feedback]:
        return {f.point: f for f in self.feedbacks}

    def points_of_device(self, device_id: str) -> tuple[Point, ...]:
        return tuple(p for p in self.points if p.device == device_id)

    def point(self, name: str) -> Point:
        """
        Raises:
            NotFound: no point has that name; the message offers the nearest ones.
        """
        found = self.point_of_name.get(name)
        if found is None:
            raise NotFound(f"no point is called {name!r}", nearest(name, self.point_of_name))
        return found


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """A hint with the names most like the unknown one."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else ""
