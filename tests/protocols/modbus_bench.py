"""For the Modbus tests: a link to an endpoint, and devices of which the test decides every answer."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from protocols.modbus.link import ModbusLink
from tests.protocols.protocol_bench import RecordingSink, device, seeded
from twin.points import Point

QUICK = {"poll_s": 0.05, "timeout_s": 0.5}

Answer = Callable[[bytes], Awaitable[bytes]]
"""A whole frame in, bytes out; none: no answer."""


def link_to(sink: RecordingSink, endpoint: str, points: Sequence[Point], **settings: object) -> ModbusLink:
    return ModbusLink(device("modbus", endpoint, **(QUICK | settings)), points, sink, time.time_ns, seeded())


@contextlib.asynccontextmanager
async def misbehaving(answer: Answer, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """A device on Modbus TCP."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                header = await reader.readexactly(6)
                body = await reader.readexactly(int.from_bytes(header[4:6], "big"))
                writer.write(await answer(header + body))
                await writer.drain()

    server = await asyncio.start_server(serve, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def registers(request: bytes, *words: int) -> bytes:
    """A proper answer to a read."""
    pdu = struct.pack(f">BB{len(words)}H", request[7], 2 * len(words), *words)
    return request[:4] + struct.pack(">HB", len(pdu) + 1, request[6]) + pdu


def refusal(request: bytes, code: int) -> bytes:
    """An exception."""
    return request[:4] + struct.pack(">HBBB", 3, request[6], request[7] | 0x80, code)


def asked(request: bytes) -> tuple[int, int, int]:
    """Function, first cell and the word after it: the count of a read, the value of a write."""
    function, start, word = struct.unpack(">BHH", request[7:12])
    return function, start, word
