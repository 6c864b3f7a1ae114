"""Sessions of an OPC UA server that shows the twin: who signs in, and what each service may do for whom.

Closes what asyncua leaves open: it signs in without waiting for anything, answers one request of a connection after the
other, gives tokens that can be guessed, and lets a session go on for whoever names it. Must not know nodes or the twin.
"""

# mypy: disallow-subclassing-any=False
# asyncua has no hooks where these classes reach in, and no types.

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Protocol, TypeVar

from asyncua import Server, ua
from asyncua.common.utils import ServiceError, create_nonce
from asyncua.crypto.permission_rules import ADMIN_TYPES, PermissionRuleset, User, UserRole
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

from protocols.opcua.faults import status_of
from protocols.opcua.standard import LightServer
from protocols.served import Guest, TwinView
from twin.errors import TwinloopError
from twin.role import Role

# Services that wait for something: others of the same connection must not wait behind them.
_WAITING = frozenset(
    ua.NodeId(number)
    for number in (
        ua.ObjectIds.WriteRequest_Encoding_DefaultBinary,
        ua.ObjectIds.CallRequest_Encoding_DefaultBinary,
        ua.ObjectIds.HistoryReadRequest_Encoding_DefaultBinary,
    )
)
_ACTIVATE = ua.NodeId(ua.ObjectIds.ActivateSessionRequest_Encoding_DefaultBinary)
WAITING_MAX = 20  # such requests of one connection at once
OPERATIONS_MAX = 100  # writes, calls or histories of one request
SUBSCRIPTIONS_MAX = 200
QUEUE_MAX = 1_000  # values of one monitored item that wait for a slow client
T = TypeVar("T")
log = logging.getLogger("twinloop.northbound")


class Services(Protocol):
    """What the sessions pass on; one operation of a request each."""

    async def write(self, item: Any, guest: Guest) -> int:
        """A WriteValue -> status code."""

    async def call(self, request: Any, guest: Guest) -> Any:
        """A CallMethodRequest -> CallMethodResult."""

    async def history(self, details: Any, item: Any) -> Any:
        """(HistoryReadDetails, HistoryReadValueId) -> HistoryReadResult."""

    def seen(self, item: Any, value: Any, guest: Guest) -> Any:
        """A ReadValueId and its DataValue -> what this guest may see of it."""


class Door:
    """Decides who comes in."""

    def __init__(self, view: TwinView, anonymous: str) -> None:
        self._view, self._anonymous = view, anonymous

    async def guest(self, server: InternalServer, session: GuestSession, token: Any, peer: str, sealed: bool) -> Guest:
        """Who the token stands for.

        Args:
            sealed: the channel encrypts.

        Raises:
            ServiceError: nobody.
        """
        if isinstance(token, ua.UserNameIdentityToken):
            if not (sealed or token.EncryptionAlgorithm or _is_loopback(peer)):
                log.warning("a password of %s came in the clear from %s; it is not taken", token.UserName, peer)
                raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)
            name, password = _decrypted(server, session, token)
            try:
                role = await self._view.sign_in(name, password, peer)
            except TwinloopError as error:
                log.warning("%s from %s may not sign in: %s", name, peer, error.message)
                raise ServiceError(status_of(error)) from None
            return Guest(f"opcua:{name}", role, name)
        nobody = isinstance(token, ua.AnonymousIdentityToken) or (
            isinstance(token, ua.ExtensionObject) and token.TypeId == ua.NodeId(ua.ObjectIds.Null)
        )
        if nobody and self._anonymous == "viewer":
            return Guest("opcua:anonymous", Role.VIEWER)
        self._view.figures.refused += 1
        raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)


def _decrypted(server: InternalServer, session: GuestSession, token: Any) -> tuple[str, str]:
    try:
        name, password = server.decrypt_user_token(session, token)
    except (ValueError, IndexError, AttributeError, TypeError) as error:  # what asyncua makes of a garbled token
        raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid) from error
    return str(name), str(password)


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer).is_loopback
    except ValueError:
        return False


