"""The OPC UA link against our own simulated device on a real socket."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import struct
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.common.utils import Buffer

from protocols.link import LinkState, WriteOutcome
from protocols.opcua import messages
from protocols.opcua.channel import Channel
from protocols.opcua.device import OpcUaDevice
from protocols.opcua.link import OpcUaLink
from tests.protocols.protocol_bench import (
    Cable,
    RecordingSink,
    Wished,
    device,
    free_port,
    point,
    running,
    seeded,
    until,
)
from twin.quality import BAD_NODE_ID_UNKNOWN, BAD_SENSOR_FAILURE, GOOD, UNCERTAIN

LEVEL = point(0, "ns=2;s=Tank.Level", low=0.0, high=10.0)
PUMP = point(1, "ns=2;s=Pump.Speed", writable=True, low=0.0, high=1500.0)
PUMP_FEEDBACK = point(2, "ns=2;s=Pump.SpeedFeedback")
VALVE = point(3, "ns=2;i=3001", "boolean", writable=True)
COUNT = point(4, "ns=3;i=7", "integer")
POINTS = (LEVEL, PUMP, PUMP_FEEDBACK, VALVE, COUNT)
START = {0: 2.5, 1: 0.0, 2: 0.0, 3: 0.0, 4: 7.0}
QUICK = {"publishing_ms": 20.0, "heartbeat_s": 0.1, "timeout_s": 1.0}

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Bench:
    """One device on a port that stays the same over restarts."""

    def __init__(self) -> None:
        self.wished = Wished()
        self.port = free_port()
        self.endpoint = f"opc.tcp://127.0.0.1:{self.port}/twinloop"
        self.device: OpcUaDevice | None = None

    async def power_on(self) -> None:
        self.device = OpcUaDevice(device("opcua", self.endpoint), POINTS, self.wished, time.time_ns)
        await self.device.start()
        await self.publish(START)

    async def power_off(self) -> None:
        if self.device is not None:
            await self.device.stop()
            self.device = None

    async def publish(self, values: dict[int, float], quality: dict[int, int] | None = None) -> int:
        assert self.device is not None
        now = time.time_ns()
        await self.device.publish(values, now, quality or {})
        return now

    def link(self, sink: RecordingSink, points: tuple = POINTS, port: int | None = None) -> OpcUaLink:
        endpoint = f"opc.tcp://127.0.0.1:{port or self.port}/twinloop"
        return OpcUaLink(device("opcua", endpoint, **QUICK), points, sink, time.time_ns, seeded())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def powered() -> AsyncIterator[Bench]:
    """One device for all tests: its address space takes more than a second to build."""
    bench = Bench()
    await bench.power_on()
    yield bench
    await bench.power_off()


@pytest_asyncio.fixture(loop_scope="module")
async def bench(powered: Bench) -> Bench:
    powered.wished.writes.clear()
    powered.wished.refuse = False
    await powered.publish(START)
    return powered


async def test_values_arrive_with_the_quality_and_time_of_their_source(bench: Bench) -> None:
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read once")
        sent = await bench.publish({0: 3.25, 3: 1.0, 4: 8.0}, {0: UNCERTAIN})
        await until(lambda: sink.value(0) == 3.25 and sink.value(3) == 1.0 and sink.value(4) == 8.0, "changes arrive")
        assert sink.latest[0][1:] == (UNCERTAIN, sent // 1000 * 1000)
        assert sink.quality(3) == GOOD
        await until(lambda: sink.beats >= 2, "the heartbeat beats")
        assert 0 < sink.metrics["lag_ms"] < 1000
    assert sink.states == [LinkState.CONNECTING, LinkState.ONLINE, LinkState.STOPPED]
    assert not sink.early


async def test_what_one_publish_brings_is_one_batch(bench: Bench) -> None:
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read once")
        assert max(len(batch) for batch in sink.batches) >= 3


async def test_a_failed_sensor_keeps_its_status_code_and_stops_nobody(bench: Bench) -> None:
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: sink.value(0) == 2.5, "the level is read")
        await bench.publish({0: 2.6, 2: 5.0}, {0: BAD_SENSOR_FAILURE})
        await until(lambda: sink.quality(0) == BAD_SENSOR_FAILURE and sink.value(2) == 5.0, "status and neighbour")
        assert math.isnan(sink.latest[0][0])
    assert sink.letters == []


async def test_an_impossible_value_becomes_a_dead_letter_and_the_others_go_on(bench: Bench) -> None:
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: sink.value(0) == 2.5, "the level is read")
        await bench.publish({0: 99.0, 2: math.nan, 4: 9.0})
        await until(lambda: sink.value(4) == 9.0, "the good value arrives")
        assert sink.value(0) == 2.5
        assert sink.reasons == {("twin0.value", "range"), ("twin2.value", "nan")}
        await bench.publish({0: 4.0})
        await until(lambda: sink.value(0) == 4.0, "the level is believed again")


async def test_one_node_that_the_server_does_not_know_is_reported_once_and_stops_nobody(bench: Bench) -> None:
    ghost = point(5, "ns=2;s=Ghost")
    sink = RecordingSink()
    async with running(bench.link(sink, (*POINTS, ghost))):
        await until(lambda: sink.value(0) == 2.5, "the level is read")
        assert sink.quality(5) == BAD_NODE_ID_UNKNOWN
        await bench.power_off()
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the link is down")
        sink.latest.clear()
        await bench.power_on()
        await until(lambda: sink.value(0) == 2.5, "the level is read again")
        assert sink.quality(5) == BAD_NODE_ID_UNKNOWN
    assert [(letter.reason, letter.point) for letter in sink.letters] == [("unknown_address", "twin5.value")]
    assert not sink.early


async def test_a_wrong_type_in_the_server_is_noticed(bench: Bench) -> None:
    sink = RecordingSink()
    wrong = point(0, "ns=2;i=3001")  # the node is Boolean
    async with running(bench.link(sink, (wrong, COUNT))):
        await until(lambda: sink.value(4) == 7.0, "the neighbour is read")
        assert sink.reasons == {("twin0.value", "type")}


async def test_a_restarted_server_is_found_again_and_values_flow(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: sink.value(0) == 2.5, "the level is read")
        await bench.power_off()
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
        await bench.power_on()
        await until(lambda: sink.online, "the link is up again")
        await bench.publish({0: 6.5})
        await until(lambda: sink.value(0) == 6.5, "values flow again")
    assert sink.metrics["reconnects"] == 1
    gc.collect()  # so that asyncio complains about exceptions that nobody took
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {record.name for record in told} == {"twinloop.link"}
    assert len([record for record in told if " is down" in record.message]) == 1


async def test_subscriptions_that_the_server_dropped_are_noticed_and_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.opcua.monitoring.KEEP_ALIVE_S", 0.04)
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: sink.value(0) == 2.5, "the level is read")
        assert bench.device is not None and bench.device._server is not None
        service = bench.device._server.iserver.subscription_service
        await service.delete_subscriptions(list(service.subscriptions))
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the silence is noticed")
        await until(lambda: sink.online, "the link is up again")
        await bench.publish({0: 9.5})
        await until(lambda: sink.value(0) == 9.5, "values flow again")


async def test_a_subscription_that_falls_silent_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.opcua.monitoring.KEEP_ALIVE_S", 0.04)
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: sink.value(0) == 2.5, "the level is read")
        assert bench.device is not None and bench.device._server is not None
        await asyncio.sleep(1.5)  # longer than the silence that is allowed
        assert sink.online, "keep-alives count as signs of life"
        for subscription in bench.device._server.iserver.subscription_service.subscriptions.values():
            monkeypatch.setattr(subscription, "publish_results", _say_nothing)
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the silence is noticed")


async def _say_nothing(*_: object, **__: object) -> None: ...


@pytest.mark.parametrize("encoding", [messages.READ, messages.CREATE_ITEMS, messages.PUBLISH])
async def test_a_wait_that_a_library_cancels_breaks_the_session_and_not_the_link(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, encoding: int
) -> None:
    send, spoilt = Channel.send, list[int]()

    def spoiling(self: Channel, asked: int, parameters: bytes, hint_s: float) -> asyncio.Future[Buffer]:
        coming = send(self, asked, parameters, hint_s)
        if asked == encoding and sink.online and not spoilt:
            spoilt.append(asked)
            coming.cancel()
        return coming

    monkeypatch.setattr(Channel, "send", spoiling)
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: bool(spoilt) and LinkState.OFFLINE in sink.states, "the session breaks")
        await until(lambda: sink.online and len(sink.latest) == len(POINTS), "the link is up again")
        await bench.publish({0: 7.5})
        await until(lambda: sink.value(0) == 7.5, "values flow")


async def test_a_node_that_appears_later_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.opcua.link.MISSING_RETRY_S", 0.2)
    sink, late = RecordingSink(), point(5, "ns=2;s=Late")
    async with running(bench.link(sink, (*POINTS, late))):
        await until(lambda: sink.quality(5) == BAD_NODE_ID_UNKNOWN, "the node is missing")
        assert bench.device is not None and bench.device._server is not None
        await bench.device._server.nodes.objects.add_variable(ua.NodeId.from_string(late.address), "late", 4.5)
        await until(lambda: sink.value(5) == 4.5, "the node is found")
    assert len(sink.letters) == 1


async def test_a_half_open_connection_is_noticed_by_the_heartbeat(bench: Bench) -> None:
    sink = RecordingSink()
    async with Cable(bench.port) as cable, running(bench.link(sink, port=cable.port)):
        await until(lambda: sink.value(0) == 2.5, "the level is read")
        cable.swallow = True
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "silence is noticed")
        cable.swallow = False
        await until(lambda: sink.online, "the link is up again")


async def test_the_security_token_is_renewed_while_values_flow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[float] = []
    renew = Channel.renew

    async def note(self: Channel) -> None:
        await renew(self)
        renewed.append(time.monotonic())

    monkeypatch.setattr("protocols.opcua.channel.CHANNEL_LIFE_MS", 300)
    monkeypatch.setattr(Channel, "renew", note)
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: len(renewed) >= 3, "the token is renewed")
        await bench.publish({0: 8.5})
        await until(lambda: sink.value(0) == 8.5, "values flow")
    assert LinkState.OFFLINE not in sink.states


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(subscription, items) of every CreateMonitoredItems that the link sends."""
    sent: list[tuple[int, int]] = []
    send = Channel.send

    def note(self: Channel, encoding: int, parameters: bytes, hint_s: float) -> asyncio.Future[Buffer]:
        if encoding == messages.CREATE_ITEMS:
            subscription, _, items = struct.unpack_from("<Iii", parameters)
            sent.append((subscription, items))
        return send(self, encoding, parameters, hint_s)

    monkeypatch.setattr(Channel, "send", note)
    return sent


