"""The bottling line for tests: the plant as it ships, and its fleet on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from protocols.catalog import PROTOCOLS
from scenarios.fleet import run_fleet
from twin.plant import Plant
from twin.plantfile import load_plant

FOLDER = Path(__file__).parents[2] / "scenarios" / "bottling"
FREE_PORTS = {
    f"{name}_plc": f"opc.tcp://127.0.0.1:0/{name}" for name in ("filler", "labeller", "packer", "line")
}  # fmt: skip
WAIT_S = 20.0


def bottling() -> Plant:
    return load_plant(FOLDER, {name: entry.rules for name, entry in PROTOCOLS.items()})


@contextlib.asynccontextmanager
async def fleet_of(plant: Plant, speed: float) -> AsyncIterator[dict[str, str]]:
    """Its devices on free ports; gives the endpoints."""
    stop, ready = asyncio.Event(), asyncio.Event()
    endpoints: dict[str, str] = {}

    def on_ready(found: object) -> None:
        endpoints.update(found)  # type: ignore[call-overload]
        ready.set()

    fleet = asyncio.create_task(
        run_fleet(
            plant, clock=time.time_ns, seed=1, stop=stop, endpoints=FREE_PORTS, speed=speed, start_s=21_600.0,
            on_ready=on_ready,
        )
    )  # fmt: skip
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({fleet, waiting}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
    try:
        if fleet.done():
            await fleet
        assert ready.is_set()
        yield endpoints
    finally:
        waiting.cancel()
        stop.set()
        await asyncio.wait_for(fleet, WAIT_S)
