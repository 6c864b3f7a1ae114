"""Cores of a whole server while 200 clients get 20 frames a second of fresh values, and three more take nothing.

`limit`: a bare loop of uvicorn and websockets that sends as many and as large frames, in the same run. The clients, in a
third process, stamp each frame as it arrives; lateness counts from the moment at which the server makes it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from control.api import wire
from control.client import Client
from tests.bench import line
from tests.control.lean_clients import Follower, follow

CLIENTS, STALLED, PER_S = 200, 3, 20
POINTS, CHANGED = 1_000, 100
WARM_S, MEASURED_S, EVICTED_S = 3.0, 20.0, 60.0
BAR_CORES, BAR_MS = 0.3, 25.0
SUB: dict[str, object] = {"from": None, "frames_per_s": PER_S}


def bare() -> None:
    """The floor: no plant, one frame encoded anew each time, sent to each client in turn."""
    held: set[WebSocket] = set()

    async def serve(socket: WebSocket) -> None:
        await socket.accept(wire.SUBPROTOCOL)
        held.add(socket)
        try:
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
        finally:
            held.discard(socket)

    async def beat() -> None:
        seq, due = 0, time.perf_counter()
        ids = np.arange(CHANGED, dtype="<u4").tobytes()
        column = np.zeros(CHANGED, "<f8").tobytes()
        while True:
            seq, due = seq + 1, due + 1 / PER_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            columns = wire.Columns(ids, column, ids, column, column, {})
            data = msgspec.msgpack.encode(wire.Delta(seq, time.time() * 1e3, columns))
            for socket in tuple(held):
                await socket.send_bytes(data)

    class Web(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            port = self.servers[0].sockets[0].getsockname()[1]
            print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)

    async def run() -> None:
        beating = asyncio.create_task(beat())
        config = uvicorn.Config(
            Starlette(routes=[WebSocketRoute("/ws", serve)]), port=0, log_config=None, lifespan="off",
            ws="websockets-sansio", ws_per_message_deflate=False,
        )  # fmt: skip
        await Web(config).serve()
        beating.cancel()

    uvloop.run(run())


def started(*words: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


async def cores(process: psutil.Process, duration_s: float) -> float:
    before, begun = process.cpu_times(), time.perf_counter()
    await asyncio.sleep(duration_s)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (time.perf_counter() - begun)


async def measured(process: psutil.Process, clients: list[Follower]) -> dict[str, float]:
    await asyncio.sleep(WARM_S)
    bytes_before = sum(c.bytes for c in clients)
    for client in clients:
        client.measuring = True
    took = await cores(process, MEASURED_S)
    for client in clients:
        client.measuring = False
    late = np.concatenate([c.late_ms for c in clients])
    return {
        "cores": took,
        "p50_ms": float(np.percentile(late, 50)),
        "p99_ms": float(np.percentile(late, 99)),
        "frames_per_s": min(c.deltas for c in clients) / MEASURED_S,
        "longest_gap_ms": max(c.gap_ms for c in clients),
        "mb_per_s": (sum(c.bytes for c in clients) - bytes_before) / MEASURED_S / 1e6,
    }


async def many(url: str, ticket: Any, count: int, **more: Any) -> list[Follower]:
    """Ten at once: as many of one address may be about to sign in, and more."""
    made: list[Follower] = []
    while len(made) < count:
        made += await asyncio.gather(*(follow(url, ticket, SUB, **more) for _ in range(min(10, count - len(made)))))
    return made


async def floor() -> dict[str, float]:
    process, url = started("tests.bench.ws_fanout", "bare")
    try:
        return await measured(psutil.Process(process.pid), await many(url, lambda: "", CLIENTS))
    finally:
        process.terminate()
        process.wait(20)


async def ours(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Of the server with its clients; and the cores it needs without, and how the stalled ones fared."""
    process, url = started("tests.control.live_server", str(folder), str(POINTS), str(CHANGED), str(PER_S))
    try:
        server = psutil.Process(process.pid)
        await asyncio.sleep(WARM_S)
        idle = await cores(server, 5.0)
        with Client(folder / "data") as http:

            def ticket() -> str:
                return str(http.post("/ticket")["ticket"])

            clients = await many(url, ticket, CLIENTS)
            stalled = await many(url, ticket, STALLED, receive_buffer=4096)
        for one in stalled:
            assert one.transport is not None
            one.transport.pause_reading()
        begun = time.perf_counter()
        found = await measured(server, clients)
        while (gone := evicted(url)) < STALLED and time.perf_counter() - begun < EVICTED_S:
            await asyncio.sleep(0.5)
        after_s = time.perf_counter() - begun
        for one in stalled:
            assert one.transport is not None
            one.transport.resume_reading()
        await asyncio.sleep(1.0)
        assert not any(c.closed or c.error for c in clients)
        closes = [(s.error, s.closed) for s in stalled]
        return found, {"idle_cores": idle, "evicted": gone, "evicted_after_s": after_s, "closes": closes}  # type: ignore[dict-item]
    finally:
        process.communicate()  # the end of its stdin ends it


def evicted(url: str) -> int:
    import httpx

    text = httpx.get(f"{url}/metrics", trust_env=False).text
    return int(float(text.split("\ntwinloop_ws_evicted_total ")[1].split("\n")[0]))


def main() -> None:
    if sys.argv[1:] == ["bare"]:
        bare()
        return
    with tempfile.TemporaryDirectory(prefix="twinloop-bench-") as folder:
        least = uvloop.run(floor())
        found, more = uvloop.run(ours(Path(folder)))
    detail: dict[str, object] = {
        "clients": CLIENTS, "stalled": STALLED, "bar_cores": BAR_CORES, "bar_p99_ms": BAR_MS,
        **{k: round(v, 3) for k, v in found.items()}, **{k: v if isinstance(v, list) else round(v, 3) for k, v in more.items()},
        **{f"floor_{k}": round(v, 3) for k, v in least.items()},
    }  # fmt: skip
    line("ws_fanout", round(found["cores"], 3), "cores", round(least["cores"], 3), detail)


if __name__ == "__main__":
    main()
