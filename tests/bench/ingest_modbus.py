"""Values a second from a Modbus server into the point table, pipelined and checked, against pymodbus's best reading."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import uvloop
from pymodbus.client import AsyncModbusTcpClient

from protocols.catalog import PROTOCOLS
from protocols.link import DeadLetter, Link, LinkState
from tests.bench import line
from tests.peers.libmodbus import compiled, serving
from twin.plant import Device
from twin.points import Point, Points
from twin.readings import Readings
from twin.table import PointTable

FLOATS = 32_768  # of one table of registers
REGISTERS = 124  # of one request: 62 floats
OUTSTANDING, CONNECTIONS = 64, 8
ROUND_S, ROUNDS = 0.5, 7

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass
class TableSink:
    """A link's sink that is a point table."""

    table: PointTable
    values: int = 0
    enough: int = 0
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    letters: list[DeadLetter] = field(default_factory=list)

    def readings(self, batch: Readings) -> None:
        self.table.apply(batch)
        self.values += len(batch)
        if self.values >= self.enough:
            self.filled.set()

    def dead_letter(self, letter: DeadLetter) -> None:
        self.letters.append(letter)

    def heard(self, device_id: str) -> None: ...

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None: ...

    def metric(self, device_id: str, name: str, value: float) -> None: ...


@dataclass
class Rate:
    """Values a second, and CPU time of this process for each."""

    values_per_s: float
    cpu_ns: float

    @classmethod
    def since(cls, values: int, begun: tuple[float, float]) -> Rate:
        return cls(values / (time.perf_counter() - begun[0]), 1e9 * (time.process_time() - begun[1]) / values)


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def points() -> Iterator[Point]:
    for row in range(2 * FLOATS):
        address = f"{'holding' if row < FLOATS else 'input'}:{2 * (row % FLOATS)}:float32"
        yield Point(row, f"p{row}.value", f"p{row}", "value", "double", "", "d", address)


def made(port: int) -> tuple[Link, TableSink]:
    known = PROTOCOLS["modbus"].rules.settings
    settings = {name: s.default for name, s in known.items()} | {"outstanding": OUTSTANDING, "poll_s": 0.0}
    all_points = Points.of(points())
    sink = TableSink(PointTable.sized(all_points.size))
    chosen = all_points.selection(np.arange(all_points.size, dtype=np.int32))
    at = Device("d", "modbus", f"modbus://127.0.0.1:{port}/1", settings)
    return PROTOCOLS["modbus"].link(at, chosen, sink, time.time_ns, random.Random(1), None), sink


async def ours(link: Link, sink: TableSink) -> Rate:
    """The link polls without a pause, for as long as a round takes after two whole cycles."""
    sink.enough = sink.values + 4 * FLOATS
    sink.filled = asyncio.Event()
    task = asyncio.create_task(link.run())
    await sink.filled.wait()
    before, begun = sink.values, now()
    await asyncio.sleep(ROUND_S)
    rate = Rate.since(sink.values - before, begun)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return rate


async def theirs(port: int, connections: int) -> Rate:
    """pymodbus reads the same requests as registers, not yet decoded and for nobody."""
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for _ in range(connections)]
    for client in clients:
        assert await client.connect()
    end, begun = time.perf_counter() + ROUND_S, now()
    read = 0

    async def go_on(client: AsyncModbusTcpClient) -> None:
        nonlocal read
        while time.perf_counter() < end:
            answer = await client.read_holding_registers(0, count=REGISTERS, device_id=1)
            read += len(answer.registers) // 2

    await asyncio.gather(*map(go_on, clients))
    rate = Rate.since(read, begun)
    for client in clients:
        client.close()
    return rate


def on(loop: LoopFactory, work: Coroutine[None, None, Rate]) -> Rate:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


def main() -> None:
    loops: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    peers: dict[str, list[Rate]] = {f"{name} {n}x1": [] for name in loops for n in (1, CONNECTIONS)}
    rates: list[Rate] = []
    with serving(compiled("pipelined")) as port:
        link, sink = made(port)
        for _ in range(ROUNDS):  # side by side, because the machine may be busier in one round than in the next
            rates.append(on(uvloop.new_event_loop, ours(link, sink)))
            for mode, measured in peers.items():
                name, connections = mode.removesuffix("x1").split()
                measured.append(on(loops[name], theirs(port, int(connections))))
    expected = np.tile(np.arange(FLOATS) / 4, 2)
    assert not sink.letters and np.array_equal(sink.table.columns.value, expected), "not what the server holds"
    best = median(
        max(of_round, key=lambda r: r.values_per_s).values_per_s for of_round in zip(*peers.values(), strict=True)
    )
    value = median(r.values_per_s for r in rates)
    detail: dict[str, object] = {
        "points": 2 * FLOATS, "outstanding": OUTSTANDING, "requests_per_s": round(value / (REGISTERS // 2)),
        "cpu_ns_per_value": round(median(r.cpu_ns for r in rates), 1),
        "lowest": round(min(r.values_per_s for r in rates)), "highest": round(max(r.values_per_s for r in rates)),
        "pymodbus": {mode: round(median(r.values_per_s for r in measured)) for mode, measured in peers.items()},
        "pymodbus_cpu_ns_per_value": round(min(median(r.cpu_ns for r in measured) for measured in peers.values()), 1),
    }  # fmt: skip
    line("ingest_modbus", round(value), "values/s", round(best), detail)


if __name__ == "__main__":
    main()
