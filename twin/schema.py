"""Schemas of values: what a value may look like, and its one canonical form; must not know points or documents.

Sources: Digital Twins Definition Language v2 to v4, "Primitive schema" and "Complex schema"; RFC 3339 (times), ISO 8601
(durations), RFC 7946 (geometries).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from twin.words import NO_WORDS, Words

CANONICAL_MAX = 16_384  # characters of one structured value: four pages; what is longer is a document, not a reading


@dataclass(frozen=True, slots=True)
class Primitive:
    """A number, a truth, a text, or a text of a set form; `name` is DTDL's."""

    name: str


@dataclass(frozen=True, slots=True)
class Geometry:
    """A GeoJSON geometry; `name` is DTDL's term, such as `multiPoint`."""

    name: str


@dataclass(frozen=True, slots=True)
class EnumValue:
    """One named value; `value` is what devices say."""

    name: str
    value: int | str
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True)
class Enum:
    """One of a list. `valued` is `integer` or `string`: what its values are."""

    valued: str
    values: tuple[EnumValue, ...]
    words: Words = NO_WORDS

    def code(self, index: int) -> int:
        """The number that stands for a value in the twin: the integer itself, for text its position from 0."""
        value = self.values[index].value
        return value if isinstance(value, int) else index

    def index_of(self, said: Any) -> int | None:
        """Which value a device, a person or a command means by a number, a name or a text; None for none of them."""
        if isinstance(said, bool):
            return None
        if isinstance(said, float) and said.is_integer():
            said = int(said)
        for index, known in enumerate(self.values):
            if said == known.value or (isinstance(said, int) and said == self.code(index)):
                return index
        return next((i for i, known in enumerate(self.values) if said == known.name), None)


@dataclass(frozen=True, slots=True)
class Member:
    """A field of an Object, or the key or the value of a Map. `unit` is a symbol, `semantic` its semantic types."""

    name: str
    schema: Schema
    unit: str = ""
    semantic: tuple[str, ...] = ()
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True)
class Object:
    """Named fields; any of them may be absent from a value, none may be added."""

    members: tuple[Member, ...]
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True)
class Array:
    """Any number of elements of one schema."""

    element: Schema
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True)
class Map:
    """Text keys, values of one schema."""

    key: Member
    value: Member
    words: Words = NO_WORDS


Schema = Primitive | Geometry | Enum | Object | Array | Map


