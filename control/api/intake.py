"""How a request may arrive: its head bounded in bytes and time; must not know what is asked.

The HTTP parser below keeps every header it is sent, and waits for the end of one for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX = 32_768  # bytes of request line and headers; a browser sends some 2,000
HEAD_S = 10.0  # from the first byte to the end of the head, and for the first byte of a new connection
CONNECTIONS_MAX = 1_000  # open at once, WebSockets aside: files are what a process runs out of first
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"


class Intake(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head: int | None = 0  # bytes of the head so far, None while there is none to come
        self._said = 0  # bytes of address and headers that were parsed
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.write(TOO_MANY)
            transport.close()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > HEAD_MAX and not self.transport.is_closing():
            self._in_time()
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._said = 0
        if self._head is None:
            self._head = 0
        if self._late is None:
            self._wait_for_head()

    def on_url(self, url: bytes) -> None:
        self._said += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._said += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head = None
        self._in_time()
        if self._said > HEAD_MAX:  # came whole, in one piece
            raise ValueError(f"a head of {self._said} bytes")  # the parser answers 400 and closes
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        self._late = self.loop.call_later(HEAD_S, self._too_slow)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_slow(self) -> None:
        self._late = None
        self.transport.close()
