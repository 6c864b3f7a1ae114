"""The MQTT link: subscribes to the topics of its points at a broker and publishes writes; must not know the point table."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from protocols.believe import plain_value
from protocols.delivery import Delivery
from protocols.healing import Broken, heal
from protocols.link import Clock, Sink, Verdict, WriteOutcome
from protocols.mqtt import codec
from protocols.mqtt.bindings import Bindings
from protocols.mqtt.client import Client
from protocols.mqtt.intake import Intake
from protocols.mqtt.messages import Messages
from protocols.mqtt.packets import Filter, Options
from protocols.mqtt.session import BrokerSession
from twin.plant import Device
from twin.points import Point, Selection
from twin.quality import BAD_NODE_ID_UNKNOWN
from twin.readings import Readings

CLIENT_ID_BITS = 48  # of chance in a client id: two links with one id would throw each other out for ever
WRITE_QOS = 1  # QoS 2 would be said again after a loss of the connection, minutes late perhaps
LAG_EVERY_NS = 1_000_000_000  # a point of its own: once a second is as often as links tell theirs


class MqttLink:
    """A device reached through a broker. See protocols.link.Link.

    The broker's answers prove that the broker lives, not that the device does, so this link never calls `heard`:
    only a reading makes a value young again.
    """

    def __init__(
        self,
        device: Device,
        points: Sequence[Point],
        sink: Sink,
        clock: Clock,
        chance: random.Random,
        pki: Path | None = None,
    ) -> None:
        settings = device.settings
        self._device = device
        self._sink = sink
        self._clock = clock
        self._chance = chance
        self._delivery = Delivery(device.id, sink, clock, points)
        self._format = str(settings["format"])
        self._qos = int(settings["qos"])
        self._version = str(settings["version"])
        self._keepalive_s = int(settings["keepalive_s"])
        self._timeout_s = float(settings["timeout_s"])
        self._set_suffix = str(settings["set_suffix"])
        self._prefix = str(settings["prefix"] or "").rstrip("/")
        selected = Selection.of(points)
        self._bindings = Bindings(selected.words("address"), selected.words("type"), self._format)
        self._intake = Intake(self._bindings, selected, self._format, str(settings["layout"]), self._is_our_own)
        self._points = selected
        self._session: BrokerSession | None = None
        self._dropped = 0
        self._lag_told_at = 0

    async def run(self) -> None:
        await heal(self._device.id, self._sink, self._chance, self._live)

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        session = self._session
        if session is None:
            return Verdict(WriteOutcome.NOT_SENT, "the link is down")
        address = codec.parse_address(point.address)
        payload = codec.encode_set(address.pointer, plain_value(point, value), self._clock(), self._format)
        return await session.publish(address.topic + self._set_suffix, payload, WRITE_QOS, False, timeout_s)

    async def read(self, point: Point, timeout_s: float) -> Readings | None:
        """None, always: MQTT has no question that a device would have to answer."""
        return None

    async def _live(self, online: Callable[[], None]) -> None:
        client_id = f"twinloop-{self._device.id}-{self._chance.getrandbits(CLIENT_ID_BITS):012x}"
        at = codec.parse_endpoint(self._device.endpoint)
        options = Options(client_id, self._version, self._keepalive_s, user=at.user, password=at.password)
        session = BrokerSession(self._device.endpoint, Client(options), self._take)
        try:
            await session.open(self._timeout_s)
            filters = [Filter(topic, self._qos) for topic in self._filters()]
            refused = await session.subscribe(filters, self._timeout_s)
            self._session = session
            online()
            self._report_refused(list(refused))
            session.start()
            loss = await session.lost
            raise Broken(loss.words)
        finally:
            self._session = None
            self._dropped += session.dropped
            await session.close()

    def _filters(self) -> list[str]:
        """What to subscribe to. Topics under the prefix come with its one wildcard, and not twice."""
        inside = f"{self._prefix}/"
        topics = self._bindings.topics
        if self._prefix:
            topics = [f"{inside}#", *(topic for topic in topics if not topic.startswith(inside))]
        return topics

    def _is_our_own(self, topic: str) -> bool:
        """Under the prefix we hear our own writes too."""
        return bool(self._bindings.bound(topic.removesuffix(self._set_suffix).encode()))

    def _report_refused(self, topics: Sequence[str]) -> None:
        for topic in topics:
            batch = self._delivery.batch()
            for row in self._bindings.rows_of(topic):
                point = self._points[row]
                batch.reject(topic, "unknown_address", "the broker refuses to subscribe", b"", point.name)
                batch.add_quality(point, BAD_NODE_ID_UNKNOWN)
            batch.deliver()

    def _take(self, messages: Messages) -> None:
        """One batch a pass."""
        batch = self._delivery.batch()
        self._intake.take(batch, messages)
        readings = batch.deliver()
        if readings is not None and readings.received_time - self._lag_told_at >= LAG_EVERY_NS:
            # How old the newest value was when it came: all that MQTT shows of the way it took.
            self._lag_told_at = readings.received_time
            lag_ms = (readings.received_time - int(readings.source_time.max())) / 1e6
            self._sink.metric(self._device.id, "lag_ms", max(0.0, lag_ms))
