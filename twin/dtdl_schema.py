"""Reads the schemas inside a DTDL document into values; must not know Interfaces or files.

Source: Digital Twins Definition Language v2 and v3, "Schema" and "Interface schemas".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twin.dtdl_rules import ONLY_V4, QUANTITIES, SCHEMA_DEPTH_MAX, standard_schema, standard_unit
from twin.nearest import nearest
from twin.page import Page
from twin.places import JsonPath
from twin.schema import (
    GEOMETRIES,
    PRIMITIVES,
    Array,
    Enum,
    EnumValue,
    Map,
    Member,
    Object,
    Primitive,
    Schema,
    is_numeric,
)
from twin.units import UNIT_OF_DTDL, semantic_complaint

COMPLEX = ("Array", "Enum", "Map", "Object")
INTEGER_MAX = 2**31 - 1  # DTDL's `integer` has four bytes
Named = Mapping[str, tuple[dict[str, Any], JsonPath]]
"""Complex schemas of a document that have an id, and where they stand."""


@dataclass(frozen=True, slots=True)
class Schemas:
    """Reads schemas of one document, following ids to the schemas named in it."""

    page: Page
    named: Named

    def read(self, said: Any, path: JsonPath, trail: tuple[str, ...] = (), depth: int = 0) -> Schema | None:
        """The schema; None when it cannot be used, which is then said.

        Args:
            trail: ids followed on the way here, to find circles.
            depth: complex schemas around it.
        """
        said = self.page.one(said)
        if isinstance(said, str):
            return self._named(said, path, trail, depth)
        if not isinstance(said, dict):
            self.page.mistake(path, "no schema" if said is None else f"schema {said!r}", "name or describe one")
            return None
        if set(said) == {"@id"}:
            return self._named(str(said["@id"]), path, trail, depth)
        if depth >= SCHEMA_DEPTH_MAX:
            fix = f"DTDL allows {SCHEMA_DEPTH_MAX} levels; flatten it"
            self.page.mistake(path, f"schemas lie more than {SCHEMA_DEPTH_MAX} deep in one another", fix)
            return None
        kind, _ = self.page.types(said, path, COMPLEX)
        reader = _READERS.get(kind)
        if reader is None:
            shown = said.get("@type")
            self.page.mistake(path, f"schema of @type {shown!r}", f"one of {', '.join(COMPLEX)}, or a name")
            return None
        return reader(self, said, path, trail, depth + 1)

    def _named(self, said: str, path: JsonPath, trail: tuple[str, ...], depth: int) -> Schema | None:
        standard = standard_schema(said)
        if standard is not None:
            if isinstance(standard, Primitive) and standard.name in ONLY_V4:
                self.page.notice(
                    path, f"schema {said} is of DTDL v4", "it is read as v4 says; other readers may refuse it"
                )
            return standard
        if said not in self.named:
            hint = nearest(said, [*PRIMITIVES, *GEOMETRIES, *self.named])
            fix = hint or f"one of {', '.join(PRIMITIVES[:3])} …, or describe it under schemas of this Interface"
            self.page.mistake(path, f"schema {said} is not known", fix)
            return None
        if said in trail:
            self.page.mistake(path, f"schema {said} contains itself", "remove one of the references")
            return None
        inner, place = self.named[said]
        return self.read(inner, place, (*trail, said), depth)

    def member(
        self, said: Any, path: JsonPath, kind: str, trail: tuple[str, ...] = (), depth: int = 0
    ) -> Member | None:
        """A Field, a Map's key or value, or what goes into or comes out of a Command."""
        said = self.page.one(said)
        if not isinstance(said, dict):
            self.page.mistake(path, f"{kind} is missing" if said is None else f"{kind} is not an object", "use { … }")
            return None
        found, semantic = self.page.types(said, path, (kind,))
        if said.get("@type") is not None and not found:
            self.page.mistake((*path, "@type"), f"@type {said['@type']!r}", f"{kind}, or leave it out")
        name = self.page.name(said, path, kind)
        schema = self.read(said.get("schema"), (*path, "schema"), trail, depth)
        if name is None or schema is None:
            return None
        unit = self.unit(said, path, schema, semantic)
        return Member(name, schema, unit, semantic, self.page.words(said, path, kind))

    def unit(self, said: dict[str, Any], path: JsonPath, schema: Schema, semantic: tuple[str, ...]) -> str:
        """The unit's symbol, "" for none."""
        name = said.get("unit")
        if name is None:
            return ""
        unit = standard_unit(name) if isinstance(name, str) else None
        place = (*path, "unit")
        if self.page.version.units_need_context and not any("unit" in e.keys for e in self.page.extensions):
            meaning = f"it is read all the same; other readers want {QUANTITIES} in @context"
            self.page.notice(place, "a unit without the quantitative types extension", meaning)
        if unit is None:
            fix = nearest(str(name), UNIT_OF_DTDL) or "use a name of the quantitative types extension"
            self.page.mistake(place, f"unit {name!r} is not known", fix)
            return ""
        is_vector = isinstance(schema, Object) and any(is_numeric(m.schema) for m in schema.members)
        if not is_numeric(schema) and not is_vector:
            self.page.mistake(place, f"unit {name} on what is no number", "remove the unit, or use a numeric schema")
            return ""
        for complaint in filter(None, (semantic_complaint(s, unit) for s in semantic)):
            self.page.mistake(place, complaint, "use a unit of that dimension, or another semantic type")
        return unit.symbol

    # --- complex schemas ---------------------------------------------------------------------------------------------

    def array(self, said: dict[str, Any], path: JsonPath, trail: tuple[str, ...], depth: int) -> Schema | None:
        element = self.read(said.get("elementSchema"), (*path, "elementSchema"), trail, depth)
        return None if element is None else Array(element, self.page.words(said, path, "Array"))

    def map(self, said: dict[str, Any], path: JsonPath, trail: tuple[str, ...], depth: int) -> Schema | None:
        key = self.member(said.get("mapKey"), (*path, "mapKey"), "MapKey", trail, depth)
        value = self.member(said.get("mapValue"), (*path, "mapValue"), "MapValue", trail, depth)
        if key is not None and key.schema != Primitive("string"):
            self.page.mistake((*path, "mapKey", "schema"), "a Map's keys are text", 'write "schema": "string"')
        return None if key is None or value is None else Map(key, value, self.page.words(said, path, "Map"))

    def object(self, said: dict[str, Any], path: JsonPath, trail: tuple[str, ...], depth: int) -> Schema | None:
        members: dict[str, Member] = {}
        found = self.page.elements(said, path, "fields")
        self._count(len(found), path, "fields", self.page.version.fields_max)
        for inner, place in found:
            member = self.member(inner, place, "Field", trail, depth)
            if member is None:
                continue
            if member.name in members:
                self.page.mistake(place, f"field {member.name} is declared twice", "keep one of them")
            members[member.name] = member
        return Object(tuple(members.values()), self.page.words(said, path, "Object"))

    def enum(self, said: dict[str, Any], path: JsonPath, trail: tuple[str, ...], depth: int) -> Schema | None:
        valued = standard_schema(str(said.get("valueSchema")))
        if valued not in (Primitive("integer"), Primitive("string")):
            shown = said.get("valueSchema")
            self.page.mistake((*path, "valueSchema"), f"valueSchema {shown!r}", "integer or string")
            return None
        assert isinstance(valued, Primitive)
        values: list[EnumValue] = []
        found = self.page.elements(said, path, "enumValues")
        self._count(len(found), path, "enumValues", self.page.version.enum_values_max)
        for inner, place in found:
            value = self._enum_value(inner, place, valued.name)
            if value is None:
                continue
            if any(v.name == value.name for v in values):
                self.page.mistake(place, f"enum value {value.name} is declared twice", "rename one of them")
            elif any(v.value == value.value for v in values):
                self.page.mistake(place, f"enumValue {value.value!r} is used twice", "every value stands for one name")
            else:
                values.append(value)
        return Enum(valued.name, tuple(values), self.page.words(said, path, "Enum"))

    def _enum_value(self, said: dict[str, Any], path: JsonPath, valued: str) -> EnumValue | None:
        self.page.types(said, path, ("EnumValue",))
        name, value = self.page.name(said, path, "EnumValue"), said.get("enumValue")
        is_integer = isinstance(value, int) and not isinstance(value, bool) and -INTEGER_MAX - 1 <= value <= INTEGER_MAX
        if not (is_integer if valued == "integer" else isinstance(value, str)):
            fix = f"write {'a whole number of four bytes' if valued == 'integer' else 'text'}, as valueSchema says"
            self.page.mistake((*path, "enumValue"), f"enumValue {value!r} is no {valued}", fix)
            return None
        assert isinstance(value, int | str)
        return None if name is None else EnumValue(name, value, self.page.words(said, path, "EnumValue"))

    def _count(self, count: int, path: JsonPath, key: str, limit: int | None) -> None:
        version = self.page.version
        if limit is not None and count > limit:
            fix = f"DTDL v{version.number} allows {limit}; DTDL v3 has no limit"
            self.page.mistake((*path, key), f"{count} {key}", fix)
        if not count and not version.may_be_empty:
            self.page.mistake((*path, key), f"no {key}", f"DTDL v{version.number} wants at least one")


