"""One plant's WebSocket kept alive for a script: ticket, subscription, resume, back-off, calls; knows no conditions.

After a break it goes on where it was: with the events missed, or a word to whoever listens that some are lost.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
import time
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import WebSocketException

from control.api import wire
from control.api.wire_command import CommandRecord
from control.api.wire_event import EVENTS
from control.client import as_error
from control.live_view import LiveView
from twin.errors import LimitExceeded, Unavailable
from twin.feed import EVENTS_MAX

RETRY_FIRST_S, RETRY_MOST_S = 0.25, 8.0
GIVEN_UP_S = 8.0  # of silence: a proxy may hold a dead socket open for minutes
LOOK_S = 0.25  # how soon somebody who waits notices that the server is silent
RECORDS_KEPT = 256  # of commands that events told of: an event may come before the answer to its call
AGAIN = frozenset({"limit_exceeded", "overrun", "unavailable", "denied"})
"""Errors of the socket after which it is worth to connect again; a ticket that is denied ends it."""
_decoder = msgspec.msgpack.Decoder(wire.ServerMessage)


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """Something that happened once. `body` is the type that wire_event.EVENTS has for its kind; `time` in ms since 1970."""

    seq: int
    kind: str
    time: float
    body: msgspec.Struct


class Listener:
    """Who takes events in their own time. `lost`: why some are missing, "" while none is."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self.waiting: deque[LiveEvent] = deque()
        self.lost = ""
        self._kinds = kinds

    def hear(self, event: LiveEvent) -> None:
        if self._kinds and event.kind not in self._kinds:
            return
        if len(self.waiting) == EVENTS_MAX:
            self.lost = f"{EVENTS_MAX} events waited to be taken"
        else:
            self.waiting.append(event)


class _Broken(Exception):
    """The socket went before the answer came."""


