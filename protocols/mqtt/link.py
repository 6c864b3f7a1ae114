"""The MQTT link: subscribes to the topics of its points at a broker and publishes writes; must not know the point table."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from protocols.believe import plain_value
from protocols.delivery import Batch, Delivery
from protocols.healing import Broken, heal
from protocols.link import Clock, Sink, Verdict, WriteOutcome
from protocols.mqtt import codec
from protocols.mqtt.client import Client
from protocols.mqtt.messages import Message, Messages
from protocols.mqtt.packets import Filter, Options
from protocols.mqtt.session import BrokerSession
from twin.plant import Device
from twin.points import Point
from twin.quality import BAD_NODE_ID_UNKNOWN, GOOD, UNCERTAIN_LAST_USABLE
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
        self._address = {p.id: codec.parse_address(p.address) for p in points}
        self._bound: dict[str, list[tuple[Point, tuple[str, ...]]]] = {}
        for point in points:
            address = self._address[point.id]
            self._bound.setdefault(address.topic, []).append((point, address.pointer))
        self._session: BrokerSession | None = None
        self._dropped = 0
        self._lag_told_at = 0

    async def run(self) -> None:
        await heal(self._device.id, self._sink, self._chance, self._live)

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        session = self._session
        if session is None:
            return Verdict(WriteOutcome.NOT_SENT, "the link is down")
        address = self._address[point.id]
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
        topics = [topic for topic in self._bound if not (self._prefix and topic.startswith(inside))]
        return [f"{inside}#", *topics] if self._prefix else topics

    def _report_refused(self, topics: Sequence[str]) -> None:
        for topic in topics:
            batch = self._delivery.batch()
            for point, _ in self._bound.get(topic, ()):
                self._delivery.reject(topic, "unknown_address", "the broker refuses to subscribe", b"", point.name)
                batch.add_quality(point, BAD_NODE_ID_UNKNOWN)
            batch.deliver()

    def _take(self, messages: Messages) -> None:
        """One batch a turn of the loop."""
        batch = self._delivery.batch()
        for message in messages:
            self._take_one(batch, message)
        readings = batch.deliver()
        if readings is not None and readings.received_time - self._lag_told_at >= LAG_EVERY_NS:
            # How old the newest value was when it came: all that MQTT shows of the way it took.
            self._lag_told_at = readings.received_time
            lag_ms = (readings.received_time - int(readings.source_time.max())) / 1e6
            self._sink.metric(self._device.id, "lag_ms", max(0.0, lag_ms))

    def _take_one(self, batch: Batch, message: Message) -> None:
        topic = message.topic.decode(errors="replace")
        bound = self._bound.get(topic)
        if bound is None:
            # Under the prefix we hear our own writes too.
            if topic.removesuffix(self._set_suffix) not in self._bound:
                self._delivery.reject(topic, "unknown_address", "no point is bound to this topic", message.payload)
            return
        try:
            document = codec.decode_payload(message.payload, self._format)
        except codec.Malformed as fault:
            for point, _ in bound:
                batch.reject(topic, fault.reason, fault.detail, message.payload, point.name)
            return
        said = [self._take_value(batch, message, topic, document, *binding) for binding in bound]
        if not any(said):
            for point, pointer in bound:
                detail = f"the payload has no /{'/'.join(pointer)}"
                batch.reject(topic, "decode", detail, message.payload, point.name)

    def _take_value(
        self, batch: Batch, message: Message, topic: str, document: object, point: Point, pointer: tuple[str, ...]
    ) -> bool:
        """Whether the document says anything about the point, believable or not."""
        try:
            found = codec.look_up(document, pointer, point.type == "object")
        except codec.Malformed as fault:
            batch.reject(topic, fault.reason, fault.detail, message.payload, point.name)
            return True
        if found is None:
            return False
        # A retained value is what the broker remembers, not what the device says now.
        retained = message.retained and found.quality == GOOD
        quality = UNCERTAIN_LAST_USABLE if retained else found.quality
        batch.add(point, found.value, quality, found.stamp, topic, message.payload)
        return True
