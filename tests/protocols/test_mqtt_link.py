"""The MQTT link through mosquitto and through the embedded broker, against our simulated device and against garbage."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import orjson
import pytest

from protocols.delivery import LETTERS_MAX
from protocols.link import LinkState, WriteOutcome
from protocols.mqtt.broker import EmbeddedBroker
from protocols.mqtt.device import MqttDevice
from protocols.mqtt.link import MqttLink
from protocols.mqtt.messages import Message
from protocols.mqtt.paho_session import HandOver
from protocols.mqtt.session import BrokerSession
from tests.protocols.mqtt_field import POINTS, PUMP, SETPOINT, START, Field, field
from tests.protocols.protocol_bench import Cable, RecordingSink, Wished, device, running, seeded, until
from twin.quality import BAD, GOOD, UNCERTAIN_LAST_USABLE


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Field]:
    broker = field(tmp_path)
    threads = threading.active_count()
    yield broker
    broker.kill()
    await until(lambda: threading.active_count() <= threads + 4, "no network thread is left behind")


@pytest.fixture
async def talker(broker: Field) -> AsyncIterator[BrokerSession]:
    session = await broker.talker()
    yield session
    await session.close()


@pytest.mark.parametrize("settings", [{}, {"format": "msgpack", "version": "5"}, {"prefix": "plant"}])
async def test_values_arrive_with_their_quality_and_time(broker: Field, settings: dict[str, Any]) -> None:
    sink = RecordingSink()
    simulated = broker.device(Wished(), **settings)
    await simulated.start()
    async with running(broker.link(sink, **settings)):
        await until(lambda: sink.online, "the link is up")
        taken_at = time.time_ns() - 5_000_000_000
        await simulated.publish(START, taken_at, {1: BAD})
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
        assert not sink.early
        assert {i: sink.value(i) for i in START} == START
        assert sink.latest[0][1:] == (GOOD, taken_at // 1000 * 1000)
        assert sink.quality(2) == GOOD
    await simulated.stop()
    assert sink.letters == [] and sink.beats == 0
    assert sink.states == [LinkState.CONNECTING, LinkState.ONLINE, LinkState.STOPPED]


async def test_garbage_becomes_dead_letters_with_reasons_and_the_others_go_on(
    broker: Field, talker: BrokerSession
) -> None:
    sink = RecordingSink()
    async with running(broker.link(sink, prefix="plant")):
        await until(lambda: sink.online, "the link is up")
        for topic, payload in (
            ("plant/tank/level", b"{broken"),
            ("plant/tank/level", b'{"value": "high"}'),
            ("plant/tank/level", b'{"value": 11}'),
            ("plant/tank/level", b'{"value": 1, "time": "2099-01-01T00:00:00Z"}'),
            ("plant/tank/level", b'{"value": 1, "time": "soon"}'),
            ("plant/tank/level", b'{"wert": 1}'),
            ("plant/tank/level", msgpack.packb({"value": math.nan})),
            ("plant/line", b'{"flow": true, "speed": {"actual": 1.5}}'),
            ("plant/unknown", b"1"),
            ("plant/pump/set", b'{"value": true}'),
            ("plant/pump", b"\xff"),
            ("plant/tank/level", b'{"value": 3.5}'),
        ):
            assert talker.send(topic, payload)
        await until(lambda: sink.value(0) == 3.5, "the good value arrives")
    assert [(letter.point, letter.reason) for letter in sink.letters] == [
        ("twin0.value", "decode"),
        ("twin0.value", "type"),
        ("twin0.value", "range"),
        ("twin0.value", "source_time"),
        ("twin0.value", "decode"),
        ("twin0.value", "decode"),
        ("twin0.value", "nan"),
        ("twin1.value", "type"),
        ("twin2.value", "type"),
        ("", "unknown_address"),
        ("twin3.value", "decode"),
    ]
    assert sink.letters[0].raw == b"{broken" and sink.letters[0].address == "plant/tank/level"
    assert sink.metrics["rejected"] == 11


async def test_a_flood_of_garbage_is_counted_and_not_kept(broker: Field, talker: BrokerSession) -> None:
    sink = RecordingSink()
    flood = 500
    async with running(broker.link(sink, prefix="plant")):
        await until(lambda: sink.online, "the link is up")
        for number in range(flood):
            talker.send(f"plant/unknown/{number}", b"x")
        talker.send("plant/tank/level", b"1.5")
        await until(lambda: sink.value(0) == 1.5, "the good value arrives")
    assert len(sink.letters) == LETTERS_MAX
    assert sink.metrics["rejected"] == flood and sink.metrics["letters_held"] == flood - LETTERS_MAX


async def test_a_payload_may_leave_points_out(broker: Field, talker: BrokerSession) -> None:
    sink = RecordingSink()
    async with running(broker.link(sink)):
        await until(lambda: sink.online, "the link is up")
        talker.send("plant/line", orjson.dumps({"flow": 4}))
        await until(lambda: sink.value(1) == 4.0, "the flow arrives")
    assert 2 not in sink.latest and sink.letters == []


async def test_a_retained_value_is_the_last_usable_one(broker: Field) -> None:
    simulated = broker.device(Wished(), retain=True)
    await simulated.start()
    await simulated.publish({0: 7.0}, time.time_ns(), {})
    sink = RecordingSink()
    async with running(broker.link(sink)):
        await until(lambda: sink.value(0) == 7.0, "the retained value arrives")
        assert sink.quality(0) == UNCERTAIN_LAST_USABLE and not sink.early
        await simulated.publish({0: 7.5}, time.time_ns(), {})
        await until(lambda: sink.value(0) == 7.5, "the fresh value arrives")
        assert sink.quality(0) == GOOD
    await simulated.stop()


async def test_a_restarted_broker_is_found_again_by_both_sides_and_values_flow(
    broker: Field, caplog: pytest.LogCaptureFixture
) -> None:
    sink = RecordingSink()
    simulated = broker.device(Wished())
    await simulated.start()
    async with running(broker.link(sink)):
        await until(lambda: sink.online, "the link is up")
        broker.kill()
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
        broker.start()
        await until(lambda: sink.online, "the link is up again")
        value = 0.0
        deadline = time.monotonic() + 8
        while not value or sink.value(0) != value:
            assert time.monotonic() < deadline, "values do not flow again"
            value = value + 0.001
            await simulated.publish({0: value}, time.time_ns(), {})
            await asyncio.sleep(0.05)
    await simulated.stop()
    assert sink.metrics["reconnects"] == 1
    gc.collect()  # so that asyncio complains about exceptions that nobody took
    assert {record.name for record in caplog.records if record.levelno >= logging.WARNING} == {"twinloop.link"}


async def test_a_write_is_accepted_by_the_broker_and_acted_on_by_the_device(broker: Field) -> None:
    sink, wished = RecordingSink(), Wished()
    simulated = broker.device(wished)
    await simulated.start()
    link = broker.link(sink)
    assert (await link.write(PUMP, 1.0, 0.2)).outcome is WriteOutcome.NOT_SENT
    async with running(link):
        await until(lambda: sink.online, "the link is up")
        verdict = await link.write(PUMP, 0.0, 2.0)
        assert verdict.outcome is WriteOutcome.ACCEPTED and "broker" in verdict.detail
        assert (await link.write(SETPOINT, 8.0, 2.0)).outcome is WriteOutcome.ACCEPTED
        await until(lambda: wished.writes == [(3, 0.0), (4, 8.0)], "the device acts")
        assert await link.read(PUMP, 1.0) is None
        assert sink.latest == {}
    await simulated.stop()


async def test_a_write_that_nobody_acknowledges_is_unknown(broker: Field) -> None:
    sink = RecordingSink()
    async with Cable(broker.port) as cable:
        link = broker.link(sink, port=cable.port)
        async with running(link):
            await until(lambda: sink.online, "the link is up")
            cable.swallow = True
            assert (await link.write(PUMP, 1.0, 0.2)).outcome is WriteOutcome.UNKNOWN
            waiting = asyncio.create_task(link.write(PUMP, 1.0, 5.0))
            await asyncio.sleep(0.05)
            cable.cut()
            assert (await waiting).outcome is WriteOutcome.UNKNOWN


async def test_a_half_open_connection_is_noticed_by_keep_alive(broker: Field) -> None:
    sink = RecordingSink()
    async with Cable(broker.port) as cable, running(broker.link(sink, port=cable.port, keepalive_s=1)):
        await until(lambda: sink.online, "the link is up")
        cable.swallow = True
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "silence is noticed")


async def test_a_device_paces_its_messages(broker: Field) -> None:
    sink = RecordingSink()
    simulated = broker.device(Wished(), pace_per_s=20.0)
    await simulated.start()
    async with running(broker.link(sink)):
        await until(lambda: sink.online, "the link is up")
        started = time.monotonic()
        await simulated.publish(START, time.time_ns(), {})  # four topics
        assert time.monotonic() - started >= 0.14
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
    await simulated.stop()


async def test_the_embedded_broker_carries_a_demonstration() -> None:
    embedded = EmbeddedBroker("127.0.0.1", 0)
    await embedded.start()
    sink, wished = RecordingSink(), Wished()
    simulated = MqttDevice(device("mqtt", embedded.endpoint), POINTS, wished, time.time_ns)
    await simulated.start()
    link = MqttLink(device("mqtt", embedded.endpoint), POINTS, sink, time.time_ns, seeded())
    async with running(link):
        await until(lambda: sink.online, "the link is up")
        await simulated.publish(START, time.time_ns(), {})
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
        assert (await link.write(PUMP, 0.0, 2.0)).outcome is WriteOutcome.ACCEPTED
        await until(lambda: wished.writes == [(3, 0.0)], "the device acts")
    await simulated.stop()
    await embedded.stop()


def test_the_embedded_broker_stays_on_loopback() -> None:
    with pytest.raises(ValueError, match="loopback"):
        EmbeddedBroker("0.0.0.0", 1883)


async def test_a_full_hand_over_drops_and_counts() -> None:
    taken: list[Message] = []
    hand_over = HandOver(asyncio.get_running_loop(), taken.extend, limit=3)
    for _ in range(5):
        hand_over.put(Message(b"t", b"1", False))
    assert hand_over.dropped == 2 and taken == []
    hand_over.start()
    await until(lambda: len(taken) == 3, "what fits is handed over")
    hand_over.put(Message(b"t", b"2", False))
    await until(lambda: len(taken) == 4, "the next message is handed over")
