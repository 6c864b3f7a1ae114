"""Writes Interfaces as DTDL v3 documents: the inverse of reading them; must not know plants or files.

Source: Digital Twins Definition Language v3. Contents that an Interface inherits are left to those it inherits from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from twin.dtdl_rules import CONTEXT, QUANTITIES, STANDARD_IDS
from twin.interface import CommandRule, Component, Field, Interface, RelationshipRule
from twin.schema import Array, Enum, Geometry, Map, Member, Object, Primitive, Schema, walk
from twin.units import DIMENSIONS_OF_SEMANTIC, UNITS
from twin.words import DEFAULT_LANGUAGE, LocalText, Words


def export_interface(interface: Interface) -> dict[str, Any]:
    """One Interface as a DTDL v3 document, with its own contents only."""
    contexts = [CONTEXT, *interface.contexts]
    if _measures(interface):
        contexts.append(QUANTITIES)
    shared = {_words(s).id for s in interface.schemas} - {""}
    writer = _Writer(set(shared))
    document: dict[str, Any] = {
        "@context": contexts if len(contexts) > 1 else CONTEXT,
        "@id": interface.id,
        "@type": _types("Interface", interface.semantic),
        **_said(interface.words),
    }
    if interface.extends:
        document["extends"] = list(interface.extends)
    contents = [writer.content(e) for e in _own(interface)]
    if contents:
        document["contents"] = contents
    if interface.schemas:
        document["schemas"] = [writer.shared(s) for s in interface.schemas]
    return document


def export_interfaces(interfaces: Iterable[Interface]) -> list[dict[str, Any]]:
    """Documents in an order in which every Interface comes after those that it extends."""
    by_id = {i.id: i for i in interfaces}
    order: dict[str, None] = {}

    def put(interface: Interface) -> None:
        if interface.id in order:
            return
        for parent in interface.extends:
            if parent in by_id:
                put(by_id[parent])
        order[interface.id] = None

    for interface in by_id.values():
        put(interface)
    return [export_interface(by_id[i]) for i in order]


Content = Field | RelationshipRule | CommandRule | Component


def _own(interface: Interface) -> Iterator[Content]:
    kinds = (interface.fields, interface.relationships, interface.commands, interface.components)
    for name in interface.own:
        for kind in kinds:
            if name in kind:
                yield kind[name]


def _measures(interface: Interface) -> bool:
    """Whether any unit or quantity occurs in its own contents."""

    def measured(element: Field | Member) -> bool:
        return (
            bool(element.unit) or any(s in DIMENSIONS_OF_SEMANTIC for s in element.semantic) or inside(element.schema)
        )

    def inside(schema: Schema) -> bool:
        members = [m for s in walk(schema) for m in (s.members if isinstance(s, Object) else ())]
        members += [s.value for s in walk(schema) if isinstance(s, Map)]
        return any(m.unit or m.semantic for m in members)

    for element in _own(interface):
        match element:
            case Field():
                found = measured(element)
            case RelationshipRule():
                found = any(measured(p) for p in element.properties)
            case CommandRule():
                found = any(measured(p) for p in (element.request, element.response) if p is not None)
            case _:
                found = False
        if found:
            return True
    return any(inside(s) for s in interface.schemas)


class _Writer:
    """Writes schemas, those with an id once and then by name."""

    def __init__(self, written: set[str]) -> None:
        self._written = written

    def content(self, element: Content) -> dict[str, Any]:
        match element:
            case Field():
                return self._field(element)
            case RelationshipRule():
                return self._relationship(element)
            case CommandRule():
                return self._command(element)
            case Component():
                types = _types("Component", element.semantic)
                return {"@type": types, "name": element.name, **_said(element.words), "schema": element.interface}

    def _field(self, field: Field) -> dict[str, Any]:
        said: dict[str, Any] = {
            "@type": _types(field.kind, field.semantic),
            "name": field.name,
            **_said(field.words),
            "schema": self.schema(field.schema),
        }
        if field.unit:
            said["unit"] = UNITS[field.unit].dtdl
        if field.writable:
            said["writable"] = True
        return said

    def _relationship(self, rule: RelationshipRule) -> dict[str, Any]:
        said: dict[str, Any] = {
            "@type": _types("Relationship", rule.semantic),
            "name": rule.name,
            **_said(rule.words),
            "target": rule.target,
            "minMultiplicity": rule.least,
            "maxMultiplicity": rule.most,
            "properties": [self._field(p) for p in rule.properties] or None,
            "writable": rule.writable or None,
        }
        return {k: v for k, v in said.items() if v is not None}

    def _command(self, rule: CommandRule) -> dict[str, Any]:
        said: dict[str, Any] = {"@type": _types("Command", rule.semantic), "name": rule.name, **_said(rule.words)}
        for key, kind, payload in (
            ("request", "CommandRequest", rule.request),
            ("response", "CommandResponse", rule.response),
        ):
            if payload is not None:
                said[key] = self._member(payload, kind)
        return said

    def _member(self, member: Member, kind: str) -> dict[str, Any]:
        said: dict[str, Any] = {"name": member.name, **_said(member.words), "schema": self.schema(member.schema)}
        if member.semantic:
            said["@type"] = _types(kind, member.semantic)
        if member.unit:
            said["unit"] = UNITS[member.unit].dtdl
        return said

    def shared(self, schema: Schema) -> Any:
        """A schema of the Interface's own list: written out, although it has an id."""
        return self._complex(schema)

    def schema(self, schema: Schema) -> Any:
        if isinstance(schema, Primitive | Geometry):
            return schema.name
        identity = _words(schema).id
        if identity in STANDARD_IDS or (identity and identity in self._written):
            return identity
        if identity:
            self._written.add(identity)
        return self._complex(schema)

    def _complex(self, schema: Schema) -> Any:
        match schema:
            case Enum():
                values = [{"name": v.name, "enumValue": v.value, **_said(v.words)} for v in schema.values]
                return {"@type": "Enum", **_said(schema.words), "valueSchema": schema.valued, "enumValues": values}
            case Object():
                fields = [self._member(m, "Field") for m in schema.members]
                return {"@type": "Object", **_said(schema.words), "fields": fields}
            case Array():
                return {"@type": "Array", **_said(schema.words), "elementSchema": self.schema(schema.element)}
            case Map():
                key, value = self._member(schema.key, "MapKey"), self._member(schema.value, "MapValue")
                return {"@type": "Map", **_said(schema.words), "mapKey": key, "mapValue": value}
            case Primitive() | Geometry():
                return schema.name


def _words(schema: Schema) -> Words:
    return Words() if isinstance(schema, Primitive | Geometry) else schema.words


def _types(kind: str, semantic: tuple[str, ...]) -> str | list[str]:
    return [kind, *semantic] if semantic else kind


def _said(words: Words) -> dict[str, Any]:
    said: dict[str, Any] = {"@id": words.id} if words.id else {}
    for key, text in (("displayName", words.display), ("description", words.description)):
        if text:
            said[key] = _local(text)
    if words.comment:
        said["comment"] = words.comment
    return said | {key: json.loads(value) for key, value in words.extra}


def _local(text: LocalText) -> Any:
    return text[0][1] if len(text) == 1 and text[0][0] == DEFAULT_LANGUAGE else dict(text)
