"""Several Modbus units on one connection, and connections that break: every unit keeps its period, nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from protocols.link import Backoff, LinkState
from protocols.modbus import codec
from protocols.modbus.bus import Bus
from protocols.modbus.link import ModbusLink
from protocols.modbus.session import Session
from protocols.modbus.turns import Ask
from tests.protocols.modbus_bench import link_to, misbehaving, refusal, registers
from tests.protocols.protocol_bench import Cable, RecordingSink, free_port, point, running, until

ONE = (point(0, "holding:0"),)


class Gateway:
    """Units behind one port, asked one at a time as on an RS-485 line; it counts what each is asked."""

    def __init__(self, dead: int, says_so: bool) -> None:
        self.asked: Counter[int] = Counter()
        self.connections = 0
        self.most = 0
        self._dead, self._says_so = dead, says_so
        self._line = asyncio.Lock()
        self._open = 0

    async def answer(self, request: bytes) -> bytes:
        unit = request[6]
        self.asked[unit] += 1
        if unit != self._dead:
            return registers(request, unit * 100)
        if not self._says_so:
            return b""
        async with self._line:
            await asyncio.sleep(0.02)  # how long the line is waited on
            return refusal(request, 11)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            self._open += 1
            self.most = max(self.most, self._open)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    header = await reader.readexactly(6)
                    body = await reader.readexactly(int.from_bytes(header[4:6], "big"))
                    writer.write(await self.answer(header + body))
            self._open -= 1

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()


@contextlib.asynccontextmanager
async def all_running(links: list[ModbusLink]) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for link in links:
            await stack.enter_async_context(running(link))
        yield


@pytest.mark.parametrize("says_so", [False, True])
async def test_one_dead_unit_among_five_does_not_slow_the_others(says_so: bool) -> None:
    gateway = Gateway(dead=3, says_so=says_so)
    sinks = {unit: RecordingSink() for unit in range(1, 6)}
    async with gateway.serving() as port:
        links = [link_to(sinks[unit], f"modbus://127.0.0.1:{port}/{unit}", ONE) for unit in sinks]
        async with all_running(links):
            live = [unit for unit in sinks if unit != 3]
            await until(lambda: all(sinks[u].online for u in live), "the others are up")
            await until(
                lambda: all(gateway.asked[u] >= 40 for u in live), "forty periods of 0.05 s, with time to spare"
            )
            assert max(gateway.asked[u] for u in live) - min(gateway.asked[u] for u in live) < 10, "all alike"
            assert gateway.asked[3] < 15, "it is asked ever less often"
            assert LinkState.ONLINE not in sinks[3].states and LinkState.OFFLINE in sinks[3].states
            assert all(sinks[u].value(0) == u * 100.0 for u in live)
            assert all(LinkState.OFFLINE not in sinks[u].states for u in live)
            assert gateway.connections == 1, "they share one connection"


async def test_a_slow_unit_does_not_slow_the_others_where_the_gateway_takes_two_at_a_time() -> None:
    slow = asyncio.Event()
    asked: Counter[int] = Counter()
    sinks = {unit: RecordingSink() for unit in range(1, 4)}

    async def answer(request: bytes, reply: Callable[[bytes], None]) -> None:
        asked[request[6]] += 1
        if request[6] == 2:
            await slow.wait()
        reply(registers(request, request[6]))

    async with side_by_side(answer) as port:
        links = [link_to(sinks[u], f"modbus://127.0.0.1:{port}/{u}", ONE, outstanding=2, timeout_s=30.0) for u in sinks]
        async with all_running(links):
            await until(lambda: min(asked[1], asked[3]) > 30, "the others go on while it thinks")
            assert asked[2] == 1
            slow.set()
            await until(lambda: sinks[2].value(0) == 2.0, "it has thought")


@contextlib.asynccontextmanager
async def side_by_side(answer: Callable[[bytes, Callable[[bytes], None]], Awaitable[None]]) -> AsyncIterator[int]:
    """A gateway that works at several requests at a time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.TaskGroup() as tasks:
                while True:
                    header = await reader.readexactly(6)
                    body = await reader.readexactly(int.from_bytes(header[4:6], "big"))
                    tasks.create_task(answer(header + body, writer.write))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_units_have_connections_of_their_own_where_the_plant_says_so() -> None:
    gateway = Gateway(dead=0, says_so=False)
    sinks = {unit: RecordingSink() for unit in range(1, 4)}
    async with gateway.serving() as port:
        links = [link_to(sinks[u], f"modbus://127.0.0.1:{port}/{u}", ONE, shared=False) for u in sinks]
        async with all_running(links):
            await until(lambda: all(sink.online for sink in sinks.values()), "all are up")
            assert gateway.most == 3


