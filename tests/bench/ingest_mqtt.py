"""Single JSON values through mosquitto into the point table, against a bare socket that only counts the messages."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from protocols.link import DeadLetter, LinkState
from protocols.mqtt.link import MqttLink
from tests.bench import line
from tests.protocols import mqtt_load as load
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.protocol_bench import device
from twin.points import Point
from twin.readings import Readings
from twin.table import PointTable

TURNS = {0: 200, 1: 80}  # each of every topic, by quality of service: two seconds
ROUNDS = 3


class Table:
    """A sink that does what the twin does with readings: into the table, and nothing more."""

    def __init__(self, size: int) -> None:
        self.table = PointTable.sized(size)
        self.online = asyncio.Event()
        self.values = self.letters = 0
        self.first_s = self.last_s = self.cpu_s = 0.0

    def readings(self, batch: Readings) -> None:
        self.cpu_s = self.cpu_s or time.process_time()
        self.table.apply(batch)
        self.last_s = time.perf_counter()
        self.first_s = self.first_s or self.last_s
        self.values += len(batch)

    def dead_letter(self, letter: DeadLetter) -> None:
        self.letters += 1

    def heard(self, device_id: str) -> None: ...

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None:
        if state is LinkState.ONLINE:
            self.online.set()

    def metric(self, device_id: str, name: str, value: float) -> None: ...


async def ours(port: int, points: Sequence[Point], **settings: object) -> Table:
    """Everything that comes until nothing comes; says `ready` once it is subscribed."""
    sink = Table(len(points))
    at = device("mqtt", f"mqtt://127.0.0.1:{port}", **settings)
    link = asyncio.create_task(MqttLink(at, points, sink, time.time_ns, random.Random(1)).run())
    await sink.online.wait()
    print("ready", flush=True)
    while not sink.last_s or time.perf_counter() - sink.last_s < load.IDLE_S:
        await asyncio.sleep(0.1)
    link.cancel()
    await asyncio.gather(link, return_exceptions=True)
    return sink


def subscribe(port: int, qos: int) -> None:
    points = [Point(i, f"t{i}.v", f"t{i}", "v", "double", "", "d1", load.topic_of(i)) for i in range(load.TOPICS)]
    sink = asyncio.run(ours(port, points, qos=qos))
    last = [json.loads(load.single(i, TURNS[qos] - 1, 0))["value"] for i in range(load.TOPICS)]
    report(sink, sink.values, sink.table.columns.value.tolist() == last)


def report(sink: Table, messages: int, holds_last: bool) -> None:
    found = {
        "messages": messages,
        "s": sink.last_s - sink.first_s,
        "cpu_s": time.process_time() - sink.cpu_s,
        "holds_last": holds_last and not sink.letters,
    }
    print(json.dumps(found), flush=True)


def run(module: str, *command: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", module, *map(str, command)]
    started = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert started.stdout is not None and started.stdout.readline() == "ready\n", "a process of the benchmark failed"
    return started


def measure(kind: str, qos: int, topics: int, turns: int, subscriber: Sequence[object]) -> dict[str, float]:
    """One flood through a broker of its own to one subscriber; each is a process."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder))
        broker.start()
        try:
            publisher = run("tests.protocols.mqtt_load", "publish", broker.port, kind, qos, topics, turns)
            hears = run(str(subscriber[0]), *(broker.port if word == "PORT" else word for word in subscriber[1:]))
            assert publisher.stdin and hears.stdout
            publisher.stdin.write("\n")
            publisher.stdin.flush()
            found: dict[str, float] = json.loads(hears.stdout.readline())
            publisher.communicate("\n")
            hears.communicate()
        finally:
            broker.kill()
    found["rate"] = found["messages"] / found["s"]
    return found


def compare(
    kind: str, qos: int, topics: int, turns: int, module: str, *more: object, rounds: int = ROUNDS
) -> dict[str, object]:
    """Floor and ours in turn: median rates, the ratio of each round, CPU µs a message."""
    floors, mine = [], []
    for _ in range(rounds):
        floors.append(measure(kind, qos, topics, turns, ("tests.protocols.mqtt_load", "floor", "PORT", qos)))
        mine.append(measure(kind, qos, topics, turns, (module, "--subscribe", "PORT", *more)))
    assert all(m["holds_last"] for m in mine if m["messages"] == topics * turns), "values are not what was published"
    return {
        "rate": round(median(m["rate"] for m in mine)),
        "floor": round(median(f["rate"] for f in floors)),
        "ratios": [round(m["rate"] / f["rate"], 3) for m, f in zip(mine, floors, strict=True)],
        "cpu_us": round(median(m["cpu_s"] / m["messages"] for m in mine) * 1e6, 2),
        "floor_cpu_us": round(median(f["cpu_s"] / f["messages"] for f in floors) * 1e6, 2),
        "lost": [topics * turns - m["messages"] for m in mine],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--subscribe", nargs=2, type=int)
    given = parser.parse_args().subscribe
    if given:
        subscribe(*given)
        return
    by_qos = {q: compare("single", q, load.TOPICS, turns, "tests.bench.ingest_mqtt", q) for q, turns in TURNS.items()}
    first = by_qos[0]
    assert isinstance(first["rate"], int) and isinstance(first["floor"], int)
    detail: dict[str, object] = {f"qos_{qos}": found for qos, found in by_qos.items()}
    line("ingest_mqtt", first["rate"], "messages/s", first["floor"], {"topics": load.TOPICS, **detail})


if __name__ == "__main__":
    main()
