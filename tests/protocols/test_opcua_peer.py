"""The OPC UA link against node-opcua, a server that others wrote."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from protocols.link import LinkState, WriteOutcome
from protocols.opcua import messages
from protocols.opcua.channel import Channel
from protocols.opcua.link import OpcUaLink
from tests.peers.node_server import NodeServer, node_server
from tests.protocols.protocol_bench import Cable, RecordingSink, device, free_port, point, running, seeded, until
from twin.points import Point
from twin.quality import BAD_NODE_ID_UNKNOWN, GOOD
from twin.readings import Readings

ITEMS = 240
TYPES = ("double", "double", "integer", "integer", "integer", "integer", "integer", "integer", "boolean", "integer",
         "integer", "string")  # fmt: skip
QUICK = {"publishing_ms": 20.0, "sampling_ms": 0.0, "queue_size": 1000, "heartbeat_s": 0.1, "timeout_s": 2.0}
POINTS = [point(n, f"ns=1;s=item.{n}", TYPES[n % len(TYPES)]) for n in range(ITEMS)]
EXACT = [n for n in range(ITEMS) if n % len(TYPES) in (0, 2, 3)]  # items whose value says which change it was

pytestmark = pytest.mark.asyncio(loop_scope="module")


class History(RecordingSink):
    """Remembers every value of every point."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[int, list[float]] = defaultdict(list)

    def readings(self, batch: Readings) -> None:
        super().readings(batch)
        for id, value in zip(batch.point.tolist(), batch.value.tolist(), strict=True):
            self.values[id].append(value)

    def changes_of(self, id: int) -> list[int]:
        """Which changes of an item were heard of, in order of arrival."""
        return [round(value * (8 if id % len(TYPES) == 0 else 1)) for value in self.values[id]]


def link_to(
    server: NodeServer, sink: RecordingSink, points: list[Point] = POINTS, port: int | None = None, **settings: Any
) -> OpcUaLink:
    at = f"opc.tcp://127.0.0.1:{port or server.port}/peer"
    return OpcUaLink(device("opcua", at, **(QUICK | settings)), points, sink, time.time_ns, seeded())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[NodeServer]:
    async with node_server(items=ITEMS) as found:
        yield found


async def run_changes(server: NodeServer, sink: RecordingSink, rate: int, least: int) -> list[int]:
    """Let the server make changes; returns how many each item had in the end, once the last of them has arrived."""
    await server.ask(do="rate", changes_per_s=rate)
    deadline = time.monotonic() + 20
    while (await server.ask(do="sent"))["sent"] < least:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await server.ask(do="hold")
    steps: list[int] = (await server.ask(do="sent"))["steps"]
    await until(
        lambda: all(round(sink.latest[n][0] * (1 if n % 12 else 8)) == steps[n] for n in EXACT), "the last values"
    )
    return steps


async def test_every_change_of_every_type_arrives_exactly_and_in_order(server: NodeServer) -> None:
    sink = History()
    begun = (await server.ask(do="sent"))["steps"]
    async with running(link_to(server, sink)):
        await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
        steps = await run_changes(server, sink, 5_000, 10_000)
        for n in EXACT:
            assert sink.changes_of(n) == list(range(begun[n], steps[n] + 1))
        for n in range(ITEMS):
            kind = n % len(TYPES)
            wanted = {1: steps[n] / 8, 4: steps[n] % 30_000, 6: steps[n] % 100, 7: steps[n] % 200, 8: steps[n] % 2}
            if kind == 11:
                await until(lambda n=n: sink.texts[n] == f"text {steps[n]}", "the last text")
            elif kind in wanted:
                await until(lambda n=n, kind=kind, w=wanted: sink.value(n) == w[kind], "the last value")
        assert {sink.quality(n) for n in range(ITEMS)} == {GOOD}
    assert sink.letters == [] and sink.metrics.get("dropped", 0) == 0