async def test_a_lost_connection_is_everybodys_loss_and_opened_once_for_all() -> None:
    gateway = Gateway(dead=0, says_so=False)
    sinks = {unit: RecordingSink() for unit in range(1, 5)}
    async with gateway.serving() as port, Cable(port) as cable:
        links = [link_to(sinks[unit], f"modbus://127.0.0.1:{cable.port}/{unit}", ONE) for unit in sinks]
        async with all_running(links):
            await until(lambda: all(sink.online for sink in sinks.values()), "all are up")
            cable.cut()
            await until(lambda: all(LinkState.OFFLINE in sink.states for sink in sinks.values()), "all notice")
            await until(lambda: all(sink.online for sink in sinks.values()), "all are up again")
        assert gateway.connections == 2


async def test_a_unit_that_stops_leaves_the_connection_to_the_others() -> None:
    gateway = Gateway(dead=0, says_so=False)
    first, second = RecordingSink(), RecordingSink()
    async with gateway.serving() as port:
        async with running(link_to(second, f"modbus://127.0.0.1:{port}/2", ONE)):
            async with running(link_to(first, f"modbus://127.0.0.1:{port}/1", ONE)):
                await until(lambda: first.online and second.online, "both are up")
            before = gateway.asked[2]
            await until(lambda: gateway.asked[2] > before + 2, "the other goes on")
        assert gateway.connections == 1 and LinkState.OFFLINE not in second.states


RtuAnswer = Callable[[int, bytes], Awaitable[bytes]]


class SerialGateway:
    """RTU frames over TCP: the test decides every answer, given the unit and the PDU."""

    def __init__(self, answer: RtuAnswer) -> None:
        self._answer = answer
        self.connections = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    whole = await reader.readexactly(8)
                    assert codec.check_sum(whole[:-2]) == whole[-2:]
                    writer.write(await self._answer(whole[0], whole[1:-2]))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()


def rtu(unit: int, *words: int) -> bytes:
    return codec.rtu_frame(unit, bytes((3, 2 * len(words))) + b"".join(w.to_bytes(2, "big") for w in words))


async def test_a_wrong_check_sum_over_tcp_is_evidence_and_costs_one_answer() -> None:
    calls = 0

    async def answer(unit: int, pdu: bytes) -> bytes:
        nonlocal calls
        calls += 1
        good = rtu(unit, calls)
        return good[:-1] + bytes((good[-1] ^ 1,)) if calls == 3 else good

    gateway, sink = SerialGateway(answer), RecordingSink()
    async with gateway.serving() as port, running(link_to(sink, f"modbus+rtu://127.0.0.1:{port}/1", ONE)):
        await until(lambda: (sink.value(0) or 0) > 5, "values flow on")
    assert [letter.reason for letter in sink.letters] == ["decode"] and "check sum" in sink.letters[0].detail
    assert LinkState.OFFLINE not in sink.states
    assert gateway.connections == 2, "the stream began anew"


async def test_a_late_answer_without_ids_never_passes_for_the_next_one() -> None:
    calls = 0

    async def answer(unit: int, pdu: bytes) -> bytes:
        nonlocal calls
        calls += 1
        mine = calls
        if mine == 3:
            await asyncio.sleep(0.25)  # longer than the link waits
        return rtu(unit, mine)

    sink = RecordingSink()
    async with (
        SerialGateway(answer).serving() as port,
        running(link_to(sink, f"modbus+rtu://127.0.0.1:{port}/1", ONE, timeout_s=0.1)),
    ):
        await until(lambda: (sink.value(0) or 0) > 6, "values flow on")
    values = [float(batch.value[0]) for batch in sink.batches]
    assert 3.0 not in values and LinkState.OFFLINE not in sink.states


