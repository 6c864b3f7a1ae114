"""Whose request goes next on a connection that several units share: turns, outstanding requests, time-outs; pure.

No socket and no clock here: whoever holds the connection says what happened and when, and is told what to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

from protocols.modbus.address import OUTSTANDING_MAX

# Exceptions by which a gateway says that the unit behind it is not to be reached.
GATEWAY_CODES = (10, 11)

Done = Callable[[bytes | Exception], None]
"""Takes the answer's PDU; or NoAnswer, or what ended the connection."""


class NoAnswer(Exception):
    """The unit let a request pass without an answer in its time."""


@dataclass(slots=True, eq=False)
class Ask:
    """One request and what is done with its answer. `seat` and `deadline` are set when it is sent."""

    pdu: bytes
    done: Done
    sent: bool = False
    deadline: float = 0.0
    seat: Seat | None = None
    doubtful: bool = False


@dataclass(slots=True, eq=False)
class Seat:
    """One unit's place on a connection.

    Attributes:
        outstanding: requests that the unit, or the gateway before it, takes at a time.
        delay_s: the unit is left alone for so long between an answer and the next request.
        lost: called when the connection is lost, with the reason.
        late: called for every answer that nobody waits for any more.
        silent: times in a row that the unit did not answer.
    """

    unit: int
    timeout_s: float
    outstanding: int
    delay_s: float
    lost: Callable[[Exception], None]
    late: Callable[[], None]
    silent: int = 0
    urgent: deque[Ask] = field(default_factory=deque)
    polls: deque[Ask] = field(default_factory=deque)
    under_way: int = 0
    free_at: float = 0.0

    @property
    def waiting(self) -> int:
        """Requests that are not sent yet."""
        return len(self.urgent) + len(self.polls)


