"""The MQTT link: subscribes to the topics of its points at a broker and publishes writes; must not know the point table."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from protocols.believe import plain_value
from protocols.delivery import Delivery
from protocols.healing import Broken, heal
from protocols.link import Clock, Sink, Verdict, WriteOutcome
from protocols.mqtt import codec, entrance
from protocols.mqtt.bindings import Bindings
from protocols.mqtt.client import Client
from protocols.mqtt.intake import Intake
from protocols.mqtt.messages import Messages
from protocols.mqtt.packets import TAKEN_OVER, Filter
from protocols.mqtt.session import BrokerSession, Loss
from twin.plant import Device
from twin.points import Point, Selection
from twin.quality import BAD_NODE_ID_UNKNOWN
from twin.readings import Readings

WRITE_QOS = 1  # QoS 2 would be said again after a loss of the connection, minutes late perhaps
TELL_EVERY_NS = 1_000_000_000  # figures of the link are points: once a second is as often as links tell theirs
TAKEN_OVER_S = 60.0  # before we take our name back: whoever has it now would be thrown out, and do the same


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
        self._pki = pki
        self._timeout_s = float(settings["timeout_s"])
        self._set_suffix = str(settings["set_suffix"])
        self._prefix = str(settings["prefix"] or "").rstrip("/")
        self._share = str(settings["share"] or "")
        self._status_topic = str(settings["status_topic"] or "")
        self._form, layout = str(settings["format"]), str(settings["layout"])
        self._points = Selection.of(points)
        self._delivery = Delivery(device.id, sink, clock, self._points)
        self._bindings = Bindings(self._points.words("address"), self._points.words("type"), self._form)
        self._intake = Intake(self._bindings, self._points, self._form, layout, self._is_our_own)
        self._client: Client | None = None  # kept where the broker keeps the session
        self._session: BrokerSession | None = None
        self._refused: set[str] = set()
        self._dropped = self._queued = 0
        self._told_at = 0
        self._tell_again: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        try:
            await heal(self._device.id, self._sink, self._chance, self._live)
        finally:
            if self._tell_again is not None:
                self._tell_again.cancel()

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        session = self._session
        if session is None:
            return Verdict(WriteOutcome.NOT_SENT, "the link is down")
        address = codec.parse_address(point.address)
        layout = str(self._device.settings["layout"])
        payload = codec.encode_set(address.pointer, plain_value(point, value), self._clock(), self._form, layout)
        return await session.publish(address.topic + self._set_suffix, payload, WRITE_QOS, False, timeout_s)

    async def read(self, point: Point, timeout_s: float) -> Readings | None:
        """None, always: MQTT has no question that a device would have to answer."""
        return None

    async def _live(self, online: Callable[[], None]) -> None:
        if self._client is None or self._client.options.clean:
            self._client = Client(entrance.options(self._device, self._chance))
        tls = await asyncio.to_thread(entrance.device_tls, self._device, self._pki)
        session = BrokerSession(self._device.endpoint, self._client, self._take, tls)
        try:
            await session.open(self._timeout_s)
            refused = await session.subscribe(self._filters(), self._timeout_s)
            if self._status_topic:
                refused |= await self._say_online(session)
            self._session = session
            online()
            self._report_refused(refused)
            if session.dropped:
                self._dropped += session.dropped
                self._sink.metric(self._device.id, "dropped", self._dropped)
            session.start()
            raise self._broken(await session.lost)
        finally:
            self._session = None
            if self._status_topic and not session.lost.done():
                session.send(self._status_topic, entrance.OFFLINE, True)
            await session.close()

    def _filters(self) -> list[Filter]:
        """What to subscribe to. Topics under the prefix come with its one wildcard, and not twice."""
        inside = f"{self._prefix}/"
        topics = self._bindings.filters
        if self._prefix:
            topics = [f"{inside}#", *(topic for topic in topics if not topic.startswith(inside))]
        if self._share:
            topics = [f"$share/{self._share}/{topic}" for topic in topics]
        settings = self._device.settings
        # Where the broker keeps the subscription, it need not send its memory again.
        fresh_only = int(settings["session_expiry_s"]) > 0 and settings["version"] == "5" and not self._share
        return [Filter(topic, int(settings["qos"]), fresh_only) for topic in topics]

    async def _say_online(self, session: BrokerSession) -> dict[str, str]:
        answer = await session.publish(self._status_topic, entrance.ONLINE, 1, True, self._timeout_s)
        return {self._status_topic: answer.detail} if answer.outcome is WriteOutcome.REFUSED else {}

    def _broken(self, loss: Loss) -> Broken:
        options = self._client.options if self._client is not None else None
        if loss.code != TAKEN_OVER or options is None:
            return Broken(loss.words)
        words = f"another client has taken the name {options.client_id!r}; give one of the two another client_id"
        return Broken(words, TAKEN_OVER_S)

    def _is_our_own(self, topic: str) -> bool:
        """Under the prefix we hear our own writes and our own state, too."""
        written = topic.removesuffix(self._set_suffix)
        return topic == self._status_topic or bool(self._bindings.bound(written.encode(errors="replace")))

    def _report_refused(self, refused: Mapping[str, str]) -> None:
        """Each topic once, for as long as it is refused; its points are of no known quality each time."""
        for asked, why in refused.items():
            topic = asked.removeprefix(f"$share/{self._share}/") if self._share else asked
            rows = list(self._bindings.rows_of(topic))
            batch = self._delivery.batch()
            if topic not in self._refused:
                for name in [self._points[row].name for row in rows] or [""]:
                    batch.reject(topic, "unknown_address", f"the broker refuses: {why}", b"", name)
            for row in rows:
                batch.add_quality(self._points[row], BAD_NODE_ID_UNKNOWN)
            batch.deliver()
        self._refused = {topic.removeprefix(f"$share/{self._share}/") for topic in refused}

    def _take(self, messages: Messages) -> None:
        """One batch a pass."""
        batch = self._delivery.batch()
        self._intake.take(batch, messages)
        self._tell(batch.received_time, batch.deliver())

    def _tell_queued(self) -> None:
        """Told anew each second while something waits: it may be no message, and nothing need come after it."""
        queued = 0 if self._session is None else self._session.queued
        if queued != self._queued:
            self._queued = queued
            self._sink.metric(self._device.id, "queued", queued)
        if queued and self._tell_again is None:
            self._tell_again = asyncio.get_running_loop().call_later(TELL_EVERY_NS / 1e9, self._told_again)

    def _told_again(self) -> None:
        self._tell_again = None
        self._tell_queued()

    def _tell(self, now: int, readings: Readings | None) -> None:
        """The figures of the link, once a second; that the queue is empty again at once."""
        is_time = now - self._told_at >= TELL_EVERY_NS
        if self._session is None or not (is_time or self._queued):
            return
        if is_time or not self._session.queued:
            self._tell_queued()
        if is_time and readings is not None:
            # How old the newest value was when it came: all that MQTT shows of the way it took.
            self._told_at = now
            self._sink.metric(self._device.id, "lag_ms", max(0.0, (now - int(readings.source_time.max())) / 1e6))
