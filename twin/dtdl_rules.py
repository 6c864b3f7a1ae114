"""What DTDL allows, by version, as tables: limits, keys, extensions, standard names; must not know how documents are read.

Sources: Digital Twins Definition Language v2, v3 and v4, and their extensions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from twin.schema import GEOMETRIES, Enum, EnumValue, Geometry, Member, Object, Primitive, Schema, is_primitive
from twin.units import UNIT_OF_DTDL, Unit
from twin.words import Words

SEGMENT = r"[A-Za-z](?:\w*[A-Za-z0-9])?"
DTMI_MAX = 2048
INTERFACE_ID_MAX = 128
COMMENT_MAX = 512
DESCRIPTION_MAX = 512
DISPLAY_MAX = 64
EXTENDS_DEPTH_MAX = 10
EXTENDS_ALL_MAX = 1024  # Interfaces in one hierarchy
SCHEMA_DEPTH_MAX = 5  # complex schemas inside one another
RESERVED = ("dtmi:dtdl:", "dtmi:standard:")


@dataclass(frozen=True, slots=True)
class Version:
    """The limits of one version of the language. None: no limit of its own."""

    number: int
    dtmi: re.Pattern[str]
    name_max: int
    contents_max: int
    extends_max: int | None
    enum_values_max: int | None
    fields_max: int | None
    relationship_properties_max: int | None
    multiplicity_max: int | None
    arrays_in_properties: bool
    may_be_empty: bool  # an Enum without values, an Object without fields
    units_need_context: bool  # units and semantic types come with an extension
    size_max: int  # bytes of one Interface's text


VERSIONS = {
    "dtmi:dtdl:context;2": Version(
        2, re.compile(rf"dtmi:{SEGMENT}(?::{SEGMENT})*;[1-9]\d{{0,8}}", re.ASCII),
        64, 300, 2, 100, 30, 300, 500, False, False, False, 1 << 20,
    ),
    "dtmi:dtdl:context;3": Version(
        3, re.compile(rf"dtmi:{SEGMENT}(?::{SEGMENT})*(?:;[1-9]\d{{0,8}}(?:\.[1-9]\d{{0,5}})?)?", re.ASCII),
        512, 100_000, None, None, None, None, None, True, True, True, 1 << 20,
    ),
}  # fmt: skip
NEWEST = VERSIONS["dtmi:dtdl:context;3"]
ANY_DTMI = NEWEST.dtmi
CONTEXT = "dtmi:dtdl:context;3"
QUANTITIES = "dtmi:dtdl:extension:quantitativeTypes;1"
UNSUPPORTED_CONTEXT = re.compile(r"dtmi:dtdl:context;\d+(?:\.\d+)?")

_WORDS = frozenset({"@id", "@type", "comment", "description", "displayName"})
KEYS: dict[str, frozenset[str]] = {
    "Interface": _WORDS | {"@context", "contents", "extends", "schemas"},
    "Telemetry": _WORDS | {"name", "schema", "unit"},
    "Property": _WORDS | {"name", "schema", "unit", "writable"},
    "Command": _WORDS | {"name", "request", "response", "commandType"},
    "Relationship": _WORDS | {"name", "target", "minMultiplicity", "maxMultiplicity", "properties", "writable"},
    "Component": _WORDS | {"name", "schema"},
    "Array": _WORDS | {"elementSchema"},
    "Enum": _WORDS | {"valueSchema", "enumValues"},
    "EnumValue": _WORDS | {"name", "enumValue"},
    "Map": _WORDS | {"mapKey", "mapValue"},
    "Object": _WORDS | {"fields"},
    "Field": _WORDS | {"name", "schema", "unit"},
    "MapKey": _WORDS | {"name", "schema"},
    "MapValue": _WORDS | {"name", "schema", "unit"},
    "CommandRequest": _WORDS | {"name", "schema", "unit"},
    "CommandResponse": _WORDS | {"name", "schema", "unit"},
}
# Contents of an Interface; the order is that of the language description.
CONTENTS = ("Telemetry", "Property", "Command", "Relationship", "Component")
# What older and more general documents call the same thing.
SAME_TYPE = {"CommandPayload": ("CommandRequest", "CommandResponse"), "SchemaField": ("Field",)}


@dataclass(frozen=True, slots=True)
class Extension:
    """A language extension: the types and keys it adds, and what becomes of them here; meaning "" when supported."""

    types: frozenset[str]
    keys: frozenset[str]
    meaning: str


_KEPT = "kept for export, without effect here"
EXTENSIONS: dict[str, Extension] = {
    "quantitativeTypes": Extension(frozenset(), frozenset({"unit"}), ""),
    "annotation": Extension(frozenset({"ValueAnnotation"}), frozenset({"annotates"}), _KEPT),
    "historization": Extension(frozenset({"Historized"}), frozenset(), "every point's history is kept in any case"),
    "overriding": Extension(frozenset({"Override"}), frozenset({"overrides"}), _KEPT),
    "streaming": Extension(frozenset({"Streaming"}), frozenset(), _KEPT),
    "requirement": Extension(frozenset({"Required"}), frozenset(), _KEPT),
    "layering": Extension(frozenset({"Layered"}), frozenset({"layers"}), _KEPT),
    "mqtt": Extension(
        frozenset({"Mqtt", "Indexed", "Idempotent", "Cacheable", "Transparent"}),
        frozenset({
            "telemetryTopic", "commandTopic", "propertyTopic", "payloadFormat", "telemServiceGroupId",
            "cmdServiceGroupId", "index", "ttl",
        }),
        "the point sheet says which topic a point has; kept for export",
    ),
    "iotcentral": Extension(
        frozenset({"State", "Event", "Location", "VelocityVector", "AccelerationVector"}), frozenset({"unit"}), ""
    ),
}  # fmt: skip
EXTENSION_CONTEXTS = (
    re.compile(r"dtmi:dtdl:extension:(?P<name>\w+);\d+"),
    re.compile(r"dtmi:(?P<name>iotcentral):context;[23]"),
)


def extension_of(context: str) -> Extension | None:
    """The extension that a context names; None when it is unknown."""
    for form in EXTENSION_CONTEXTS:
        found = form.fullmatch(context)
        if found:
            return EXTENSIONS.get(found["name"])
    return None


# --- names of the standard -------------------------------------------------------------------------------------------

_TERM = re.compile(
    r"dtmi:(?:dtdl:instance:Schema|standard:schema:geospatial|dtdl:class|standard:class|standard:unit|iotcentral:schema"
    r"|iotcentral:class):(\w+);\d+"
)
ONLY_V4 = frozenset(
    {"byte", "short", "unsignedByte", "unsignedShort", "unsignedInteger", "unsignedLong", "decimal", "uuid", "bytes"}
)


_KEY = re.compile(r"dtmi:dtdl:property:(\w+);\d+")


def plain_key(said: str) -> str:
    """A key's plain term: authors may write `dtmi:dtdl:property:schema;2` for `schema`."""
    if not said.startswith("dtmi:dtdl:property:"):
        return said
    found = _KEY.fullmatch(said)
    return found[1] if found else said


