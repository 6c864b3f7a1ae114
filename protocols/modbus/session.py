"""One unit's time on a connection: its seat on the bus, its cycles of polls and its commands; must not know points."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from protocols.healing import Broken
from protocols.link import Clock
from protocols.modbus import codec
from protocols.modbus.address import READ_FUNCTION
from protocols.modbus.blocks import Block
from protocols.modbus.burst import Burst
from protocols.modbus.bus import SILENCES_MAX, Bus
from protocols.modbus.turns import GATEWAY_CODES, Ask, NoAnswer, Seat

Took = Callable[[Burst, NDArray[np.intp]], None]
"""Told which blocks of a burst came."""

Refused = Callable[[Block, codec.DeviceException], Sequence[Burst]]
"""Told of a refusal; gives what to ask in the block's place at once."""


class Session:
    """From joining the bus until something breaks.

    At most one cycle of polls is asked at a time, and one command for each caller who waits, so no queue of the seat
    grows.
    """

    def __init__(
        self,
        bus: Bus,
        seat: tuple[int, float, int, float],
        clock: Clock,
        late: Callable[[], None],
        garbage: Callable[[codec.BadFrame], None],
        doubtful: bool = False,
    ) -> None:
        """
        Args:
            seat: unit, timeout_s, outstanding and delay_s of turns.Seat.
            late: called for each answer that came too late.
            garbage: called with what came and was no Modbus.
            doubtful: the unit kept silent when it was asked last.
        """
        self.broken = asyncio.Event()
        self.answers = 0  # of the unit itself: a gateway that speaks for it proves nothing
        self._bus = bus
        self._clock = clock
        self._seat = Seat(*seat, self.fail, self._came_late, silent=int(doubtful))
        self._late = late
        self._strangers = 0  # answers whose transaction id nobody asked with, or asked with too long ago
        self._garbage = garbage
        self._reason: Exception | None = None
        self._cycle: asyncio.Future[None] | None = None
        self._left = 0
        self._made_of: Sequence[Burst] = ()
        self._asks: Sequence[Ask] = ()

    @property
    def doubtful(self) -> bool:
        """Whether the unit kept silent when it was asked last."""
        return self._seat.silent > 0

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
        if self._reason is None:
            return
        said = words(self._reason)
        if isinstance(self._reason, NoAnswer) and self._strangers and not self.answers:
            said += (
                "; answers came under other transaction ids: match_transaction = false is for gateways that echo none"
            )
        raise Broken(said) from self._reason

    def _came_late(self) -> None:
        self._strangers += 1
        self._late()

    # --- polls ---

    async def cycle(self, bursts: Sequence[Burst], took: Took, refused: Refused) -> None:
        """Ask for every block once, and come back when the last answer is in or given up.

        Raises:
            Broken: it cannot go on.
        """
        self.check()
        if not bursts:
            return
        self._cycle = asyncio.get_running_loop().create_future()
        self._left = 0
        self._ask(bursts, took, refused)
        try:
            await self._cycle
        finally:
            self._cycle = None
        self.check()

    def _ask(self, bursts: Sequence[Burst], took: Took, refused: Refused) -> None:
        if bursts is not self._made_of:  # from cycle to cycle it is the same list
            self._made_of = bursts
            self._asks = [
                Ask(b.pdus, partial(self._came, b, took, refused), b, partial(self._took, b, took)) for b in bursts
            ]
        for burst in bursts:
            burst.begin()
            self._left += len(burst.blocks)
        self._bus.poll(self._seat, self._asks)

    def _took(self, burst: Burst, took: Took) -> None:
        fresh = burst.fresh()
        self.answers += len(fresh)
        took(burst, fresh)
        self._settle(len(fresh))

    def _came(self, burst: Burst, took: Took, refused: Refused, index: int, outcome: bytes | Exception) -> None:
        """The answer to one request that was not taken with the others."""
        if self._cycle is None:
            return  # what was still asked when the session broke
        if isinstance(outcome, bytes):
            try:
                burst.put(index, data_of(burst.blocks[index], outcome), self._clock())
                self._took(burst, took)
                return
            except codec.DeviceException as refusal:
                self._refused(burst.blocks[index], refusal, took, refused)
            except codec.BadFrame as garbage:
                self.resync(garbage)
        else:
            if isinstance(outcome, codec.BadFrame):
                self._garbage(outcome)
            self._silent(outcome)
        self._settle(1)

    def _refused(self, block: Block, refusal: codec.DeviceException, took: Took, refused: Refused) -> None:
        if refusal.code in GATEWAY_CODES:
            refused(block, refusal)
            self._silent(refusal)
            return
        self.answers += 1
        instead = refused(block, refusal)
        if instead:
            self._ask(instead, took, refused)

    def _settle(self, count: int) -> None:
        self._left -= count
        if self._left <= 0:
            self._end_cycle()

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
        ask = Ask((pdu,), lambda index, outcome: done(outcome))
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
