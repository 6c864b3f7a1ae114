"""How late the server's event loop is while OPC UA clients follow every point of the twin, against the same loop without.

2,000 points, 1,000 changes a second; the clients are asyncua's, each in a process of its own, and check that what they
hold at the end is what the twin holds. Prints the 99th percentile of the lateness of a 5 ms sleep.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop
from asyncua import Client, ua

from control.accounts import Accounts
from control.live import LiveTwin
from control.northbound import Northbound, Sources
from protocols.faces import FACES
from tests.bench import line
from twin.history import History
from twin.plant import Plant, Serving, Twin
from twin.points import Point, Points
from twin.readings import Readings
from twin.store import Store

POINTS, TWINS = 2_000, 50
CHANGES_PER_S = 1_000
BATCHES_PER_S = 100  # as links deliver
CLIENTS = 2
WARM_S, MEASURED_S, SETTLE_S = 5.0, 15.0, 60.0
SLEEP_S = 0.005


def plant() -> Plant:
    rows = [Point(i, f"t{i % TWINS}.v{i}", f"t{i % TWINS}", f"v{i}", "double", "m", "", "") for i in range(POINTS)]
    twins = tuple(Twin(f"t{n}", "dtmi:bench:T;1", f"t{n}", None) for n in range(TWINS))
    return Plant("bench", "Bench", "", {}, (), twins, (), Points.of(rows), (), None, {})


async def change(live: LiveTwin, seed: int) -> None:
    """The load, evenly spread."""
    chance = np.random.default_rng(seed)
    size = CHANGES_PER_S // BATCHES_PER_S
    due = time.perf_counter()
    while True:
        ids = np.sort(chance.choice(POINTS, size, replace=False)).astype(np.int32)
        live.readings(Readings.of(ids, chance.random(size), time.time_ns()))
        due += 1 / BATCHES_PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def lateness_ms(duration_s: float) -> list[float]:
    found = []
    end = time.perf_counter() + duration_s
    while (begun := time.perf_counter()) < end:
        await asyncio.sleep(SLEEP_S)
        found.append((time.perf_counter() - begun - SLEEP_S) * 1e3)
    return found


async def measure(folder: Path) -> tuple[list[float], list[float], dict[str, object]]:
    described = plant()
    with Store(folder / "history.duckdb") as store:
        history = History(store, [p.name for p in described.points], lambda _: None)
        live = LiveTwin(described, 1, history, time.time_ns)
        live.readings(Readings.of(np.arange(POINTS), np.zeros(POINTS), time.time_ns()))
        load = asyncio.create_task(change(live, 1))
        await lateness_ms(WARM_S)
        before = await lateness_ms(MEASURED_S)
        settings = {name: s.default for name, s in FACES["opcua"].rules.settings.items()}
        serving = Serving("opcua", "opcua", "opc.tcp://127.0.0.1:0/bench", settings)
        accounts = Accounts(folder, time.time_ns)
        sources = Sources(live, store, None, accounts, None, time.time_ns, str)  # type: ignore[arg-type]
        northbound = Northbound([serving], sources, None)
        begun = time.perf_counter()
        endpoint = (await northbound.start())["opcua"]
        start_s = time.perf_counter() - begun
        serve = asyncio.create_task(northbound.run())
        clients = [await _client(endpoint) for _ in range(CLIENTS)]
        for client in clients:
            assert await client.stdout.readline() == b"READY\n"
        await lateness_ms(WARM_S)
        busy = psutil.Process().cpu_times()
        during = await lateness_ms(MEASURED_S)
        now = psutil.Process().cpu_times()
        load.cancel()
        values = live.table.columns.value
        told = [await _told(client, values) for client in clients]
        serve.cancel()
        await asyncio.gather(serve, load, return_exceptions=True)
        await asyncio.to_thread(history.close)
    cpu = (now.user + now.system - busy.user - busy.system) / MEASURED_S
    detail = {
        "points": POINTS, "changes_per_s": CHANGES_PER_S, "clients": CLIENTS, "values_told_per_s": told,
        "over_10_ms": sum(x > 10 for x in during), "of_sleeps": len(during), "worst_ms": round(max(during), 1),
        "worst_without_ms": round(max(before), 1), "over_10_ms_without": sum(x > 10 for x in before),
        "cores_of_the_server": round(cpu, 2), "start_s": round(start_s, 2),
        "rss_mb": round(psutil.Process().memory_info().rss / 1e6),
    }  # fmt: skip
    return before, during, detail


async def _client(endpoint: str) -> Any:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.northbound_opcua", endpoint,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _told(client: Any, values: Any) -> int:
    """Values a second that the client was told, once it holds what the twin holds."""
    client.stdin.write(json.dumps(values.tolist()).encode() + b"\n")
    async with asyncio.timeout(SETTLE_S):
        answer = json.loads(await client.stdout.readline())
        await client.wait()
    assert answer["held"] == POINTS, answer
    return int(answer["per_s"])


class Follower:
    """Counts what it is told, and keeps the last of every node."""

    def __init__(self) -> None:
        self.held: dict[str, float] = {}
        self.count = 0

    def datachange_notification(self, node: Any, value: float, data: Any) -> None:
        self.count += 1
        self.held[node.nodeid.Identifier] = value


async def follow(endpoint: str) -> None:
    """A client's process: follows all points, then says how many values a second it was told."""
    wanted: list[list[float]] = []
    threading.Thread(target=lambda: wanted.append(json.loads(sys.stdin.readline())), daemon=True).start()
    names = {p.name: p.id for p in plant().points}
    follower = Follower()
    async with Client(endpoint, timeout=30) as client:
        subscription = await client.create_subscription(100, follower)
        nodes = [client.get_node(ua.NodeId(name, 2)) for name in names]
        for start in range(0, len(nodes), 500):
            await subscription.subscribe_data_change(nodes[start : start + 500])
        print("READY", flush=True)
        begun, first = time.perf_counter(), follower.count
        while not wanted:
            await asyncio.sleep(0.05)
        per_s = (follower.count - first) / (time.perf_counter() - begun)
        end = time.perf_counter() + SETTLE_S / 2
        held = 0
        while held < POINTS and time.perf_counter() < end:
            held = sum(follower.held.get(name) == wanted[0][n] for name, n in names.items())
            await asyncio.sleep(0.1)
        print(json.dumps({"held": held, "per_s": per_s}), flush=True)


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(follow(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        before, during, detail = runner.run(measure(Path(folder)))
    value, limit = np.percentile(during, 99), np.percentile(before, 99)
    line("northbound_opcua", round(float(value), 2), "ms", round(float(limit), 2), detail)


if __name__ == "__main__":
    main()
