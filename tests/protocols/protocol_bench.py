"""A small field for the link tests: devices, points, a sink that remembers, and a cable that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from protocols.catalog import PROTOCOLS
from protocols.link import DeadLetter, Link, LinkState
from twin.plant import Device
from twin.points import Point
from twin.readings import Readings

DEADLINE_S = 8.0


def device(protocol: str, endpoint: str, **settings: Any) -> Device:
    """A device with the protocol's defaults, some of them replaced."""
    known = PROTOCOLS[protocol].rules.settings
    assert set(settings) <= set(known)
    return Device("d1", protocol, endpoint, {key: s.default for key, s in known.items()} | settings)


def point(id: int, address: str, type: str = "double", **more: Any) -> Point:
    return Point(id, f"twin{id}.value", f"twin{id}", "value", type, "", "d1", address, **more)


@dataclass
class RecordingSink:
    """Remembers everything a link says; `latest` holds the last reading of a point as (value, quality, source time)."""

    latest: dict[int, tuple[float, int, int]] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    batches: list[Readings] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    states: list[LinkState] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    beats: int = 0
    early: int = 0  # batches that came while the link was not online

    def readings(self, batch: Readings) -> None:
        self.early += not self.online
        self.batches.append(batch)
        for row in range(len(batch)):
            id = int(batch.point[row])
            self.latest[id] = (float(batch.value[row]), int(batch.quality[row]), int(batch.source_time[row]))
            if row in batch.text:
                self.texts[id] = batch.text[row]

    def dead_letter(self, letter: DeadLetter) -> None:
        self.letters.append(letter)

    def heard(self, device_id: str) -> None:
        self.beats += 1

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None:
        self.states.append(state)

    def metric(self, device_id: str, name: str, value: float) -> None:
        self.metrics[name] = value

    def value(self, id: int) -> float | None:
        return self.latest[id][0] if id in self.latest else None

    def quality(self, id: int) -> int | None:
        return self.latest[id][1] if id in self.latest else None

    @property
    def reasons(self) -> set[tuple[str, str]]:
        return {(letter.point, letter.reason) for letter in self.letters}

    @property
    def online(self) -> bool:
        return bool(self.states) and self.states[-1] is LinkState.ONLINE


async def until(holds: Callable[[], bool], what: str, within_s: float = DEADLINE_S) -> None:
    """Wait for something to become true; fail with its name when it does not."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(link: Link) -> AsyncIterator[None]:
    """The link runs while the test does, and leaves no task and no thread behind."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(link.run())
    try:
        yield
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended
        left = {t for t in asyncio.all_tasks() - before if not t.done() and t.get_name().startswith("d1")}
        assert not left


# Below those that the system gives away by itself: between two lives of a server no connection takes its port. Where a
# process begins depends on which it is, so that those that run beside each other hardly meet.
PORTS = range(10_000, 30_000)
_NEXT = itertools.count(37 * os.getpid())


def free_port() -> int:
    """One that stays free until somebody listens on it by its number."""
    for _ in PORTS:
        port = PORTS[next(_NEXT) % len(PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def seeded() -> random.Random:
    return random.Random(7)


@dataclass
class Wished:
    """What a simulated device does with writes: notes them, and refuses where the test says so."""

    writes: list[tuple[int, float]] = field(default_factory=list)
    refuse: bool = False

    def __call__(self, point: Point, value: float) -> bool:
        self.writes.append((point.id, value))
        return not self.refuse


class Cable:
    """A TCP relay between link and device that can swallow what the device answers, or be cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.swallow = False
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Cable:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, back]
        for source, sink, answers in ((reader, back, False), (there, writer, True)):
            task = asyncio.create_task(self._carry(source, sink, answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if not (answers and self.swallow):
                    sink.write(data)
        with contextlib.suppress(OSError, RuntimeError):
            sink.close()
