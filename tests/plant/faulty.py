"""A whole site in one process on real sockets: fleet, cables, links and live twin; and what must hold while it fails."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from control.live import STALE_AFTER_S, LiveTwin
from control.plants import RULES
from protocols.catalog import PROTOCOLS
from protocols.faults import Schedule
from protocols.link import Link, Verdict, WriteOutcome
from protocols.modbus.address import parse_address
from scenarios.fleet import PUBLISH_S, Fleet, run_fleet
from scenarios.works import write_works
from twin.columns import NEVER
from twin.history import History
from twin.plant import Plant
from twin.plantfile import load_plant
from twin.points import Point
from twin.quality import good_mask
from twin.store import Store

READY_S = 30.0
SETTLE_S = 25.0  # two waits of the longest back-off, 10 s, and a restart of everything
WRITE_S = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast everything happens: one factor on the times of devices, twin and faults alike."""

    factor: float

    @property
    def stale_s(self) -> float:
        return STALE_AFTER_S / self.factor

    @property
    def publish_s(self) -> float:
        return PUBLISH_S / self.factor

    def settings(self) -> dict[str, dict[str, Any]]:
        """Of the devices: those of a plant at life's own pace have their defaults."""
        if self.factor == 1:
            return {}
        f = self.factor
        return {
            "opcua": {"publishing_ms": 100 / f + 10, "heartbeat_s": 1 / f, "timeout_s": 4 / f},
            "modbus": {"poll_s": 0.5 / f, "timeout_s": 1 / f},
            "mqtt": {"keepalive_s": 2, "timeout_s": 4 / f},
        }


