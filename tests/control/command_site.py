"""A server process on a small plant with rules, and its PLC in a thread of the test: for the faces of commands."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgpack
from websockets.asyncio.client import ClientConnection, connect

from control.accounts import Accounts
from control.api.wire import SUBPROTOCOL
from control.client import Client
from tests.control.served_plant import PASSWORD, Plc, read_plant, serve_plc, write_plant
from tests.plant.site import Site, site, until
from twin.role import Role

T = TypeVar("T")
PEOPLE = {"anna": Role.OPERATOR, "sven": Role.SUPERVISOR, "otto": Role.VIEWER, "emma": Role.ENGINEER}
RULES = """
[[interlock]]
id = "dry"
points = ["pump.status"]
require = "tank.level > 1 m"
when = "value == on"
message = "the pump would run dry"

[[policy]]
points = ["pump.speed"]
approvals = 1
approver = "supervisor"

[[policy]]
points = ["pump.mode"]
select = true
every_s = 600

[[stop]]
id = "pump"
name = "Pump off"
set = { "pump.status" = 0 }

[[stop]]
id = "all"
name = "Everything off"
set = { "pump.status" = 0, "far.status" = 0 }
"""


@dataclass
class CommandSite:
    """`client` calls with the token of the data folder."""

    site: Site
    client: Client
    plc: Plc
    loop: asyncio.AbstractEventLoop

    def on_plc(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def show(self, values: dict[str, float]) -> None:
        """What the instruments say from now on; returns once the twin has heard it."""
        self.on_plc(self.plc.show(values))
        for name, value in values.items():
            until(lambda n=name: self.client.get(f"/points/{n}")["value"], lambda v, w=value: v == w, 10)  # type: ignore[misc]

    def client_of(self, account: str) -> Client:
        return Client(self.site.data, account, PASSWORD)

    def status(self, identity: str, *wanted: str) -> dict[str, Any]:
        """The command once it has one of these statuses."""
        return until(lambda: self.client.get(f"/commands/{identity}"), lambda c: c["status"] in wanted, 20)


@contextmanager
def command_site(
    folder: Path, rules: str = RULES, prepare: Callable[[Path], object] = lambda _: None
) -> Iterator[CommandSite]:
    """Live from the first moment; it leaves nothing behind. `prepare` gets the data folder before the server does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    write_plant(folder / "works", rules)
    plc = asyncio.run_coroutine_threadsafe(serve_plc(read_plant(folder / "works")), loop).result(10)
    try:
        with site(folder) as made:
            made.data.mkdir()
            accounts = Accounts(made.data, time.time_ns)
            for name, role in PEOPLE.items():
                accounts.add(name, PASSWORD, role)
            prepare(made.data)
            with made.start_server(str(folder / "works"), plc=plc.served.endpoint) as client:
                until(lambda: client.get("/points/tank.level")["good"], bool)
                yield CommandSite(made, client, plc, loop)
    finally:
        asyncio.run_coroutine_threadsafe(plc.served.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Wire:
    """A subscribed WebSocket of one caller."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ref = 0

    async def ask(self, verb: str, body: dict[str, Any]) -> int:
        self._ref += 1
        await self._socket.send(msgpack.packb({"t": "call", "ref": self._ref, "verb": verb, "body": body}))
        return self._ref

    async def answer(self, ref: int) -> dict[str, Any]:
        """The answer or error with that ref; what else comes is passed over."""
        return await self.hear(lambda m: m.get("ref") == ref)

    async def hear(self, fits: Any) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                message: dict[str, Any] = msgpack.unpackb(await self._socket.recv())
                if fits(message):
                    return message

    async def call(self, verb: str, **body: Any) -> dict[str, Any]:
        return await self.answer(await self.ask(verb, body))

    async def close(self) -> None:
        await self._socket.close()


async def wire(client: Client) -> Wire:
    """Signed in as whoever the client is."""
    ticket = (await asyncio.to_thread(client.post, "/ticket"))["ticket"]
    address = client.url.replace("http", "ws") + "/ws"
    socket = await connect(address, subprotocols=[SUBPROTOCOL], proxy=None)  # type: ignore[list-item]
    await socket.recv()
    await socket.send(msgpack.packb({"t": "auth", "ticket": ticket}))
    await socket.recv()
    await socket.send(msgpack.packb({"t": "sub", "from": None}))
    return Wire(socket)
