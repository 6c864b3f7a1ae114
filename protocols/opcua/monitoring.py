"""Subscriptions and their items: created in batches that the server takes, taken over, asked for again when missing.

Must not know what the values mean or how a session is opened.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer

from protocols.delivery import Delivery
from protocols.opcua import binary, codec, messages
from protocols.opcua.channel import TOO_MUCH, Channel, Limits, check
from protocols.opcua.failures import status_name
from protocols.opcua.intake import Intake
from protocols.opcua.messages import Answer, Answers
from protocols.opcua.patience import within
from protocols.opcua.window import Window
from twin.points import Selection

log = logging.getLogger("twinloop.link")

UNDER_WAY_MAX = 2  # requests for items at once: one is answered while the next travels; more only keep others waiting
CREATE_S = 20.0  # small controllers take seconds for a thousand items; the heartbeat watches the connection meanwhile
SUBSCRIPTIONS_MAX = 256  # a server that limits items per subscription gets more of them, but not without end
NOTIFICATIONS_MAX = 10_000  # changes of one message: some 300 kB
KEEP_ALIVE_S = 2.0  # how often the server must say that a subscription without changes still lives
SUBSCRIPTION_LIFE_S = 60.0  # the server frees what a lost link left behind after this
TOLD_AT_ONCE = 100  # refused nodes told before others get a turn

_FULL = ua.StatusCodes.BadTooManyMonitoredItems


@dataclass(frozen=True, slots=True)
class Rates:
    """How often the server publishes and looks for changes, and how many of one node it keeps in between."""

    publishing_ms: float
    sampling_ms: float
    queue_size: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        publishing_ms, sampling_ms = float(settings["publishing_ms"]), settings["sampling_ms"]
        asked_ms = publishing_ms if sampling_ms is None else float(sampling_ms)
        return cls(publishing_ms, asked_ms, int(settings["queue_size"]))


@dataclass(slots=True)
class Subscription:
    """One subscription while it lives."""

    id: int
    window: Window
    heard_at: float
    items: int = 0


@dataclass(slots=True)
class Monitored:
    """What the server watches for us; outlives a connection where the server lets it.

    Attributes:
        missing: row -> status code of nodes that the server refused.
        untold: (row, status code) of those of them that `Monitor.tell` has not told yet.
        silence_max_s: a subscription that says nothing for longer is lost.
        creating: held while a subscription is asked for.
        begun: set once there is a subscription.
        whole: every point has been asked for.
    """

    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    missing: dict[int, int] = field(default_factory=dict)
    untold: list[tuple[int, int]] = field(default_factory=list)
    silence_max_s: float = 0.0
    creating: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    whole: bool = False


@dataclass(slots=True)
class _Work:
    """Rows on their way into a subscription.

    Attributes:
        rows: not asked for yet.
        left: those that the subscription was too full for.
        refused: (row, status code) of those that the server has not got.
        full: whether the subscription takes no more.
    """

    rows: deque[int]
    left: list[int] = field(default_factory=list)
    refused: list[tuple[int, int]] = field(default_factory=list)
    full: bool = False


class Monitor:
    """Sees to it that the server watches every point of a link."""

    def __init__(self, points: Selection, delivery: Delivery, intake: Intake, rates: Rates) -> None:
        self._points = points
        self._delivery = delivery
        self._intake = intake
        self._rates = rates
        self._reported: set[int] = set()
        self._queue_told = False

    async def create(self, channel: Channel, limits: Limits, made: Monitored) -> None:
        """Watch everything, in as many subscriptions as it takes; one refused node never stops the others."""
        await self._spread(channel, limits, made, deque(range(len(self._points))))
        made.whole = True
        await self.tell(made)

    async def retry(self, channel: Channel, limits: Limits, made: Monitored) -> None:
        """Ask again for what was refused."""
        again, made.missing = deque(made.missing), {}
        await self._spread(channel, limits, made, again)
        await self.tell(made)

    async def transfer(self, channel: Channel, made: Monitored) -> bool:
        """Take the subscriptions of a former session over (Part 4, 5.13.7); False: at least one is gone."""
        ids = list(made.subscriptions)
        request = ua.TransferSubscriptionsRequest()
        request.Parameters.SubscriptionIds = ids
        request.Parameters.SendInitialValues = False
        try:
            found = await channel.call(request, ua.TransferSubscriptionsResponse)
        except ua.UaStatusCodeError:
            return False
        good = [one for one, result in zip(ids, found.Parameters.Results, strict=False) if result.StatusCode.is_good()]
        if len(good) == len(ids):
            return True
        await self.delete(channel, good)
        return False

    async def delete(self, channel: Channel, ids: Sequence[int]) -> None:
        """Rid the server of subscriptions that nobody listens to."""
        if ids:
            request = ua.DeleteSubscriptionsRequest()
            request.Parameters.SubscriptionIds = list(ids)
            await channel.call(request, ua.DeleteSubscriptionsResponse)

    # --- subscriptions -----------------------------------------------------------------------------------------------

    async def _spread(self, channel: Channel, limits: Limits, made: Monitored, rows: deque[int]) -> None:
        """Find a place for every row."""
        work = _Work(rows)
        room = [one for one in made.subscriptions.values() if one.items < limits.items_per_subscription]
        while work.rows and (room or len(made.subscriptions) < SUBSCRIPTIONS_MAX):
            fresh = not room
            subscription = await self._subscribe(channel, made) if fresh else room.pop()
            if subscription is None:
                break
            before = len(work.rows)
            await self._fill(channel, limits, subscription, work)
            if fresh and len(work.rows) == before:
                break  # not even an empty subscription takes them
        made.untold += work.refused + [(row, int(_FULL)) for row in work.rows]

    async def _subscribe(self, channel: Channel, made: Monitored) -> Subscription | None:
        """One more; None where the server has no more for us."""
        keep_alive = max(1, round(KEEP_ALIVE_S * 1000 / self._rates.publishing_ms))
        request = ua.CreateSubscriptionRequest()
        wish = request.Parameters
        wish.RequestedPublishingInterval = self._rates.publishing_ms
        wish.RequestedMaxKeepAliveCount = keep_alive
        # Part 4, 5.13.2: the lifetime count is at least three times the keep-alive count.
        wish.RequestedLifetimeCount = max(
            3 * keep_alive, math.ceil(SUBSCRIPTION_LIFE_S * 1000 / self._rates.publishing_ms)
        )
        wish.MaxNotificationsPerPublish = NOTIFICATIONS_MAX
        wish.PublishingEnabled = True
        async with made.creating:
            try:
                answer = await channel.call(request, ua.CreateSubscriptionResponse)
            except ua.UaStatusCodeError as fault:
                if fault.code == ua.StatusCodes.BadTooManySubscriptions and made.subscriptions:
                    return None
                raise
            found = answer.Parameters
            subscription = Subscription(int(found.SubscriptionId), Window(), asyncio.get_running_loop().time())
            made.subscriptions[subscription.id] = subscription
        granted_s = float(found.RevisedPublishingInterval) / 1000 * max(1, int(found.RevisedMaxKeepAliveCount))
        made.silence_max_s = max(made.silence_max_s, 2 * granted_s + channel.timeout_s)
        made.begun.set()
        return subscription

    # --- items -------------------------------------------------------------------------------------------------------

    async def _fill(self, channel: Channel, limits: Limits, subscription: Subscription, work: _Work) -> None:
        """Create items until every row has one, or the subscription takes no more."""
        answers, work.full = Answers(), False
        under_way = deque[tuple[list[int], asyncio.Future[Buffer]]]()
        try:
            while under_way or (work.rows and not work.full):
                while work.rows and not work.full and len(under_way) < UNDER_WAY_MAX:
                    part = self._send(channel, limits, subscription, work.rows, under_way)
                    work.full = not part
                    await asyncio.sleep(0)
                if under_way:
                    part, coming = under_way.popleft()
                    async with within(max(CREATE_S, channel.timeout_s)):
                        body = bytes(await coming)
                    self._settle(answers.decode(body), part, limits, subscription, work)
        finally:
            for _, coming in under_way:
                coming.cancel()
        work.rows.extendleft(reversed(work.left))
        work.left.clear()

    def _send(
        self,
        channel: Channel,
        limits: Limits,
        subscription: Subscription,
        rows: deque[int],
        under_way: deque[tuple[list[int], asyncio.Future[Buffer]]],
    ) -> list[int]:
        """Ask for as many as one request may carry; none when the subscription has no room."""
        count = min(limits.items, limits.items_per_subscription - subscription.items, len(rows))
        part = [rows.popleft() for _ in range(count)]
        items = [(row, codec.node_id(a)) for row, a in zip(part, self._addresses(part), strict=True)]
        while len(items) > 1 and messages.items_bytes(items) > channel.request_max:
            half = len(items) // 2
            rows.extendleft(reversed(part[half:]))
            del items[half:], part[half:]
        if part:
            wish = messages.create_items(subscription.id, items, self._rates.sampling_ms, self._rates.queue_size)
            under_way.append((part, channel.send(messages.CREATE_ITEMS, wish, channel.timeout_s)))
            subscription.items += len(part)
        return part

    def _settle(self, answer: Answer, part: list[int], limits: Limits, subscription: Subscription, work: _Work) -> None:
        """See what became of each item of a request."""
        fault = answer.head[binary.RESULT]
        codes = answer.quality.tolist()[: len(part)]
        subscription.items -= len(part)
        if fault in TOO_MUCH and len(part) > 1:
            limits.items = min(limits.items, len(part) // 2)
        elif fault in TOO_MUCH or fault == _FULL:
            codes = [fault] * len(part)
        else:
            check(fault)
            if 0 < len(codes) < len(part):  # some servers silently answer fewer than were asked for (node-opcua#281)
                limits.items = min(limits.items, len(codes))
            elif not codes:
                codes = [int(_FULL)] * len(part)
        work.rows.extendleft(reversed(part[len(codes) :]))
        for row, code in zip(part, codes, strict=False):
            if code == _FULL:
                work.full = True
                work.left.append(row)
            elif code >> 31:
                work.refused.append((row, code))
            else:
                subscription.items += 1
                self._healed(row)
        if fault == 0 and len(answer) and int(answer.stamp.min()) < self._rates.queue_size and not self._queue_told:
            self._queue_told = True
            log.warning(
                "%s keeps fewer changes than queue_size = %d asks for", self._delivery.device_id, self._rates.queue_size
            )

    def _addresses(self, rows: Sequence[int]) -> list[str]:
        return self._points.take(np.array(rows, np.int32)).words("address")

    def _healed(self, row: int) -> None:
        if row in self._reported:
            self._reported.discard(row)
            log.info("%s: the server has %s now", self._delivery.device_id, self._intake.point(row).address)

    async def tell(self, made: Monitored) -> None:
        """One reading with the server's status for every node that it refused, and one dead letter until it heals."""
        told, made.untold = made.untold, []
        made.missing.update(told)
        for start in range(0, len(told), TOLD_AT_ONCE):
            batch = self._delivery.batch()
            for row, code in told[start : start + TOLD_AT_ONCE]:
                point = self._intake.point(row)
                batch.add_quality(point, code)
                if row not in self._reported:
                    self._reported.add(row)
                    detail = f"{point.name}: the server answers {status_name(code)} for {point.address}"
                    batch.reject(point.address, "unknown_address", detail, b"", point.name)
            batch.deliver()
            await asyncio.sleep(0)
