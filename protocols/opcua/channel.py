"""One session of asyncua as bytes in and out: opened, resumed, renewed and left; must not know points or subscriptions.

The only file that reaches behind asyncua's own calls: the channel below keeps its security, while requests and answers
in bulk pass it as bytes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asyncua import Client, ua
from asyncua.client.ua_client import UaClientState
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_to_binary, struct_from_binary

from protocols.healing import Broken
from protocols.link import Clock
from protocols.opcua import binary, codec, messages
from protocols.opcua.failures import FAILURES
from protocols.opcua.messages import Answer, Answers
from protocols.opcua.patience import within
from protocols.opcua.security import secure, sign_in
from twin.plant import Device

SESSION_LIFE_S = 60.0  # the server frees what a lost link left behind after this
CHANNEL_LIFE_MS = 3_600_000  # of a security token; it is renewed at three quarters
ASYNCUA_S = 60.0  # asyncua's own limit; every request here has a shorter one of its own
CLOSE_S = 1.0  # how long a farewell to the server may take
ANSWER_MAX = 64 * 2**20  # bytes of one answer: two million changes; a server that says more is cut off
PER_CALL_MAX = 1000  # nodes or items of one request, whatever the server allows: some 10 ms of our own work
CHUNK_HEAD = 1024  # bytes of a chunk that headers and security may take

# What only a new session helps against.
SESSION_GONE = frozenset(
    {
        ua.StatusCodes.BadSessionIdInvalid,
        ua.StatusCodes.BadSessionClosed,
        ua.StatusCodes.BadSessionNotActivated,
    }
)


# The request was too much at once: halves of it may do.
TOO_MUCH = frozenset(
    {
        ua.StatusCodes.BadTooManyOperations,
        ua.StatusCodes.BadRequestTooLarge,
        ua.StatusCodes.BadResponseTooLarge,
        ua.StatusCodes.BadEncodingLimitsExceeded,
        ua.StatusCodes.BadTcpMessageTooLarge,
    }
)
_CAPABILITIES = (
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    ua.ObjectIds.Server_ServerCapabilities_MaxMonitoredItemsPerSubscription,
)


@dataclass(slots=True)
class Limits:
    """What the server takes at once; lowered when it turns out to be less than it said."""

    read: int = PER_CALL_MAX
    items: int = PER_CALL_MAX
    items_per_subscription: int = 2**31


@dataclass(slots=True)
class Kept:
    """What it takes to go on with a session on another connection (Part 4, 5.6.3).

    Attributes:
        wanted: whether to go on with it; else it is only closed, so that nothing is left at the server.
        tried: it has been asked for, which is done once.
    """

    token: Any
    nonce: bytes | None
    policies: Any
    server_certificate: bytes | None
    wanted: bool
    tried: bool = False

    @classmethod
    def of(cls, client: Client, wanted: bool) -> Self:
        token = client.uaclient.session.authentication_token
        return cls(token, client._server_nonce, client._policy_ids, client.security_policy.peer_certificate, wanted)

    def restore(self, client: Client) -> None:
        client.uaclient.session.restore_authentication_token(self.token)
        client._server_nonce = self.nonce
        client._policy_ids = self.policies
        if client.security_policy.peer_certificate is None:
            client.security_policy.peer_certificate = self.server_certificate


class Channel:
    """An activated session. Failures are those of protocols.opcua.failures."""

    def __init__(self, client: Client, clock: Clock, timeout_s: float, request_max: int) -> None:
        """`request_max`: bytes of the longest request that the server takes."""
        self.client = client
        self.timeout_s = timeout_s
        self.request_max = request_max
        self._clock = clock
        self._token = nodeid_to_binary(client.uaclient.session.authentication_token)

    @property
    def is_open(self) -> bool:
        return self.client.state is not UaClientState.DISCONNECTED

    def send(self, encoding: int, parameters: bytes, hint_s: float) -> asyncio.Future[Buffer]:
        """A request on its way; the answer comes as bytes, a fault too. `hint_s` 0: of use whenever it comes."""
        protocol = self._protocol()
        protocol._request_handle += 1
        hint_ms = int(hint_s * 1000)
        body = messages.request(encoding, self._token, self._clock(), protocol._request_handle, hint_ms, parameters)
        protocol.revolve_security_token()
        protocol._request_id += 1
        number = protocol._request_id
        wire = protocol._connection.message_to_binary(
            body, message_type=ua.MessageType.SecureMessage, request_id=number
        )
        answer: asyncio.Future[Buffer] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_look_at)
        protocol._callbackmap[number] = answer
        protocol.transport.write(wire)
        return answer

    async def exchange(self, encoding: int, parameters: bytes, timeout_s: float | None = None) -> bytes:
        """A request and its answer, a fault too."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        async with within(limit_s):
            return bytes(await self.send(encoding, parameters, limit_s))

    async def ask(self, encoding: int, parameters: bytes, answers: Answers, timeout_s: float | None = None) -> Answer:
        """A request and its answer, once the service as a whole is not Bad."""
        answer = answers.decode(await self.exchange(encoding, parameters, timeout_s))
        check(answer.head[binary.RESULT])
        return answer

    async def call(self, request: Any, response: type, timeout_s: float | None = None) -> Any:
        """One of the rare services, in asyncua's words."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        async with within(limit_s):
            body = await self._protocol().send_request(request, limit_s)
        found = struct_from_binary(response, body)
        check(found.ResponseHeader.ServiceResult.value)
        return found

    async def renew(self) -> None:
        """A new security token (Part 4, 5.5.2)."""
        async with within(self.timeout_s):
            await self.client.open_secure_channel(renew=True)
        self.client.uaclient.revolve_security_token()

    def _protocol(self) -> Any:
        protocol = self.client.uaclient.protocol
        if protocol is None or protocol.transport is None:
            raise ConnectionError("the connection is lost")
        return protocol


def _look_at(answer: asyncio.Future[Buffer]) -> None:
    """One connection that breaks fails all its answers; whoever waits for the first of them tells it."""
    if not answer.cancelled():
        answer.exception()


def check(code: int) -> None:
    """
    Raises:
        UaStatusCodeError: the code is Bad.
    """
    if code >> 31:
        raise ua.UaStatusCodeError(code)


async def read_limits(channel: Channel) -> Limits:
    """OperationLimits and its kin (Part 5, 6.3.2); what the server does not say, or says to be 0, is no limit."""
    nodes = [codec.node_id(f"i={node}") for node in _CAPABILITIES]
    found: list[float] = []
    for node in nodes:  # one by one, because one of them is how many may be read at once
        answer = await channel.ask(messages.READ, messages.read([node]), Answers(1))
        value = float(answer.wire[0]) if len(answer) else math.nan
        found.append(value if value > 0 else math.inf)
    read, items, per_subscription = found
    return Limits(int(min(read, PER_CALL_MAX)), int(min(items, PER_CALL_MAX)), int(min(per_subscription, 2**31)))


async def open_channel(
    device: Device, pki: Path | None, clock: Clock, timeout_s: float, life_s: float, kept: Kept | None
) -> tuple[Channel, bool]:
    """Connect; go on with the kept session if the server still knows it, else with a new one. True: it went on.

    Without asyncua's own supervisor: the link watches, and starts over with a new client, which looks up the host anew.

    Args:
        life_s: silence after which the server may forget the session.
        kept: the session to go on with.
    """
    client = Client(device.endpoint, timeout=ASYNCUA_S)
    client.session_timeout = int(max(SESSION_LIFE_S, life_s) * 1000)
    client.secure_channel_timeout = CHANNEL_LIFE_MS
    try:
        async with within(timeout_s):
            await secure(client, device, pki, clock)
            await client.connect_socket()
            await client.send_hello()
            request_max = _limit(client)
            await client.open_secure_channel()
            resumed = kept is not None and await _resume(client, kept, lambda: sign_in(client, device, pki, clock))
            if not resumed:
                await client.create_session()
                await sign_in(client, device, pki, clock)
    except BaseException:
        await close(client, farewell=True)
        raise
    return Channel(client, clock, timeout_s, request_max), resumed


def _limit(client: Client) -> int:
    """Limit what the server may send; returns how long a request it takes (Part 6, 7.1.2.4)."""
    limits = client.uaclient.protocol._connection._limits
    chunk = min(limits.max_send_buffer, limits.max_recv_buffer) - CHUNK_HEAD
    whole, chunks = limits.max_message_size or ANSWER_MAX, limits.max_chunk_count * chunk or ANSWER_MAX
    limits.max_message_size, limits.max_chunk_count = ANSWER_MAX, 0
    return int(min(whole, chunks, ANSWER_MAX))


async def _resume(client: Client, kept: Kept, activate: Callable[[], Awaitable[None]]) -> bool:
    kept.tried = True
    kept.restore(client)
    try:
        await activate()
    except (ua.UaStatusCodeError, Broken):
        client.uaclient.session.reset_authentication_token()
        return False
    if not kept.wanted:
        await client.uaclient.close_session(True)
    return kept.wanted


async def close(client: Client, farewell: bool) -> None:
    """Leave nothing behind here; say goodbye to the server as far as it listens, or leave it the session for later."""
    said = False
    try:
        if farewell and client.state is not UaClientState.DISCONNECTED:
            async with within(CLOSE_S):
                await client.uaclient.close_session(True)
                await client.close_secure_channel()
            said = True
    except FAILURES:
        pass  # the server is gone, which is why we are here
    finally:
        protocol = client.uaclient.protocol
        if not said and protocol is not None and protocol.transport is not None:
            protocol.transport.abort()  # closing would wait for a peer that may never take what is left
        client.disconnect_socket()