class LiveLink:
    """What it hears stands in `view` and `records`, and with the `listeners`."""

    def __init__(self, url: str, token: str, sub: wire.Sub, tls: ssl.SSLContext | None) -> None:
        self._url, self._sub = url, sub
        self._tls = tls
        self._http = httpx.AsyncClient(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            verify=True if tls is None else tls,
            trust_env=False,
        )
        self.view = LiveView()
        self._position: wire.Position | None = None
        self._epoch = 0
        self._event_seq = -1
        self._untold: list[wire.Event] = []
        self._alive_at = float("-inf")
        self._failure: Exception | None = None
        self._socket: ClientConnection | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._refs = itertools.count(1)
        self.records: OrderedDict[str, CommandRecord] = OrderedDict()
        self.listeners: set[Listener] = set()

    @property
    def silent_s(self) -> float:
        """For how long the server has said nothing. Above 2.5 s no value is good."""
        return time.monotonic() - self._alive_at

    async def ready(self) -> None:
        """Once the first values are there."""
        while self._position is None:
            await self.moved()

    async def run(self) -> None:
        """Until cancelled, or not let in."""
        attempts = 0
        async with self._http:
            while self._failure is None:
                begun = self._alive_at
                try:
                    await self._follow()
                except (OSError, WebSocketException, TimeoutError, Unavailable, LimitExceeded) as error:
                    if self._position is None:
                        self._failure = Unavailable(f"{self._url} does not answer: {error}", "is the server running?")
                except Exception as error:
                    self._failure = error
                self._break_off()
                attempts = 0 if self._alive_at > begun else attempts + 1
                if self._failure is None:
                    most = min(RETRY_MOST_S, RETRY_FIRST_S * 2**attempts)
                    await asyncio.sleep(most * random.uniform(0.5, 1))

    async def moved(self) -> None:
        """Until something was heard, at most for LOOK_S.

        Raises:
            Exception: why there is no link any more, and will be none.
        """
        if self._failure is not None:
            raise self._failure
        turn = asyncio.get_running_loop().create_future()
        self._waiting.add(turn)
        try:
            await asyncio.wait((turn,), timeout=LOOK_S)
        finally:
            self._waiting.discard(turn)
        if self._failure is not None:
            raise self._failure

    async def call(self, verb: str, body: dict[str, Any]) -> Any:
        """Asked again after a break: only for what may be done twice."""
        while True:
            while (socket := self._socket) is None:
                await self.moved()
            ref = next(self._refs)
            answer = self._calls[ref] = asyncio.get_running_loop().create_future()
            try:
                await socket.send(msgspec.msgpack.encode(wire.Ask(ref, verb, body)))
                return await answer
            except (WebSocketException, _Broken):
                await self.moved()
            finally:
                del self._calls[ref]

    async def _follow(self) -> None:
        """One socket, from its ticket to its end."""
        ticket = (await self._ask("POST", "/ticket"))["ticket"]
        address = self._url.replace("http", "ws", 1) + "/ws"
        protocols: Any = [wire.SUBPROTOCOL]
        async with open_socket(
            address, subprotocols=protocols, ssl=self._tls, proxy=None, max_size=None, compression=None
        ) as socket:
            while True:
                async with asyncio.timeout(GIVEN_UP_S):
                    message = _decoder.decode(await socket.recv(decode=False))
                match message:
                    case wire.Hello():
                        await socket.send(msgspec.msgpack.encode(wire.Auth(ticket)))
                    case wire.Welcome():
                        await self._welcomed(message, socket)
                    case _:
                        await self._heard(message)
                        if self._socket is None:
                            self._socket = socket
                self._tell()

    async def _welcomed(self, message: wire.Welcome, socket: ClientConnection) -> None:
        if message.epoch != self._epoch:
            self.view.adopt(msgspec.convert(await self._ask("GET", "/plant"), wire.PlantInfo))
            self._epoch, self._event_seq = message.epoch, -1
        self.view.observe(message.time, time.time_ns())
        same = self._position is not None and self._position.epoch == self._epoch
        sub = msgspec.structs.replace(self._sub, position=self._position if same else None)
        await socket.send(msgspec.msgpack.encode(sub))

    async def _heard(self, message: Any) -> None:
        match message:
            case wire.Snapshot():
                if self._position is not None:
                    for listener in self.listeners:
                        listener.lost = "the server no longer has the events of the break"
                self.view.apply(message.columns, True)
                self._event_seq = max(self._event_seq, message.seq)
            case wire.Delta():
                self.view.apply(message.columns, False)
                self.view.observe(message.time, time.time_ns())
            case wire.Heartbeat():
                self.view.observe(message.time, time.time_ns())
            case wire.Event():
                self._untold.append(message)  # until its frame is closed: then the values of the same moment are there
                return
            case wire.Answer() | wire.Problem(ref=int()):
                self._answered(message)
                return
            case wire.Problem():
                if message.code == "overrun":
                    self._position = None if self._position is None else wire.Position(0, 0)
                if message.code in AGAIN:
                    raise Unavailable(message.message, message.hint)
                raise as_error(msgspec.to_builtins(message))
        self._alive_at = time.monotonic()
        for event in self._untold:
            await self._happened(event)
        self._untold.clear()
        self._position = wire.Position(self._epoch, message.seq)  # last: after a break what was not told comes again

    async def _happened(self, message: wire.Event) -> None:
        """After a resume an event may come again."""
        if message.seq <= self._event_seq or message.kind not in EVENTS:
            return
        if message.kind == "plant":
            self.view.adopt(msgspec.convert(await self._ask("GET", "/plant"), wire.PlantInfo))
        self._event_seq = message.seq
        event = LiveEvent(message.seq, message.kind, message.time, msgspec.convert(message.body, EVENTS[message.kind]))
        if isinstance(event.body, CommandRecord):
            self.records[event.body.id] = event.body
            self.records.move_to_end(event.body.id)
            if len(self.records) > RECORDS_KEPT:
                self.records.popitem(last=False)
        for listener in self.listeners:
            listener.hear(event)

    def _answered(self, message: wire.Answer | wire.Problem) -> None:
        answer = self._calls.get(message.ref or 0)
        if answer is None or answer.done():
            return
        if isinstance(message, wire.Answer):
            answer.set_result(message.body)
        else:
            answer.set_exception(as_error(msgspec.to_builtins(message)))

    def _break_off(self) -> None:
        self._socket = None
        self._untold.clear()  # they come again
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(_Broken() if self._failure is None else self._failure)
        self._tell()

    async def _ask(self, method: str, path: str) -> Any:
        try:
            answer = await self._http.request(method, path)
        except httpx.TransportError as error:
            raise Unavailable(f"{self._url} does not answer: {error}") from None
        if answer.is_success:
            return answer.json()
        with suppress(ValueError, KeyError):
            raise as_error(answer.json())
        raise Unavailable(f"{self._url} answered {answer.status_code}")

    def _tell(self) -> None:
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
