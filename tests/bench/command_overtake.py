"""How long an emergency takes from its submission to the device, with a full queue before it and everything busy.

The device's own clock says when the write came: CLOCK_MONOTONIC is the same for both processes. The limit is a commit and
a write that nothing is in the way of, measured in the same run.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from pymodbus.client import AsyncModbusTcpClient

from control.command import Priority
from control.request import Request
from tests.bench import line
from tests.control.loaded import Loaded, at_work
from tests.plant.counting import Counting, Manners, counting
from tests.plant.racks import point, write_plant
from twin.errors import LimitExceeded

QUEUE = 10_000
REGISTERS = QUEUE + 500  # of the device with the queue; the last one is the emergency's
EMERGENCY = REGISTERS - 1
OTHERS, OTHER_REGISTERS = 3, 20  # devices that are busy, too
TIMES = 30
ANSWER_S = 0.002  # as a quick PLC: the queue drains while it is measured
DEADLINE_S = 3600.0
BAR_MS = 20.0


class Traffic:
    """Keeps the queue of the first device full, and the other devices at work."""

    def __init__(self, at: Loaded) -> None:
        self.emergencies = asyncio.Semaphore(0)
        self._at = at
        self._keys = itertools.count()
        self._free = {point(0, n) for n in range(EMERGENCY)}
        self._others = {point(1 + m, n) for m in range(OTHERS) for n in range(OTHER_REGISTERS)}
        at.feed.on_event = self._told

    def _told(self, body: dict[str, Any]) -> None:
        if body["priority"] == "emergency" and body["final"]:
            self.emergencies.release()
        elif body["final"]:
            (self._free if body["point"].startswith("rack_0.") else self._others).add(body["point"])

    async def submit(self, name: str, priority: Priority = Priority.OPERATOR) -> None:
        n = next(self._keys)
        request = Request(f"k{n}", name, float(1 + n % 65_000), priority, DEADLINE_S, "")
        await self._at.commands.submit(request, "bench")

    async def fill(self) -> None:
        """Until the queue takes no more."""
        while True:
            names = [self._free.pop() for _ in range(min(100, len(self._free)))]
            done = await asyncio.gather(*map(self.submit, names), return_exceptions=True)
            self._free |= {n for n, d in zip(names, done, strict=True) if isinstance(d, LimitExceeded)}
            for other in [d for d in done if d is not None]:
                if isinstance(other, LimitExceeded):
                    return
                raise other
            await asyncio.sleep(0)

    async def keep_busy(self) -> None:
        """Until cancelled: whatever a device of the others has done is asked of it again."""
        while True:
            for name in [self._others.pop() for _ in range(len(self._others))]:
                await self.submit(name)
            await asyncio.sleep(0.005)


async def emergencies(at: Loaded, devices: Counting) -> list[float]:
    """ms from submission to the device, of TIMES emergencies."""
    chance, traffic = random.Random(5), Traffic(at)
    asked: dict[int, int] = {}
    busy = asyncio.create_task(traffic.keep_busy())
    for n in range(TIMES):
        await traffic.fill()
        await asyncio.sleep(chance.uniform(0, 0.05))
        request = Request(f"emergency {n}", point(0, EMERGENCY), float(n + 1), Priority.EMERGENCY, DEADLINE_S, "")
        asked[n + 1] = time.monotonic_ns()
        await at.commands.submit(request, "bench")
        await traffic.emergencies.acquire()
    busy.cancel()
    came = arrivals(devices)
    return [(came[value] - begun) / 1e6 for value, begun in asked.items()]


def arrivals(devices: Counting) -> dict[int, int]:
    return {w.value: w.at_ns for w in devices.writes() if (w.device, w.register) == (0, EMERGENCY)}


async def floor(path: Path, port: int, devices: Counting) -> float:
    """ms of a commit and a write, with nothing before them."""
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (n INTEGER, what TEXT)")
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    assert await client.connect()
    begun: dict[int, int] = {}
    for n in range(1001, 1001 + TIMES):
        begun[n] = time.monotonic_ns()
        database.execute("INSERT INTO t VALUES (?, 'a step as it is recorded')", (n,))
        await client.write_register(EMERGENCY, n, device_id=1)
    client.close()
    database.close()
    came = arrivals(devices)
    return median((came[n] - at_ns) / 1e6 for n, at_ns in begun.items())


async def measured(folder: Path, ports: Sequence[int], devices: Counting) -> None:
    plant = write_plant(folder / "plant", ports, [REGISTERS, *[OTHER_REGISTERS] * OTHERS], poll_s=1.0)
    async with at_work(folder, plant) as at:
        took = await emergencies(at, devices)
    limit = await floor(folder / "floor.sqlite", ports[0], devices)
    detail: dict[str, object] = {
        "queued": QUEUE, "emergencies": TIMES, "median_ms": round(median(took), 2), "worst_ms": round(max(took), 2),
        "bar_ms": BAR_MS, "within_the_bar": sum(ms <= BAR_MS for ms in took), "device_answers_in_ms": 1000 * ANSWER_S,
        "busy_devices": 1 + OTHERS, "limit_is": "one commit and one write, nothing before them",
    }  # fmt: skip
    line("command_overtake", round(max(took), 2), "ms", round(limit, 2), detail)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        counting(Path(name), 1 + OTHERS, manners=Manners(answer_s=ANSWER_S)) as devices,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(measured(Path(name), devices.ports, devices))


if __name__ == "__main__":
    main()
