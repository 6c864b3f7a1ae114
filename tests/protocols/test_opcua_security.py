"""OPC UA links over secured channels to real servers: who gets in, who does not, and in which words."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from asyncua import Client

from control import certs
from protocols import certificate as x
from protocols.opcua.device import OpcUaDevice
from protocols.opcua.link import OpcUaLink
from protocols.opcua.security import secure, sign_in
from protocols.pki import Pki, pem_of_key, write
from tests.protocols.opcua_field import (
    CHANNELS,
    LEVEL,
    MODES,
    PASSWORD,
    QUICK,
    USER,
    Site,
    ToldSink,
    link,
    tapped,
)
from tests.protocols.pki_bench import NOW, authority, certificate, folder, friends, key
from tests.protocols.protocol_bench import Cable, Wished, device, free_port, running, seeded, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
AS_USER = f"{USER}:{quote(PASSWORD, safe='')}@"
SIGNED = {"security": "Sign", "policy": "Basic256Sha256"}
SEALED = {"security": "SignAndEncrypt", "policy": "Basic256Sha256"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pki, Pki]:
    """(ours, the server's); they trust each other, and the server trusts our operator."""
    at = tmp_path_factory.mktemp("pki")
    ours, theirs = folder(at, "twin"), folder(at, "site")
    friends(ours, theirs)
    operator = certificate("operator", uri="")
    write(ours.inside("own/operator.der"), x.der(operator), private=False)
    write(ours.inside("own/operator.pem"), pem_of_key(key("operator")), private=True)
    theirs.take("trusted", operator)
    return ours, theirs


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(folders: tuple[Pki, Pki]) -> AsyncIterator[Site]:
    """One server for most tests: its address space takes more than a second to build."""
    async with Site(folders[1]) as made:
        yield made


@pytest.fixture
def ours(folders: tuple[Pki, Pki]) -> Pki:
    return folders[0]


@pytest.mark.parametrize("who", ["anonymous", "password", "certificate"])
@pytest.mark.parametrize(("mode", "policy"), CHANNELS)
async def test_a_link_reads_and_subscribes_over_every_channel_as_every_user(
    site: Site, ours: Pki, mode: str, policy: str | None, who: str
) -> None:
    signed = {"user_certificate": "own/operator.der", "user_key": "own/operator.pem"} if who == "certificate" else {}
    sink = ToldSink()
    await site.fill(1.0)
    endpoint = site.endpoint(AS_USER if who == "password" else "")
    over = link(sink, endpoint, ours, security=mode, policy=policy, **signed)
    async with running(over):
        await until(lambda: sink.value(0) == 1.0, f"the first value ({sink.details})")
        await site.fill(2.5)
        await until(lambda: sink.value(0) == 2.5, "a change")
        answer = await over.read(LEVEL, 2.0)
        assert answer is not None and answer.value[0] == 2.5
    assert sink.details == ["", "", ""], "connecting, online, stopped: at the first try"


@pytest.mark.parametrize("channel", [{}, SIGNED, SEALED])
@pytest.mark.parametrize("user", [f"{USER}:wrong@", f"{USER}@", "stranger:wrong@"])
async def test_a_wrong_password_is_refused_in_words(site: Site, ours: Pki, channel: dict[str, Any], user: str) -> None:
    sink = ToldSink()
    async with running(link(sink, site.endpoint(user), ours, **channel)):
        name = user.partition(":")[0].rstrip("@")
        await until(lambda: sink.told(f"the server refuses user {name}: BadUserAccessDenied; check the user"), "words")
    assert not sink.told("wrong")


@pytest.mark.parametrize("channel", [{}, SEALED])
async def test_a_user_certificate_that_the_server_does_not_trust_is_refused_and_kept_there(
    site: Site, ours: Pki, channel: dict[str, Any]
) -> None:
    stranger = certificate("stranger", uri="")
    write(ours.inside("own/stranger.der"), x.der(stranger), private=False)
    write(ours.inside("own/stranger.pem"), pem_of_key(key("stranger")), private=True)
    sink = ToldSink()
    shown = {"user_certificate": "own/stranger.der", "user_key": "own/stranger.pem"}
    async with running(link(sink, site.endpoint(), ours, **channel, **shown)):
        await until(lambda: sink.told("the server refuses the user certificate: BadIdentityTokenRejected"), "words")
    assert site.pki is not None
    assert stranger in [held.certificate for held in site.pki.rejected()]


async def test_a_user_key_that_does_not_fit_is_named_by_its_file(site: Site, ours: Pki) -> None:
    write(ours.inside("own/wrong.pem"), pem_of_key(key("somebody")), private=True)
    sink = ToldSink()
    shown = {"user_certificate": "own/operator.der", "user_key": "own/wrong.pem"}
    async with running(link(sink, site.endpoint(), ours, **SEALED, **shown)):
        await until(lambda: sink.told("own/wrong.pem is not the key of"), "words")


async def test_an_unknown_server_is_kept_for_somebody_to_trust_and_then_connected_to(
    site: Site, tmp_path: Path
) -> None:
    fresh = folder(tmp_path, "twin", certificate("twin"))
    assert site.pki is not None
    site.pki.take("trusted", fresh.own_certificate)
    thumbprint = x.thumbprint(site.pki.own_certificate)
    sink = ToldSink()
    async with running(link(sink, site.endpoint(), fresh, **SEALED)):
        await until(lambda: sink.told(f"run: twinloop certs trust {thumbprint} --pki '{fresh.folder}'"), "words")
        assert sink.told("nobody here trusts it; it is kept as")
        assert not sink.online and not sink.batches
        certs.trust(fresh, thumbprint[:10], issuer=False)
        await until(lambda: sink.online, "the link once its server is trusted")


async def test_we_are_told_when_the_server_does_not_know_us_and_get_in_once_it_does(
    site: Site, ours: Pki, tmp_path: Path
) -> None:
    assert site.pki is not None
    stranger = folder(tmp_path, "newcomer")
    stranger.take("trusted", site.pki.own_certificate)
    sink = ToldSink()
    async with running(link(sink, site.endpoint(), stranger, **SEALED)):
        await until(lambda: sink.told("BadCertificateUntrusted: the server does not trust our certificate"), "words")
        certs.trust(site.pki, x.thumbprint(stranger.own_certificate), issuer=False)
        await until(lambda: sink.online, "the link once the server trusts it")


@pytest.mark.parametrize("hosts", [("localhost", "127.0.0.1"), ("plc.works.local",)])
async def test_a_server_is_believed_for_its_authority_only_at_the_host_that_it_was_issued_for(
    tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    works = authority("works")
    theirs = folder(tmp_path, "site", certificate("site", issuer=works, hosts=hosts))
    mine = folder(tmp_path, "twin", certificate("twin", issuer=works))
    mine.take("issuers", works.certificate)
    theirs.take("issuers", works.certificate)
    async with Site(theirs, ("SignAndEncrypt",)) as other:
        sink = ToldSink()
        async with running(link(sink, other.endpoint(), mine, **SEALED)):
            if "127.0.0.1" not in hosts:
                await until(lambda: sink.told("made for plc.works.local, but the peer was reached as 127"), "words")
                certs.trust(mine, x.thumbprint(theirs.own_certificate), issuer=False)
            await until(lambda: sink.online, f"the link ({sink.details})")


BAD_SERVERS = [
    (certificate("site", now=NOW - timedelta(days=101)), "the server's certificate is not accepted: it expired on"),
    (certificate("site", now=NOW + timedelta(days=3)), "it is valid from"),
]


@pytest.mark.parametrize(("shown", "words"), BAD_SERVERS)
async def test_a_certificate_out_of_its_term_is_refused_though_it_is_trusted(
    tmp_path: Path, shown: Any, words: str
) -> None:
    theirs, mine = folder(tmp_path, "site", shown), folder(tmp_path, "twin")
    friends(mine, theirs)
    async with Site(theirs, ("Sign",)) as other:
        sink = ToldSink()
        async with running(link(sink, other.endpoint(), mine, **SIGNED)):
            await until(lambda: sink.told(words), "words")
        assert not sink.batches


async def test_a_certificate_of_another_application_is_refused(site: Site, ours: Pki) -> None:
    """The server calls itself otherwise than its certificate says: it may be another one's certificate."""
    assert site.server is not None
    offered = site.server.iserver.endpoints
    names = [endpoint.Server.ApplicationUri for endpoint in offered]
    try:
        for endpoint in offered:
            endpoint.Server.ApplicationUri = "urn:test:impostor"
        sink = ToldSink()
        async with running(link(sink, site.endpoint(), ours, **SEALED)):
            await until(lambda: sink.told("its ApplicationUri is urn:test:site, but the peer calls itself"), "words")
    finally:
        for endpoint, name in zip(offered, names, strict=True):
            endpoint.Server.ApplicationUri = name


async def test_a_server_that_offers_less_is_not_taken_at_less(tmp_path: Path) -> None:
    theirs, mine = folder(tmp_path, "site"), folder(tmp_path, "twin")
    friends(mine, theirs)
    async with Site(theirs, ("None", "Sign")) as other:
        sink = ToldSink()
        async with running(link(sink, other.endpoint(AS_USER), mine, **SEALED)):
            await until(lambda: sink.told("the server does not offer SignAndEncrypt with Basic256Sha256"), "words")
        assert sink.told("but Sign with Basic256Sha256, Sign with Aes128_Sha256_RsaOaep")
        assert sink.told("None; change security and policy")
        assert not sink.batches


async def test_our_own_expired_certificate_says_how_to_renew_it(site: Site, tmp_path: Path) -> None:
    mine = folder(tmp_path, "twin", certificate("twin", now=NOW - timedelta(days=200)))
    sink = ToldSink()
    async with running(link(sink, site.endpoint(), mine, **SEALED)):
        await until(lambda: sink.told("our own certificate has expired; run: twinloop certs renew --pki"), "words")


async def test_a_folder_without_our_certificate_says_how_to_make_one(site: Site, tmp_path: Path) -> None:
    sink = ToldSink()
    async with running(link(sink, site.endpoint(), Pki(tmp_path / "none"), **SEALED)):
        await until(lambda: sink.told("own/certificate.der is missing (run `twinloop certs init`"), "words")
    sink = ToldSink()
    async with running(link(sink, site.endpoint(), None, **SEALED)):
        await until(lambda: sink.told("there is no folder of certificates"), "words")


async def test_garbage_in_the_folder_names_its_file_and_the_link_heals_once_it_is_gone(
    site: Site, ours: Pki, tmp_path: Path
) -> None:
    spoilt = ours.folder / "issuers"
    spoilt.mkdir(exist_ok=True)
    (spoilt / "works.crl").write_bytes(b"garbage")
    sink = ToldSink()
    async with running(link(sink, site.endpoint(), ours, **SEALED)):
        await until(lambda: sink.told("issuers/works.crl is not a revocation list"), "words")
        (spoilt / "works.crl").unlink()
        await until(lambda: sink.online, "the link without the garbage")


async def test_a_renewed_server_is_turned_away_until_it_is_trusted_and_the_link_heals(tmp_path: Path) -> None:
    """A controller comes back from its overhaul with a new certificate: nobody has to touch the twin's server."""
    theirs, mine = folder(tmp_path, "plc"), folder(tmp_path, "twin")
    friends(mine, theirs)
    port = free_port()
    endpoint = f"opc.tcp://127.0.0.1:{port}/x"
    at = device("opcua", endpoint, **SEALED)
    first = OpcUaDevice(at, [LEVEL], Wished(), time.time_ns, theirs.folder)
    await first.start()
    await first.publish({0: 1.0}, time.time_ns(), {})
    sink = ToldSink()
    async with running(link(sink, endpoint, mine, **SEALED)):
        await until(lambda: sink.value(0) == 1.0, f"the first value ({sink.details})")
        await first.stop()
        await until(lambda: not sink.online, "the break")
        certs.renew(theirs, 500, True, NOW)
        second = OpcUaDevice(at, [LEVEL], Wished(), time.time_ns, theirs.folder)
        await second.start()
        await second.publish({0: 2.0}, time.time_ns(), {})
        thumbprint = x.thumbprint(theirs.own_certificate)
        await until(lambda: sink.told(f"twinloop certs trust {thumbprint}"), "words about the new certificate", 15)
        assert sink.value(0) == 1.0
        certs.trust(mine, thumbprint[:12], issuer=False)
        await until(lambda: sink.value(0) == 2.0, "the values of the renewed server", 15)
        await second.stop()


async def test_our_renewed_certificate_is_shown_at_the_next_connection(site: Site, ours: Pki, tmp_path: Path) -> None:
    assert site.pki is not None
    mine = folder(tmp_path, "roving")
    friends(mine, site.pki)
    sink = ToldSink()
    async with Cable(site.port) as cable, running(link(sink, site.endpoint(port=cable.port), mine, **SEALED)):
        await until(lambda: sink.online, "the link")
        old = mine.own_certificate
        new = certs.renew(mine, 700, True, NOW)
        site.pki.find(x.thumbprint(old), "trusted").path.unlink()
        site.pki.take("trusted", new)
        cable.cut()
        await until(lambda: sink.metrics.get("reconnects") == 1, f"the link with its new certificate {sink.details}")


async def test_a_server_behind_address_translation_is_reached_where_the_plant_says(tmp_path: Path) -> None:
    """It announces an address of its own network; nothing listens there for us."""
    theirs, mine = folder(tmp_path, "site"), folder(tmp_path, "twin")
    friends(mine, theirs)
    other = Site(theirs, MODES, free_port())
    other.announced = "opc.tcp://plc.works.invalid:4840/site"
    async with other, Cable(other.port) as cable:
        for channel in ({}, SIGNED, SEALED):
            sink = ToldSink()
            async with running(link(sink, other.endpoint(AS_USER, cable.port), mine, **channel)):
                await until(lambda sink=sink: sink.value(0) == 1.0, f"a value ({sink.details})")


@pytest.mark.parametrize("channel", [{}, SIGNED, SEALED])
async def test_a_password_is_never_on_the_wire_as_it_is(site: Site, ours: Pki, channel: dict[str, Any]) -> None:
    async with tapped(site.port) as tap:
        sink = ToldSink()
        async with running(link(sink, site.endpoint(AS_USER, tap.port), ours, **channel)):
            await until(lambda: sink.value(0) is not None, f"a value ({sink.details})")
        assert (USER.encode() in tap.sent) is (channel is not SEALED), "the tap hears what is not encrypted"
        assert PASSWORD.encode() not in tap.sent


async def test_a_password_is_not_sent_to_a_server_that_only_takes_it_plain(ours: Pki) -> None:
    async with Site(None, ("None",)) as plain, tapped(plain.port) as tap:
        sink = ToldSink()
        async with running(link(sink, plain.endpoint(AS_USER, tap.port), ours)):
            await until(lambda: sink.told("the password would travel unprotected"), "words")
        assert PASSWORD.encode() not in tap.sent and not sink.batches
        sink = ToldSink()
        async with running(link(sink, plain.endpoint(AS_USER, tap.port), None, plain_password=True)):
            await until(lambda: sink.online, f"the link that was told to ({sink.details})")
        assert PASSWORD.encode() in tap.sent


async def test_on_an_open_channel_a_password_goes_to_known_servers_only(site: Site, ours: Pki, tmp_path: Path) -> None:
    """Anybody in between could offer a certificate of their own to encrypt the password for."""
    fresh = folder(tmp_path, "twin")
    sink = ToldSink()
    async with running(link(sink, site.endpoint(AS_USER), fresh)):
        await until(lambda: sink.told("the password is not sent to a server that is not known"), "words")
        assert not sink.batches
        assert site.pki is not None
        certs.trust(fresh, x.thumbprint(site.pki.own_certificate), issuer=False)
        await until(lambda: sink.online, "the link once its server is trusted")


@pytest.mark.parametrize(("mode", "policy"), CHANNELS[1:])
async def test_a_channel_is_renewed_while_it_is_in_use(site: Site, ours: Pki, mode: str, policy: str) -> None:
    at = device("opcua", site.endpoint(), security=mode, policy=policy)
    client = await connected(at, ours)
    try:
        node = client.get_node("ns=2;s=Tank.Level")
        for _ in range(3):
            await asyncio.gather(*(node.read_value() for _ in range(5)), client.open_secure_channel(renew=True))
            client.uaclient.revolve_security_token()
            assert await node.read_value() is not None
    finally:
        await client.disconnect()


@pytest.mark.parametrize(
    "answer", [b"", b"ACKF garbage that is no OPC UA at all", b"\x00" * 64], ids=["silent", "text", "zeros"]
)
async def test_a_server_that_is_silent_or_talks_nonsense_leaves_nothing_behind(ours: Pki, answer: bytes) -> None:
    knocks = 0
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal knocks
        knocks += 1
        writers.append(writer)
        writer.write(answer)
        with contextlib.suppress(OSError):
            await reader.read()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before = asyncio.all_tasks()
    at = device("opcua", f"opc.tcp://127.0.0.1:{port}", **{**QUICK, "timeout_s": 0.1}, **SEALED)
    sink = ToldSink()
    over = OpcUaLink(at, [LEVEL], sink, time.time_ns, seeded(), ours.folder)
    async with running(over):
        await until(lambda: knocks >= 3, "three attempts")
    for writer in writers:
        writer.close()
    server.close()
    await until(lambda: not {t for t in asyncio.all_tasks() - before if not t.done()}, "the end of every task")
    assert not sink.online and not sink.batches


async def test_links_renew_their_channels_and_miss_nothing(
    site: Site, ours: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.opcua.channel.CHANNEL_LIFE_MS", 800)
    renewals: Counter[str] = Counter()
    renew = Client.open_secure_channel

    async def counted(self: Client, renew_it: bool = False, **more: bool) -> None:
        again = more.get("renew", renew_it)
        renewals[self.security_policy.URI + self.security_policy.Mode.name] += again
        await renew(self, again)

    monkeypatch.setattr(Client, "open_secure_channel", counted)
    sinks = [ToldSink() for _ in CHANNELS]
    links = [
        link(sink, site.endpoint(), ours, security=mode, policy=policy)
        for sink, (mode, policy) in zip(sinks, CHANNELS, strict=True)
    ]
    tasks = [asyncio.create_task(one.run()) for one in links]
    try:
        await until(lambda: all(sink.online for sink in sinks), "all links")
        level = 100.0
        while min(renewals.values()) < 3 or len(renewals) < len(CHANNELS):
            level += 1
            await site.fill(level)
            await until(lambda level=level: all(sink.value(0) == level for sink in sinks), "the value at every link")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert all(sink.details == ["", "", ""] for sink in sinks)


async def connected(at: Any, pki: Pki | None) -> Client:
    client = Client(at.endpoint)
    await secure(client, at, pki and pki.folder)
    await client.connect_socket()
    await client.send_hello()
    await client.open_secure_channel()
    await client.create_session()
    await sign_in(client, at, pki and pki.folder)
    return client