class GuestSession(InternalSession):
    """A session of somebody from outside."""

    def __init__(self, services: Services, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._services = services
        self.guest: Guest | None = None
        # asyncua counts its tokens up: whoever guesses one could go on with another's session.
        self.iserver.unregister_external_session(self)
        self.auth_token = ua.NodeId(create_nonce(32), 0, ua.NodeIdType.ByteString)
        self.iserver.register_external_session(self)

    def let_in(self, guest: Guest) -> None:
        """
        Raises:
            ServiceError: the session belongs to somebody else.
        """
        if self.guest is not None and self.guest.author != guest.author:
            raise ServiceError(ua.StatusCodes.BadIdentityChangeNotSupported)
        self.guest = guest

    @property
    def _who(self) -> Guest:
        if self.guest is None:
            raise ServiceError(ua.StatusCodes.BadSessionNotActivated)
        return self.guest

    async def read(self, params: Any) -> list[Any]:
        values = await super().read(params)
        guest = self._who
        return [self._services.seen(i, v, guest) for i, v in zip(params.NodesToRead, values, strict=True)]

    async def write(self, params: Any) -> list[Any]:
        guest = self._who
        return [ua.StatusCode(await self._services.write(i, guest)) for i in _few(params.NodesToWrite)]

    async def call(self, params: Any) -> list[Any]:
        guest = self._who
        return [await self._services.call(request, guest) for request in _few(params)]

    async def history_read(self, params: Any) -> list[Any]:
        self._who  # noqa: B018 - whoever is not signed in reads nothing
        nodes = _few(params.NodesToRead)
        if params.ReleaseContinuationPoints:  # they say where to go on; nothing is held for them
            return [ua.HistoryReadResult() for _ in nodes]
        return [await self._services.history(params.HistoryReadDetails, node) for node in nodes]

    # --- subscriptions: asyncua lets any session do anything with anybody's --------------------------------------

    def _own(self, subscription: int) -> Any:
        """
        Raises:
            ServiceError: it is not one of this session's.
        """
        found = self.subscription_service.subscriptions.get(int(subscription))
        if found is None or found.session_id != self.session_id:
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)
        return found

    async def create_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return await super().set_monitoring_mode(params)

    def modify_subscription(self, params: Any) -> Any:
        self._own(params.SubscriptionId)
        return super().modify_subscription(params)

    async def delete_subscriptions(self, ids: Sequence[int]) -> Any:
        theirs = self.subscription_service.subscriptions
        mine = [i for i in ids if i in theirs and theirs[i].session_id == self.session_id]
        done = dict(zip(mine, await super().delete_subscriptions(mine), strict=True))
        return [done.get(i) or ua.StatusCode(ua.StatusCodes.BadSubscriptionIdInvalid) for i in ids]

    def republish(self, params: Any) -> Any:
        """asyncua answers with an empty message where there is none: clients then ask for ever (Part 4, 5.14.6)."""
        kept = self._own(params.SubscriptionId)._not_acknowledged_results.get(params.RetransmitSequenceNumber)
        if kept is None:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        return kept.NotificationMessage

    async def transfer_subscriptions(self, params: Any, callback: Any) -> Any:
        results = []
        for identity in params.SubscriptionIds:
            found = self.subscription_service.subscriptions.get(int(identity))
            owner = None if found is None else self._session_of(found)
            if owner is None or owner.guest is None or owner.guest.author != self._who.author:
                results.append(ua.TransferResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadSubscriptionIdInvalid)))
                continue
            params.SubscriptionIds = [identity]
            results += await super().transfer_subscriptions(params, callback)
            # What the client asks to be published from now on comes over the new connection.
            found.pub_request_callback = callback.__self__.get_publish_request
        return results

    def _session_of(self, subscription: Any) -> GuestSession | None:
        return next((s for s in self.iserver.guests if s.session_id == subscription.session_id), None)

    async def history_update(self, params: Any) -> list[Any]:
        return [
            ua.HistoryUpdateResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadHistoryOperationUnsupported))
            for _ in params.HistoryUpdateDetails
        ]


def _few(items: Sequence[T] | None) -> Sequence[T]:
    if len(items or ()) > OPERATIONS_MAX:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
    return items or ()


