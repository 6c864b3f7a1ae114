"""Hosts a plant's devices as real servers and lets its mover move them; must not know any one plant or protocol."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

from protocols.catalog import PROTOCOLS
from protocols.link import Clock
from protocols.served import ServedDevice
from scenarios.mover import Mover
from twin.errors import BadRequest
from twin.plant import Device, Plant
from twin.points import Point

PUBLISH_S = 0.5  # wall time between two publications: the fastest that a person can follow
SPEED_MAX = 3600.0  # an hour of plant time a second: past it one publication skips whole demand patterns

OnReady = Callable[[Mapping[str, str]], None]
"""Called once with device id -> the endpoint where it really listens, after the first values are served."""


def _water(plant: Plant, seed: int, start_s: float | None) -> Mover:
    from scenarios.water.fleet import WaterMover

    return WaterMover(plant, seed, start_s)


MOVERS: Mapping[str, Callable[[Plant, int, float | None], Mover]] = {"epanet": _water}
"""model.kind of a plant -> what moves its devices: (plant, seed, plant time at the start) -> Mover."""


async def run_fleet(
    plant: Plant,
    *,
    clock: Clock,
    seed: int,
    stop: asyncio.Event,
    endpoints: Mapping[str, str] | None = None,
    speed: float = 1.0,
    start_s: float | None = None,
    broker: bool = True,
    on_ready: OnReady | None = None,
) -> None:
    """Serve every device of the plant until `stop` is set; leaves no task, thread or socket behind.

    Args:
        endpoints: device id -> another endpoint; port 0 takes a free one.
        speed: seconds of plant time per second.
        start_s: the plant's own time at the start; None leaves it to the mover.
        broker: embed an MQTT broker at the MQTT device's endpoint.

    Raises:
        BadRequest: no mover for this kind of plant, an unknown device, a bad speed.
        OSError: an endpoint cannot be served.
    """
    kind = str(plant.model.get("kind", ""))
    if not plant.model:
        raise BadRequest(
            f"plant {plant.id} has no [model]", "nothing knows how to move its simulated devices without one"
        )
    if kind not in MOVERS:
        raise BadRequest(f"nothing moves a plant of model kind {kind!r}", f"one of {', '.join(MOVERS)}")
    if not 0 < speed <= SPEED_MAX:
        raise BadRequest(f"speed {speed:g}", f"take more than 0 and at most {SPEED_MAX:g}")
    devices = _devices(plant, endpoints or {})
    async with contextlib.AsyncExitStack() as stack:
        # One thread: EPANET's project belongs to one thread at a time, and the loop never waits for it.
        thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="mover"))
        loop = asyncio.get_running_loop()
        mover = await loop.run_in_executor(thread, MOVERS[kind], plant, seed, start_s)
        if broker:
            devices = await _embed_broker(stack, devices)
        fleet = Fleet(plant, mover, clock)
        await fleet.serve(stack, devices)
        await fleet.move(thread, speed, stop, on_ready)


def _devices(plant: Plant, endpoints: Mapping[str, str]) -> list[Device]:
    unknown = endpoints.keys() - plant.device_of_id.keys()
    if unknown:
        raise BadRequest(f"no device {', '.join(sorted(unknown))}", f"one of {', '.join(plant.device_of_id)}")
    return [replace(d, endpoint=endpoints.get(d.id, d.endpoint)) for d in plant.devices]


async def _embed_broker(stack: contextlib.AsyncExitStack, devices: Sequence[Device]) -> list[Device]:
    """A broker for each endpoint of an MQTT device; the devices with the ports they got."""
    from protocols.mqtt.broker import EmbeddedBroker

    endpoint_of: dict[str, str] = {}
    for device in devices:
        if device.protocol == "mqtt" and device.endpoint not in endpoint_of:
            parts = urlsplit(device.endpoint)
            embedded = EmbeddedBroker(parts.hostname or "127.0.0.1", 1883 if parts.port is None else parts.port)
            await embedded.start()
            stack.push_async_callback(embedded.stop)
            endpoint_of[device.endpoint] = embedded.endpoint
    return [replace(d, endpoint=endpoint_of.get(d.endpoint, d.endpoint)) for d in devices]


class Fleet:
    """The served devices of one plant and the mover behind them."""

    def __init__(self, plant: Plant, mover: Mover, clock: Clock) -> None:
        self._plant = plant
        self._mover = mover
        self._clock = clock
        self._served: dict[str, ServedDevice] = {}
        self._written = asyncio.Event()

    async def serve(self, stack: contextlib.AsyncExitStack, devices: Sequence[Device]) -> None:
        """Start a server for each device; the stack stops them."""
        for device in devices:
            points = self._plant.points_of_device(device.id)
            served = PROTOCOLS[device.protocol].device(device, points, self._on_write, self._clock, None)
            await served.start()
            stack.push_async_callback(served.stop)
            self._served[device.id] = served

    async def move(self, thread: ThreadPoolExecutor, speed: float, stop: asyncio.Event, ready: OnReady | None) -> None:
        """Advance the plant with the clock and publish what its instruments read, until `stop` is set."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not stop.is_set():
            due = loop.time() + PUBLISH_S
            self._written.clear()
            measured = await loop.run_in_executor(thread, self._mover.advance, (loop.time() - begun) * speed)
            # Settings are read now, not in the thread: a write that came meanwhile must not be undone.
            await self._publish({**measured.values, **self._mover.settings()}, measured.quality)
            if ready is not None:
                ready({name: served.endpoint for name, served in self._served.items()})
                ready = None
            await _first_of((stop, self._written), due - loop.time())

    def _on_write(self, point: Point, value: float) -> bool:
        accepted = self._mover.command(point, value)
        self._written.set()
        return accepted

    async def _publish(self, values: Mapping[int, float], quality: Mapping[int, int]) -> None:
        now = self._clock()
        for device_id, served in self._served.items():
            ids = [p.id for p in self._plant.points_of_device(device_id) if p.id in values]
            await served.publish({i: values[i] for i in ids}, now, {i: quality[i] for i in ids if i in quality})


async def _first_of(events: Sequence[asyncio.Event], timeout_s: float) -> None:
    """Until one of the events is set or the time is up."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in waits:
            waiting.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
