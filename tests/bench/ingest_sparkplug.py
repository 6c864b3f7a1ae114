"""Sparkplug metrics a second from edge nodes through mosquitto into the point table, against a subscriber that only counts.

Ten edge nodes, 100 metrics by alias in a message. The floor is a blocking socket that finds each PUBLISH in a process of
its own; publisher, broker and subscriber share the machine in both.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from protocols.link import DeadLetter, LinkState
from protocols.mqtt import packets
from protocols.mqtt.sparkplug import Source
from protocols.mqtt.sparkplug_b_pb2 import Payload
from protocols.mqtt.sparkplug_link import SparkplugLink
from protocols.mqtt.sparkplug_metrics import DOUBLE, INT64, Metric, encode
from tests.bench import line
from tests.protocols import mqtt_load
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.protocol_bench import device, point, seeded, until
from twin.points import Selection
from twin.readings import Readings
from twin.table import PointTable

NODES, METRICS, TURNS, RUNS = 10, 100, 1500, 5
BLOCK = 1 << 16
PATIENCE_S = 60.0


def value(node: int, metric: int, turn: int) -> float:
    return node + metric / 7 + turn / 100


def messages() -> list[bytes]:
    """Births, then data, as blocks of packets."""
    now_ms = time.time_ns() // 1_000_000 - TURNS - 1
    sources = [Source("bench", f"node_{n}") for n in range(NODES)]
    blocks, block = [], bytearray()
    for source in sources:
        born = [Metric("bdSeq", None, INT64, 0)]
        born += [Metric(f"m{m}", m, DOUBLE, 0.0) for m in range(METRICS)]
        block += packets.publish("3.1.1", source.topic("BIRTH"), encode(born, now_ms, 0), 0, False)
    for turn in range(TURNS):
        for node, source in enumerate(sources):
            data = Payload(timestamp=now_ms + turn, seq=(turn + 1) % 256)
            for m in range(METRICS):
                data.metrics.add(alias=m, timestamp=now_ms + turn, double_value=value(node, m, turn))
            block += packets.publish("3.1.1", source.topic("DATA"), data.SerializeToString(), 0, False)
        if len(block) >= BLOCK:
            blocks.append(bytes(block))
            block.clear()
    return [*blocks, bytes(block)]


def publish(port: int) -> None:
    blocks = messages()
    link = mqtt_load.connect(port, "load")
    print("ready", flush=True)
    sys.stdin.readline()
    for some in blocks:
        link.sendall(some)
    print("sent", flush=True)
    sys.stdin.readline()


def floor(port: int) -> None:
    """Count the messages; print the seconds that they took."""
    link = mqtt_load.connect(port, "floor")
    link.sendall(packets.subscribe("3.1.1", 1, [packets.Filter("spBv1.0/bench/#", 0)]))
    assert link.recv(5)[0] == 0x90
    print("ready", flush=True)
    buffer, count, first = bytearray(), 0, 0.0
    while count < NODES * (TURNS + 1):
        data = link.recv(1 << 18)
        first = first or time.perf_counter()
        buffer += data
        taken, count, _ = mqtt_load.parse(buffer, count)
        del buffer[:taken]
    print(time.perf_counter() - first, flush=True)


class Child:
    """This file again, in a process of its own."""

    def __init__(self, what: str, port: int) -> None:
        words = [sys.executable, "-m", "tests.bench.ingest_sparkplug", what, str(port)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.said() == "ready"

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.go()
        self.process.wait(10)


class Table:
    """The point table behind a link's sink."""

    def __init__(self, size: int) -> None:
        self.table = PointTable.sized(size)
        self.count, self.letters, self.online = 0, 0, False
        self.first = self.last = 0.0

    def readings(self, batch: Readings) -> None:
        self.table.apply(batch)
        self.last = time.perf_counter()
        self.first = self.first or self.last
        self.count += len(batch)

    def dead_letter(self, letter: DeadLetter) -> None:
        self.letters += 1

    def heard(self, device_id: str) -> None: ...

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None:
        self.online = state is LinkState.ONLINE

    def metric(self, device_id: str, name: str, value: float) -> None: ...


async def ours(broker: Mosquitto) -> tuple[float, float]:
    """-> (metrics a second, CPU in us of each)."""
    points = Selection.of(
        point(n * METRICS + m, f"spBv1.0/bench/node_{n}#m{m}") for n in range(NODES) for m in range(METRICS)
    )
    sink = Table(len(points))
    at = device("mqtt", broker.endpoint, format="sparkplug")
    link = asyncio.create_task(SparkplugLink(at, points, sink, time.time_ns, seeded()).run())
    load = await asyncio.to_thread(Child, "publish", broker.port)
    await until(lambda: sink.online, "the link is up")
    cpu = time.process_time()
    load.go()
    whole = NODES * METRICS * (TURNS + 1)
    await until(lambda: sink.count >= whole, "every value is in the table", PATIENCE_S)
    cpu = time.process_time() - cpu
    link.cancel()
    await asyncio.gather(link, return_exceptions=True)
    await asyncio.to_thread(load.end)
    last = [value(n, m, TURNS - 1) for n in range(NODES) for m in range(METRICS)]
    assert np.allclose(sink.table.columns.value, last) and not sink.letters
    return sink.count / (sink.last - sink.first), cpu / sink.count * 1e6


def bare(broker: Mosquitto) -> float:
    """Metrics a second that reach a subscriber which does not read them."""
    counting = Child("floor", broker.port)
    load = Child("publish", broker.port)
    load.go()
    took_s = float(counting.said())
    load.end()
    counting.process.wait(10)
    return NODES * METRICS * (TURNS + 1) / took_s


def main() -> None:
    found, floors, cpu = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder))
        broker.start()
        for _ in range(RUNS):
            floors.append(bare(broker))
            rate, each = asyncio.run(ours(broker))
            found.append(rate)
            cpu.append(each)
        broker.kill()
    detail: dict[str, object] = {
        "edge_nodes": NODES, "metrics_of_a_message": METRICS, "cpu_us_of_a_metric": round(median(cpu), 2),
        "runs": [round(rate) for rate in found], "bare_subscriber": [round(rate) for rate in floors],
    }  # fmt: skip
    line("ingest_sparkplug", round(median(found)), "metrics/s", round(median(floors)), detail)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        {"publish": publish, "floor": floor}[sys.argv[1]](int(sys.argv[2]))
    else:
        main()
