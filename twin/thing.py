"""A twin as a W3C Thing Description, for clients of the Web of Things; must not know the server but by its routes.

Source: Web of Things (WoT) Thing Description 1.1, W3C Recommendation of 5 December 2023.
"""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

from twin.errors import NotFound
from twin.interface import Field, Interface
from twin.nearest import nearest
from twin.plant import Plant, Twin
from twin.points import Point
from twin.schema import Enum
from twin.units import DIMENSIONS_OF_SEMANTIC
from twin.words import in_english

TD_CONTEXT = "https://www.w3.org/2022/wot/td/v1.1"
API = "/api/v1"
SECURITY = "bearer"
QUANTITY = "dtmi:dtdl:extension:quantitativeTypes:v1:class:"
# What GET …/points/NAME answers beside the value.
_READING = {
    "point": {"type": "string"},
    "unit": {"type": "string"},
    "good": {"type": "boolean"},
    "quality": {"type": "string"},
    "source_time": {"type": "number", "unit": "ms", "description": "since 1970 UTC"},
    "revision": {"type": "integer"},
}
_TD_TYPES = {"double": "number", "integer": "integer", "boolean": "number", "enum": "integer"}


def thing_description(plant: Plant, twin_id: str, base_url: str) -> dict[str, Any]:
    """The Thing Description of one twin: its points to be read, its writable points as actions.

    A property's value is what the route answers: an object with `value`, `text`, quality and time.

    Args:
        base_url: of the server, such as `http://127.0.0.1:8080`.

    Raises:
        NotFound: no twin has that id.
    """
    twin = next((t for t in plant.twins if t.id == twin_id), None)
    if twin is None:
        raise NotFound(f"no twin is called {twin_id!r}", nearest(twin_id, [t.id for t in plant.twins]))
    base = base_url.rstrip("/")
    interface = plant.interfaces.get(twin.interface)
    fields = interface.fields if interface is not None else {}
    points = [p for p in plant.points if p.twin == twin_id]
    described: dict[str, Any] = {
        "@context": TD_CONTEXT,
        "@type": twin.interface,
        "id": thing_id(plant, twin),
        "title": twin.name,
        "base": f"{base}/",
        "securityDefinitions": {SECURITY: {"scheme": "bearer", "in": "header"}},
        "security": SECURITY,
        "properties": {p.property: _property(p, fields.get(p.property), base) for p in points},
    }
    text = _description(interface)
    if text:
        described["description"] = text
    actions = {f"set_{p.property}": _action(p, fields.get(p.property), base) for p in points if p.writable}
    if actions:
        described["actions"] = actions
    links = [_link(plant, r.name, r.target) for r in plant.relationships if r.source == twin_id]
    if links:
        described["links"] = links
    return described


def thing_id(plant: Plant, twin: Twin) -> str:
    return f"urn:twinloop:{plant.id}:{twin.id}"


def _link(plant: Plant, name: str, target: str) -> dict[str, Any]:
    """The target's own id stands for it: a Thing's id is a URI."""
    return {"rel": name, "href": f"urn:twinloop:{plant.id}:{target}", "type": "application/td+json"}


def _property(point: Point, field: Field | None, base: str) -> dict[str, Any]:
    said = {
        **_about(point, field),
        "type": "object",
        "properties": {**_READING, **_value(point), "desired": {"oneOf": [{"type": "number"}, {"type": "null"}]}},
        "readOnly": True,
        "observable": False,  # changes come over a WebSocket of our own form, in batches of many twins' points
        "forms": [
            {
                "href": f"{base}{API}/points/{quote(point.name)}",
                "op": "readproperty",
                "contentType": "application/json",
                "htv:methodName": "GET",
            }
        ],
    }
    if point.unit:
        said["unit"] = point.unit
    return said


def _action(point: Point, field: Field | None, base: str) -> dict[str, Any]:
    about = _about(point, field)
    about["title"] = f"Set {about['title']}"
    return {
        **about,
        "input": {
            "type": "object",
            "properties": {
                "key": {"type": "string", "description": "the same key with the same body acts once"},
                "point": {"type": "string", "const": point.name},
                "value": _number(point),
                "reason": {"type": "string"},
            },
            "required": ["key", "point", "value"],
        },
        "safe": False,
        "idempotent": True,
        "synchronous": False,
        "forms": [
            {
                "href": f"{base}{API}/commands",
                "op": "invokeaction",
                "contentType": "application/json",
                "htv:methodName": "POST",
            }
        ],
    }


def _about(point: Point, field: Field | None) -> dict[str, Any]:
    words = None if field is None else field.words
    said: dict[str, Any] = {"title": in_english(words.display, point.property) if words else point.property}
    if words and words.description:
        said["description"] = in_english(words.description, "")
    if words and len(words.display) > 1:
        said["titles"] = dict(words.display)
    quantities = [QUANTITY + s for s in (field.semantic if field else ()) if s in DIMENSIONS_OF_SEMANTIC]
    if quantities:
        said["@type"] = quantities
    return said


def _value(point: Point) -> dict[str, Any]:
    """`value` and `text` as the route gives them; null where there is none."""
    nothing = {"type": "null"}
    if point.type in ("string", "object"):
        text: dict[str, Any] = {"type": "string"}
        if point.type == "object":
            text["contentMediaType"] = "application/json"
        return {"value": nothing, "text": {"oneOf": [text, nothing]}}
    said: dict[str, Any] = {"value": {"oneOf": [_number(point), nothing]}, "text": nothing}
    if isinstance(point.schema, Enum):
        said["text"] = {"oneOf": [{"type": "string", "enum": [v.name for v in point.schema.values]}, nothing]}
    return said


def _number(point: Point) -> dict[str, Any]:
    said: dict[str, Any] = {"type": _TD_TYPES[point.type]}
    if point.unit:
        said["unit"] = point.unit
    if isinstance(point.schema, Enum):
        said["enum"] = [point.schema.code(i) for i in range(len(point.schema.values))]
    elif point.type == "boolean":
        said["enum"] = [0, 1]
    for key, bound in (("minimum", point.low), ("maximum", point.high)):
        if math.isfinite(bound):
            said[key] = bound
    return said


def _description(interface: Interface | None) -> str:
    return "" if interface is None else in_english(interface.words.description, "")
