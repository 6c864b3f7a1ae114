"""A WebSocket server in this process over a live twin that the test moves: no devices, no disk but the token's."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket as sockets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgpack
import msgspec
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect

from control.api.guard import Site
from control.api.outlet import Outlet
from control.api.part import Parts, plant_info
from control.api.wire import SUBPROTOCOL
from control.api.ws import Console, Limits
from control.identity import TOKEN, Identity
from control.live import LiveTwin
from control.operations import ClientCounts
from control.rates import Rate
from control.settings import CALLER_RATE
from twin.history import History
from twin.plant import Plant, Relationship, Twin
from twin.points import Point, Points
from twin.readings import Readings

LIMITS = Limits()


class Unkept:
    """Takes what history would keep."""

    def record(self, *_: object, **__: object) -> None: ...

    def grow(self, _: object) -> None: ...


@dataclass(frozen=True)
class _Operations:
    sockets: ClientCounts


@dataclass(frozen=True)
class _Parts:
    """What the socket itself uses of the server's parts."""

    live: LiveTwin
    identity: Identity
    operations: _Operations
    version: str = "test"

    @property
    def plant(self) -> Plant:
        return self.live.plant

    def clock(self) -> int:
        return time.time_ns()


def plant_of(twins: int, each: int) -> Plant:
    """`t0` has part `t1`; points `t0.v0` … of every twin."""
    rows = [
        Point(n * each + i, f"t{n}.v{i}", f"t{n}", f"v{i}", "double", "m", "", "")
        for n in range(twins)
        for i in range(each)
    ]
    named = tuple(Twin(f"t{n}", "dtmi:test:T;1", f"T {n}", None) for n in range(twins))
    related = (Relationship("t0", "hasPart", "t1"),) if twins > 1 else ()
    return Plant("sockets", "Sockets", "", {}, (), named, related, Points.of(rows), (), None, {})


@dataclass
class Server:
    """The live twin, its console and where it listens. `plant_refusals`: how the next calls of /plant fail, by status."""

    live: LiveTwin
    console: Console
    identity: Identity
    port: int
    web: uvicorn.Server
    running: asyncio.Task[None]
    plant_refusals: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sockets(self) -> list[Outlet]:
        return [c for c in self.web.server_state.connections if isinstance(c, Outlet)]

    def cut(self) -> None:
        """Every socket, without a word."""
        for socket in self.sockets():
            socket.transport.abort()

    def hush(self) -> None:
        """No frame and no heartbeat any more."""
        self.running.cancel()

    def move(self, *ids: int, value: float = 1.0) -> None:
        """These points have been heard."""
        self.live.readings(Readings.of(np.array(ids, np.int32), np.full(len(ids), value), time.time_ns()))

    def announce(self, number: int, kind: str = "link", size: int = 0) -> None:
        self.live.feed.announce(kind, time.time_ns(), {"n": number, "pad": "x" * size})

    def ticket(self) -> str:
        return self.identity.ticket(TOKEN)

    def connect(self, host_name: str = "127.0.0.1", **more: Any) -> connect:
        return connect(
            f"ws://{host_name}:{self.port}/ws",
            subprotocols=[SUBPROTOCOL],
            proxy=None,
            max_size=None,
            **more,  # type: ignore[list-item]
        )

    @contextlib.asynccontextmanager
    async def client(self, position: dict[str, int] | None = None, **sub: Any) -> AsyncIterator[Heard]:
        """One that has subscribed."""
        async with self.connect(compression=None) as socket:
            heard = Heard(socket)
            await heard.sign_in(self.ticket())
            await heard.say(t="sub", **{"from": position}, **sub)
            yield heard


class Heard:
    """A client, and what it has heard."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.epoch = 0
        self.seq = 0
        self.snapshots = 0
        self.events: list[int] = []
        self.values: dict[int, float] = {}

    async def say(self, **message: Any) -> None:
        await self.socket.send(msgpack.packb(message))

    async def sign_in(self, ticket: str) -> None:
        await self.until("hello")
        await self.say(t="auth", ticket=ticket)
        self.epoch = (await self.until("welcome"))["epoch"]

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            message = cast(dict[str, Any], msgpack.unpackb(await self.socket.recv()))
        match message["t"]:
            case "event":
                self.events.append(message["body"]["n"])
            case "snapshot" | "delta":
                self.snapshots += message["t"] == "snapshot"
                columns = message["columns"]
                ids = np.frombuffer(columns["point"], "<u4").tolist()
                self.values |= dict(zip(ids, np.frombuffer(columns["value"], "<f8").tolist(), strict=True))
        if message["t"] in ("snapshot", "delta", "heartbeat"):
            self.seq = message["seq"]
        return message

    async def until(self, *kinds: str) -> dict[str, Any]:
        while (message := await self.next())["t"] not in kinds:
            pass
        return message

    async def reach(self, seq: int) -> None:
        """Until it holds everything up to there."""
        while self.seq < seq:
            await self.next()

    @property
    def position(self) -> dict[str, int]:
        return {"epoch": self.epoch, "seq": self.seq}


@contextlib.asynccontextmanager
async def serving(
    folder: Path, plant: Plant | None = None, limits: Limits = LIMITS, rate: Rate = CALLER_RATE
) -> AsyncIterator[Server]:
    plant = plant or plant_of(4, 5)
    live = LiveTwin(plant, 7, cast(History, Unkept()), time.time_ns)
    live.readings(Readings.of(np.arange(len(plant.points)), np.zeros(len(plant.points)), time.time_ns()))
    identity = Identity(folder, time.time_ns, lambda: secrets.token_urlsafe(16), lambda _: None)  # type: ignore[arg-type,return-value]
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        site = Site(frozenset({f"127.0.0.1:{port}"}), caller=rate)
        console = Console(cast(Parts, _Parts(live, identity, _Operations(ClientCounts()))), site, limits)

        async def ticket(_: Request) -> Response:
            return Response(msgspec.json.encode({"ticket": identity.ticket(TOKEN)}))

        plant_refusals: list[int] = []

        async def shown(_: Request) -> Response:
            if plant_refusals:
                return Response(status_code=plant_refusals.pop(0))
            return Response(msgspec.json.encode(plant_info(live.plant, "test")))

        app = Starlette(
            routes=[
                WebSocketRoute("/ws", console.serve),
                Route("/api/v1/ticket", ticket, methods=["POST"]),
                Route("/api/v1/plant", shown),
            ]
        )
        config = uvicorn.Config(
            app, log_config=None, lifespan="off", ws=Outlet, ws_per_message_deflate=False, timeout_graceful_shutdown=1
        )
        web = uvicorn.Server(config)
        web.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
        tasks = [asyncio.create_task(console.run()), asyncio.create_task(web.serve(sockets=[listener]))]
        try:
            yield Server(live, console, identity, port, web, tasks[0], plant_refusals)
        finally:
            web.should_exit = True
            await tasks[1]
            tasks[0].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
