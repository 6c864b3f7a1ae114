"""Simulated Sparkplug edge nodes: publish their points at a broker and take commands; must not know how values come about."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from protocols.believe import Unbelievable, plain_value, twin_value
from protocols.healing import Broken, heal
from protocols.link import Clock
from protocols.mqtt import entrance
from protocols.mqtt.client import Client
from protocols.mqtt.codec import parse_endpoint
from protocols.mqtt.device import NobodyListens
from protocols.mqtt.messages import Messages
from protocols.mqtt.packets import Filter, Options, Will
from protocols.mqtt.session import BrokerSession
from protocols.mqtt.sparkplug import Source, parse_address
from protocols.mqtt.sparkplug_metrics import (
    BOOLEAN,
    BOOLEAN_ARRAY,
    DOUBLE,
    DOUBLE_ARRAY,
    INT64,
    INT64_ARRAY,
    STRING,
    STRING_ARRAY,
)
from protocols.mqtt.sparkplug_node import Change, EdgeNode, Offer, Said, readable
from protocols.served import OnWrite
from twin.plant import Device
from twin.points import Point
from twin.quality import GOOD
from twin.schema import Array, Enum, Primitive

START_S = 5.0  # a broker that is not there by then is waited for in the background
PACE_SLICE_S = 0.01  # messages are let go in slices of this length, so that a pace of 1,000/s is ten at a time
FAREWELL_S = 1.0  # for our death to reach the broker when we go


class SparkplugDevice:
    """See protocols.served.ServedDevice. Each edge node of the points has a connection of its own, as its will needs."""

    def __init__(
        self, device: Device, points: Sequence[Point], on_write: OnWrite, clock: Clock, pki: Path | None = None
    ) -> None:
        self.endpoint = device.endpoint
        of_edge: dict[Source, list[Point]] = {}
        for point in points:
            of_edge.setdefault(parse_address(point.address).source.edge, []).append(point)
        self._nodes = [_Node(device, edge, some, on_write, clock, pki) for edge, some in of_edge.items()]
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._running = [asyncio.create_task(node.run(), name=node.name) for node in self._nodes]
        try:
            async with asyncio.timeout(START_S):
                await asyncio.gather(*(node.reached.wait() for node in self._nodes))
        except TimeoutError:
            pass

    async def stop(self) -> None:
        running, self._running = self._running, []
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def publish(self, values: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]) -> None:
        for node in self._nodes:
            await node.publish(values, source_time, quality)


class _Node:
    """One edge node and its connection."""

    def __init__(
        self,
        device: Device,
        edge: Source,
        points: Sequence[Point],
        on_write: OnWrite,
        clock: Clock,
        pki: Path | None,
    ) -> None:
        settings = device.settings
        self._pki = pki
        self.name = f"{device.id} {edge.node} (simulated)"
        self.reached = asyncio.Event()
        self._device = device
        self._on_write = on_write
        self._clock = clock
        offers: dict[tuple[str, str], tuple[int, Point]] = {}
        self._place: dict[int, int] = {}
        for point in points:
            address = parse_address(point.address)
            place, _ = offers.setdefault((address.source.device, address.metric), (len(offers), point))
            self._place[point.id] = place
        self._offered = [point for _, point in offers.values()]
        self._points = {point.id: point for point in points}
        self._node = EdgeNode(edge, [Offer(*key, datatype_of(point)) for key, (_, point) in offers.items()])
        self._written: set[int] = set()
        self._slice = max(1, round(float(settings["pace_per_s"]) * PACE_SLICE_S))
        self._pause_s = self._slice / float(settings["pace_per_s"])
        self._session: BrokerSession | None = None
        self._births = 0

    async def run(self) -> None:
        # Jitter only spreads reconnects; seeded with the name, a fleet's runs replay.
        await heal(self.name, NobodyListens(), random.Random(self.name), self._live)

    async def publish(self, values: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]) -> None:
        changes = [
            Change(
                self._place[i],
                _plain(self._points[i], value),
                quality.get(i, GOOD),
                source_time,
                self._place[i] in self._written,
            )
            for i, value in values.items()
            if i in self._place
        ]
        self._written.clear()
        said = self._node.tell(changes, self._now_ms())
        if self._session is not None and not self._node.is_born and self._node.has_values:
            said = self._born()
        await self._say(said)

    async def _live(self, online: Callable[[], None]) -> None:
        settings = self._device.settings
        death = self._node.will(self._now_ms())
        at = parse_endpoint(self._device.endpoint)
        options = Options(
            self.name.replace(" ", "-"), str(settings["version"]), int(settings["keepalive_s"]),
            user=at.user, password=at.password, will=Will(death.topic, death.payload, 1, False),
        )  # fmt: skip
        tls = await asyncio.to_thread(entrance.device_tls, self._device, self._pki)
        session = BrokerSession(self._device.endpoint, Client(options), self._take, tls)
        timeout_s = float(settings["timeout_s"])
        try:
            await session.open(timeout_s)
            await session.subscribe([Filter(topic, 1) for topic in self._node.filters], timeout_s)
            self._session = session
            self.reached.set()
            online()
            session.start()
            if self._node.has_values:
                await self._say(self._born())
            loss = await session.lost
            raise Broken(loss.words)
        finally:
            self._session = None
            if not session.lost.done() and self._node.is_born:
                death = self._node.died(self._now_ms())
                await session.publish(death.topic, death.payload, 1, False, FAREWELL_S)
            await session.close()

    async def _say(self, messages: Sequence[Said]) -> None:
        births = self._births
        for count, said in enumerate(messages):
            if count and count % self._slice == 0:
                await asyncio.sleep(self._pause_s)
            if self._session is None or self._births != births:
                return  # what is left to say was said by the birth, and its numbers are void
            self._session.send(said.topic, said.payload)

    def _take(self, messages: Messages) -> None:
        for message in messages:
            orders = None if message.retained else readable(self._node, message.topic, message.payload)
            if orders is None:
                continue
            for place, value in orders.writes:
                self._write(place, value)
            if orders.rebirth and self._session is not None:
                for said in self._born():
                    self._session.send(said.topic, said.payload)

    def _write(self, place: int, wire: object) -> None:
        point = self._offered[place]
        if not point.writable:
            return
        try:
            value, _ = twin_value(point, wire)
        except Unbelievable:
            return  # a device does not act on what it does not understand
        self._written.add(place)
        self._on_write(point, value)

    def _born(self) -> list[Said]:
        self._births += 1
        return self._node.born(self._now_ms())

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000


def _plain(point: Point, value: float | str) -> Any:
    """A structured value goes out as what its canonical JSON says, not as a text."""
    if isinstance(value, str):
        return json.loads(value) if point.type == "object" else value
    return plain_value(point, value) if math.isfinite(value) else None


_ARRAY_OF = {"boolean": BOOLEAN_ARRAY, "integer": INT64_ARRAY, "long": INT64_ARRAY, "string": STRING_ARRAY}


def datatype_of(point: Point) -> int:
    """What a birth declares a point to be.

    Raises:
        ValueError: it is a structure that is no list of plain values.
    """
    schema = point.schema
    if isinstance(schema, Enum):
        return STRING if schema.valued == "string" else INT64
    if point.type == "object":
        if isinstance(schema, Array) and isinstance(schema.element, Primitive):
            return _ARRAY_OF.get(schema.element.name, DOUBLE_ARRAY)
        raise ValueError(f"{point.name}: Sparkplug carries no structures but lists of numbers, truths or texts")
    if point.type == "integer" and point.scale == 1.0:
        return INT64
    return {"boolean": BOOLEAN, "string": STRING}.get(point.type, DOUBLE)
