"""DTDL documents as others publish them: what is read, what is a mistake, what is named as not supported."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from twin.dtdl import Parsed, parse
from twin.interface import Interface
from twin.models import Models, read_models
from twin.schema import Array, Enum, EnumValue, Geometry, Map, Object, Primitive

V2, V3 = "dtmi:dtdl:context;2", "dtmi:dtdl:context;3"
QUANTITIES = "dtmi:dtdl:extension:quantitativeTypes;1"


def document(name: str, contents: list[Any] | None = None, context: Any = V2, **more: Any) -> dict[str, Any]:
    made = {"@context": context, "@id": f"dtmi:test:{name};1", "@type": "Interface", **more}
    return made | ({} if contents is None else {"contents": contents})


def read(*documents: Any) -> Parsed:
    return parse(json.dumps(documents[0] if len(documents) == 1 else list(documents), indent=1), "a.json")


def joined(*documents: Any) -> Models:
    return read_models({f"{n}.json": json.dumps(d, indent=1) for n, d in enumerate(documents)})


def only(parsed: Parsed) -> Interface:
    assert parsed.mistakes == ()
    (interface,) = parsed.interfaces
    return interface


def prop(name: str, schema: Any, **more: Any) -> dict[str, Any]:
    return {"@type": "Property", "name": name, "schema": schema, **more}


CAMERA = document(
    "Camera",
    [
        prop("zoom", "double", writable=True),
        {"@type": "Telemetry", "name": "frames", "schema": "integer"},
        {"@type": "Relationship", "name": "watches"},
    ],
)
PHONE = document(
    "Phone",
    [
        {"@type": "Component", "name": "front", "schema": "dtmi:test:Camera;1"},
        {"@type": "Component", "name": "back", "schema": "dtmi:test:Camera;1"},
    ],
)


def test_a_file_may_hold_many_interfaces_and_interfaces_inside_others() -> None:
    inner = {k: v for k, v in document("Inner", [prop("a", "string")]).items() if k != "@context"}
    outer = document("Outer", [{"@type": "Component", "name": "part", "schema": inner}], extends=[document("Base")])
    found = read(outer, document("Other"))
    assert found.mistakes == ()
    assert {i.kind for i in found.interfaces} == {"Outer", "Inner", "Base", "Other"}
    models = read_models({"a.json": json.dumps([outer])})
    assert models.mistakes == ()
    assert set(models.interfaces["dtmi:test:Outer;1"].fields) == {"part.a"}


def test_contents_of_components_have_dotted_names() -> None:
    models = joined(CAMERA, PHONE)
    assert models.mistakes == ()
    phone = models.interfaces["dtmi:test:Phone;1"]
    assert set(phone.fields) == {"front.zoom", "front.frames", "back.zoom", "back.frames"}
    zoom = phone.fields["front.zoom"]
    assert (zoom.component, zoom.writable, zoom.kind) == ("front", True, "Property")
    said = [n for n in models.notices if "relationship watches inside component front" in n.what]
    assert [(n.file, n.line) for n in said] == [("1.json", 8)]


def test_components_are_inherited_with_their_contents() -> None:
    smart = document("SmartPhone", [], extends="dtmi:test:Phone;1")
    assert "front.zoom" in joined(CAMERA, PHONE, smart).interfaces["dtmi:test:SmartPhone;1"].fields


def test_all_schemas_are_read() -> None:
    shared = {
        "@id": "dtmi:test:Site:place;1",
        "@type": "Object",
        "fields": [{"name": "x", "schema": "double"}, {"name": "mode", "schema": "dtmi:test:Site:mode;1"}],
    }
    mode = {
        "@id": "dtmi:test:Site:mode;1",
        "@type": "Enum",
        "valueSchema": "integer",
        "enumValues": [{"name": "off", "enumValue": 0}, {"name": "on", "enumValue": 1, "displayName": "On"}],
    }
    kinds = {
        "list": {"@type": "Array", "elementSchema": "dateTime"},
        "table": {
            "@type": "Map",
            "mapKey": {"name": "key", "schema": "string"},
            "mapValue": {"name": "value", "schema": "long"},
        },
        "place": "dtmi:test:Site:place;1",
        "area": "polygon",
        "spot": "dtmi:standard:schema:geospatial:point;3",
        "named": "dtmi:dtdl:instance:Schema:double;2",
    }
    found = only(read(document("Site", [prop(n, s) for n, s in kinds.items()], V3, schemas=[shared, mode])))
    schemas = {n: f.schema for n, f in found.fields.items()}
    assert schemas["list"] == Array(Primitive("dateTime"))
    assert isinstance(schemas["table"], Map) and schemas["table"].value.schema == Primitive("long")
    assert isinstance(schemas["place"], Object) and isinstance(schemas["place"].members[1].schema, Enum)
    assert (schemas["area"], schemas["spot"]) == (Geometry("polygon"), Geometry("point"))
    assert schemas["named"] == Primitive("double")
    assert {f.type for f in found.fields.values()} == {"object", "double"}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [("boolean", "boolean"), ("float", "double"), ("integer", "integer"), ("long", "integer"), ("date", "string"),
     ("dateTime", "string"), ("time", "string"), ("duration", "string"), ("unsignedByte", "integer"),
     ("decimal", "double"), ("uuid", "string"), ("bytes", "string"), ("short", "integer")],
)  # fmt: skip
def test_every_primitive_has_its_type_in_the_twin(schema: str, kind: str) -> None:
    assert only(read(document("A", [prop("a", schema)], V3))).fields["a"].type == kind


def test_an_enum_keeps_what_devices_and_people_say() -> None:
    schema = {
        "@type": "Enum",
        "valueSchema": "string",
        "enumValues": [{"name": "idle", "enumValue": "IDLE", "displayName": {"en": "Idle", "de": "Leerlauf"}}],
    }
    found = only(read(document("A", [prop("mode", schema)]))).fields["mode"]
    assert isinstance(found.schema, Enum)
    assert found.type == "enum"
    assert found.schema.values[0] == EnumValue("idle", "IDLE", found.schema.values[0].words)
    assert dict(found.schema.values[0].words.display) == {"en": "Idle", "de": "Leerlauf"}


def test_keys_may_be_written_as_identifiers_of_the_language() -> None:
    said = document("Fan", [{"@type": "Property", "name": "drive", "dtmi:dtdl:property:schema;2": "string"}])
    assert only(read(said)).fields["drive"].type == "string"


def test_values_may_be_written_the_long_way_of_json_ld() -> None:
    contents = {
        "@type": "Relationship",
        "name": "feeds",
        "target": ["dtmi:test:A;1"],
        "maxMultiplicity": {"@value": 3, "@type": "xsd:integer"},
        "displayName": [{"@language": "en", "@value": "Feeds"}, {"@language": "de", "@value": "Speist"}],
    }
    shared = {"@id": "dtmi:test:A:list;1", "@type": ["Array", "dtmi:dtdl:class:Array;2"], "elementSchema": ["double"]}
    found = only(read(document("A", contents, schemas=shared)))  # type: ignore[arg-type]
    feeds = found.relationships["feeds"]
    assert (feeds.target, feeds.most, dict(feeds.words.display)) == (
        "dtmi:test:A;1",
        3,
        {"en": "Feeds", "de": "Speist"},
    )
    assert [type(s) for s in found.schemas] == [Array]


def test_commands_relationships_and_words_are_kept() -> None:
    contents = [
        {
            "@type": "Command",
            "name": "reboot",
            "request": {"name": "after", "schema": "duration"},
            "response": {"@type": "CommandPayload", "name": "at", "schema": "dateTime"},
        },
        {
            "@type": "Relationship",
            "name": "feeds",
            "target": "dtmi:test:Pump;1",
            "minMultiplicity": 0,
            "maxMultiplicity": 3,
            "writable": True,
            "properties": [prop("share", "double")],
        },
    ]
    parsed = read(document("Pump", contents, description={"en": "Lifts."}, comment="old"))
    found = only(parsed)
    command, feeds = found.commands["reboot"], found.relationships["feeds"]
    assert command.request is not None and command.request.schema == Primitive("duration")
    assert command.response is not None and command.response.name == "at"
    assert (feeds.target, feeds.least, feeds.most, feeds.writable) == ("dtmi:test:Pump;1", 0, 3, True)
    assert [p.name for p in feeds.properties] == ["share"]
    assert (found.words.description, found.words.comment) == ((("en", "Lifts."),), "old")
    assert [n.what for n in parsed.notices] == ["Command reboot", "properties of relationship feeds"]


def test_iot_central_types_are_known() -> None:
    contents = [
        {"@type": ["Telemetry", "AccelerationVector"], "name": "shock", "schema": "vector", "unit": "gForce"},
        {"@type": ["Property", "Location"], "name": "at", "schema": "geopoint"},
    ]
    parsed = read(document("Tracker", contents, [V2, "dtmi:iotcentral:context;2"]))
    found = only(parsed)
    assert (found.fields["shock"].type, found.fields["shock"].unit, parsed.notices) == ("object", "gn", ())


NOTICES = [
    (document("A", [], ["dtmi:iotcentral:context;2", V2]), 2, "the language's context is not the first"),
    (document("A", [prop("a", "double", colour="red")]), 10, "Property has no key 'colour'"),
    (document("A", [prop("a", "double", writeable=True)]), 10, "did you mean writable"),
    (document("A", [{"@type": ["Property", "Valuable"], "name": "a", "schema": "double"}]), 7, "type Valuable"),
    (document("A", [{"@type": ["Property", "Temprature"], "name": "a", "schema": "double"}]), 7, "Temperature"),
    (document("A", [], [V3, "dtmi:dtdl:extension:annotation;1"]), 2, "extension dtmi:dtdl:extension:annotation;1"),
    (document("A", [], [V2, "dtmi:com:other;1"]), 2, "context dtmi:com:other;1 is not known"),
    (document("A", [prop("a", "double", unit="metre")], V3), 10, "without the quantitative types extension"),
    (document("A", [{"@type": ["Property", "Length"], "name": "a", "schema": "double"}]), 6, "Length without unit"),
    (document("A", [prop("a", "short")], V3), 9, "schema short is of DTDL v4"),
    (document("A", [{"@type": "Command", "name": "go", "commandType": "synchronous"}]), 9, "commandType"),
]


@pytest.mark.parametrize(("said", "line", "what"), NOTICES)
def test_what_is_not_supported_is_named_with_its_line(said: Any, line: int, what: str) -> None:
    parsed = read(said)
    assert parsed.mistakes == ()
    wanted = [n for n in parsed.notices if what in str(n)]
    assert [n.line for n in wanted] == [line], parsed.notices


def test_a_unit_may_be_a_value() -> None:
    contents = [
        {"@type": ["Telemetry", "Temperature"], "name": "warmth", "schema": "double", "unit": "degreeCelsius"},
        {
            "@type": ["Property", "ValueAnnotation", "Override"],
            "name": "warmth_unit",
            "schema": "TemperatureUnit",
            "annotates": "warmth",
            "overrides": "unit",
        },
    ]
    context = [V3, QUANTITIES, "dtmi:dtdl:extension:annotation;1", "dtmi:dtdl:extension:overriding;1"]
    found = only(read(document("Sensor", contents, context))).fields["warmth_unit"]
    assert isinstance(found.schema, Enum)
    assert {v.name for v in found.schema.values} == {"kelvin", "degreeCelsius", "degreeFahrenheit"}
    assert [k for k, _ in found.words.extra] == ["annotates", "overrides"]


def test_keys_of_a_declared_extension_are_kept() -> None:
    annotated = {"@type": ["Property", "ValueAnnotation"], "name": "a", "schema": "double", "annotates": "b"}
    context = [V3, "dtmi:dtdl:extension:annotation;1"]
    found = only(read(document("A", [annotated, prop("b", "double")], context)))
    assert found.fields["a"].words.extra == (("annotates", '"b"'),)


MISTAKES = [
    ({"@context": "dtmi:dtdl:context;4", "@id": "dtmi:a;1", "@type": "Interface"}, 2, "not supported"),
    ({"@context": "dtmi:dtdl:context;3.1", "@id": "dtmi:a;1", "@type": "Interface"}, 2, "not supported"),
    ({"@context": "https://schema.org", "@id": "dtmi:a;1", "@type": "Interface"}, 2, "is no DTDL"),
    (document("A") | {"@type": "Thing"}, 4, "@type is 'Thing'"),
    (document("A") | {"@id": "dtmi:dtdl:A;1"}, 3, "reserved"),
    (document("A", ["a"]), 6, "is not an object"),
    (document("A", [{"@type": "Event", "name": "a"}]), 6, "one of Telemetry, Property"),
    (document("A", [{"@type": ["Property", "Telemetry"], "name": "a", "schema": "double"}]), 7, "several things"),
    (document("A", [{"@type": "Property", "schema": "double"}]), 6, "without name"),
    (document("A", [prop("a", "dubble")]), 9, "did you mean double?"),
    (document("A", [prop("a", None)]), 9, "no schema"),
    (document("A", [prop("a", {"@type": "Set"})]), 9, "schema of @type 'Set'"),
    (document("A", [prop("a", "double", writable="yes")]), 10, "neither true nor false"),
    (document("A", [prop("a", "double", unit="metres")]), 10, "did you mean metre"),
    (document("A", [prop("a", "string", unit="metre")]), 10, "unit metre on what is no number"),
    (
        document("A", [{"@type": ["Property", "Temperature"], "name": "a", "schema": "double", "unit": "metre"}]),
        13,
        "Temperature is measured in temperature, metre measures length",
    ),
    (document("A", [{"@type": ["Property", "Length"], "name": "a", "schema": "string"}]), 12, "Length is a number"),
    (document("A", [{"@type": "Relationship", "name": "r", "target": "Pump"}]), 9, "target 'Pump' is not a DTMI"),
    (document("A", [{"@type": "Relationship", "name": "r", "minMultiplicity": 1}]), 9, "minMultiplicity 1"),
    (document("A", [{"@type": "Relationship", "name": "r", "maxMultiplicity": 0}]), 9, "maxMultiplicity 0"),
    (document("A", [{"@type": "Component", "name": "c", "schema": 3}]), 9, "names no Interface"),
    (document("A", [{"@type": "Command", "name": "c", "request": {"name": "x"}}]), 9, "no schema"),
    (
        document("A", [prop("a", "double", **{"@id": "dtmi:x;1"}), prop("b", "double", **{"@id": "dtmi:x;1"})]),
        16,
        "@id dtmi:x;1 is used twice; line 6 has it already",
    ),
    (document("A", [prop("a", "double", **{"@graph": {}})]), 10, "@graph has no place"),
    (document("A", [prop("a", "double", **{"@id": ["dtmi:x;1"]})]), 10, "is not a DTMI"),
    (document("A", [prop("a", "double", **{"@id": "dtmi:test:A;1"})]), 10, "@id dtmi:test:A;1 is used twice"),
    (document("A", [{"@type": "Component", "name": "c", "schema": []}]), 9, "names no Interface"),
    (document("A", displayName=3), 5, "displayName 3 is not text"),
    (document("A", extends=["dtmi:b;1", "dtmi:b;1"]), 7, "stands twice in extends"),
]


@pytest.mark.parametrize(("said", "line", "what"), MISTAKES)
def test_a_mistake_in_a_document_names_its_line(said: Any, line: int, what: str) -> None:
    parsed = read(said)
    wanted = [m for m in parsed.mistakes if what in str(m)]
    assert [m.line for m in wanted] == [line], parsed.mistakes


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    text = (
        '{"@context": "dtmi:dtdl:context;3",\n"@id": "dtmi:a;1", "@type": "Interface",\n"comment": "a", "comment": "b"}'
    )
    assert [m.line for m in parse(text, "a.json").mistakes] == [3]


@pytest.mark.parametrize("text", ["", "null", "3", "[[]]", "[", "{}", '"x"', "[" * 100_000, '{"@context": {}}'])
def test_a_document_of_any_shape_gives_mistakes_and_never_a_crash(text: str) -> None:
    assert parse(text, "a.json").mistakes


def test_depth_is_bounded_however_deep_the_interpreter_may_go() -> None:
    """Some libraries raise the interpreter's own limit, past which the parser would overrun its stack."""
    held = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        for text in ("[" * 200_000, '{"a":' * 200_000, '["]"' + ",[" * 101):
            assert ["nested deeper than 100" in str(m) for m in parse(text, "a.json").mistakes] == [True]
    finally:
        sys.setrecursionlimit(held)