@dataclass
class Field:
    """The site while it runs, and what was seen of it."""

    plant: Plant
    pace: Pace
    fleet: Fleet
    live: LiveTwin
    links: dict[str, Link]
    events: list[dict[str, Any]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    verdicts: Counter[WriteOutcome] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._bound = np.concatenate([self.plant.points.where("device", d.id) for d in self.plant.devices])
        self._claims: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._claimed = np.full(self.plant.points.size, np.nan)
        self._registers = _Registers(self.plant)
        self._text = {p.id for p in self.plant.points if p.type in ("string", "object")}
        self._numbers = self._bound[~np.isin(self._bound, list(self._text))]
        self._unsure: set[int] = set()
        self.fleet.on_said = self._note_claims

    def rests(self) -> bool:
        return any(event["event"] == "rest" for event in self.events)

    def wrong(self) -> list[str]:
        """Points where the twin is not what the plant says, or not Good."""
        columns, shown, found = self.live.table.columns, self._registers.shown(self.fleet.shown), []
        for i in self._bound.tolist():
            value, code = columns.value[i], int(columns.quality[i])
            said: Any = self.fleet.truth_text(i) if i in self._text else shown[i]
            held: Any = columns.text.get(i) if i in self._text else value
            same = held == said if i in self._text else abs(value - said) <= self._registers.tolerance(i, said)
            if not same or code >> 30:
                told = self.fleet.settings().get(i)
                found.append(f"{self.plant.points[i].name}: twin {held} 0x{code:08x}, plant {said}, told {told}")
        return found

    async def watch(self) -> None:
        """For ever: what is Good was said lately, by the device itself."""
        while True:
            await asyncio.sleep(1.0 / self.pace.factor)
            self.live.sweep()
            self._doubt()

    def _note_claims(self) -> None:
        """What each device says now; Modbus cannot say Bad: it goes on saying what it said before."""
        now = time.monotonic()
        said = self._registers.shown(self.fleet.said)
        mute = self._registers.modbus & ~good_mask(self.fleet.said_quality)
        self._claimed = np.where(mute, self._claimed, said)
        self._claims.append((now, self._claimed))
        self._claims.append((now, self._registers.shown(self._told())))  # what it is told it says by itself
        # The one that held when the window began is needed too.
        while len(self._claims) > 2 and self._claims[2][0] < now - self.window_s:
            self._claims.popleft()

    def _told(self) -> NDArray[np.float64]:
        settings, told = self.fleet.settings(), np.full(self.plant.points.size, np.nan)
        told[list(settings)] = list(settings.values())
        return told

    @property
    def window_s(self) -> float:
        """How old a value may be and still look Good: stale time, a sweep, the slowest cable and this machine."""
        return self.pace.stale_s + 1.0 / self.pace.factor + 1.0

    def _doubt(self) -> None:
        columns = self.live.table.columns
        ids = self._numbers[good_mask(columns.quality[self._numbers]) & (columns.source_time[self._numbers] != NEVER)]
        age_s = (time.time_ns() - columns.received_time[ids]) / 1e9
        for i in ids[age_s > self.window_s].tolist():
            self._say_doubt(i, f"Good, and unheard for {(time.time_ns() - columns.received_time[i]) / 1e9:.1f} s")
        value = columns.value[ids]
        near = np.zeros(len(ids), np.bool_)
        for _, claimed in self._claims:
            near |= np.abs(claimed[ids] - value) <= self._registers.slack[ids] + 1e-6 * np.abs(value)
        for i in ids[~near].tolist():
            recent = [round(float(c[i]), 4) for _, c in list(self._claims)[-5:]]
            self._say_doubt(i, f"Good with {columns.value[i]!r}, its device said {recent}")

    def _say_doubt(self, point_id: int, words: str) -> None:
        if len(self.doubts) < 50:
            acting = [e for e in self.events if e["event"] == "fault"][-12:]
            recent = [(e["is"], e["kind"], e["start_s"], e["end_s"]) for e in acting
                      if e["device"] == self.plant.points[point_id].device]  # fmt: skip
            self.doubts.append(f"{self.plant.points[point_id].name}: {words} {recent}")

    async def command(self, chance: random.Random) -> None:
        """Write until the plant rests; a verdict tells the truth about what the device was told."""
        targets = [p for p in self.plant.points if p.writable]
        while not self.rests():
            await asyncio.sleep(chance.uniform(0, 2 * WRITE_S) / self.pace.factor)
            point = chance.choice(targets)
            if point.id in self._unsure:
                continue
            value = float(chance.randint(0, 2 if point.type == "enum" else 1 if point.type == "boolean" else 90))
            before = self.fleet.settings()[point.id]
            verdict = await self.links[point.device].write(point, value, 2.0)
            self.verdicts[verdict.outcome] += 1
            self._judge(point, before, value, verdict)

    def _judge(self, point: Point, before: float, value: float, verdict: Verdict) -> None:
        """What was sent and not answered may still be on its way, and act when nobody thinks of it any more."""
        if verdict.outcome is WriteOutcome.UNKNOWN or self.plant.device_of_id[point.device].protocol == "mqtt":
            self._unsure.add(point.id)  # a broker's answer is not the device's
            return
        told = self.fleet.settings()[point.id]
        wanted = value if verdict.outcome is WriteOutcome.ACCEPTED else before
        if abs(told - wanted) > 1e-6 + 1e-6 * abs(wanted):
            self.doubts.append(f"{point.name}: {verdict} of {value}, told {told}, before {before}")


class _Registers:
    """What Modbus registers make of values: they round and end."""

    def __init__(self, plant: Plant) -> None:
        size = plant.points.size
        self.modbus = np.zeros(size, np.bool_)
        self.slack = np.full(size, 1e-9)
        self._low, self._high = np.full(size, -np.inf), np.full(size, np.inf)
        for device in plant.devices:
            for point in plant.points_of_device(device.id) if device.protocol == "modbus" else ():
                self.modbus[point.id] = True
                kind = parse_address(point.address).type
                if kind.startswith(("int", "uint")):
                    limits = np.iinfo(kind)
                    self.slack[point.id] = point.scale / 2 + 1e-9
                    self._low[point.id] = limits.min * point.scale + point.offset
                    self._high[point.id] = limits.max * point.scale + point.offset

    def shown(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(value, self._low, self._high)

    def tolerance(self, point_id: int, value: float) -> float:
        return float(self.slack[point_id]) + 1e-6 * abs(value)


class Breaks(logging.Handler):
    """The breaks and heals of links, as the log tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "twinloop.link" and record.args:
            name = str(record.args[0] if isinstance(record.args, tuple) else record.args)
            word = "down" if " is down" in record.msg else "up" if " is up again" in record.msg else ""
            if word:
                self.told.setdefault(name, []).append(word)

    def down(self) -> list[str]:
        """The links that have not come up again."""
        return [name for name, told in self.told.items() if told[-1] == "down"]


def rss_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


@asynccontextmanager
async def faulty_site(
    folder: Path, schedule: Schedule | None, seed: int, pace: Pace, plant: Plant, broker: str | None = None
) -> AsyncIterator[Field]:
    """Everything runs inside the block; when it ends nothing is left."""
    stop, ready, box, events = asyncio.Event(), asyncio.Event(), list[Fleet](), list[dict[str, Any]]()
    free = {d.id: _free(d.protocol, broker) for d in plant.devices}
    begun = asyncio.create_task(
        run_fleet(
            plant, clock=time.time_ns, seed=seed, stop=stop, endpoints=free, activity=0.5, faults=schedule,
            broker=broker is None, rest_after_s=None if schedule is None else schedule.end_s,
            on_ready=lambda _: ready.set(), on_event=lambda e: events.append(dict(e)), on_fleet=box.append,
        )
    )  # fmt: skip
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({begun, waiting}, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if begun.done():
        await begun
    assert ready.is_set(), "the fleet did not start"
    with Store(folder / "history.duckdb") as store:
        history = History(store, plant.points.column("name").to_pylist(), lambda *_: None)
        live = LiveTwin(plant, 1, history, time.time_ns)
        live.begin()
        links: dict[str, Link] = {}
        where = box[0].endpoints()
        for device in plant.devices:
            reached = replace(device, endpoint=where[device.id])
            points = plant.points_of_device(device.id)
            chance = random.Random(f"{seed} {device.id}")
            links[device.id] = PROTOCOLS[device.protocol].link(reached, points, live, time.time_ns, chance, None)
        site = Field(plant, pace, box[0], live, links, events)
        tasks = [asyncio.create_task(link.run(), name=f"link {name}") for name, link in links.items()]
        tasks += [asyncio.create_task(site.watch()), asyncio.create_task(site.command(random.Random(seed)))]
        try:
            yield site
        finally:
            failed = [t.exception() for t in tasks if t.done() and not t.cancelled() and t.exception()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            stop.set()
            await asyncio.wait_for(begun, READY_S)
            await asyncio.to_thread(history.close)
            assert failed == []


def _free(protocol: str, broker: str | None) -> str:
    if protocol == "mqtt":
        return broker or "mqtt://127.0.0.1:0"
    return {"opcua": "opc.tcp://127.0.0.1:0/works", "modbus": "modbus://127.0.0.1:0/1"}[protocol]


def works(folder: Path, devices: int, points: int, pace: Pace) -> Plant:
    write_works(folder, devices, points, pace.settings())
    return load_plant(folder, RULES)


async def until(holds: Callable[[], object], what: Callable[[], object], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what()}"
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def heard_breaks() -> Any:
    handler, logger = Breaks(), logging.getLogger("twinloop.link")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
