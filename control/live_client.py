"""A running plant for a script, over the WebSocket: values that say how good they are, events, commands with their end.

`control/client.py` asks one question over HTTP, as the command line does; this follows the plant until the script ends,
and comes back by itself after a break: with the events missed, or a word that some are lost.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from control.api import wire
from control.api.wire_command import CommandRecord
from control.client import found as found
from control.live_link import Listener, LiveEvent, LiveLink
from control.live_view import Value
from twin.errors import TwinloopError
from twin.feed import Overrun

ASK_AGAIN_S = 5.0  # for a command's record, should an event of it be lost
UNKNOWN_S = 15.0  # for a read-back to settle a command whose outcome is not known


class NotConfirmed(TwinloopError):
    """A command did not end as CONFIRMED, or it is not known how it ended; `record` has its whole life."""

    def __init__(self, record: CommandRecord) -> None:
        last = record.transitions[-1].detail if record.transitions else ""
        super().__init__(f"{record.point} = {record.value:g} is {record.status}{last and f': {last}'}", "", record.id)
        self.record = record


@asynccontextmanager
async def connect(
    url: str,
    token: str,
    tls: ssl.SSLContext | None = None,
    *,
    points: Sequence[str] | None = None,
    twins: Sequence[str] | None = None,
    events: Sequence[str] | None = None,
    frames_per_s: int = 10,
) -> AsyncIterator[LivePlant]:
    """The plant behind `url`, as it is from then on; `connect(*found(data))` is that of a data folder.

    Args:
        token: as of `twinloop token add`; or `DATA/api-token`.
        tls: what to believe of a server with TLS; its certificate authorities when None.
        points, twins, events: only these points, those of these twins with their parts, these kinds; all when None.

    Raises:
        TwinloopError: it cannot be reached, or does not let us in.
    """
    kinds = None if events is None else sorted({*events, "command", "plant"})
    sub = wire.Sub(
        None, None if points is None else [*points], None if twins is None else [*twins], kinds, frames_per_s
    )
    link = LiveLink(url.rstrip("/"), token, sub, tls)
    running = asyncio.create_task(link.run())
    try:
        await link.ready()
        yield LivePlant(link)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class LivePlant:
    """What `connect` gives."""

    def __init__(self, link: LiveLink) -> None:
        self._link = link
        self._view = link.view

    @property
    def plant(self) -> wire.PlantInfo:
        """Devices, twins, relationships and points."""
        assert self._view.plant is not None
        return self._view.plant

    @property
    def silent_s(self) -> float:
        """For how long the server has said nothing. Above 2.5 s no value is good."""
        return self._link.silent_s

    def value(self, point: str) -> Value:
        """
        Raises:
            NotFound: the plant has no such point.
        """
        return self._view.value(point, time.time_ns(), self.silent_s)

    async def changes(self, point: str) -> AsyncIterator[Value]:
        """The value now, then each time that it, its quality or its staleness is another; always the newest."""
        before: object = None
        while True:
            now = self.value(point)
            told = (now.value, now.text, now.quality, now.stale)
            if told != before:
                before = told
                yield now
            await self._link.moved()

    async def until(self, condition: str, timeout_s: float) -> None:
        """Returns once it holds, such as `tank_1.level > 3 m and not pump_335.fault` (docs/plant.md#conditions).

        Raises:
            TimeoutError: it did not; the message says what was seen. BadRequest: it is no condition.
        """
        asked = self._view.condition(condition)
        end = time.monotonic() + timeout_s
        while not (answer := self._view.holds(asked, time.time_ns(), self.silent_s)).truth:
            if time.monotonic() > end:
                raise TimeoutError(f"after {timeout_s:g} s {answer.detail}")
            await self._link.moved()

    def events(self, *kinds: str) -> AsyncIterator[LiveEvent]:
        """What happens from now on, each once and in order; of these kinds, or all.

        Raises:
            Overrun: some are lost: too many waited here, or the server no longer had them after a break.
        """
        listener = Listener(frozenset(kinds))
        self._link.listeners.add(listener)
        return self._told(listener)

    async def _told(self, listener: Listener) -> AsyncIterator[LiveEvent]:
        try:
            while True:
                while listener.waiting:
                    yield listener.waiting.popleft()
                if listener.lost:
                    raise Overrun(listener.lost)
                await self._link.moved()
        finally:
            self._link.listeners.discard(listener)

    async def command(
        self, point: str, value: float | str, *, reason: str = "", key: str = "", timeout_s: float = 120.0, **terms: Any
    ) -> CommandRecord:
        """Command a point, and follow the command until the process has confirmed it.

        Over a break it is asked again with the same key, so that it takes effect once.

        Args:
            key: idempotency key; give one that outlives the script where a second run must not command again.
            terms: other fields of a CommandRequest: `priority`, `deadline_s`, `unit` …

        Raises:
            NotConfirmed: it ended otherwise, or it is not known how. TimeoutError: it goes on. TwinloopError: nothing of
                it was recorded.
        """
        asked = {"key": key or uuid.uuid4().hex, "point": point, "value": value, "reason": reason, **terms}
        record = await self._submitted(asked)
        end, unknown_at, asked_at = time.monotonic() + timeout_s, float("inf"), time.monotonic()
        while not record.final:
            now = time.monotonic()
            unknown_at = min(unknown_at, now) if record.status == "UNKNOWN" else float("inf")
            if now - unknown_at > UNKNOWN_S:
                raise NotConfirmed(record)
            if now > end:
                raise TimeoutError(f"after {timeout_s:g} s {point} = {value} is {record.status}")
            await self._link.moved()
            if time.monotonic() - asked_at > ASK_AGAIN_S:
                record, asked_at = await self._record(record.id), time.monotonic()
            record = self._newest(record)
        if record.status != "CONFIRMED":
            raise NotConfirmed(record)
        return record

    async def _submitted(self, asked: dict[str, Any]) -> CommandRecord:
        try:
            return msgspec.convert(await self._link.call("submit", asked), CommandRecord)
        except TwinloopError as error:
            if error.command:  # refused, and recorded
                raise NotConfirmed(await self._record(error.command)) from error
            raise

    async def _record(self, identity: str) -> CommandRecord:
        return msgspec.convert(await self._link.call("command", {"id": identity}), CommandRecord)

    def _newest(self, record: CommandRecord) -> CommandRecord:
        """An event may have come before the answer."""
        heard = self._link.records.get(record.id, record)
        return heard if len(heard.transitions) > len(record.transitions) else record
