"""A pump on a real Modbus server, as the runtime's tests need it: a plant in memory and the device that serves it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from control.command import Command, Priority
from control.command_store import CommandStore
from control.evidence import Evidence
from control.live import LiveTwin
from control.request import Request
from control.runtime import CommandRuntime
from protocols.catalog import PROTOCOLS
from protocols.link import Link
from protocols.served import ServedDevice
from twin.history import History
from twin.plant import Device, Feedback, Plant
from twin.points import Point, Points
from twin.schema import Enum, EnumValue
from twin.store import Store

DEADLINE_S = 10.0
MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 4)))


def plant(endpoint: str) -> Plant:
    """Two devices: a PLC with a pump, and a dead one that nobody serves."""
    settings = {n: s.default for n, s in PROTOCOLS["modbus"].rules.settings.items()}
    plc = Device("plc", "modbus", endpoint, {**settings, "poll_s": 0.05, "timeout_s": 0.4})
    dead = Device("dead", "modbus", "modbus://127.0.0.1:9/1", {**settings, "poll_s": 0.05, "timeout_s": 0.4})
    points = (
        Point(0, "pump.status", "pump", "status", "boolean", "", "plc", "coil:0", writable=True),
        Point(1, "pump.running", "pump", "running", "boolean", "", "plc", "discrete:0"),
        Point(2, "pump.speed", "pump", "speed", "double", "%", "plc", "holding:0:uint16", 0.1, 0.0, 0.0, 120.0, True),
        Point(3, "far.status", "far", "status", "boolean", "", "dead", "coil:0", writable=True),
        Point(4, "plc.state", "plc", "state", "string", "", "", ""),
        Point(5, "pump.mode", "pump", "mode", "enum", "", "plc", "holding:1:uint16", writable=True, schema=MODE),
    )
    feedback = (Feedback("pump.status", "pump.running", 0.0, 1.0),)
    return Plant("test", "Test", "", {}, (plc, dead), (), (), Points.of(points), feedback, None, {})


@dataclass
class Pump:
    """The served device: what was written to it, and how it behaves."""

    served: ServedDevice
    writes: list[tuple[str, float]] = field(default_factory=list)
    accepts: bool = True
    follows: bool = True
    stuck: bool = False

    async def show(self, **values: float) -> None:
        ids = {"status": 0, "running": 1, "speed": 2, "mode": 5}
        await self.served.publish({ids[n]: v for n, v in values.items()}, time.time_ns(), {})


@dataclass
class Bench:
    """A runtime at work on the pump."""

    commands: CommandRuntime
    live: LiveTwin
    pump: Pump
    evidence: Evidence
    store: CommandStore

    async def submit(self, point: str = "pump.status", value: float = 1.0, key: str = "k", **more: object) -> Command:
        fields = {"priority": Priority.OPERATOR, "deadline_s": DEADLINE_S, "reason": "", **more}
        return await self.commands.submit(Request(key, point, value, **fields), "tester")  # type: ignore[arg-type]

    async def until(self, identity: str, status: str) -> Command:
        """The command once it has that status."""
        return await until(lambda: self.commands.get(identity), lambda c: c.status == status)


async def until(ask: Callable[[], object], holds: Callable[[object], bool]) -> object:
    """What `ask` gives once it `holds`; fails after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while True:
        got = ask()
        if asyncio.iscoroutine(got):
            got = await got
        if holds(got):
            return got
        assert time.monotonic() < end, f"still {got}"
        await asyncio.sleep(0.01)


async def serve_pump(endpoint: str = "modbus://127.0.0.1:0/1") -> Pump:
    """A pump whose `running` follows its coil, as long as it `follows`."""
    described = plant(endpoint)
    pump: Pump

    def on_write(point: Point, value: float) -> bool:
        if not pump.accepts:
            return False
        pump.writes.append((point.name, value))
        if pump.follows and point.name == "pump.status":
            follow.append(asyncio.get_running_loop().create_task(pump.show(status=value, running=value)))
        elif pump.follows and point.name == "pump.mode":
            follow.append(asyncio.get_running_loop().create_task(pump.show(mode=value)))
        elif pump.follows:
            follow.append(asyncio.get_running_loop().create_task(pump.show(speed=value)))
        return True

    follow: list[asyncio.Task[None]] = []
    served = PROTOCOLS["modbus"].device(
        described.devices[0], described.points_of_device("plc"), on_write, time.time_ns, None
    )
    pump = Pump(served)
    await served.start()
    await pump.show(status=0.0, running=0.0, speed=100.0, mode=0.0)
    return pump


@asynccontextmanager
async def bench(data: Path, pump: Pump) -> AsyncIterator[Bench]:
    """Links, twin, store and ledger around the pump; everything stops at the end."""
    data.mkdir(parents=True, exist_ok=True)
    described = plant(pump.served.endpoint)
    with Store(data / "history.duckdb") as history_store, CommandLike(data) as store:
        evidence = Evidence(data / "ledger", "test", time.time_ns)
        history = History(history_store, [p.name for p in described.points], evidence.record_batch)
        live = LiveTwin(described, 1, history, time.time_ns)
        links: dict[str, Link] = {}
        numbers = iter(range(10**9))
        stamp = time.time_ns()
        commands = CommandRuntime(live, links, store, evidence, time.time_ns, lambda: f"{stamp:x}-{next(numbers)}")
        live.on_link_change = commands.link_changed
        for device in described.devices:
            points = described.points_of_device(device.id)
            links[device.id] = PROTOCOLS["modbus"].link(device, points, live, time.time_ns, random.Random(1), None)
        tasks = [asyncio.create_task(t) for t in (commands.run(), *(link.run() for link in links.values()))]
        try:
            yield Bench(commands, live, pump, evidence, store)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(history.close)
            await asyncio.to_thread(evidence.close)


class CommandLike:
    """A command store that closes with its block."""

    def __init__(self, data: Path) -> None:
        self._store = CommandStore(data / "commands.sqlite")

    def __enter__(self) -> CommandStore:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()
