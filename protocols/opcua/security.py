"""OPC UA security on both sides: channels, users and whom to believe; must not know points, sessions' use or the plant.

Leans on asyncua for the cryptography. What its client leaves open is closed here: it compares no server's certificate
with a trust list and sends passwords as the server likes. For its server see gate.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from asyncua import Client, Server, ua
from asyncua.crypto import security_policies
from cryptography import x509

from protocols import certificate as x
from protocols.healing import Broken
from protocols.link import Clock
from protocols.opcua import codec
from protocols.opcua.gate import Gate
from protocols.opcua.patience import within
from protocols.pki import Pki, load_pair
from protocols.trust import Peer, judge
from twin.errors import TwinloopError
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
NONE_URI = security_policies.SecurityPolicyNone.URI
# asyncua's names of the policies, without the mode.
_TYPE_NAMES = {name: name.replace("_", "") for name in POLICIES}
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
        pair = await _from_files(lambda: load_pair(*(Pki.at(pki).inside(name) for name in names)))
        client.user_certificate, client.user_private_key = pair
    if settings["security"] == "None":
        return
    policy, mode = POLICIES[codec.policy_name(settings)], MODES[settings["security"]]
    certificate, key = await _from_files(lambda: Pki.at(pki).own())
    if x.facts(certificate).days_left(codec.moment(clock())) < 0:
        raise Broken(f"our own certificate has expired; run: twinloop certs renew --pki '{pki}'")
    endpoint = _offered(await _endpoints(client, float(settings["timeout_s"])), mode, policy)
    server = await _from_files(
        lambda: _believed(Pki.at(pki), endpoint, client.server_url.hostname, codec.moment(clock()))
    )
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
    doubt = judge(chain, Peer(str(endpoint.Server.ApplicationUri or ""), host), pki.trust(), now)
    if doubt is not None:
        raise Broken(f"the server's certificate is not accepted: {pki.turned_away(chain[0], doubt)}")
    return chain[0]


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
        await _from_files(partial(believed, codec.moment(clock())))


def _believed_alone(pki: Path | None, blob: bytes, host: str | None, now: datetime) -> None:
    folder = Pki.at(pki)
    try:
        chain = x.read_chain(blob)
    except ValueError as error:
        raise Broken(f"the server's certificate cannot be read: {error}") from None
    doubt = judge(chain, Peer(host=host), folder.trust(), now)
    if doubt is not None:
        raise Broken(f"the password is not sent to a server that is not known: {folder.turned_away(chain[0], doubt)}")


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


async def _from_files(read: Callable[[], T]) -> T:
    """Read in a thread: a trust list may hold many files."""
    try:
        return await asyncio.to_thread(read)
    except TwinloopError as error:
        raise Broken(str(error)) from error


async def serve_securely(
    server: Server, modes: Sequence[str], policies: Sequence[str], pki: Path | None, clock: Clock = time.time_ns
) -> None:
    """Let a server offer these modes and nothing else, to clients whose certificates are trusted. After `init`.

    Passwords are taken encrypted only, as soon as there is a certificate to encrypt them for. User certificates are
    held to the same trust list as clients' own. Our renewed certificate is shown to the next client.

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
    gate = Gate(server, "None" in modes, POLICIES[policies[0] if policies else codec.POLICY_DEFAULT].URI, pki, clock)
    if secured or (pki is not None and Pki(pki).own_certificate_path.exists()):
        await gate.show_ourselves()
    gate.close()
