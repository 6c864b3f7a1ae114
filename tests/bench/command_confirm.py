"""Confirmed commands a second on a real Modbus device, durable and read back, against bare SQLite commits of that many steps."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

from protocols.link import LinkState
from tests.bench import line
from tests.control.plants import bench, serve_pump, until

COMMANDS, STEPS = 300, 4  # submitted, sent, acknowledged, confirmed: each a durable commit


async def ours(folder: Path) -> float:
    pump = await serve_pump()
    async with bench(folder, pump) as running:
        await until(lambda: running.live.states["plc"], lambda s: s is LinkState.ONLINE)
        begun = time.perf_counter()
        for n in range(COMMANDS):
            command = await running.submit("pump.speed", 50.0 + n % 50, key=str(n))
            await running.until(command.id, "CONFIRMED")
        took_s = time.perf_counter() - begun
    await pump.served.stop()
    return COMMANDS / took_s


def floor(path: Path) -> float:
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (n INTEGER)")
    begun = time.perf_counter()
    for n in range(COMMANDS * STEPS):
        database.execute("INSERT INTO t VALUES (?)", (n,))
    return COMMANDS / (time.perf_counter() - begun)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        value = asyncio.run(ours(Path(folder)))
        detail: dict[str, object] = {"commands": COMMANDS, "one_after_the_other": True}
        line("command_confirm", round(value, 1), "commands/s", round(floor(Path(folder) / "floor.sqlite"), 1), detail)


if __name__ == "__main__":
    main()
