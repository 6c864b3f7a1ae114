"""The Sparkplug link: a host application for the edge nodes of its points; carries out what the host decides.

Must not know the point table.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from protocols.believe import plain_value
from protocols.delivery import NO_STAMP, Batch, Delivery
from protocols.healing import Broken, heal
from protocols.link import Clock, Sink, Verdict, WriteOutcome
from protocols.mqtt import entrance
from protocols.mqtt import sparkplug as names
from protocols.mqtt import sparkplug_host as host
from protocols.mqtt.client import Client
from protocols.mqtt.codec import Malformed
from protocols.mqtt.messages import Message, Messages
from protocols.mqtt.packets import Filter, Will
from protocols.mqtt.session import BrokerSession
from protocols.mqtt.sparkplug_memory import Memory
from protocols.mqtt.sparkplug_metrics import DATE_TIME, Metric, encode, time_of, value_of
from twin.plant import Device
from twin.points import Point, Selection
from twin.quality import BAD_NODE_ID_UNKNOWN
from twin.readings import Readings

TICK_S = 0.25  # how exactly time-outs of a few seconds are kept
KEEPALIVE_MAX_S = 8  # an idle broker answers every 6 s then: before values of living nodes grow stale (10 s)
FAREWELL_S = 1.0  # for our death to reach the broker when we go
TOLD_EVERY_NS = 1_000_000_000  # points of their own: once a second is as often as links tell theirs


class SparkplugLink:
    """A device of the plant that is one broker and the edge nodes behind it. See protocols.link.Link.

    While the broker answers, it would tell us of the death of any node: so its answers confirm all good values.
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
        self._points = Selection.of(points)
        self._row = {int(identity): row for row, identity in enumerate(self._points.ids)}
        self._memory = Memory(self._points, sink)
        self._delivery = Delivery(device.id, self._memory, clock, self._points)
        self._addresses = [names.parse_address(text) for text in self._points.words("address")]
        reorder_ns, rebirth_ns = int(float(settings["reorder_s"]) * 1e9), int(float(settings["rebirth_s"]) * 1e9)
        self._host = host.Host(self._addresses, reorder_ns, rebirth_ns)
        self._state_topic = names.state_topic(str(settings["host_id"] or device.id))
        self._qos = int(settings["qos"])
        self._keepalive_s = min(int(settings["keepalive_s"]), KEEPALIVE_MAX_S)
        self._timeout_s = float(settings["timeout_s"])
        self._session: BrokerSession | None = None
        self._connected_ms = 0
        self._dropped = 0
        self._told_at = self._lag_told_at = 0
        self._made: dict[int, Point] = {}
        self._said_to = self._added_to = 0  # places in the host's columns

    async def run(self) -> None:
        await heal(self._device.id, self._sink, self._chance, self._live)

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        session = self._session
        if session is None:
            return Verdict(WriteOutcome.NOT_SENT, "the link is down")
        row = self._row[point.id]
        source, known = self._addresses[row].source, self._host.known(row)
        if known is None:
            return Verdict(WriteOutcome.REFUSED, f"{source} is {self._host.life(source.edge)}, or was born without it")
        try:
            metric = Metric(known.name, datatype=known.datatype, value=plain_value(point, value))
            payload = encode([metric], self._clock() // 1_000_000)
        except ValueError as misfit:
            return Verdict(WriteOutcome.REFUSED, f"{source} declared {known.name}: {misfit}")
        if not session.send(source.topic("CMD"), payload):
            return Verdict(WriteOutcome.NOT_SENT, "the broker does not take it now")
        try:
            # Commands go at QoS 0 (6.4.21), which nobody answers. What the broker answers to the next packet proves
            # that it has read this one.
            await session.unsubscribe([source.topic("CMD")], timeout_s)
        except Broken as broken:
            return Verdict(WriteOutcome.UNKNOWN, str(broken))
        return Verdict(WriteOutcome.ACCEPTED, "the broker took it; Sparkplug does not say whether the edge node did")

    async def read(self, point: Point, timeout_s: float) -> Readings | None:
        """None, always: Sparkplug has no question about one metric."""
        return None

    async def _live(self, online: Callable[[], None]) -> None:
        session = await self._new_session()
        try:
            await session.open(self._timeout_s)
            await self._subscribe(session)
            self._host.begin(self._clock())
            await self._tell_state(session, True, self._timeout_s)
            self._session = session
            online()
            session.start()
            await self._watch(session)
        finally:
            self._session = None
            self._dropped += session.dropped
            if not session.lost.done():
                await self._tell_state(session, False, FAREWELL_S)
            await session.close()

    async def _new_session(self) -> BrokerSession:
        """Whose last will is our death, and which the broker forgets when it ends (5.6)."""
        tls = await asyncio.to_thread(entrance.device_tls, self._device, self._pki)
        self._connected_ms = self._clock() // 1_000_000
        options = replace(
            entrance.options(self._device, self._chance),
            keepalive_s=self._keepalive_s, clean=True, session_expiry_s=0,
            will=Will(self._state_topic, names.encode_state(False, self._connected_ms)),
        )  # fmt: skip
        return BrokerSession(self._device.endpoint, Client(options), self._take, tls)

    async def _subscribe(self, session: BrokerSession) -> None:
        """To the births, data and deaths of our edge nodes, before we say that we are there (5.6)."""
        edges = {topic: edge for edge in self._host.edges for topic in names.filters([edge])}
        filters = [Filter(topic, self._qos) for topic in (self._state_topic, *edges)]
        refused = await session.subscribe(filters, self._timeout_s)
        batch = self._delivery.batch()
        for edge in {edges[topic] for topic in refused if topic in edges}:
            for row in self._host.rows(edge):
                point = self._point(row)
                batch.reject(point.address, "unknown_address", "the broker refuses to subscribe", b"", point.name)
                batch.add_quality(point, BAD_NODE_ID_UNKNOWN)
        batch.deliver()

    async def _tell_state(self, session: BrokerSession, online: bool, timeout_s: float) -> None:
        """Our birth carries the time of our will (4.2.1), our death its own."""
        stamp_ms = self._connected_ms if online else self._clock() // 1_000_000
        await session.publish(self._state_topic, names.encode_state(online, stamp_ms), 1, True, timeout_s)

    async def _watch(self, session: BrokerSession) -> None:
        """Until the connection breaks.

        Raises:
            Broken: always, with the reason.
        """
        answered_at = session.heard_at
        while not session.lost.done():
            await asyncio.wait((session.lost,), timeout=TICK_S)
            now = self._clock()
            batch = self._delivery.batch()
            self._perform(batch, self._host.due(now))
            batch.deliver()
            if now - self._told_at >= TOLD_EVERY_NS:
                self._told_at = now
                self._sink.metric(self._device.id, "queued", session.queued)
                if session.heard_at > answered_at:
                    answered_at = session.heard_at
                    self._sink.heard(self._device.id)
        raise Broken(session.lost.result().words)

    # --- messages ----------------------------------------------------------------------------------------------------

    def _take(self, messages: Messages) -> None:
        """One batch a turn of the loop."""
        batch = self._delivery.batch()
        for message in messages:
            if message.topic == self._state_topic.encode():
                self._take_state(message)
                continue
            done = self._host.take(message.topic, message.payload, message.retained, batch.received_time)
            self._perform(batch, done)
        self._add(batch)
        batch.deliver()

    def _perform(self, batch: Batch, instructions: Sequence[host.Instruction]) -> None:
        for instruction in instructions:
            if isinstance(instruction, host.Values):
                self._said_to = instruction.end
                continue
            self._add(batch)  # what was said before counts before
            match instruction:
                case host.Letter(topic, reason, detail, raw, rows):
                    for name in [self._point(row).name for row in rows] or [""]:
                        batch.reject(topic, reason, detail, raw, name)
                case host.Lost(rows, quality):
                    batch.deliver()
                    self._memory.lost(rows, quality, batch.received_time)
                case host.Publish(topic, payload):
                    if self._session is not None:
                        self._session.send(topic, payload)
                case host.Dropped(count):
                    self._dropped += count
                    self._sink.metric(self._device.id, "dropped", self._dropped)

    def _add(self, batch: Batch) -> None:
        """The values that messages said up to here."""
        columns, begin, end = self._host.columns, self._added_to, self._said_to
        if begin == end:
            return
        some = slice(begin, end)
        batch.add_columns(
            columns.row[some], columns.wire[some], columns.kind[some], columns.quality[some], columns.stamp[some],
            lambda place: self._look_again(batch, begin + place),
        )  # fmt: skip
        newest = int(columns.stamp[some].max())
        self._added_to = end
        if end == len(columns):
            columns.clear()
            self._added_to = self._said_to = 0
        if newest != NO_STAMP and batch.received_time - self._lag_told_at >= TOLD_EVERY_NS:
            self._lag_told_at = batch.received_time
            self._sink.metric(self._device.id, "lag_ms", max(0.0, (batch.received_time - newest) / 1e6))

    def _look_again(self, batch: Batch, place: int) -> None:
        """At a value that is no number of its point: a text, an array, or nothing to believe."""
        columns = self._host.columns
        point, raw, datatype = self._point(int(columns.row[place])), columns.raw(place), int(columns.datatype[place])
        try:
            said = columns.metric(place)
            wire = None if said.is_null else value_of(said, datatype)
            if datatype == DATE_TIME and point.type == "string" and wire is not None:
                wire = time_of(wire)
        except Malformed as fault:
            batch.reject(point.address, fault.reason, fault.detail, raw, point.name)
            return
        stamp = int(columns.stamp[place])
        taken_at = None if stamp == NO_STAMP else stamp
        batch.add(point, wire, int(columns.quality[place]), taken_at, point.address, raw)

    def _point(self, row: int) -> Point:
        """Each is made once: texts are looked at one by one."""
        if row not in self._made:
            self._made[row] = self._points[row]
        return self._made[row]

    def _take_state(self, message: Message) -> None:
        """Somebody says that we are offline: the will of a connection that we have left, or another with our name."""
        session = self._session
        if message.retained:
            return  # what the broker kept from before our birth, which has replaced it
        try:
            online, _ = names.parse_state(message.payload)
        except Malformed as fault:
            self._delivery.reject(self._state_topic, fault.reason, fault.detail, message.payload)
            return
        if not online and session is not None:
            session.send(self._state_topic, names.encode_state(True, self._connected_ms), True)
