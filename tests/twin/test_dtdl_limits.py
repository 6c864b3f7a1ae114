"""The limits of DTDL, and where its versions differ."""

from __future__ import annotations

from typing import Any

import pytest

from tests.twin.test_dtdl import V2, V3, document, joined, prop, read


def messages(said: Any) -> str:
    return "\n".join(str(m) for m in read(said).mistakes)


def nested(depth: int) -> Any:
    return "double" if depth == 0 else {"@type": "Array", "elementSchema": nested(depth - 1)}


def enum(count: int) -> dict[str, Any]:
    values = [{"name": f"v{i}", "enumValue": i} for i in range(count)]
    return {"@type": "Enum", "valueSchema": "integer", "enumValues": values}


def record(count: int) -> dict[str, Any]:
    return {"@type": "Object", "fields": [{"name": f"f{i}", "schema": "double"} for i in range(count)]}


def telemetry(schema: Any) -> list[Any]:
    return [{"@type": "Telemetry", "name": "a", "schema": schema}]


def relationship(**more: Any) -> list[Any]:
    return [{"@type": "Relationship", "name": "r", **more}]


# (contents, extra keys) that DTDL v2 refuses and v3 takes, and what is said.
ONLY_V3: list[tuple[list[Any], dict[str, Any], str]] = [
    ([prop("a" * 65, "double")], {}, "DTDL v2 allows 64"),
    (telemetry(enum(101)), {}, "101 enumValues"),
    (telemetry(enum(0)), {}, "no enumValues"),
    (telemetry(record(31)), {}, "31 fields"),
    (telemetry(record(0)), {}, "no fields"),
    ([prop("a", nested(1))], {}, "a Property holds no Array in DTDL v2"),
    ([prop("a", "point")], {}, "a Property holds no Array in DTDL v2"),
    (relationship(maxMultiplicity=501), {}, "maxMultiplicity 501"),
    (relationship(properties=[prop(f"p{i}", "double") for i in range(301)]), {}, "301 properties"),
    ([], {"extends": ["dtmi:a;1", "dtmi:b;1", "dtmi:c;1"]}, "extends 3 Interfaces"),
    ([], {"@id": "dtmi:test:A"}, "is not a DTMI"),
    ([], {"@id": "dtmi:test:A;1.2"}, "is not a DTMI"),
]


@pytest.mark.parametrize(("contents", "more", "said"), ONLY_V3)
def test_what_only_version_3_allows_is_refused_in_version_2(
    contents: list[Any], more: dict[str, Any], said: str
) -> None:
    assert said in messages(document("A", contents, V2) | more)
    assert messages(document("A", contents, V3) | more) == ""


ALWAYS: list[tuple[list[Any], dict[str, Any], str]] = [
    ([prop("a" * 513, "double")], {}, "has 513 characters"),
    ([prop("a_", "double")], {}, "not allowed in DTDL"),
    ([prop("1a", "double")], {}, "not allowed in DTDL"),
    (telemetry(nested(6)), {}, "more than 5 deep"),
    ([], {"@id": "dtmi:" + "a" * 122 + ";1"}, "128 at most"),
    ([], {"@id": "dtmi:a:_b;1"}, "is not a DTMI"),
    ([], {"@id": "dtmi:a;01"}, "is not a DTMI"),
    ([], {"@id": "dtmi:a;1.0"}, "is not a DTMI"),
    ([], {"@id": "dtmi:a#b;1"}, "is not a DTMI"),
    ([], {"displayName": "x" * 65}, "displayName has 65 characters"),
    ([], {"description": {"en": "x" * 513}}, "description has 513 characters"),
    ([], {"comment": "x" * 513}, "at most 512"),
    (telemetry({**enum(1), "valueSchema": "double"}), {}, "valueSchema 'double'"),
    (telemetry({**enum(1), "valueSchema": "string"}), {}, "enumValue 0 is no string"),
    (
        telemetry(
            {
                "@type": "Enum",
                "valueSchema": "integer",
                "enumValues": [{"name": "a", "enumValue": 1}, {"name": "b", "enumValue": 1}],
            }
        ),
        {},
        "enumValue 1 is used twice",
    ),
    (
        telemetry(
            {
                "@type": "Enum",
                "valueSchema": "integer",
                "enumValues": [{"name": "a", "enumValue": 1}, {"name": "a", "enumValue": 2}],
            }
        ),
        {},
        "enum value a is declared twice",
    ),
    (
        telemetry({"@type": "Enum", "valueSchema": "integer", "enumValues": [{"name": "a", "enumValue": 2**31}]}),
        {},
        "four",
    ),
    (
        telemetry({"@type": "Object", "fields": [{"name": "x", "schema": "double"}, {"name": "x", "schema": "long"}]}),
        {},
        "field x is declared twice",
    ),
    (
        telemetry(
            {
                "@type": "Map",
                "mapKey": {"name": "k", "schema": "integer"},
                "mapValue": {"name": "v", "schema": "double"},
            }
        ),
        {},
        "a Map's keys are text",
    ),
    (
        telemetry("dtmi:test:loop;1"),
        {"schemas": [{"@id": "dtmi:test:loop;1", "@type": "Array", "elementSchema": "dtmi:test:loop;1"}]},
        "contains itself",
    ),
]


@pytest.mark.parametrize("version", [V2, V3])
@pytest.mark.parametrize(("contents", "more", "said"), ALWAYS)
def test_what_no_version_allows_is_refused(contents: list[Any], more: dict[str, Any], said: str, version: str) -> None:
    assert said in messages(document("A", contents, version) | more)


@pytest.mark.parametrize("version", [V2, V3])
def test_the_limits_themselves_are_allowed(version: str) -> None:
    contents = [*telemetry(nested(5)), prop("b" * 64, "double")]
    assert messages(document("A", contents, version, displayName="x" * 64, comment="x" * 512)) == ""


def test_interfaces_extend_ten_levels_and_no_more() -> None:
    chain = [document("I0")] + [document(f"I{n}", extends=f"dtmi:test:I{n - 1};1") for n in range(1, 12)]
    assert joined(*chain[:11]).mistakes == ()
    assert ["extends 11 levels deep" in m.message for m in joined(*chain).mistakes] == [True]


def test_version_2_counts_what_is_inherited() -> None:
    base = document("Base", [prop(f"a{n}", "double") for n in range(200)])
    more = [prop(f"b{n}", "double") for n in range(101)]
    assert "301 contents" in joined(base, document("A", more, extends="dtmi:test:Base;1")).mistakes[0].message
    assert joined(base, document("A", more, V3, extends="dtmi:test:Base;1")).mistakes == ()


def test_an_interface_has_a_size() -> None:
    big = document("A", [prop(f"a{n}", "double", description="x" * 500) for n in range(2_000)], V3)
    assert "split it" in messages(big)
