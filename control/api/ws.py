"""The WebSocket: sign-in by ticket, snapshot or resume, then coalesced state, every event, and answers to calls.

Must not know what events and calls mean. One loop a client: a slow client gets fewer, larger deltas and no lost event.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect

from control.api import wire
from control.api.calls import Calls
from control.api.guard import Site, check_origin
from control.api.part import Parts
from control.api.problem import error_body
from control.api.sent_columns import wire_columns
from control.errors import codes
from control.identity import Caller, Identity
from twin.errors import BadRequest, Denied, Forbidden, LimitExceeded, TwinloopError
from twin.feed import Event, Overrun

FRAME_S = 0.1  # ten frames a second: what an eye follows
HEARTBEAT_S = 1.0
AUTH_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 10.0  # a client that takes no byte for so long is gone or stuck
CLIENTS_MAX = 200  # signed in
STRANGERS_MAX = 50  # not yet signed in: apart, so that nobody keeps others out by opening sockets
STRANGERS_EACH_MAX = 20  # … from one address; a page signs in within a second
WATCH_S = 0.5  # how soon a socket notices that its role, account, session or token is another
MESSAGE_MAX = 64_000  # bytes of one client message
_decoder = msgspec.msgpack.Decoder(wire.ClientMessage)
_encoder = msgspec.msgpack.Encoder()


class Console:
    """Serves /ws."""

    def __init__(self, parts: Parts, site: Site) -> None:
        self._parts, self._site = parts, site
        self.clients = 0
        self._strangers: Counter[str] = Counter()

    async def serve(self, socket: WebSocket) -> None:
        try:
            check_origin(socket, self._site)
        except Forbidden:
            await socket.close(4403)
            return
        if wire.SUBPROTOCOL not in socket.scope.get("subprotocols", []):
            await socket.close(1002)
            return
        await socket.accept(wire.SUBPROTOCOL)
        try:
            caller = await self._known(socket)
            if self.clients >= CLIENTS_MAX:
                raise LimitExceeded(f"{CLIENTS_MAX} clients are connected", "close one")
            self.clients += 1
            try:
                await self._session(socket, caller)
            finally:
                self.clients -= 1
        except (TwinloopError, Overrun) as error:
            await _refuse(socket, error)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            return  # gone; RuntimeError is what Starlette raises for a send after the close

    async def _known(self, socket: WebSocket) -> Caller:
        """Who it is, by its ticket; until then it is one of few."""
        peer = socket.client.host if socket.client else ""
        if self._strangers.total() >= STRANGERS_MAX or self._strangers[peer] >= STRANGERS_EACH_MAX:
            raise LimitExceeded("too many clients have yet to sign in", "try again in a second")
        self._strangers[peer] += 1
        try:
            await _send(socket, wire.Hello(wire.SUBPROTOCOL, self._parts.version))
            auth = await _first(socket, "auth")
            if not isinstance(auth, wire.Auth):
                raise BadRequest("the first message must be auth", "send {t: 'auth', ticket}")
            return self._parts.identity.redeem(auth.ticket)
        finally:
            self._strangers[peer] -= 1
            if not self._strangers[peer]:
                del self._strangers[peer]

    async def _session(self, socket: WebSocket, caller: Caller) -> None:
        parts = self._parts
        feed = parts.live.feed
        beat_ms = int(HEARTBEAT_S * 1000)
        await _send(socket, wire.Welcome(feed.epoch, feed.seq, beat_ms, parts.clock() / 1e6, caller.name, caller.role))
        sub = await _first(socket, "sub")
        if not isinstance(sub, wire.Sub):
            raise BadRequest("the second message must be sub", "send {t: 'sub', from: null}")
        ping = asyncio.Event()
        calls = Calls(parts, caller, partial(_say, socket))
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(_listen(socket, ping, calls))
            sending = tasks.create_task(self._feed(socket, sub, ping))
            calling = tasks.create_task(calls.run())
            watching = tasks.create_task(_watch(socket, parts.identity, caller))
            running = (listening, sending, calling, watching)
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                task.cancel()

    async def _feed(self, socket: WebSocket, sub: wire.Sub, ping: asyncio.Event) -> None:
        """Push until the client is gone, too slow or told to start anew."""
        try:
            await self._push(socket, sub, ping)
        except TimeoutError:
            await _refuse(socket, LimitExceeded(f"nothing was taken for {SEND_TIMEOUT_S:g} s", "resume when you can"))
        except (TwinloopError, Overrun) as error:
            await _refuse(socket, error)
        except (WebSocketDisconnect, RuntimeError):
            return

    async def _push(self, socket: WebSocket, sub: wire.Sub, ping: asyncio.Event) -> None:
        feed, clock = self._parts.live.feed, self._parts.clock
        cursor = self._resumable(sub.position)
        if cursor is None:
            cursor = feed.seq
            everything = np.arange(len(self._parts.live.table), dtype=np.int32)
            await _send(socket, wire.Snapshot(feed.epoch, cursor, self._columns(everything)))
        silent_s = 0.0
        while True:
            head = feed.seq
            events, ids = feed.events_since(cursor), feed.points_since(cursor)
            columns = self._columns(ids) if len(ids) else None
            for event in events:
                await _send(socket, _event(event))
            # The delta (or heartbeat) that closes a frame carries the cursor; events alone never move it.
            if columns is not None:
                await _send(socket, wire.Delta(head, columns))
                silent_s = 0.0
            elif events or silent_s >= HEARTBEAT_S or ping.is_set():
                await _send(socket, wire.Heartbeat(head, clock() / 1e6))
                silent_s = 0.0
            ping.clear()
            cursor = head
            await asyncio.sleep(FRAME_S)
            silent_s += FRAME_S

    def _resumable(self, position: wire.Position | None) -> int | None:
        """The cursor to go on from, None when a snapshot is needed."""
        feed = self._parts.live.feed
        if position is None or position.epoch != feed.epoch or position.seq > feed.seq:
            return None
        try:
            feed.events_since(position.seq)
        except Overrun:
            return None
        return position.seq

    def _columns(self, ids: NDArray[np.int32]) -> wire.Columns:
        return wire_columns(self._parts.live.table.columns, ids)


def _event(event: Event) -> wire.Event:
    return wire.Event(event.seq, event.kind, event.time / 1e6, event.body)


async def _listen(socket: WebSocket, ping: asyncio.Event, calls: Calls) -> None:
    """What a subscribed client may still say: ping and call. Ends when the client goes."""
    while True:
        try:
            message = await _receive(socket)
            if isinstance(message, wire.Ask):
                calls.take(message)
                continue
            if not isinstance(message, wire.Ping):
                raise BadRequest("only ping and call are taken after sub", "open a new connection to subscribe anew")
        except BadRequest as error:
            await _refuse(socket, error)
            return
        except WebSocketDisconnect:
            return
        ping.set()


async def _watch(socket: WebSocket, identity: Identity, caller: Caller) -> None:
    """Ends when the client is no longer who it was: with another role it may connect again, and go on where it was."""
    try:
        while True:
            await asyncio.sleep(WATCH_S)
            now = identity.now(caller)
            if (now.role, now.acts, now.points) != (caller.role, caller.acts, caller.points):
                raise Denied(f"{caller.name} has another role now: {now.role}", "connect again")
    except TwinloopError as error:
        await _refuse(socket, error)


async def _first(socket: WebSocket, kind: str) -> Any:
    try:
        async with asyncio.timeout(AUTH_TIMEOUT_S):
            return await _receive(socket)
    except TimeoutError:
        raise BadRequest(f"no {kind} came in {AUTH_TIMEOUT_S:g} s", "send it at once") from None


async def _receive(socket: WebSocket) -> Any:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    data = message.get("bytes")
    if data is None:
        raise BadRequest("a text frame", "send msgpack in binary frames")
    if len(data) > MESSAGE_MAX:
        raise BadRequest(f"a message of {len(data)} bytes", f"at most {MESSAGE_MAX}")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadRequest(f"not a message of {wire.SUBPROTOCOL}: {error}", "see docs/wire.md") from None


async def _send(socket: WebSocket, message: wire.ServerMessage) -> None:
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await socket.send_bytes(_encoder.encode(message))


async def _say(socket: WebSocket, message: wire.Answer | wire.Problem) -> None:
    """An answer; a client that is gone needs none, and one that takes nothing is let go by its feed."""
    try:
        await _send(socket, message)
    except (WebSocketDisconnect, RuntimeError, TimeoutError):
        return


async def _refuse(socket: WebSocket, error: Exception) -> None:
    """Say what is wrong, then close with the error's code."""
    said = error_body(error)
    try:
        await _send(socket, wire.Problem(said.code, said.message, said.hint, said.mistakes, said.command))
        await socket.close(codes(error).ws or 1008)
    except (WebSocketDisconnect, RuntimeError, TimeoutError):
        return
