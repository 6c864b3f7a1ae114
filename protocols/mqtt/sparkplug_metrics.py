"""Sparkplug B's payloads: datatypes, metrics and their bytes, both ways; pure, no topics, no broker, no clock, no points.

Source: Eclipse Sparkplug 3.0.0, 6.4.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from protocols.mqtt.codec import PAYLOAD_MAX, TIME_MAX_NS, Malformed, time_text
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from twin.quality import BAD, GOOD, UNCERTAIN, UNCERTAIN_LAST_USABLE

REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
COMPRESSED = "SPBV1.0_COMPRESSED"
SEQUENCE = 256  # numbers of messages run from 0 to 255
METRICS_MAX = 20_000  # of one payload: with names these fill PAYLOAD_MAX

INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FLOAT, DOUBLE, BOOLEAN, STRING, DATE_TIME, TEXT, UUID = range(
    1, 16
)
DATA_SET, BYTES, FILE, TEMPLATE = 16, 17, 18, 19
INT64_ARRAY, DOUBLE_ARRAY, BOOLEAN_ARRAY, STRING_ARRAY = 25, 31, 32, 33

QUALITY = "Quality"
GOOD_SAID, BAD_SAID, STALE_SAID = 192, 0, 500
_QUALITIES = {GOOD_SAID: GOOD, BAD_SAID: BAD, STALE_SAID: UNCERTAIN_LAST_USABLE}


@dataclass(frozen=True, slots=True)
class Kind:
    """A datatype: its name, the fields of the wire that may carry it, and its whole numbers' limits."""

    name: str
    fields: frozenset[str]
    low: int = 0
    high: int = 0

    @property
    def whole(self) -> bool:
        return self.high > 0


