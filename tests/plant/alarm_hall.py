"""A hall of a thousand measuring points with limits and one tank, on a real server; what they show comes from the test."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from control.accounts import Accounts
from control.client import Client
from protocols.catalog import PROTOCOLS
from protocols.served import ServedDevice
from tests.control.served_plant import PASSWORD, read_plant
from tests.plant.site import Site, site, until
from twin.role import Role

T = TypeVar("T")
ROWS, CELLS = 25, 40
CELLS_ALL = ROWS * CELLS
HOT, COLD = 120.0, 20.0
TANK = "tank.level:high"
PEOPLE = {"anna": Role.OPERATOR, "sven": Role.SUPERVISOR, "otto": Role.VIEWER}
PLANT = """
[plant]
id = "hall"
name = "Furnace hall"

[[device]]
id = "plc"
protocol = "modbus"
endpoint = "modbus://127.0.0.1:1/1"
poll_s = 0.1

[[twin]]
id = "hall"
interface = "dtmi:hall:Hall;1"
name = "Hall"

[[twin]]
id = "tank"
interface = "dtmi:hall:Tank;1"
name = "Quench tank"
at = [5, 3]

[[relationship]]
source = "hall"
name = "contains"
target = "tank"
"""
ALARMS = """
[[alarm]]
id = "high"
points = ["tank.level"]
hi = 8
deadband = 0.2
priority = "high"
group = "tank"
message = "the tank is about to overflow"
cause = "the drain is blocked, or the inlet valve sticks"
consequence = "oil on a hot floor"
response = "close the inlet by hand, then open the drain"

[[alarm]]
id = "rising"
points = ["tank.level"]
hi = 7.5
priority = "medium"
group = "tank"
message = "the tank is rather full"

[[alarm]]
id = "hot"
points = ["row_*.c*"]
hi = 100
message = "a cell is hot"
response = "lower its power"

[[alarm]]
id = "hot"
points = ["row_1.c*", "row_2.c*", "row_3.c*", "row_4.c*"]
priority = "medium"

[[alarm]]
id = "hot"
points = ["row_0.c*"]
priority = "high"
"""


def cell(n: int) -> str:
    return f"row_{n // CELLS}.c{n % CELLS}"


def write_hall(folder: Path) -> Path:
    (folder / "interfaces").mkdir(parents=True)
    head = [PLANT]
    rows = [
        "point,device,address,type,unit,scale,access,audit,low,high",
        "tank.level,plc,input:0:uint16,double,m,0.001,r,no,0,10",
    ]
    for n in range(ROWS):
        place = f"[{n % 5 * 2}, {n // 5 * 3 + 1}]"
        head.append(f'[[twin]]\nid = "row_{n}"\ninterface = "dtmi:hall:Row;1"\nname = "Row {n}"\nat = {place}')
        head.append(f'[[relationship]]\nsource = "hall"\nname = "contains"\ntarget = "row_{n}"')
    rows += [f"{cell(n)},plc,input:{n + 1}:uint16,double,degC,1,r,no,0,1000" for n in range(CELLS_ALL)]
    (folder / "plant.toml").write_text("\n\n".join([*head, ALARMS]))
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    temperature = {"@type": ["Telemetry", "Temperature"], "schema": "double", "unit": "degreeCelsius"}
    level = {"@type": ["Telemetry", "Distance"], "name": "level", "schema": "double", "unit": "metre"}
    interfaces: Mapping[str, list[dict[str, Any]]] = {
        "Hall": [{"@type": "Relationship", "name": "contains"}], "Tank": [level],
        "Row": [{**temperature, "name": f"c{n}"} for n in range(CELLS)],
    }  # fmt: skip
    for name, contents in interfaces.items():
        context = ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"]
        body = {"@context": context, "@id": f"dtmi:hall:{name};1", "@type": "Interface", "contents": contents}
        (folder / "interfaces" / f"{name}.json").write_text(json.dumps(body))
    return folder


@dataclass
class Hall:
    """`client` calls with the token of the data folder."""

    site: Site
    client: Client
    device: ServedDevice
    ids: Mapping[str, int]
    loop: asyncio.AbstractEventLoop

    def show(self, values: Mapping[str, float]) -> None:
        """What the instruments say from now on."""
        self._on_plc(self._publish(values))

    def flood(self, over_s: float, value: float = HOT) -> Callable[[], None]:
        """Every cell turns to the value, evenly over a time; gives what waits for its end."""

        async def turn() -> None:
            steps = max(1, round(over_s / 0.1))
            for step in range(steps):
                some = range(CELLS_ALL * step // steps, CELLS_ALL * (step + 1) // steps)
                await self._publish({cell(n): value for n in some})
                await asyncio.sleep(over_s / steps)

        running = asyncio.run_coroutine_threadsafe(turn(), self.loop)
        return lambda: running.result(60)

    def open(self) -> int:
        return int(self.client.get("/alarms", limit=1)["total"])

    def history(self) -> list[dict[str, Any]]:
        """All steps, newest first, once every one is on disk."""
        until(lambda: self.client.get("/alarms", limit=1)["waiting"], lambda n: n == 0)
        found: list[dict[str, Any]] = self.client.get("/alarms/history", limit=5000)
        return found

    async def _publish(self, values: Mapping[str, float]) -> None:
        await self.device.publish({self.ids[n]: v for n, v in values.items()}, time.time_ns(), {})

    def _on_plc(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


@contextmanager
def alarm_hall(folder: Path) -> Iterator[Hall]:
    """Live and quiet from the first moment; it leaves nothing behind."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    plant = read_plant(write_hall(folder / "hall"))
    described, points = plant.device_of_id["plc"], plant.points_of_device("plc")
    free = type(described)("plc", "modbus", "modbus://127.0.0.1:0/1", described.settings)
    device = PROTOCOLS["modbus"].device(free, points, lambda *_: False, time.time_ns, None)

    async def start() -> None:
        await device.start()
        await device.publish({p.id: COLD for p in points} | {points[0].id: 3.0}, time.time_ns(), {})

    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        with site(folder) as made:
            made.data.mkdir()
            accounts = Accounts(made.data, time.time_ns)
            for name, role in PEOPLE.items():
                accounts.add(name, PASSWORD, role)
            with made.start_server(str(folder / "hall"), plc=device.endpoint) as client:
                until(lambda: client.get(f"/points/{cell(CELLS_ALL - 1)}")["good"], bool)
                yield Hall(made, client, device, {p.name: p.id for p in points}, loop)
    finally:
        asyncio.run_coroutine_threadsafe(device.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
