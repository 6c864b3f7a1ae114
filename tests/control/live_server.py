"""A whole server in a process of its own whose points move at a set rate, without devices: for benches of its clients.

`python -m tests.control.live_server FOLDER POINTS CHANGED PER_S` prints its first line as `twinloop up` does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from control import app
from control.compiled import load
from control.live import LiveTwin
from protocols.link import Clock
from twin.readings import Readings

EACH = 100  # points of a twin


def write_plant(folder: Path, points: int) -> Path:
    """Racks of points on one device."""
    (folder / "interfaces").mkdir(parents=True)
    contents = [{"@type": "Telemetry", "name": f"v{n}", "schema": "double"} for n in range(EACH)]
    interface = {
        "@context": "dtmi:dtdl:context;3",
        "@id": "dtmi:bench:Rack;1",
        "@type": "Interface",
        "contents": contents,
    }
    (folder / "interfaces" / "Rack.json").write_text(json.dumps(interface))
    twins = "".join(f'[[twin]]\nid = "rack_{n}"\ninterface = "dtmi:bench:Rack;1"\n' for n in range(points // EACH))
    device = '[[device]]\nid = "plc"\nprotocol = "modbus"\nendpoint = "modbus://127.0.0.1:9/1"\n'
    (folder / "plant.toml").write_text(f'[plant]\nid = "live"\nname = "Live"\n{device}{twins}')
    rows = (f"rack_{n // EACH}.v{n % EACH},plc,holding:{n}:int16,double,,1,r,no\n" for n in range(points))
    (folder / "points.csv").write_text("point,device,address,type,unit,scale,access,audit\n" + "".join(rows))
    return folder


async def move(live: LiveTwin, changed: int, per_s: float) -> None:
    """So many points get fresh values so often, in turn, as a link would deliver them."""
    ours = live.plant.points.where("device", "plc")
    due, step = time.perf_counter(), 0
    while True:
        ids = np.sort(ours[(np.arange(changed) + step * changed) % len(ours)])
        live.readings(Readings.of(ids, np.sin(ids + step / 10.0), time.time_ns()))
        step, due = step + 1, max(due + 1 / per_s, time.perf_counter() - 1)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


def main() -> None:
    folder, points, changed, per_s = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    load()
    plain = app._running

    def running(server: Any, pki: Path, clock: Clock) -> Sequence[Coroutine[Any, Any, None]]:
        return (*plain(server, pki, clock), move(server.parts.live, changed, per_s))

    app._running = running
    app._links = lambda *_: {}  # the load takes the device's place
    config = app.Config(write_plant(folder / "plant", points), folder / "data", "127.0.0.1", 0, {}, 1)

    def ready(url: str, login: str, _: object) -> None:
        print(json.dumps({"url": url, "login": login}), flush=True)

    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
        await app.serve(config, ready, stop)

    uvloop.run(serve())


if __name__ == "__main__":
    main()