_WHOLE = frozenset({"int_value", "long_value"})
_REAL = frozenset({"float_value", "double_value"})
_WORDS = frozenset({"string_value"})
_PACKED = frozenset({"bytes_value"})
_ARRAYS = (
    "Int8Array", "Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array", "UInt32Array", "UInt64Array",
    "FloatArray", "DoubleArray", "BooleanArray", "StringArray", "DateTimeArray",
)  # fmt: skip
DATATYPES: Mapping[int, Kind] = {
    INT8: Kind("Int8", _WHOLE, -(2**7), 2**7 - 1),
    INT16: Kind("Int16", _WHOLE, -(2**15), 2**15 - 1),
    INT32: Kind("Int32", _WHOLE, -(2**31), 2**31 - 1),
    INT64: Kind("Int64", _WHOLE, -(2**63), 2**63 - 1),
    UINT8: Kind("UInt8", _WHOLE, 0, 2**8 - 1),
    UINT16: Kind("UInt16", _WHOLE, 0, 2**16 - 1),
    UINT32: Kind("UInt32", _WHOLE, 0, 2**32 - 1),
    UINT64: Kind("UInt64", _WHOLE, 0, 2**64 - 1),
    FLOAT: Kind("Float", _REAL),
    DOUBLE: Kind("Double", _REAL),
    BOOLEAN: Kind("Boolean", frozenset({"boolean_value"})),
    STRING: Kind("String", _WORDS),
    DATE_TIME: Kind("DateTime", _WHOLE, 0, 2**64 - 1),
    TEXT: Kind("Text", _WORDS),
    UUID: Kind("UUID", _WORDS),
    **{22 + n: Kind(name, _PACKED) for n, name in enumerate(_ARRAYS)},
}
_OTHERS = {DATA_SET: "DataSet", BYTES: "Bytes", FILE: "File", TEMPLATE: "Template", 20: "PropertySet"}
_PACKED_AS = {22: "<i1", 23: "<i2", 24: "<i4", 25: "<i8", 26: "<u1", 27: "<u2", 28: "<u4", 29: "<u8", 30: "<f4",
              31: "<f8", 34: "<i8"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as a message says it.

    Attributes:
        name: "" when only the alias is given.
        alias: None when only the name is given.
        datatype: 0 when the message leaves it to the birth.
        value: as the datatype wants it; None when it is null.
        quality: an OPC UA status code.
        stamp: ns since 1970 UTC, None when it is not said.
        historical: said late on purpose: what was, not what is.
        properties: the scalar ones, such as engUnit, engLow and engHigh.
    """

    name: str
    alias: int | None = None
    datatype: int = 0
    value: Any = None
    quality: int = GOOD
    stamp: int | None = None
    historical: bool = False
    properties: Mapping[str, Any] | None = None


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(payload: bytes) -> Wire:
    """
    Raises:
        Malformed: too large, or not a Sparkplug B payload.
    """
    wire = _wire(payload)
    if wire.uuid == COMPRESSED:
        wire = _wire(_unpressed(wire.body))
    if len(wire.metrics) > METRICS_MAX:
        raise Malformed("overflow", f"{len(wire.metrics)} metrics in one payload; {METRICS_MAX} are the limit")
    return wire


def _wire(payload: bytes) -> Wire:
    if len(payload) > PAYLOAD_MAX:
        raise Malformed("overflow", f"a payload of {len(payload)} bytes; {PAYLOAD_MAX} are the limit")
    try:
        wire: Wire = Wire.FromString(payload)
    except DecodeError as error:
        raise Malformed("decode", f"not a Sparkplug B payload: {error}") from None
    return wire


def _unpressed(body: bytes) -> bytes:
    """A payload inside a payload, as Eclipse Tahu's edge nodes compress them: DEFLATE or GZIP, whose heads differ."""
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        payload = reader.decompress(body, PAYLOAD_MAX)
    except zlib.error as error:
        raise Malformed("decode", f"a compressed payload cannot be read: {error}") from None
    if len(payload) == PAYLOAD_MAX:
        raise Malformed("overflow", f"a compressed payload holds {PAYLOAD_MAX} bytes or more")
    if not reader.eof:
        raise Malformed("decode", "a compressed payload ends too soon")
    return payload


def metrics_of(payload: bytes) -> list[Metric]:
    """What a birth offers, or any other message says, with values that cannot be read left out (None).

    Raises:
        Malformed: the payload as a whole cannot be read.
    """
    found = []
    for said in parse(payload).metrics:
        try:
            value = None if said.is_null else value_of(said, said.datatype)
        except Malformed:
            value = None
        alias = said.alias if said.HasField("alias") else None
        properties = properties_of(said) if said.HasField("properties") else None
        stamp = said.timestamp * 1_000_000 if 0 < said.timestamp * 1_000_000 < TIME_MAX_NS else None
        found.append(
            Metric(said.name, alias, said.datatype, value, quality_of(said), stamp, said.is_historical, properties)
        )
    return found


def value_of(said: Wire.Metric, datatype: int) -> Any:
    """A metric's value: bool, int, float, str, or a list; DateTime is a whole number of ms.

    Raises:
        Malformed: it is no value of its datatype, or of a datatype that is no value of a point.
    """
    field = said.WhichOneof("value")
    if field is None:
        raise Malformed("decode", "the metric carries no value and does not say that it is null")
    kind = DATATYPES.get(datatype)
    if kind is None:
        raise Malformed("type", f"a point cannot hold {_OTHERS.get(datatype, f'datatype {datatype}')}")
    if field not in kind.fields:
        raise Malformed("type", f"{kind.name} comes as {field}")
    value = getattr(said, field)
    if kind.whole:
        return _whole(kind, value, 32 if field == "int_value" else 64)
    return value if field != "bytes_value" else _unpacked(datatype, value)


def _whole(kind: Kind, carried: int, bits: int) -> int:
    """Negative numbers travel as two's complement: in the field's width, or (some senders) in the datatype's own."""
    if carried <= kind.high:
        return carried
    for width in (bits, (kind.high - kind.low).bit_length()):
        if kind.low < 0 and kind.low <= carried - (1 << width) < 0:
            return carried - (1 << width)
    raise Malformed("range", f"{carried} is no {kind.name}")


def _unpacked(datatype: int, packed: bytes) -> list[Any]:
    """Arrays are packed little-endian; booleans as a count and bits from the highest down, texts each ended by NUL."""
    if datatype == STRING_ARRAY:
        *texts, rest = packed.split(b"\0")
        if rest:
            raise Malformed("decode", "the last text of a StringArray does not end")
        try:
            return [text.decode() for text in texts]
        except UnicodeDecodeError as error:
            raise Malformed("decode", f"a text of a StringArray is not UTF-8: {error}") from None
    if datatype == BOOLEAN_ARRAY:
        count = struct.unpack_from("<I", packed)[0] if len(packed) >= 4 else -1
        if (count + 7) // 8 != len(packed) - 4:
            raise Malformed("decode", f"a BooleanArray of {len(packed)} bytes does not hold {count} booleans")
        bits = np.unpackbits(np.frombuffer(packed, np.uint8, offset=4), count=count)
        return [bool(bit) for bit in bits]
    form = np.dtype(_PACKED_AS[datatype])
    if len(packed) % form.itemsize:
        raise Malformed("decode", f"{len(packed)} bytes are no whole number of {DATATYPES[datatype].name} items")
    items: list[Any] = np.frombuffer(packed, form).tolist()
    return items


def time_of(ms: int) -> str:
    """A DateTime as text.

    Raises:
        Malformed: it is no time of our age.
    """
    if ms * 1_000_000 >= TIME_MAX_NS:
        raise Malformed("decode", f"{ms} ms is not a time of our age")
    return time_text(ms * 1_000_000)


def properties_of(said: Wire.Metric) -> dict[str, Any]:
    """The scalar properties; sets of properties are left out."""
    found: dict[str, Any] = {}
    for key, property in zip(said.properties.keys, said.properties.values, strict=False):
        field = property.WhichOneof("value")
        if field is None or property.is_null:
            found[key] = None
        elif field not in ("propertyset_value", "propertysets_value", "extension_value"):
            value = getattr(property, field)
            kind = DATATYPES.get(property.type)
            if kind is not None and kind.low < 0 and field in _WHOLE and value > kind.high:
                value -= 1 << (32 if field == "int_value" else 64)
            found[key] = value
    return found


def quality_of(said: Wire.Metric) -> int:
    """The metric's property Quality as a status code; Good where it has none (6.4.14)."""
    if not said.HasField("properties"):
        return GOOD
    code = properties_of(said).get(QUALITY, GOOD_SAID)
    if not isinstance(code, int) or isinstance(code, bool):
        return BAD
    known = _QUALITIES.get(code)
    # Else the older OPC codes: their highest two of eight bits say good, uncertain or bad.
    return known if known is not None else {3: GOOD, 1: UNCERTAIN}.get(code >> 6, BAD)


# --- writing ---------------------------------------------------------------------------------------------------------

_FIELD_OF: Mapping[int, str] = {
    **dict.fromkeys((INT8, INT16, INT32, UINT8, UINT16, UINT32), "int_value"),
    **dict.fromkeys((INT64, UINT64, DATE_TIME), "long_value"),
    FLOAT: "float_value",
    DOUBLE: "double_value",
    BOOLEAN: "boolean_value",
    **dict.fromkeys((STRING, TEXT, UUID), "string_value"),
    **dict.fromkeys((INT64_ARRAY, DOUBLE_ARRAY, BOOLEAN_ARRAY, STRING_ARRAY), "bytes_value"),
}
_FLOAT_MAX = float(np.finfo(np.float32).max)


def _boolean(kind: Kind, value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is no {kind.name}")
    return bool(value)


def _carried(kind: Kind, value: Any) -> int:
    if not isinstance(value, int | float) or value != int(value) or not kind.low <= value <= kind.high:
        raise ValueError(f"{value!r} is no {kind.name}")
    bits = 64 if kind.high >= 2**32 or kind.low < -(2**31) else 32
    return int(value) & ((1 << bits) - 1)


def _real(kind: Kind, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no {kind.name}")
    if kind.name == "Float" and abs(value) > _FLOAT_MAX:
        raise ValueError(f"{value!r} does not fit a Float")
    return float(value)


def _words(kind: Kind, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no {kind.name}")
    return value


def _packed(kind: Kind, value: Any) -> bytes:
    """A list, as `_unpacked` reads it."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no {kind.name}")
    try:
        if kind.name == "StringArray":
            return b"".join(_words(kind, text).encode() + b"\0" for text in value)
        if kind.name == "BooleanArray":
            bits = np.packbits(np.array([_boolean(kind, item) for item in value], np.bool_))
            return struct.pack("<I", len(value)) + bits.tobytes()
        return struct.pack(f"<{len(value)}{'q' if kind.name == 'Int64Array' else 'd'}", *value)
    except struct.error as misfit:
        raise ValueError(f"{value!r} is no {kind.name}: {misfit}") from None


_CARRY: Mapping[str, Callable[[Kind, Any], Any]] = {
    "int_value": _carried,
    "long_value": _carried,
    "float_value": _real,
    "double_value": _real,
    "boolean_value": _boolean,
    "string_value": _words,
    "bytes_value": _packed,
}


def put_value(place: Wire.Metric, datatype: int, value: Any) -> None:
    """
    Raises:
        ValueError: it is no value of the datatype, or the datatype cannot be written.
    """
    field = _FIELD_OF.get(datatype)
    if field is None:
        kind = DATATYPES.get(datatype)
        raise ValueError(f"{_OTHERS.get(datatype, kind.name if kind else f'datatype {datatype}')} cannot be written")
    setattr(place, field, _CARRY[field](DATATYPES[datatype], value))


def encode(metrics: Iterable[Metric], now_ms: int, seq: int | None = None, typed: bool = True) -> bytes:
    """A payload. Commands carry no `seq` (6.4.21), deaths of nodes neither.

    Args:
        typed: say the datatypes, as births and commands do; data leaves them to the birth.

    Raises:
        ValueError: a value does not fit its datatype.
    """
    wire = Wire(timestamp=now_ms)
    if seq is not None:
        wire.seq = seq
    for metric in metrics:
        place = wire.metrics.add()
        if metric.name:
            place.name = metric.name
        if metric.alias is not None:
            place.alias = metric.alias
        if metric.stamp is not None:
            place.timestamp = metric.stamp // 1_000_000
        if typed and metric.datatype:
            place.datatype = metric.datatype
        if metric.historical:
            place.is_historical = True
        if metric.value is None:
            place.is_null = True
        else:
            put_value(place, metric.datatype, metric.value)
        _put_properties(place, metric)
    payload: bytes = wire.SerializeToString()
    return payload


def _put_properties(place: Wire.Metric, metric: Metric) -> None:
    said = dict(metric.properties or {})
    if metric.quality != GOOD:
        said[QUALITY] = (GOOD_SAID, STALE_SAID, BAD_SAID, BAD_SAID)[metric.quality >> 30]
    for key, value in said.items():
        datatype = _property_type(value)
        place.properties.keys.append(key)
        property = place.properties.values.add(type=datatype)
        field = _FIELD_OF[datatype]
        setattr(property, field, _CARRY[field](DATATYPES[datatype], value))


def _property_type(value: Any) -> int:
    if isinstance(value, str):
        return STRING
    return INT32 if isinstance(value, int) and DATATYPES[INT32].low <= value <= DATATYPES[INT32].high else DOUBLE