async def test_a_server_that_takes_few_items_at_once_is_asked_in_parts(
    bench: Bench, calls: list[tuple[int, int]]
) -> None:
    assert bench.device is not None and bench.device._server is not None
    limit = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
    node = bench.device._server.get_node(ua.NodeId(limit))
    before = await node.read_data_value(raise_on_bad_status=False)
    await node.write_value(ua.Variant(2, ua.VariantType.UInt32))
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read all the same")
    await node.write_value(before)
    assert [items for _, items in calls] == [2, 2, 1]


async def test_a_server_with_small_subscriptions_gets_several(bench: Bench, calls: list[tuple[int, int]]) -> None:
    assert bench.device is not None and bench.device._server is not None
    service = bench.device._server.iserver.subscription_service
    create, taken = service.create_monitored_items, dict[int, int]()

    async def small(params: ua.CreateMonitoredItemsParameters) -> list[ua.MonitoredItemCreateResult]:
        room = 3 - taken.get(params.SubscriptionId, 0)
        taken[params.SubscriptionId] = 3 - room + min(room, len(params.ItemsToCreate))
        over = len(params.ItemsToCreate) - room
        del params.ItemsToCreate[room:]
        full = ua.MonitoredItemCreateResult(ua.StatusCode(ua.StatusCodes.BadTooManyMonitoredItems))
        return [*await create(params), *[full] * over]

    service.create_monitored_items = small
    sink = RecordingSink()
    async with running(bench.link(sink)):
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read all the same")
    del service.create_monitored_items
    assert [items for _, items in calls] == [5, 2]
    assert len({subscription for subscription, _ in calls}) == 2 and sink.letters == []