class Misfit(Exception):
    """A value that its schema does not allow; `path` says where in it, such as `route[3].speed`, "" for the whole."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}" if path else detail)
        self.path = path
        self.detail = detail


def settle(schema: Schema, value: Any, path: str = "") -> Any:
    """The value in its schema's normal form: doubles are floats, integers ints, enums their values.

    Args:
        value: of JSON's or msgpack's types.

    Raises:
        Misfit: the schema does not allow it.
    """
    match schema:
        case Primitive():
            return _PRIMITIVES[schema.name].settle(value, path)
        case Enum():
            index = schema.index_of(value)
            if index is None:
                raise Misfit(path, f"{brief(value)} is none of {offer(schema)}")
            return schema.values[index].value
        case Geometry():
            return _geometry(schema, value, path)
        case Array():
            if not isinstance(value, list | tuple):
                raise Misfit(path, f"a list is wanted, got {brief(value)}")
            return [settle(schema.element, v, f"{path}[{i}]") for i, v in enumerate(value)]
        case Map() | Object():
            return _settle_pairs(schema, value, path)


def _settle_pairs(schema: Map | Object, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Misfit(path, f"an object is wanted, got {brief(value)}")
    known = None if isinstance(schema, Map) else {m.name: m for m in schema.members}
    settled: dict[str, Any] = {}
    for key, inner in value.items():
        if not isinstance(key, str):
            raise Misfit(path, f"key {brief(key)} is not text")
        member = schema.value if isinstance(schema, Map) else None if known is None else known.get(key)
        if member is None:
            raise Misfit(path, f"has no field {key[:80]!r}; its fields are {', '.join(known or ()) or 'none'}")
        settled[key] = settle(member.schema, inner, f"{path}.{key}" if path else key)
    return settled


def canonical(settled: Any) -> str:
    """JSON text of a settled value: keys sorted, no spaces; equal values have equal text.

    Raises:
        Misfit: it is longer than CANONICAL_MAX characters, or holds text that no encoding carries.
    """
    text = json.dumps(settled, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if len(text) > CANONICAL_MAX:
        raise Misfit("", f"{len(text)} characters; {CANONICAL_MAX} are the limit")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise Misfit("", "holds half of a surrogate pair")
    return text


def point_type(schema: Schema) -> str:
    """`double`, `integer`, `boolean`, `string`, `enum` or `object`: how the twin keeps values of this schema."""
    match schema:
        case Primitive():
            return _PRIMITIVES[schema.name].type
        case Enum():
            return "enum"
        case _:
            return "object"


def offer(enum: Enum) -> str:
    """The values of an enum for a message: `0 off, 1 on`."""
    shown = [f"{v.value} {v.name}" if str(v.value) != v.name else v.name for v in enum.values]
    return ", ".join([*shown[:12], "…"] if len(shown) > 12 else shown) or "no value at all"


def brief(value: Any) -> str:
    """A few words of a value; never of its inside, which may be nested deeper than Python prints."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return "null" if value is None else f"{type(value).__name__} {str(value)[:80]!r}"


def is_primitive(name: str) -> bool:
    return name in _PRIMITIVES


def is_numeric(schema: Schema) -> bool:
    return isinstance(schema, Primitive) and _PRIMITIVES[schema.name].type in ("double", "integer")


def has_array(schema: Schema) -> bool:
    """Whether an Array, or a geometry, which is made of arrays, lies anywhere in it."""
    return any(isinstance(s, Array | Geometry) for s in walk(schema))


def walk(schema: Schema) -> list[Schema]:
    """The schema and all inside it, outermost first."""
    match schema:
        case Array():
            return [schema, *walk(schema.element)]
        case Map():
            return [schema, *walk(schema.value.schema)]
        case Object():
            return [schema, *(s for m in schema.members for s in walk(m.schema))]
        case _:
            return [schema]


# --- primitives ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one primitive is kept in the twin and brought to its normal form."""

    type: str
    settle: Callable[[Any, str], Any]


def _boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise Misfit(path, f"true or false is wanted, got {brief(value)}")
    return value


