"""A simulated MQTT device: publishes its points at a broker and takes writes; must not know how the values come about."""

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
from protocols.link import Clock, DeadLetter, LinkState
from protocols.mqtt import codec, entrance
from protocols.mqtt.layout import Layout
from protocols.mqtt.layout import write as write_row
from protocols.mqtt.messages import Message
from protocols.mqtt.paho_session import PahoSession
from protocols.served import OnWrite
from twin.plant import Device
from twin.points import Point
from twin.quality import GOOD
from twin.readings import Readings

START_S = 5.0  # a broker that is not there by then is waited for in the background
PACE_SLICE_S = 0.01  # messages are let go in slices of this length, so that a pace of 1,000/s is ten at a time


class MqttDevice:
    """See protocols.served.ServedDevice. MQTT cannot refuse a write: what `on_write` declines is simply not done."""

    def __init__(
        self, device: Device, points: Sequence[Point], on_write: OnWrite, clock: Clock, pki: Path | None = None
    ) -> None:
        settings = device.settings
        self.endpoint = device.endpoint
        self._device = device
        self._pki = pki
        self._on_write = on_write
        self._points = {point.id: point for point in points}
        self._address = {point.id: codec.parse_address(point.address) for point in points}
        self._format = str(settings["format"])
        self._layout = Layout.of(str(settings["layout"]))
        self._rows: dict[str, list[float]] = {}  # what was said last in each packed topic
        self._retain = bool(settings["retain"])
        self._slice = max(1, round(float(settings["pace_per_s"]) * PACE_SLICE_S))
        self._pause_s = self._slice / float(settings["pace_per_s"])
        suffix = str(settings["set_suffix"])
        self._writable: dict[str, list[Point]] = {}
        for point in points:
            if point.writable:
                self._writable.setdefault(self._address[point.id].topic + suffix, []).append(point)
        self._session: PahoSession | None = None
        self._connected = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # Jitter only spreads reconnects; seeded with the name, a fleet's runs replay.
        chance = random.Random(self._device.id)
        name = f"{self._device.id} (simulated)"
        self._running = asyncio.create_task(heal(name, NobodyListens(), chance, self._live), name=name)
        try:
            async with asyncio.timeout(START_S):
                await self._connected.wait()
        except TimeoutError:
            pass

    async def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def publish(self, values: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]) -> None:
        for count, (topic, payload) in enumerate(self._payloads(values, source_time, quality).items()):
            if count and count % self._slice == 0:
                await asyncio.sleep(self._pause_s)
            session = self._session
            if session is None:
                return
            session.send(topic, payload, self._retain)

    def _payloads(
        self, values: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]
    ) -> dict[str, bytes]:
        """By topic."""
        documents: dict[str, Any] = {}
        for point_id, value in values.items():
            point, address = self._points[point_id], self._address[point_id]
            wire = _plain(point, value)
            about = {"time": codec.time_text(source_time), "quality": quality.get(point_id, GOOD)}
            if self._format == "packed":
                documents[address.topic] = self._put(address, float(wire))
            elif codec.IN_TOPIC in address.topic:
                documents[
                    address.topic.replace(codec.IN_TOPIC, wire if isinstance(wire, str) else json.dumps(wire))
                ] = about
            elif not address.pointer:
                documents[address.topic] = wire
            else:
                codec.place(documents.setdefault(address.topic, {}), address.pointer, wire, about)
        if self._format == "packed":
            return {topic: write_row(row, source_time, self._layout) for topic, row in documents.items()}
        return {topic: codec.encode_payload(said, self._format) for topic, said in documents.items()}

    def _put(self, address: codec.Address, value: float) -> list[float]:
        """The row of a packed topic with one value renewed; what was never said is no number."""
        row = self._rows.setdefault(address.topic, [])
        place = int(address.pointer[0]) if address.pointer and address.pointer != codec.DEFAULT_POINTER else 0
        row.extend([math.nan] * (place + 1 - len(row)))
        row[place] = value
        return row

    async def _live(self, online: Callable[[], None]) -> None:
        settings = self._device.settings
        tls = await asyncio.to_thread(entrance.device_tls, self._device, self._pki)
        name = f"{self._device.id}-simulated"
        session = PahoSession(self.endpoint, str(settings["version"]), name, self._take, tls)
        try:
            timeout_s = float(settings["timeout_s"])
            await session.open(list(self._writable), int(settings["qos"]), int(settings["keepalive_s"]), timeout_s)
            self._session = session
            self._connected.set()
            online()
            session.hand_over.start()
            raise Broken(await session.lost)
        finally:
            self._session = None
            await session.close()

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.retained:
                continue  # a write that the broker kept is not a write of now
            points = self._writable.get(message.topic.decode(errors="replace"), [])
            try:
                document = codec.decode_payload(message.payload, self._format, str(self._device.settings["layout"]))
                for point in points:
                    found = codec.look_up(document, self._address[point.id].pointer, point.type == "object")
                    if found is not None:
                        self._on_write(point, twin_value(point, found.value)[0])
            except (codec.Malformed, Unbelievable):
                continue  # a device does not act on what it does not understand


def _plain(point: Point, value: float | str) -> Any:
    """A structured value goes out as what its canonical JSON says, not as a text."""
    if isinstance(value, str):
        return json.loads(value) if point.type == "object" else value
    return plain_value(point, value)


class NobodyListens:
    """A simulated device's connection is nobody's link."""

    def readings(self, batch: Readings) -> None: ...

    def dead_letter(self, letter: DeadLetter) -> None: ...

    def heard(self, device_id: str) -> None: ...

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None: ...

    def metric(self, device_id: str, name: str, value: float) -> None: ...
