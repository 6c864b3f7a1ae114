"""MQTT control packets as bytes and back, except the PUBLISH that comes in bulk (frames.py); pure, knows no session.

Sources: MQTT 3.1.1 and MQTT 5.0 (OASIS); section numbers are those of 5.0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK = range(0x10, 0xA0, 0x10)
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(0xA0, 0x100, 0x10)
"""First byte of each packet, flags left out (2.1.2)."""

LEVELS = {"3.1.1": 4, "5": 5}  # 3.1.2.2
REMAINING_MAX = 268_435_455  # 2.1.4: what four bytes of length can say
TEXT_BYTES_MAX = 65_535  # 1.5.4

# Properties (2.2.2.2) that we name.
SESSION_EXPIRY, ASSIGNED_ID, KEEP_ALIVE, REASON, RECEIVE_MAX = 0x11, 0x12, 0x13, 0x1F, 0x21
ALIAS_MAX, ALIAS, QOS_MAX, RETAIN_AVAILABLE, USER, PACKET_MAX, SUBSCRIPTION_ID = (
    0x22,
    0x23,
    0x24,
    0x25,
    0x26,
    0x27,
    0x0B,
)

BYTE, SHORT, LONG, VARIABLE, TEXT, BLOB, PAIR = range(1, 8)
KINDS = {
    0x01: BYTE, 0x02: LONG, 0x03: TEXT, 0x08: TEXT, 0x09: BLOB, 0x0B: VARIABLE, 0x11: LONG, 0x12: TEXT, 0x13: SHORT,
    0x15: TEXT, 0x16: BLOB, 0x17: BYTE, 0x18: LONG, 0x19: BYTE, 0x1A: TEXT, 0x1C: TEXT, 0x1F: TEXT, 0x21: SHORT,
    0x22: SHORT, 0x23: SHORT, 0x24: BYTE, 0x25: BYTE, 0x26: PAIR, 0x27: LONG, 0x28: BYTE, 0x29: BYTE, 0x2A: BYTE,
}  # fmt: skip
"""How the value of each property is written."""

_FIXED = {BYTE: struct.Struct(">B"), SHORT: struct.Struct(">H"), LONG: struct.Struct(">I")}

# 2.4; what an operator reads. Codes below 0x80 are no failures.
REASONS = {
    0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error", 0x83: "implementation specific error",
    0x84: "unsupported protocol version", 0x85: "client identifier not valid", 0x86: "bad user name or password",
    0x87: "not authorized", 0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned",
    0x8B: "server shutting down", 0x8C: "bad authentication method", 0x8D: "keep alive timeout",
    0x8E: "session taken over", 0x8F: "topic filter invalid", 0x90: "topic name invalid",
    0x91: "packet identifier in use", 0x92: "packet identifier not found", 0x93: "receive maximum exceeded",
    0x94: "topic alias invalid", 0x95: "packet too large", 0x96: "message rate too high", 0x97: "quota exceeded",
    0x98: "administrative action", 0x99: "payload format invalid", 0x9A: "retain not supported",
    0x9B: "QoS not supported", 0x9C: "use another server", 0x9D: "server moved",
    0x9E: "shared subscriptions not supported", 0x9F: "connection rate exceeded", 0xA0: "maximum connect time",
    0xA1: "subscription identifiers not supported", 0xA2: "wildcard subscriptions not supported",
}  # fmt: skip
TAKEN_OVER = 0x8E

_OLD_REFUSALS = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}  # 3.1.1, table 3.1, in the words of 5.0


class BrokerFault(Exception):
    """The broker broke the protocol; `code` is what a DISCONNECT would tell it."""

    def __init__(self, words: str, code: int = 0x81) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when we go without a word."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Options:
    """How to enter a broker.

    Attributes:
        client_id: who we are to the broker; "" lets it choose (a clean start only).
        version: `3.1.1` or `5`.
        keepalive_s: silence after which either side doubts the other.
        clean: forget what the broker keeps for this client id.
        session_expiry_s: how long the broker keeps the session after the connection (5 only; 3.1.1 keeps it for as
            long as it likes where `clean` is false).
    """

    client_id: str
    version: str = "3.1.1"
    keepalive_s: int = 15
    clean: bool = True
    session_expiry_s: int = 0
    user: str | None = None
    password: str | None = None
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """A CONNACK. `code` 0 takes us in; any other is one of REASONS. Limits are what the broker allows us."""

    session_present: bool
    code: int
    words: str
    keepalive_s: int | None = None
    receive_max: int = 65_535
    packet_max: int = REMAINING_MAX + 5
    qos_max: int = 2
    retain_available: bool = True
    assigned_id: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """One subscription: `fresh_only` asks for retained messages only where the subscription is new (5 only)."""

    topic: str
    qos: int
    fresh_only: bool = False


def reason(code: int, words: str = "") -> str:
    """A reason code in words, with the broker's own where it gave some."""
    known = REASONS.get(code, "")
    return f"{known or 'reason'} (0x{code:02X}){': ' + words if words else ''}"