async def test_an_accepted_write_reaches_the_device_and_leaves_the_feedback_alone(bench: Bench) -> None:
    sink = RecordingSink()
    link = bench.link(sink)
    async with running(link):
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read once")
        verdict = await link.write(PUMP, 900.0, 2.0)
        assert verdict.outcome is WriteOutcome.ACCEPTED, verdict
        assert (await link.write(VALVE, 1.0, 2.0)).outcome is WriteOutcome.ACCEPTED
        assert bench.wished.writes == [(1, 900.0), (3, 1.0)]
        await until(lambda: sink.value(1) == 900.0, "the setpoint shows the write")
        reading = await link.read(PUMP_FEEDBACK, 2.0)
        assert reading is not None and float(reading.value[0]) == 0.0
        assert sink.value(2) == 0.0


async def test_a_refused_write_says_why(bench: Bench) -> None:
    sink = RecordingSink()
    link = bench.link(sink)
    async with running(link):
        await until(lambda: sink.online, "the link is up")
        bench.wished.refuse = True
        denied = await link.write(PUMP, 900.0, 2.0)
        assert (denied.outcome, denied.detail) == (WriteOutcome.REFUSED, "BadUserAccessDenied")
        too_fast = await link.write(PUMP, 9000.0, 2.0)
        assert (too_fast.outcome, too_fast.detail) == (WriteOutcome.REFUSED, "BadOutOfRange")
        read_only = await link.write(LEVEL, 1.0, 2.0)
        assert (read_only.outcome, read_only.detail) == (WriteOutcome.REFUSED, "BadUserAccessDenied")
        misfit = await link.write(VALVE, 0.5, 2.0)
        assert misfit.outcome is WriteOutcome.REFUSED and "Boolean" in misfit.detail
        assert await link.read(PUMP, 2.0) is not None
        assert sink.value(1) == 0.0


