"""The server's own port with TLS and small limits, as its owner may set them: headers, sizes, rates, sockets, log."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from control import certs
from control.accounts import Accounts
from control.api.guard import HSTS
from control.api.intake import HEAD_MAX, Intake
from control.api.redirect import Redirect
from control.api.route import BODY_MAX
from control.api.wire import FRAME_MAX, SUBPROTOCOL
from control.api.ws import STRANGERS_EACH_MAX
from control.app import Config, serve
from control.client import Client
from control.demo import server_words
from control.identity import TOKEN_FILE
from control.tls import Pair, keep_up, server_context
from protocols.pki import Pki
from tests.control.plants import until as soon
from tests.plant.site import Site, site, until
from twin.errors import BadRequest
from twin.role import Role

PASSWORD = "eleven pumps"
BURST = 60
SETTINGS = f"""
[session]
hours = 1
[limits]
caller_calls_per_s = 5
caller_burst = {BURST}
[metrics]
open_to = "signed-in"
"""


class Door:
    """A server with TLS whose devices are all dead."""

    def __init__(self, made: Site, client: Client, plain_port: int) -> None:
        self.site, self.client, self.plain_port = made, client, plain_port
        self.port = int(client.url.rpartition(":")[2])
        self.token = (made.data / TOKEN_FILE).read_text()
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(method, self.client.url + path, verify=self.context, trust_env=False, **more)

    def raw(self, content: bytes, plain: bool = False) -> bytes:
        """What comes back on a connection of its own until the server closes it."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as bare:
            line = bare if plain else self.context.wrap_socket(bare, server_hostname="localhost")
            answer = b""
            try:
                line.sendall(content)
                while part := line.recv(65_536):
                    answer += part
            except (ConnectionError, ssl.SSLError):
                pass
            return answer


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with site(tmp_path_factory.mktemp("door")) as made:
        made.data.mkdir()
        (made.data / "server.toml").write_text(SETTINGS)
        certs.init(
            Pki(made.data / "pki"), certs.identity("Door", "", None, ["localhost"]), 2048, 30, False, datetime.now(UTC)
        )
        Accounts(made.data, time.time_ns).add("anna", PASSWORD, Role.OPERATOR)
        dead = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}
        log = made.data / "server.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            plain = free.getsockname()[1]
        words = [*server_words(made.data, 0, dead), "--tls", "--log-file", str(log), "--redirect-http", str(plain)]
        made.server = made._child(words)
        made.login = made.server.first_line()["login"]
        with Client(made.data) as client:
            yield Door(made, client, plain)


