"""What strangers send over the WebSocket: garbage, too much, out of turn, another's ticket. Nobody else notices."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from control.api.line import MESSAGE_MAX
from tests.control.sockets import Heard, Server, serving

AUTH = {"t": "auth", "ticket": "x"}
SUB = {"t": "sub", "from": {"epoch": 7, "seq": 0}, "points": ["t0.v0", 1], "twins": [], "frames_per_s": 5}
CALL = {"t": "call", "ref": 1, "verb": "fly", "body": {"key": "k"}}
STRANGE: tuple[Any, ...] = (
    None,
    -1,
    2**63,
    2**64 - 1,
    float("nan"),
    "",
    "\x00",
    "x" * 9_000,
    b"\xff",
    [],
    [[]] * 40,
    {},
    True,
)
SEEDS = 40


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as made:
        yield made


def frame(chance: random.Random) -> str | bytes:
    """Nearly a message: a field is strange or gone, or some of its bytes are others."""
    message: dict[str, Any] = dict(chance.choice((AUTH, SUB, CALL, {"t": "ping"})))
    for _ in range(chance.randint(0, 2)):
        message[chance.choice((*message, "more"))] = chance.choice(STRANGE)
    if chance.random() < 0.2:
        message.pop(chance.choice(tuple(message)))
    data = bytearray(msgpack.packb(message))
    for _ in range(chance.choice((0, 0, 1, 8))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    del data[chance.choice((len(data), chance.randrange(len(data) + 1))) :]
    return bytes(data) if chance.random() < 0.9 else data.decode("latin-1")


@pytest.mark.parametrize("stage", ["stranger", "signed in", "subscribed"])
async def test_no_frame_breaks_the_server_or_anybody_else(
    server: Server, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.client() as good:
        await good.until("snapshot")
        for seed in range(SEEDS):
            chance = random.Random(seed)
            async with server.connect() as socket:
                client = Heard(socket)
                if stage == "stranger":
                    await client.until("hello")
                else:
                    await client.sign_in(server.ticket())
                if stage == "subscribed":
                    await client.say(t="sub", **{"from": None})
                try:
                    for _ in range(4):
                        await socket.send(frame(chance))
                except ConnectionClosed:
                    pass
        server.move(0, value=5.0)
        await good.reach(server.live.feed.seq)
        assert good.values[0] == 5.0
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR" and r.name.startswith("twinloop")] == []
    assert server.console.figures.clients <= 1 + SEEDS


@pytest.mark.parametrize("said", [SUB, CALL, {"t": "ping"}], ids=["sub", "call", "ping"])
async def test_nothing_is_taken_before_the_ticket(server: Server, said: dict[str, Any]) -> None:
    async with server.connect() as socket:
        client = Heard(socket)
        await client.say(**said)
        assert (await client.until("error"))["message"] == "the first message must be auth"
        assert await closed(client) == 1008


@pytest.mark.parametrize("said", [AUTH, CALL, {"t": "ping"}], ids=["auth", "call", "ping"])
async def test_nothing_is_taken_between_ticket_and_subscription(server: Server, said: dict[str, Any]) -> None:
    async with server.connect() as socket:
        client = Heard(socket)
        await client.sign_in(server.ticket())
        await client.say(**said)
        assert (await client.until("error"))["message"] == "the second message must be sub"
        assert await closed(client) == 1008


async def test_nobody_subscribes_twice(server: Server) -> None:
    async with server.client() as client:
        await client.say(**SUB)
        assert (await client.until("error"))["message"] == "only ping and call are taken after sub"
        assert await closed(client) == 1008


async def test_a_ticket_that_was_used_lets_nobody_in(server: Server) -> None:
    ticket = server.ticket()
    async with server.connect() as first, server.connect() as second:
        await Heard(first).sign_in(ticket)
        thief = Heard(second)
        await thief.say(t="auth", ticket=ticket)
        assert (await thief.until("error"))["code"] == "denied"
        assert await closed(thief) == 4401


@pytest.mark.parametrize(("size", "code"), [(MESSAGE_MAX + 1, 1008), (20_000_000, 1009)])
async def test_a_message_that_is_too_large_ends_its_socket(server: Server, size: int, code: int) -> None:
    async with server.client() as good, server.client() as bad:
        try:
            await bad.socket.send(b"\xc4" * size)
            assert await closed(bad) == code
        except ConnectionClosed:
            pass  # it went while we were still sending
        await good.until("heartbeat", "snapshot")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
async def test_a_page_of_another_site_cannot_open_a_socket(server: Server, origin: str) -> None:
    with pytest.raises(InvalidHandshake):
        async with server.connect(origin=origin):
            pass


async def test_the_own_page_can(server: Server) -> None:
    async with server.connect(origin=f"http://127.0.0.1:{server.port}") as socket:
        await Heard(socket).sign_in(server.ticket())


async def test_another_sites_request_and_a_foreign_host_name_are_refused(server: Server) -> None:
    with pytest.raises(InvalidHandshake):
        async with server.connect(additional_headers={"Sec-Fetch-Site": "cross-site"}):
            pass
    with pytest.raises(InvalidHandshake):
        async with server.connect(host_name="localhost"):
            pass


async def closed(client: Heard) -> int | None:
    """The code of the close that follows."""
    with pytest.raises(ConnectionClosed) as gone:
        while True:
            await client.next()
    return None if gone.value.rcvd is None else gone.value.rcvd.code
