"""Keeps Publish requests at the server, asks again for lost messages and delivers what comes; must not know sessions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer

from protocols.delivery import Delivery
from protocols.healing import Broken
from protocols.opcua import binary, messages
from protocols.opcua.channel import SESSION_GONE, Channel, check
from protocols.opcua.failures import status_name
from protocols.opcua.intake import Intake, by_library
from protocols.opcua.messages import Answer, Answers, Garbled, Strange
from protocols.opcua.monitoring import Monitor, Monitored, Subscription
from protocols.opcua.window import Taken

log = logging.getLogger("twinloop.link")

ROWS_PER_TURN = 2_000  # changes taken before others get a turn: under 10 ms even if each is a text
FAULTS_MAX = 32  # refused or unreadable answers in a row after which the session is given up

TOLD_MAX = 100  # kinds of trouble that one session speaks of, once each

_SUBSCRIPTIONS_GONE = frozenset({ua.StatusCodes.BadNoSubscription, ua.StatusCodes.BadSubscriptionIdInvalid})


class Gone(Broken):
    """The session or its subscriptions are no more: only new ones help."""


@dataclass(frozen=True, slots=True)
class _Message:
    """One NotificationMessage, whoever decoded it: columns of `answer`, or (row, DataValue) as asyncua reads them."""

    subscription: int
    sequence: int
    parts: int
    status: int
    overflows: int
    answer: Answer | None
    values: Sequence[tuple[int, Any]] = ()


class Pump:
    """Runs the subscriptions of one session. What has come waits here, and no more is asked for meanwhile."""

    def __init__(
        self,
        channel: Channel,
        monitor: Monitor,
        monitored: Monitored,
        delivery: Delivery,
        intake: Intake,
        publishes: int,
        lose: Callable[[int], None],
    ) -> None:
        """
        Args:
            publishes: requests to keep at the server.
            lose: told how many messages or values are lost for good.
        """
        self._channel, self._monitor, self._monitored = channel, monitor, monitored
        self._delivery, self._intake, self._lose = delivery, intake, lose
        self._publishes = publishes
        self._answers, self._again = Answers(), Answers()
        self._sent: dict[asyncio.Future[Buffer], list[tuple[int, int]]] = {}
        self._arrived: deque[tuple[asyncio.Future[Buffer], list[tuple[int, int]]]] = deque()
        self._wake = asyncio.Event()
        self._batch = delivery.batch()
        self._acknowledge: list[tuple[int, int]] = []
        self._faults = 0
        self._told: set[str] = set()

    @property
    def queued(self) -> int:
        """Answers that wait to be decoded; at most as many as requests are kept."""
        return len(self._arrived)

    async def run(self) -> None:
        """Until something fails: Broken, Gone or one of asyncua's failures."""
        await self._monitored.begun.wait()
        self._fill()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._arrived:
                    await self._turn()
        finally:
            for coming in self._sent:
                coming.remove_done_callback(self._arrive)
                coming.cancel()

    # --- requests ----------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        while len(self._sent) + len(self._arrived) < self._publishes:
            carried, self._acknowledge = self._acknowledge, []
            coming = self._channel.send(messages.PUBLISH, messages.publish(carried), 0)
            self._sent[coming] = carried
            coming.add_done_callback(self._arrive)

    def _arrive(self, coming: asyncio.Future[Buffer]) -> None:
        self._arrived.append((coming, self._sent.pop(coming)))
        self._wake.set()

    async def _turn(self) -> None:
        """Everything that came since the last turn goes out as one batch, as far as one turn goes."""
        self._batch, rows = self._delivery.batch(), 0
        try:
            while self._arrived and rows < ROWS_PER_TURN:
                coming, carried = self._arrived.popleft()
                rows += await self._take(bytes(coming.result()), carried)
                self._fill()
        finally:
            self._batch.deliver()
        await asyncio.sleep(0)

    async def _pause(self) -> None:
        """Let others have a turn; what is gathered goes out first, in order."""
        self._batch.deliver()
        await asyncio.sleep(0)
        self._batch = self._delivery.batch()

    # --- answers -----------------------------------------------------------------------------------------------------

    async def _take(self, body: bytes, carried: Sequence[tuple[int, int]]) -> int:
        """One answer to a Publish; returns how many changes it brought."""
        try:
            fault, results, message = self._read(body)
        except Garbled as garbled:
            self._batch.reject("Publish", "decode", str(garbled), body)
            self._count_fault("what the server publishes cannot be read")
            return 0
        if message is None:
            self._refused(fault)
            return 0
        self._faults = 0
        self._check_acknowledged(results, carried)
        subscription = await self._subscription(message.subscription)
        if subscription is None:
            return 0
        subscription.heard_at = asyncio.get_running_loop().time()
        taken = subscription.window.take(message.sequence, keep_alive=not message.parts)
        if message.parts:
            self._acknowledge.append((subscription.id, message.sequence))
        if taken.repeated:
            return 0
        if taken.missing:
            await self._recover(subscription, taken)
        return await self._hand_over(message)

    def _read(self, body: bytes) -> tuple[int, Sequence[int], _Message | None]:
        """(status code of the service, results of the acknowledgements, the message unless the service failed)."""
        try:
            answer = self._answers.decode(body)
        except Strange:
            return _by_library(body)
        fault = answer.head[binary.RESULT]
        if answer.head[binary.SERVICE] != binary.PUBLISH or fault >> 31:
            return fault, (), None
        return fault, answer.acknowledged(), _message(answer)

    async def _subscription(self, identity: int) -> Subscription | None:
        """The subscription of that id; one that is none of ours is taken from the server."""
        known = self._monitored.subscriptions
        # The answer that brings the id of a new subscription may be read after the first message of it.
        if identity not in known:
            async with self._monitored.creating:
                pass
        if identity not in known and self._first(f"stranger {identity}"):
            log.info("%s: an abandoned subscription %d is deleted", self._delivery.device_id, identity)
            with contextlib.suppress(ua.UaStatusCodeError):
                await self._monitor.delete(self._channel, [identity])
        return known.get(identity)

    async def _recover(self, subscription: Subscription, taken: Taken) -> None:
        """Ask for missing messages again, in order (Part 4, 5.13.6); what the server no longer has is lost."""
        self._batch.deliver()
        lost = taken.lost
        for sequence in taken.missing:
            wish = messages.republish(subscription.id, sequence)
            body = await self._channel.exchange(messages.REPUBLISH, wish)
            try:
                answer = self._again.decode(body)
            except (Strange, Garbled):
                lost += 1  # too rare to be worth a second decoder
                continue
            fault = answer.head[binary.RESULT]
            if fault == ua.StatusCodes.BadMessageNotAvailable:
                lost += 1
                continue
            if fault == ua.StatusCodes.BadSubscriptionIdInvalid:
                raise Gone(f"the server has dropped subscription {subscription.id}")
            check(fault)
            self._acknowledge.append((subscription.id, sequence))
            await self._hand_over(replace(_message(answer), subscription=subscription.id), again=True)
        if lost:
            self._lose(lost)
            if self._first("lost"):
                log.warning("%s: %d published messages are lost", self._delivery.device_id, lost)

    async def _hand_over(self, message: _Message, again: bool = False) -> int:
        """`again`: it had been meant for a connection, or a session, that is no more."""
        answer = message.answer
        count = len(message.values) if answer is None else len(answer)
        for start in range(0, count, ROWS_PER_TURN):
            if start:
                await self._pause()
            part = slice(start, min(start + ROWS_PER_TURN, count))
            if answer is None:
                self._intake.take_slowly(self._batch, message.values[part])
            else:
                self._intake.take(self._batch, answer, answer.handle[part].view(np.int32), part)
        if message.overflows:
            self._lose(message.overflows)
            if self._first("overflow"):
                log.warning("%s: the server loses changes between two publishes; raise queue_size, or lower publishing_ms",
                            self._delivery.device_id)  # fmt: skip
        # A message to the session that we have taken over from may say that we have.
        ours = again and message.status == ua.StatusCodes.GoodSubscriptionTransferred
        if message.status != binary.NONE and not ours:
            raise Gone(f"the server ended subscription {message.subscription}: {status_name(message.status)}")
        return count

    # --- faults ------------------------------------------------------------------------------------------------------

    def _refused(self, fault: int) -> None:
        """The server did not like a Publish."""
        if fault in SESSION_GONE or fault in _SUBSCRIPTIONS_GONE:
            raise Gone(f"the server has dropped our subscriptions: {status_name(fault)}")
        if fault == ua.StatusCodes.BadTooManyPublishRequests and self._publishes > 1:
            self._publishes = max(1, len(self._sent) + len(self._arrived))
            log.info("%s: the server keeps %d Publish requests, not more", self._delivery.device_id, self._publishes)
            return
        self._count_fault(f"the server refuses to publish: {status_name(fault)}")

    def _count_fault(self, why: str) -> None:
        self._faults += 1
        if self._faults >= FAULTS_MAX:
            raise Gone(why)

    def _check_acknowledged(self, results: Sequence[int], carried: Sequence[tuple[int, int]]) -> None:
        """A message that the server no longer keeps needs no acknowledgement; a subscription that it does not know does."""
        for (identity, _), result in zip(carried, results, strict=False):
            if result == ua.StatusCodes.BadSubscriptionIdInvalid and identity in self._monitored.subscriptions:
                raise Gone(f"the server has dropped subscription {identity}")

    def _first(self, what: str) -> bool:
        """Whether this is the first of its kind in this session; at most TOLD_MAX kinds."""
        if what in self._told or len(self._told) >= TOLD_MAX:
            return False
        self._told.add(what)
        return True