# Encoding


def variable(number: int) -> bytes:
    """1.5.5: seven bits a byte, the lowest first."""
    made = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        made.append(low | (0x80 if number else 0))
        if not number:
            return bytes(made)


def text(words: str | bytes) -> bytes:
    """
    Raises:
        ValueError: too long, or not to be said in UTF-8.
    """
    raw = words.encode() if isinstance(words, str) else words
    if len(raw) > TEXT_BYTES_MAX:
        raise ValueError(f"{len(raw)} bytes; a text of MQTT has at most {TEXT_BYTES_MAX}")
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) > REMAINING_MAX:
        raise ValueError(f"a packet of {len(body)} bytes; {REMAINING_MAX} are the limit")
    return bytes((first,)) + variable(len(body)) + body


def properties(said: Sequence[tuple[int, Any]]) -> bytes:
    made = b"".join(bytes((identity,)) + _property(KINDS[identity], value) for identity, value in said)
    return variable(len(made)) + made


def _property(kind: int, value: Any) -> bytes:
    if kind in _FIXED:
        return _FIXED[kind].pack(value)
    if kind == VARIABLE:
        return variable(value)
    return text(value) if kind != PAIR else text(value[0]) + text(value[1])


def connect(options: Options, said: Sequence[tuple[int, Any]] = ()) -> bytes:
    """3.1; `said`: properties, for version 5."""
    will, level = options.will, LEVELS[options.version]
    flags = options.clean << 1
    payload = [text(options.client_id)]
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload += [properties(()) if level == 5 else b"", text(will.topic), text(will.payload)]
    if options.user is not None:
        flags |= 0x80
        payload.append(text(options.user))
    if options.password is not None:
        flags |= 0x40
        payload.append(text(options.password))
    head = text("MQTT") + bytes((level, flags)) + options.keepalive_s.to_bytes(2, "big")
    return packet(CONNECT, head, properties(said) if level == 5 else b"", *payload)


def publish(
    version: str, topic: str | bytes, payload: bytes, qos: int, retain: bool, identity: int = 0, dup: bool = False
) -> bytes:
    first = PUBLISH | dup << 3 | qos << 1 | retain
    middle = identity.to_bytes(2, "big") if qos else b""
    return packet(first, text(topic), middle, b"\0" if version == "5" else b"", payload)


def subscribe(version: str, identity: int, filters: Sequence[Filter]) -> bytes:
    """3.8; what we publish ourselves comes back to us in both versions."""
    bits = 0x10 if version == "5" else 0  # Retain Handling 1, 3.8.3.1
    rows = [text(f.topic) + bytes((f.qos | (bits if f.fresh_only else 0),)) for f in filters]
    return packet(SUBSCRIBE | 2, identity.to_bytes(2, "big"), b"\0" if version == "5" else b"", *rows)


def unsubscribe(version: str, identity: int, topics: Sequence[str]) -> bytes:
    rows = [text(topic) for topic in topics]
    return packet(UNSUBSCRIBE | 2, identity.to_bytes(2, "big"), b"\0" if version == "5" else b"", *rows)


