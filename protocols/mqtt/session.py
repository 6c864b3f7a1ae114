"""One connection to a broker on the event loop: socket, TLS, timers and waiting; decides nothing, must not know points."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np

from protocols.healing import Broken
from protocols.link import Verdict, WriteOutcome
from protocols.mqtt import client as mqtt
from protocols.mqtt import frames, packets
from protocols.mqtt.client import Client
from protocols.mqtt.codec import parse_endpoint
from protocols.mqtt.messages import Messages
from protocols.mqtt.packets import BrokerFault, Filter, Welcome
from protocols.mqtt.silence import Silence, Step

READ_MAX = 1 << 18  # bytes of one read: asyncio's own limit; a broker with more to say says it in one go
TURN_S = 0.004  # of one turn of the loop: what takes longer goes on in the next one, and the socket waits meanwhile
# After two small reads within this time the socket rests for as long: brokers send every message by itself, and a read
# costs more than the thirty messages that come meanwhile. Nobody notices the delay; a lone message does not have it.
REST_S = 0.001
SMALL = 1 << 15  # bytes: what a rest gathers where the broker is the limit
HELD_MAX = 1 << 26  # bytes of messages that come before `start`: retained ones of half a million topics
UNSENT_MAX = 1 << 20  # bytes that the broker has not taken: about a second of what we ever send
SUBSCRIBE_MAX = 100  # topics in one SUBSCRIBE: far below the packet limit of every broker
SUBSCRIBES_OPEN_MAX = 20  # SUBSCRIBEs that wait for an answer, so that both sides' socket buffers suffice
CLOSE_S = 1.0  # for the last bytes to leave

T = TypeVar("T")
Take = Callable[[Messages], None]
"""Called on the loop's thread with messages in order; their columns are valid during the call only."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a connection ended; `code` is the broker's reason where it gave one (version 5)."""

    words: str
    code: int = 0


class BrokerSession(asyncio.BufferedProtocol):
    """A connection with its subscriptions. Made on the loop; used once: open, subscribe, start, …, close.

    Attributes:
        lost: done when the connection is gone.
        dropped: messages that came before `start` and found no room.
    """

    def __init__(self, endpoint: str, client: Client, take: Take, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: for `mqtts://`, whom to believe and what to show; without it the system's authorities are believed."""
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Loss] = self._loop.create_future()
        self.dropped = 0
        self._endpoint = parse_endpoint(endpoint)
        self._tls = tls
        self._client = client
        self._take = take
        self._transport: asyncio.Transport | None = None
        self._entered: asyncio.Future[Welcome] = self._loop.create_future()
        self._granted: dict[int, asyncio.Future[bytes]] = {}
        self._settled: dict[int, asyncio.Future[tuple[int, str]]] = {}
        self._room = asyncio.Event()
        self._started = False
        self._held: deque[Messages] = deque()
        self._held_bytes = 0
        self._buffer = bytearray(READ_MAX)
        self._array = np.frombuffer(self._buffer, np.uint8)
        self._start = self._end = 0
        self._working = False
        self._unsent_full = False
        self._heard_at = self._sent_at = self._loop.time()
        self._watcher: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()

    # What its owner does

    async def open(self, timeout_s: float) -> Welcome:
        """Connect and be taken in.

        Raises:
            Broken: no connection, or the broker does not take us.
        """
        at = self._endpoint
        tls = (self._tls or ssl.create_default_context()) if at.secure else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._loop.create_connection(
                    lambda: self, at.host, at.port, ssl=tls, server_hostname=at.host if tls else None
                )
                self._write(self._client.enter())
                await asyncio.wait((self._entered, self.lost), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise Broken("the broker does not answer in time") from None
        except ssl.SSLCertVerificationError as failure:
            raise Broken(f"the broker's certificate is not believed: {failure.verify_message}") from failure
        except (OSError, ValueError) as failure:  # ValueError: a host that is no name at all
            raise Broken(str(failure) or type(failure).__name__) from failure
        if not self._entered.done():
            raise Broken(self.lost.result().words)
        welcome = self._entered.result()
        if welcome.code >= 0x80:
            raise Broken(f"the broker refuses: {packets.reason(welcome.code, welcome.words)}")
        self._look_after(welcome, timeout_s)
        return welcome

    async def subscribe(self, filters: Sequence[Filter], timeout_s: float) -> dict[str, str]:
        """Returns the topics that the broker refused, with its reasons.

        Raises:
            Broken: the connection is gone, or `timeout_s` passed without any answer.
        """
        refused: dict[str, str] = {}
        waiting: deque[tuple[asyncio.Future[bytes], Sequence[Filter]]] = deque()
        batches = deque(filters[at : at + SUBSCRIBE_MAX] for at in range(0, len(filters), SUBSCRIBE_MAX))
        while batches or waiting:
            while batches and len(waiting) < SUBSCRIBES_OPEN_MAX:
                batch = batches.popleft()
                identity, data = self._client.subscribe(batch)
                self._granted[identity] = self._loop.create_future()
                waiting.append((self._granted[identity], batch))
                self._write(data)
            answer, batch = waiting.popleft()
            codes = await self._answered(answer, timeout_s)
            refused |= {f.topic: packets.reason(c) for f, c in zip(batch, codes, strict=False) if c >= 0x80}
        return refused

    async def unsubscribe(self, topics: Sequence[str], timeout_s: float) -> None:
        """
        Raises:
            Broken: the connection is gone, or `timeout_s` passed without an answer.
        """
        identity, data = self._client.unsubscribe(topics)
        self._granted[identity] = self._loop.create_future()
        self._write(data)
        await self._answered(self._granted[identity], timeout_s)

    def start(self) -> None:
        """From now on messages are handed over, first those that came meanwhile."""
        self._started = True
        if self._transport is not None:
            self._transport.pause_reading()
        self._loop.call_soon(self._work)

    def send(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        """Publish at QoS 0; False when there is no connection, the broker does not keep up, or takes no such message."""
        if not self._is_open or self._unsent_full:
            return False
        try:
            _, data = self._client.publish(topic, payload, 0, retain)
        except ValueError:
            return False
        self._write(data)
        return True

    async def publish(
        self, topic: str, payload: bytes, qos: int, retain: bool, timeout_s: float, keep: bool = False
    ) -> Verdict:
        """Publish and wait for what the broker answers (PUBACK or PUBCOMP); at QoS 0 nothing is waited for.

        Args:
            keep: see Client.publish.
        """
        if qos == 0:
            sent = self.send(topic, payload, retain)
            return Verdict(WriteOutcome.ACCEPTED if sent else WriteOutcome.NOT_SENT, "" if sent else "not sent")
        try:
            async with asyncio.timeout(timeout_s):
                while self._is_open and not self._client.may_publish:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            return Verdict(WriteOutcome.NOT_SENT, "the broker still owes the answers to all it takes at a time")
        if not self._is_open:
            return Verdict(WriteOutcome.NOT_SENT, "the connection to the broker is down")
        try:
            identity, data = self._client.publish(topic, payload, qos, retain, keep)
        except ValueError as refusal:
            return Verdict(WriteOutcome.REFUSED, str(refusal))
        self._settled[identity] = settled = self._loop.create_future()
        self._write(data)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait((settled, self.lost), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return Verdict(WriteOutcome.UNKNOWN, "the broker did not acknowledge in time")
        finally:
            self._settled.pop(identity, None)
        if not settled.done():
            return Verdict(WriteOutcome.UNKNOWN, f"the connection broke: {self.lost.result().words}")
        code, words = settled.result()
        if code >= 0x80:
            return Verdict(WriteOutcome.REFUSED, packets.reason(code, words))
        return Verdict(WriteOutcome.ACCEPTED, "the broker took it; MQTT does not say whether the device did")

    async def close(self, code: int = 0) -> None:
        """Say goodbye where there is still somebody to say it to (the last will stays unsaid), and end the connection."""
        transport = self._transport
        if transport is None:
            return
        if self._is_open and self._entered.done():
            self._write(self._client.leave(code))
        transport.close()
        _, left = await asyncio.wait((self._gone,), timeout=CLOSE_S)
        if left:
            transport.abort()
            await asyncio.wait((self._gone,), timeout=CLOSE_S)

    @property
    def queued(self) -> int:
        """Messages that were read and not handed over yet."""
        return sum(map(len, self._held)) + int(frames.waiting(self._array, self._start, self._end))

    @property
    def heard_at(self) -> float:
        """When the broker last said anything, in s of the loop's clock."""
        return self._heard_at

    # What the loop does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=UNSENT_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(Loss(f"the connection to the broker ended{f': {exc}' if exc else ''}"))
        if self._watcher is not None:
            self._watcher.cancel()
        if not self._gone.done():
            self._gone.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._buffer) - self._end < READ_MAX // 2 and self._start:
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest
        if self._end == len(self._buffer):  # a packet larger than the buffer; PACKET_MAX bounds it
            self._resize(min(2 * len(self._buffer), READ_MAX + mqtt.PACKET_MAX))
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        now = self._loop.time()
        rests, self._heard_at = nbytes < SMALL and now - self._heard_at < REST_S, now
        if not self._working:
            self._work(REST_S if rests else 0.0)

    def pause_writing(self) -> None:
        self._unsent_full = True

    def resume_writing(self) -> None:
        self._unsent_full = False

    # What it does itself

    @property
    def _is_open(self) -> bool:
        return self._transport is not None and not self.lost.done()

    def _resize(self, size: int) -> None:
        """The messages handed over refer to the buffer, so a larger one is another one."""
        self._buffer = self._buffer + bytes(size - len(self._buffer))
        self._array = np.frombuffer(self._buffer, np.uint8)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            self._sent_at = self._loop.time()

    def _work(self, rest_s: float = 0.0) -> None:
        """Take what is there for one turn; the socket is not read while some of it is left, nor while it rests."""
        if self._transport is None or self.lost.done():
            return
        deadline = self._loop.time() + TURN_S
        try:
            left = self._take_held(deadline) or self._take_read(deadline)
        except BrokerFault as fault:
            self._write(self._client.leave(fault.code))
            self._lose(Loss(f"the broker breaks the protocol: {fault}", fault.code))
            self._transport.close()
            return
        self._working = left or rest_s > 0.0
        if not self._working:
            self._transport.resume_reading()
            return
        self._transport.pause_reading()
        if left:
            self._loop.call_soon(self._work)
        else:
            self._loop.call_later(rest_s, self._work)

    def _take_held(self, deadline: float) -> bool:
        """Whether some are left."""
        while self._started and self._held:
            self._take(self._held.popleft())
            if self._loop.time() > deadline:
                return True
        return False

    def _take_read(self, deadline: float) -> bool:
        """Whether some may be left."""
        while self._start < self._end:
            at, events = self._client.receive(self._array, self._start, self._end)
            if at == self._start and not events:
                break
            for event in events:
                self._perform(event)
            self._start = at
            if self.lost.done():
                break
            if self._loop.time() > deadline:
                return True
        return False

    def _perform(self, event: mqtt.Event) -> None:
        match event:
            case mqtt.Heard(messages):
                if self._started:
                    self._take(messages)
                else:
                    self._hold(messages)
            case mqtt.Answer(data):
                self._write(data)
            case mqtt.Settled(identity, code, words):
                self._room.set()
                _answer(self._settled.get(identity), (code, words))
            case mqtt.Granted(identity, codes):
                _answer(self._granted.pop(identity, None), codes)
            case mqtt.Entered(welcome):
                _answer(self._entered, welcome)
            case mqtt.Ended(code, words):
                self._lose(Loss(f"the broker ends the connection: {packets.reason(code, words)}", code))

    def _hold(self, messages: Messages) -> None:
        size = int(messages.topic_size.sum() + messages.payload_size.sum())
        if self._held_bytes + size > HELD_MAX:
            self.dropped += len(messages)
            return
        self._held_bytes += size
        self._held.append(Messages.of(list(messages)))

    async def _answered(self, answer: asyncio.Future[bytes], timeout_s: float) -> bytes:
        await asyncio.wait((answer, self.lost), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise Broken(self.lost.result().words if self.lost.done() else "the broker does not answer in time")

    def _look_after(self, welcome: Welcome, timeout_s: float) -> None:
        asked_for = self._client.options.keepalive_s
        keepalive_s = asked_for if welcome.keepalive_s is None else welcome.keepalive_s
        if keepalive_s:
            silence = Silence(keepalive_s, min(keepalive_s, timeout_s))
            self._watcher = self._loop.call_later(silence.look_s, self._look, silence)

    def _look(self, silence: Silence) -> None:
        if not self._is_open or self._transport is None:
            return
        step = silence.step(self._loop.time(), self._heard_at, self._sent_at)
        if step is Step.GIVE_UP:
            self._lose(Loss("the broker does not answer any more"))
            self._transport.abort()
            return
        if step is Step.ASK:
            self._write(packets.PING)
        self._watcher = self._loop.call_later(silence.look_s, self._look, silence)

    def _lose(self, loss: Loss) -> None:
        self._room.set()
        if not self.lost.done():
            self.lost.set_result(loss)


def _answer(waiting: asyncio.Future[T] | None, answer: T) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(answer)
