"""Commands at work on counting devices, as a server has them: everything but HTTP; for the benchmarks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control.app import lasting
from control.command_store import CommandStore
from control.evidence import Evidence
from control.live import LiveTwin
from control.plants import read_plant
from control.runtime import CommandRuntime
from protocols.catalog import PROTOCOLS
from protocols.link import Link, LinkState
from tests.control.plants import until
from twin.feed import Event, Feed
from twin.history import History
from twin.store import Store


class TellingFeed(Feed):
    """The feed, which also tells one listener of each event at once."""

    on_event: Callable[[dict[str, Any]], None] = staticmethod(lambda body: None)

    def announce(self, kind: str, time: int, body: dict[str, Any]) -> Event:
        event = super().announce(kind, time, body)
        if kind == "command":
            self.on_event(body)
        return event


@dataclass
class Loaded:
    """A runtime whose links are all online."""

    commands: CommandRuntime
    live: LiveTwin
    feed: TellingFeed


@asynccontextmanager
async def at_work(folder: Path, plant_folder: Path) -> AsyncIterator[Loaded]:
    """Links, twin, history, store and ledger around the plant's devices; everything stops at the end."""
    plant = read_plant(plant_folder, {})
    async with AsyncExitStack() as closing:
        on_disk = CommandStore(folder / "commands.sqlite")
        closing.callback(on_disk.close)
        store = closing.enter_context(Store(folder / "history.duckdb"))
        evidence = Evidence(folder / "ledger", plant.id, time.time_ns)
        closing.push_async_callback(asyncio.to_thread, evidence.close)
        history = History(store, [p.name for p in plant.points], evidence.record_batch)
        closing.push_async_callback(asyncio.to_thread, history.close)
        live = LiveTwin(plant, 1, history, time.time_ns)
        live.feed = feed = TellingFeed(plant.points.size, 1)
        live.begin()
        numbers, stamp = iter(range(10**9)), time.time_ns()
        links: dict[str, Link] = {}
        commands = CommandRuntime(live, links, on_disk, evidence, time.time_ns, lambda: f"{stamp:x}{next(numbers):08x}")
        live.on_link_change = commands.link_changed
        for device in plant.devices:
            points = plant.points_of_device(device.id)
            links[device.id] = PROTOCOLS["modbus"].link(device, points, live, time.time_ns, random.Random(1), None)
        tasks = [asyncio.create_task(work) for work in (commands.run(), *(link.run() for link in links.values()))]
        closing.push_async_callback(_end, tasks)
        await until(lambda: set(live.states.values()), lambda states: states == {LinkState.ONLINE})
        closing.enter_context(lasting())
        yield Loaded(commands, live, feed)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
