"""Whose request goes next on a connection that several units share: turns, outstanding requests, time-outs; pure.

No socket and no clock here: whoever holds the connection says what happened and when, and is told what to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from protocols.modbus.address import OUTSTANDING_MAX
from protocols.modbus.burst import Burst

ANY_UNIT = (0, 255)  # what is said to a device that is no gateway (MODBUS Messaging on TCP/IP V1.0b, 4.4.1.2)
# Exceptions by which a gateway says that the unit behind it is not to be reached.
GATEWAY_CODES = (10, 11)

Done = Callable[[int, bytes | Exception], None]
"""Takes which of the requests it is about, and the answer's PDU; or NoAnswer, or what ended the connection."""


class NoAnswer(Exception):
    """The unit let a request pass without an answer in its time."""


@dataclass(slots=True, eq=False)
class Ask:
    """Requests that are sent together, and what is done with each answer.

    Attributes:
        burst: how plain answers to reads are taken; `took` is told when that happened.
        first: transaction id of the first request; those of the others follow.
        left: how many are not answered yet.
        doubtful: whether the unit kept silent before.
    """

    pdus: Sequence[bytes]
    done: Done
    burst: Burst | None = None
    took: Callable[[], None] = lambda: None
    sent: bool = False
    first: int = 0
    left: int = 0
    deadline: float = 0.0
    seat: Seat | None = None
    doubtful: bool = False

    def waits(self, index: int) -> bool:
        """Whether that request is still to be answered."""
        return self.left > 0 and (self.burst is None or not self.burst.came[index])


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
    under_way: int = 0  # requests
    free_at: float = 0.0

    @property
    def waiting(self) -> int:
        """Requests that are not sent yet."""
        return len(self.urgent) + len(self.polls)


