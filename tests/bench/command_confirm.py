"""Confirmed commands a second on Modbus devices in another process, each step durable, each value read back.

The limit is what the same steps cost when one does nothing else, one after the other: commits, a write, a read. The
second figure is how long a command takes to be confirmed when RATE come every second, whatever became of those before.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop
from pymodbus.client import AsyncModbusTcpClient

from control.command import Priority
from control.request import Request
from tests.bench import line
from tests.control.loaded import Loaded, at_work
from tests.plant.counting import counting
from tests.plant.racks import point, write_plant

DEVICES, REGISTERS = 8, 64
OUTSTANDING = 96  # commands under way in the closed loop
ROUND_S, ROUNDS = 2.0, 3
RATE, OPEN_S = 300, 8.0
STEPS = 4  # submitted, sent, acknowledged, confirmed: a commit each
FLOOR_S = 1.5
DEADLINE_S = 30.0
POINTS = [point(*where) for where in itertools.product(range(DEVICES), range(REGISTERS))]


class Load:
    """Submits, and hears how each command ended."""

    def __init__(self, at: Loaded) -> None:
        self.ended: Counter[str] = Counter()
        self._at = at
        self._keys = itertools.count()
        self._waiting: dict[str, asyncio.Future[str]] = {}
        at.feed.on_event = self._told

    def _told(self, body: dict[str, Any]) -> None:
        if body["final"]:
            self.ended[body["status"]] += 1
            self._future(body["id"]).set_result(body["status"])

    def _future(self, identity: str) -> asyncio.Future[str]:
        return self._waiting.setdefault(identity, asyncio.get_running_loop().create_future())

    async def command(self, name: str) -> str:
        """The status in which it ended. Registers see a new value each time, so nothing is confirmed by the old one."""
        n = next(self._keys)
        request = Request(f"k{n}", name, float(1 + n % 65_000), Priority.OPERATOR, DEADLINE_S, "")
        submitted = await self._at.commands.submit(request, "bench")
        status = await self._future(submitted.id)
        del self._waiting[submitted.id]
        return status

    async def closed_loop(self, for_s: float) -> float:
        """Confirmed commands a second with OUTSTANDING under way, each of its own point."""
        begun = time.perf_counter()
        before = self.ended["CONFIRMED"]

        async def go_on(name: str) -> None:
            while time.perf_counter() - begun < for_s:
                await self.command(name)

        await asyncio.gather(*(go_on(POINTS[n * len(POINTS) // OUTSTANDING]) for n in range(OUTSTANDING)))
        return (self.ended["CONFIRMED"] - before) / (time.perf_counter() - begun)

    async def open_loop(self, for_s: float) -> list[float]:
        """From the moment at which each was due to its confirmation, in ms, RATE a second."""
        took: list[float] = []

        async def one(due: float, name: str) -> None:
            if await self.command(name) == "CONFIRMED":
                took.append(1000 * (time.perf_counter() - due))

        spread = random.Random(1).sample(POINTS, len(POINTS))
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for n in range(int(RATE * for_s)):
                due = begun + n / RATE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(one(due, spread[n % len(spread)]))
        return took


async def floor(path: Path, port: int) -> float:
    """Commands a second of the bare steps, one after the other."""
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (n INTEGER, what TEXT)")
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    assert await client.connect()
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < FLOOR_S:
        for step in range(STEPS):
            if step == 2:
                await client.write_register(1, done % 65_536, device_id=1)
                read = await client.read_holding_registers(1, count=1, device_id=1)
                assert read.registers == [done % 65_536]
            database.execute("INSERT INTO t VALUES (?, 'a step as it is recorded')", (done,))
        done += 1
    took_s = time.perf_counter() - begun
    client.close()
    database.close()
    return done / took_s


async def measured(folder: Path, ports: Sequence[int]) -> None:
    # The runtime reads back what it wrote: that the link does, too, is for other writers.
    plant = write_plant(folder / "plant", ports, REGISTERS, poll_s=1.0, read_back=False)
    rates: list[float] = []
    floors: list[float] = []
    async with at_work(folder, plant) as at:
        load = Load(at)
        await load.closed_loop(1.0)
        cpu, wall = time.process_time(), time.perf_counter()
        rates = [await load.closed_loop(ROUND_S) for _ in range(ROUNDS)]
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
        confirmed = sum(rates) / len(rates) * wall_s
        took = await load.open_loop(OPEN_S)
        ended = dict(load.ended)
    floors = [await floor(folder / f"floor{n}.sqlite", ports[0]) for n in range(2)]
    p50, p99 = np.percentile(took, [50, 99])
    detail: dict[str, object] = {
        "devices": DEVICES, "outstanding": OUTSTANDING, "lowest": round(min(rates)), "highest": round(max(rates)),
        "open_loop_per_s": RATE, "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1),
        "worst_ms": round(max(took), 1), "ended": ended, "cores_busy": round(cpu_s / wall_s, 2),
        "cpu_ms_per_command": round(1000 * cpu_s / confirmed, 2),
        "limit_is": "4 commits, a write and a read one after the other",
    }  # fmt: skip
    line("command_confirm", round(median(rates), 1), "commands/s", round(median(floors), 1), detail)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        counting(Path(name), DEVICES) as devices,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(measured(Path(name), devices.ports))


if __name__ == "__main__":
    main()