def test_tls_has_its_cookie_and_says_that_it_stays(door: Door) -> None:
    assert door.client.url.startswith("https://") and door.site.login.startswith("https://")
    answer = door.ask("POST", "/api/v1/session", json={"account": "anna", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-twinloop_session=") and {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(
        cookie.split("; ")
    )
    assert answer.headers[HSTS[0].decode()] == HSTS[1].decode()
    assert answer.json()["expires_ms"] == 3600_000
    value = cookie.partition("=")[2].partition(";")[0]
    assert door.ask("GET", "/api/v1/session", cookies={"__Host-twinloop_session": value}).status_code == 200
    assert door.ask("GET", "/api/v1/session", cookies={"twinloop_session": value}).status_code == 401


def test_plain_http_on_the_port_of_tls_gets_nothing(door: Door) -> None:
    assert b"HTTP" not in door.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", plain=True)


def test_plain_http_on_a_port_of_its_own_is_sent_on_to_tls_by_the_servers_own_name_only(door: Door) -> None:
    url = f"http://localhost:{door.plain_port}"
    answer = httpx.get(f"{url}/login?token=a%2Fb", trust_env=False)
    to = f"https://localhost:{door.port}/login?token=a%2Fb"
    assert (answer.status_code, answer.headers["location"]) == (308, to)
    assert "strict-transport-security" not in answer.headers  # which a browser would pass over here
    page = httpx.get(f"{url}/healthz", verify=door.context, follow_redirects=True, trust_env=False)
    assert (page.status_code, page.text) == (200, "ok\n")
    assert httpx.post(f"{url}/api/v1/session", json={"password": PASSWORD}, trust_env=False).status_code == 403
    for host in ("evil.example", f"evil.example:{door.port}", "", "localhost@evil.example"):
        answer = httpx.get(url, headers={"Host": host}, trust_env=False)
        assert (answer.status_code, "location" in answer.headers) == (403, False)


@pytest.mark.parametrize(
    ("host", "port", "to"),
    [
        ("twin.local", 443, "twin.local"),
        ("twin.local:80", 443, "twin.local"),
        ("[::1]:8080", 8443, "[::1]:8443"),
        ("[::1]", 8443, "[::1]:8443"),
        ("behind.local", 8443, ""),
        ("", 8443, ""),
    ],
)
def test_a_browser_is_sent_on_to_the_name_by_which_it_called(host: str, port: int, to: str) -> None:
    hosts = {"twin.local", f"twin.local:{port}", f"[::1]:{port}", "behind.local"}
    assert Redirect(hosts, port)._host(host) == to


async def test_there_is_nothing_to_send_on_to_without_tls(tmp_path: Path) -> None:
    config = Config(tmp_path, tmp_path / "data", "127.0.0.1", 0, {}, 1, redirect=0)
    with pytest.raises(BadRequest, match="there is no TLS"):
        await serve(config, lambda *_: None, asyncio.Event())


def test_the_command_line_believes_this_very_certificate_only(door: Door, tmp_path: Path) -> None:
    assert door.client.get("/session")["name"] == "cli"
    other = Pki(tmp_path / "pki")
    certs.init(other, certs.identity("Other", "", None, ["localhost"]), 2048, 30, False, datetime.now(UTC))
    forged = json.loads((door.site.data / "server.json").read_text())
    forged["certificate"] = str(other.own_certificate_path)
    (tmp_path / "server.json").write_text(json.dumps(forged))
    (tmp_path / TOKEN_FILE).write_text(door.token)
    with Client(tmp_path) as client, pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        client.get("/session")


async def test_a_renewed_certificate_is_shown_to_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.tls.RELOAD_EVERY_S", 0.02)
    pki = Pki(tmp_path / "pki")
    certs.init(pki, certs.identity("Door", "", None, ["localhost"]), 2048, 30, False, datetime.now(UTC))
    pair = Pair(pki.own_certificate_path, pki.own_key_path)
    context = server_context(pair)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    keeping = asyncio.create_task(keep_up(pair, context))

    async def shown() -> bytes:
        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=blind)
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        return found

    try:
        before = await shown()
        pki.own_key_path.write_text("no key")
        await asyncio.sleep(0.1)
        assert await shown() == before, "while the files do not do, the old one stays"
        await asyncio.to_thread(certs.init, Pki(tmp_path / "new"), certs.identity("Door", "", None, ["localhost"]), 2048, 30,
                                False, datetime.now(UTC))  # fmt: skip
        for name in ("own/key.pem", "own/certificate.der"):
            (tmp_path / "new" / name).replace(tmp_path / "pki" / name)
        await soon(shown, lambda now: now != before)
    finally:
        keeping.cancel()
        server.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "plant.local"])
async def test_other_machines_come_over_tls_or_not_at_all(tmp_path: Path, host: str) -> None:
    config = Config(Path("scenarios/water"), tmp_path / "data", host, 0, {}, 0)
    with pytest.raises(BadRequest, match="there is no TLS"):
        await serve(config, lambda *_: None, asyncio.Event())
    assert not (tmp_path / "data").exists()


def test_figures_are_for_those_they_were_opened_to(door: Door) -> None:
    assert door.ask("GET", "/metrics").status_code == 401
    bearer = {"Authorization": f"Bearer {door.token}"}
    assert "twinloop_" in door.ask("GET", "/metrics", headers=bearer).text
    for path in ("/healthz", "/readyz"):
        assert door.ask("GET", path).status_code == 200


