"""The twin as an OPC UA server: sessions, reads, writes and methods of SCADA clients; must not know the plant's devices.

A client's write never touches a value: it becomes a command, and the value changes when the plant reports it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asyncua import Server, ua
from asyncua.server.internal_server import InternalServer

from protocols.link import Clock
from protocols.opcua import codec
from protocols.opcua.faults import status_of
from protocols.opcua.guests import Desk, Listener
from protocols.opcua.nodes import Nodes, data_value
from protocols.served import Asked, CommandState, Guest, Shown, States, TwinView
from twin.errors import LimitExceeded
from twin.plant import Plant, Serving
from twin.points import Point

POINTS_MAX = 50_000  # nodes with their properties: some 20 KB a point in asyncua's address space
QUEUE_MAX = 1_000  # values of one monitored item that wait for a slow client
SUBSCRIPTIONS_MAX = 200
BATCH = 200  # values written before other clients have a turn: some 10 ms
log = logging.getLogger("twinloop.northbound")


class OpcUaFace:
    """See protocols.served.Face."""

    def __init__(self, serving: Serving, view: TwinView, clock: Clock, pki: Path | None) -> None:
        self.endpoint = serving.endpoint
        self._serving, self._view, self._clock, self._pki = serving, view, clock, pki
        self._shown = Shown(serving.settings["points"])
        self._points: dict[int, Point] = {}
        self._plant: Plant | None = None
        self._server: _TwinServer | None = None
        self._nodes: Nodes | None = None

    async def start(self) -> None:
        settings = self._serving.settings
        desk = Desk(self._view, settings["anonymous"], self)
        server = _TwinServer(desk, settings["clients"])
        await server.init()
        await _describe(server, self._view.plant, self.endpoint)
        namespace = await server.register_namespace(f"urn:twinloop:{self._view.plant.id}")
        self._nodes = Nodes(server.iserver.aspace, namespace)
        await self._show(self._view.plant)
        tokens = [ua.UserNameIdentityToken] if settings["anonymous"] == "none" else [ua.AnonymousIdentityToken, ua.UserNameIdentityToken]
        server.set_identity_tokens(tokens)
        await self._secure(server)
        await server.start()
        self._server = server
        parts = urlsplit(self.endpoint)
        self.endpoint = parts._replace(netloc=f"{parts.hostname}:{server.bserver.port}").geturl()
        self._view.figures.state = "listening"

    async def run(self) -> None: ...
