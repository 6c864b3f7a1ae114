"""A plant's twins, relationships and models as one graph, and as the JSON file that Azure Digital Twins Explorer
exchanges; must not know live values but as they are handed in.

Source: the Explorer's README, "Import" and "Export" (fileVersion 1.0.0). As there, a graph holds Properties only:
Telemetry is a stream. Names and places of twins that no Property carries stand in a part of our own, which the Explorer
passes over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.dtdl import declared
from twin.dtdl_export import export_interfaces
from twin.interface import Interface
from twin.plant import Plant
from twin.points import Point
from twin.schema import Enum

FILE_VERSION = "1.0.0"
OURS = "twinloop"
"""Key of the part that other programs pass over: `{"twins": {id: {"name": …, "at": [x, y]}}}`."""
NAME_PROPERTY = "name"
Json = Any


@dataclass(frozen=True, slots=True)
class GraphTwin:
    """A twin and its properties by dotted path, `front.zoom` for a component's; name "" and at None: not said."""

    id: str
    interface: str
    name: str = ""
    at: tuple[float, float] | None = None
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GraphRelationship:
    """`source` --name--> `target`; `id` is only the file's."""

    source: str
    name: str
    target: str
    properties: Mapping[str, Json] = field(default_factory=dict)
    id: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.source, self.name, self.target


@dataclass(frozen=True, slots=True)
class Graph:
    """Twins by id, relationships by their ends and name, Interfaces by id with their own contents only."""

    twins: Mapping[str, GraphTwin]
    relationships: Mapping[tuple[str, str, str], GraphRelationship]
    models: Mapping[str, Interface]


def plain_value(point: Point, value: float, text: str | None) -> Json:
    """What a point holds as JSON has it; None when it holds nothing.

    Args:
        value, text: as the point table keeps them.
    """
    if point.type == "string":
        return text
    if point.type == "object":
        return None if text is None else json.loads(text)
    if not math.isfinite(value):
        return None
    if point.type == "boolean":
        return value == 1.0
    if isinstance(point.schema, Enum):
        index = point.schema.index_of(value)
        return None if index is None else point.schema.values[index].value
    return int(value) if point.type == "integer" and value.is_integer() else value


def graph_of(plant: Plant, values: Mapping[str, Json]) -> Graph:
    """The plant as a graph; link twins are Twinloop's own and stay out.

    Args:
        values: point name -> value, as `plain_value` gives it; None and points without one are left out.
    """
    properties: dict[str, dict[str, Json]] = {}
    interface_of_twin = {t.id: plant.interfaces.get(t.interface) for t in plant.twins}
    for point in plant.points:
        interface = interface_of_twin.get(point.twin)
        of = interface.fields.get(point.property) if interface is not None else None
        value = values.get(point.name)
        if of is not None and of.kind == "Property" and value is not None:
            properties.setdefault(point.twin, {})[point.property] = value
    twins = {
        t.id: GraphTwin(t.id, t.interface, t.name, t.at, properties.get(t.id, {}))
        for t in plant.twins
        if t.interface in plant.interfaces
    }
    found = [GraphRelationship(r.source, r.name, r.target) for r in plant.relationships]
    return Graph(twins, {r.key: r for r in found}, {i: declared(m) for i, m in plant.interfaces.items()})


def export_graph(plant: Plant, values: Mapping[str, Json]) -> dict[str, Any]:
    """The plant as the document of a graph file. Arguments as for `graph_of`."""
    return to_document(graph_of(plant, values), plant.interfaces)


def relationship_id(key: tuple[str, str, str]) -> str:
    return "-".join(key)


def to_document(graph: Graph, interfaces: Mapping[str, Interface]) -> dict[str, Any]:
    """A graph as the document of a graph file.

    Args:
        interfaces: with all they inherit, to know the components and whether a twin has a Property `name`.
    """
    ours: dict[str, dict[str, Json]] = {}
    twins = []
    for twin in graph.twins.values():
        interface = interfaces.get(twin.interface)
        twins.append(_twin_document(twin, interface))
        about: dict[str, Json] = {}
        if twin.name and twins[-1].get(NAME_PROPERTY) != twin.name:
            about["name"] = twin.name
        if twin.at is not None:
            about["at"] = list(twin.at)
        if about:
            ours[twin.id] = about
    relationships = [
        {
            "$relationshipId": r.id or relationship_id(r.key),
            "$sourceId": r.source,
            "$targetId": r.target,
            "$relationshipName": r.name,
            **r.properties,
        }
        for r in graph.relationships.values()
    ]
    return {
        "digitalTwinsFileInfo": {"fileVersion": FILE_VERSION},
        "digitalTwinsGraph": {"digitalTwins": twins, "relationships": relationships},
        "digitalTwinsModels": export_interfaces(graph.models.values()),
        OURS: {"twins": ours},
    }


def _twin_document(twin: GraphTwin, interface: Interface | None) -> dict[str, Json]:
    said: dict[str, Json] = {"$dtId": twin.id, "$metadata": {"$model": twin.interface}}
    for component in interface.components if interface is not None else ():
        said[component] = {"$metadata": {}}  # the service wants every component, empty or not
    for path, value in twin.properties.items():
        place = said
        *around, last = path.split(".")
        for part in around:
            place = place.setdefault(part, {"$metadata": {}})
        place[last] = value
    names = interface.fields.get(NAME_PROPERTY) if interface is not None else None
    if twin.name and names is not None and names.kind == "Property" and names.type == "string":
        said.setdefault(NAME_PROPERTY, twin.name)
    return said
