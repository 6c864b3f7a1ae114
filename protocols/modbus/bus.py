"""One connection and the units that share it: opens it, sends and receives for all, keeps the time; decides no turns.

TCP with transaction ids, RTU frames over TCP, or a serial line whose port pymodbus opens.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import cast
from weakref import WeakValueDictionary

from protocols.healing import Broken
from protocols.link import Clock
from protocols.modbus import codec
from protocols.modbus.address import Endpoint, Medium
from protocols.modbus.turns import Ask, NoAnswer, Seat, Turns

SILENCES_MAX = 3  # requests in a row without any answer; then the connection counts as half-open, or the device as hung
CLOSE_S = 1.0
CHARACTER_BITS = 11  # of a serial line: start, 8 data, parity or a second stop, stop (V1.02 2.5.1)
QUIET_MIN_S = 0.00175  # between two serial frames at any speed (V1.02 2.5.1.1)
RESYNC_S = 0.05  # of silence, after which a serial line begins a new frame for certain
_QUICK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only

_open_buses: WeakValueDictionary[tuple[int, str, int], Bus] = WeakValueDictionary()


def bus_of(endpoint: Endpoint, shared: bool, ids: bool, clock: Clock) -> Bus:
    """The bus to that place in this event loop; one of its own where it is not shared.

    A serial line, and a serial line behind a TCP socket, always are: two who talk at once garble each other.
    """
    if not shared and endpoint.medium is Medium.TCP:
        return Bus(endpoint, ids, clock)
    # The line is part of it: a port that two devices want to set differently is refused to the second one.
    where = f"{endpoint.medium}:{ids}:{endpoint.host}:{endpoint.line}"
    key = (id(asyncio.get_running_loop()), where, endpoint.port)
    found = _open_buses.get(key)
    if found is None:
        found = _open_buses[key] = Bus(endpoint, ids, clock)
    return found


class Bus:
    """Open while somebody has a seat. Everything happens on the event loop's thread."""

    def __init__(self, endpoint: Endpoint, ids: bool, clock: Clock) -> None:
        """`ids`: whether answers echo the transaction id."""
        self._endpoint = endpoint
        self._clock = clock
        self._mbap = endpoint.medium is Medium.TCP
        self._ids = ids and self._mbap
        quiet_s = 0.0
        if endpoint.medium is Medium.SERIAL:
            quiet_s = max(QUIET_MIN_S, 3.5 * CHARACTER_BITS / endpoint.line.baud)
        self._turns = Turns(self._ids, quiet_s)
        self._loop = asyncio.get_running_loop()
        self._opening = asyncio.Lock()
        self._stream: _Stream | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    async def join(self, seat: Seat, connect_delay_s: float) -> None:
        """Take a seat; opens the connection for the first one.

        Raises:
            Broken: no connection.
        """
        async with self._opening:
            if self._stream is None and self._renewal is None:
                self._stream = await self._connected(seat.timeout_s, connect_delay_s)
            self._turns.add(seat)

    async def leave(self, seat: Seat) -> None:
        """Give the seat back; the last one closes the connection."""
        for ask in self._turns.remove(seat):
            _give_up(ask, NoAnswer("the link stops"))
        if self._turns.seats:
            return
        stream, self._stream = self._stream, None
        self._stop_timer()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        if stream is not None:
            await stream.close()

    def poll(self, seat: Seat, asks: Sequence[Ask]) -> None:
        """One after the other, in turn with the other seats."""
        seat.polls.extend(asks)
        self._send()

    def command(self, seat: Seat, ask: Ask) -> None:
        """Before all polls."""
        seat.urgent.append(ask)
        self._send()

    def withdraw(self, seat: Seat, ask: Ask) -> None:
        self._turns.withdraw(seat, ask)

    def resync(self, seat: Seat, garbage: codec.BadFrame) -> bool:
        """An answer made no sense. With ids the stream has lost its beat, and with it everybody the connection (True);
        without, only that answer is lost."""
        if self._ids:
            self._lose(garbage, seat)
            return True
        seat.silent += 1
        self._begin_anew(garbage)
        return False

    # --- what the stream says ---

    def received(self, stream: _Stream, data: bytes) -> None:
        if stream is not self._stream:
            return
        if self._endpoint.medium is Medium.SERIAL and not self._turns.under_way:
            stream.parser.clear()  # noise, or the rest of what was given up
            self._turns.hold(self._loop.time() + RESYNC_S)
            return
        stream.parser.feed(data)
        now = self._loop.time()
        try:
            self._scan(stream, now)
            while (found := stream.parser.next_frame()) is not None:
                self._take(found, now)
                if stream is not self._stream:
                    return
                self._scan(stream, now)
        except codec.BadFrame as garbage:
            self._garbage(garbage)
            return
        self._send()

    def resumed(self) -> None:
        """The socket takes more again."""
        self._send()

    def ended(self, stream: _Stream, failure: Exception | None) -> None:
        if stream is not self._stream:
            return
        pending = stream.parser.pending
        if pending:
            detail = f"the connection ended after {len(pending)} bytes of a frame"
            self._lose(codec.BadFrame("truncated", detail, pending))
        else:
            self._lose(failure or EOFError("the device closed the connection"))

    # --- in and out ---

    def _scan(self, stream: _Stream, now: float) -> None:
        """Take as many plain answers as come one after the other."""
        parser = stream.parser
        if not self._ids or not isinstance(parser, codec.FrameParser) or parser.at == len(parser.data):
            return
        stamp = self._clock()
        for ask in self._turns.under_way:
            if ask.burst is None:
                continue
            parser.at, count = ask.burst.scan(ask.first, parser.data, parser.at, stamp)
            if count:
                self._turns.took(ask, count, now)
                ask.took()

    def _take(self, found: codec.Frame, now: float) -> None:
        transaction = found.transaction if self._ids else None
        if not self._mbap and not self._turns.is_meant(found.unit, found.pdu):
            transaction = -1
        meant = self._turns.answered(transaction, found.unit, found.pdu, now)
        if meant is not None:
            ask, index = meant
            ask.done(index, found.pdu)

    def _send(self) -> None:
        stream = self._stream
        if stream is None or stream.full:
            return
        now = self._loop.time()
        asks = self._turns.next(now)
        if asks:
            stream.write(b"".join(map(self._frames, asks)))
        elif self._ids:
            stream.acknowledge()
        if self._timer is None or not self._turns.even:
            self._set_timer(now)

    def _frames(self, ask: Ask) -> bytes:
        unit = ask.seat.unit if ask.seat is not None else 0
        if not self._mbap:
            return b"".join(codec.rtu_frame(unit, pdu) for pdu in ask.pdus)
        if ask.burst is not None:
            return ask.burst.frames(ask.first)
        return b"".join(codec.frame(ask.first + index, unit, pdu) for index, pdu in enumerate(ask.pdus))

    def _set_timer(self, now: float) -> None:
        at = self._turns.wake_at(now)
        if self._timer is not None and at == self._timer_at:
            return
        self._stop_timer()
        if at is not None:
            self._timer_at = at
            self._timer = self._loop.call_at(at, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        over = self._turns.expired(now)
        for ask in over:
            _give_up(ask, NoAnswer(f"no answer in {ask.seat.timeout_s if ask.seat else 0:g} s"))
        if over and self._turns.unanswered >= SILENCES_MAX:
            self._lose(TimeoutError(f"no answer to {SILENCES_MAX} requests in a row"))
        elif over and not self._ids:
            self._begin_anew(None)
        else:
            self._send()

    # --- when it breaks ---

    def _garbage(self, garbage: codec.BadFrame) -> None:
        if self._ids:
            self._lose(garbage)
            return
        for ask in self._turns.spoilt(self._loop.time()):
            _give_up(ask, garbage)
        if self._turns.unanswered >= SILENCES_MAX:
            self._lose(garbage)
        else:
            self._begin_anew(garbage)

    def _begin_anew(self, garbage: codec.BadFrame | None) -> None:
        """Without ids a late answer would pass for the next one: what still comes must not be heard."""
        stream = self._stream
        if stream is None:
            return
        if self._endpoint.medium is Medium.SERIAL:
            stream.parser.clear()
            self._turns.hold(self._loop.time() + RESYNC_S)
            self._send()
            return
        self._stream = None
        stream.abort()
        if self._renewal is None:
            self._renewal = self._loop.create_task(self._renew(garbage))

    async def _renew(self, garbage: codec.BadFrame | None) -> None:
        seats = self._turns.seats
        try:
            async with self._opening:
                self._stream = await self._connected(max((s.timeout_s for s in seats), default=1.0), 0.0)
        except Broken as broken:
            self._lose(garbage or OSError(str(broken)))
            return
        finally:
            self._renewal = None
        self._send()

    def _lose(self, reason: Exception, culprit: Seat | None = None) -> None:
        """Everybody's connection is gone. Garbage is told to the one whose answer it was to be."""
        stream, self._stream = self._stream, None
        self._stop_timer()
        seats = self._turns.seats
        asks = self._turns.lost()
        if culprit is None:
            culprit = asks[0].seat if asks else next(iter(seats), None)
        plain = EOFError("the connection was given up") if isinstance(reason, codec.BadFrame) else reason
        for ask in asks:
            _give_up(ask, plain)
        for seat in seats:
            seat.lost(reason if seat is culprit else plain)
        if stream is not None:
            stream.abort()

    # --- opening ---

    async def _connected(self, timeout_s: float, delay_s: float) -> _Stream:
        """
        Raises:
            Broken: nobody there, nobody of that name, or gone again at once.
        """
        at = self._endpoint
        parser = codec.FrameParser() if self._mbap else codec.RtuParser()
        stream = _Stream(self, parser, at.medium is Medium.SERIAL)
        try:
            async with asyncio.timeout(timeout_s):
                if at.medium is Medium.SERIAL:
                    await _open_serial(at, stream)
                else:
                    await self._loop.create_connection(lambda: stream, at.host, at.port)
                await stream.ready.wait()
        except (OSError, ValueError, RuntimeError) as failure:  # ValueError: a host that is no name at all
            stream.abort()
            raise Broken(str(failure) or "no connection in time") from failure
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError:
            stream.abort()
            raise
        if stream.closed.is_set():
            raise Broken("the device closed the connection")
        return stream


def _give_up(ask: Ask, outcome: Exception) -> None:
    """Tell it for every request that is not answered."""
    for index in range(len(ask.pdus)):
        if ask.burst is None or not ask.burst.came[index]:
            ask.done(index, outcome)


class _Stream(asyncio.Protocol):
    """One connection while it lives; tells the bus everything."""

    def __init__(self, bus: Bus, parser: codec.Parser, serial: bool) -> None:
        self.parser = parser
        self.serial = serial
        self.full = False  # the socket takes no more for now
        self.ready, self.closed = asyncio.Event(), asyncio.Event()
        self._bus = bus
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if _QUICK is not None:
            self._socket = transport.get_extra_info("socket")
        self.ready.set()

    def data_received(self, data: bytes) -> None:
        self._bus.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._bus.ended(self, exc)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._bus.resumed()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def acknowledge(self) -> None:
        """Let the other side have its TCP acknowledgement now, as no request carries it.

        Else a device that sends each answer for itself and waits for its acknowledgement first (Nagle's algorithm, as
        with libmodbus) waits for ours, which Linux delays by 40 ms.
        """
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it was closed meanwhile
                self._socket.setsockopt(socket.IPPROTO_TCP, cast(int, _QUICK), 1)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        if self._transport is None or self.closed.is_set():
            return
        self._transport.close()
        if self.serial:
            return  # closed at once, and pymodbus says nothing more
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.closed.wait()
        except TimeoutError:
            self.abort()


async def _open_serial(at: Endpoint, stream: _Stream) -> None:
    from pymodbus.transport.serialtransport import create_serial_connection

    line = at.line
    await create_serial_connection(
        asyncio.get_running_loop(), lambda: stream, at.host,
        baudrate=line.baud, bytesize=line.bits, parity=line.parity, stopbits=line.stop, timeout=0,
    )  # fmt: skip
