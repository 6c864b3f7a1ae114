"""The Modbus TCP link: one connection, one transaction at a time, polling and writes; must not know the point table."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protocols.believe import wire_value
from protocols.delivery import Delivery
from protocols.healing import Broken, heal
from protocols.link import Clock, Sink, Verdict, WriteOutcome
from protocols.modbus import codec
from twin.plant import Device
from twin.points import Point, Selection
from twin.quality import BAD_DEVICE_FAILURE, BAD_NO_COMMUNICATION, BAD_NODE_ID_UNKNOWN
from twin.readings import Readings

READ_BYTES = 4096  # taken from the socket at once: the longest frame is 260
TIMEOUTS_MAX = 3  # in a row; then the connection counts as dead (half-open, or a device that hangs)
MISSING_RETRY_S = 30.0  # registers that the device refused are asked for again this often
CLOSE_S = 1.0

# An exception with one of these codes may be about a single cell of the block.
_SPLITS = (2, 3)
# A gateway could not reach the device behind it.
_GATEWAY = (10, 11)
# Exceptions to a write that leave it open whether the device acts: 5 says that it does so later, 11 that a gateway
# waited for it in vain.
_UNSETTLED = (5, 11)


class _NoAnswer(Exception):
    """The device let a transaction pass without an answer."""


@dataclass(slots=True)
class _Wire:
    """One connection while it lives. The lock is fair, so a waiting command goes before the next poll request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    parser: codec.FrameParser = field(default_factory=codec.FrameParser)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    free_at: float = 0.0
    timeouts: int = 0
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    announced: bool = False


@dataclass(slots=True)
class _Asked:
    """How far a write came."""

    sent: bool = False