def _message(answer: Answer) -> _Message:
    cells = answer.head
    return _Message(
        cells[binary.SUBSCRIPTION], cells[binary.SEQUENCE], cells[binary.PARTS], cells[binary.STATUS],
        cells[binary.OVERFLOWS], answer,
    )  # fmt: skip


def _by_library(body: bytes) -> tuple[int, Sequence[int], _Message | None]:
    """As Pump._read, for a message that the compiled decoder leaves alone."""
    if body[2:4] == binary.SERVICE_FAULT.to_bytes(2, "little"):
        return by_library(ua.ServiceFault, body).ResponseHeader.ServiceResult.value, (), None
    found = by_library(ua.PublishResponse, body)
    fault, told = found.ResponseHeader.ServiceResult.value, found.Parameters
    parts = told.NotificationMessage.NotificationData or ()
    items = [item for part in parts for item in getattr(part, "MonitoredItems", None) or ()]
    ended = [part.Status.value for part in parts if isinstance(part, ua.StatusChangeNotification)]
    codes = [0 if item.Value.StatusCode is None else item.Value.StatusCode.value for item in items]
    message = _Message(
        told.SubscriptionId, told.NotificationMessage.SequenceNumber, len(parts), ended[-1] if ended else binary.NONE,
        sum(map(binary.overflowed, codes)), None, [(item.ClientHandle, item.Value) for item in items],
    )  # fmt: skip
    return fault, [status.value for status in told.Results or ()], message
