"""Hosts a plant's devices as real servers and lets its mover move them; must not know any one plant or protocol."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from protocols.cable import Cable
from protocols.catalog import PROTOCOLS
from protocols.faults import KINDS, Fault, Kind, Schedule, Scope
from protocols.instruments import Instruments
from protocols.link import Clock
from scenarios.hosted import Hosted
from scenarios.mover import Mover
from scenarios.wander import Wanderer
from sim.streams import stream
from twin.errors import BadRequest, Unavailable
from twin.plant import Device, Plant
from twin.points import Point

PUBLISH_S = 0.5  # wall time between two publications: the fastest that a person can follow
REFRESH = 8  # publications after which a device says unchanged values again: 4 s, well before 10 s make them stale
SPEED_MAX = 3600.0  # an hour of plant time a second: past it one publication skips whole demand patterns
STARTS_AT_ONCE = 16  # an MQTT device may wait 5 s for its broker; 200 of them must not do so in a row

OnReady = Callable[[Mapping[str, str]], None]
"""Called once with device id -> the endpoint where it really listens, after the first values are served."""

OnEvent = Callable[[Mapping[str, Any]], None]
"""Called when a fault begins or ends, and when the plant comes to rest."""


def _water(plant: Plant, seed: int, start_s: float | None, activity: float) -> Mover:
    from scenarios.water.fleet import WaterMover

    return WaterMover(plant, seed, start_s)


def _layout(plant: Plant, seed: int, start_s: float | None, activity: float) -> Mover:
    from scenarios.layout_mover import LayoutMover

    return LayoutMover(plant, seed, start_s)


MOVERS: Mapping[str, Callable[[Plant, int, float | None, float], Mover]] = {
    "epanet": _water, "layout": _layout, "": Wanderer,
}  # fmt: skip
"""model.kind of a plant, "" for none -> what moves its devices: (plant, seed, plant time at the start, activity)."""


async def run_fleet(
    plant: Plant,
    *,
    clock: Clock,
    seed: int,
    stop: asyncio.Event,
    endpoints: Mapping[str, str] | None = None,
    speed: float = 1.0,
    start_s: float | None = None,
    activity: float = 0.2,
    broker: bool = True,
    pki: Path | None = None,
    faults: Schedule | None = None,
    rest_after_s: float | None = None,
    on_ready: OnReady | None = None,
    on_event: OnEvent | None = None,
    on_fleet: Callable[[Fleet], None] | None = None,
) -> None:
    """Serve every device of the plant until `stop` is set; leaves no task, thread or socket behind.

    Args:
        endpoints: device id -> another endpoint; port 0 takes a free one.
        speed: seconds of plant time per second.
        start_s: the plant's own time at the start; None leaves it to the mover.
        activity: share of the points that change in a second of plant time, for plants without a model.
        broker: embed an MQTT broker at the MQTT device's endpoint.
        pki: folder of certificates of the simulated devices, which all show the same one.
        faults: what goes wrong, in seconds after the fleet is ready; puts a cable in front of every device.
        rest_after_s: seconds after which the plant stands still: its devices go on saying their last values.
        on_fleet: told of the fleet before it starts, for its truth and its counts.

    Raises:
        BadRequest: no mover for this kind of plant, an unknown device, a bad speed.
        Unavailable: an endpoint cannot be served.
    """
    kind = str(plant.model.get("kind", ""))
    if kind not in MOVERS:
        raise BadRequest(f"nothing moves a plant of model kind {kind!r}", f"one of {', '.join(k for k in MOVERS if k)}")
    if not 0 < speed <= SPEED_MAX:
        raise BadRequest(f"speed {speed:g}", f"take more than 0 and at most {SPEED_MAX:g}")
    devices = _devices(plant, endpoints or {})
    async with contextlib.AsyncExitStack() as stack:
        # One thread: EPANET's project belongs to one thread at a time, and the loop never waits for it.
        thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="mover"))
        loop = asyncio.get_running_loop()
        mover = await loop.run_in_executor(thread, MOVERS[kind], plant, seed, start_s, activity)
        if broker:
            devices = await _embed_broker(stack, devices)
        fleet = Fleet(plant, mover, clock, seed, pki)
        if on_fleet is not None:
            on_fleet(fleet)
        await fleet.serve(stack, devices, cables=faults is not None)
        await fleet.run(thread, speed, stop, faults or Schedule(()), rest_after_s, on_ready, on_event)


def _devices(plant: Plant, endpoints: Mapping[str, str]) -> list[Device]:
    unknown = endpoints.keys() - plant.device_of_id.keys()
    if unknown:
        raise BadRequest(f"no device {', '.join(sorted(unknown))}", f"one of {', '.join(plant.device_of_id)}")
    return [replace(d, endpoint=endpoints.get(d.id, d.endpoint)) for d in plant.devices]


async def _embed_broker(stack: contextlib.AsyncExitStack, devices: Sequence[Device]) -> list[Device]:
    """A broker for each plain endpoint of an MQTT device; the devices with the ports they got."""
    from protocols.mqtt.broker import EmbeddedBroker

    endpoint_of: dict[str, str] = {}
    for device in devices:
        parts = urlsplit(device.endpoint)
        if parts.scheme == "mqtt" and device.endpoint not in endpoint_of:
            embedded = EmbeddedBroker(parts.hostname or "127.0.0.1", 1883 if parts.port is None else parts.port)
            await embedded.start()
            stack.push_async_callback(embedded.stop)
            endpoint_of[device.endpoint] = embedded.endpoint
    return [replace(d, endpoint=endpoint_of.get(d.endpoint, d.endpoint)) for d in devices]


class Fleet:
    """The served devices of one plant, the mover behind them, and what its instruments make of the truth.

    Attributes, columns of shape (plant.points.size,):
        shown, shown_quality: what the instruments show now; NaN for texts.
        said, said_quality: what each device published last, which is older while it loses its news.
        on_said: called whenever that or a setting changes.
    """

    def __init__(self, plant: Plant, mover: Mover, clock: Clock, seed: int, pki: Path | None = None) -> None:
        size = plant.points.size
        self._plant = plant
        self._mover = mover
        self._clock = clock
        self._seed = seed
        self._pki = pki
        self._instruments = Instruments(plant, stream(seed, "fleet.instruments"))
        self._hosted: dict[str, Hosted] = {}
        self._written = asyncio.Event()
        self._text: dict[int, str] = {}
        self._value, self._quality = np.full(size, np.nan), np.zeros(size, np.uint32)
        self.shown, self.shown_quality = self._value, self._quality
        self.said, self.said_quality = np.full(size, np.nan), np.zeros(size, np.uint32)
        self._due = np.ones(size, np.bool_)
        self._begun_s = 0.0
        self._turn = 0
        self.values_said = 0
        self.on_said: Callable[[], None] = lambda: None

    async def serve(self, stack: contextlib.AsyncExitStack, devices: Sequence[Device], cables: bool) -> None:
        """Start a server for each device; the stack stops them.

        Raises:
            Unavailable: an endpoint cannot be served.
        """
        some = asyncio.Semaphore(STARTS_AT_ONCE)

        async def start(hosted: Hosted) -> None:
            async with some:
                try:
                    await hosted.start()
                except OSError as failure:
                    raise Unavailable(
                        f"{hosted.device.id} cannot be served at {hosted.asked}: {failure}",
                        "give it another --endpoint",
                    ) from failure

        for device in devices:
            self._hosted[device.id] = self._host(device, cables)
        stack.push_async_callback(self._stop)
        ended = await asyncio.gather(*map(start, self._hosted.values()), return_exceptions=True)
        for failure in filter(None, ended):
            raise failure

    async def _stop(self) -> None:
        # All at once: an OPC UA server takes a second.
        await asyncio.gather(*(hosted.stop() for hosted in self._hosted.values()))

    def _host(self, device: Device, cables: bool) -> Hosted:
        def on_write(point: Point, value: float) -> bool:
            return self._on_write(device.id, point, value)

        chance = random.Random(f"{self._seed} {device.id}")
        behind, parts = device, urlsplit(device.endpoint)
        cables = cables and parts.hostname is not None  # a serial line is no cable of ours
        if cables and device.protocol != "mqtt":  # it moves to a free port, its cable listens where the plant says
            user, at, _ = parts.netloc.rpartition("@")
            behind = replace(device, endpoint=parts._replace(netloc=f"{user}{at}{parts.hostname}:0").geturl())
        ids = self._plant.points.where("device", device.id)
        points = self._plant.points_of_device(device.id)
        served = PROTOCOLS[device.protocol].device(behind, points, on_write, self._clock, self._pki)
        cable = Cable(("", 0), chance) if cables else None
        return Hosted(device, served, ids, device.endpoint, chance, cable)

    async def run(
        self,
        thread: ThreadPoolExecutor,
        speed: float,
        stop: asyncio.Event,
        faults: Schedule,
        rest_after_s: float | None,
        on_ready: OnReady | None,
        on_event: OnEvent | None,
    ) -> None:
        """Publish the first values, then let the plant live and its faults happen until `stop` is set."""
        loop = asyncio.get_running_loop()
        self._begun_s = loop.time()
        await self._step(thread, 0.0)
        if on_ready is not None:
            on_ready({name: hosted.endpoint for name, hosted in self._hosted.items()})
        say: OnEvent = on_event or (lambda _: None)
        async with asyncio.TaskGroup() as happening:
            for fault in faults.faults:
                happening.create_task(self._suffer(fault, stop, say))
            await self._move(thread, speed, stop, rest_after_s, say)

    def endpoints(self) -> Mapping[str, str]:
        return {name: hosted.endpoint for name, hosted in self._hosted.items()}

    def settings(self) -> Mapping[int, float]:
        """What the devices were told last, by point id."""
        return self._mover.settings()

    def truth_text(self, point_id: int) -> str | None:
        return self._text.get(point_id)

    def truth(self) -> dict[str, float | str]:
        """Point name -> value that its instrument shows now, for all points that have one."""
        points = self._plant.points
        names = points.column("name")
        told = np.flatnonzero(~np.isnan(self.shown))
        numbers = dict(zip(names.take(told).to_pylist(), self.shown[told].tolist(), strict=True))
        return numbers | {points[i].name: text for i, text in self._text.items()}

    async def _move(
        self, thread: ThreadPoolExecutor, speed: float, stop: asyncio.Event, rest_after_s: float | None, say: OnEvent
    ) -> None:
        loop = asyncio.get_running_loop()
        resting = False
        while not stop.is_set():
            due = loop.time() + PUBLISH_S
            self._written.clear()
            lived_s = loop.time() - self._begun_s
            rests = rest_after_s is not None and lived_s >= rest_after_s
            await self._step(None if rests else thread, lived_s * speed)
            if rests and not resting:
                resting = True
                say({"event": "rest", "after_s": round(lived_s, 3)})
            await _first_of((stop, self._written), due - loop.time())

    async def _step(self, thread: ThreadPoolExecutor | None, elapsed_s: float) -> None:
        """Advance the plant (unless it rests), look at its instruments, and publish."""
        loop = asyncio.get_running_loop()
        if thread is not None:
            measured = await loop.run_in_executor(thread, self._mover.advance, elapsed_s)
            self._value[measured.ids], self._quality[measured.ids] = measured.value, measured.quality
            for point_id, text in measured.text.items():
                self._due[point_id] |= self._text.get(point_id) != text
                self._text[point_id] = text
        # Settings are read now, not in the thread: a write that came meanwhile must not be undone.
        settings = self._mover.settings()
        self._value[list(settings)] = list(settings.values())
        shown = self._instruments.show(self._value, self._quality, loop.time() - self._begun_s)
        self.shown, self.shown_quality = shown.value.copy(), shown.quality
        await self._publish(shown.still)

    async def _publish(self, still: NDArray[np.bool_]) -> None:
        """What is new, and by turns everything of a device."""
        now, self._turn = self._clock(), self._turn + 1
        moved = (self.shown != self.said) & ~np.isnan(self.shown)
        wanted = moved | (self.shown_quality != self.said_quality) | self._due
        publications = []
        for place, hosted in enumerate(self._hosted.values()):
            ids = hosted.ids
            refresh = (place + self._turn) % REFRESH == 0
            ids = ids[(refresh | wanted[ids]) & ~still[ids]]
            if len(ids) and not hosted.loses():
                publications.append(self._say(hosted, ids, now))
        await asyncio.gather(*publications)

    async def _say(self, hosted: Hosted, ids: NDArray[np.int32], now: int) -> None:
        # Looked up at the last moment: what was written since the instruments were looked at is in here.
        numbers = ids[~np.isnan(self.shown[ids])]
        values: dict[int, float | str] = dict(zip(numbers.tolist(), self.shown[numbers].tolist(), strict=True))
        if self._text:
            values |= {i: self._text[i] for i in ids.tolist() if i in self._text}
        codes = self.shown_quality[ids]
        doubted = np.flatnonzero(codes)
        quality = dict(zip(ids[doubted].tolist(), codes[doubted].tolist(), strict=True))
        self.said[ids], self.said_quality[ids], self._due[ids] = self.shown[ids], codes, False
        self.values_said += len(values)
        self.on_said()
        await hosted.publish(values, now, quality)

    def _on_write(self, device: str, point: Point, value: float) -> bool:
        accepted = not self._hosted[device].refuses and self._mover.command(point, value)
        if accepted:
            self.shown[point.id] = value
            self._due[point.id] = True
            self.on_said()
        self._written.set()
        return accepted

    async def _suffer(self, fault: Fault, stop: asyncio.Event, say: OnEvent) -> None:
        """One fault from its start to its end. What has begun to start or stop a device is not interrupted."""
        if not await self._reached(fault.start_s, stop):
            return
        say({"event": "fault", "is": "begins", **fault.words()})
        hosted = self._hosted[fault.device]
        in_points = KINDS[fault.kind].scope is Scope.POINTS
        if in_points:
            self._instruments.begin(fault, fault.start_s)
        else:
            await hosted.begin(fault)
        if not await self._reached(fault.end_s, stop):
            return
        if in_points:
            self._instruments.end(fault)
        else:
            await hosted.end(fault)
        if fault.kind in (Kind.RESTART, Kind.LOSE):
            self._due[hosted.ids] = True  # a device that starts knows nothing
            self._written.set()
        say({"event": "fault", "is": "over", **fault.words()})

    async def _reached(self, lived_s: float, stop: asyncio.Event) -> bool:
        """Whether the fleet lives to be that old."""
        try:
            async with asyncio.timeout_at(self._begun_s + lived_s):
                await stop.wait()
        except TimeoutError:
            return True
        return False


async def _first_of(events: Sequence[asyncio.Event], timeout_s: float) -> None:
    """Until one of the events is set or the time is up."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in waits:
            waiting.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
