"""OPC UA security against node-opcua, a server and a client that others wrote."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from control import certs
from protocols import certificate as x
from protocols.pki import Pki, pem_of_key, write
from tests.peers.node_server import NodeServer, installed, node_server
from tests.protocols.opcua_field import CHANNELS, MODES, PASSWORD, POLICIES, USER, Site, ToldSink
from tests.protocols.opcua_field import link as _link
from tests.protocols.pki_bench import NOW, certificate, folder, key
from tests.protocols.protocol_bench import free_port, point, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
ITEM = point(0, "ns=1;s=item.0")
SECRET = "s3cret/&+"
SEALED = {"security": "SignAndEncrypt", "policy": "Basic256Sha256"}
OFFER = {"items": 1, "types": "double", "modes": ",".join(MODES), "policies": ",".join(("None", *POLICIES))}


class Works:
    """A node-opcua server with its own folder of certificates, and ours."""

    def __init__(self, at: Path) -> None:
        self.at = at / "node"
        self.ours = folder(at, "twin")
        operator = certificate("operator", uri="")
        write(self.ours.inside("own/operator.der"), x.der(operator), private=False)
        write(self.ours.inside("own/operator.pem"), pem_of_key(key("operator")), private=True)

    def options(self, **more: Any) -> dict[str, Any]:
        return {**OFFER, "users": f"{USER}:{SECRET}", "accept": "false", "pki": self.at, **more}

    def trust(self, group: str, shown: Any) -> None:
        """The server's people put a certificate into their trust list: of `server`s peers or of `users`."""
        trusted = self.at / group / "trusted" / "certs"
        trusted.mkdir(parents=True, exist_ok=True)
        (trusted / f"peer[{x.thumbprint(shown).lower()}].pem").write_bytes(shown.public_bytes(Encoding.PEM))

    def trust_us(self) -> None:
        self.trust("server", self.ours.own_certificate)
        self.trust("users", x.read(self.ours.inside("own/operator.der").read_bytes()))

    def show(self, shown: Any, private: Any) -> None:
        """The server gets this certificate with its key, before it starts."""
        own = self.at / "server" / "own"
        for part in ("certs", "private"):
            (own / part).mkdir(parents=True, exist_ok=True)
        (own / "certs" / "certificate.pem").write_bytes(shown.public_bytes(Encoding.PEM))
        (own / "private" / "private_key.pem").write_bytes(pem_of_key(private))

    @property
    def certificate(self) -> Any:
        return x.read((self.at / "server" / "own" / "certs" / "certificate.pem").read_bytes())


def link(sink: ToldSink, server: NodeServer, pki: Pki, user: str = "", **settings: Any) -> Any:
    return _link(sink, server.endpoint.replace("opc.tcp://", f"opc.tcp://{user}"), pki, points=(ITEM,), **settings)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def works(tmp_path_factory: pytest.TempPathFactory) -> Works:
    return Works(tmp_path_factory.mktemp("works"))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(works: Works) -> AsyncIterator[NodeServer]:
    works.trust_us()
    async with node_server(**works.options()) as made:
        works.ours.take("trusted", works.certificate)
        yield made


AS_USER = "operator:s3cret%2F%26%2B@"


@pytest.mark.parametrize("who", ["anonymous", "password", "certificate"])
@pytest.mark.parametrize(("mode", "policy"), CHANNELS)
async def test_a_link_reads_and_subscribes_over_every_channel_as_every_user(
    works: Works, server: NodeServer, mode: str, policy: str | None, who: str
) -> None:
    signed = {"user_certificate": "own/operator.der", "user_key": "own/operator.pem"} if who == "certificate" else {}
    sink = ToldSink()
    await server.ask(do="set", node="s=item.0", value=1.0)
    user = AS_USER if who == "password" else ""
    over = link(sink, server, works.ours, user, security=mode, policy=policy, **signed)
    async with running(over):
        await until(lambda: sink.value(0) == 1.0, f"the first value ({sink.details})")
        await server.ask(do="set", node="s=item.0", value=2.5)
        await until(lambda: sink.value(0) == 2.5, "a change")
        answer = await over.read(ITEM, 2.0)
        assert answer is not None and answer.value[0] == 2.5
    assert sink.details == ["", "", ""], "connecting, online, stopped: at the first try"


@pytest.mark.parametrize("channel", [{}, {"security": "Sign"}, SEALED])
async def test_a_wrong_password_is_refused_in_words(works: Works, server: NodeServer, channel: dict[str, Any]) -> None:
    sink = ToldSink()
    async with running(link(sink, server, works.ours, "operator:wrong@", **channel)):
        await until(lambda: sink.told("the server refuses user operator: Bad"), f"words ({sink.details})")
    assert not sink.batches and not sink.told("wrong")


