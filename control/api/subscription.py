"""One subscribed client: what it is pushed, what it may still say, and when it has to go; must not know sign-in.

A slow client gets fewer, larger deltas and no lost event; one that takes nothing has to go, and resumes when it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from control.api import wire
from control.api.calls import Calls
from control.api.frames import Frames, Wanted
from control.api.line import GONE, Line
from control.api.part import Parts
from control.api.pulse import FRAMES_PER_S, TICKS_PER_S, Pulse, step
from control.identity import Caller
from control.operations import ClientCounts
from control.rates import Buckets, Rate
from twin.errors import BadRequest, Denied, LimitExceeded
from twin.feed import Overrun

HEARTBEAT_S = 1.0
SEND_S = 10.0  # a client that takes no byte for so long is gone or stuck


class Subscription:
    """Runs from `sub` to the end."""

    def __init__(
        self, parts: Parts, caller: Caller, line: Line, sub: wire.Sub, welcomed: int, of: Wanted, frames: Frames, pulse: Pulse,
        rate: Rate, figures: ClientCounts,
    ) -> None:  # fmt: skip
        self._parts, self._caller, self._line, self._sub, self._of = parts, caller, line, sub, of
        self._frames, self._pulse, self._figures = frames, pulse, figures
        self._rate, self._messages = rate, Buckets(rate)
        self._calls = Calls(parts, caller, self._answer)
        self._pinged = False
        self._cursor = welcomed
        self._over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """
        Raises:
            TwinloopError, Overrun: why the client has to go. Else it has gone.
        """
        async with asyncio.TaskGroup() as tasks:
            works = (self._listen(), self._push(), self._calls.run())
            running = [tasks.create_task(self._until_over(work)) for work in works]
            try:
                why = await self._over
            finally:
                for task in running:
                    task.cancel()
        if why is not None:
            raise why

    def check(self, send_s: float) -> None:
        """Ends it when the client takes nothing, or is no longer who it was: then it may connect again."""
        try:
            now = self._parts.identity.now(self._caller)
            was = self._caller
            if (now.role, now.acts, now.points) != (was.role, was.acts, was.points):
                raise Denied(f"{was.name} has another role now: {now.role}", "connect again")
            if self._line.stuck_s() > send_s:
                raise LimitExceeded(f"nothing was taken for {send_s:g} s", "resume when you can")
            if self._cursor < self._parts.live.feed.kept_from:
                raise Overrun(
                    f"the client is at {self._cursor}, events are kept from {self._parts.live.feed.kept_from}"
                )
        except Exception as error:  # whatever is wrong with one client ends no other
            self._end(error)

    def _end(self, why: Exception | None) -> None:
        if not self._over.done():
            self._over.set_result(why)

    async def _until_over(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except GONE:
            self._end(None)
        except Exception as error:
            self._end(error)

    async def _push(self) -> None:
        group = self._pulse.join()
        try:
            await self._push_in(group)
        finally:
            self._pulse.leave(group)

    async def _push_in(self, group: int) -> None:
        pulse, frames = self._pulse, self._frames
        every = step(self._sub.frames_per_s)
        quiet = int(HEARTBEAT_S * TICKS_PER_S)
        tick = await pulse.next(step(FRAMES_PER_S), group)  # who come together share a snapshot
        said = tick - quiet  # one that goes on where it was is told so at once
        cursor = frames.resumable(self._sub.position)
        if cursor is None:
            frame = frames.snapshot(self._of, pulse.now)
            await self._send(frame.messages)
            # What happened since the welcome may be in nothing that the client has asked for since.
            cursor, said = max(self._cursor, self._parts.live.feed.kept_from), tick
        while True:
            self._cursor = cursor
            frame = frames.since(cursor, self._of, pulse.now)
            if frame.messages:
                said = tick
                await self._send(frame.messages)
            elif self._pinged or tick + every - said > quiet:
                said = tick
                await self._line.send(frames.heartbeat(pulse.now))
            self._pinged = False
            cursor, before = frame.head, tick
            tick = await pulse.next(every, group)
            self._figures.coalesced += max(0, (tick - before) // every - 1)

    async def _send(self, messages: tuple[bytes, ...]) -> None:
        for message in messages:
            await self._line.send(message)
        self._figures.sent += len(messages)

    async def _listen(self) -> None:
        """What a subscribed client may still say: ping and call."""
        while True:
            message = await self._line.receive()
            wait_s = self._messages.take("", self._parts.clock())
            said = f"{self._rate.per_s:g} messages a second of one client are taken"
            over = LimitExceeded(said, f"go on in {wait_s:.2g} s") if wait_s else None
            if isinstance(message, wire.Ask):
                self._calls.take(message, over)
            elif not isinstance(message, wire.Ping):
                raise BadRequest("only ping and call are taken after sub", "open a new connection to subscribe anew")
            elif over is not None:
                raise over
            else:
                self._pinged = True

    async def _answer(self, message: wire.Answer | wire.Problem) -> None:
        """A client that is gone needs none."""
        try:
            await self._line.say(message)
        except GONE:
            return
