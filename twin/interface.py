"""DTDL v3 Interfaces: one JSON document -> one frozen Interface, or every mistake in it; must not know plants.

Source: Digital Twins Definition Language v3, "Interface", "Telemetry", "Property", "Relationship", "Command".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twin.units import UNIT_OF_DTDL

CONTEXT = "dtmi:dtdl:context;3"
# DTDL v3: scheme, path of segments that start with a letter, ";", version without leading zero.
DTMI = re.compile(r"^dtmi:[A-Za-z](?:\w*[A-Za-z0-9])?(?::[A-Za-z](?:\w*[A-Za-z0-9])?)*;[1-9]\d{0,8}$", re.ASCII)
NAME = re.compile(r"^[A-Za-z](?:\w*[A-Za-z0-9])?$", re.ASCII)
TYPE_OF_SCHEMA = {
    "boolean": "boolean",
    "integer": "integer",
    "long": "integer",
    "double": "double",
    "float": "double",
    "string": "string",
}
_KINDS = ("Telemetry", "Property", "Relationship", "Command", "Component")


@dataclass(frozen=True, slots=True)
class Field:
    """A Property or Telemetry: its DTDL kind, our value type, its unit's symbol, and whether it may be written."""

    name: str
    kind: str
    type: str
    unit: str
    writable: bool


@dataclass(frozen=True, slots=True)
class RelationshipRule:
    """A Relationship: the Interface its targets must be of, None for any."""

    name: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Interface:
    """A type of twin. `fields` and `relationships` include what it inherits once `inherit` has run."""

    id: str
    name: str
    extends: tuple[str, ...]
    fields: Mapping[str, Field]
    relationships: Mapping[str, RelationshipRule]
    file: str = ""

    @property
    def kind(self) -> str:
        """Last segment of the id: `Tank` of `dtmi:twinloop:water:Tank;1`."""
        return self.id.rsplit(":", 1)[-1].split(";")[0]


@dataclass(frozen=True, slots=True)
class Flaw:
    """A mistake inside one document; `near` is text to look for when telling the line."""

    near: str
    message: str
    fix: str
    line: int = 0