SETS = [
    ([document("A"), document("A")], "1.json", "dtmi:test:A;1 is also in 0.json:1"),
    ([document("A", extends="dtmi:test:B;1")], "0.json", "extends unknown Interface dtmi:test:B;1"),
    ([document("A", extends="dtmi:test:B;1"), document("B", extends="dtmi:test:A;1")], "1.json", "extends itself"),
    (
        [document("A", [prop("x", "double")]), document("B", [prop("x", "double")], extends="dtmi:test:A;1")],
        "1.json",
        "x is inherited already",
    ),
    (
        [
            document("A", [prop("x", "double")]),
            document("B", [prop("x", "double")]),
            document("C", extends=["dtmi:test:A;1", "dtmi:test:B;1"]),
        ],
        "2.json",
        "x is inherited twice",
    ),
    ([PHONE], "0.json", "component front is of unknown Interface dtmi:test:Camera;1"),
    (
        [CAMERA, PHONE, document("Box", [{"@type": "Component", "name": "phone", "schema": "dtmi:test:Phone;1"}])],
        "2.json",
        "component phone holds components itself",
    ),
    (
        [document("A", context=V3), document("B", extends="dtmi:test:A;1")],
        "1.json",
        "DTDL v2 extends dtmi:test:A;1 of v3",
    ),
]


