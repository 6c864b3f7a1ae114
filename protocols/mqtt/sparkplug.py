"""Sparkplug B's names: topics, addresses, ids and the state of hosts; pure, no payloads of edge nodes, no broker, no clock.

Source: Eclipse Sparkplug 3.0.0, chapter 4 and 6.4.24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from protocols.mqtt.codec import TOPIC_BYTES_MAX, Malformed

NAMESPACE = "spBv1.0"
ADDRESS_FORM = f"{NAMESPACE}/GROUP/NODE#METRIC or {NAMESPACE}/GROUP/NODE/DEVICE#METRIC"
KINDS = frozenset({"NBIRTH", "NDEATH", "NDATA", "NCMD", "DBIRTH", "DDEATH", "DDATA", "DCMD"})


@dataclass(frozen=True, slots=True)
class Source:
    """An edge node, or a device behind it; `device` is "" for the node itself."""

    group: str
    node: str
    device: str = ""

    @property
    def edge(self) -> Source:
        """The edge node that speaks for it."""
        return Source(self.group, self.node)

    def topic(self, kind: str) -> str:
        """`kind`: BIRTH, DEATH, DATA or CMD."""
        if self.device:
            return f"{NAMESPACE}/{self.group}/D{kind}/{self.node}/{self.device}"
        return f"{NAMESPACE}/{self.group}/N{kind}/{self.node}"

    def __str__(self) -> str:
        return "/".join((NAMESPACE, self.group, self.node, self.device)).rstrip("/")


@dataclass(frozen=True, slots=True)
class Address:
    """A metric of an edge node or device."""

    source: Source
    metric: str


def parse_address(text: str) -> Address:
    """
    Raises:
        ValueError: another form; the message gives the right one.
    """
    path, mark, metric = text.partition("#")
    parts = path.split("/")
    if not mark or not metric or parts[0] != NAMESPACE or len(parts) not in (3, 4) or not all(parts):
        raise ValueError(f"{text!r} is not a Sparkplug address; the form is {ADDRESS_FORM}")
    if any(c in path for c in "+\0") or len(text.encode(errors="replace")) > TOPIC_BYTES_MAX:
        raise ValueError(f"{text!r}: + and NUL are no part of a Sparkplug id; the form is {ADDRESS_FORM}")
    if parts[1] == "STATE":
        raise ValueError(f"{text!r}: STATE is no group but the topic of the hosts; the form is {ADDRESS_FORM}")
    return Address(Source(*parts[1:]), metric)


def check_address(text: str, point_type: str, writable: bool) -> None:
    """
    Raises:
        ValueError: not the address of a metric. What type it has, only its birth says.
    """
    parse_address(text)


def parse_topic(topic: bytes) -> tuple[str, Source] | None:
    """-> (kind of message, whose it is); None for topics that are not of an edge node or device."""
    try:
        parts = topic.decode().split("/")
    except UnicodeDecodeError:
        return None
    if len(parts) not in (4, 5) or parts[0] != NAMESPACE or parts[2] not in KINDS or not all(parts):
        return None
    if (parts[2][0] == "D") != (len(parts) == 5):
        return None
    return parts[2], Source(parts[1], *parts[3:])


def state_topic(host_id: str) -> str:
    return f"{NAMESPACE}/STATE/{host_id}"


def encode_state(online: bool, now_ms: int) -> bytes:
    """Birth or death of a host application (5.13, 6.4.24)."""
    return orjson.dumps({"online": online, "timestamp": now_ms})


def parse_state(payload: bytes) -> tuple[bool, int]:
    """-> (online, timestamp in ms).

    Raises:
        Malformed: it is neither a birth nor a death of a host.
    """
    try:
        said = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise Malformed("decode", f"a host's STATE is not JSON: {error}") from None
    online, stamp = (said.get("online"), said.get("timestamp")) if isinstance(said, dict) else (None, None)
    if not isinstance(online, bool) or not isinstance(stamp, int) or isinstance(stamp, bool):
        raise Malformed("decode", 'a host\'s STATE is {"online": true or false, "timestamp": ms}')
    return online, stamp


def check_id(text: str) -> str:
    """
    Raises:
        ValueError: it cannot be a part of a Sparkplug topic.
    """
    if not text or any(c in text for c in "/+#\0"):
        raise ValueError(f"{text!r} is not a Sparkplug id; it has at least one character, and no / + # or NUL")
    return text


def filters(edges: Sequence[Source]) -> list[str]:
    """What a host subscribes to so that it hears each edge node and all its devices, and no commands."""
    kinds = ("BIRTH", "DATA", "DEATH")
    return [topic for edge in edges for kind in kinds for topic in _of_edge(edge, kind)]


def _of_edge(edge: Source, kind: str) -> tuple[str, str]:
    return edge.topic(kind), f"{NAMESPACE}/{edge.group}/D{kind}/{edge.node}/+"