def parse(text: str, file: str) -> tuple[Interface | None, list[Flaw]]:
    """One Interface from its JSON text, with every flaw found; None when nothing usable remains."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        return None, [Flaw("", f"not JSON: {error.msg}", "mend the syntax at this line", error.lineno)]
    if not isinstance(document, dict):
        return None, [Flaw("", "an Interface is a JSON object", 'start with { "@context": …, "@type": "Interface" }')]
    flaws: list[Flaw] = []
    context = document.get("@context")
    contexts = context if isinstance(context, list) else [context]
    if CONTEXT not in contexts:
        flaws.append(Flaw('"@context"', f"@context {context!r} is not DTDL v3", f'use "{CONTEXT}"'))
    if document.get("@type") != "Interface":
        flaws.append(Flaw('"@type"', f"@type is {document.get('@type')!r}", 'one file holds one "Interface"'))
    identity = document.get("@id")
    if not isinstance(identity, str) or not DTMI.match(identity):
        flaws.append(Flaw('"@id"', f"@id {identity!r} is not a DTMI", "use the form dtmi:company:area:Name;1"))
        return None, flaws
    extends = document.get("extends", [])
    extends = [extends] if isinstance(extends, str) else extends
    if not isinstance(extends, list) or not all(isinstance(e, str) for e in extends):
        flaws.append(Flaw('"extends"', "extends must name Interfaces", "use their ids as strings"))
        extends = []
    fields, relationships = _contents(document.get("contents", []), flaws)
    name = document.get("displayName")
    display = name if isinstance(name, str) else identity.rsplit(":", 1)[-1].split(";")[0]
    return Interface(identity, display, tuple(extends), fields, relationships, file), flaws


def _contents(contents: Any, flaws: list[Flaw]) -> tuple[dict[str, Field], dict[str, RelationshipRule]]:
    fields: dict[str, Field] = {}
    relationships: dict[str, RelationshipRule] = {}
    if not isinstance(contents, list):
        flaws.append(Flaw('"contents"', "contents must be a list", "use [ … ]"))
        return fields, relationships
    for element in contents:
        if not isinstance(element, dict):
            flaws.append(Flaw('"contents"', f"{element!r} in contents is not an object", "use { … }"))
            continue
        name = element.get("name")
        types = element.get("@type")
        types = types if isinstance(types, list) else [types]
        kind = next((k for k in _KINDS if k in types), None)
        near = f'"{name}"'
        if not isinstance(name, str) or not NAME.match(name):
            flaws.append(Flaw(near, f"name {name!r} is not allowed in DTDL", "letters, digits and _, letter first"))
        elif name in fields or name in relationships:
            flaws.append(Flaw(near, f"{name} is declared twice", "keep one of them"))
        elif kind is None:
            flaws.append(Flaw(near, f"{name} has @type {element.get('@type')!r}", f"one of {', '.join(_KINDS)}"))
        elif kind == "Relationship":
            target = element.get("target")
            relationships[name] = RelationshipRule(name, target if isinstance(target, str) else None)
        elif kind in ("Telemetry", "Property"):
            field = _field(name, kind, element, flaws)
            if field is not None:
                fields[name] = field
        elif kind == "Component":
            flaws.append(
                Flaw(near, f"Component {name} is not supported yet", "use a Relationship to a twin of its own")
            )
    return fields, relationships


def _field(name: str, kind: str, element: dict[str, Any], flaws: list[Flaw]) -> Field | None:
    near = f'"{name}"'
    schema = element.get("schema")
    if not isinstance(schema, str) or schema not in TYPE_OF_SCHEMA:
        shown = schema if isinstance(schema, str) else json.dumps(schema)
        flaws.append(Flaw(near, f"{name}: schema {shown} is not supported", f"one of {', '.join(TYPE_OF_SCHEMA)}"))
        return None
    unit = element.get("unit")
    if unit is not None and unit not in UNIT_OF_DTDL:
        flaws.append(
            Flaw(near, f"{name}: unit {unit!r} is not known", "use a name of the quantitative types extension")
        )
        return None
    symbol = UNIT_OF_DTDL[unit].symbol if unit is not None else ""
    return Field(name, kind, TYPE_OF_SCHEMA[schema], symbol, element.get("writable") is True)


def inherit(interfaces: Mapping[str, Interface]) -> tuple[dict[str, Interface], list[tuple[Interface, Flaw]]]:
    """Every Interface with what it extends folded in; flaws for unknown parents, cycles and clashes."""
    flaws: list[tuple[Interface, Flaw]] = []
    done: dict[str, Interface] = {}

    def fold(interface: Interface, path: tuple[str, ...]) -> Interface:
        if interface.id in done:
            return done[interface.id]
        fields: dict[str, Field] = {}
        relationships: dict[str, RelationshipRule] = {}
        for parent_id in interface.extends:
            parent = interfaces.get(parent_id)
            if parent is None:
                flaw = Flaw(f'"{parent_id}"', f"extends unknown Interface {parent_id}", "add its file or mend the id")
            elif parent_id in (*path, interface.id):
                circle = " → ".join((*path, interface.id, parent_id))
                flaw = Flaw(f'"{parent_id}"', f"extends itself: {circle}", "remove one of these")
            else:
                folded = fold(parent, (*path, interface.id))
                fields |= folded.fields
                relationships |= folded.relationships
                continue
            flaws.append((interface, flaw))
        for name in interface.fields.keys() & fields.keys():
            flaws.append((interface, Flaw(f'"{name}"', f"{name} is inherited already", "remove or rename it here")))
        fields |= interface.fields
        relationships |= interface.relationships
        whole = Interface(interface.id, interface.name, interface.extends, fields, relationships, interface.file)
        done[interface.id] = whole
        return whole

    for interface in interfaces.values():
        fold(interface, ())
    return done, flaws
