"""Modbus against devices and clients that others wrote: libmodbus in C, pymodbus over TCP, RTU and a serial line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import subprocess
import termios
import time
import tty
from collections.abc import AsyncIterator, Iterator

import pytest
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.link import WriteOutcome
from protocols.modbus.device import ModbusDevice
from protocols.modbus.link import ModbusLink
from tests.peers.libmodbus import program, serving
from tests.protocols.protocol_bench import RecordingSink, Wished, device, point, running, seeded, until
from twin.points import Point

QUICK = {"poll_s": 0.05, "timeout_s": 0.5}


def link(sink: RecordingSink, endpoint: str, points: tuple[Point, ...], **settings: object) -> ModbusLink:
    return ModbusLink(device("modbus", endpoint, **(QUICK | settings)), points, sink, time.time_ns, seeded())


@pytest.mark.parametrize("outstanding", [1, 16])
async def test_a_libmodbus_device_is_read_in_all_tables_and_orders(outstanding: int) -> None:
    texts = [f"{table}:{n}" for table in ("holding", "input") for n in range(0, 900, 2)]
    bits = [f"{table}:{n}" for table in ("coil", "discrete") for n in range(40)]
    floats = [f"holding:{1000 + 2 * i}:float32:{order}" for i, order in enumerate(("ABCD", "DCBA", "BADC", "CDAB"))]
    points = [point(i, text) for i, text in enumerate([*texts, *floats])]
    points += [point(len(points) + i, text, "boolean") for i, text in enumerate(bits)]
    expected = (
        [3.0 * n for n in range(0, 900, 2)]
        + [65535.0 - n for n in range(0, 900, 2)]
        + [struct.unpack(">f", b"\x41\x45\x87\x94")[0]] * 4
    )
    expected += [float(n % 3 == 0) for n in range(40)] + [float(n % 5 == 0) for n in range(40)]
    sink = RecordingSink()
    with serving(program("server"), "0", "1") as port:
        at = f"modbus://127.0.0.1:{port}/1"
        async with running(link(sink, at, tuple(points), outstanding=outstanding, max_registers=20, gap=1)):
            await until(lambda: len(sink.latest) == len(points), "everything is read")
    assert [sink.value(p.id) for p in points] == expected
    assert sink.letters == []


async def test_a_libmodbus_device_is_written_and_shows_it_at_once() -> None:
    points = (
        point(0, "holding:3", writable=True), point(1, "holding:10:float64:CDAB", writable=True),
        point(2, "holding:7:bit4", "boolean", writable=True), point(3, "coil:4", "boolean", writable=True),
        point(4, "holding:5000", writable=True),
    )  # fmt: skip
    sink = RecordingSink()
    with serving(program("server"), "0", "1") as port:
        wire = link(sink, f"modbus://127.0.0.1:{port}/1", points, poll_s=30.0)
        async with running(wire):
            await until(lambda: len(sink.latest) == 5, "everything is read or known to be missing")
            wanted = {0: 77.0, 1: -1.25e100, 2: 1.0, 3: 1.0}
            for id, value in wanted.items():
                assert (await wire.write(points[id], value, 2.0)).outcome is WriteOutcome.ACCEPTED
            await until(lambda: {i: sink.value(i) for i in wanted} == wanted, "read back before the next poll is due")
            refused = await wire.write(points[4], 1.0, 2.0)
            assert (refused.outcome, refused.detail) == (WriteOutcome.REFUSED, "IllegalDataAddress")
            mask = await wire.read(point(9, "holding:7"), 2.0)
            assert mask is not None and int(mask.value[0]) == 21 | 16, "its other bits are as they were"


def ours(*texts: str) -> tuple[Point, ...]:
    kinds = {"coil": "boolean", "discrete": "boolean"}
    return tuple(
        point(i, text, "boolean" if ":bit" in text else kinds.get(text.split(":")[0], "double"),
              writable=text.startswith(("coil", "holding")))
        for i, text in enumerate(texts)
    )  # fmt: skip


async def told(port: int, *orders: str) -> list[str]:
    """What a libmodbus client is told by the device on that port."""
    command = [str(program("client")), str(port), "7", *" ".join(orders).split()]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.splitlines()


async def test_a_libmodbus_client_reads_and_writes_our_device() -> None:
    points = ours(
        "holding:10", "holding:11:int16", "input:5", "coil:3", "discrete:8", "holding:20:bit3", "holding:20:bit9"
    )
    wished = Wished()
    served = ModbusDevice(device("modbus", "modbus://127.0.0.1:0/7"), points, wished, time.time_ns)
    await served.start()
    try:
        await served.publish({0: 500.0, 1: -2.0, 2: 9.0, 3: 1.0, 4: 1.0, 5: 1.0, 6: 0.0}, time.time_ns(), {})
        port = int(served.endpoint.split(":")[2].split("/")[0])
        assert await told(port, "rh 10 2", "ri 5 1", "rc 3 1", "rd 8 1", "rh 20 1") == ["500 65534", "9", "1", "1", "8"]
        assert (
            await told(port, "wr 10 501", "ws 10 2 7 8", "wc 3 0", f"mask 20 {0xFFFF ^ 0x200} {0x200}") == ["done"] * 4
        )
        assert wished.writes == [(0, 501.0), (0, 7.0), (1, 8.0), (3, 0.0), (6, 1.0)]
        assert await told(port, "rh 10 2", "rc 3 1", "rh 20 1") == ["7 8", "0", str(0x208)]
        wished.refuse = True
        assert await told(port, "wr 10 1", "wr 999 1") == ["Illegal data value", "Illegal data address"]
    finally:
        await served.stop()


def theirs() -> SimDevice:
    """A pymodbus device: holding registers 0 … 99 hold their own numbers, coils 0 … 15 alternate."""
    bits = [SimData(0, values=[n % 2 == 1 for n in range(16)], datatype=DataType.BITS)]
    words = [SimData(0, values=list(range(100)), datatype=DataType.REGISTERS)]
    nothing = [SimData(0, values=[0], datatype=DataType.REGISTERS)]
    return SimDevice(id=9, simdata=(bits, bits, words, nothing))


@contextlib.asynccontextmanager
async def pymodbus_device(framer: FramerType) -> AsyncIterator[int]:
    server = ModbusTcpServer(theirs(), address=("127.0.0.1", 0), framer=framer)
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


POINTS = (
    point(0, "holding:7", writable=True), point(1, "holding:8:uint32:CDAB", writable=True),
    point(2, "coil:3", "boolean", writable=True), point(3, "holding:20:bit2", "boolean", writable=True),
    point(4, "holding:99"), point(5, "holding:100"),
)  # fmt: skip


async def reads_and_writes(sink: RecordingSink, wire: ModbusLink) -> None:
    async with running(wire):
        await until(lambda: len(sink.latest) == 6, "everything is read or known to be missing")
        assert [sink.value(i) for i in range(5)] == [7.0, 9.0 * 65536 + 8, 1.0, 1.0, 99.0]
        assert [letter.reason for letter in sink.letters] == ["unknown_address"]
        for id, value in {0: 1234.0, 1: 3.0e9, 2: 0.0, 3: 0.0}.items():
            assert (await wire.write(POINTS[id], value, 2.0)).outcome is WriteOutcome.ACCEPTED
        await until(lambda: [sink.value(i) for i in range(4)] == [1234.0, 3.0e9, 0.0, 0.0], "it shows what was written")
        refused = await wire.write(point(6, "holding:4711"), 1.0, 2.0)
        assert (refused.outcome, refused.detail) == (WriteOutcome.REFUSED, "IllegalDataAddress")


@pytest.mark.parametrize(("scheme", "framer"), [("modbus", FramerType.SOCKET), ("modbus+rtu", FramerType.RTU)])
async def test_a_pymodbus_device_is_read_and_written_over_tcp_with_both_framings(
    scheme: str, framer: FramerType
) -> None:
    sink = RecordingSink()
    async with pymodbus_device(framer) as port:
        await reads_and_writes(sink, link(sink, f"{scheme}://127.0.0.1:{port}/9", POINTS))
    assert "late_answers" not in sink.metrics


class SerialLine:
    """Two pseudo terminals and the wire between them."""

    def __init__(self) -> None:
        pairs = [os.openpty() for _ in range(2)]
        self._ends = [pair[0] for pair in pairs]
        self._others = [pair[1] for pair in pairs]
        self.paths = [os.ttyname(pair[1]) for pair in pairs]
        for end in (*self._ends, *self._others):
            tty.setraw(end, termios.TCSANOW)
            os.set_blocking(end, False)
        self.noise = b""
        self.cut = False

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for source, sink in (self._ends, self._ends[::-1]):
            loop.add_reader(source, self._carry, source, sink)
        try:
            yield
        finally:
            for end in self._ends:
                loop.remove_reader(end)
            for end in (*self._ends, *self._others):
                os.close(end)

    def _carry(self, source: int, sink: int) -> None:
        data = os.read(source, 4096)
        if not self.cut:
            os.write(sink, self.noise + data)
        self.noise = b""


@pytest.fixture
async def line() -> AsyncIterator[SerialLine]:
    line = SerialLine()
    with line.connected():
        yield line


@contextlib.asynccontextmanager
async def serial_device(path: str) -> AsyncIterator[None]:
    server = ModbusSerialServer(theirs(), port=path, baudrate=19200)
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


async def test_a_pymodbus_device_is_read_and_written_over_a_serial_line(line: SerialLine) -> None:
    sink = RecordingSink()
    async with serial_device(line.paths[0]):
        at = f"modbus+serial://{line.paths[1]}/9?baud=19200"
        await reads_and_writes(sink, link(sink, at, POINTS))


async def test_noise_on_a_serial_line_costs_one_answer(line: SerialLine) -> None:
    sink = RecordingSink()
    async with serial_device(line.paths[0]):
        at = f"modbus+serial://{line.paths[1]}/9?baud=19200"
        async with running(link(sink, at, POINTS[:1])):
            await until(lambda: sink.online, "the link is up")
            before = len(sink.batches)
            line.noise = b"\x13\x37"
            await until(lambda: not line.noise and len(sink.batches) > before + 3, "values flow on")
            line.cut = True
            await until(lambda: not sink.online, "the silence is noticed")
            line.cut = False
            await until(lambda: sink.online, "and its end")


async def test_a_pymodbus_client_reads_our_device_over_a_serial_line(line: SerialLine) -> None:
    wished = Wished()
    points = (point(0, "holding:4:float32", writable=True),)
    served = ModbusDevice(
        device("modbus", f"modbus+serial://{line.paths[0]}/3?baud=19200"), points, wished, time.time_ns
    )
    await served.start()
    client = AsyncModbusSerialClient(line.paths[1], baudrate=19200)
    try:
        await served.publish({0: 2.5}, time.time_ns(), {})
        assert await client.connect()
        answer = await client.read_holding_registers(4, count=2, device_id=3)
        assert client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32) == 2.5
        await client.write_registers(4, client.convert_to_registers(7.5, client.DATATYPE.FLOAT32), device_id=3)
        assert wished.writes == [(0, 7.5)]
    finally:
        client.close()
        await served.stop()