async def test_a_write_without_an_answer_is_unknown_and_one_without_a_connection_is_not_sent(bench: Bench) -> None:
    sink = RecordingSink()
    async with Cable(bench.port) as cable:
        link = bench.link(sink, port=cable.port)
        assert (await link.write(PUMP, 1.0, 0.2)).outcome is WriteOutcome.NOT_SENT
        async with running(link):
            await until(lambda: sink.value(1) == 0.0, "the pump is read")
            cable.swallow = True
            verdict = await link.write(PUMP, 500.0, 0.3)
            assert verdict.outcome is WriteOutcome.UNKNOWN
            await until(lambda: bench.wished.writes == [(1, 500.0)], "the device acted all the same")


async def test_a_write_of_the_wrong_type_by_another_client_is_refused(bench: Bench) -> None:
    async with Client(bench.endpoint) as client:
        node = client.get_node(PUMP.address)
        with pytest.raises(ua.uaerrors.BadTypeMismatch):
            await node.write_value(ua.Variant("fast", ua.VariantType.String))
        with pytest.raises(ua.uaerrors.BadUserAccessDenied):
            await client.get_node(LEVEL.address).write_value(1.0)
    assert bench.wished.writes == []


async def test_a_server_that_talks_nonsense_never_ends_the_link() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"ACKF\x1c\x00\x00\x00" + b"\xff" * 20 + b"MSGF\x10\x00\x00\x00garbage!")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    sink = RecordingSink()
    endpoint = f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    link = OpcUaLink(device("opcua", endpoint, **QUICK), POINTS, sink, time.time_ns, seeded())
    async with running(link):
        await until(lambda: LinkState.OFFLINE in sink.states, "the nonsense is noticed")
        await asyncio.sleep(0.5)
    assert LinkState.ONLINE not in sink.states
    server.close()
