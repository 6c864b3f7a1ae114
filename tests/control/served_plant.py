"""A small plant with a real PLC behind it, shown to the outside: for the tests of the faces."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control.accounts import Accounts
from control.command import Command
from control.command_store import CommandStore
from control.evidence import Evidence
from control.graph import LiveGraph
from control.graph_store import GraphStore
from control.live import LiveTwin
from control.northbound import Northbound, Sources, Station
from control.runtime import CommandRuntime
from protocols.catalog import PROTOCOLS
from protocols.faces import FACES
from protocols.link import Link
from protocols.served import ServedDevice
from tests.control.plants import until
from twin.history import History
from twin.plant import Plant
from twin.plantfile import load_plant
from twin.points import Point
from twin.role import Role
from twin.store import Store

PASSWORD = "eleven pumps"
HANGS_MAX_S = 30.0
PLANT = """
[plant]
id = "works"
name = "Water works"

[[device]]
id = "plc"
protocol = "modbus"
endpoint = "modbus://127.0.0.1:1/1"
poll_s = 0.05
timeout_s = 0.4

[[device]]
id = "dead"
protocol = "modbus"
endpoint = "modbus://127.0.0.1:9/1"
timeout_s = 0.4

[[twin]]
id = "pump"
interface = "dtmi:works:Pump;1"
name = "Feed pump"

[[twin]]
id = "tank"
interface = "dtmi:works:Tank;1"

[[twin]]
id = "far"
interface = "dtmi:works:Pump;1"

[[relationship]]
source = "pump"
name = "feeds"
target = "tank"

[[feedback]]
point = "pump.status"
feedback = "pump.running"
within_s = 1.0
"""
POINTS = """point,device,address,type,unit,scale,access,audit,low,high
pump.status,plc,coil:0,boolean,,,rw,no,,
pump.running,plc,discrete:0,boolean,,,r,no,,
pump.speed,plc,holding:0:uint16,double,%,0.1,rw,no,0,120
pump.mode,plc,holding:1:uint16,enum,,,rw,no,,
pump.starts,plc,input:0:uint32,integer,,,r,no,,
pump.motor.temperature,plc,input:2:int16,double,degC,0.1,r,no,,
tank.level,plc,input:3:uint16,double,m,0.001,r,no,0,10
far.status,dead,coil:0,boolean,,,rw,no,,
"""
MODE = {
    "@type": "Enum", "valueSchema": "integer",
    "enumValues": [{"name": "off", "enumValue": 0}, {"name": "hand", "enumValue": 2}, {"name": "auto", "enumValue": 4}],
}  # fmt: skip
INTERFACES: Mapping[str, dict[str, Any]] = {
    "Asset": {"contents": [{"@type": "Telemetry", "name": "running", "schema": "boolean"}]},
    "Motor": {"contents": [
        {"@type": ["Telemetry", "Temperature"], "name": "temperature", "schema": "double", "unit": "degreeCelsius"}]},
    "Tank": {"contents": [
        {"@type": ["Telemetry", "Distance"], "name": "level", "schema": "double", "unit": "metre", "displayName": "Level"}]},
    "Pump": {"extends": "dtmi:works:Asset;1", "displayName": "Pump", "description": "Lifts water", "contents": [
        {"@type": "Property", "name": "status", "schema": "boolean", "writable": True},
        {"@type": "Property", "name": "speed", "schema": "double", "unit": "percent", "writable": True},
        {"@type": "Property", "name": "mode", "schema": MODE, "writable": True},
        {"@type": "Telemetry", "name": "starts", "schema": "integer"},
        {"@type": "Component", "name": "motor", "schema": "dtmi:works:Motor;1"},
        {"@type": "Relationship", "name": "feeds"},
        {"@type": "Command", "name": "greaseBearings"}]},
}  # fmt: skip
FIRST = {"pump.status": 0.0, "pump.running": 0.0, "pump.speed": 80.0, "pump.mode": 4.0, "pump.starts": 7.0,
         "pump.motor.temperature": 41.5, "tank.level": 3.25}  # fmt: skip


def write_plant(folder: Path, more: str = "") -> Path:
    """The plant's folder; `more` goes to the end of plant.toml."""
    (folder / "interfaces").mkdir(parents=True, exist_ok=True)
    (folder / "plant.toml").write_text(PLANT + more)
    (folder / "points.csv").write_text(POINTS)
    for name, body in INTERFACES.items():
        head = {
            "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"],
            "@id": f"dtmi:works:{name};1", "@type": "Interface",
        }  # fmt: skip
        (folder / "interfaces" / f"{name}.json").write_text(json.dumps({**head, **body}))
    return folder


def read_plant(
    folder: Path, endpoints: Mapping[str, str] | None = None, serve: Mapping[str, str] | None = None
) -> Plant:
    rules = {name: entry.rules for name, entry in PROTOCOLS.items()}
    return load_plant(folder, rules, endpoints, {name: entry.rules for name, entry in FACES.items()}, serve)


