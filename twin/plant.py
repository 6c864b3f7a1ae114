"""What a plant is, once read and found free of mistakes: frozen values with dense ids; must not know files or devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.alarm import NO_ALARMS, AlarmPlan
from twin.anchoring import Anchoring
from twin.controls import NO_CONTROLS, Controls
from twin.errors import NotFound, Notice
from twin.graph import TwinGraph
from twin.interface import Interface
from twin.learned import Learned
from twin.lookahead import Lookahead
from twin.mark import MarkRule
from twin.nearest import nearest as nearest
from twin.overview import Kpi
from twin.points import ByName, Point, Points, Selection
from twin.retention import KEEP_EVERYTHING, Retention

Number = float


EMBEDDED = Anchoring()


@dataclass(frozen=True, slots=True)
class Device:
    """An endpoint we talk to. `settings` are the protocol's own keys, already checked by the protocol."""

    id: str
    protocol: str
    endpoint: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Serving:
    """How the twin is shown to other programs. `settings` are the protocol's own keys, already checked."""

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
class Feedback:
    """How a command on `point` is confirmed: `feedback` comes within `tolerance` of the value in time."""

    point: str
    feedback: str
    tolerance: float
    within_s: float


@dataclass(frozen=True, slots=True)
class Added:
    """What did not come from the plant folder; everything else is under its change control.

    Attributes:
        interfaces, twins: ids.
        relationships: in no order.
        kept: points of the folder's own twins that no device reports, by name.
    """

    interfaces: frozenset[str] = frozenset()
    twins: frozenset[str] = frozenset()
    relationships: frozenset[Relationship] = frozenset()
    kept: frozenset[str] = frozenset()


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
    points: Points
    feedbacks: tuple[Feedback, ...]
    clock: str | None
    model: Mapping[str, Any]
    retention: Retention = KEEP_EVERYTHING
    notices: tuple[Notice, ...] = ()
    added: Added = Added()
    servings: tuple[Serving, ...] = ()
    controls: Controls = NO_CONTROLS
    lookahead: Lookahead | None = None
    chain: Anchoring = EMBEDDED
    marks: Mapping[str, MarkRule] = field(default_factory=dict)
    overview: tuple[Kpi, ...] = ()
    learned: tuple[Learned, ...] = ()
    alarms: AlarmPlan = NO_ALARMS

    @cached_property
    def twin_of_id(self) -> Mapping[str, Twin]:
        return {t.id: t for t in self.twins}

    @cached_property
    def point_of_name(self) -> Mapping[str, Point]:
        return ByName(self.points)

    @cached_property
    def device_of_id(self) -> Mapping[str, Device]:
        return {d.id: d for d in self.devices}

    @cached_property
    def feedback_of_point(self) -> Mapping[str, Feedback]:
        return {f.point: f for f in self.feedbacks}

    @cached_property
    def graph(self) -> TwinGraph:
        """Its twins and relationships."""
        return TwinGraph(self)

    @cached_property
    def twin_ids(self) -> Sequence[str]:
        """In order."""
        return sorted(self.twin_of_id)

    @cached_property
    def relationships_from(self) -> Mapping[str, Sequence[Relationship]]:
        """Of every twin that has some, those that start at it."""
        return _grouped(self.relationships, lambda r: r.source)

    @cached_property
    def relationships_to(self) -> Mapping[str, Sequence[Relationship]]:
        return _grouped(self.relationships, lambda r: r.target)

    def twin(self, identity: str) -> Twin:
        """
        Raises:
            NotFound: no twin has that id; the message offers the nearest ones.
        """
        found = self.twin_of_id.get(identity)
        if found is None:
            raise NotFound(f"no twin is called {identity!r}", nearest(identity, self.twin_of_id))
        return found

    def kept_points(self) -> NDArray[np.bool_]:
        """Where a point has no device and is not Twinloop's own, shape (points.size,): people keep its value."""
        kept = np.zeros(self.points.size, np.bool_)
        kept[self.points.where("device", "")] = True
        for own in [*(d.id for d in self.devices), *(s.id for s in self.servings)]:
            kept[self.points.where("twin", own)] = False
        for row in self.learned:
            kept[row.first : row.first + row.size] = False
        return kept

    def points_of_device(self, device_id: str) -> Selection:
        return self.points.selection(self.points.where("device", device_id))

    def point(self, name: str) -> Point:
        """
        Raises:
            NotFound: no point has that name; the message offers the nearest ones.
        """
        found = self.point_of_name.get(name)
        if found is None:
            raise NotFound(f"no point is called {name!r}", nearest(name, self.point_of_name))
        return found


def _grouped(
    relationships: Iterable[Relationship], end: Callable[[Relationship], str]
) -> Mapping[str, Sequence[Relationship]]:
    found: dict[str, list[Relationship]] = {}
    for relationship in relationships:
        found.setdefault(end(relationship), []).append(relationship)
    return found
