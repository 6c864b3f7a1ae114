"""OPC UA security on both sides: channels, users and whom to believe; must not know points, sessions' use or the plant.

Leans on asyncua for the cryptography. What asyncua leaves open is closed here: it compares no server's certificate with
a trust list, sends passwords as the server likes, and as a server lets any channel in, whatever it offers.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from asyncua import Client, Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509

from protocols import certificate as x
from protocols.healing import Broken
from protocols.link import Clock
from protocols.opcua import codec
from protocols.opcua.patience import within
from protocols.pki import Pki, load_pair
from twin.errors import BadRequest, TwinloopError
from twin.plant import Device

POLICIES: Mapping[str, Any] = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
MODES: Mapping[str, Any] = {
    "None": ua.MessageSecurityMode.None_,
    "Sign": ua.MessageSecurityMode.Sign,
    "SignAndEncrypt": ua.MessageSecurityMode.SignAndEncrypt,
}
T = TypeVar("T")
log = logging.getLogger("twinloop.opcua")
NONE_URI = security_policies.SecurityPolicyNone.URI
TOLD_MAX = 100  # different reasons that are remembered so that each is logged once
DEFAULT_URI = POLICIES[codec.POLICY_DEFAULT].URI
# asyncua's names of the policies, without the mode.
_TYPE_NAMES = {name: name.replace("_", "") for name in POLICIES}
# RSA PKCS #1 1.5 is left out: it lets an attacker who may ask often find the password.
_DECRYPT: Mapping[str, Callable[[Any, bytes], bytes]] = {
    "http://www.w3.org/2001/04/xmlenc#rsa-oaep": uacrypto.decrypt_rsa_oaep,
    "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256": uacrypto.decrypt_rsa_oaep_sha256,
}
_MODE_NAMES = {mode: name for name, mode in MODES.items()}
_POLICY_NAMES = {policy.URI: name for name, policy in POLICIES.items()} | {NONE_URI: "None"}


async def secure(client: Client, device: Device, pki: Path | None, clock: Clock = time.time_ns) -> None:
    """Prepare a client that has not connected yet: policy, our certificate, the server's own one, the user's.

    The server is asked for its endpoints on a channel of its own. Of what it answers, host names and ports are left
    aside: behind address translation they lead nowhere, and the configured address is known to.

    Raises:
        Broken: the server is not to be believed, does not offer what the device asks for, or our own files are not in
            order. The message is for an operator.
        asyncua's errors, OSError, TimeoutError: the server did not answer.
    """
    _hear_refusals(client)
    settings = device.settings
    if settings["user_certificate"]:
        names = (settings["user_certificate"], settings["user_key"])
        pair = await _from_files(lambda: load_pair(*(_folder(pki).inside(name) for name in names)))
        client.user_certificate, client.user_private_key = pair
    if settings["security"] == "None":
        return
    policy, mode = POLICIES[codec.policy_name(settings)], MODES[settings["security"]]
    certificate, key = await _from_files(lambda: _folder(pki).own())
    if x.facts(certificate).days_left(_now(clock)) < 0:
        raise Broken(f"our own certificate has expired; run: twinloop certs renew --pki '{pki}'")
    endpoint = _offered(await _endpoints(client, float(settings["timeout_s"])), mode, policy)
    server = await _from_files(lambda: _believed(_folder(pki), endpoint, client.server_url.hostname, _now(clock)))
    client.application_uri = x.application_uri(certificate)
    client.security_policy = policy(server, certificate, key, mode)
    client.uaclient.set_security(client.security_policy)


async def sign_in(client: Client, device: Device, pki: Path | None, clock: Clock = time.time_ns) -> None:
    """Activate the session that the client has just created, as the user that the device names, or as nobody.

    Raises:
        Broken: the server refuses the user, or the password would travel unprotected; the message is for an operator.
    """
    name, password = codec.credentials(device.endpoint)
    try:
        if client.user_certificate is not None:
            _prefer_protected(client, ua.UserTokenType.Certificate)
            if client.server_policy(ua.UserTokenType.Certificate).SecurityPolicyUri == NONE_URI:
                raise Broken("the server takes no signature of a user certificate here; ask for another security")
            await _know_server(client)
            await client.activate_session(certificate=client.user_certificate)
        else:
            if name and password:
                await _protect_password(client, bool(device.settings["plain_password"]), pki, clock)
            await client.activate_session(name, password)
    except ua.UaStatusCodeError as fault:
        status = str(ua.StatusCode(fault.code).name)
        if status not in codec.USER_REFUSALS:
            raise
        who = f"user {name}" if name else "the user certificate" if client.user_certificate else "users without a name"
        raise Broken(f"the server refuses {who}: {status}; {codec.USER_REFUSALS[status]}") from fault


def _hear_refusals(client: Client) -> None:
    """A server that does not let us in says why before it hangs up (Part 6, 7.1.5); asyncua only tells its log."""
    make = client.uaclient._make_protocol

    def make_protocol() -> Any:
        protocol = make()
        process = protocol._process_received_message

        def hear(message: Any) -> None:
            if isinstance(message, ua.ErrorMessage) and message.Error is not None:
                code = int(message.Error.value)
                if not code >> 31:
                    # node-opcua puts its reason into a chunk of the channel that it refuses, where nobody can read it.
                    opening = not protocol._connection.is_open()
                    code = ua.StatusCodes.BadSecurityChecksFailed if opening else ua.StatusCodes.BadTcpInternalError
                protocol._fail_all_pending(ua.UaStatusCodeError(code))
            process(message)

        protocol._process_received_message = hear
        return protocol

    client.uaclient._make_protocol = make_protocol


async def _endpoints(client: Client, timeout_s: float) -> list[Any]:
    """What the server offers, asked on an open channel (Part 4, 5.5.4)."""
    asking = Client(client.server_url.geturl(), timeout=timeout_s)
    async with within(timeout_s):
        found: list[Any] = await asking.connect_and_get_server_endpoints()
    return found


def _offered(endpoints: Sequence[Any], mode: Any, policy: Any) -> Any:
    """The endpoint with that mode and policy; never a weaker one."""
    binary = [e for e in endpoints if str(e.EndpointUrl or "").startswith("opc.tcp:")]
    for endpoint in binary:
        if endpoint.SecurityMode == mode and endpoint.SecurityPolicyUri == policy.URI and endpoint.ServerCertificate:
            return endpoint
    offers = ", ".join(dict.fromkeys(map(_offer_words, binary))) or "nothing"
    asked = f"{_MODE_NAMES[mode]} with {_POLICY_NAMES[policy.URI]}"
    raise Broken(f"the server does not offer {asked}, but {offers}; change security and policy of the device")


def _offer_words(endpoint: Any) -> str:
    uri = str(endpoint.SecurityPolicyUri)
    mode = _MODE_NAMES.get(endpoint.SecurityMode, "no mode")
    return mode if mode == "None" else f"{mode} with {_POLICY_NAMES.get(uri, uri.rpartition('#')[2])}"


def _believed(pki: Pki, endpoint: Any, host: str | None, now: datetime) -> x509.Certificate:
    """The server's certificate, once it is found to be the one of a trusted server.

    Raises:
        Broken, TwinloopError.
    """
    try:
        chain = x.read_chain(endpoint.ServerCertificate)
    except ValueError as error:
        raise Broken(f"the server's certificate cannot be read: {error}") from None
    doubt = x.judge(chain, x.Peer(str(endpoint.Server.ApplicationUri or ""), host), pki.trust(), now)
    if doubt is not None:
        raise Broken(f"the server's certificate is not accepted: {_told(pki, chain[0], doubt)}")
    return chain[0]


def _told(pki: Pki, certificate: x509.Certificate, doubt: x.Doubt) -> str:
    """The doubt in words; a certificate that only lacks trust is kept for somebody to look at."""
    if not doubt.unknown:
        return f"{doubt.words}; {doubt.fix} ({x.thumbprint(certificate)})"
    kept = pki.reject(certificate)
    passed_over = "".join(f" ({error.message})" for error in pki.unreadable())
    return (
        f"{doubt.words}{passed_over}; it is kept as '{kept}'. If its thumbprint is the peer's own, run: "
        f"twinloop certs trust {x.thumbprint(certificate)} --pki '{pki.folder}'"
    )


async def _protect_password(client: Client, plain_allowed: bool, pki: Path | None, clock: Clock) -> None:
    """See that the password leaves encrypted for a server that is believed, unless the plant has asked for less.

    Raises:
        Broken.
    """
    _prefer_protected(client, ua.UserTokenType.UserName)
    mode = client.security_policy.Mode
    token = client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri
    if mode == ua.MessageSecurityMode.SignAndEncrypt:
        return
    if token not in _POLICY_NAMES or token == NONE_URI:
        if not plain_allowed:
            raise Broken(
                "the password would travel unprotected: the server takes it in the clear here; "
                'set security = "SignAndEncrypt", or plain_password = true where everybody on the wire may read it'
            )
        return
    await _know_server(client)
    # On a signed channel the server has shown who it is; on an open one anybody could have sent this certificate.
    if mode == ua.MessageSecurityMode.None_ and not plain_allowed:
        believed = partial(_believed_alone, pki, client.security_policy.peer_certificate, client.server_url.hostname)
        await _from_files(partial(believed, _now(clock)))


def _believed_alone(pki: Path | None, blob: bytes, host: str | None, now: datetime) -> None:
    folder = _folder(pki)
    try:
        chain = x.read_chain(blob)
    except ValueError as error:
        raise Broken(f"the server's certificate cannot be read: {error}") from None
    doubt = x.judge(chain, x.Peer(host=host), folder.trust(), now)
    if doubt is not None:
        raise Broken(f"the password is not sent to a server that is not known: {_told(folder, chain[0], doubt)}")


def _prefer_protected(client: Client, kind: Any) -> None:
    """asyncua takes the first token policy of a kind: let that be one that protects."""

    def plain(policy: Any) -> bool:
        uri = policy.SecurityPolicyUri or client.security_policy.URI
        return policy.TokenType == kind and (uri == NONE_URI or uri not in _POLICY_NAMES)

    client._policy_ids = sorted(client._policy_ids, key=plain)


async def _know_server(client: Client) -> None:
    """The server's certificate on an open channel, where asyncua's own server tells it among its endpoints only."""
    if client.security_policy.peer_certificate:
        return
    for endpoint in await client.get_endpoints():
        if endpoint.ServerCertificate:
            client.security_policy.peer_certificate = endpoint.ServerCertificate
            return
    raise Broken("the server has no certificate that a password could be encrypted for")


def _folder(pki: Path | None) -> Pki:
    if pki is None:
        raise BadRequest("there is no folder of certificates", "name one by --pki, or start with --data")
    return Pki(pki)


async def _from_files(read: Callable[[], T]) -> T:
    """Read in a thread: a trust list may hold many files."""
    try:
        return await asyncio.to_thread(read)
    except TwinloopError as error:
        raise Broken(str(error)) from error


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock() / 1e9, UTC)


async def serve_securely(
    server: Server, modes: Sequence[str], policies: Sequence[str], pki: Path | None, clock: Clock = time.time_ns
) -> None:
    """Let a server offer these modes and nothing else, to clients whose certificates are trusted. After `init`.

    Passwords are taken encrypted only, as soon as there is a certificate to encrypt them for. User certificates are
    held to the same trust list as clients' own. Our certificate is read once; a new one needs a new start.

    Args:
        server: initialised, not started.
        modes: of None, Sign, SignAndEncrypt.
        policies: names of POLICIES, for the modes that sign.
        pki: needed for the modes that sign; with None alone it may be left out, then passwords come in the clear.

    Raises:
        NotFound, BadRequest, Refused: the folder lacks what is needed, or it is not in order.
    """
    secured = [mode for mode in modes if mode != "None"]
    kinds = [ua.SecurityPolicyType[f"{_TYPE_NAMES[policy]}_{mode}"] for policy in policies for mode in secured]
    if "None" in modes:
        kinds.append(ua.SecurityPolicyType.NoSecurity)
    server.set_security_policy(kinds)
    if secured or (pki is not None and Pki(pki).own_certificate_path.exists()):
        certificate, key = await asyncio.to_thread(_folder(pki).own)
        server.iserver.certificate, server.iserver.private_key = certificate, key
        await server.set_application_uri(x.application_uri(certificate))
        server.iserver.decrypt_user_token = partial(_password, key)
    _Gate(server, "None" in modes, pki, clock).close(POLICIES[policies[0]].URI if policies else DEFAULT_URI)


def _password(key: Any, session: Any, token: Any) -> tuple[str, str]:
    """User and password of a token encrypted for us and for this session (Part 4, 7.41.2.2)."""
    if not token.Password:
        return str(token.UserName), ""
    decrypt = _DECRYPT.get(token.EncryptionAlgorithm)
    if decrypt is None:
        raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid)
    try:
        plain = decrypt(key, token.Password)
        (size,) = struct.unpack_from("<I", plain)
        secret, nonce = plain[4 : 4 + size - len(session.nonce)], plain[4 + size - len(session.nonce) : 4 + size]
        # Without it a password that somebody has recorded could be played again, still encrypted.
        if not hmac.compare_digest(nonce, session.nonce):
            raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid)
        return str(token.UserName), secret.decode()
    except (ValueError, struct.error) as error:
        raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid) from error


class _Gate:
    """Stands before every session of a server: none is activated on a channel that was not offered or not trusted."""

    def __init__(self, server: Server, open_allowed: bool, pki: Path | None, clock: Clock) -> None:
        self._server = server
        self._open_allowed = open_allowed
        self._pki = pki
        self._clock = clock
        self._told: set[str] = set()

    def close(self, token_policy: str) -> None:
        """From now on nobody passes unseen."""
        server, make, offer = self._server, self._server.iserver.create_session, self._server._setup_server_nodes

        def create_session(*args: Any, external: bool = False, **more: Any) -> Any:
            session = make(*args, external=external, **more)
            if external:
                self._watch(session)
            return session

        async def setup_server_nodes() -> None:
            await offer()
            if server.iserver.certificate is not None:
                for endpoint in server.iserver.endpoints:
                    _protect_tokens(endpoint, token_policy)

        server.iserver.create_session = create_session
        server._setup_server_nodes = setup_server_nodes

    def _watch(self, session: Any) -> None:
        create, activate = session.create_session, session.activate_session
        described: list[str] = []
        shown: list[bytes] = []

        async def create_session(params: Any, sockname: Any = None) -> Any:
            described.append(str(params.ClientDescription.ApplicationUri or ""))
            return await create(params, sockname=sockname)

        def activate_session(params: Any, peer_certificate: bytes | None) -> Any:
            channel = peer_certificate or b""
            # Part 4, 5.6.3.1: on another channel a session goes on for the same client only.
            if shown and shown[0] != channel:
                raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
            self._admit(channel, described[-1] if described else "")
            token = params.UserIdentityToken
            if isinstance(token, ua.X509IdentityToken):
                self._check(token.CertificateData, x.Peer(), ua.StatusCodes.BadIdentityTokenRejected)
            result = activate(params, peer_certificate)
            shown[:] = [channel]
            return result

        session.create_session, session.activate_session = create_session, activate_session

    def _admit(self, channel: bytes, uri: str) -> None:
        if channel:
            self._check(channel, x.Peer(uri), ua.StatusCodes.BadCertificateUntrusted)
        elif not self._open_allowed:
            raise ServiceError(ua.StatusCodes.BadSecurityModeInsufficient)

    def _check(self, blob: bytes, peer: x.Peer, status: int) -> None:
        try:
            folder = _folder(self._pki)
            chain = x.read_chain(blob)
            doubt = x.judge(chain, peer, folder.trust(), _now(self._clock))
            why = None if doubt is None else f"{x.facts(chain[0]).subject}: {_told(folder, chain[0], doubt)}"
        except (TwinloopError, ValueError) as error:
            why = str(error)
        if why is not None:
            self._tell(why)
            raise ServiceError(status)

    def _tell(self, why: str) -> None:
        """Once: clients that are turned away knock again every few seconds."""
        if why in self._told:
            return
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told.add(why)
        log.warning("a client is turned away: %s", why)


def _protect_tokens(endpoint: Any, token_policy: str) -> None:
    """Ask for encrypted passwords and signed user certificates, also where the channel protects neither."""
    uri = endpoint.SecurityPolicyUri
    for token in endpoint.UserIdentityTokens:
        if token.TokenType != ua.UserTokenType.Anonymous:
            token.SecurityPolicyUri = token_policy if uri == NONE_URI else uri
