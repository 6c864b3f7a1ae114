"""What a Sparkplug edge node says and obeys: wills, births, data by exception, commands; pure: no broker, no clock.

Source: Eclipse Sparkplug 3.0.0, 5.6 and 6.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocols.mqtt.codec import Malformed
from protocols.mqtt.sparkplug import NAMESPACE, Source, parse_topic
from protocols.mqtt.sparkplug_metrics import (
    BD_SEQ,
    BOOLEAN,
    INT64,
    REBIRTH,
    SEQUENCE,
    Metric,
    encode,
    parse,
    value_of,
)
from twin.quality import BAD

DATA_MAX = 1_000  # metrics of one message: some 30 kB, so that one does not hold up a slow line for long
ALIAS_FIRST = 1  # 0 is a valid alias, which some hosts take for none


@dataclass(frozen=True, slots=True)
class Offer:
    """A metric that the node or one of its devices has; `device` is "" for the node's own."""

    device: str
    name: str
    datatype: int
    properties: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A value of the offer at `place`; `stamp` in ns since 1970 UTC. `always`: said even when nothing changed."""

    place: int
    value: Any
    quality: int
    stamp: int
    always: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """To be published at QoS 0, not retained."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Orders:
    """What a command wants: a rebirth, or values for offers."""

    rebirth: bool
    writes: tuple[tuple[int, Any], ...]


class EdgeNode:
    """One edge node with its devices. Offers are known by their places."""

    def __init__(self, edge: Source, offers: Sequence[Offer], bd_seq: int = 0) -> None:
        self.edge = edge
        self._bd_seq = (bd_seq - 1) % SEQUENCE
        self._seq = 0
        self.offer(offers)

    def offer(self, offers: Sequence[Offer]) -> None:
        """These are the metrics from the next birth on; values of before are forgotten."""
        self.is_born = False
        self._offers = offers
        self._held = [Change(place, None, BAD, 0) for place in range(len(offers))]
        self._heard = False
        self._devices: dict[str, list[int]] = {"": []}
        for place, offer in enumerate(offers):
            self._devices.setdefault(offer.device, []).append(place)
        self._place = {(offer.device, offer.name): place for place, offer in enumerate(offers)}

    @property
    def has_values(self) -> bool:
        return self._heard

    @property
    def filters(self) -> list[str]:
        """Where commands come."""
        return [self.edge.topic("CMD"), f"{NAMESPACE}/{self.edge.group}/DCMD/{self.edge.node}/+"]

    def will(self, now_ms: int) -> Said:
        """The death that the broker says for us: a new number for each connection (6.4.25)."""
        self._bd_seq = (self._bd_seq + 1) % SEQUENCE
        self.is_born = False
        return self._death(now_ms)

    def died(self, now_ms: int) -> Said:
        """Our own word before we go: then the broker does not say the will."""
        self.is_born = False
        return self._death(now_ms)

    def born(self, now_ms: int) -> list[Said]:
        """Everything there is, with its values: the node, then its devices."""
        self.is_born = True
        self._seq = -1
        births = []
        for device, places in self._devices.items():
            metrics = [self._metric(place, named=True) for place in places]
            if not device:
                metrics += [Metric(BD_SEQ, None, INT64, self._bd_seq), Metric(REBIRTH, None, BOOLEAN, False)]
            births.append(self._say(device, "BIRTH", metrics, now_ms))
        return births

    def tell(self, changes: Iterable[Change], now_ms: int) -> list[Said]:
        """Hold these values, and say the ones that changed (report by exception) if we are born."""
        changed: dict[str, list[int]] = {}
        for change in changes:
            held = self._held[change.place]
            self._held[change.place] = change
            self._heard = True
            if change.always or (held.value, held.quality) != (change.value, change.quality):
                changed.setdefault(self._offers[change.place].device, []).append(change.place)
        if not self.is_born:
            return []
        return [
            self._say(device, "DATA", [self._metric(place) for place in some], now_ms)
            for device, places in changed.items()
            for some in _cut(places)
        ]

    def obey(self, topic: bytes, payload: bytes) -> Orders:
        """What a command on one of our topics wants. What it says of no metric of ours is passed over.

        Raises:
            Malformed: it cannot be read; nothing of it is done.
        """
        place = parse_topic(topic)
        if place is None or not place[0].endswith("CMD") or place[1].edge != self.edge:
            return Orders(False, ())
        source, rebirth, writes = place[1], False, []
        for said in parse(payload).metrics:
            if said.name == REBIRTH and not source.device:
                rebirth = rebirth or said.boolean_value
                continue
            at = self._place.get((source.device, said.name)) if said.name else self._by_alias(said.alias, source.device)
            if at is not None:
                writes.append((at, value_of(said, self._offers[at].datatype)))
        return Orders(rebirth, tuple(writes))

    def _by_alias(self, alias: int, device: str) -> int | None:
        at = alias - ALIAS_FIRST
        return at if 0 <= at < len(self._offers) and self._offers[at].device == device else None

    def _metric(self, place: int, named: bool = False) -> Metric:
        offer, held = self._offers[place], self._held[place]
        stamp = held.stamp or None
        if named:
            alias = place + ALIAS_FIRST
            return Metric(
                offer.name, alias, offer.datatype, held.value, held.quality, stamp, properties=offer.properties
            )
        return Metric("", place + ALIAS_FIRST, offer.datatype, held.value, held.quality, stamp)

    def _say(self, device: str, kind: str, metrics: Iterable[Metric], now_ms: int) -> Said:
        self._seq = (self._seq + 1) % SEQUENCE
        source = Source(self.edge.group, self.edge.node, device)
        return Said(source.topic(kind), encode(metrics, now_ms, self._seq, typed=kind == "BIRTH"))

    def _death(self, now_ms: int) -> Said:
        return Said(self.edge.topic("DEATH"), encode([Metric(BD_SEQ, None, INT64, self._bd_seq)], now_ms))


def readable(node: EdgeNode, topic: bytes, payload: bytes) -> Orders | None:
    """`EdgeNode.obey`, None where nobody could understand it: a device does not act on what it does not understand."""
    try:
        return node.obey(topic, payload)
    except Malformed:
        return None


def _cut(places: Sequence[int]) -> Iterator[Sequence[int]]:
    return (places[at : at + DATA_MAX] for at in range(0, len(places), DATA_MAX))
