"""The OPC UA link: one session, its subscriptions, a heartbeat and writes; must not know the point table."""

from __future__ import annotations

import asyncio
import math
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState

from protocols.believe import plain_value, wire_value
from protocols.delivery import Delivery
from protocols.healing import Broken, heal
from protocols.link import Clock, Sink, Verdict, WriteOutcome
from protocols.opcua import codec
from protocols.opcua.security import secure, sign_in
from twin.plant import Device
from twin.points import Point, Selection
from twin.readings import Readings

ITEMS_PER_CALL_MAX = 1000  # when the server states no limit of its own: what Siemens controllers take at once
PUBLISHES_MAX = 8  # publish responses waiting for the loop; beyond it we stop asking, and the server queues
SUBSCRIPTIONS_MAX = 16  # a server that limits items per subscription gets more of them, but not without end
KEEP_ALIVE_S = 2.0  # how often the server must say that a subscription without changes still lives
SUBSCRIPTION_LIFE_S = 60.0  # the server frees what a lost link left behind after this
SESSION_LIFE_MS = 60_000
CHANNEL_LIFE_MS = 3_600_000  # of a security token; it is renewed at three quarters
MISSING_RETRY_S = 30.0  # nodes that the server did not know are asked for again this often
REQUEST_S = 60.0  # asyncua's own limit; every request here has a shorter one of its own
CLOSE_S = 1.0  # how long a farewell to the server may take

# What asyncua lets through when a server breaks off or talks nonsense: its own errors, the transport's, and whatever
# its decoder met on the way.
FAILURES = (
    ua.UaError,
    OSError,
    TimeoutError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    struct.error,
)


