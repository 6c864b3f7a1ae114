"""How the twin speaks as a Sparkplug edge node: a device a twin, a metric a property; pure: no broker, no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from protocols.mqtt.codec import Malformed
from protocols.mqtt.packets import Filter, Will
from protocols.mqtt.sparkplug import Source, parse_state, state_topic
from protocols.mqtt.sparkplug_metrics import BOOLEAN, DOUBLE, INT64, STRING
from protocols.mqtt.sparkplug_node import Change, EdgeNode, Offer, Said, readable
from protocols.mqtt.voice import Saying, Spoken, Unfit, Wish, wanted
from protocols.served import CommandState
from twin.points import Point

_DATATYPE = {"boolean": BOOLEAN, "integer": INT64, "double": DOUBLE}


class SparkplugVoice:
    """Births, data by exception, and commands. `primary_host`: the host without which nothing is said, "" for none."""

    def __init__(self, edge: Source, primary_host: str, writes: bool, bd_seq: int) -> None:
        self.listener = not primary_host
        self._state_topic = state_topic(primary_host).encode() if primary_host else b""
        self._state_ms = -1
        self._writes = writes
        self._node = EdgeNode(edge, (), bd_seq)
        self._reborn = True  # no rebirth is owed
        self._points: list[Point] = []
        self._place: dict[int, int] = {}

    @property
    def greeted(self) -> bool:
        return self._node.is_born and self._reborn

    def bind(self, points: Sequence[Point]) -> list[Saying]:
        """The next greeting tells hosts what there is now."""
        self._points = list(points)
        self._place = {point.id: place for place, point in enumerate(self._points)}
        self._node.offer([Offer(p.twin, p.property, _DATATYPE.get(p.type, STRING), _engineering(p)) for p in points])
        return []

    def will(self, now: int) -> Will:
        self.listener, self._state_ms = not self._state_topic, -1
        death = self._node.will(now // 1_000_000)
        return Will(death.topic, death.payload, 1, False)

    def filters(self) -> list[Filter]:
        topics = [*self._node.filters, *([self._state_topic.decode()] if self._state_topic else [])]
        return [Filter(topic, 1) for topic in topics]

    def greeting(self, everything: Sequence[Spoken], now: int) -> list[Saying]:
        self._reborn = True
        self._node.is_born = False  # what is told now goes into the births
        self._node.tell(map(self._change, everything), now // 1_000_000)
        return _sayings(self._node.born(now // 1_000_000))

    def say(self, news: Sequence[Spoken], now: int) -> list[Saying]:
        return _sayings(self._node.tell(map(self._change, news), now // 1_000_000))

    def farewell(self, now: int) -> list[Saying]:
        death = self._node.died(now // 1_000_000)
        return [Saying(death.topic, death.payload, 1, False)]

    def hear(self, topic: bytes, payload: bytes, retained: bool) -> list[Wish | Unfit]:
        if topic == self._state_topic:
            self._hear_host(payload)
            return []
        orders = None if retained else readable(self._node, topic, payload)
        if orders is None:
            return []
        self._reborn = self._reborn and not orders.rebirth
        return [self._wish(self._points[place], value) for place, value in orders.writes] if self._writes else []

    def answer(self, asked: Wish | Unfit, state: CommandState | None, detail: str) -> None:
        """Sparkplug has no word for it: hosts see the value that the plant reports."""

    def _hear_host(self, payload: bytes) -> None:
        """The newest word counts (5.13): a host's late will does not make it gone."""
        try:
            online, stamp_ms = parse_state(payload)
        except Malformed:
            return
        if stamp_ms >= self._state_ms:
            self.listener, self._state_ms = online, stamp_ms

    def _wish(self, point: Point, value: Any) -> Wish | Unfit:
        try:
            return Wish(point, wanted(point, value), "", "operator")
        except Malformed as fault:
            return Unfit(fault.detail)

    def _change(self, spoken: Spoken) -> Change:
        return Change(self._place[spoken.point.id], _value(spoken), spoken.quality, spoken.stamp)


def _sayings(said: Sequence[Said]) -> list[Saying]:
    return [Saying(message.topic, message.payload, 0, False) for message in said]


def _value(spoken: Spoken) -> Any:
    """Enums by name, structures as their JSON text; None where there is no value."""
    if spoken.point.type not in _DATATYPE:
        return spoken.text
    if not math.isfinite(spoken.value):
        return None
    return {"boolean": bool, "integer": int, "double": float}[spoken.point.type](spoken.value)


def _engineering(point: Point) -> dict[str, Any] | None:
    """What a host shows with the value (6.4.14)."""
    said: dict[str, Any] = {"engUnit": point.unit} if point.unit else {}
    said |= {key: limit for key, limit in (("engLow", point.low), ("engHigh", point.high)) if math.isfinite(limit)}
    return said or None
