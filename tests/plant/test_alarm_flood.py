"""A flood of a thousand alarms over a real WebSocket that breaks in its middle: no step is lost, and none comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from websockets.asyncio.client import ClientConnection, connect

from control.api.wire import SUBPROTOCOL
from tests.plant.alarm_hall import CELLS_ALL, COLD, Hall, alarm_hall
from tests.plant.site import until


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with alarm_hall(tmp_path_factory.mktemp("hall")) as made:
        yield made


class Heard:
    """What a client keeps of all its sockets: events by `seq`, and the position to resume from."""

    def __init__(self) -> None:
        self.events: dict[int, dict[str, Any]] = {}
        self.position: dict[str, int] | None = None
        self.epoch = 0
        self.snapshots = 0

    @property
    def numbers(self) -> list[int]:
        """Of all steps in the order they were told, the flood's own among them."""
        found: list[int] = []
        for _, event in sorted(self.events.items()):
            body = event["body"]
            found += [c["n"] for c in body["changes"]] if event["kind"] == "alarm" else [body["n"]]
        return found

    async def listen(self, socket: ClientConnection, enough: int) -> None:
        """Until so many steps have been told, and the frame that told the last one is closed."""
        async with asyncio.timeout(60):
            while True:
                message = msgpack.unpackb(await socket.recv())
                match message["t"]:
                    case "welcome":
                        self.epoch = message["epoch"]
                        await socket.send(msgpack.packb({"t": "sub", "from": self.position}))
                    case "event" if message["kind"] in ("alarm", "alarm_flood"):
                        self.events[message["seq"]] = message
                    case "snapshot" | "delta" | "heartbeat":
                        self.snapshots += message["t"] == "snapshot"
                        self.position = {"epoch": self.epoch, "seq": message["seq"]}
                        if len(self.numbers) >= enough:
                            return


async def opened(hall: Hall) -> ClientConnection:
    ticket = (await asyncio.to_thread(hall.client.post, "/ticket"))["ticket"]
    address = hall.client.url.replace("http", "ws") + "/ws"
    socket = await connect(address, subprotocols=[SUBPROTOCOL], proxy=None, max_size=None)  # type: ignore[list-item]
    await socket.recv()
    await socket.send(msgpack.packb({"t": "auth", "ticket": ticket}))
    return socket


async def test_a_flood_over_a_socket_that_breaks_loses_no_step_and_doubles_none(hall: Hall) -> None:
    heard = Heard()
    before = (await asyncio.to_thread(hall.client.get, "/alarms"))["n"]
    socket = await opened(hall)
    await heard.listen(socket, 0)
    ended = hall.flood(over_s=5.0)
    await heard.listen(socket, 300)
    socket.transport.abort()  # no closing handshake: a cable that is pulled
    await asyncio.to_thread(ended)
    await asyncio.to_thread(until, hall.open, lambda n: n == CELLS_ALL)
    socket = await opened(hall)
    listed = await asyncio.to_thread(lambda: hall.client.get("/alarms", limit=5000))
    await heard.listen(socket, listed["n"] - before)
    await socket.close()

    assert heard.snapshots == 1  # the second socket went on where the first one broke
    assert sorted(heard.numbers) == list(range(before + 1, listed["n"] + 1))
    alarms = [c["alarm"]["id"] for e in heard.events.values() if e["kind"] == "alarm" for c in e["body"]["changes"]]
    assert len(alarms) == len(set(alarms)) == CELLS_ALL == len(listed["alarms"])
    assert listed["flood"] and {e["kind"] for e in heard.events.values()} == {"alarm", "alarm_flood"}


async def test_what_the_sockets_told_is_what_the_history_has_and_the_flood_is_acknowledged_in_one_call(
    hall: Hall,
) -> None:
    listed = await asyncio.to_thread(lambda: hall.client.get("/alarms", limit=5000))
    seen = {a["id"]: a["occurrence"] for a in listed["alarms"]}
    answer = await asyncio.to_thread(
        hall.client.post, "/alarms/acknowledge", {"alarms": [*seen], "occurrences": seen, "reason": "power is down"}
    )
    assert answer["done"] == CELLS_ALL
    await asyncio.to_thread(hall.flood(0.1, COLD))
    await asyncio.to_thread(until, hall.open, lambda n: n == 0)
    steps = await asyncio.to_thread(hall.history)
    assert [s["n"] for s in steps] == list(range(steps[0]["n"], 0, -1))
    assert sum(s["step"] == "cleared" for s in steps) == CELLS_ALL