class Turns:
    """The seats take turns, one ask each; commands go before polls.

    What is asked of a unit that let the last request pass in silence does not count against the limit of the
    connection, so that a dead unit costs the others nothing; without transaction ids it must, because nobody could tell
    the answers apart.
    """

    def __init__(self, ids: bool, quiet_s: float = 0.0) -> None:
        """
        Args:
            ids: whether answers carry the id of their request; else one is under way at a time.
            quiet_s: silence on the line between two frames.
        """
        self.unanswered = 0  # times in a row that requests ended in silence, whoever was asked
        self.even = True  # what is sent later is over later, and nothing waits: one look at the time serves many
        self._ids = ids
        self._quiet_s = quiet_s
        self._free_at = 0.0
        self._ring: deque[Seat] = deque()
        self._under_way: dict[Ask, None] = {}
        self._open: dict[int, Ask] = {}  # by transaction id
        self._counted = 0  # requests under way that count against the limit
        self._limit = 1
        self._last = 0  # transaction id

    @property
    def seats(self) -> tuple[Seat, ...]:
        return tuple(self._ring)

    @property
    def under_way(self) -> tuple[Ask, ...]:
        """The oldest first."""
        return tuple(self._under_way)

    def add(self, seat: Seat) -> None:
        self._ring.append(seat)
        self._seated()

    def remove(self, seat: Seat) -> list[Ask]:
        """Everything that it still asks, to be told that nobody will answer."""
        if seat not in self._ring:
            return []
        self._ring.remove(seat)
        self._seated()
        asks = [ask for ask in self._under_way if ask.seat is seat]
        for ask in asks:
            self._close(ask)
        asks += chain(seat.urgent, seat.polls)
        seat.urgent.clear()
        seat.polls.clear()
        return asks

    def withdraw(self, seat: Seat, ask: Ask) -> None:
        """Forget a command that is not sent yet."""
        if ask in seat.urgent:
            seat.urgent.remove(ask)

    def next(self, now: float) -> list[Ask]:
        """What to send now."""
        ready: list[Ask] = []
        while now >= self._free_at:
            seat = self._turn(now)
            if seat is None:
                break
            ask = seat.urgent.popleft() if seat.urgent else seat.polls.popleft()
            ask.seat, ask.sent, ask.deadline = seat, True, now + seat.timeout_s
            ask.left = len(ask.pdus)
            ask.doubtful = self._ids and seat.silent > 0
            self._counted += 0 if ask.doubtful else ask.left
            seat.under_way += ask.left
            self._under_way[ask] = None
            ask.first = self._numbers(ask.left)
            self._open.update(dict.fromkeys(range(ask.first, ask.first + ask.left), ask))
            ready.append(ask)
        return ready

    def answered(self, transaction: int | None, unit: int, pdu: bytes, now: float) -> tuple[Ask, int] | None:
        """Whose answer it is, and to which of its requests; None: nobody waits for it any more.

        Args:
            transaction: None where answers carry no id: the one under way is meant.
            unit: who answers; another one than was asked answers nobody.
        """
        self._free_at = now + self._quiet_s
        with_id = transaction is not None
        if transaction is None:
            transaction = next(iter(self._open), 0)
        ask = self._open.get(transaction)
        strange = with_id and ask is not None and not _speaks_for(unit, ask)
        if ask is None or strange or not ask.waits(transaction - ask.first):
            for seat in [s for s in self._ring if s.unit == unit] or list(self._ring)[:1]:
                seat.late()
            return None
        silent = ask.seat.silent if ask.seat else 0
        self.took(ask, 1, now)
        if ask.seat is not None and len(pdu) == 2 and pdu[0] & 0x80 and pdu[1] in GATEWAY_CODES:
            ask.seat.silent = silent + 1
        return ask, transaction - ask.first

    def took(self, ask: Ask, count: int, now: float) -> None:
        """So many of its answers came."""
        self.unanswered = 0
        ask.left -= count
        if ask.seat is not None:
            ask.seat.silent = 0
            ask.deadline = now + ask.seat.timeout_s
        if ask.left <= 0:
            self._close(ask, now)

    def is_meant(self, unit: int, pdu: bytes) -> bool:
        """Whether a frame without an id answers the request under way."""
        for ask in self._under_way:
            return ask.seat is not None and ask.seat.unit == unit and ask.pdus[0][0] == pdu[0] & 0x7F
        return False

    def expired(self, now: float) -> list[Ask]:
        """Those whose time is over; several of one unit at a time count as one silence."""
        return self._silence([ask for ask in self._under_way if ask.deadline <= now], now)

    def spoilt(self, now: float) -> list[Ask]:
        """Everything under way: what came was no answer, and counts as none."""
        return self._silence(list(self._under_way), now)

    def _silence(self, asks: list[Ask], now: float) -> list[Ask]:
        for ask in asks:
            self._close(ask, now)
        for seat in {ask.seat for ask in asks if ask.seat is not None}:
            seat.silent += 1
        self.unanswered += bool(asks)
        return asks

    def lost(self) -> list[Ask]:
        """The connection is gone: everything under way. What was not sent stays."""
        self.unanswered = 0
        asks = list(self._under_way)
        for ask in asks:
            self._close(ask)
        return asks

    def hold(self, until: float) -> None:
        """Send nothing before that time."""
        self._free_at = max(self._free_at, until)

    def wake_at(self, now: float) -> float | None:
        """When something may be sent or is over that is not yet."""
        times = [ask.deadline for ask in self._under_way]
        waiting = [max(seat.free_at, self._free_at) for seat in self._ring if seat.waiting]
        times += [at for at in waiting if at > now]
        return min(times, default=None)

    def _turn(self, now: float) -> Seat | None:
        """The next seat with something to ask that has room, commands first."""
        ring = self._ring
        for urgent in (True, False):
            for _ in range(len(ring)):
                seat = ring[0]
                queue = seat.urgent if urgent else seat.polls
                if queue and self._may_ask(seat, len(queue[0].pdus), now):
                    if not self._has_room(seat, len(queue[0].pdus)):
                        return None  # it waits for room, so that nobody with less to ask overtakes it for ever
                    ring.rotate(-1)
                    return seat
                ring.rotate(-1)
        return None

    def _has_room(self, seat: Seat, count: int) -> bool:
        return not self._counted or self._counted + count <= self._limit or (self._ids and seat.silent > 0)

    def _may_ask(self, seat: Seat, count: int, now: float) -> bool:
        if now < seat.free_at:
            return False
        if seat.delay_s > 0 or seat.silent > 0:
            return not seat.under_way
        # Where several share, no unit takes everything: a slow one would hold up the others.
        most = self._limit - 1 if len(self._ring) > 1 else self._limit
        return not seat.under_way or seat.under_way + count <= most

    def _numbers(self, count: int) -> int:
        """So many transaction ids in a row that nobody under way has; the first."""
        first = self._last + 1
        while first + count > 0xFFFF or any(number in self._open for number in range(first, first + count)):
            first = 1 if first + count > 0xFFFF else first + 1
        self._last = first + count - 1
        return first

    def _close(self, ask: Ask, now: float | None = None) -> None:
        del self._under_way[ask]
        for number in range(ask.first, ask.first + len(ask.pdus)):
            del self._open[number]
        self._counted -= 0 if ask.doubtful else len(ask.pdus)
        if ask.seat is not None:
            ask.seat.under_way -= len(ask.pdus)
            if now is not None:
                ask.seat.free_at = now + ask.seat.delay_s

    def _seated(self) -> None:
        """Who takes least at a time sets the limit for all: it may be the gateway that does."""
        most = min((seat.outstanding for seat in self._ring), default=1)
        self._limit = min(most, OUTSTANDING_MAX) if self._ids else 1
        paced = self._quiet_s > 0 or any(seat.delay_s > 0 for seat in self._ring)
        self.even = not paced and len({seat.timeout_s for seat in self._ring}) <= 1


def _speaks_for(unit: int, ask: Ask) -> bool:
    """Whether an answer of that unit can be one to the request."""
    return ask.seat is None or unit == ask.seat.unit or ask.seat.unit in ANY_UNIT
