"""A secured OPC UA server against clients that do not play by the rules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from control import certs
from protocols import certificate as x
from protocols.opcua.guests import Door, GuestServer
from protocols.opcua.security import serve_securely
from protocols.pki import Pki, write
from protocols.served import Guest
from tests.protocols.opcua_field import PASSWORD, USER, Site, ToldSink, link
from tests.protocols.pki_bench import NOW, authority, certificate, folder, key
from tests.protocols.protocol_bench import running, until
from twin.errors import BadRequest, NotFound
from twin.role import Role

pytestmark = pytest.mark.asyncio(loop_scope="module")
POLICY = security_policies.SecurityPolicyBasic256Sha256
KNOWN = certificate("known")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """It offers sealed channels only and knows one client."""
    pki = folder(tmp_path_factory.mktemp("gate"), "site")
    pki.take("trusted", KNOWN)
    async with Site(pki, ("SignAndEncrypt",)) as made:
        yield made


def pki_of(site: Site) -> Pki:
    assert site.pki is not None
    return site.pki


def client(site: Site, shown: x509.Certificate | None, private: rsa.RSAPrivateKey | None = None) -> Client:
    """A plain library client: on an open channel without a certificate, else on a sealed one."""
    made = Client(site.endpoint(), timeout=5)
    if shown is not None:
        seal = ua.MessageSecurityMode.SignAndEncrypt
        made.application_uri = x.application_uri(shown)
        made.security_policy = POLICY(pki_of(site).own_certificate, shown, private or key("known"), seal)
        made.uaclient.set_security(made.security_policy)
    return made


async def opened(made: Client) -> Client:
    await made.connect_socket()
    await made.send_hello()
    await made.open_secure_channel()
    return made


async def gone(made: Client) -> None:
    made.disconnect_socket()


async def refused(made: Client, act: Callable[[], Any]) -> str:
    """Name of the status that the server answers with."""
    with pytest.raises(ua.UaStatusCodeError) as caught:
        await act()
    await gone(made)
    return str(ua.StatusCode(caught.value.code).name)


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's client does not mind that the server offers no such endpoint."""
    monkeypatch.setattr(Client, "find_endpoint", staticmethod(lambda *_: ua.EndpointDescription()))


async def test_a_known_client_gets_in(site: Site) -> None:
    made = await opened(client(site, KNOWN))
    await made.create_session()
    await made.activate_session()
    assert await made.get_node("ns=2;s=Tank.Level").read_value() == 1.0
    await made.disconnect()


async def test_endpoints_are_told_to_everybody_and_offer_sealed_channels_only(site: Site) -> None:
    offered = await client(site, None).connect_and_get_server_endpoints()
    assert {endpoint.SecurityMode for endpoint in offered} == {ua.MessageSecurityMode.SignAndEncrypt}
    assert {token.SecurityPolicyUri for endpoint in offered for token in endpoint.UserIdentityTokens} >= {POLICY.URI}


@pytest.mark.parametrize("user", [(None, None), (USER, PASSWORD)])
async def test_nobody_gets_in_over_an_open_channel_that_is_not_offered(
    site: Site, careless: None, user: tuple[str | None, str | None]
) -> None:
    made = await opened(client(site, None))
    await made.create_session()
    assert await refused(made, lambda: made.activate_session(*user)) == "BadSecurityModeInsufficient"


async def test_a_session_that_was_not_activated_reads_nothing(site: Site, careless: None) -> None:
    made = await opened(client(site, None))
    await made.create_session()
    read = made.get_node("ns=2;s=Tank.Level").read_value
    assert await refused(made, read) == "BadSessionNotActivated"


STRANGERS = [
    ("nobody knows it", certificate("stranger"), "stranger"),
    ("its term is over", certificate("known", now=NOW - timedelta(days=101)), "known"),
    ("its authority is unknown", certificate("known", issuer=authority("elsewhere")), "known"),
]


@pytest.mark.parametrize(("why", "shown", "name"), STRANGERS, ids=[why for why, _, _ in STRANGERS])
async def test_a_client_that_is_not_trusted_is_refused(
    site: Site, caplog: pytest.LogCaptureFixture, why: str, shown: x509.Certificate, name: str
) -> None:
    with caplog.at_level(logging.WARNING, "twinloop.opcua"):
        for _ in range(2):
            made = await opened(client(site, shown, key(name)))
            await made.create_session()
            assert await refused(made, made.activate_session) == "BadCertificateUntrusted"
    told = [r.message for r in caplog.records if r.name == "twinloop.opcua"]
    assert len(told) == 1 and "a client is turned away" in told[0]
    kept = shown in [held.certificate for held in pki_of(site).rejected()]
    assert kept is (why != "its term is over"), "only those whom trust would let in are kept"