def test_who_calls_too_often_is_told_when_to_come_again_and_others_go_on(door: Door) -> None:
    secret = door.ask("POST", "/api/v1/session", json={"account": "anna", "password": PASSWORD}).json()["secret"]
    with httpx.Client(base_url=door.client.url, verify=door.context, trust_env=False) as http:
        http.headers["Authorization"] = f"Bearer {secret}"
        codes: list[int] = []
        while 429 not in codes and len(codes) < 20 * BURST:
            answer = http.get("/api/v1/session")
            codes.append(answer.status_code)
    assert len(codes) > BURST and set(codes) == {200, 429}
    assert answer.json()["code"] == "limit_exceeded" and int(answer.headers["retry-after"]) >= 1
    assert door.client.get("/session")["name"] == "cli"


def test_a_large_head_is_refused_and_a_long_address_too(door: Door) -> None:
    host = f"Host: localhost:{door.port}\r\n".encode()
    for content in (
        b"GET / HTTP/1.1\r\n" + host + b"X-Long: " + b"x" * HEAD_MAX + b"\r\n\r\n",
        b"GET /?" + b"x" * HEAD_MAX + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"".join(b"X-%d: y\r\n" % n for n in range(HEAD_MAX // 8)) + b"\r\n",
    ):
        assert door.raw(content)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400"), content[:40]
    unfinished = b"GET / HTTP/1.1\r\n" + host + b"X-Long: " + b"x" * (2 * HEAD_MAX)
    assert door.raw(unfinished).startswith(b"HTTP/1.1 431")


def test_a_request_that_names_two_hosts_is_refused(door: Door) -> None:
    host = f"Host: localhost:{door.port}\r\n".encode()
    assert b" 403 " in door.raw(b"GET /api/v1/plant HTTP/1.1\r\n" + host + b"Host: evil.example\r\n\r\n")[:20]


async def test_a_head_that_does_not_end_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    monkeypatch.setattr("control.api.intake.HEAD_S", 0.2)

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(hello, http=Intake, lifespan="off", log_config=None, timeout_keep_alive=30))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    where = listener.getsockname()[:2]
    try:
        await soon(lambda: server.started, bool)
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            reader, writer = await asyncio.open_connection(*where)
            writer.write(begun)
            async with asyncio.timeout(10):
                assert await reader.read() == b""
        reader, writer = await asyncio.open_connection(*where)
        whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        big, line = await asyncio.open_connection(*where)
        line.write(whole[:-2] + b"X-Long: " + b"x" * HEAD_MAX + b"\r\n\r\n")  # in one piece
        async with asyncio.timeout(10):
            assert (await big.read()).startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
        for _ in range(3):  # whoever is in time may keep the connection
            writer.write(whole)
            async with asyncio.timeout(10):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                assert await reader.readexactly(2) == b"ok"
            await asyncio.sleep(0.3)
        writer.write(whole[:20])
        async with asyncio.timeout(10):
            assert await reader.read() == b"", "but its next head has no more time"
    finally:
        server.should_exit = True
        await serving


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(door: Door) -> None:
    bearer = {"Authorization": f"Bearer {door.token}"}

    def parts() -> Iterator[bytes]:
        for _ in range(BODY_MAX // 50_000 + 2):
            yield b" " * 50_000

    for content in (b" " * (BODY_MAX + 1), parts()):
        answer = door.ask("POST", "/api/v1/query", content=content, headers=bearer)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    lied = f"POST /api/v1/query HTTP/1.1\r\nHost: localhost:{door.port}\r\nContent-Length: {BODY_MAX * 1000}\r\n\r\n"
    assert door.raw(lied.encode()).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/api/v1/query", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", "/api/v1/query", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", "/api/v1/plant", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", "/api/v1/plant", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("GET", "/healthz", {"Sec-Fetch-Site": "cross-site"}, 200),
        ("POST", "/api/v1/query", {"Origin": "null"}, 403),
        ("POST", "/api/v1/query", {"Origin": "http://localhost:PORT"}, 403),
        ("POST", "/api/v1/query", {"Origin": "https://localhost:PORT.evil.example"}, 403),
        ("GET", "/api/v1/plant", {"Origin": "https://localhost:PORT"}, 200),
        ("GET", "/api/v1/plant", {"Host": "localhost"}, 403),
        ("GET", "/api/v1/plant", {"Host": "localhost:PORT@evil.example"}, 403),
    ],
)
def test_another_sites_page_gets_nothing_done(
    door: Door, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    sent = {k: v.replace("PORT", str(door.port)) for k, v in headers.items()}
    sent = {"Host": f"localhost:{door.port}", "Authorization": f"Bearer {door.token}", **sent}
    answer = door.ask(method, path, headers=sent, **({"json": {"sql": "SELECT 1"}} if method == "POST" else {}))
    assert answer.status_code == status, answer.text


async def test_strangers_sockets_are_few_and_keep_nobody_out_who_has_signed_in(door: Door) -> None:
    address = door.client.url.replace("https", "wss") + "/ws"
    how: dict[str, Any] = {"subprotocols": [SUBPROTOCOL], "proxy": None, "ssl": door.context}
    ticket = (await asyncio.to_thread(door.client.post, "/ticket"))["ticket"]
    async with connect(address, **how) as mine:
        await mine.send(msgpack.packb({"t": "auth", "ticket": ticket}))
        while msgpack.unpackb(await mine.recv())["t"] != "welcome":
            pass
        strangers = [await connect(address, **how) for _ in range(STRANGERS_EACH_MAX)]
        async with connect(address, **how) as late:
            with pytest.raises(ConnectionClosed) as gone:
                said = [msgpack.unpackb(await late.recv())["code"] for _ in range(2)]
                assert said == ["limit_exceeded"]
            assert gone.value.rcvd is not None and gone.value.rcvd.code == 1013
        await mine.send(msgpack.packb({"t": "sub", "from": None}))
        async with asyncio.timeout(10):
            while msgpack.unpackb(await mine.recv())["t"] != "snapshot":
                pass
        for stranger in strangers:
            await stranger.close()
        ticket = (await asyncio.to_thread(door.client.post, "/ticket"))["ticket"]
        async with connect(address, **how) as again:
            await again.send(msgpack.packb({"t": "auth", "ticket": ticket}))
            assert {msgpack.unpackb(await again.recv())["t"] for _ in range(2)} == {"hello", "welcome"}


async def test_a_frame_larger_than_is_held_closes_the_socket_of_a_stranger(door: Door) -> None:
    address = door.client.url.replace("https", "wss") + "/ws"
    async with connect(address, subprotocols=[SUBPROTOCOL], proxy=None, ssl=door.context) as socket:  # type: ignore[list-item]
        await socket.recv()
        with pytest.raises(ConnectionClosed) as gone:
            await socket.send(b"x" * (FRAME_MAX + 1))
            await socket.recv()
    assert gone.value.rcvd is not None and gone.value.rcvd.code == 1009


def test_the_log_is_json_lines_that_name_request_and_command_and_no_secret(door: Door) -> None:
    answer = door.ask("GET", "/api/v1/plant", headers={"X-Request-Id": "shift-7:42"})
    assert answer.headers["x-request-id"] == "shift-7:42"
    assert re.fullmatch(
        r"[0-9a-f]{24}", door.ask("GET", "/x", headers={"X-Request-Id": "no\tgood"}).headers["x-request-id"]
    )
    body = {"key": "logged", "point": "pump_335.status", "value": 1.0, "deadline_s": 0.1}
    made = door.client.post("/commands", body)
    until(lambda: door.client.get(f"/commands/{made['id']}"), lambda c: c["final"])
    path = door.site.data / "server.log"

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    found = until(lambda: [x for x in lines() if x.get("correlation") == made["id"]], bool)
    assert {"time", "level", "logger", "message"} <= set(found[0]) and "EXPIRED" in found[-1]["message"]
    for secret in (door.token, PASSWORD):
        assert secret not in path.read_text()
