"""What is written as DTDL v3 is read back as the same Interface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.test_dtdl import CAMERA, PHONE, V2, document, joined, only, prop, read
from twin.dtdl import declared, parse
from twin.dtdl_export import export_interface, export_interfaces
from twin.interface import CommandRule, Component, Field, Interface, RelationshipRule
from twin.models import read_models
from twin.schema import GEOMETRIES, Array, Enum, EnumValue, Geometry, Map, Member, Object, Primitive, Schema, point_type
from twin.units import DIMENSIONS_OF_SEMANTIC, UNITS
from twin.words import Words, in_english

names = st.from_regex(r"[A-Za-z]([A-Za-z0-9_]{0,8}[A-Za-z0-9])?", fullmatch=True)
dtmis = st.builds("dtmi:test:{};{}".format, names, st.integers(1, 99))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
local = st.dictionaries(st.sampled_from(["en", "de", "fr"]), texts, max_size=2).map(lambda d: tuple(d.items()))


@st.composite
def some_words(draw: st.DrawFn) -> Words:
    return Words(draw(local), draw(local), draw(texts))


words = some_words()
PRIMITIVES = ("boolean", "double", "float", "integer", "long", "string", "date", "dateTime", "time", "duration")
QUANTITIES = [
    (s, u.symbol)
    for s, ds in DIMENSIONS_OF_SEMANTIC.items()
    for u in UNITS.values()
    if u.dimension in ds and u.dtdl and not s.endswith("Vector")
]


def unique(elements: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(elements, max_size=most, unique_by=lambda e: e.name).map(tuple)


def enums() -> st.SearchStrategy[Enum]:
    def of(valued: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Enum]:
        listed = st.lists(
            st.builds(EnumValue, names, values, words), max_size=4, unique_by=(lambda v: v.name, lambda v: v.value)
        )
        return st.builds(Enum, st.just(valued), listed.map(tuple), words)

    return of("integer", st.integers(-(2**31), 2**31 - 1)) | of("string", texts)


def members(schemas: st.SearchStrategy[Schema]) -> st.SearchStrategy[Member]:
    plain = st.builds(Member, names, schemas, st.just(""), st.just(()), words)
    quantity = st.integers(0, len(QUANTITIES) - 1).map(lambda i: QUANTITIES[i])  # a list would be printed whole
    measured = st.builds(lambda name, q, w: Member(name, Primitive("double"), q[1], (q[0],), w), names, quantity, words)
    return plain | measured


def deeper(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    keys = st.builds(Member, names, st.just(Primitive("string")), st.just(""), st.just(()), words)
    return (
        st.builds(Array, inner, words)
        | st.builds(Object, unique(members(inner)), words)
        | st.builds(Map, keys, members(inner), words)
    )


leaves: st.SearchStrategy[Any] = st.sampled_from([*map(Primitive, PRIMITIVES), *map(Geometry, GEOMETRIES)]) | enums()


@st.composite
def some_schema(draw: st.DrawFn, depth: int = 2) -> Schema:
    """Nested at most so deep; a composite, whose parts Hypothesis does not print."""
    made: Schema = draw(leaves if depth == 0 or draw(st.booleans()) else deeper(some_schema(depth - 1)))
    return made


schemas: st.SearchStrategy[Schema] = some_schema()


def as_field(member: Member, kind: str, writable: bool) -> Field:
    return Field(
        member.name, kind, point_type(member.schema), member.unit, writable and kind == "Property", member.schema,
        member.semantic, "", member.words,
    )  # fmt: skip


fields = st.builds(as_field, members(schemas), st.sampled_from(["Property", "Telemetry"]), st.booleans())
properties = st.builds(as_field, members(schemas), st.just("Property"), st.booleans())
relationships = st.builds(
    RelationshipRule, names, st.none() | dtmis, st.none() | st.just(0), st.none() | st.integers(1, 10_000),
    unique(properties, 2), st.booleans(), st.just(()), words,
)  # fmt: skip
payloads = st.none() | members(schemas)
commands = st.builds(CommandRule, names, payloads, payloads, st.just(()), words)
components = st.builds(Component, names, dtmis, st.just(()), words)


@st.composite
def interfaces(draw: st.DrawFn) -> Interface:
    identity, said = draw(dtmis), draw(words)
    contents = draw(unique(fields | relationships | commands | components, 6))

    def of(kind: type) -> dict[str, Any]:
        return {e.name: e for e in contents if isinstance(e, kind)}

    return Interface(
        id=identity,
        name=in_english(said.display, identity.split(":")[-1].split(";")[0]),
        extends=tuple(draw(st.lists(dtmis, max_size=3, unique=True))),
        fields=of(Field),
        relationships=of(RelationshipRule),
        components=of(Component),
        commands=of(CommandRule),
        own=tuple(e.name for e in contents),
        words=said,
    )


@settings(max_examples=150, deadline=None)
@given(interfaces())
def test_what_is_exported_is_read_back_as_it_was(interface: Interface) -> None:
    parsed = parse(json.dumps(export_interface(interface)), "x.json")
    assert parsed.mistakes == ()
    assert parsed.interfaces == (interface,)


def test_version_2_is_exported_as_version_3_and_means_the_same() -> None:
    said = document("A", [{"@type": ["Property", "Length"], "name": "a", "schema": "double", "unit": "metre"}], V2)
    interface = only(read(said))
    exported = export_interface(interface)
    assert exported["@context"] == ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"]
    parsed = read(exported)
    assert (only(parsed), parsed.notices) == (interface, ())


def test_shared_schemas_stay_shared() -> None:
    mode = {
        "@id": "dtmi:test:A:mode;1",
        "@type": "Enum",
        "valueSchema": "integer",
        "enumValues": [{"name": "on", "enumValue": 1}],
    }
    said = document("A", [prop("a", "dtmi:test:A:mode;1"), prop("b", "dtmi:test:A:mode;1")], schemas=[mode])
    exported = export_interface(only(read(said)))
    assert [c["schema"] for c in exported["contents"]] == ["dtmi:test:A:mode;1"] * 2
    assert only(read(exported)) == only(read(said))


def test_a_schema_with_an_id_is_described_once() -> None:
    inline = {"@id": "dtmi:test:A:list;1", "@type": "Array", "elementSchema": "double"}
    said = document("A", [prop("a", inline), prop("b", "dtmi:test:A:list;1")], "dtmi:dtdl:context;3")
    exported = export_interface(only(read(said)))
    assert exported["contents"][1]["schema"] == "dtmi:test:A:list;1"
    assert only(read(exported)) == only(read(said))


def test_what_is_inherited_is_left_to_the_parents() -> None:
    smart = document("SmartPhone", [prop("os", "string")], extends="dtmi:test:Phone;1")
    models = joined(CAMERA, PHONE, smart)
    exported = export_interfaces(reversed(models.interfaces.values()))
    assert [d["@id"] for d in exported].index("dtmi:test:Phone;1") < [d["@id"] for d in exported].index(
        "dtmi:test:SmartPhone;1"
    )
    again = read_models({"all.json": json.dumps(exported)})
    assert again.mistakes == ()
    assert again.interfaces == models.interfaces


def test_the_shipped_models_survive_the_way_out_and_in() -> None:
    folder = Path(__file__).parents[2] / "scenarios/water/interfaces"
    models = read_models({p.name: p.read_text() for p in folder.glob("*.json")})
    parsed = parse(json.dumps(export_interfaces(models.interfaces.values())), "x.json")
    assert (models.mistakes, parsed.mistakes) == ((), ())
    assert {i.id: i for i in parsed.interfaces} == {k: declared(i) for k, i in models.interfaces.items()}
