"""MQTT payloads as values and back: topics, JSON pointers, times and qualities; pure, no broker and no clock.

Sources: RFC 6901 (JSON pointer), MQTT 5.0 section 4.7 (topics), RFC 3339 (times).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import msgpack
import orjson

from protocols.mqtt import layout as rows
from twin.quality import BAD, GOOD, UNCERTAIN
from twin.rules import Clash

PAYLOAD_MAX = 1 << 20  # bytes of one payload; a thousand points with names take about 100 kB
TOPIC_BYTES_MAX = 65535  # MQTT 5.0, 1.5.4
DEPTH_MAX = 32  # parts of one pointer

ENDPOINT_FORM = "mqtt://[user:password@]host:port, or mqtts:// for TLS"
SCHEMES = ("mqtt", "mqtts")
ADDRESS_FORM = "topic or topic#/json/pointer or topic#N (without a pointer: /value)"
SPARKPLUG = "sparkplug"
FORMATS = ("auto", "json", "msgpack", "packed", SPARKPLUG)
DEFAULT_POINTER = ("value",)
IN_TOPIC = "{value}"  # a level of a topic that is the value itself

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS_FROM = 1e11  # a number above this is in ms: as seconds it would lie beyond the year 5000, as ms it is 1973
TIME_MAX_NS = 1 << 62  # year 2116
_QUALITIES = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}


class Malformed(Exception):
    """A payload that says nothing we understand: `reason` is a dead letter's."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a broker is and who we are to it; `secure`: over TLS."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """A topic, and the path to the value in its payload."""

    topic: str
    pointer: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a payload says about one address; `stamp` in ns since 1970 UTC, None when it says no time."""

    value: Any
    quality: int
    stamp: int | None


def parse_endpoint(endpoint: str) -> Endpoint:
    """
    Raises:
        ValueError: another form; the message gives the right one.
    """
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; the form is {ENDPOINT_FORM}") from None
    if parts.scheme not in SCHEMES or not parts.hostname or port is None or parts.path not in ("", "/"):
        raise ValueError(f"{endpoint!r} is not an MQTT endpoint; the form is {ENDPOINT_FORM}")
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return Endpoint(parts.hostname, port, user, password, parts.scheme == "mqtts")


def check_endpoint(endpoint: str) -> None:
    """
    Raises:
        ValueError: not an MQTT endpoint.
    """
    parse_endpoint(endpoint)


def parse_address(text: str) -> Address:
    """
    Raises:
        ValueError: not a topic, or not a JSON pointer behind it.
    """
    topic, mark, rest = text.partition("#")
    if not topic or "+" in topic or "\0" in topic or len(topic.encode(errors="replace")) > TOPIC_BYTES_MAX:
        raise ValueError(f"{text!r} is not an MQTT address; the form is {ADDRESS_FORM}; wildcards name no point")
    if "{" in topic and topic.split("/").count(IN_TOPIC) != (1 if IN_TOPIC in topic else 0):
        raise ValueError(f"{text!r}: one level of a topic can be {IN_TOPIC}, the whole of it and once")
    if IN_TOPIC in topic and mark:
        raise ValueError(f"{text!r}: the value stands in the topic; remove the # and what follows")
    if not mark:
        return Address(topic, DEFAULT_POINTER)
    if is_index(rest):
        return Address(topic, (rest,))
    if rest and not rest.startswith("/"):
        raise ValueError(f"{text!r}: a JSON pointer starts with /; the form is {ADDRESS_FORM}")
    pointer = tuple(part.replace("~1", "/").replace("~0", "~") for part in rest.split("/")[1:])
    if len(pointer) > DEPTH_MAX:
        raise ValueError(f"{text!r}: a pointer has at most {DEPTH_MAX} parts")
    return Address(topic, pointer)


def check_address(text: str, point_type: str, writable: bool) -> None:
    """
    Raises:
        ValueError: not an address, or one that cannot be written to although the point is writable.
    """
    address = parse_address(text)
    if writable and any(part.isdigit() for part in address.pointer):
        raise ValueError(f"{text!r}: a value inside a list cannot be written; make the pointer name members only")
    if writable and IN_TOPIC in address.topic:
        raise ValueError(f"{text!r}: a value in a topic cannot be written; write to a topic of its own")


def check_packed_address(text: str, point_type: str, writable: bool) -> None:
    """Of a device whose payloads are packed.

    Raises:
        ValueError: as check_address, or the place in the row is no number.
    """
    check_address(text, point_type, writable)
    address = parse_address(text)
    if address.pointer != DEFAULT_POINTER and not (len(address.pointer) == 1 and is_index(address.pointer[0])):
        raise ValueError(f"{text!r}: values of a packed payload have numbers; the form is topic or topic#N")
    if point_type not in ("double", "integer", "boolean"):
        raise ValueError(f"{text!r}: a packed payload holds numbers, and the point is {point_type}")


def check_settings(endpoint: str, settings: Mapping[str, Any]) -> Sequence[Clash]:
    """What does not go together in the settings of a device."""
    found: list[Clash] = []
    secure = endpoint.startswith("mqtts:")
    given, other = settings["user_certificate"], settings["user_key"]
    if (given is None) != (other is None):
        alone, missing = ("user_certificate", "user_key") if other is None else ("user_key", "user_certificate")
        found.append(Clash(alone, f"{alone} without {missing}", f"add {missing} = …"))
    for key in ("user_certificate", "user_key", "system_trust"):
        if settings[key] and not secure:
            found.append(Clash(key, f"{key} means nothing without TLS", "write the endpoint with mqtts://"))
    for key in ("user_certificate", "user_key"):
        if settings[key] is not None and not _is_inside(settings[key]):
            message = f"{key} = {settings[key]!r} leads out of the folder of certificates"
            found.append(Clash(key, message, 'name a file in it, such as "own/broker_client.der"'))
    for key in ("prefix", "status_topic", "share"):
        text = settings[key]
        if text is not None and (not text or set(text) & set("+#\0") or (key == "share" and "/" in text)):
            found.append(Clash(key, f"{key} = {text!r} is no part of a topic", "write it without +, # and wildcards"))
    return found


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(path.strip()) and not pure.is_absolute() and ".." not in pure.parts


def decode_payload(payload: bytes, form: str, layout: str = rows.LAYOUTS[0]) -> Any:
    """The payload as plain values, or as a packed row.

    `auto` takes JSON where it is JSON and else msgpack, but no msgpack of a single small integer: every stray letter
    is one of those (`x` is 120), and a value must not be believed by accident.

    Raises:
        Malformed: it is neither, or too large.
    """
    if len(payload) > PAYLOAD_MAX:
        raise Malformed("overflow", f"a payload of {len(payload)} bytes; {PAYLOAD_MAX} are the limit")
    if not payload:
        raise Malformed("decode", "the payload is empty")
    if form == "packed":
        row = rows.read(payload, rows.Layout.of(layout))
        if row is None:
            raise Malformed("decode", f"{len(payload)} bytes are no payload of layout {layout!r}")
        return row
    if form != "msgpack":
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            if form == "json":
                raise Malformed("decode", f"not JSON: {error}") from None
            if not 0x80 <= payload[0] <= 0xDF:
                raise Malformed("decode", f"neither JSON ({error}) nor a msgpack document") from None
    try:
        return msgpack.unpackb(payload)
    except (ValueError, OverflowError, TypeError) as error:
        kinds = "neither JSON nor msgpack" if form == "auto" else "not msgpack"
        raise Malformed("decode", f"{kinds}: {error or type(error).__name__}") from None


def look_up(document: Any, pointer: Sequence[str], structured: bool = False) -> Found | None:
    """The value at the pointer with its neighbours `time` and `quality`; None when the document has no such place.

    Args:
        structured: objects and lists are values, too.

    A bare scalar, or a bare list where a structured value is wanted, answers the default pointer. Where the value's own
    container says no time or quality, the whole document's count.

    Raises:
        Malformed: the time or the quality makes no sense.
    """
    if isinstance(document, rows.Row):
        return _packed(document, pointer)
    is_bare = not isinstance(document, dict | list) or (structured and isinstance(document, list))
    if is_bare and (not isinstance(document, list) or tuple(pointer) == DEFAULT_POINTER):
        at_root = tuple(pointer) in (DEFAULT_POINTER, ())
        return Found(document, GOOD, None) if at_root else None
    container: Any = None
    value: Any = document
    for part in pointer:
        container = value
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and is_index(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    if isinstance(value, dict | list) and not structured:
        raise Malformed("type", f"the value is {_brief(value)}")
    if value is document:  # then what lies inside it is the value's own
        return Found(value, GOOD, None)
    quality = _neighbour(document, container, "quality")
    stamp = _neighbour(document, container, "time")
    return Found(
        value, GOOD if quality is None else parse_quality(quality), None if stamp is None else parse_time(stamp)
    )


def _packed(row: rows.Row, pointer: Sequence[str]) -> Found | None:
    index = 0 if tuple(pointer) in (DEFAULT_POINTER, ()) else int(pointer[0])
    if index >= len(row.values):
        return None
    stamp = row.stamps[index]
    return Found(row.values[index], GOOD, None if stamp == rows.NO_TIME else stamp)


def is_index(part: str) -> bool:
    """RFC 6901, 4: digits without a leading zero; nine of them are more than any payload holds."""
    return part.isascii() and part.isdigit() and len(part) <= 9 and (part == "0" or part[0] != "0")


def _neighbour(document: Any, container: Any, key: str) -> Any:
    for place in (container, document):
        if isinstance(place, dict) and place.get(key) is not None:
            return place[key]
    return None


def parse_quality(said: Any) -> int:
    """A status code of 32 bits, or one of the words good, uncertain and bad.

    Raises:
        Malformed: neither.
    """
    if isinstance(said, str) and said.lower() in _QUALITIES:
        return _QUALITIES[said.lower()]
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < 2**32:
        return said
    raise Malformed("decode", f"{_brief(said)} is not a quality")


def parse_time(said: Any) -> int:
    """RFC 3339 text (UTC where it names no zone), or seconds or ms since 1970 -> ns since 1970 UTC.

    Raises:
        Malformed: neither.
    """
    try:
        stamp = _time_ns(said)
    except (ValueError, OverflowError, TypeError) as error:
        raise Malformed("decode", f"{_brief(said)} is not a time: {error}") from None
    if not 0 <= stamp < TIME_MAX_NS:
        raise Malformed("decode", f"{_brief(said)} is not a time of our age")
    return stamp


def _brief(said: Any) -> str:
    """A few words of what was said; never of its inside, which may be nested deeper than Python prints."""
    if isinstance(said, dict | list):
        return "an object" if isinstance(said, dict) else "a list"
    return repr(str(said)[:80])


def _time_ns(said: Any) -> int:
    if isinstance(said, str):
        moment = datetime.fromisoformat(said)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return (aware - EPOCH) // timedelta(microseconds=1) * 1_000
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise TypeError("it is neither text nor a number")
    if not math.isfinite(said):
        raise ValueError("it is not finite")
    unit_ns = 1_000_000 if abs(said) >= MS_FROM else 1_000_000_000
    return said * unit_ns if isinstance(said, int) else round(said * unit_ns)


def time_text(time_ns: int) -> str:
    """ns since 1970 UTC as RFC 3339 text, exact to the microsecond."""
    return (EPOCH + timedelta(microseconds=time_ns // 1_000)).isoformat().replace("+00:00", "Z")


def encode_payload(document: Any, form: str) -> bytes:
    """`auto` writes JSON; a packed row is written by `rows.write`."""
    return bytes(msgpack.packb(document)) if form == "msgpack" else orjson.dumps(document)


def place(document: dict[str, Any], pointer: Sequence[str], value: Any, extra: dict[str, Any]) -> None:
    """Put a value into a document at a pointer of member names, with its neighbours."""
    container = document
    for part in pointer[:-1]:
        container = container.setdefault(part, {})
    container.update(extra)
    container[pointer[-1]] = value


def encode_set(pointer: Sequence[str], value: Any, now: int, form: str, layout: str = rows.LAYOUTS[0]) -> bytes:
    """The payload of a write: the value at its pointer and the time beside it; a bare value where there is no pointer."""
    if form == "packed":
        return rows.write([value], now, rows.Layout.of(layout))
    if not pointer:
        return encode_payload(value, form)
    document: dict[str, Any] = {}
    place(document, pointer, value, {"time": time_text(now)})
    return encode_payload(document, form)


def level_document(level: bytes, payload: bytes) -> dict[str, Any]:
    """What a message says whose value is a level of its topic: a number or true or false where it reads as one, else
    text; time and quality come from the payload, where that has them.

    Raises:
        Malformed: the level is not UTF-8.
    """
    try:
        text = level.decode()
    except UnicodeDecodeError:
        raise Malformed("decode", "the value in the topic is not UTF-8") from None
    try:
        value = orjson.loads(level)
    except orjson.JSONDecodeError:
        value = text
    document: dict[str, Any] = {"value": text if isinstance(value, dict | list) or value is None else value}
    try:
        said = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return document
    return {**said, **document} if isinstance(said, dict) else document
