"""Learned models in a real server: answers as points, a retraining in a process of its own, SIGKILL in the middle of it."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from control import learning
from control.client import Client
from control.places import MODELS
from ml.forecast import ForecastOptions
from ml.records import DataSet, Record
from ml.registry import AUTOMATIC, Registry
from ml.stages import Stage
from ml.training import Course
from protocols.catalog import PROTOCOLS
from protocols.served import ServedDevice
from tests.plant.site import Site, rows, site, until
from twin.errors import Conflict, NotFound
from twin.plant import Plant
from twin.plantfile import load_plant

PUMPS = tuple(f"pump_{n}" for n in range(6))
EVERY_S = 0.1
HEAD = """
[plant]
id = "pumps"

[[device]]
id = "plc"
protocol = "modbus"
endpoint = "modbus://127.0.0.1:1/1"
poll_s = 0.05

[[learned]]
id = "soon"
task = "forecast"
interface = "dtmi:test:Pump;1"
columns = ["flow"]
every = "0.1s"
ahead = ["0.2s", "0.5s"]
learn = "60s"
hold = "3s"
"""
PUMP = {
    "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"], "@id": "dtmi:test:Pump;1",
    "@type": "Interface", "contents": [
        {"@type": ["Telemetry", "VolumeFlowRate"], "name": "flow", "schema": "double", "unit": "litrePerSecond"}]}  # fmt: skip


def flow(pump: int, time_s: float) -> float:
    return 50.0 + 10.0 * math.sin(2 * math.pi * time_s / 3.0 + pump)


def write_plant(folder: Path) -> Path:
    (folder / "interfaces").mkdir(parents=True)
    twins = "".join(f'[[twin]]\nid = "{p}"\ninterface = "dtmi:test:Pump;1"\n' for p in PUMPS)
    (folder / "plant.toml").write_text(HEAD + twins)
    lines = [f"{p}.flow,plc,input:{2 * n}:float32,double,L/s,,r,no" for n, p in enumerate(PUMPS)]
    (folder / "points.csv").write_text("point,device,address,type,unit,scale,access,audit\n" + "\n".join(lines) + "\n")
    (folder / "interfaces" / "Pump.json").write_text(json.dumps(PUMP))
    return folder


@asynccontextmanager
async def pumping(plant: Plant, noise: float = 0.0) -> AsyncIterator[ServedDevice]:
    """The device behind the plant; its flows rise and fall every three seconds."""
    chance = random.Random(2)
    device, points = plant.device_of_id["plc"], plant.points_of_device("plc")
    free = type(device)(device.id, device.protocol, "modbus://127.0.0.1:0/1", device.settings)
    served = PROTOCOLS["modbus"].device(free, points, lambda point, value: False, time.time_ns, None)
    await served.start()

    async def move() -> None:
        while True:
            now_s = time.time()
            await served.publish(
                {p.id: flow(n, now_s) + chance.gauss(0.0, noise) for n, p in enumerate(points)}, time.time_ns(), {}
            )
            await asyncio.sleep(0.04)

    moving = asyncio.create_task(move())
    try:
        yield served
    finally:
        moving.cancel()
        await served.stop()


def first_model(data: Path, noise: float = 0.0) -> str:
    """Trained on what such pumps do, and live."""
    chance = random.Random(1)
    t = EVERY_S * np.arange(2_000.0)
    records = tuple(
        Record(p, t, np.array([[flow(n, x) + chance.gauss(0.0, noise)] for x in t])) for n, p in enumerate(PUMPS)
    )
    options = ForecastOptions(lookback=20, horizon=5, network="none")
    given = learning.Material(DataSet(("flow",), records, ("L/s",)))
    made = learning.train("forecast", given, options, 1, Course())
    registry = Registry(data / MODELS)
    registry.add(made, "soon", "tester", "the first", time.time_ns())
    registry.promote(made.hash, None, "tester", "the first", time.time_ns())
    return made.hash


def row(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/learned")[0]
    return found


def test_answers_are_points_and_a_retrained_model_is_held_against_the_champion(tmp_path: Path) -> None:
    asyncio.run(_answers_and_retraining(tmp_path))


async def _answers_and_retraining(tmp_path: Path) -> None:
    folder = write_plant(tmp_path / "pumps")
    plant = load_plant(folder, {name: entry.rules for name, entry in PROTOCOLS.items()})
    champion = first_model(tmp_path / "data")
    with site(tmp_path) as made:
        async with pumping(plant) as served:
            client = await asyncio.to_thread(made.start_server, str(folder), plc=served.endpoint)
            await asyncio.to_thread(_see_answers, client, champion)
            await asyncio.to_thread(_retrain, client, made, champion)
            await asyncio.to_thread(_survive, client, made, folder, served.endpoint, champion)


def _see_answers(client: Client, champion: str) -> None:
    until(lambda: row(client)["state"], lambda state: state == "serving")
    until(lambda: row(client)["known"], lambda known: known == len(PUMPS))
    told = rows(
        client,
        "SELECT name, value, text, quality_name FROM points WHERE twin = 'pump_3' AND name LIKE '%soon%' ORDER BY name",
    )
    assert [name for name, *_ in told] == [
        "pump_3.soon_flow_0_2s", "pump_3.soon_flow_0_2s_high", "pump_3.soon_flow_0_2s_low",
        "pump_3.soon_flow_0_5s", "pump_3.soon_flow_0_5s_high", "pump_3.soon_flow_0_5s_low", "pump_3.soon_model",
    ]  # fmt: skip
    assert told[-1][2] == champion[:12]
    assert {quality for *_, quality in told[:6]} == {"Good"}
    assert told[2][1] <= told[0][1] <= told[1][1]
    found = until(lambda: row(client), lambda r: r["error"] is not None)
    assert 'twinloop_learned_known{row="soon"} 6.0' in httpx.get(f"{client.url}/metrics", trust_env=False).text
    assert found["error"] < 0.3 and found["took_ms"] > 0  # of the variance: a guess of the mean has 1


def _retrain(client: Client, made: Site, champion: str) -> None:
    """On what the server heard itself; history must be long enough first."""
    with pytest.raises(NotFound, match="no \\[\\[learned\\]\\] 'son'"):
        client.post("/learned/son/training", {})
    until(lambda: rows(client, "SELECT count(*) FROM history WHERE point = 'pump_0.flow'")[0][0], lambda n: n > 340)
    client.post("/learned/soon/training", {"reason": "a test"})
    with pytest.raises(Conflict):
        client.post("/learned/soon/training", {})
    ended = until(lambda: row(client)["training"], lambda t: t["course"] != "running")
    assert ended["course"] == "done", ended["words"]
    registry = Registry(made.data / MODELS)
    life = registry.find(ended["model"])
    assert life.stage in (Stage.TRAINED, Stage.SHADOW)  # both know such pumps well: the contest decides
    assert registry.record()[-1].by == AUTOMATIC and "a test" in registry.record()[-1].why
    assert registry.read(life.model).manifest.parent == champion
    newest, first = client.get("/models", scope="soon")
    assert (newest["model"], newest["parent"], newest["stage"]) == (life.model, champion, life.stage.value)
    assert (first["stage"], first["columns"], first["problem"]) == ("live", ["flow"], "")
    assert first["steps"][-1]["by"] == "tester" and len(first["data_hash"]) == 64
    assert client.get("/models", scope="another") == []
    said = rows(client, "SELECT text FROM points WHERE name = 'soon.trained'")[0][0]
    assert said.startswith("done: ") and ended["model"][:12] in said


def _survive(client: Client, made: Site, folder: Path, endpoint: str, champion: str) -> None:
    """Cancelled, and killed with its server: the champion answers on, and its memory comes from history."""
    client.post("/learned/soon/training", {})
    cancelled = client.delete("/learned/soon/training")
    assert cancelled["course"] == "cancelled"
    client.post("/learned/soon/training", {})
    until(lambda: _trainers(made), bool)
    client.close()
    made.kill_server()
    until(lambda: _trainers(made), lambda left: not left)  # it hears that nobody listens
    again = made.start_server(str(folder), plc=endpoint)
    until(lambda: row(again)["state"], lambda state: state == "serving", 5.0)
    assert row(again)["model"] == champion
    again.close()


def _trainers(made: Site) -> list[psutil.Process]:
    return [p for p in made.processes() if "control.retrainer" in _words(p)]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):  # it has ended since it was listed
        return []