def _record(identity: str, *names: str) -> Object:
    return Object(tuple(Member(n, Primitive("double")) for n in names), Words(id=identity))


STANDARD_OBJECTS: dict[str, Object] = {
    "geopoint": _record("dtmi:iotcentral:schema:geopoint;2", "lat", "lon", "alt"),
    "vector": _record("dtmi:iotcentral:schema:vector;2", "x", "y", "z"),
    "scaledDecimal": Object(
        (Member("scale", Primitive("byte")), Member("value", Primitive("string"))),
        Words(id="dtmi:standard:schema:scaledDecimal;4"),
    ),
}


def _unit_type(dimension: str) -> str:
    """The extension's name for the units of a dimension."""
    return _UNIT_TYPES.get(dimension) or "".join(w.capitalize() for w in dimension.split()) + "Unit"


_UNIT_TYPES = {
    "none": "Unitless",
    "volume flow": "VolumeFlowRateUnit",
    "mass flow": "MassFlowRateUnit",
    "sound level": "SoundPressureUnit",
    "absorbed dose": "IonizingRadiationDoseUnit",
    "equivalent dose": "IonizingRadiationDoseUnit",
}


def _unit_enums() -> dict[str, Enum]:
    """Schemas whose values are units, as the overriding extension uses them: one of the names of a dimension's units."""
    names: dict[str, list[str]] = {}
    for unit in UNIT_OF_DTDL.values():
        names.setdefault(_unit_type(unit.dimension), []).append(unit.dtdl)
    return {
        kind: Enum("string", tuple(EnumValue(n, n) for n in units), Words(id=f"{UNIT_TYPE_PREFIX}{kind}"))
        for kind, units in names.items()
    }


UNIT_TYPE_PREFIX = "dtmi:dtdl:extension:quantitativeTypes:v1:class:"
UNIT_ENUMS = _unit_enums()
STANDARD_IDS: dict[str, Enum | Object] = {e.words.id: e for e in UNIT_ENUMS.values()} | {
    s.words.id: s for s in STANDARD_OBJECTS.values()
}


def term_of(said: str) -> str:
    """The plain term of what may be written as a DTMI of the standard: `double` of `dtmi:dtdl:instance:Schema:double;2`."""
    found = _TERM.fullmatch(said)
    return found[1] if found else said


def standard_schema(said: str) -> Schema | None:
    """The schema that a term or a DTMI of the standard names."""
    if said in STANDARD_IDS:
        return STANDARD_IDS[said]
    term = term_of(said)
    if is_primitive(term):
        return Primitive(term)
    if term in GEOMETRIES:
        return Geometry(term)
    return STANDARD_OBJECTS.get(term) or UNIT_ENUMS.get(term)


def standard_unit(said: str) -> Unit | None:
    return UNIT_OF_DTDL.get(term_of(said))
