"""Stands before the sessions of an OPC UA server and lets in who is trusted; must not know what the server serves.

asyncua's server lets any channel in whatever it offers, believes the certificate that CreateSession carries, takes
recorded passwords again and gives a session to anybody who guesses its number.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto import security_policies, uacrypto

from protocols import certificate as x
from protocols.link import Clock
from protocols.opcua import codec
from protocols.pki import Pki
from protocols.trust import Peer, judge
from twin.errors import Refused, TwinloopError

NONE_URI = security_policies.SecurityPolicyNone.URI
TOLD_MAX = 100  # different reasons that are remembered so that each is logged once
# RSA PKCS #1 1.5 is left out: it lets an attacker who may ask often find the password.
_DECRYPT: Mapping[str, Callable[[Any, bytes], bytes]] = {
    "http://www.w3.org/2001/04/xmlenc#rsa-oaep": uacrypto.decrypt_rsa_oaep,
    "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256": uacrypto.decrypt_rsa_oaep_sha256,
}
log = logging.getLogger("twinloop.opcua")


class Gate:
    """One server's: none of its sessions is activated on a channel that was not offered or is not trusted.

    Args:
        open_allowed: whether sessions on channels without security are let in.
        token_policy: URI of the policy that protects passwords where the channel has none.
        pki: whom to trust, and who we are.
    """

    def __init__(self, server: Server, open_allowed: bool, token_policy: str, pki: Path | None, clock: Clock) -> None:
        self._server = server
        self._open_allowed = open_allowed
        self._token_policy = token_policy
        self._pki = pki
        self._clock = clock
        self._told: set[str] = set()
        self._shown: tuple[int, int] | None = None

    async def show_ourselves(self) -> None:
        """Our certificate and its key, at the start.

        Raises:
            NotFound, BadRequest, Refused.
        """
        pki = Pki.at(self._pki)
        certificate, key = await asyncio.to_thread(pki.own)
        self._shown = _version(pki.own_certificate_path)
        self._server.iserver.certificate, self._server.iserver.private_key = certificate, key
        await self._server.set_application_uri(x.application_uri(certificate))

    def close(self) -> None:
        """From now on nobody passes unseen. Before the server starts."""
        server, iserver = self._server, self._server.iserver
        make, offer, tell = iserver.create_session, server._setup_server_nodes, iserver.get_endpoints

        def create_session(*args: Any, external: bool = False, **more: Any) -> Any:
            session = make(*args, external=external, **more)
            if external:
                self._watch(session)
            return session

        async def setup_server_nodes() -> None:
            await offer()
            if iserver.certificate is not None:
                for endpoint in iserver.endpoints:
                    _protect_tokens(endpoint, self._token_policy)

        async def get_endpoints(*args: Any, **more: Any) -> Any:
            await self._renew()
            return await tell(*args, **more)

        iserver.create_session = create_session
        server._setup_server_nodes = setup_server_nodes
        if iserver.certificate is not None:
            iserver.get_endpoints = get_endpoints
            iserver.decrypt_user_token = self._password

    async def _renew(self) -> None:
        """Show our certificate as it is now: every client asks for it before it opens a channel that signs."""
        pki = Pki.at(self._pki)
        version = _version(pki.own_certificate_path)
        if version == self._shown:
            return
        try:
            certificate, key = await asyncio.to_thread(pki.own)
            if x.application_uri(certificate) != self._server.get_application_uri():
                raise Refused("our certificate has another ApplicationUri now", "restart what serves it")
        except TwinloopError as error:
            self._tell(f"our renewed certificate is not shown: {error}")
            return
        self._shown = version
        self._server.iserver.certificate, self._server.iserver.private_key = certificate, key
        for factory in self._server._policies:
            factory.certificate, factory.private_key = certificate, key
        for endpoint in self._server.iserver.endpoints:
            endpoint.ServerCertificate = x.der(certificate)

    def _watch(self, session: Any) -> None:
        create, activate = session.create_session, session.activate_session
        described: list[str] = []
        shown: list[bytes] = []

        async def create_session(params: Any, sockname: Any = None) -> Any:
            described.append(str(params.ClientDescription.ApplicationUri or ""))
            return await create(params, sockname=sockname)

        def admit(peer_certificate: bytes | None) -> None:
            channel = peer_certificate or b""
            # Part 4, 5.6.3.1: on another channel a session goes on for the same client only.
            if shown and shown[0] != channel:
                raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
            self._admit(channel, described[-1] if described else "")

        def activate_session(params: Any, peer_certificate: bytes | None) -> Any:
            admit(peer_certificate)
            token = params.UserIdentityToken
            if isinstance(token, ua.X509IdentityToken):
                self._check(token.CertificateData, Peer(), ua.StatusCodes.BadIdentityTokenRejected)
            result = activate(params, peer_certificate)
            shown[:] = [peer_certificate or b""]
            return result

        session.create_session, session.activate_session = create_session, activate_session
        # For servers that judge users themselves: whoever is not admitted shall not learn whether a password is right.
        session.admit = admit

    def _admit(self, channel: bytes, uri: str) -> None:
        if channel:
            self._check(channel, Peer(uri), ua.StatusCodes.BadCertificateUntrusted)
        elif not self._open_allowed:
            raise ServiceError(ua.StatusCodes.BadSecurityModeInsufficient)

    def _check(self, blob: bytes, peer: Peer, status: int) -> None:
        try:
            pki = Pki.at(self._pki)
            chain = x.read_chain(blob)
            doubt = judge(chain, peer, pki.trust(), codec.moment(self._clock()))
            why = None if doubt is None else f"{x.facts(chain[0]).subject}: {pki.turned_away(chain[0], doubt)}"
        except (TwinloopError, ValueError) as error:
            why = str(error)
        if why is not None:
            self._tell(f"a client is turned away: {why}")
            raise ServiceError(status)

    def _tell(self, why: str) -> None:
        """Once: clients that are turned away knock again every few seconds."""
        if why in self._told:
            return
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told.add(why)
        log.warning(why)

    def _password(self, session: Any, token: Any) -> tuple[str, str]:
        """User and password of a token encrypted for us and for this session (Part 4, 7.41.2.2)."""
        if not token.Password:
            return str(token.UserName), ""
        decrypt = _DECRYPT.get(token.EncryptionAlgorithm)
        if decrypt is None:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid)
        try:
            plain = decrypt(self._server.iserver.private_key, token.Password)
            (size,) = struct.unpack_from("<I", plain)
            secret, nonce = plain[4 : 4 + size - len(session.nonce)], plain[4 + size - len(session.nonce) : 4 + size]
            # Without it a password that somebody has recorded could be played again, still encrypted.
            if not hmac.compare_digest(nonce, session.nonce):
                raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid)
            return str(token.UserName), secret.decode()
        except (ValueError, struct.error) as error:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid) from error


def _version(path: Path) -> tuple[int, int] | None:
    """What changes when the file is replaced; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _protect_tokens(endpoint: Any, token_policy: str) -> None:
    """Ask for encrypted passwords and signed user certificates, also where the channel protects neither."""
    uri = endpoint.SecurityPolicyUri
    for token in endpoint.UserIdentityTokens:
        if token.TokenType != ua.UserTokenType.Anonymous:
            token.SecurityPolicyUri = token_policy if uri == NONE_URI else uri
