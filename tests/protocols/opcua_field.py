"""A secured OPC UA server made with the library alone, a link that remembers its words, and a tap on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole

from protocols.link import LinkState
from protocols.opcua.link import OpcUaLink
from protocols.opcua.security import serve_securely
from protocols.opcua.standard import LightServer
from protocols.pki import Pki
from tests.protocols.protocol_bench import RecordingSink, device, point, seeded
from twin.points import Point

MODES = ("None", "Sign", "SignAndEncrypt")
POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
CHANNELS = [("None", None), *((mode, policy) for mode in MODES[1:] for policy in POLICIES)]
LEVEL = point(0, "ns=2;s=Tank.Level")
QUICK = {"publishing_ms": 20.0, "heartbeat_s": 0.1, "timeout_s": 3.0}
USER, PASSWORD = "operator", "correct horse: battery/staple@ä"


@dataclass
class ToldSink(RecordingSink):
    """Keeps the reason of every change of state, too."""

    details: list[str] = field(default_factory=list)

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None:
        super().link_state(device_id, state, detail)
        self.details.append(detail)

    def told(self, words: str) -> bool:
        return any(words in detail for detail in self.details)


class Gatekeeper:
    """Knows one user by name and password, and whoever shows a certificate when no name is given."""

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> Any:
        known = username is None or (username, password) == (USER, PASSWORD)
        return User(role=UserRole.User) if known else None


class Site:
    """A server with one tank, offering the given modes with all policies; `server` is None while it is off."""

    def __init__(self, pki: Pki | None, modes: Sequence[str] = MODES, port: int = 0) -> None:
        self.pki = pki
        self.modes = modes
        self.port = port
        self.announced = ""
        self.tokens: list[Any] = [ua.AnonymousIdentityToken, ua.UserNameIdentityToken, ua.X509IdentityToken]
        self.server: Server | None = None
        self._level: Any = None

    async def __aenter__(self) -> Site:
        server = Server(iserver=LightServer(user_manager=Gatekeeper()))
        await server.init()
        server.set_endpoint(self.announced or f"opc.tcp://127.0.0.1:{self.port}/site")
        server.socket_address = ("127.0.0.1", self.port)
        if self.announced:
            server.set_match_discovery_endpoint_url(False)
            server.set_match_discovery_client_ip(False)
        await server.register_namespace("urn:site")
        self._level = await server.nodes.objects.add_variable("ns=2;s=Tank.Level", "Level", 1.0)
        server.set_identity_tokens(self.tokens)
        await serve_securely(server, self.modes, POLICIES, self.pki and self.pki.folder)
        await server.start()
        self.port = server.bserver.port
        self.server = server
        return self

    async def __aexit__(self, *_: object) -> None:
        server, self.server = self.server, None
        if server is not None:
            await server.stop()

    async def fill(self, level: float) -> None:
        await self._level.write_value(level)

    def endpoint(self, user: str = "", port: int = 0) -> str:
        return f"opc.tcp://{user}127.0.0.1:{port or self.port}/site"


def link(
    sink: RecordingSink, endpoint: str, pki: Pki | None, points: Sequence[Point] = (LEVEL,), **settings: Any
) -> OpcUaLink:
    at = device("opcua", endpoint, **QUICK, **settings)
    return OpcUaLink(at, points, sink, time.time_ns, seeded(), pki and pki.folder)


@dataclass
class Tap:
    """A relay to a port that keeps every byte that the client has sent."""

    port: int
    sent: bytearray = field(default_factory=bytearray)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if keep:
                    self.sent += data
                writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def tapped(port: int) -> AsyncIterator[Tap]:
    tasks: set[asyncio.Task[None]] = set()
    tap = Tap(0)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        for source, sink, keep in ((reader, back, True), (there, writer, False)):
            tasks.add(asyncio.create_task(tap.carry(source, sink, keep)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