async def test_what_another_unit_says_on_the_line_is_not_taken() -> None:
    async def answer(unit: int, pdu: bytes) -> bytes:
        return rtu(unit + 1, 666) + rtu(unit, 5)

    sink = RecordingSink()
    async with SerialGateway(answer).serving() as port, running(link_to(sink, f"modbus+rtu://127.0.0.1:{port}/1", ONE)):
        await until(lambda: len(sink.batches) > 3, "values flow")
    assert {float(batch.value[0]) for batch in sink.batches} == {5.0}
    assert sink.metrics["late_answers"] >= 3


async def test_a_dead_unit_behind_a_serial_gateway_lets_the_others_live() -> None:
    asked: Counter[int] = Counter()

    async def answer(unit: int, pdu: bytes) -> bytes:
        asked[unit] += 1
        return b"" if unit == 2 else rtu(unit, unit)

    sinks = {unit: RecordingSink() for unit in range(1, 4)}
    async with SerialGateway(answer).serving() as port:
        links = [link_to(sinks[u], f"modbus+rtu://127.0.0.1:{port}/{u}", ONE, timeout_s=0.1) for u in sinks]
        async with all_running(links):
            await until(lambda: min(asked[1], asked[3]) > 30, "the others go on")
            assert asked[2] < 15
            assert LinkState.OFFLINE in sinks[2].states
            assert all(LinkState.OFFLINE not in sinks[u].states for u in (1, 3))


async def test_only_garbage_on_a_serial_gateway_ends_the_session() -> None:
    async def answer(unit: int, pdu: bytes) -> bytes:
        return b"\x55" * 20

    sink = RecordingSink()
    async with SerialGateway(answer).serving() as port, running(link_to(sink, f"modbus+rtu://127.0.0.1:{port}/1", ONE)):
        await until(lambda: LinkState.OFFLINE in sink.states, "it is given up")
        assert {letter.reason for letter in sink.letters} == {"decode"}
    assert LinkState.ONLINE not in sink.states


async def test_a_device_that_moves_is_found_at_its_new_address(monkeypatch: pytest.MonkeyPatch) -> None:
    lives_at = "127.0.0.1"
    resolve = socket.getaddrinfo

    def lookup(host: str, *rest: object, **more: object) -> object:
        return resolve(lives_at if host == "plc.example" else host, *rest, **more)  # type: ignore[arg-type]

    async def answer(request: bytes) -> bytes:
        return registers(request, 1)

    async def answer_elsewhere(request: bytes) -> bytes:
        return registers(request, 2)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    sink, port = RecordingSink(), free_port()
    async with contextlib.AsyncExitStack() as second, misbehaving(answer, "127.0.0.1", port):
        link = link_to(sink, f"modbus://plc.example:{port}/1", ONE, timeout_s=0.2)
        await second.enter_async_context(running(link))
        await until(lambda: sink.value(0) == 1.0, "it is read")
        await second.enter_async_context(misbehaving(answer_elsewhere, "127.0.0.2", port))
        lives_at = "127.0.0.2"
        assert link._session is not None
        link._session.fail(EOFError("the test pulls the plug"))
        await until(lambda: sink.value(0) == 2.0, "it is found where it lives now")


async def test_nothing_is_left_of_two_hundred_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(chance: random.Random) -> Backoff:
        return Backoff(chance, 0.001, 0.001)

    monkeypatch.setattr("protocols.healing.Backoff", impatient)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        header = await reader.readexactly(12)
        writer.write(registers(header, connections) + (b"", b"\0\1", b"garbage!")[connections % 3])
        writer.close()

    def alive() -> tuple[int, Counter[str]]:
        gc.collect()
        kinds = (Bus, Session, Ask, asyncio.Transport)
        found = Counter(kind.__name__ for o in gc.get_objects() for kind in kinds if isinstance(o, kind))
        return len(list(Path("/proc/self/fd").iterdir())), found

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port, sink = server.sockets[0].getsockname()[1], RecordingSink()
    async with running(link_to(sink, f"modbus://127.0.0.1:{port}/1", ONE, poll_s=0.01)):
        await until(lambda: connections >= 20, "it has begun")
        files, objects = alive()
        await until(lambda: connections >= 220, "two hundred more", within_s=30.0)
        more_files, more_objects = alive()
        assert more_files <= files + 4
        assert all(more_objects[kind] <= objects[kind] + 4 for kind in more_objects), (objects, more_objects)
    server.close()
    assert sink.metrics["reconnects"] >= 200