_READERS: dict[str, Callable[[Schemas, dict[str, Any], JsonPath, tuple[str, ...], int], Schema | None]] = {
    "Array": Schemas.array,
    "Enum": Schemas.enum,
    "Map": Schemas.map,
    "Object": Schemas.object,
}


def named_schemas(said: Any, path: JsonPath) -> dict[str, tuple[dict[str, Any], JsonPath]]:
    """Every complex schema with an id that is described anywhere inside an Interface, nested Interfaces apart.

    Recursion ends where the JSON does, whose depth the JSON reader limits.
    """
    found: dict[str, tuple[dict[str, Any], JsonPath]] = {}
    if isinstance(said, list):
        for index, inner in enumerate(said):
            if not (isinstance(inner, dict) and "Interface" in _kinds(inner)):
                found |= named_schemas(inner, (*path, index))
    elif isinstance(said, dict):
        if isinstance(said.get("@id"), str) and any(k in COMPLEX for k in _kinds(said)):
            found[said["@id"]] = (said, path)
        for key, inner in said.items():
            if isinstance(inner, list) or (isinstance(inner, dict) and "Interface" not in _kinds(inner)):
                found |= named_schemas(inner, (*path, key))
    return found


def _kinds(said: dict[str, Any]) -> list[Any]:
    types = said.get("@type")
    return types if isinstance(types, list) else [types]
