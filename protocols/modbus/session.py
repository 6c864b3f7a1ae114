"""One unit's time on a connection: its seat on the bus, its cycles of polls and its commands; must not know points."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from protocols.healing import Broken
from protocols.modbus import codec
from protocols.modbus.address import READ_FUNCTION
from protocols.modbus.blocks import Block
from protocols.modbus.bus import SILENCES_MAX, Bus
from protocols.modbus.turns import GATEWAY_CODES, Ask, NoAnswer, Seat

Take = Callable[[Block, bytes | codec.DeviceException], Sequence[Block]]
"""Takes a block's data or its refusal; gives what to ask in its place at once."""


class Session:
    """From joining the bus until something breaks.

    At most one cycle of polls is asked at a time, and one command for each caller who waits, so no queue of the seat
    grows.
    """

    def __init__(
        self,
        bus: Bus,
        seat: tuple[int, float, int, float],
        late: Callable[[], None],
        garbage: Callable[[codec.BadFrame], None],
    ) -> None:
        """
        Args:
            seat: unit, timeout_s, outstanding and delay_s of turns.Seat.
            late: called for each answer that came too late.
            garbage: called with what came and was no Modbus.
        """
        self.broken = asyncio.Event()
        self.answers = 0  # of the unit itself: a gateway that speaks for it proves nothing
        self._bus = bus
        self._seat = Seat(*seat, self.fail, late)
        self._garbage = garbage
        self._reason: Exception | None = None
        self._cycle: asyncio.Future[None] | None = None
        self._left = 0

    @property
    def waiting(self) -> int:
        """Requests that had no turn yet."""
        return self._seat.waiting

    async def join(self, connect_delay_s: float) -> None:
        """
        Raises:
            Broken: no connection.
        """
        await self._bus.join(self._seat, connect_delay_s)

    async def leave(self) -> None:
        self.fail(EOFError("the session ended"))
        await self._bus.leave(self._seat)

    def fail(self, reason: Exception) -> None:
        """Only the first reason counts."""
        if self._reason is not None:
            return
        self._reason = reason
        if isinstance(reason, codec.BadFrame):
            self._garbage(reason)
        self.broken.set()
        self._end_cycle()

    def check(self) -> None:
        """
        Raises:
            Broken: it cannot go on.
        """
        if self._reason is not None:
            raise Broken(words(self._reason)) from self._reason

    # --- polls ---

    async def cycle(self, blocks: Sequence[Block], take: Take) -> None:
        """Ask for every block once, and come back when the last answer is in or given up.

        Raises:
            Broken: it cannot go on.
        """
        self.check()
        if not blocks:
            return
        self._cycle = asyncio.get_running_loop().create_future()
        self._left = 0
        self._ask(blocks, take)
        try:
            await self._cycle
        finally:
            self._cycle = None
        self.check()

    def _ask(self, blocks: Sequence[Block], take: Take) -> None:
        self._left += len(blocks)
        self._bus.poll(self._seat, [Ask(request_of(block), partial(self._came, block, take)) for block in blocks])

    def _came(self, block: Block, take: Take, outcome: bytes | Exception) -> None:
        if self._cycle is None:
            return  # what was still asked when the session broke
        if isinstance(outcome, bytes):
            self._answered(block, take, outcome)
        elif isinstance(outcome, codec.BadFrame):
            self._garbage(outcome)
            self._silent(outcome)
        else:
            self._silent(outcome)
        self._left -= 1
        if self._left <= 0:
            self._end_cycle()

    def _answered(self, block: Block, take: Take, pdu: bytes) -> None:
        try:
            data = data_of(block, pdu)
        except codec.DeviceException as refusal:
            if refusal.code in GATEWAY_CODES:
                take(block, refusal)
                self._silent(refusal)
                return
            self.answers += 1
            more = take(block, refusal)
            if more:
                self._ask(more, take)
        except codec.BadFrame as garbage:
            self.resync(garbage)
        else:
            self.answers += 1
            take(block, data)

    def _silent(self, outcome: Exception) -> None:
        if self._seat.silent >= SILENCES_MAX or not self.answers:
            self.fail(outcome)

    def resync(self, garbage: codec.BadFrame) -> None:
        """An answer made no sense."""
        if not self._bus.resync(self._seat, garbage):
            self._garbage(garbage)
            self._silent(garbage)

    def _end_cycle(self) -> None:
        if self._cycle is not None and not self._cycle.done():
            self._cycle.set_result(None)

    # --- commands ---

    def tell(self, pdu: bytes, done: Callable[[bytes | Exception], None]) -> Ask:
        """A request that goes before all polls."""
        ask = Ask(pdu, done)
        if self._reason is not None:
            done(self._reason)
        else:
            self._bus.command(self._seat, ask)
        return ask

    def withdraw(self, ask: Ask) -> None:
        self._bus.withdraw(self._seat, ask)


class Command:
    """One request outside the polls, and the wait for its answer."""

    def __init__(self, session: Session, pdu: bytes) -> None:
        self._session = session
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._ask = session.tell(pdu, self._done)

    @property
    def sent(self) -> bool:
        """Whether bytes may have left."""
        return self._ask.sent

    async def answer(self, until: float) -> bytes:
        """
        Args:
            until: on the event loop's clock.

        Raises:
            NoAnswer, codec.BadFrame, OSError, EOFError: none came, or none that makes sense.
        """
        try:
            async with asyncio.timeout_at(until):
                return await self._answer
        except TimeoutError:
            if not self.sent:
                self._session.withdraw(self._ask)
            raise NoAnswer("no answer in time" if self.sent else "its turn did not come in time") from None

    def _done(self, outcome: bytes | Exception) -> None:
        if self._answer.done():
            return  # nobody waits any more
        if isinstance(outcome, Exception):
            self._answer.set_exception(outcome)
        else:
            self._answer.set_result(outcome)


def request_of(block: Block) -> bytes:
    return codec.read_request(block.table, block.start, block.count)


def data_of(block: Block, pdu: bytes) -> bytes:
    """
    Raises:
        codec.DeviceException, codec.BadFrame: see codec.read_answer.
    """
    return codec.read_answer(READ_FUNCTION[block.table], codec.data_bytes(block.table, block.count), pdu)


def words(failure: BaseException) -> str:
    """What went wrong, for an operator."""
    if isinstance(failure, codec.BadFrame):
        return f"the device answered with garbage: {failure.detail}"
    if isinstance(failure, TimeoutError):
        return str(failure) or "no answer in time"
    return str(failure) or type(failure).__name__