class Turns:
    """The seats take turns, one request each; commands go before polls.

    A request to a unit that let the last one pass in silence does not count against the limit of the connection, so that
    a dead unit costs the others nothing; without transaction ids it must, because nobody could tell the answers apart.
    """

    def __init__(self, ids: bool, quiet_s: float = 0.0) -> None:
        """
        Args:
            ids: whether answers carry the id of their request; else one is under way at a time.
            quiet_s: silence on the line between two frames.
        """
        self.unanswered = 0  # times in a row that requests ended in silence, whoever was asked
        self._ids = ids
        self._quiet_s = quiet_s
        self._free_at = 0.0
        self._ring: deque[Seat] = deque()
        self._open: dict[int, Ask] = {}
        self._counted = 0  # of the open ones, those that count against the limit
        self._limit = 1
        self._even = True
        self._transaction = 0

    @property
    def even(self) -> bool:
        """Whether what is sent later is over later, and nothing waits for a moment: one look at the time serves many."""
        return self._even

    @property
    def seats(self) -> tuple[Seat, ...]:
        return tuple(self._ring)

    def add(self, seat: Seat) -> None:
        self._ring.append(seat)
        self._seated()

    def remove(self, seat: Seat) -> list[Ask]:
        """Everything that it still asks, to be told that nobody will answer."""
        if seat not in self._ring:
            return []
        self._ring.remove(seat)
        self._seated()
        under_way = [transaction for transaction, ask in self._open.items() if ask.seat is seat]
        asks = [self._close(transaction) for transaction in under_way]
        asks += chain(seat.urgent, seat.polls)
        seat.urgent.clear()
        seat.polls.clear()
        return asks

    def withdraw(self, seat: Seat, ask: Ask) -> None:
        """Forget a command that is not sent yet."""
        if ask in seat.urgent:
            seat.urgent.remove(ask)

    def next(self, now: float) -> list[tuple[int, Ask]]:
        """The requests to send now, with their transaction ids."""
        ready: list[tuple[int, Ask]] = []
        while self._counted < self._limit and now >= self._free_at:
            seat = self._turn(now)
            if seat is None:
                break
            ask = seat.urgent.popleft() if seat.urgent else seat.polls.popleft()
            ask.seat, ask.sent, ask.deadline = seat, True, now + seat.timeout_s
            ask.doubtful = self._ids and seat.silent > 0
            self._counted += not ask.doubtful
            seat.under_way += 1
            ready.append((self._opened(ask), ask))
        return ready

    def answered(self, transaction: int | None, unit: int, pdu: bytes, now: float) -> Ask | None:
        """Whose answer it is; None: nobody waits for it any more.

        Args:
            transaction: None where answers carry no id: the one under way is meant.
        """
        self._free_at = now + self._quiet_s
        if transaction is None:
            transaction = next(iter(self._open), 0)
        if transaction not in self._open:
            for seat in [s for s in self._ring if s.unit == unit] or list(self._ring)[:1]:
                seat.late()
            return None
        ask = self._close(transaction, now)
        self.unanswered = 0
        if ask.seat is not None:
            away = len(pdu) == 2 and pdu[0] & 0x80 and pdu[1] in GATEWAY_CODES
            ask.seat.silent = ask.seat.silent + 1 if away else 0
        return ask

    def is_meant(self, unit: int, pdu: bytes) -> bool:
        """Whether a frame without an id answers the request under way."""
        for ask in self._open.values():
            return ask.seat is not None and ask.seat.unit == unit and ask.pdu[0] == pdu[0] & 0x7F
        return False

    def expired(self, now: float) -> list[Ask]:
        """Those whose time is over; several of one unit at a time count as one silence."""
        over = [transaction for transaction, ask in self._open.items() if ask.deadline <= now]
        asks = [self._close(transaction, now) for transaction in over]
        for seat in {ask.seat for ask in asks if ask.seat is not None}:
            seat.silent += 1
        self.unanswered += bool(asks)
        return asks

    def oldest(self) -> Ask | None:
        """The one that has been under way for longest."""
        return next(iter(self._open.values()), None)

    def lost(self) -> list[Ask]:
        """The connection is gone: everything under way. What was not sent stays."""
        self.unanswered = 0
        return [self._close(transaction) for transaction in list(self._open)]

    def hold(self, until: float) -> None:
        """Send nothing before that time."""
        self._free_at = max(self._free_at, until)

    def wake_at(self, now: float) -> float | None:
        """When something may be sent or is over that is not yet."""
        times = [ask.deadline for ask in self._open.values()]
        waiting = [max(seat.free_at, self._free_at) for seat in self._ring if seat.waiting]
        times += [at for at in waiting if at > now]
        return min(times, default=None)

    def _turn(self, now: float) -> Seat | None:
        """The next seat with something to ask, commands first."""
        ring = self._ring
        for urgent in (True, False):
            for _ in range(len(ring)):
                seat = ring[0]
                ring.rotate(-1)
                if (seat.urgent if urgent else seat.polls) and self._may_ask(seat, now):
                    return seat
        return None

    def _opened(self, ask: Ask) -> int:
        """Its transaction id, which no other under way has."""
        self._transaction = self._transaction % 0xFFFF + 1
        while self._transaction in self._open:
            self._transaction = self._transaction % 0xFFFF + 1
        self._open[self._transaction] = ask
        return self._transaction

    def _may_ask(self, seat: Seat, now: float) -> bool:
        alone = seat.delay_s > 0 or seat.silent > 0
        return now >= seat.free_at and not (alone and seat.under_way)

    def _close(self, transaction: int, now: float | None = None) -> Ask:
        ask = self._open.pop(transaction)
        self._counted -= not ask.doubtful
        if ask.seat is not None:
            ask.seat.under_way -= 1
            if now is not None:
                ask.seat.free_at = now + ask.seat.delay_s
        return ask

    def _seated(self) -> None:
        """Who takes least at a time sets the limit for all: it may be the gateway that does."""
        most = min((seat.outstanding for seat in self._ring), default=1)
        self._limit = min(most, OUTSTANDING_MAX) if self._ids else 1
        paced = self._quiet_s > 0 or any(seat.delay_s > 0 for seat in self._ring)
        self._even = not paced and len({seat.timeout_s for seat in self._ring}) <= 1