@dataclass(slots=True)
class _Session:
    """One connection while it lives."""

    client: Client
    published: asyncio.Queue[Any] = field(default_factory=lambda: asyncio.Queue(PUBLISHES_MAX))
    subscriptions: dict[int, float] = field(default_factory=dict)
    silence_max_s: float = 0.0
    items_per_call: int = ITEMS_PER_CALL_MAX
    missing: list[int] = field(default_factory=list)
    untold: list[tuple[int, Any]] = field(default_factory=list)


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
        self._publishing_ms = float(device.settings["publishing_ms"])
        self._queue_size = int(device.settings["queue_size"])
        self._heartbeat_s = float(device.settings["heartbeat_s"])
        self._timeout_s = float(device.settings["timeout_s"])
        self._client: Client | None = None
        self._types: dict[int, Any] = {}
        self._reported: set[int] = set()

    async def run(self) -> None:
        await heal(self._device.id, self._sink, self._chance, self._live)

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        client = self._client
        if client is None or client.state is UaClientState.DISCONNECTED:
            return Verdict(WriteOutcome.NOT_SENT, "the link is down")
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                kind = await self._type_of(client, point)
        except FAILURES as failure:
            return Verdict(WriteOutcome.NOT_SENT, f"the node's type could not be read: {_words(failure)}")
        try:
            said = plain_value(point, value)
            is_text = isinstance(said, str) and kind is ua.VariantType.String
            wire = said if is_text else codec.variant_value(kind.name, wire_value(point, value))
        except ValueError as misfit:
            return Verdict(WriteOutcome.REFUSED, str(misfit))
        return await self._send(client, point, ua.Variant(wire, kind), deadline)

    async def read(self, point: Point, timeout_s: float) -> Readings | None:
        client = self._client
        if client is None:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                (data_value,) = await client.uaclient.session.read(_read_request([point.address]))
        except FAILURES:
            return None
        batch = self._delivery.batch()
        self._collect(batch.add, point, data_value)
        return batch.deliver()

    async def _send(self, client: Client, point: Point, variant: Any, deadline: float) -> Verdict:
        request = ua.WriteParameters()
        item = ua.WriteValue()
        item.NodeId = ua.NodeId.from_string(point.address)
        item.AttributeId = ua.AttributeIds.Value
        item.Value = ua.DataValue(variant)
        request.NodesToWrite = [item]
        try:
            async with asyncio.timeout_at(deadline):
                (status,) = await client.uaclient.session.write(request)
        except ua.UaStatusCodeError as fault:
            return _settled(ua.StatusCode(fault.code).name)
        except FAILURES as failure:
            return Verdict(WriteOutcome.UNKNOWN, f"no answer to the write: {_words(failure)}")
        if status.is_good():
            return Verdict(WriteOutcome.ACCEPTED, status.name)
        return _settled(status.name)

    async def _live(self, online: Callable[[], None]) -> None:
        client = Client(self._device.endpoint, timeout=REQUEST_S)
        client.session_timeout = SESSION_LIFE_MS
        client.secure_channel_timeout = CHANNEL_LIFE_MS
        session = _Session(client)
        try:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await secure(client, self._device, self._pki, self._clock)
                    await _open(client)
                    await sign_in(client, self._device, self._pki, self._clock)
                session.items_per_call = await self._items_per_call(client)
                await self._subscribe_all(session)
            except FAILURES as failure:
                raise Broken(_words(failure)) from failure
            self._client = client
            online()
            self._tell_missing(session)
            await self._watch(session)
        finally:
            self._client = None
            self._types.clear()  # a restarted server may have other types
            await _close(client)

    async def _watch(self, session: _Session) -> None:
        """Deliver and check until something fails."""
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._deliver(session), name=f"{self._device.id} deliver")
                tasks.create_task(self._heartbeat(session), name=f"{self._device.id} heartbeat")
        except* (Broken, *FAILURES) as group:
            failure = group.exceptions[0]
        if failure is not None:
            raise Broken(_words(failure)) from failure

    async def _items_per_call(self, client: Client) -> int:
        node = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
        async with asyncio.timeout(self._timeout_s):
            (answer,) = await client.uaclient.session.read(_read_request([f"i={node}"]))
        limit, _, _ = codec.read_data_value(answer)
        return min(limit, ITEMS_PER_CALL_MAX) if isinstance(limit, int) and limit > 0 else ITEMS_PER_CALL_MAX

    async def _subscribe_all(self, session: _Session) -> None:
        """Monitor every point; one node that the server refuses never stops the others."""
        wanted = list(range(len(self._points)))
        while wanted and len(session.subscriptions) < SUBSCRIPTIONS_MAX:
            subscription = await self._new_subscription(session)
            before = len(wanted)
            wanted = await self._monitor(session, subscription, wanted)
            if len(wanted) == before:
                break  # not even an empty subscription takes them
        for row in wanted:
            session.untold.append((row, ua.StatusCode(ua.StatusCodes.BadTooManyMonitoredItems)))

    async def _new_subscription(self, session: _Session) -> int:
        keep_alive = max(1, round(KEEP_ALIVE_S * 1000 / self._publishing_ms))
        request = ua.CreateSubscriptionParameters()
        request.RequestedPublishingInterval = self._publishing_ms
        request.RequestedMaxKeepAliveCount = keep_alive
        # Part 4, 5.13.2: the lifetime count is at least three times the keep-alive count.
        request.RequestedLifetimeCount = max(
            3 * keep_alive, math.ceil(SUBSCRIPTION_LIFE_S * 1000 / self._publishing_ms)
        )
        request.MaxNotificationsPerPublish = 0
        request.PublishingEnabled = True
        async with asyncio.timeout(self._timeout_s):
            made = await session.client.uaclient.session.create_subscription(request, session.published.put)
        granted_s = float(made.RevisedPublishingInterval) / 1000 * max(1, int(made.RevisedMaxKeepAliveCount))
        session.silence_max_s = max(session.silence_max_s, 2 * granted_s + self._timeout_s)
        session.subscriptions[int(made.SubscriptionId)] = asyncio.get_running_loop().time()
        return int(made.SubscriptionId)

    async def _monitor(self, session: _Session, subscription: int, rows: list[int]) -> list[int]:
        """Create items for the points of the given rows; returns the rows that this subscription is too full for."""
        full: list[int] = []
        for start in range(0, len(rows), session.items_per_call):
            part = rows[start : start + session.items_per_call]
            request = ua.CreateMonitoredItemsParameters()
            request.SubscriptionId = subscription
            request.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.ItemsToCreate = [self._item(row) for row in part]
            async with asyncio.timeout(self._timeout_s):
                results = await session.client.uaclient.session.create_monitored_items(request)
            # Some servers silently answer fewer items than were asked for (node-opcua#281).
            full += part[len(results) :]
            for row, result in zip(part, results, strict=False):
                if result.StatusCode.is_good():
                    self._reported.discard(row)
                elif result.StatusCode.name == "BadTooManyMonitoredItems":
                    full.append(row)
                else:
                    session.missing.append(row)
                    session.untold.append((row, result.StatusCode))
        return full

    def _item(self, row: int) -> Any:
        request = ua.MonitoredItemCreateRequest()
        request.ItemToMonitor.NodeId = ua.NodeId.from_string(self._points[row].address)
        request.ItemToMonitor.AttributeId = ua.AttributeIds.Value
        request.MonitoringMode = ua.MonitoringMode.Reporting
        request.RequestedParameters.ClientHandle = row
        request.RequestedParameters.SamplingInterval = self._publishing_ms
        request.RequestedParameters.QueueSize = self._queue_size
        request.RequestedParameters.DiscardOldest = True
        return request

    def _tell_missing(self, session: _Session) -> None:
        """One reading with the server's status for every node that it refused, and one dead letter, once a link."""
        batch = self._delivery.batch()
        for row, status in session.untold:
            point = self._points[row]
            batch.add_quality(point, int(status.value))
            if row not in self._reported:
                self._reported.add(row)
                detail = f"{point.name}: the server answers {status.name} for {point.address}"
                self._delivery.reject(point.address, "unknown_address", detail, b"", point.name)
        session.untold.clear()
        batch.deliver()

    async def _deliver(self, session: _Session) -> None:
        """Everything that was published since the last turn goes out as one batch."""
        loop = asyncio.get_running_loop()
        while True:
            results = [await session.published.get()]
            while not session.published.empty():
                results.append(session.published.get_nowait())
            batch = self._delivery.batch()
            for result in results:
                session.subscriptions[int(result.SubscriptionId)] = loop.time()
                for notification in result.NotificationMessage.NotificationData or ():
                    if isinstance(notification, ua.StatusChangeNotification):
                        raise Broken(f"the server ended the subscription: {notification.Status.name}")
                    if isinstance(notification, ua.DataChangeNotification):
                        for item in notification.MonitoredItems:
                            self._take(batch.add, item)
            batch.deliver()

    def _take(self, add: Callable[..., None], item: Any) -> None:
        if not 0 <= item.ClientHandle < len(self._points):
            self._delivery.reject(f"handle {item.ClientHandle}", "unknown_address", "no such item was asked for", b"")
            return
        self._collect(add, self._points[item.ClientHandle], item.Value)

    def _collect(self, add: Callable[..., None], point: Point, data_value: Any) -> None:
        value, quality, stamp = codec.read_data_value(data_value)
        if value is not None:
            self._types[point.id] = data_value.Value.VariantType
        add(point, value, quality, stamp, point.address, b"")

    async def _heartbeat(self, session: _Session) -> None:
        """Prove every beat that the server answers and that its subscriptions still publish."""
        loop = asyncio.get_running_loop()
        request = _read_request([f"i={ua.ObjectIds.Server_ServerStatus_CurrentTime}"])
        renewed = retried = loop.time()
        while True:
            asked = loop.time()
            async with asyncio.timeout(self._timeout_s):
                (answer,) = await session.client.uaclient.session.read(request)
            if answer.StatusCode is not None and answer.StatusCode.is_bad():
                raise Broken(f"the server's clock reads {answer.StatusCode.name}")
            self._sink.metric(self._device.id, "lag_ms", (loop.time() - asked) * 1000)
            self._check_silence(session, loop.time())
            self._sink.heard(self._device.id)
            if loop.time() - renewed > 0.75 * session.client.secure_channel_timeout / 1000:  # Part 4, 5.5.2.1
                await self._renew(session.client)
                renewed = loop.time()
            if session.missing and loop.time() - retried > MISSING_RETRY_S:
                again, session.missing = session.missing, []
                session.missing += await self._monitor(session, next(iter(session.subscriptions)), again)
                self._tell_missing(session)
                retried = loop.time()
            await asyncio.sleep(self._heartbeat_s)

    def _check_silence(self, session: _Session, now: float) -> None:
        """A session may live on without its subscriptions: then the server answers, but says nothing any more."""
        # asyncua ends its publish loop without a word when the server knows no subscription of ours.
        publishing: asyncio.Task[None] | None = session.client.uaclient.session._publish_task
        if session.subscriptions and (publishing is None or publishing.done()):
            raise Broken("the server has dropped our subscriptions")
        for subscription, last in session.subscriptions.items():
            if now - last > session.silence_max_s:
                raise Broken(f"subscription {subscription} has not published for {now - last:.0f} s")

    async def _renew(self, client: Client) -> None:
        async with asyncio.timeout(self._timeout_s):
            await client.open_secure_channel(renew=True)
        client.uaclient.revolve_security_token()

    async def _type_of(self, client: Client, point: Point) -> Any:
        """The Variant type that the node itself uses: seen in its values, else that of its DataType attribute."""
        if point.id not in self._types:
            session = client.uaclient.session
            value, kind = await session.read(_read_request([point.address, point.address], ua.AttributeIds.DataType))
            if value.Value is not None and value.Value.VariantType is not ua.VariantType.Null:
                self._types[point.id] = value.Value.VariantType
            elif kind.Value is not None and kind.Value.Value is not None:
                self._types[point.id] = ua.VariantType(kind.Value.Value.Identifier)
            else:
                raise ua.UaStatusCodeError(value.StatusCode.value)
        return self._types[point.id]