async def test_a_cut_cable_costs_no_change_because_the_session_goes_on(server: NodeServer) -> None:
    sink = History()
    async with Cable(server.port) as cable, running(link_to(server, sink, port=cable.port)):
        await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
        await until(lambda: sink.metrics.get("lag_ms") is not None, "the heart beats")
        begun = (await server.ask(do="sent"))["steps"]
        await server.ask(do="rate", changes_per_s=3_000)
        await until(lambda: sink.value(0) != begun[0] / 8, "changes arrive")
        cable.cut()
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
        await until(lambda: sink.online, "the link is up again")
        steps = await run_changes(server, sink, 3_000, 3_000)
        for n in EXACT:
            assert sorted(set(sink.changes_of(n))) == list(range(begun[n], steps[n] + 1))
    assert sink.metrics["reconnects"] == 1 and sink.metrics.get("dropped", 0) == 0


async def test_after_silence_on_the_wire_nothing_is_missing_either(server: NodeServer) -> None:
    sink = History()
    async with Cable(server.port) as cable, running(link_to(server, sink, port=cable.port, timeout_s=0.5)):
        await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
        begun = (await server.ask(do="sent"))["steps"]
        cable.swallow = True
        await server.ask(do="rate", changes_per_s=2_000)
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the silence is noticed")
        cable.swallow = False
        await until(lambda: sink.online, "the link is up again")
        steps = await run_changes(server, sink, 2_000, 1_000)
        for n in EXACT:
            assert sorted(set(sink.changes_of(n))) == list(range(begun[n], steps[n] + 1))
    assert sink.metrics.get("dropped", 0) == 0


async def test_subscriptions_that_outlive_their_session_are_taken_over(server: NodeServer) -> None:
    sink = History()
    async with Cable(server.port) as cable, running(link_to(server, sink, port=cable.port, timeout_s=0.5)):
        await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
        begun = (await server.ask(do="sent"))["steps"]
        cable.swallow = True
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the silence is noticed")
        await server.ask(do="drop", what="sessions alone")
        assert await server.ask(do="count") == {"sessions": 0, "subscriptions": 1}
        await server.ask(do="rate", changes_per_s=2_000)
        cable.swallow = False
        await until(lambda: sink.online, "the link is up again")
        steps = await run_changes(server, sink, 2_000, 1_000)
        assert await server.ask(do="count") == {"sessions": 1, "subscriptions": 1}
        for n in EXACT:
            assert sorted(set(sink.changes_of(n))) == list(range(begun[n], steps[n] + 1))


async def test_unchanged_values_are_confirmed_when_the_session_goes_on(server: NodeServer) -> None:
    sink = RecordingSink()
    async with Cable(server.port) as cable, running(link_to(server, sink, port=cable.port)):
        await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
        await until(lambda: sink.metrics.get("lag_ms") is not None, "the heart beats")
        cable.cut()
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
        before = dict(sink.latest)
        sink.latest.clear()
        await until(lambda: len(sink.latest) == ITEMS, "every item is said again")
        numbers = [n for n in range(ITEMS) if TYPES[n % len(TYPES)] != "string"]
        assert [sink.latest[n] for n in numbers] == [before[n] for n in numbers], "with the time of their source"


@pytest.mark.parametrize("what", ["subscriptions", "sessions"])
async def test_what_the_server_drops_is_made_again(server: NodeServer, what: str) -> None:
    sink = RecordingSink()
    async with running(link_to(server, sink)):
        await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
        await server.ask(do="drop", what=what)
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
        await until(lambda: sink.online, "the link is up again")
        await server.ask(do="set", node="s=item.0", value=-7.5)
        await until(lambda: sink.value(0) == -7.5, "values flow again")