async def test_an_unknown_user_certificate_is_refused_in_words(works: Works, server: NodeServer) -> None:
    write(works.ours.inside("own/stranger.der"), x.der(certificate("stranger", uri="")), private=False)
    write(works.ours.inside("own/stranger.pem"), pem_of_key(key("stranger")), private=True)
    sink = ToldSink()
    shown = {"user_certificate": "own/stranger.der", "user_key": "own/stranger.pem"}
    async with running(link(sink, server, works.ours, **SEALED, **shown)):
        await until(lambda: sink.told("the server refuses the user certificate: Bad"), f"words ({sink.details})")
    assert not sink.batches


async def test_a_server_that_does_not_know_us_says_so_and_lets_us_in_once_it_does(
    works: Works, server: NodeServer, tmp_path: Path
) -> None:
    newcomer = folder(tmp_path, "newcomer")
    newcomer.take("trusted", works.certificate)
    sink = ToldSink()
    async with running(link(sink, server, newcomer, **SEALED)):
        await until(lambda: sink.told("the server does not"), f"words ({sink.details})")
        shutil.rmtree(works.at / "server" / "rejected")
        (works.at / "server" / "rejected").mkdir()
        works.trust("server", newcomer.own_certificate)
        await until(lambda: sink.online, f"the link once the server trusts it ({sink.details})", 20)


BAD_SERVERS = [
    (certificate("node", uri="urn:test:other"), "its ApplicationUri is urn:test:other, but the peer calls itself urn:"),
    (certificate("node", now=NOW - timedelta(days=101)), "it expired on"),
]


@pytest.mark.parametrize(("shown", "words"), BAD_SERVERS, ids=["of another application", "expired"])
async def test_a_trusted_certificate_that_is_wrong_in_itself_is_refused(tmp_path: Path, shown: Any, words: str) -> None:
    works = Works(tmp_path)
    works.show(shown, key("node"))
    works.trust_us()
    works.ours.take("trusted", shown)
    async with node_server(**works.options()) as server:
        sink = ToldSink()
        async with running(link(sink, server, works.ours, **SEALED)):
            await until(lambda: sink.told(words), f"words ({sink.details})")
        assert not sink.batches


async def test_a_server_that_comes_back_with_another_certificate_waits_for_trust(tmp_path: Path) -> None:
    works = Works(tmp_path)
    works.trust_us()
    port = free_port()
    sink = ToldSink()
    async with node_server(**works.options(port=port)) as first:
        works.ours.take("trusted", works.certificate)
        over = link(sink, first, works.ours, **SEALED)
        task = asyncio.create_task(over.run())
        try:
            await until(lambda: sink.online, f"the link ({sink.details})")
            await first.kill()
            await until(lambda: not sink.online, "the break")
            uri = x.application_uri(works.certificate)
            works.show(certificate("renewed", uri=uri), key("renewed"))
            async with node_server(**works.options(port=port)) as second:
                renewed = x.thumbprint(works.certificate)
                await until(lambda: sink.told(f"twinloop certs trust {renewed}"), f"words ({sink.details})", 20)
                before = len(sink.batches)
                assert not sink.online
                certs.trust(works.ours, renewed[:10], issuer=False)
                await until(lambda: sink.online and len(sink.batches) > before, "the link to the renewed server", 20)
                await second.kill()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def node_client(
    endpoint: str, pki: Path, channels: Sequence[str], identities: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, Any]]]:
    """What node-opcua's client finds at our server: identity -> channel -> {"value": …} or {"error": …}."""
    process = await asyncio.create_subprocess_exec(
        "node", "secure_client.js", "--endpoint", endpoint, "--pki", str(pki), "--channels", ",".join(channels),
        "--identities", json.dumps(identities), cwd=installed(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    answers = [line for line in out.decode().splitlines() if line.startswith("{")]
    assert answers, err.decode()[-2000:]
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(answers[-1])
    return found


async def test_a_foreign_client_reads_our_server_over_every_channel_as_every_user(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "client", folder(tmp_path, "site")
    operator = certificate("operator", uri="")
    ours.take("trusted", operator)
    write(tmp_path / "operator.der", x.der(operator), private=False)
    write(tmp_path / "operator.pem", pem_of_key(key("operator")), private=True)
    identities = {
        "nobody": {},
        "password": {"user": USER, "password": PASSWORD},
        "certificate": {"certificate": f"{tmp_path}/operator.der", "key": f"{tmp_path}/operator.pem"},
        "wrong": {"user": USER, "password": "wrong"},
    }
    channels = [f"{mode}/{policy or 'None'}" for mode, policy in CHANNELS]
    async with Site(ours) as site:
        unknown = await node_client(site.endpoint(), theirs, channels[-1:], {"nobody": {}})
        assert "BadCertificateUntrusted" in unknown["nobody"][channels[-1]]["error"]
        (client,) = ours.rejected()
        certs.trust(ours, x.thumbprint(client.certificate), issuer=False)
        found = await node_client(site.endpoint(), theirs, channels, identities)
    wrong = found.pop("wrong")
    assert [c for c in channels if "BadUserAccessDenied" not in wrong[c]["error"]] == []
    assert {(who, c): a for who, of in found.items() for c, a in of.items() if a != {"value": 1.0}} == {}