async def test_a_client_under_another_name_than_its_certificates_is_refused(site: Site) -> None:
    made = client(site, KNOWN)
    made.application_uri = "urn:test:somebody"
    await opened(made)
    await made.create_session()
    assert await refused(made, made.activate_session) == "BadCertificateUntrusted"


async def test_showing_the_certificate_of_another_does_not_help(site: Site) -> None:
    """The channel is the stranger's own; the certificate that CreateSession carries is a known client's."""
    stranger = certificate("stranger")
    made = await opened(client(site, stranger, key("stranger")))
    ask = made.uaclient.create_session

    async def forged(params: Any) -> Any:
        params.ClientCertificate = x.der(KNOWN)
        params.ClientDescription.ApplicationUri = x.application_uri(KNOWN)
        return await ask(params)

    made.uaclient.create_session = forged
    await made.create_session()
    assert await refused(made, made.activate_session) == "BadCertificateUntrusted"


async def test_a_known_certificate_without_its_key_opens_no_channel(site: Site) -> None:
    made = client(site, KNOWN, key("stranger"))
    await made.connect_socket()
    await made.send_hello()
    with pytest.raises((ua.UaError, OSError, TimeoutError)):
        async with asyncio.timeout(1.0):
            await made.open_secure_channel()
    await gone(made)


async def test_a_session_does_not_go_over_to_another_client(site: Site) -> None:
    """Session tokens are numbers that count up: guessing one must not be enough."""
    other = certificate("other")
    pki_of(site).take("trusted", other)
    first = await opened(client(site, KNOWN))
    await first.create_session()
    await first.activate_session()
    thief = await opened(client(site, other, key("other")))
    thief._server_nonce = first._server_nonce
    thief.uaclient.session.restore_authentication_token(first.uaclient.session.authentication_token)
    assert await refused(thief, thief.activate_session) == "BadSecurityChecksFailed"
    assert await first.get_node("ns=2;s=Tank.Level").read_value() == 1.0
    await first.disconnect()


async def signing_in(site: Site, spoil: Callable[[Client, Any], None], password: str = PASSWORD) -> tuple[Client, Any]:
    """A client with a session, and its way to sign in with a spoilt token."""
    made = await opened(client(site, KNOWN))
    await made.create_session()
    ask = made.uaclient.activate_session

    async def forged(params: Any) -> Any:
        spoil(made, params)
        return await ask(params)

    made.uaclient.activate_session = forged
    return made, lambda: made.activate_session(USER, password)


async def test_a_password_that_is_not_encrypted_is_refused_though_it_is_right(site: Site) -> None:
    def plain(_: Client, params: Any) -> None:
        params.UserIdentityToken.Password = PASSWORD.encode()
        params.UserIdentityToken.EncryptionAlgorithm = None

    assert await refused(*await signing_in(site, plain)) == "BadIdentityTokenInvalid"


async def test_a_recorded_password_is_good_for_its_own_session_only(site: Site) -> None:
    recorded: list[bytes] = []
    made, sign_in = await signing_in(site, lambda _, p: recorded.append(p.UserIdentityToken.Password))
    await sign_in()
    await made.disconnect()

    def replay(_: Client, params: Any) -> None:
        params.UserIdentityToken.Password = recorded[0]

    assert await refused(*await signing_in(site, replay)) == "BadIdentityTokenInvalid"


@pytest.mark.parametrize(
    "spoilt",
    [
        (b"", None),
        (b"\0" * 256, "http://www.w3.org/2001/04/xmlenc#rsa-oaep"),
        (b"short", "http://www.w3.org/2001/04/xmlenc#rsa-oaep"),
        (uacrypto.encrypt_rsa_oaep(key("site").public_key(), b"\x01"), "http://www.w3.org/2001/04/xmlenc#rsa-oaep"),
        (
            uacrypto.encrypt_rsa_oaep(key("site").public_key(), b"\xff\xff\xff\xffpassword"),
            "http://www.w3.org/2001/04/xmlenc#rsa-oaep",
        ),
        (
            uacrypto.encrypt_rsa15(key("site").public_key(), b"\x01\0\0\0x"),
            "http://www.w3.org/2001/04/xmlenc#rsa-1_5",
        ),
    ],
)
async def test_a_garbled_password_is_an_answer_and_no_crash(site: Site, spoilt: tuple[bytes, str | None]) -> None:
    def spoil(_: Client, params: Any) -> None:
        params.UserIdentityToken.Password, params.UserIdentityToken.EncryptionAlgorithm = spoilt

    assert await refused(*await signing_in(site, spoil)) in ("BadIdentityTokenInvalid", "BadUserAccessDenied")


