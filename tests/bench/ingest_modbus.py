"""Values a second from a Modbus server into the point table, pipelined and checked, against pymodbus's best reading."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import uvloop
from pymodbus.client import AsyncModbusTcpClient

from protocols.catalog import PROTOCOLS
from protocols.link import DeadLetter, LinkState
from tests.bench import line
from tests.peers.libmodbus import compiled, serving
from twin.plant import Device
from twin.points import Point, Points
from twin.readings import Readings
from twin.table import PointTable

FLOATS = 32_768  # of one table of registers
REGISTERS = 124  # of one request: 62 floats
OUTSTANDING, CONNECTIONS = 64, 8
ROUND_S, ROUNDS = 1.0, 5


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


def points() -> Iterator[Point]:
    for row in range(2 * FLOATS):
        address = f"{'holding' if row < FLOATS else 'input'}:{2 * (row % FLOATS)}:float32"
        yield Point(row, f"p{row}.value", f"p{row}", "value", "double", "", "d", address)


async def ours(port: int) -> list[float]:
    """Values a second in each round."""
    known = PROTOCOLS["modbus"].rules.settings
    settings = {name: s.default for name, s in known.items()} | {"outstanding": OUTSTANDING, "poll_s": 0.0}
    made = Points.of(points())
    sink = TableSink(PointTable.sized(made.size), enough=2 * made.size)
    chosen = made.selection(np.arange(made.size, dtype=np.int32))
    at = Device("d", "modbus", f"modbus://127.0.0.1:{port}/1", settings)
    link = PROTOCOLS["modbus"].link(at, chosen, sink, time.time_ns, random.Random(1), None)
    task = asyncio.create_task(link.run())
    await sink.filled.wait()
    rates = []
    for _ in range(ROUNDS):
        before, begun = sink.values, time.perf_counter()
        await asyncio.sleep(ROUND_S)
        rates.append((sink.values - before) / (time.perf_counter() - begun))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    expected = np.tile(np.arange(FLOATS) / 4, 2)
    assert not sink.letters and np.array_equal(sink.table.columns.value, expected), "not what the server holds"
    return rates


async def theirs(port: int, connections: int) -> float:
    """Values a second that pymodbus reads as registers, not yet decoded."""
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for _ in range(connections)]
    for client in clients:
        assert await client.connect()
    end = time.perf_counter() + ROUND_S
    read = 0

    async def go_on(client: AsyncModbusTcpClient) -> None:
        nonlocal read
        while time.perf_counter() < end:
            answer = await client.read_holding_registers(0, count=REGISTERS, device_id=1)
            read += len(answer.registers) // 2

    begun = time.perf_counter()
    await asyncio.gather(*map(go_on, clients))
    rate = read / (time.perf_counter() - begun)
    for client in clients:
        client.close()
    return rate


def main() -> None:
    def on(loop: Callable[[], asyncio.AbstractEventLoop], work: Awaitable[object]) -> object:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(work)  # type: ignore[arg-type]

    with serving(compiled("pipelined")) as port:
        loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
        peers = {
            f"{name} {count}x1": round(float(on(loop, theirs(port, count))))  # type: ignore[arg-type]
            for name, loop in loops.items()
            for count in (1, CONNECTIONS)
        }
        rates = sorted(on(uvloop.new_event_loop, ours(port)))  # type: ignore[call-overload]
    value = rates[len(rates) // 2]
    detail: dict[str, object] = {
        "points": 2 * FLOATS, "outstanding": OUTSTANDING, "requests_per_s": round(value / (REGISTERS // 2)),
        "lowest": round(rates[0]), "highest": round(rates[-1]), "pymodbus": peers,
    }  # fmt: skip
    line("ingest_modbus", round(value), "values/s", max(peers.values()), detail)


if __name__ == "__main__":
    main()