def acknowledgement(first: int, identity: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP without a complaint; the same in both versions."""
    return bytes((first | (2 if first == PUBREL else 0), 2)) + identity.to_bytes(2, "big")


def disconnect(version: str, code: int = 0) -> bytes:
    return bytes((DISCONNECT, 1, code)) if version == "5" and code else bytes((DISCONNECT, 0))


PING = bytes((PINGREQ, 0))


# Decoding


class Body:
    """The inside of one packet, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """
        Raises:
            BrokerFault: there are not so many bytes.
        """
        if count > self.rest:
            raise BrokerFault(f"a packet ends {count - self.rest} bytes too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, kind: int) -> int:
        if kind != VARIABLE:
            form = _FIXED[kind]
            (number,) = form.unpack(self.take(form.size))
            return int(number)
        value = 0
        for shift in range(0, 28, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise BrokerFault("a length of more than four bytes")

    def text(self) -> str:
        try:
            return self.take(self.number(SHORT)).decode()
        except UnicodeDecodeError:
            raise BrokerFault("a text that is not UTF-8") from None

    def properties(self) -> dict[int, Any]:
        """By identifier; of those that may repeat (user properties, subscription ids) the last one.

        Raises:
            BrokerFault: malformed, unknown, or said twice.
        """
        said: dict[int, Any] = {}
        inside = Body(self.take(self.number(VARIABLE)))
        while inside.rest:
            identity = inside.number(VARIABLE)
            kind = KINDS.get(identity)
            if kind is None:
                raise BrokerFault(f"property 0x{identity:02X} is none of MQTT 5")
            if identity in said and identity not in (USER, SUBSCRIPTION_ID):
                raise BrokerFault(f"property 0x{identity:02X} twice", 0x82)
            said[identity] = inside._value(kind)
        return said

    def _value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == BLOB:
            return self.take(self.number(SHORT))
        if kind == PAIR:
            return self.text(), self.text()
        return self.number(kind)


def read_welcome(version: str, body: bytes) -> Welcome:
    """3.2.

    Raises:
        BrokerFault: not a CONNACK.
    """
    packet_body = Body(body)
    flags, code = packet_body.take(2)
    if flags & 0xFE:
        raise BrokerFault("a CONNACK with flags that do not exist")
    if version != "5":
        if code:
            code = _OLD_REFUSALS.get(code, 0x80)
        return Welcome(bool(flags), code, "")
    said = packet_body.properties() if packet_body.rest else {}  # a 3.1.1 broker refuses 5 with two bytes
    if not said and 0 < code < 0x80:
        code = _OLD_REFUSALS.get(code, 0x80)
    if said.get(RECEIVE_MAX) == 0 or said.get(PACKET_MAX) == 0:
        raise BrokerFault("a CONNACK that allows nothing", 0x82)
    return Welcome(
        bool(flags),
        code,
        said.get(REASON, ""),
        said.get(KEEP_ALIVE),
        said.get(RECEIVE_MAX, 65_535),
        said.get(PACKET_MAX, REMAINING_MAX + 5),
        said.get(QOS_MAX, 2),
        bool(said.get(RETAIN_AVAILABLE, 1)),
        said.get(ASSIGNED_ID),
    )


def read_acknowledgement(version: str, body: bytes) -> tuple[int, int, str]:
    """PUBACK, PUBREC, PUBREL, PUBCOMP -> (packet id, reason code, the broker's words).

    Raises:
        BrokerFault: malformed.
    """
    inside = Body(body)
    identity = inside.number(SHORT)
    if version != "5" or not inside.rest:
        return identity, 0, ""
    code = inside.number(BYTE)
    said = inside.properties() if inside.rest else {}
    return identity, code, said.get(REASON, "")


def read_granted(version: str, body: bytes) -> tuple[int, bytes]:
    """SUBACK or UNSUBACK -> (packet id, one code a topic: from 0x80 on it is refused).

    Raises:
        BrokerFault: malformed.
    """
    inside = Body(body)
    identity = inside.number(SHORT)
    if version == "5":
        inside.properties()
    return identity, inside.take(inside.rest)


def read_farewell(body: bytes) -> tuple[int, str]:
    """DISCONNECT of version 5 -> (reason code, the broker's words).

    Raises:
        BrokerFault: malformed.
    """
    inside = Body(body)
    code = inside.number(BYTE) if inside.rest else 0
    said = inside.properties() if inside.rest else {}
    return code, said.get(REASON, "")
