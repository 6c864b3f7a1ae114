"""One WebSocket: bounded messages in, encoded ones out, and a last word; must not know what they mean."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from control.api import wire
from control.api.given import check_msgpack
from control.api.problem import error_body
from control.errors import codes
from twin.errors import BadRequest

MESSAGE_MAX = 64_000  # bytes of one client message
GREETING_S = 10.0  # for each of a client's first two messages, and to take ours before them
GONE = (WebSocketDisconnect, RuntimeError)
"""What a send to a client that is gone raises; RuntimeError is Starlette's for a send after the close."""
_decoder = msgspec.msgpack.Decoder(wire.ClientMessage)
_encoder = msgspec.msgpack.Encoder()


class Line:
    """Several tasks may send at once: frames and answers."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._sending = 0
        self._took_at = 0.0

    def stuck_s(self) -> float:
        """How long the client has taken nothing of what is being sent; 0 while nothing waits."""
        return time.monotonic() - self._took_at if self._sending else 0.0

    async def send(self, data: bytes) -> None:
        """Returns once there is room for more."""
        if not self._sending:
            self._took_at = time.monotonic()
        self._sending += 1
        try:
            await self._socket.send({"type": "websocket.send", "bytes": data})
        finally:
            self._sending -= 1
            self._took_at = time.monotonic()

    async def say(self, message: wire.ServerMessage) -> None:
        await self.send(_encoder.encode(message))

    async def greet(self, message: wire.ServerMessage) -> None:
        """Before anything else is under way.

        Raises:
            TimeoutError: the client takes nothing.
        """
        async with asyncio.timeout(GREETING_S):
            await self.say(message)

    async def first(self, kind: str) -> Any:
        """
        Raises:
            BadRequest: the client says nothing, or no message.
        """
        try:
            async with asyncio.timeout(GREETING_S):
                return await self.receive()
        except TimeoutError:
            raise BadRequest(f"no {kind} came in {GREETING_S:g} s", "send it at once") from None

    async def receive(self) -> Any:
        """
        Raises:
            BadRequest: it is no message of ours. WebSocketDisconnect: the client has gone.
        """
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        data = message.get("bytes")
        if data is None:
            raise BadRequest("a text frame", "send msgpack in binary frames")
        if len(data) > MESSAGE_MAX:
            raise BadRequest(f"a message of {len(data)} bytes", f"at most {MESSAGE_MAX}")
        try:
            message = _decoder.decode(data)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"not a message of {wire.SUBPROTOCOL}: {error}", "see docs/wire.md") from None
        check_msgpack(data)
        return message

    async def farewell(self, error: Exception) -> None:
        """Say what is wrong, then close with the error's code: also to who takes nothing now (outlet.py)."""
        said = error_body(error)
        problem = wire.Problem(said.code, said.message, said.hint, said.mistakes, said.command)
        try:
            await self._socket.send({"type": "websocket.send", "bytes": _encoder.encode(problem), "last": True})
            await self._socket.close(codes(error).ws or 1008)
        except GONE:
            return
