"""One connection to a broker: paho in its own thread, everything handed over to the event loop; must not know points."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from protocols.healing import Broken
from protocols.mqtt.codec import parse_endpoint
from protocols.mqtt.messages import Message

HANDOVER_MAX = 20_000  # messages between paho's thread and the loop: about one second of what paho can receive
TURN_MAX = 200  # messages taken in one turn of the loop: about 5 ms of decoding
SUBSCRIBE_MAX = 100  # topics in one SUBSCRIBE: far below the packet limit of every broker
JOIN_S = 3.0  # paho's thread looks up once a second

_VERSIONS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}


class HandOver:
    """From a foreign thread to the loop, once started. Bounded: what does not fit is dropped and counted, never
    waited for."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, take: Callable[[Sequence[Message]], None], limit: int = HANDOVER_MAX
    ) -> None:
        self.dropped = 0
        self._loop = loop
        self._take = take
        self._limit = limit
        self._waiting: deque[Message] = deque()
        self._lock = threading.Lock()
        self._called = True  # as if a drain were on its way: what comes before `start` waits

    def start(self) -> None:
        self._loop.call_soon(self._drain)

    def put(self, message: Message) -> None:
        """From the foreign thread."""
        with self._lock:
            if len(self._waiting) >= self._limit:
                self.dropped += 1
                return
            self._waiting.append(message)
            if self._called:
                return
            self._called = True
        call_loop(self._loop, self._drain)

    def _drain(self) -> None:
        with self._lock:
            count = min(TURN_MAX, len(self._waiting))
            messages = [self._waiting.popleft() for _ in range(count)]
            self._called = bool(self._waiting)
            again = self._called
        if again:
            self._loop.call_soon(self._drain)
        if messages:
            self._take(messages)


def call_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Call on the loop's thread, unless the loop has ended meanwhile: then nobody is left to be told."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise


class PahoSession:
    """A connection with its subscriptions. Made on the loop; used once: open, `hand_over.start`, close."""

    def __init__(
        self,
        endpoint: str,
        version: str,
        client_id: str,
        take: Callable[[Sequence[Message]], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls`: for `mqtts://`; without it the system's authorities are believed."""
        loop = asyncio.get_running_loop()
        self.hand_over = HandOver(loop, take)
        self.lost: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._endpoint = parse_endpoint(endpoint)
        self._topics: list[list[tuple[str, int]]] = []
        self._asked: dict[int, list[tuple[str, int]]] = {}
        self._granted = 0
        self._refused: list[str] = []
        self._ready: asyncio.Future[list[str]] = loop.create_future()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=_VERSIONS[version], reconnect_on_failure=False
        )
        if self._endpoint.user is not None:
            self._client.username_pw_set(self._endpoint.user, self._endpoint.password)
        if self._endpoint.secure:
            self._client.tls_set_context(tls)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    async def open(self, topics: Sequence[str], qos: int, keepalive_s: int, timeout_s: float) -> list[str]:
        """Connect and subscribe; returns the topics that the broker refused.

        Raises:
            Broken: no connection, or the broker does not take us.
        """
        wanted = [(topic, qos) for topic in topics]
        self._topics = [wanted[i : i + SUBSCRIBE_MAX] for i in range(0, len(wanted), SUBSCRIBE_MAX)]
        self._client.connect_timeout = timeout_s
        try:
            async with asyncio.timeout(timeout_s + 1.0):  # paho's own limit comes first, with the better reason
                await asyncio.to_thread(self._client.connect, self._endpoint.host, self._endpoint.port, keepalive_s)
                self._client.loop_start()
                await asyncio.wait((self._ready, self.lost), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise Broken("the broker does not answer in time") from None
        except (OSError, ValueError) as failure:  # ValueError: a host that is no name at all
            raise Broken(str(failure) or type(failure).__name__) from failure
        if not self._ready.done():
            raise Broken(self.lost.result())
        return self._ready.result()

    async def close(self) -> None:
        """End the connection and paho's thread."""
        self._client.disconnect()
        try:
            async with asyncio.timeout(JOIN_S):
                await asyncio.to_thread(self._client.loop_stop)
        except TimeoutError:
            pass  # a thread that hangs in the system's resolver; it is a daemon, and has nobody left to call

    def send(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        """Publish at QoS 0; False when there is no connection."""
        return self._client.publish(topic, payload, 0, retain).rc is MQTTErrorCode.MQTT_ERR_SUCCESS

    # What follows is called by paho's thread; everything it learns goes to the loop.

    def _on_connect(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            call_loop(self._loop, self._lose, f"the broker refuses: {reason}")
            return
        for batch in self._topics:
            _, mid = client.subscribe(batch)
            call_loop(self._loop, self._ask, mid, batch)
        if not self._topics:
            call_loop(self._loop, self._check_ready)

    def _on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        call_loop(self._loop, self._lose, f"the connection to the broker ended: {reason}")

    def _on_subscribe(self, client: paho.Client, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        call_loop(self._loop, self._grant, mid, [bool(reason.is_failure) for reason in reasons])

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        self.hand_over.put(Message(message._topic, bytes(message.payload), bool(message.retain)))

    # And these run on the loop.

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    def _ask(self, mid: int | None, batch: list[tuple[str, int]]) -> None:
        if mid is not None:
            self._asked[mid] = batch

    def _grant(self, mid: int, failures: Sequence[bool]) -> None:
        for (topic, _), failed in zip(self._asked.pop(mid, []), failures, strict=False):
            if failed:
                self._refused.append(topic)
        self._granted += 1
        self._check_ready()

    def _check_ready(self) -> None:
        if self._granted >= len(self._topics) and not self._ready.done():
            self._ready.set_result(self._refused)
