"""The cable on real sockets: sound it passes everything, and each fault does to it what faults do to cables."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from protocols.cable import HELD_PIECES_MAX, PIECE_BYTES, Cable
from protocols.faults import NO_TROUBLE, Trouble
from tests.protocols.protocol_bench import until


@dataclass
class Bench:
    """An echoing device behind a cable."""

    cable: Cable
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.cable.port)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while data := await reader.read(65536):
                self.heard.append(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self.connections -= 1
            writer.close()


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    before = asyncio.all_tasks()
    cable = Cable(("127.0.0.1", 0), random.Random(3))
    made = Bench(cable)
    device = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    cable.target = device.sockets[0].getsockname()[:2]
    await cable.start("127.0.0.1", 0)
    try:
        yield made
    finally:
        await cable.stop()
        device.close()
        await until(lambda: made.connections == 0, "the device is left alone")
        await until(lambda: not {t for t in asyncio.all_tasks() - before if not t.done()}, "no task is left")


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: bytes, within_s: float = 5.0
) -> bytes:
    writer.write(question)
    async with asyncio.timeout(within_s):
        return await reader.readexactly(len(question))


async def gone(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(5.0):
        with pytest.raises(OSError):
            if not await reader.read(1):
                raise ConnectionResetError


async def test_a_sound_cable_passes_everything_in_order() -> None:
    async with bench() as running:
        reader, writer = await running.connect()
        long = random.Random(1).randbytes(3 * PIECE_BYTES + 7)
        assert await ask(reader, writer, long) == long
        writer.close()
        await until(lambda: running.connections == 0, "the device sees the end")


async def test_a_cut_resets_what_is_and_what_comes_until_it_is_mended() -> None:
    async with bench() as running:
        reader, writer = await running.connect()
        assert await ask(reader, writer, b"a") == b"a"
        running.cable.suffer(Trouble(dropped=True))
        await gone(reader)
        late, _ = await running.connect()
        await gone(late)
        running.cable.suffer(NO_TROUBLE)
        assert await ask(*await running.connect(), b"b") == b"b"


async def test_a_slow_cable_keeps_the_order() -> None:
    async with bench() as running:
        running.cable.suffer(Trouble(latency_s=0.02, jitter_s=0.05))
        reader, writer = await running.connect()
        begun = asyncio.get_running_loop().time()
        for n in range(20):
            writer.write(bytes([n]))
            await writer.drain()
        async with asyncio.timeout(5.0):
            assert await reader.readexactly(20) == bytes(range(20))
        assert asyncio.get_running_loop().time() - begun >= 0.04  # there and back


async def test_a_stuck_cable_loses_nothing() -> None:
    async with bench() as running:
        reader, writer = await running.connect()
        assert await ask(reader, writer, b"a") == b"a"
        running.cable.suffer(Trouble(stalled=True))
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            await ask(reader, writer, b"", within_s=0.0) or await asyncio.wait_for(reader.readexactly(4), 0.1)
        assert running.heard == [b"a"]
        running.cable.suffer(NO_TROUBLE)
        async with asyncio.timeout(5.0):
            assert await reader.readexactly(4) == b"late"


async def test_a_stuck_cable_holds_a_bounded_amount_and_makes_the_sender_wait() -> None:
    async with bench() as running:
        reader, writer = await running.connect()
        running.cable.suffer(Trouble(stalled=True))
        flood = asyncio.create_task(_flood(writer))
        await asyncio.wait({flood}, timeout=1.0)
        assert not flood.done()  # four times what is held does not fit
        running.cable.suffer(NO_TROUBLE)
        echo = asyncio.create_task(_drain(reader))
        async with asyncio.timeout(20.0):
            await flood
        echo.cancel()
        await asyncio.gather(echo, return_exceptions=True)


async def _flood(writer: asyncio.StreamWriter) -> None:
    for _ in range(4 * HELD_PIECES_MAX):
        writer.write(bytes(PIECE_BYTES))
        await writer.drain()


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(PIECE_BYTES):
        pass


async def test_half_open_connections_stand_and_swallow_and_are_reset_when_the_way_is_back() -> None:
    async with bench() as running:
        reader, writer = await running.connect()
        idle_reader, idle_writer = await running.connect()
        assert await ask(idle_reader, idle_writer, b"i") == b"i"
        running.cable.suffer(Trouble(silent=True))
        fresh, fresh_writer = await running.connect()
        for stream in (writer, fresh_writer):
            stream.write(b"lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        running.cable.suffer(NO_TROUBLE)
        await gone(reader)
        await gone(fresh)
        assert running.heard == [b"i"]
        assert await ask(idle_reader, idle_writer, b"j") == b"j"  # it lost nothing


async def test_garbage_comes_from_the_device_only_and_its_connections_end_with_it() -> None:
    async with bench() as running:
        reader, writer = await running.connect()
        running.cable.suffer(Trouble(garbage=1.0))
        assert await ask(reader, writer, b"question") != b"question"
        assert running.heard == [b"question"]
        running.cable.suffer(NO_TROUBLE)
        await gone(reader)
        assert await ask(*await running.connect(), b"clean") == b"clean"


async def test_a_device_that_is_away_refuses_through_its_cable() -> None:
    async with bench() as running:
        running.cable.target = ("127.0.0.1", 9)  # nobody listens on discard
        reader, _ = await running.connect()
        await gone(reader)