@pytest.mark.parametrize(("documents", "file", "what"), SETS)
def test_interfaces_that_do_not_fit_together_are_mistakes(documents: list[Any], file: str, what: str) -> None:
    wanted = [m for m in joined(*documents).mistakes if what in m.message]
    assert [m.file for m in wanted][:1] == [file]


def test_what_comes_along_two_ways_is_inherited_once() -> None:
    root = document("Root", [prop("x", "double")])
    sides = [document(n, extends="dtmi:test:Root;1") for n in ("Left", "Right")]
    leaf = document("Leaf", extends=["dtmi:test:Left;1", "dtmi:test:Right;1"])
    models = joined(root, *sides, leaf)
    assert models.mistakes == ()
    assert set(models.interfaces["dtmi:test:Leaf;1"].fields) == {"x"}


def test_a_later_version_may_build_on_an_earlier_one() -> None:
    base = document("Base", [prop("x", "double")])
    assert joined(base, document("A", context=V3, extends="dtmi:test:Base;1")).mistakes == ()


def test_a_target_that_is_not_here_is_only_named() -> None:
    models = joined(document("A", [{"@type": "Relationship", "name": "r", "target": "dtmi:other:B;1"}]))
    assert models.mistakes == ()
    assert ["which is not here" in n.what for n in models.notices] == [True]