@dataclass
class Plc:
    """The device: what was written to it. The process follows as long as it `follows`.

    While there is a closed `gate` it hangs in the next write and answers nobody; only where it has a thread of its own.
    """

    served: ServedDevice
    ids: Mapping[str, int]
    writes: list[tuple[str, float]] = field(default_factory=list)
    accepts: bool = True
    follows: bool = True
    gate: threading.Event | None = None

    async def show(self, values: Mapping[str, float]) -> None:
        await self.served.publish({self.ids[n]: v for n, v in values.items()}, time.time_ns(), {})


@dataclass
class Works:
    """The plant at work, and its stations."""

    plant: Plant
    live: LiveTwin
    graph: LiveGraph
    commands: CommandRuntime
    accounts: Accounts
    evidence: Evidence
    plc: Plc
    stations: Mapping[str, Station]
    endpoints: Mapping[str, str]

    def value(self, name: str) -> float:
        return float(self.live.table.columns.value[self.plant.point(name).id])

    def quality(self, name: str) -> int:
        return int(self.live.table.columns.quality[self.plant.point(name).id])

    async def newest(self) -> Command:
        return (await self.commands.newest(1))[0]

    async def ended(self, status: str) -> Command:
        """The newest command once it has that status."""
        return await until(self.newest, lambda c: c.status == status)  # type: ignore[no-any-return,attr-defined]


@asynccontextmanager
async def works(
    folder: Path, more: str = "", serve: Mapping[str, str] | None = None, pki: Path | None = None
) -> AsyncIterator[Works]:
    """Everything of a server that a face needs, good from the first moment; it stops at the end."""
    plain = read_plant(write_plant(folder / "plant", more))
    plc = await serve_plc(plain)
    plant = read_plant(folder / "plant", {"plc": plc.served.endpoint}, serve)
    data = folder / "data"
    data.mkdir()
    accounts = Accounts(data, time.time_ns)
    accounts.add("anna", PASSWORD, Role.OPERATOR)
    accounts.add("otto", PASSWORD, Role.VIEWER)
    async with AsyncExitStack() as closing:
        commands_on_disk = CommandStore(data / "commands.sqlite")
        closing.callback(commands_on_disk.close)
        closing.push_async_callback(plc.served.stop)
        store = closing.enter_context(Store(data / "history.duckdb"))
        evidence = Evidence(data / "ledger", "works", time.time_ns)
        closing.push_async_callback(asyncio.to_thread, evidence.close)
        history = History(store, [p.name for p in plant.points], evidence.record_batch)
        closing.push_async_callback(asyncio.to_thread, history.close)
        live = LiveTwin(plant, 1, history, time.time_ns)
        live.begin()
        numbers = iter(range(10**9))
        links: dict[str, Link] = {}
        stamp = time.time_ns()

        def new_id() -> str:
            return f"{stamp:x}-{next(numbers)}"

        commands = CommandRuntime(live, links, commands_on_disk, evidence, time.time_ns, new_id)
        live.on_link_change = commands.link_changed
        for device in plant.devices:
            points = plant.points_of_device(device.id)
            links[device.id] = PROTOCOLS["modbus"].link(device, points, live, time.time_ns, random.Random(1), None)
        graph_store = GraphStore(data / "graph.sqlite")
        closing.callback(graph_store.close)
        graph = LiveGraph(live, graph_store, evidence, time.time_ns)
        closing.callback(graph.close)
        sources = Sources(live, store, commands, accounts, evidence, time.time_ns, new_id)
        northbound = Northbound(plant.servings, sources, pki)
        endpoints = await northbound.start()
        tasks = [
            asyncio.create_task(work) for work in (commands.run(), northbound.run(), *(k.run() for k in links.values()))
        ]
        closing.push_async_callback(_end, tasks)
        stations = {s.serving.id: s for s in northbound.stations}
        made = Works(plant, live, graph, commands, accounts, evidence, plc, stations, endpoints)
        await until(lambda: made.value("tank.level"), lambda level: level == FIRST["tank.level"])
        yield made


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def serve_plc(plant: Plant) -> Plc:
    device = plant.device_of_id["plc"]
    points = plant.points_of_device("plc")
    following: set[asyncio.Task[None]] = set()
    plc: Plc

    def on_write(point: Point, value: float) -> bool:
        if not plc.accepts:
            return False
        if plc.gate is not None:
            plc.gate.wait(HANGS_MAX_S)
        plc.writes.append((point.name, value))
        if plc.follows:
            shown = {point.name: value} | ({"pump.running": value} if point.name == "pump.status" else {})
            task = asyncio.get_running_loop().create_task(plc.show(shown))
            following.add(task)
            task.add_done_callback(following.discard)
        return True

    free = PROTOCOLS["modbus"].device(
        type(device)(device.id, device.protocol, "modbus://127.0.0.1:0/1", device.settings), points, on_write,
        time.time_ns, None,
    )  # fmt: skip
    plc = Plc(free, {p.name: p.id for p in points})
    await free.start()
    await plc.show(FIRST)
    return plc
