"""How a WebSocket is bounded and ends: the last words go out although the client takes nothing; knows none of them.

The protocol below waits for room before every send, the close too, and then keeps a socket that nobody reads for ever.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HELD_MAX = 131_072  # bytes that the kernel keeps for a client; it would take some 4 MB before anybody notices that none is read
GONE_S = 20.0  # from our close until the client has taken it; then its socket is cut


class Outlet(WebSocketsSansIOProtocol):
    """One connection. A message with `last` is sent whether there is room or not; a close follows, and nothing else."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        made = transport.get_extra_info("socket")
        if made is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, HELD_MAX)

    async def send(self, message: Any) -> None:
        closing = message["type"] == "websocket.close"
        if closing or message.get("last"):
            self.writable.set()
        await super().send(message)
        if closing and self._cut is None and not self.disconnected:
            self._cut = self.loop.call_later(GONE_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)