class _Processor(UaProcessor):
    """Serves one connection. Sign-in waits for the password's check; what waits long runs beside the rest."""

    door: Door

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._beside: set[asyncio.Task[Any]] = set()

    async def process_message(self, seqhdr: Any, body: Any) -> Any:
        kind = nodeid_from_binary(body.copy())
        if kind not in _WAITING or len(self._beside) >= WAITING_MAX:  # beyond it the connection itself waits
            return await super().process_message(seqhdr, body)
        task = asyncio.create_task(super().process_message(seqhdr, body))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return True

    async def _process_message(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        if typeid == _ACTIVATE:
            params = struct_from_binary(ua.ActivateSessionParameters, body.copy())
            session = self.session or self.iserver.lookup_external_session(requesthdr.AuthenticationToken)
            if not isinstance(session, GuestSession):
                raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
            session.admit(self._connection.security_policy.peer_certificate)
            sealed = self._connection.security_policy.Mode == ua.MessageSecurityMode.SignAndEncrypt
            peer = str(self.name[0]) if self.name else ""
            session.let_in(await self.door.guest(self.iserver, session, params.UserIdentityToken, peer, sealed))
        return await super()._process_message(typeid, requesthdr, seqhdr, body)

    async def close(self) -> None:
        for task in self._beside:
            task.cancel()
        await super().close()


class _Connection(OPCUAProtocol):
    """asyncua's own processor is replaced before anything is received."""

    door: Door
    processor: Any

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.processor is not None:
            self.processor = _Processor(self.iserver, transport, self.limits)
            self.processor.door = self.door
            self.processor.set_policies(self.policies)


class _Listener(BinaryServer):
    def __init__(self, door: Door, *args: Any) -> None:
        super().__init__(*args)
        self._door = door

    def _make_protocol(self) -> Any:
        made = _Connection(
            iserver=self.iserver, policies=self._policies, clients=self.clients,
            closing_tasks=self.closing_tasks, limits=self.limits,
        )  # fmt: skip
        made.door = self._door
        return made


class _Guests(LightServer):
    def __init__(self, services: Services, clients: int) -> None:
        self._services = services
        super().__init__(user_manager=_EverybodyIsUser())
        self.max_connections = clients
        self.max_subscriptions = SUBSCRIPTIONS_MAX
        self.max_monitored_item_queue_size = QUEUE_MAX
        # asyncua counts from 78: after a restart the subscription that a client remembers would be somebody's.
        self.subscription_service._sub_id_counter = int.from_bytes(create_nonce(3), "big")

    def create_session(self, name: str, user: Any = None, external: bool = False) -> Any:
        if not external:
            return super().create_session(name, user or User(role=UserRole.Anonymous), external)
        nobody = User(role=UserRole.Anonymous)
        return GuestSession(self._services, self, self.aspace, self.subscription_service, name, nobody, True)

    @property
    def guests(self) -> list[GuestSession]:
        """Who is signed in."""
        found = self._external_sessions.values()
        return [s for s in found if isinstance(s, GuestSession) and s.is_activated()]


class GuestServer(Server):
    """asyncua's server with sessions of ours."""

    def __init__(self, services: Services, door: Door, clients: int) -> None:
        self._door = door
        super().__init__(iserver=_Guests(services, clients))
        self.set_security_policy([ua.SecurityPolicyType.NoSecurity], _Rules())

    async def start(self) -> None:
        """
        Raises:
            OSError: the port is taken.
        """
        await self._setup_server_nodes()
        await self.iserver.start()
        host, port = self._get_bind_socket_info()
        self.bserver = _Listener(self._door, self.iserver, host, port, self.limits)
        self.bserver.set_policies(self._policies)
        try:
            await self.bserver.start()
        except OSError:
            await self.iserver.stop()
            raise


class _EverybodyIsUser:
    """What a user may do is decided by the guest's role, not by asyncua's."""

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        return User(role=UserRole.User, name=username)


class _Rules(PermissionRuleset):
    """asyncua's own leaves out services that any client may use, such as ModifySubscription and Republish."""

    _refused = frozenset(map(ua.NodeId, ADMIN_TYPES))

    def check_validity(self, user: Any, action_type: Any, body: Any) -> bool:
        return action_type not in self._refused