class ModbusLink:
    """A device reached over Modbus TCP. See protocols.link.Link. Modbus has no source time: the receipt stands in."""

    def __init__(
        self,
        device: Device,
        points: Sequence[Point],
        sink: Sink,
        clock: Clock,
        chance: random.Random,
        pki: Path | None = None,
    ) -> None:
        settings = device.settings
        self._device = device
        self._points = Selection.of(points)
        self._sink = sink
        self._chance = chance
        self._delivery = Delivery(device.id, sink, clock, self._points)
        self._host, self._port, self._unit = codec.parse_endpoint(device.endpoint)
        self._poll_s = float(settings["poll_s"])
        self._timeout_s = float(settings["timeout_s"])
        self._connect_delay_s = float(settings["connect_delay_s"])
        self._request_delay_s = float(settings["request_delay_s"])
        self._match_ids = bool(settings["match_transaction"])
        self._single = bool(settings["single_register_writes"])
        self._address = {p.id: codec.parse_address(p.address) for p in points}
        addresses = [self._address[p.id] for p in self._points]
        self._blocks = codec.plan(addresses, int(settings["gap"]), int(settings["max_registers"]))
        self._missing: list[codec.Block] = []
        self._reported: set[int] = set()
        self._wire: _Wire | None = None
        self._transaction = 0
        self._late = 0

    async def run(self) -> None:
        await heal(self._device.id, self._sink, self._chance, self._live)

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        wire = self._wire
        if wire is None:
            return Verdict(WriteOutcome.NOT_SENT, "the link is down")
        try:
            request = codec.write_request(self._address[point.id], wire_value(point, value), self._single)
        except ValueError as misfit:
            return Verdict(WriteOutcome.REFUSED, str(misfit))
        asked = _Asked()
        try:
            async with asyncio.timeout(timeout_s):
                codec.write_answer(request, await self._transact(wire, request, asked))
        except codec.DeviceException as refusal:
            outcome = WriteOutcome.UNKNOWN if refusal.code in _UNSETTLED else WriteOutcome.REFUSED
            return Verdict(outcome, refusal.name)
        except codec.BadFrame as garbage:
            self._break(wire, garbage)
            return Verdict(WriteOutcome.UNKNOWN, f"the answer was no answer: {garbage.detail}")
        except (_NoAnswer, OSError, EOFError, TimeoutError) as failure:
            outcome = WriteOutcome.UNKNOWN if asked.sent else WriteOutcome.NOT_SENT
            return Verdict(outcome, _words(failure))
        return Verdict(WriteOutcome.ACCEPTED)

    async def read(self, point: Point, timeout_s: float) -> Readings | None:
        wire = self._wire
        if wire is None:
            return None
        (block,) = codec.plan([self._address[point.id]])
        try:
            async with asyncio.timeout(timeout_s):
                data = codec.read_answer(block, await self._transact(wire, codec.read_request(block), _Asked()))
        except codec.BadFrame as garbage:
            self._break(wire, garbage)
            return None
        except (codec.DeviceException, _NoAnswer, OSError, EOFError, TimeoutError):
            return None
        batch = self._delivery.batch()
        ((_, value),) = codec.decode_block(block, data)
        batch.add(point, value, 0, None, point.address, data)
        return batch.deliver()

    async def _live(self, online: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, ValueError, TimeoutError) as failure:  # ValueError: a host that is no name at all
            raise Broken(_words(failure)) from failure
        wire = _Wire(reader, writer)
        try:
            await asyncio.sleep(self._connect_delay_s)
            if not self._points:
                self._announce(wire, online)
            elif not await self._cycle(wire, everything=True, online=online):
                raise _NoAnswer(f"no answer in {self._timeout_s:g} s")
            await self._poll(wire, online)
        except codec.BadFrame as garbage:
            self._break(wire, garbage)
            raise Broken(f"the device answered with garbage: {garbage.detail}") from garbage
        except (_NoAnswer, OSError, EOFError, TimeoutError) as failure:
            raise Broken(_words(failure)) from failure
        finally:
            self._wire = None
            await _close(writer)

    def _announce(self, wire: _Wire, online: Callable[[], None]) -> None:
        """The first answer proves more than an open socket: gateways accept for devices that are away."""
        if not wire.announced:
            wire.announced = True
            self._wire = wire
            online()

    async def _poll(self, wire: _Wire, online: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._poll_s
        retry_at = loop.time() + MISSING_RETRY_S
        while True:
            await self._wait_until(due, wire)
            everything = loop.time() >= retry_at
            if everything:
                retry_at = loop.time() + MISSING_RETRY_S
            started = loop.time()
            await self._cycle(wire, everything, online)
            self._sink.metric(self._device.id, "lag_ms", (loop.time() - started) * 1000)
            # A cycle that took longer than its period is not made up for: the next one starts a period later.
            due = max(due + self._poll_s, loop.time())

    async def _wait_until(self, due: float, wire: _Wire) -> None:
        try:
            async with asyncio.timeout_at(due):
                await wire.lost.wait()
        except TimeoutError:
            return
        raise EOFError("the connection was given up")

    async def _cycle(self, wire: _Wire, everything: bool, online: Callable[[], None]) -> int:
        """Read every block once; with `everything` also those cells that the device refused before.

        Returns how many requests were answered.
        """
        blocks = list(self._blocks)
        if everything:
            blocks += self._missing
            self._missing = []
        answered = 0
        while blocks:
            block = blocks.pop(0)
            data: bytes | codec.DeviceException
            try:
                data = codec.read_answer(block, await self._transact(wire, codec.read_request(block), _Asked()))
            except _NoAnswer:
                wire.timeouts += 1
                if wire.timeouts >= TIMEOUTS_MAX or not self._match_ids:
                    raise
                continue
            except codec.DeviceException as refusal:
                data = refusal
            wire.timeouts = 0
            answered += 1
            self._announce(wire, online)
            if isinstance(data, bytes):
                self._take(block, data)
            else:
                blocks[:0] = self._refused(block, data)
        return answered  # no `heard`: each block confirms its own cells, and one that stays silent confirms nothing

    def _refused(self, block: codec.Block, refusal: codec.DeviceException) -> list[codec.Block]:
        """Narrow down which cells the device does not have; returns what to read instead, at once."""
        if refusal.code not in _SPLITS:
            quality = BAD_NO_COMMUNICATION if refusal.code in _GATEWAY else BAD_DEVICE_FAILURE
            self._without_value(block, quality)
            return []
        if block in self._blocks:
            self._blocks.remove(block)
        if len(block.rows) > 1:
            halves = list(block.halves())
            self._blocks += halves
            return halves
        self._missing.append(block)
        row = block.rows[0]
        point = self._points[row]
        if row not in self._reported:
            self._reported.add(row)
            detail = f"{point.name}: the device answers {refusal.name} for {point.address}"
            self._delivery.reject(point.address, "unknown_address", detail, b"", point.name)
        self._without_value(block, BAD_NODE_ID_UNKNOWN)
        return []

    def _without_value(self, block: codec.Block, quality: int) -> None:
        batch = self._delivery.batch()
        for row in block.rows:
            batch.add_quality(self._points[row], quality)
        batch.deliver()

    def _take(self, block: codec.Block, data: bytes) -> None:
        """One batch a block: its cells were read at the same moment."""
        if block not in self._blocks:  # it was missing, and the device has it now
            self._blocks.append(block)
            self._reported.difference_update(block.rows)
        batch = self._delivery.batch()
        for row, value in codec.decode_block(block, data):
            point = self._points[row]
            batch.add(point, value, 0, None, point.address, data)
        batch.deliver()

    async def _transact(self, wire: _Wire, request: bytes, asked: _Asked) -> bytes:
        """Ask and wait for the answer with our transaction id; answers to earlier questions are dropped and counted.

        Raises:
            _NoAnswer: none came within the device's time-out.
            codec.BadFrame, OSError, EOFError: the connection is of no more use.
        """
        loop = asyncio.get_running_loop()
        async with wire.turn:
            await asyncio.sleep(max(0.0, wire.free_at - loop.time()))
            if wire.lost.is_set():
                raise EOFError("the connection was given up")
            answered = False
            self._transaction = self._transaction % 0xFFFF + 1
            try:
                async with asyncio.timeout(self._timeout_s):
                    asked.sent = True
                    wire.writer.write(codec.frame(self._transaction, self._unit, request))
                    await wire.writer.drain()
                    pdu = await self._answer(wire, self._transaction)
                    answered = True
                    return pdu
            except TimeoutError:
                raise _NoAnswer(f"no answer in {self._timeout_s:g} s") from None
            finally:
                wire.free_at = loop.time() + self._request_delay_s
                if not answered and not self._match_ids:
                    wire.lost.set()  # without ids a late answer would pass for the next one

    async def _answer(self, wire: _Wire, transaction: int) -> bytes:
        while True:
            found = wire.parser.next_frame()
            if found is None:
                data = await wire.reader.read(READ_BYTES)
                if not data:
                    self._truncated(wire)
                    raise EOFError("the device closed the connection")
                wire.parser.feed(data)
            elif found.transaction == transaction or not self._match_ids:
                return found.pdu
            else:
                self._late += 1
                self._sink.metric(self._device.id, "late_answers", self._late)

    def _truncated(self, wire: _Wire) -> None:
        if wire.parser.pending:
            detail = f"the connection ended after {len(wire.parser.pending)} bytes of a frame"
            self._delivery.reject(self._device.endpoint, "truncated", detail, wire.parser.pending)

    def _break(self, wire: _Wire, garbage: codec.BadFrame) -> None:
        """Keep the garbage as evidence, and give up the connection that it came on."""
        if not wire.lost.is_set():
            wire.lost.set()
            self._delivery.reject(self._device.endpoint, garbage.reason, garbage.detail, garbage.raw)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        pass  # it was gone already


def _words(failure: BaseException) -> str:
    """What went wrong, for an operator."""
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return str(failure) or type(failure).__name__
