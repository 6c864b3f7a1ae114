"""The OPC UA link: one session after the other, its subscriptions, a heartbeat and writes; must not know the point table."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from protocols.believe import plain_value, wire_value
from protocols.delivery import Delivery
from protocols.healing import STEADY_S, Broken, cancellation_wanted, heal
from protocols.link import Clock, Sink, Verdict, WriteOutcome
from protocols.opcua import binary, codec, messages
from protocols.opcua.channel import SESSION_GONE, Channel, Kept, Limits, close, open_channel, read_limits
from protocols.opcua.failures import FAILURES, status_name, words
from protocols.opcua.intake import Intake
from protocols.opcua.messages import Answers
from protocols.opcua.monitoring import CREATE_S, Monitor, Monitored, Rates
from protocols.opcua.publishing import Gone, Pump
from protocols.opcua.reading import read_all, read_attributes, read_one
from twin.plant import Device
from twin.points import Point, Selection
from twin.readings import Readings

MISSING_RETRY_S = 30.0  # nodes that the server did not know are asked for again this often
RENEW_AT = 0.75  # of a security token's life (Part 4, 5.5.2.1)
HEARTBEATS_OF_A_SESSION = 3  # a server may forget a session that is silent for longer

_CLOCK = messages.read([codec.node_id("i=2258")])  # Server_ServerStatus_CurrentTime


@dataclass(frozen=True, slots=True)
class _Former:
    """A session that a lost connection left behind at the server, with all that it watches."""

    kept: Kept
    monitored: Monitored


@dataclass(slots=True)
class _Session:
    """One session while it lives on a connection."""

    channel: Channel
    limits: Limits
    monitored: Monitored
    pump: Pump
    resumed: bool


class OpcUaLink:
    """A device reached over OPC UA. See protocols.link.Link."""

    def __init__(
        self,
        device: Device,
        points: Sequence[Point],
        sink: Sink,
        clock: Clock,
        chance: random.Random,
        pki: Path | None = None,
    ) -> None:
        self._device = device
        self._points = Selection.of(points)
        self._sink = sink
        self._clock = clock
        self._chance = chance
        self._pki = pki
        self._delivery = Delivery(device.id, sink, clock, self._points)
        self._intake = Intake(self._points)
        rates = Rates.of(device.settings)
        self._first_s = 2 * rates.publishing_ms / 1000  # after which a first value should have come
        self._monitor = Monitor(self._points, self._delivery, self._intake, rates)
        self._publishes = int(device.settings["publishes"])
        self._heartbeat_s = float(device.settings["heartbeat_s"])
        self._timeout_s = float(device.settings["timeout_s"])
        self._channel: Channel | None = None
        self._types: dict[int, Any] = {}
        self._dropped = 0
        self._former: _Former | None = None

    async def run(self) -> None:
        await heal(self._device.id, self._sink, self._chance, self._live)

    # --- one session -------------------------------------------------------------------------------------------------

    async def _live(self, online: Callable[[], None]) -> None:
        former, self._former = self._former, None
        life_s = HEARTBEATS_OF_A_SESSION * self._heartbeat_s
        try:
            channel, resumed = await open_channel(
                self._device, self._pki, self._clock, self._timeout_s, life_s, None if former is None else former.kept
            )
        except (Broken, *FAILURES) as failure:
            self._former = former if former is not None and not former.kept.tried else None
            raise _broken(failure) from failure
        began, session = asyncio.get_running_loop().time(), None
        try:
            session = await self._begin(channel, former, resumed)
            self._channel = channel
            online()
            await self._watch(session)
        except Gone:
            raise
        except Broken:
            steady = asyncio.get_running_loop().time() - began > STEADY_S
            # One that breaks as soon as it is resumed is better begun anew.
            wanted = session is not None and session.monitored.whole and (steady or not session.resumed)
            kept = Kept.of(channel.client, wanted)
            self._former = _Former(kept, Monitored() if session is None else session.monitored)
            raise
        finally:
            self._channel = None
            self._types.clear()
            await close(channel.client, farewell=self._former is None)

    async def _begin(self, channel: Channel, former: _Former | None, resumed: bool) -> _Session:
        """What was watched before where the server goes on with it, else nothing yet."""
        monitored = Monitored()
        try:
            limits = await read_limits(channel)
            if former is not None and former.kept.wanted:
                resumed = resumed or await self._monitor.transfer(channel, former.monitored)
                monitored = former.monitored if resumed else monitored
        except FAILURES as failure:
            raise _broken(failure) from failure
        for subscription in monitored.subscriptions.values():
            subscription.heard_at = asyncio.get_running_loop().time()
        self._intake.begin()
        pump = Pump(channel, self._monitor, monitored, self._delivery, self._intake, self._publishes, self._lose)
        return _Session(channel, limits, monitored, pump, resumed)

    async def _watch(self, session: _Session) -> None:
        """Deliver and check until something fails."""
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_for_good(session.pump.run()), name=f"{self._device.id} publish")
                tasks.create_task(_for_good(self._populate(session)), name=f"{self._device.id} populate")
                tasks.create_task(_for_good(self._heartbeat(session)), name=f"{self._device.id} heartbeat")
        except* (Broken, *FAILURES) as group:
            failure = next((one for one in group.exceptions if isinstance(one, Gone)), group.exceptions[0])
        if failure is not None:
            raise _broken(failure) from failure

    async def _populate(self, session: _Session) -> None:
        """Have everything watched and said once, and ask again for what the server refuses, as long as the session lives."""
        channel, limits, monitored = session.channel, session.limits, session.monitored
        if session.resumed:
            monitored.untold = list(monitored.missing.items())
            await self._monitor.tell(monitored)
            await self._read(session, np.ones(len(self._points), np.bool_))
        else:
            await self._monitor.create(channel, limits, monitored)
            await asyncio.sleep(self._first_s + self._timeout_s)
            with contextlib.suppress(ua.UaStatusCodeError):
                await self._read(session, ~self._intake.heard)
        while True:
            await asyncio.sleep(MISSING_RETRY_S)
            if monitored.missing:
                await self._monitor.retry(channel, limits, monitored)

    async def _read(self, session: _Session, wanted: NDArray[np.bool_]) -> None:
        """Values that the server would not say by itself: those it has said before, or never says first."""
        wanted[list(session.monitored.missing)] = False
        rows = np.flatnonzero(wanted).astype(np.int32)
        if len(rows):
            await read_all(session.channel, session.limits, self._points, rows, self._delivery, self._intake)

    async def _heartbeat(self, session: _Session) -> None:
        """Prove every beat that the server answers and that its subscriptions still publish."""
        loop, channel, answers = asyncio.get_running_loop(), session.channel, Answers(1)
        renewed = loop.time()
        while True:
            asked = loop.time()
            # Requests for a thousand items each stand before this one while everything is being asked for.
            limit_s = self._timeout_s if session.monitored.whole else max(self._timeout_s, CREATE_S)
            answer = await channel.ask(messages.READ, _CLOCK, answers, limit_s)
            if not len(answer) or answer.quality[0] >> 31:
                raise Gone("the server does not tell its time")
            self._sink.metric(self._device.id, "lag_ms", (loop.time() - asked) * 1000)
            self._sink.metric(self._device.id, "queued", session.pump.queued)
            _check_silence(session.monitored, loop.time())
            self._sink.heard(self._device.id)
            if loop.time() - renewed > RENEW_AT * channel.client.secure_channel_timeout / 1000:
                await channel.renew()
                renewed = loop.time()
            await asyncio.sleep(self._heartbeat_s)

    def _lose(self, count: int) -> None:
        self._dropped += count
        self._sink.metric(self._device.id, "dropped", self._dropped)

    # --- asked by others ---------------------------------------------------------------------------------------------

    async def read(self, point: Point, timeout_s: float) -> Readings | None:
        channel = self._channel
        if channel is None:
            return None
        try:
            body = await channel.exchange(messages.READ, messages.read([codec.node_id(point.address)]), timeout_s)
            batch = self._delivery.batch()
            read_one(batch, body, point)
        except FAILURES:
            return None
        return batch.deliver()

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        channel = self._channel
        if channel is None or not channel.is_open:
            return Verdict(WriteOutcome.NOT_SENT, "the link is down")
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            kind = await self._type_of(channel, point, timeout_s)
        except FAILURES as failure:
            return Verdict(WriteOutcome.NOT_SENT, f"the node's type could not be read: {words(failure)}")
        try:
            said = plain_value(point, value)
            is_text = isinstance(said, str) and kind is ua.VariantType.String
            wire = said if is_text else codec.variant_value(kind.name, wire_value(point, value))
        except ValueError as misfit:
            return Verdict(WriteOutcome.REFUSED, str(misfit))
        left_s = deadline - asyncio.get_running_loop().time()
        return await _send(channel, point, ua.Variant(wire, kind), left_s)

    async def _type_of(self, channel: Channel, point: Point, timeout_s: float) -> Any:
        """The Variant type that the node itself uses: seen in its values, else asked for once a session."""
        seen = self._intake.type_of(point)
        if 0 < seen < binary.ARRAY:
            return ua.VariantType(seen)
        if point.id not in self._types:
            value, kind = await read_attributes(channel, point.address, (messages.VALUE, messages.DATA_TYPE), timeout_s)
            if value.Value is not None and value.Value.VariantType is not ua.VariantType.Null:
                self._types[point.id] = value.Value.VariantType
            elif kind.Value is not None and kind.Value.Value is not None:
                self._types[point.id] = ua.VariantType(kind.Value.Value.Identifier)
            else:
                raise ua.UaStatusCodeError(value.StatusCode.value)
        return self._types[point.id]


async def _send(channel: Channel, point: Point, variant: Any, timeout_s: float) -> Verdict:
    request, item = ua.WriteRequest(), ua.WriteValue()
    item.NodeId = ua.NodeId.from_string(point.address)
    item.AttributeId = ua.AttributeIds.Value
    item.Value = ua.DataValue(variant)
    request.Parameters.NodesToWrite = [item]
    try:
        (status,) = (await channel.call(request, ua.WriteResponse, timeout_s)).Results
    except ua.UaStatusCodeError as fault:
        return _settled(status_name(fault.code))
    except FAILURES as failure:
        return Verdict(WriteOutcome.UNKNOWN, f"no answer to the write: {words(failure)}")
    if status.is_good():
        return Verdict(WriteOutcome.ACCEPTED, status.name)
    return _settled(status.name)


def _settled(status_name: str) -> Verdict:
    if codec.is_unsettled(status_name):
        return Verdict(WriteOutcome.UNKNOWN, status_name)
    return Verdict(WriteOutcome.REFUSED, status_name)


async def _for_good(work: Coroutine[Any, Any, None]) -> None:
    """A task of a session ends with the session only: were it cancelled by a library alone, nobody would hear of it."""
    try:
        await work
    except asyncio.CancelledError:
        if cancellation_wanted():
            raise
        raise Broken("a library gave up waiting") from None


def _check_silence(monitored: Monitored, now: float) -> None:
    """A session may live on without its subscriptions: then the server answers, but says nothing any more."""
    for subscription in monitored.subscriptions.values():
        if now - subscription.heard_at > monitored.silence_max_s:
            raise Gone(f"subscription {subscription.id} has not published for {now - subscription.heard_at:.0f} s")


def _broken(failure: BaseException) -> Broken:
    if isinstance(failure, Broken):
        return failure
    if isinstance(failure, ua.UaStatusCodeError) and failure.code in SESSION_GONE:
        return Gone(words(failure))
    return Broken(words(failure))
