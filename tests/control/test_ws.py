"""What many clients of the WebSocket are sent: shared frames, filters, resume, and the end of one that takes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed

from control.api import outlet
from control.api.ws import Limits
from control.rates import Rate
from tests.control.sockets import Heard, serving
from twin.feed import EVENTS_MAX


async def test_clients_that_need_the_same_frame_share_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.client() as one, server.client() as other:
        await asyncio.gather(one.until("snapshot"), other.until("snapshot"))
        before, sent = server.console.frames.made, server.console.figures.sent
        for value in range(5):
            server.move(1, 2, value=value)
            await asyncio.gather(one.reach(server.live.feed.seq), other.reach(server.live.feed.seq))
        assert one.values == other.values
        made = server.console.frames.made - before
        assert server.console.figures.sent - sent >= 10
        assert made < 10 + 5  # both get five deltas of five frames; nothings between may be made, too
        assert server.console.figures.clients == 2


async def test_a_client_gets_only_the_points_twins_and_events_it_asked_for_and_always_the_head(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:  # t0: 0…4, t1 (part of t0): 5…9, t2: 10…14, t3: 15…19
        asked = {"points": ["t2.v0", 11], "twins": ["t0"], "events": ["command"]}
        async with server.client(**asked) as some, server.client(points=[], events=[]) as silent:
            first = await some.until("snapshot")
            assert len(first["columns"]["point"]) == 4 * 12
            server.move(*range(20), value=3.0)
            server.announce(1, "link")
            server.announce(2, "command")
            await some.reach(server.live.feed.seq)
            assert {i for i, v in some.values.items() if v == 3.0} == {*range(12)}
            assert some.events == [2]
            await silent.reach(server.live.feed.seq)
            assert silent.values == {} and silent.events == []


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({"points": ["t9.v0"]}, "not_found", "there is no point 't9.v0'"),
        ({"points": [99]}, "not_found", "there is no point 99"),
        ({"twins": ["tank"]}, "not_found", "there is no twin 'tank'"),
        ({"events": ["comand"]}, "bad_request", "there is no kind of event 'comand'"),
        ({"frames_per_s": 21}, "bad_request", "not a message"),
        ({"frames_per_s": 0}, "bad_request", "not a message"),
        ({"point": []}, "bad_request", "not a message"),
    ],
)
async def test_a_subscription_to_what_is_not_there_says_so(
    tmp_path: Path, asked: dict[str, Any], code: str, words: str
) -> None:
    async with serving(tmp_path) as server, server.client(**asked) as client:
        problem = await client.until("error")
        assert (problem["code"], problem["message"][: len(words)]) == (code, words)
        with pytest.raises(ConnectionClosed):
            await client.next()


async def test_who_comes_back_gets_every_event_once_missed_and_the_newest_state_filtered_or_not(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for asked in ({}, {"twins": ["t0"], "events": ["link"], "frames_per_s": 20}):
            async with server.client(**asked) as client:
                await client.until("snapshot")
                server.announce(1)
                await client.reach(server.live.feed.seq)
                position = client.position
            for number in range(2, 50):
                server.announce(number)
                server.announce(-number, "audit")
                server.move(3, 18, value=number)
            async with server.client(position, **asked) as again:
                await again.reach(server.live.feed.seq)
                assert again.snapshots == 0
                assert [n for n in again.events if n > 0] == list(range(2, 50))
                assert again.values[3] == 49.0 and (18 in again.values) == (not asked)


async def test_who_comes_back_to_a_plant_where_nothing_happened_is_told_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        position = {"epoch": 7, "seq": server.live.feed.seq}
        async with server.client(position) as client:
            assert (await client.until("heartbeat", "snapshot"))["t"] == "heartbeat"


async def test_what_happens_between_the_welcome_and_the_snapshot_is_told(tmp_path: Path) -> None:
    """Who asks over HTTP after the welcome misses nothing."""
    async with serving(tmp_path) as server, server.connect(compression=None) as socket:
        client = Heard(socket)
        await client.sign_in(server.ticket())
        server.announce(1)
        await client.say(t="sub", **{"from": None})
        server.announce(2)
        await client.until("snapshot")
        server.announce(3)
        await client.reach(server.live.feed.seq)
        while client.events[-1:] != [3]:
            await client.next()
        assert client.events == [1, 2, 3] and client.snapshots == 1


async def test_who_asks_for_few_frames_gets_the_newest_state_in_each(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.client(frames_per_s=2) as slow, server.client() as fast:
        await asyncio.gather(slow.until("snapshot"), fast.until("snapshot"))
        deltas = 0
        for number in range(4):
            server.announce(number)
            server.move(0, value=number)
            await fast.until("delta")
        while slow.seq < server.live.feed.seq:
            deltas += (await slow.next())["t"] == "delta"
        assert deltas <= 4 and slow.events == [0, 1, 2, 3] and slow.values[0] == 3.0


async def test_one_that_takes_nothing_is_let_go_and_nobody_else_notices(tmp_path: Path) -> None:
    """It hears why once it reads again; the others have every event, in order, and the newest state."""
    limits = Limits(send_s=0.3, check_s=0.05)
    async with serving(tmp_path, limits=limits) as server, server.client() as stalled, server.client() as good:
        await asyncio.gather(stalled.until("snapshot"), good.until("snapshot"))
        stalled.socket.transport.pause_reading()
        number = 0
        while server.console.figures.evicted == 0:
            for _ in range(20):
                server.announce(number, size=20_000)
                number += 1
            server.move(0, value=number)
            await good.reach(server.live.feed.seq)
        assert good.events == list(range(number)) and good.values[0] == number
        stalled.socket.transport.resume_reading()
        problem = await stalled.until("error")
        assert problem["code"] == "limit_exceeded" and "nothing was taken" in problem["message"]
        with pytest.raises(ConnectionClosed) as closed:
            await stalled.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        assert stalled.events == list(range(len(stalled.events)))
        async with server.client(stalled.position) as again:
            await again.reach(server.live.feed.seq)
            assert again.snapshots == 0 and again.events[-1] == number - 1


async def test_the_socket_of_one_that_never_reads_again_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "GONE_S", 0.1)
    async with serving(tmp_path, limits=Limits(send_s=0.2, check_s=0.05)) as server, server.client() as stalled:
        await stalled.until("snapshot")
        stalled.socket.transport.pause_reading()
        number = 0
        while server.sockets():
            server.announce(number, size=50_000)
            number += 1
            await asyncio.sleep(0.01)
        assert (server.console.figures.evicted, server.console.figures.clients) == (1, 0)


async def test_one_that_falls_behind_the_events_kept_is_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(check_s=0.05)) as server, server.client() as client:
        await client.until("snapshot")
        for number in range(EVENTS_MAX + 100):
            server.announce(number)
        problem = await client.until("error")
        assert problem["code"] == "overrun"
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        async with server.client(client.position) as again:
            assert (await again.until("snapshot"))["seq"] == server.live.feed.seq


async def test_too_many_messages_are_refused_by_name(tmp_path: Path) -> None:
    async with serving(tmp_path, rate=Rate(1, 5)) as server, server.client() as client:
        await client.until("snapshot")
        for ref in range(8):
            await client.say(t="call", ref=ref, verb="nothing", body={})
        answers = {a["ref"]: a for a in [await client.until("error") for _ in range(8)]}
        assert [answers[r]["code"] for r in range(8)] == ["bad_request"] * 5 + ["limit_exceeded"] * 3
        assert answers[7]["message"] == "1 messages a second of one client are taken"
        await client.say(t="ping")
        problem = await client.until("error")
        assert (problem["code"], problem["ref"]) == ("limit_exceeded", None)
        with pytest.raises(ConnectionClosed):
            await client.next()


async def test_more_clients_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(clients=1)) as server, server.client() as client:
        await client.until("snapshot")
        async with server.connect() as socket:
            await socket.recv()
            await socket.send(msgpack.packb({"t": "auth", "ticket": server.ticket()}))
            assert msgpack.unpackb(await socket.recv())["message"] == "1 clients are connected"
        await client.until("heartbeat")