def _double(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misfit(path, f"a number is wanted, got {brief(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise Misfit(path, "the integer does not fit a double") from None
    if not math.isfinite(number):
        raise Misfit(path, f"{number} is not a finite number")
    return number


def _integer(low: int, high: int) -> Callable[[Any, str], int]:
    def settled(value: Any, path: str) -> int:
        whole = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not (whole or isinstance(value, int)):
            raise Misfit(path, f"a whole number is wanted, got {brief(value)}")
        if not low <= value <= high:
            raise Misfit(path, f"{brief(value)} is outside {low} … {high}")
        return int(value)

    return settled


def _text(form: Callable[[str], bool] | None, wanted: str) -> Callable[[Any, str], str]:
    def settled(value: Any, path: str) -> str:
        if not isinstance(value, str) or (form is not None and not form(value)):
            raise Misfit(path, f"{wanted} is wanted, got {brief(value)}")
        return value

    return settled


_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_ZONE = r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_DATE_FORM = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME_FORM = re.compile(f"{_TIME}{_ZONE}?", re.ASCII)
_DATE_TIME_FORM = re.compile(rf"(\d{{4}}-\d{{2}}-\d{{2}})[Tt ]{_TIME}{_ZONE}", re.ASCII)
_DURATION_FORM = re.compile(
    r"[+-]?P(?!$)(?:\d+W|(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:[.,]\d+)?S)?)?)", re.ASCII
)
_UUID_FORM = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_DECIMAL_FORM = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)


def _is_date(text: str) -> bool:
    if not _DATE_FORM.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_date_time(text: str) -> bool:
    found = _DATE_TIME_FORM.fullmatch(text)
    return found is not None and _is_date(found[1])


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _decimal(value: Any, path: str) -> float:
    """DTDL v4 writes a decimal as text, so that nothing is rounded on the way; here it becomes a double."""
    if isinstance(value, str):
        if not _DECIMAL_FORM.fullmatch(value):
            raise Misfit(path, f"a decimal number is wanted, got {brief(value)}")
        value = float(value)
    return _double(value, path)


_PRIMITIVES: dict[str, _Kind] = {
    "boolean": _Kind("boolean", _boolean),
    "double": _Kind("double", _double),
    "float": _Kind("double", _double),
    "decimal": _Kind("double", _decimal),
    "byte": _Kind("integer", _integer(-(2**7), 2**7 - 1)),
    "short": _Kind("integer", _integer(-(2**15), 2**15 - 1)),
    "integer": _Kind("integer", _integer(-(2**31), 2**31 - 1)),
    "long": _Kind("integer", _integer(-(2**63), 2**63 - 1)),
    "unsignedByte": _Kind("integer", _integer(0, 2**8 - 1)),
    "unsignedShort": _Kind("integer", _integer(0, 2**16 - 1)),
    "unsignedInteger": _Kind("integer", _integer(0, 2**32 - 1)),
    "unsignedLong": _Kind("integer", _integer(0, 2**64 - 1)),
    "string": _Kind("string", _text(None, "text")),
    "date": _Kind("string", _text(_is_date, "a date like 2030-12-31")),
    "dateTime": _Kind("string", _text(_is_date_time, "a time like 2030-12-31T23:59:59Z")),
    "time": _Kind("string", _text(lambda t: bool(_TIME_FORM.fullmatch(t)), "a time of day like 23:59:59")),
    "duration": _Kind("string", _text(lambda t: bool(_DURATION_FORM.fullmatch(t)), "a duration like PT1H30M")),
    "uuid": _Kind("string", _text(lambda t: bool(_UUID_FORM.fullmatch(t)), "a UUID")),
    "bytes": _Kind("string", _text(_is_base64, "base64")),
}
PRIMITIVES = tuple(_PRIMITIVES)


# --- geometries ------------------------------------------------------------------------------------------------------

# DTDL's term -> (GeoJSON's type, how deep a position lies in `coordinates`)
GEOMETRIES: dict[str, tuple[str, int]] = {
    "point": ("Point", 0),
    "multiPoint": ("MultiPoint", 1),
    "lineString": ("LineString", 1),
    "multiLineString": ("MultiLineString", 2),
    "polygon": ("Polygon", 2),
    "multiPolygon": ("MultiPolygon", 3),
}


def _geometry(schema: Geometry, value: Any, path: str) -> dict[str, Any]:
    kind, depth = GEOMETRIES[schema.name]
    if not isinstance(value, Mapping) or value.get("type") != kind or set(value) != {"type", "coordinates"}:
        raise Misfit(path, f'{{"type": "{kind}", "coordinates": …}} is wanted, got {brief(value)}')
    return {
        "type": kind,
        "coordinates": _positions(value["coordinates"], depth, f"{path}.coordinates" if path else "coordinates"),
    }


def _positions(value: Any, depth: int, path: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise Misfit(path, f"a list is wanted, got {brief(value)}")
    if depth:
        return [_positions(v, depth - 1, f"{path}[{i}]") for i, v in enumerate(value)]
    if len(value) not in (2, 3):
        raise Misfit(path, f"a position has 2 or 3 numbers, got {len(value)}")
    return [_double(v, f"{path}[{i}]") for i, v in enumerate(value)]
