"""Many lean WebSocket clients in one process: they sign in, subscribe, and note when each frame came; no more than that.

A frame is stamped when its bytes arrive, before anything is parsed: what is measured is the server, not Python here.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import msgspec

from control.api.wire import SUBPROTOCOL


class Message(msgspec.Struct):
    """As much of any message as is looked at."""

    t: str
    seq: int = 0
    time: float = 0.0
    code: str = ""


_decoder = msgspec.msgpack.Decoder(Message)


class Follower(asyncio.Protocol):
    """One client. `sub` None: whatever comes is a frame from the start, without sign-in."""

    def __init__(self, host: str, ticket: str, sub: dict[str, object] | None) -> None:
        self.transport: asyncio.Transport | None = None
        self.late_ms: list[float] = []
        self.gap_ms = 0.0
        self.deltas = 0
        self.bytes = 0
        self.error = ""
        self.closed: int | None = None
        self.began = asyncio.Event()
        self.measuring = False
        self._host, self._ticket, self._sub = host, ticket, sub
        self._buffer = bytearray()
        self._open = False
        self._before = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by type
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /ws HTTP/1.1", f"Host: {self._host}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Protocol: {SUBPROTOCOL}", "", "",
        )  # fmt: skip
        self.transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        now = time.time() * 1e3
        self.bytes += len(data)
        self._buffer += data
        if not self._open:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            assert self._buffer.startswith(b"HTTP/1.1 101"), bytes(self._buffer[:200])
            del self._buffer[: head + 4]
            self._open = True
        while (size := self._whole()) is not None:
            start, end = size
            opcode = self._buffer[0] & 15
            payload = bytes(self._buffer[start:end])
            del self._buffer[:end]
            if opcode == 2:
                self._heard(_decoder.decode(payload), now)
            elif opcode == 8:
                self.closed = struct.unpack("!H", payload[:2])[0] if payload else 1005
                self.began.set()
            elif opcode == 9:
                self._say(payload, 10)

    def _whole(self) -> tuple[int, int] | None:
        """(start, end) of the payload of the first frame, None while it is not all there. Servers do not mask."""
        if len(self._buffer) < 2:
            return None
        size, start = self._buffer[1] & 127, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(self._buffer) < start:
                return None
            size = int.from_bytes(self._buffer[2:start], "big")
        return (start, start + size) if len(self._buffer) >= start + size else None

    def _heard(self, message: Message, now: float) -> None:
        match message.t:
            case "hello":
                self._say(msgspec.msgpack.encode({"t": "auth", "ticket": self._ticket}), 2)
            case "welcome":
                self._say(msgspec.msgpack.encode({"t": "sub", **(self._sub or {})}), 2)
            case "error":
                self.error = message.code
            case "snapshot":
                self.began.set()
            case "delta":
                self.began.set()
                if self.measuring:
                    self.deltas += 1
                    self.late_ms.append(now - message.time)
                    self.gap_ms = max(self.gap_ms, now - self._before if self._before else 0.0)
                    self._before = now

    def _say(self, payload: bytes, opcode: int) -> None:
        """Clients mask; a mask of zeros leaves the bytes as they are."""
        assert self.transport is not None and len(payload) < 65_536
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
        self.transport.write(bytes([0x80 | opcode]) + size + bytes(4) + payload)


async def follow(url: str, ticket: Callable[[], str], sub: dict[str, object], receive_buffer: int = 0) -> Follower:
    """One more client, once it has its first frame."""
    parts = urlsplit(url)
    made = socket.socket()
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, (parts.hostname, parts.port))
    _, follower = await loop.create_connection(lambda: Follower(parts.netloc, ticket(), sub), sock=made)
    await asyncio.wait_for(follower.began.wait(), 20)
    return follower
