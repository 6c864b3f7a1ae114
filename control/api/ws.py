"""The WebSocket: sign-in by ticket, then a subscription, and a last word to who has to go; must not know what is sent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass

from starlette.websockets import WebSocket

from control.api import wire
from control.api.frames import Frames, wanted
from control.api.guard import Site, check_origin
from control.api.line import GONE, Line
from control.api.part import Parts
from control.api.pulse import Pulse
from control.api.subscription import HEARTBEAT_S, SEND_S, Subscription
from control.errors import INTERNAL, codes
from control.identity import Caller
from twin.errors import BadRequest, Forbidden, LimitExceeded

CLIENTS_MAX = (
    250  # signed in: 200 consoles, and scripts besides; 200 of them at 20 frames a second are a quarter of a core
)
STRANGERS_MAX = 50  # not yet signed in: apart, so that nobody keeps others out by opening sockets
STRANGERS_EACH_MAX = 20  # … from one address; a page signs in within a second
CHECK_S = (
    0.5  # how soon a socket notices that its role, account, session or token is another, or that nobody takes a byte
)
SLOW = 1013
log = logging.getLogger("twinloop.ws")


@dataclass(frozen=True, slots=True)
class Limits:
    """`send_s`: for how long a client may take nothing."""

    clients: int = CLIENTS_MAX
    send_s: float = SEND_S
    check_s: float = CHECK_S


LIMITS = Limits()


class Console:
    """Serves /ws."""

    def __init__(self, parts: Parts, site: Site, limits: Limits = LIMITS) -> None:
        self.figures = parts.operations.sockets
        self.frames = Frames(parts.live, time.perf_counter)
        self._parts, self._site, self._limits = parts, site, limits
        self._pulse = Pulse(parts.clock)
        self._subscribed: set[Subscription] = set()
        self._strangers: Counter[str] = Counter()

    async def run(self) -> None:
        """The clients' clock, and a look at each of them now and then; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pulse.run())
            while True:
                await asyncio.sleep(self._limits.check_s)
                for subscription in tuple(self._subscribed):
                    subscription.check(self._limits.send_s)

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
        line = Line(socket)
        try:
            await self._signed_in(line, await self._known(line, socket.client.host if socket.client else ""))
        except GONE:
            return
        except TimeoutError:
            await line.farewell(LimitExceeded("the greeting was not taken", "connect again"))
        except Exception as error:  # the edge, as in http.py: every type has its code
            if codes(error) is INTERNAL:
                log.error("a client's socket failed", exc_info=error)
            await line.farewell(error)

    async def _known(self, line: Line, peer: str) -> Caller:
        """Who it is, by its ticket; until then it is one of few."""
        if self._strangers.total() >= STRANGERS_MAX or self._strangers[peer] >= STRANGERS_EACH_MAX:
            raise LimitExceeded("too many clients have yet to sign in", "try again in a second")
        self._strangers[peer] += 1
        try:
            await line.greet(wire.Hello(wire.SUBPROTOCOL, self._parts.version))
            auth = await line.first("auth")
            if not isinstance(auth, wire.Auth):
                raise BadRequest("the first message must be auth", "send {t: 'auth', ticket}")
            return self._parts.identity.redeem(auth.ticket)
        finally:
            self._strangers[peer] -= 1
            if not self._strangers[peer]:
                del self._strangers[peer]

    async def _signed_in(self, line: Line, caller: Caller) -> None:
        if self.figures.clients >= self._limits.clients:
            raise LimitExceeded(f"{self._limits.clients} clients are connected", "close one")
        self.figures.clients += 1
        try:
            await self._subscription(line, caller)
        finally:
            self.figures.clients -= 1

    async def _subscription(self, line: Line, caller: Caller) -> None:
        parts = self._parts
        feed, beat_ms = parts.live.feed, int(HEARTBEAT_S * 1000)
        welcomed = feed.seq
        await line.greet(wire.Welcome(feed.epoch, welcomed, beat_ms, parts.clock() / 1e6, caller.name, caller.role))
        sub = await line.first("sub")
        if not isinstance(sub, wire.Sub):
            raise BadRequest("the second message must be sub", "send {t: 'sub', from: null}")
        subscription = Subscription(
            parts,
            caller,
            line,
            sub,
            welcomed,
            wanted(sub, parts.plant),
            self.frames,
            self._pulse,
            self._site.caller,
            self.figures,
        )
        self._subscribed.add(subscription)
        try:
            await subscription.run()
        except Exception as error:
            self.figures.evicted += codes(error).ws == SLOW
            raise
        finally:
            self._subscribed.discard(subscription)