async def test_a_server_that_was_killed_is_found_again(server: NodeServer) -> None:
    sink, port = RecordingSink(), free_port()
    async with node_server(items=24, port=port) as first:
        link = link_to(first, sink, POINTS[:24])
        async with running(link):
            await until(lambda: len(sink.latest) == 24, "every item is read once")
            await first.kill()
            await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
            sink.latest.clear()
            async with node_server(items=24, port=port) as second:
                await until(lambda: sink.online and len(sink.latest) == 24, "every item is read again", 20.0)
                await second.ask(do="set", node="s=item.0", value=4.5)
                await until(lambda: sink.value(0) == 4.5, "values flow again")


async def test_the_limits_of_a_server_are_respected(server: NodeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[int, list[int]] = defaultdict(list)
    send = Channel.send

    def note(self: Channel, encoding: int, parameters: bytes, hint_s: float) -> Any:
        at = {messages.CREATE_ITEMS: 8, messages.READ: 12}.get(encoding)
        if at is not None:
            sent[encoding].append(int(np.frombuffer(parameters, "<i4", 1, at)[0]))
        return send(self, encoding, parameters, hint_s)

    monkeypatch.setattr(Channel, "send", note)
    sink = RecordingSink()
    limits, shape = "maxMonitoredItemsPerCall=7,maxNodesPerRead=5", "maxMonitoredItemsPerSubscription=30"
    async with (
        node_server(items=100, limits=limits, shape=shape) as small,
        Cable(small.port) as cable,
        running(link_to(small, sink, POINTS[:100], port=cable.port)),
    ):
        await until(lambda: len(sink.latest) == 100, "every item is read once")
        await until(lambda: sink.metrics.get("lag_ms") is not None, "the heart beats")
        cable.cut()
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
        await until(lambda: sum(n for n in sent[messages.READ] if n > 1) == 100, "every item is read again")
    assert max(sent[messages.CREATE_ITEMS]) == 7 and sum(sent[messages.CREATE_ITEMS]) == 100
    assert max(sent[messages.READ]) == 5
    assert sink.letters == []


async def test_a_node_that_comes_later_is_found_and_one_that_is_refused_is_told_once(
    server: NodeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.opcua.link.MISSING_RETRY_S", 0.2)
    sink, late = RecordingSink(), point(ITEMS, "ns=1;s=late")
    async with running(link_to(server, sink, [*POINTS[:12], late])):
        await until(lambda: sink.quality(ITEMS) == BAD_NODE_ID_UNKNOWN, "the node is missing")
        await server.ask(do="add", node="s=late", value=4.5)
        await until(lambda: sink.value(ITEMS) == 4.5 and sink.quality(ITEMS) == GOOD, "the node is found")
    assert [(letter.reason, letter.point) for letter in sink.letters] == [("unknown_address", f"twin{ITEMS}.value")]


async def test_commands_reach_the_server_in_the_type_of_its_node(server: NodeServer) -> None:
    wished = (("setpoint", "double", 12.5), ("switch", "boolean", 1.0), ("count", "integer", 41.0))
    points = [point(n, f"ns=1;s={name}", kind, writable=True) for n, (name, kind, _) in enumerate(wished)]
    sink = RecordingSink()
    link = link_to(server, sink, points)
    async with running(link):
        await until(lambda: len(sink.latest) == len(points), "every node is read once")
        for n, (_, _, value) in enumerate(wished):
            assert (await link.write(points[n], value, 2.0)).outcome is WriteOutcome.ACCEPTED
            await until(lambda n=n, value=value: sink.value(n) == value, "the write is seen")
        reading = await link.read(points[0], 2.0)
        assert reading is not None and reading.value.tolist() == [12.5]
        refused = await link.write(point(9, "ns=1;s=item.0", writable=True), 1.0, 2.0)
        assert refused.outcome is WriteOutcome.REFUSED and refused.detail in ("BadNotWritable", "BadUserAccessDenied")


async def test_a_stopped_link_leaves_no_subscription_at_the_server(server: NodeServer) -> None:
    sink = RecordingSink()
    async with running(link_to(server, sink)):
        await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
        assert (await server.ask(do="count"))["subscriptions"] == 1
    assert await server.ask(do="count") == {"sessions": 0, "subscriptions": 0}