async def test_a_password_reaches_a_server_that_tells_its_certificate_among_its_endpoints_only(tmp_path: Path) -> None:
    ours, theirs = folder(tmp_path, "twin"), folder(tmp_path, "site")
    ours.take("trusted", theirs.own_certificate)
    async with Site(theirs, ("None",)) as there:
        assert there.server is not None
        for factory in there.server._policies:
            factory.certificate = None
        sink = ToldSink()
        endpoint = there.endpoint(f"{USER}:{quote(PASSWORD, safe='')}@")
        async with running(link(sink, endpoint, ours)):
            await until(lambda: sink.value(0) == 1.0, f"a value ({sink.details})")


async def test_a_user_certificate_is_held_to_the_trust_list(site: Site) -> None:
    made = await opened(client(site, KNOWN))
    await made.create_session()
    stranger = certificate("stranger", uri="")
    made.user_private_key = key("stranger")
    assert await refused(made, lambda: made.activate_session(certificate=stranger)) == "BadIdentityTokenRejected"
    assert stranger in [held.certificate for held in pki_of(site).rejected()]


@pytest.mark.parametrize("new_key", [False, True])
async def test_our_renewed_certificate_is_shown_to_the_next_client(site: Site, new_key: bool) -> None:
    pki = pki_of(site)
    staying = await opened(client(site, KNOWN))
    await staying.create_session()
    await staying.activate_session()
    renewed = certs.renew(pki, 50, new_key, NOW)
    for user in (None, USER):
        offered = await client(site, None).connect_and_get_server_endpoints()
        assert {x.thumbprint(x.read(e.ServerCertificate)) for e in offered} == {x.thumbprint(renewed)}
        made = await opened(client(site, KNOWN))
        await made.create_session()
        await made.activate_session(user, PASSWORD if user else None)
        assert await made.get_node("ns=2;s=Tank.Level").read_value() == 1.0
        await made.disconnect()
    assert await staying.get_node("ns=2;s=Tank.Level").read_value() == 1.0
    await staying.disconnect()


async def test_a_renewal_that_went_wrong_is_not_shown(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    pki = pki_of(site)
    before, own_key = pki.own()
    another = x.make(x.Identity("site", "", "urn:test:another", ()), own_key, NOW, 50)
    for spoilt in (b"half a certifi", x.der(another), x.der(certificate("other"))):
        write(pki.own_certificate_path, spoilt, private=False)
        offered = await client(site, None).connect_and_get_server_endpoints()
        assert {e.ServerCertificate for e in offered} == {x.der(before)}
    assert len([r for r in caplog.records if "our renewed certificate is not shown" in r.message]) == 3
    write(pki.own_certificate_path, x.der(before), private=False)


async def test_a_server_without_certificates_cannot_be_served_securely(site: Site, tmp_path: Any) -> None:
    assert site.server is not None
    with pytest.raises(BadRequest, match="no folder of certificates"):
        await serve_securely(site.server, ["Sign"], ["Basic256Sha256"], None)
    with pytest.raises(NotFound, match="twinloop certs init"):
        await serve_securely(site.server, ["Sign"], ["Basic256Sha256"], tmp_path)


class AnybodysDoor(Door):
    """Lets in everybody it is asked about, and remembers that it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def guest(self, server: Any, session: Any, token: Any, peer: str, sealed: bool) -> Guest:
        self.asked += 1
        return Guest("opcua:somebody", Role.VIEWER)


async def test_nobody_learns_whether_a_password_is_right_before_the_channel_is_trusted(tmp_path: Path) -> None:
    pki = folder(tmp_path, "site")
    pki.take("trusted", KNOWN)
    door = AnybodysDoor()
    server = GuestServer(None, door, 10)  # type: ignore[arg-type]
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/guests")
    await serve_securely(server, ("SignAndEncrypt",), ("Basic256Sha256",), pki.folder)
    await server.start()
    there = Site(pki)
    there.port = server.bserver.port
    try:
        stranger = await opened(client(there, certificate("stranger"), key("stranger")))
        await stranger.create_session()
        assert await refused(stranger, lambda: stranger.activate_session(USER, PASSWORD)) == "BadCertificateUntrusted"
        assert door.asked == 0
        known = await opened(client(there, KNOWN))
        await known.create_session()
        await known.activate_session(USER, PASSWORD)
        assert door.asked == 1
        await known.disconnect()
    finally:
        await server.stop()
