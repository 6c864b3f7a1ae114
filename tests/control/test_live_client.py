"""The client of scripts against a real socket: it follows values and events over breaks, and says when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control.live_client import LivePlant, connect, found
from control.live_link import EVENTS_MAX
from tests.control.sockets import Server, serving
from twin.errors import BadRequest, NotFound, Unavailable
from twin.feed import Overrun


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as made:
        yield made


async def told(server: Server, plant: LivePlant, point: int, value: float) -> None:
    server.move(point, value=value)
    name = plant.plant.points[point].name
    async with asyncio.timeout(20):
        async for now in plant.changes(name):
            if now.value == value and now.good:
                return


def link(device: str) -> dict[str, str]:
    return {"device": device, "state": "online", "detail": ""}


async def test_a_script_follows_a_value_and_waits_for_a_condition(server: Server) -> None:
    async with connect(server.url, "any") as plant:
        assert plant.plant.id == "sockets"
        await told(server, plant, 3, 2.5)
        assert str(plant.value("t0.v3")) == "t0.v3 = 2.5 m (good)"
        waiting = asyncio.create_task(plant.until("t0.v3 > 3 m and t0.v4 < 1 m", 20))
        await told(server, plant, 3, 3.5)
        await waiting
        with pytest.raises(TimeoutError, match=r"t0\.v3 > 9 m does not hold: t0\.v3 is 3\.5 m"):
            await plant.until("t0.v3 > 9 m", 0)
        with pytest.raises(BadRequest):
            await plant.until("t0.v3 > 9 s", 1)
        with pytest.raises(NotFound):
            plant.value("t9.v0")


async def test_only_what_was_asked_for_comes(server: Server) -> None:
    async with connect(server.url, "any", points=["t0.v0"], twins=["t2"], events=[], frames_per_s=20) as plant:
        await told(server, plant, 0, 1.0)
        assert plant.value("t2.v0").good and not plant.value("t0.v1").good


async def test_events_come_once_each_in_order_over_breaks(server: Server) -> None:
    async with connect(server.url, "any") as plant:
        events = plant.events("link")
        heard: list[str] = []

        async def listen() -> None:
            async for event in events:
                body: Any = event.body
                heard.append(body.device)

        listening = asyncio.create_task(listen())
        for number in range(60):
            server.live.feed.announce("link", 0, link(str(number)))
            if number % 20 == 10:
                await asyncio.sleep(0.1)
                server.cut()
        await told(server, plant, 0, 9.0)
        await asyncio.sleep(0)
        listening.cancel()
        assert heard == [str(n) for n in range(60)]


async def test_no_event_is_lost_while_the_server_does_not_tell_of_the_plant(server: Server) -> None:
    async with connect(server.url, "any") as plant:
        before, events = plant.plant, plant.events()
        server.plant_refusals += [503, 429]
        announce = server.live.feed.announce
        announce("link", 0, link("first"))
        announce("plant", 0, {"revision": 2})
        announce("link", 0, link("last"))
        async with asyncio.timeout(20):
            kinds = [(await anext(events)).kind for _ in range(3)]
        assert kinds == ["link", "plant", "link"]
        assert not server.plant_refusals and plant.plant is not before


async def test_one_who_misses_events_is_told_so_and_values_go_on(server: Server) -> None:
    async with connect(server.url, "any") as plant:
        events = plant.events()
        server.cut()
        for number in range(EVENTS_MAX + 10):
            server.live.feed.announce("link", 0, link(str(number)))
        await told(server, plant, 0, 4.0)
        with pytest.raises(Overrun, match="no longer has"):
            await anext(events)


async def test_a_value_is_not_good_any_more_once_the_server_is_silent(server: Server) -> None:
    async with connect(server.url, "any") as plant:
        changes = plant.changes("t0.v0")
        assert (await anext(changes)).good
        server.hush()
        async with asyncio.timeout(20):
            assert (await anext(changes)).stale
        with pytest.raises(TimeoutError, match="nothing was heard of the server"):
            await plant.until("t0.v0 > 0 m", 0)


async def test_who_is_not_let_in_or_asks_for_what_is_not_there_hears_why(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no twin"):
        async with connect(server.url, "any", twins=["tank"]):
            pass
    with pytest.raises(Unavailable, match="does not answer"):
        async with connect("http://127.0.0.1:9", "any"):
            pass
    with pytest.raises(Unavailable, match="no server runs on"):
        found(tmp_path / "nothing")
