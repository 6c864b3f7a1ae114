"""The Modbus link: polling cycles, commands and what their answers mean; must not know the point table or a socket."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.believe import wire_value
from protocols.delivery import Batch, Delivery
from protocols.healing import heal
from protocols.link import Clock, Sink, Verdict, WriteOutcome
from protocols.modbus import codec, values
from protocols.modbus.address import Address, parse_address, parse_endpoint
from protocols.modbus.blocks import Block, Limits, block_of
from protocols.modbus.burst import Burst
from protocols.modbus.bus import bus_of
from protocols.modbus.picture import Picture
from protocols.modbus.session import Command, Refused, Session, Took, data_of, words
from protocols.modbus.turns import GATEWAY_CODES, NoAnswer
from protocols.modbus.writes import Functions, rewrite_request, verdict_of, write_request
from twin.plant import Device
from twin.points import Point, Selection
from twin.quality import BAD_DEVICE_FAILURE, BAD_NO_COMMUNICATION, BAD_NO_DATA, BAD_NODE_ID_UNKNOWN, GOOD
from twin.readings import Readings

log = logging.getLogger("twinloop.link")

MISSING_RETRY_S = 30.0  # registers that the device refused are asked for again this often
# Values are handed over together: so many, or what came in so long. A hand-over costs as much as hundreds of values.
HAND_OVER_VALUES, HAND_OVER_S = 32_768, 0.01

# An exception with one of these codes may be about a single cell of the block.
_SPLITS = (2, 3)
# The device is busy: that says nothing of its values.
_BUSY = (5, 6)


class ModbusLink:
    """A device reached over Modbus. See protocols.link.Link. Modbus has no source time: the receipt stands in."""

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
        self._clock = clock
        self._chance = chance
        self._delivery = Delivery(device.id, sink, clock, self._points)
        self._endpoint = parse_endpoint(device.endpoint)
        self._poll_s = float(settings["poll_s"])
        self._timeout_s = float(settings["timeout_s"])
        self._outstanding = int(settings["outstanding"])
        self._connect_delay_s = float(settings["connect_delay_s"])
        self._request_delay_s = float(settings["request_delay_s"])
        self._match_ids = bool(settings["match_transaction"])
        self._shared = bool(settings["shared"])
        self._read_back = bool(settings["read_back"])
        self._functions = Functions.of(settings)
        limits = Limits(
            int(settings["gap"]), int(settings["max_registers"]), int(settings["max_bits"]), bool(settings["merge"])
        )
        # Two bursts under way: while one is answered the next is on its way.
        together = max(1, self._outstanding // 2)
        addresses = [parse_address(text) for text in self._points.words("address")]
        self._picture = Picture(addresses, limits, self._endpoint.unit, together)
        self._looked_at: dict[int, tuple[Point, Address]] = {}  # by row: those that are no plain numbers
        self._reported: set[int] = set()
        self._rewriting = asyncio.Lock()
        self._session: Session | None = None
        self._doubtful = False
        self._late = 0
        self._queued = 0
        self._hand_over_at: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        await heal(self._device.id, self._sink, self._chance, self._live)

    # --- one session ---

    async def _live(self, online: Callable[[], None]) -> None:
        bus = bus_of(self._endpoint, self._shared, self._match_ids, self._clock)
        seat = (self._endpoint.unit, self._timeout_s, self._outstanding, self._request_delay_s)
        session = Session(bus, seat, self._clock, self._came_late, self._garbage, self._doubtful)
        took, refused = partial(self._took, session, online), partial(self._refused, session, online)
        try:
            await session.join(self._connect_delay_s)
            if not len(self._points):
                self._announce(session, online)
            for bursts in self._beginning():
                await session.cycle(bursts, took, refused)
                self._hand_over()
            await self._poll(session, took, refused)
        finally:
            self._session = None
            self._doubtful = session.doubtful
            self._hand_over()
            await session.leave()

    def _beginning(self) -> list[list[Burst]]:
        """One question, then all the others.

        The first answer proves more than an open socket, because gateways accept for devices that are away, and while
        it is away it costs the others on the bus no more than one time-out.
        """
        bursts = self._picture.bursts(True)
        if not bursts:
            return []
        first, *others = bursts[0].blocks
        return [[self._picture.burst([first])], [*([self._picture.burst(others)] if others else []), *bursts[1:]]]

    def _announce(self, session: Session, online: Callable[[], None]) -> None:
        if self._session is None:
            self._session = session
            online()

    async def _poll(self, session: Session, took: Took, refused: Refused) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._poll_s
        retry_at = loop.time() + MISSING_RETRY_S
        while True:
            await _wait_until(due, session)
            everything = loop.time() >= retry_at
            if everything:
                retry_at = loop.time() + MISSING_RETRY_S
            started = loop.time()
            late = loop.call_at(started + self._poll_s, lambda: self._say_queued(session.waiting))
            try:
                await session.cycle(self._picture.bursts(everything), took, refused)
            finally:
                late.cancel()
            self._hand_over()
            self._sink.metric(self._device.id, "lag_ms", (loop.time() - started) * 1000)
            if loop.time() - started < self._poll_s:
                self._say_queued(0)
            # A cycle that took longer than its period is not made up for: the next one starts a period later.
            due = max(due + self._poll_s, loop.time())

    def _say_queued(self, queued: int) -> None:
        """What still waits for its turn when the next cycle would be due."""
        if queued != self._queued:
            self._queued = queued
            self._sink.metric(self._device.id, "queued", queued)

    def _came_late(self) -> None:
        self._late += 1
        self._sink.metric(self._device.id, "late_answers", self._late)

    def _garbage(self, garbage: codec.BadFrame) -> None:
        """Kept as evidence."""
        self._delivery.reject(self._device.endpoint, garbage.reason, garbage.detail, garbage.raw)

    # --- what comes ---

    def _took(self, session: Session, online: Callable[[], None], burst: Burst, fresh: NDArray[np.intp]) -> None:
        self._announce(session, online)
        for row in self._reported.intersection(self._picture.take(burst, fresh)):
            self._reported.remove(row)
            log.info("%s: the device has %s now", self._device.id, self._points[row].address)
        if self._picture.waiting >= HAND_OVER_VALUES:
            self._hand_over()
        elif self._hand_over_at is None:
            self._hand_over_at = asyncio.get_running_loop().call_later(HAND_OVER_S, self._hand_over)

    def _refused(
        self, session: Session, online: Callable[[], None], block: Block, refusal: codec.DeviceException
    ) -> Sequence[Burst]:
        """What it means for the values of the block; gives what to ask in its place at once."""
        if refusal.code in GATEWAY_CODES:
            if self._session is not None:
                self._without_value(block, BAD_NO_COMMUNICATION)
            return ()
        self._announce(session, online)
        if refusal.code in _BUSY:
            return ()
        if refusal.code not in _SPLITS:
            self._without_value(block, BAD_DEVICE_FAILURE)
            return ()
        instead = self._picture.refused(block)
        if not instead:
            for row in set(self._picture.shown(block)) - self._reported:
                self._reported.add(row)
                point = self._points[row]
                detail = f"{point.name}: the device answers {refusal.name} for {point.address}"
                self._delivery.reject(point.address, "unknown_address", detail, b"", point.name)
            self._without_value(block, BAD_NODE_ID_UNKNOWN)
        return instead

    def _without_value(self, block: Block, quality: int) -> None:
        self._hand_over()
        batch = self._delivery.batch()
        for row in self._picture.shown(block):
            batch.add_quality(self._points[row], quality)
        batch.deliver()

    def _hand_over(self) -> None:
        """Everything that came since the last time, as one batch with the time of receipt of each block."""
        if self._hand_over_at is not None:
            self._hand_over_at.cancel()
            self._hand_over_at = None
        if not self._picture.waiting:
            return
        rows, wire, kind, quality, stamp = self._picture.columns()
        batch = self._delivery.batch()

        def doubt(place: int) -> None:
            row = int(rows[place])
            if row not in self._looked_at:
                point = self._points[row]
                self._looked_at[row] = (point, parse_address(point.address))
            point, address = self._looked_at[row]
            self._add(batch, point, address, self._picture.cells(row), int(stamp[place]))

        batch.add_columns(rows, wire, kind, quality, stamp, doubt)
        batch.deliver()

    def _add(self, batch: Batch, point: Point, address: Address, cells: bytes, stamp: int | None) -> None:
        """One value, looked at alone."""
        try:
            value = values.decode(address, cells, self._picture.factor(address))
        except values.Undecodable as error:
            batch.reject(point.address, "decode", f"{point.name}: {error}", cells, point.name)
            return
        quality = BAD_NO_DATA if value is None else GOOD
        batch.add(point, value, quality, stamp, point.address, cells)

    # --- commands ---

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        session = self._session
        if session is None:
            return Verdict(WriteOutcome.NOT_SENT, "the link is down")
        until = asyncio.get_running_loop().time() + timeout_s
        address = parse_address(point.address)
        wire = wire_value(point, value)
        try:
            if address.bit >= 0 and not self._functions.mask:
                verdict = await self._rewrite(session, address, wire, until)
            else:
                request = write_request(address, wire, self._picture.factor(address), self._functions)
                verdict = await self._write(session, request, until)
        except (ValueError, values.Undecodable) as misfit:
            return Verdict(WriteOutcome.REFUSED, str(misfit))
        if verdict.outcome is WriteOutcome.ACCEPTED and self._read_back:
            session.tell(_request(block_of(address)), partial(self._take_back, point, address))
        return verdict

    async def _write(self, session: Session, request: bytes, until: float) -> Verdict:
        command = Command(session, request)
        try:
            codec.write_answer(request, await command.answer(until))
        except codec.DeviceException as refusal:
            return verdict_of(request, refusal)
        except codec.BadFrame as garbage:
            session.resync(garbage)
            return Verdict(WriteOutcome.UNKNOWN, f"the answer was no answer: {garbage.detail}")
        except (NoAnswer, OSError, EOFError) as failure:
            return Verdict(WriteOutcome.UNKNOWN if command.sent else WriteOutcome.NOT_SENT, words(failure))
        return Verdict(WriteOutcome.ACCEPTED)

    async def _rewrite(self, session: Session, address: Address, wire: float, until: float) -> Verdict:
        """The register is read and written back with one bit changed, one of our own writes at a time."""
        async with self._rewriting:
            try:
                register = await self._cells(session, address, until)
            except (codec.DeviceException, codec.BadFrame, NoAnswer, OSError, EOFError) as failure:
                return Verdict(WriteOutcome.NOT_SENT, f"the register could not be read: {words(failure)}")
            return await self._write(session, rewrite_request(address, wire, register, self._functions), until)

    async def read(self, point: Point, timeout_s: float) -> Readings | None:
        session = self._session
        if session is None:
            return None
        address = parse_address(point.address)
        try:
            cells = await self._cells(session, address, asyncio.get_running_loop().time() + timeout_s)
        except (codec.DeviceException, codec.BadFrame, NoAnswer, OSError, EOFError):
            return None
        return self._deliver(point, address, cells)

    async def _cells(self, session: Session, address: Address, until: float) -> bytes:
        """
        Raises:
            codec.DeviceException, codec.BadFrame, NoAnswer, OSError, EOFError: no usable answer.
        """
        block = block_of(address)
        try:
            return _plain(block, data_of(block, await Command(session, _request(block)).answer(until)))
        except codec.BadFrame as garbage:
            session.resync(garbage)
            raise

    def _take_back(self, point: Point, address: Address, outcome: bytes | Exception) -> None:
        """What the device holds right after a write; nobody waits for it, so what goes wrong shows in the next cycle."""
        if isinstance(outcome, bytes):
            block = block_of(address)
            try:
                self._deliver(point, address, _plain(block, data_of(block, outcome)))
            except (codec.DeviceException, codec.BadFrame):
                return

    def _deliver(self, point: Point, address: Address, cells: bytes) -> Readings | None:
        self._hand_over()
        batch = self._delivery.batch()
        self._add(batch, point, address, cells, None)
        return batch.deliver()


def _request(block: Block) -> bytes:
    return codec.read_request(block.table, block.start, block.count)


def _plain(block: Block, data: bytes) -> bytes:
    """The cells of one value as in an image: a coil is one byte, 0 or 1."""
    return data if block.cell_bytes == 2 else bytes((data[0] & 1,))


async def _wait_until(due: float, session: Session) -> None:
    """
    Raises:
        Broken: the session cannot go on.
    """
    try:
        async with asyncio.timeout_at(due):
            await session.broken.wait()
    except TimeoutError:
        return
    session.check()