def _read_request(addresses: Sequence[str], last_attribute: Any = ua.AttributeIds.Value) -> Any:
    """Read the Value of every node, of the last one the given attribute."""
    request = ua.ReadParameters()
    for place, address in enumerate(addresses, start=1):
        item = ua.ReadValueId()
        item.NodeId = ua.NodeId.from_string(address)
        item.AttributeId = last_attribute if place == len(addresses) else ua.AttributeIds.Value
        request.NodesToRead.append(item)
    request.TimestampsToReturn = ua.TimestampsToReturn.Both
    return request


async def _open(client: Client) -> None:
    """Connect without asyncua's own supervisor: this link watches, and starts over with a new Client."""
    await client.connect_socket()
    await client.send_hello()
    await client.open_secure_channel()
    await client.create_session()


async def _close(client: Client) -> None:
    """Leave nothing behind here; say goodbye to the server as far as it listens."""
    try:
        if client.state is not UaClientState.DISCONNECTED:
            async with asyncio.timeout(CLOSE_S):
                await client.uaclient.close_session(True)
                await client.close_secure_channel()
    except FAILURES:
        pass  # the server is gone, which is why we are here
    finally:
        client.disconnect_socket()
        # asyncua leaves its publish loop asleep when the transport went first.
        loop_task: asyncio.Task[None] | None = client.uaclient.session._publish_task
        if loop_task is not None:
            loop_task.cancel()
            await asyncio.gather(loop_task, return_exceptions=True)


def _settled(status_name: str) -> Verdict:
    if codec.is_unsettled(status_name):
        return Verdict(WriteOutcome.UNKNOWN, status_name)
    return Verdict(WriteOutcome.REFUSED, status_name)


def _words(failure: BaseException) -> str:
    """What went wrong, for an operator."""
    if isinstance(failure, ua.UaStatusCodeError):
        return codec.explained(str(ua.StatusCode(failure.code).name))
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return str(failure) or type(failure).__name__
