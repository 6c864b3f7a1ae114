"""What a value may look like, and its canonical form."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.test_dtdl_export import schemas
from twin.schema import (
    CANONICAL_MAX,
    GEOMETRIES,
    Array,
    Enum,
    EnumValue,
    Geometry,
    Map,
    Member,
    Misfit,
    Object,
    Primitive,
    Schema,
    canonical,
    point_type,
    settle,
)

STOP = Object((Member("speed", Primitive("double")), Member("count", Primitive("integer"))))
ROUTE = Object(
    (Member("route", Array(STOP)), Member("by_name", Map(Member("k", Primitive("string")), Member("v", STOP))))
)
MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 4)))
WORD = Enum("string", (EnumValue("idle", "IDLE"), EnumValue("busy", "BUSY")))


@pytest.mark.parametrize(
    ("schema", "value", "settled"),
    [
        (Primitive("double"), 1, 1.0),
        (Primitive("integer"), 3.0, 3),
        (Primitive("unsignedByte"), 255, 255),
        (Primitive("decimal"), "12.50", 12.5),
        (Primitive("date"), "2030-02-28", "2030-02-28"),
        (Primitive("dateTime"), "2030-12-31T23:59:60Z", "2030-12-31T23:59:60Z"),
        (Primitive("time"), "23:59:59.5+01:00", "23:59:59.5+01:00"),
        (Primitive("duration"), "P1DT2H", "P1DT2H"),
        (Primitive("uuid"), "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        (Primitive("bytes"), "AQI=", "AQI="),
        (MODE, "auto", 4),
        (MODE, 4.0, 4),
        (WORD, "busy", "BUSY"),
        (WORD, 1, "BUSY"),
        (Geometry("point"), {"type": "Point", "coordinates": [1, 2]}, {"type": "Point", "coordinates": [1.0, 2.0]}),
        (STOP, {"count": 2}, {"count": 2}),
        (ROUTE, {"route": [{"speed": 1}], "by_name": {"a b": {}}}, {"route": [{"speed": 1.0}], "by_name": {"a b": {}}}),
    ],
)
def test_a_value_that_fits_takes_its_normal_form(schema: Schema, value: Any, settled: Any) -> None:
    found = settle(schema, value)
    assert (found, json.dumps(found)) == (settled, json.dumps(settled))


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        (ROUTE, {"route": [{}, {}, {}, {"speed": "fast"}]}, "route[3].speed: a number is wanted, got str 'fast'"),
        (ROUTE, {"route": {}}, "route: a list is wanted, got an object"),
        (ROUTE, {"by_name": {"a": {"count": 1.5}}}, "by_name.a.count: a whole number is wanted"),
        (ROUTE, {"stops": []}, "has no field 'stops'; its fields are route, by_name"),
        (ROUTE, [], "an object is wanted, got a list"),
        (ROUTE, {3: []}, "key int '3' is not text"),
        (STOP, {"speed": None}, "speed: a number is wanted, got null"),
        (STOP, {"speed": math.nan}, "speed: nan is not a finite number"),
        (Primitive("boolean"), 1, "true or false is wanted"),
        (Primitive("double"), True, "a number is wanted"),
        (Primitive("double"), 10**400, "does not fit a double"),
        (Primitive("byte"), 128, "outside -128 … 127"),
        (Primitive("integer"), 2**31, "outside"),
        (Primitive("decimal"), "1,5", "a decimal number is wanted"),
        (Primitive("date"), "2030-02-30", "a date like"),
        (Primitive("dateTime"), "2030-12-31", "a time like"),
        (Primitive("dateTime"), "2030-13-31T00:00:00Z", "a time like"),
        (Primitive("time"), "24:00:00", "a time of day like"),
        (Primitive("duration"), "P", "a duration like"),
        (Primitive("duration"), "PT", "a duration like"),
        (Primitive("uuid"), "123", "a UUID"),
        (Primitive("bytes"), "a", "base64"),
        (MODE, 1, "is none of 0 off, 4 auto"),
        (MODE, True, "is none of"),
        (WORD, 2, "is none of IDLE idle, BUSY busy"),
        (Geometry("point"), {"type": "Polygon", "coordinates": []}, '"type": "Point"'),
        (
            Geometry("lineString"),
            {"type": "LineString", "coordinates": [[1, 2], [3]]},
            "coordinates[1]: a position has",
        ),
        (Geometry("point"), {"type": "Point", "coordinates": [1, "x"]}, "coordinates[1]: a number is wanted"),
    ],
)
def test_a_value_that_does_not_fit_says_where_in_it(schema: Schema, value: Any, said: str) -> None:
    with pytest.raises(Misfit) as misfit:
        settle(schema, value)
    assert said in str(misfit.value)


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that fit."""
    match schema:
        case Enum():
            return st.sampled_from([v.value for v in schema.values])
        case Geometry():
            return st.just(_positions(*GEOMETRIES[schema.name]))
        case Array():
            return st.lists(values(schema.element), max_size=3)
        case Map():
            return st.dictionaries(
                st.text(st.characters(exclude_categories=["Cs"]), max_size=5), values(schema.value.schema), max_size=3
            )
        case Object():
            return st.fixed_dictionaries(
                {}, optional={m.name: values(m.schema) for m in schema.members if _has(m.schema)}
            )
        case Primitive():
            return PRIMITIVE_VALUES[schema.name]


def _has(schema: Schema) -> bool:
    return not (isinstance(schema, Enum) and not schema.values)


def _positions(kind: str, depth: int) -> Any:
    place: Any = [1.5, 2.0]
    for _ in range(depth):
        place = [place]
    return {"type": kind, "coordinates": place}


PRIMITIVE_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "date": st.dates().map(lambda d: d.isoformat()),
    "dateTime": st.datetimes().map(lambda d: f"{d.isoformat()}Z"),
    "time": st.times().map(lambda t: t.isoformat()),
    "duration": st.integers(0, 10**6).map("PT{}S".format),
}


def with_value(schema: Schema) -> st.SearchStrategy[tuple[Schema, Any]]:
    return st.tuples(st.just(schema), values(schema))


def _all_have(schema: Schema) -> bool:
    inner = schema.element if isinstance(schema, Array) else schema.value.schema if isinstance(schema, Map) else None
    return (
        _has(schema)
        and (inner is None or _all_have(inner))
        and (not isinstance(schema, Object) or all(_all_have(m.schema) for m in schema.members))
    )


@settings(max_examples=200, deadline=None)
@given(schemas.filter(_all_have).flatmap(with_value))
def test_settling_twice_changes_nothing_and_equal_values_have_equal_text(made: tuple[Schema, Any]) -> None:
    schema, value = made
    settled = settle(schema, value)
    text = canonical(settled)
    assert canonical(settle(schema, settled)) == text
    assert canonical(settle(schema, json.loads(text))) == text
    assert point_type(schema) in ("double", "integer", "boolean", "string", "enum", "object")


def test_the_canonical_form_sorts_keys_and_knows_no_order_of_arrival() -> None:
    assert canonical(settle(STOP, {"speed": 1, "count": 2})) == canonical(settle(STOP, {"count": 2, "speed": 1}))
    assert canonical(settle(STOP, {"speed": 1, "count": 2})) == '{"count":2,"speed":1.0}'


def test_a_structured_value_has_an_end() -> None:
    with pytest.raises(Misfit, match=str(CANONICAL_MAX)):
        canonical(settle(Array(Primitive("string")), ["x" * CANONICAL_MAX]))
    with pytest.raises(Misfit, match="surrogate"):
        canonical(settle(Primitive("string"), "\ud800"))
