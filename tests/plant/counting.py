"""A Modbus device that counts: each write that takes effect is a line in a file before it is answered, if it is at all.

Runs in a process of its own that the tests never kill. Must not know commands or the product.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

REGISTERS = 65_536
READ, WRITE_ONE, WRITE_MANY = 3, 6, 16
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, BUSY = 1, 2, 6
HEADER = struct.Struct(">HHHB")


@dataclass(frozen=True, slots=True)
class Manners:
    """How often, of its writes, a device does what devices should not.

    Attributes:
        swallow: acts, and never answers.
        hang_up: acts, and closes the connection instead of answering.
        refuse: says that it is busy, and does not act.
        drop: closes the connection, and does not act.
        late: acts, and answers `late_s` later.
        answer_s: how long every answer to a write takes, as a PLC answers once a cycle.
    """

    swallow: float = 0.0
    hang_up: float = 0.0
    refuse: float = 0.0
    drop: float = 0.0
    late: float = 0.0
    late_s: float = 0.0
    answer_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """One write that took effect; `at_ns` is CLOCK_MONOTONIC, the same for all processes of a machine."""

    device: int
    register: int
    value: int
    at_ns: int


class Counter:
    """One device: its registers, its manners, and the file of all writes."""

    def __init__(self, number: int, file: int, manners: Manners, chance: random.Random) -> None:
        self.manners = manners
        self.chance = chance
        self._number, self._file = number, file
        self._registers = bytearray(2 * REGISTERS)

    def cells(self, start: int, count: int) -> bytes:
        return bytes(self._registers[2 * start : 2 * (start + count)])

    def act(self, start: int, cells: bytes) -> None:
        """Counted before it can be answered or seen."""
        now = time.monotonic_ns()
        values = struct.unpack(f">{len(cells) // 2}H", cells)
        lines = "".join(f"{self._number} {start + n} {value} {now}\n" for n, value in enumerate(values))
        os.write(self._file, lines.encode())
        self._registers[2 * start : 2 * start + len(cells)] = cells


class Connection(asyncio.Protocol):
    """One client of a device: whole frames in, answers out, in order."""

    def __init__(self, device: Counter) -> None:
        self._device = device
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= HEADER.size:
            transaction, _, length, unit = HEADER.unpack_from(self._received)
            frame, self._received = self._received[: 6 + length], self._received[6 + length :]
            if len(frame) < 6 + length:
                self._received = frame + self._received
                return
            self._asked(transaction, unit, frame[7:])

    def _asked(self, transaction: int, unit: int, pdu: bytes) -> None:
        function = pdu[0]
        if function == READ:
            start, count = struct.unpack(">HH", pdu[1:5])
            if start + count > REGISTERS:
                self._answer(transaction, unit, bytes((function | 0x80, ILLEGAL_ADDRESS)))
                return
            cells = self._device.cells(start, count)
            self._answer(transaction, unit, bytes((function, len(cells))) + cells)
        elif function in (WRITE_ONE, WRITE_MANY):
            (start,) = struct.unpack(">H", pdu[1:3])
            self._write(transaction, unit, start, pdu[3:5] if function == WRITE_ONE else pdu[6:], pdu[:5])
        else:
            self._answer(transaction, unit, bytes((function | 0x80, ILLEGAL_FUNCTION)))

    def _write(self, transaction: int, unit: int, start: int, cells: bytes, echo: bytes) -> None:
        """Which of the manners it is, is one throw: they exclude each other."""
        manners, throw = self._device.manners, self._device.chance.random()
        if (throw := throw - manners.refuse) < 0:
            self._answer(transaction, unit, bytes((echo[0] | 0x80, BUSY)))
        elif (throw := throw - manners.drop) < 0:
            self._hang_up()
        else:
            self._device.act(start, cells)
            if (throw := throw - manners.swallow) < 0:
                return
            if (throw := throw - manners.hang_up) < 0:
                self._hang_up()
                return
            wait_s = manners.late_s if throw - manners.late < 0 else manners.answer_s
            if wait_s > 0:
                asyncio.get_running_loop().call_later(wait_s, self._answer, transaction, unit, echo)
            else:
                self._answer(transaction, unit, echo)

    def _answer(self, transaction: int, unit: int, pdu: bytes) -> None:
        if self._transport is not None:
            self._transport.write(HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()


# --- the process -----------------------------------------------------------------------------------------------------


async def serve(path: Path, devices: int, seed: int, manners: Manners) -> None:
    """Until stdin ends. The first line of stdout holds the ports."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    loop = asyncio.get_running_loop()
    servers = []
    for number in range(devices):
        device = Counter(number, file, manners, random.Random(f"{seed} {number}"))
        servers.append(await loop.create_server(lambda d=device: Connection(d), "127.0.0.1", 0))  # type: ignore[misc]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    ended = asyncio.Event()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, read)
    await ended.wait()


@dataclass(frozen=True, slots=True)
class Counting:
    """Devices in their process, as a test sees them."""

    ports: Sequence[int]
    path: Path

    def writes(self) -> list[Written]:
        """All of them so far, in the order in which they took effect."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [Written(*map(int, line.split())) for line in lines]


@contextlib.contextmanager
def counting(folder: Path, devices: int, seed: int = 1, manners: Manners | None = None) -> Iterator[Counting]:
    """Devices that listen, for as long as the block takes."""
    path = folder / "writes"
    asked = manners or Manners()
    words = [str(path), str(devices), str(seed), *(repr(getattr(asked, n)) for n in Manners.__dataclass_fields__)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.plant.counting", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield Counting(json.loads(process.stdout.readline()), path)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("path", type=Path)
    words.add_argument("devices", type=int)
    words.add_argument("seed", type=int)
    for name in Manners.__dataclass_fields__:
        words.add_argument(name, type=float)
    given = vars(words.parse_args())
    path, devices, seed = given.pop("path"), given.pop("devices"), given.pop("seed")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(path, devices, seed, Manners(**given)))


if __name__ == "__main__":
    main()
