"""The Sparkplug link through mosquitto: simulated edge nodes, a node of the test's own that errs, and garbage."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from protocols.link import LinkState, WriteOutcome
from protocols.mqtt import sparkplug_metrics as spm
from protocols.mqtt.client import Client
from protocols.mqtt.messages import Message, Messages
from protocols.mqtt.packets import Filter, Options, Will
from protocols.mqtt.session import BrokerSession
from protocols.mqtt.sparkplug import Source
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_device import SparkplugDevice
from protocols.mqtt.sparkplug_link import SparkplugLink
from protocols.mqtt.sparkplug_metrics import Metric
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.protocol_bench import (
    Cable,
    RecordingSink,
    Wished,
    device,
    point,
    running,
    seeded,
    until,
)
from twin.points import Point
from twin.quality import BAD, BAD_NO_COMMUNICATION, GOOD, UNCERTAIN_LAST_USABLE
from twin.schema import Array, Enum, EnumValue, Primitive

NODE, DEVICE = Source("plant", "gateway"), Source("plant", "gateway", "tank")
MODE = Enum("string", (EnumValue("off", "OFF"), EnumValue("auto", "AUTO")))
LEVEL = point(0, "spBv1.0/plant/gateway/tank#level", low=0.0, high=10.0)
SPEED = point(1, "spBv1.0/plant/gateway#motor/speed", "integer", writable=True)
PUMP = point(2, "spBv1.0/plant/gateway/tank#run", "boolean", writable=True)
WANTED = point(3, "spBv1.0/plant/gateway#wanted", writable=True, scale=2.0)
STATE = point(4, "spBv1.0/plant/gateway/tank#mode", "enum", writable=True, schema=MODE)
OTHER = point(5, "spBv1.0/plant/north#flow")
NAME = point(6, "spBv1.0/plant/gateway#name", "string")
STEPS = point(7, "spBv1.0/plant/gateway/tank#steps", "object", schema=Array(Primitive("integer")))
POINTS = (LEVEL, SPEED, PUMP, WANTED, STATE, OTHER, NAME, STEPS)
NUMBERS = {0: 2.5, 1: 1450.0, 2: 1.0, 3: 6.0, 4: 1.0, 5: 7.0}
START: dict[int, float | str] = {**NUMBERS, 6: "P-101", 7: "[1,-2]"}
QUICK = {"format": "sparkplug", "reorder_s": 0.2, "rebirth_s": 1.0}


def at(broker: Mosquitto, port: int = 0, **more: Any) -> Any:
    return device("mqtt", f"mqtt://127.0.0.1:{port or broker.port}", **{**QUICK, **more})


def a_link(
    broker: Mosquitto, sink: RecordingSink, points: Sequence[Point] = POINTS, port: int = 0, **more: Any
) -> SparkplugLink:
    return SparkplugLink(at(broker, port, **more), points, sink, time.time_ns, seeded())


def nodes(broker: Mosquitto, wished: Wished, port: int = 0, points: Sequence[Point] = POINTS) -> SparkplugDevice:
    return SparkplugDevice(at(broker, port), points, wished, time.time_ns)


class Talker:
    """A client of the broker that says what the test likes and remembers what it hears."""

    def __init__(self, broker: Mosquitto, name: str = "talker", will: Will | None = None) -> None:
        self.heard: list[Message] = []
        self.session = BrokerSession(broker.endpoint, Client(Options(name, will=will)), self._take)

    async def __aenter__(self) -> Talker:
        await self.session.open(4.0)
        await self.session.subscribe([Filter("spBv1.0/#", 1)], 4.0)
        self.session.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    def _take(self, messages: Messages) -> None:
        self.heard += list(messages)

    def count(self, topic: str) -> int:
        return sum(m.topic == topic.encode() for m in self.heard)

    def say(self, kind: str, source: Source, seq: int | None, *metrics: Metric) -> None:
        assert self.session.send(source.topic(kind), spm.encode(metrics, time.time_ns() // 1_000_000, seq))

    def born(self, bd_seq: int = 0) -> None:
        self.say(
            "BIRTH", NODE, 0, bd(bd_seq), Metric("motor/speed", 1, spm.INT32, 5), Metric("wanted", 2, spm.FLOAT, 3.0)
        )
        run, mode = Metric("run", 4, spm.BOOLEAN, False), Metric("mode", 5, spm.STRING, "OFF")
        self.say("BIRTH", DEVICE, 1, Metric("level", 3, spm.DOUBLE, 1.5), run, mode)


def bd(number: int) -> Metric:
    return Metric("bdSeq", None, spm.INT64, number)


def level(value: float) -> Metric:
    return Metric("", 3, spm.DOUBLE, value)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


async def test_births_give_values_and_changes_follow(broker: Mosquitto) -> None:
    sink = RecordingSink()
    simulated = nodes(broker, Wished())
    await simulated.start()
    taken_at = time.time_ns() - 5_000_000_000
    await simulated.publish(START, taken_at, {5: BAD})
    async with running(a_link(broker, sink)):
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
        assert {i: sink.value(i) for i in NUMBERS} == NUMBERS and not sink.early
        assert sink.latest[0][1:] == (GOOD, taken_at // 1_000_000 * 1_000_000)
        assert sink.quality(5) == BAD and sink.texts == {4: "auto", 6: "P-101", 7: "[1,-2]"}
        await simulated.publish({**START, 0: 3.5, 4: 0.0}, time.time_ns(), {})
        await until(lambda: sink.value(0) == 3.5 and sink.texts[4] == "off", "the changes arrive")
        await until(lambda: sink.beats > 0, "the broker's answers confirm the rest")
    await simulated.stop()
    assert sink.letters == []
    assert sink.states == [LinkState.CONNECTING, LinkState.ONLINE, LinkState.STOPPED]


async def test_a_lost_message_brings_exactly_one_rebirth(broker: Mosquitto) -> None:
    sink = RecordingSink()
    async with Talker(broker) as talker, running(a_link(broker, sink, POINTS[:5])):
        await until(lambda: sink.online, "the link is up")
        talker.born()
        talker.say("DATA", DEVICE, 2, level(2.0))
        await until(lambda: sink.value(0) == 2.0, "data is read")
        before = talker.count(NODE.topic("CMD"))
        for seq in (4, 5, 6):
            talker.say("DATA", DEVICE, seq, level(float(seq)))
        await until(lambda: talker.count(NODE.topic("CMD")) == before + 1, "a rebirth is asked for")
        await until(lambda: sink.quality(0) == UNCERTAIN_LAST_USABLE, "nobody vouches for the value")
        assert sink.value(0) == 2.0 and sink.quality(4) == UNCERTAIN_LAST_USABLE and sink.texts[4] == "off"
        talker.born()
        await until(lambda: sink.value(0) == 1.5 and sink.quality(0) == GOOD, "the rebirth is read")
        talker.say("DATA", DEVICE, 2, level(2.5))
        await until(lambda: sink.value(0) == 2.5, "data is read again")
        assert talker.count(NODE.topic("CMD")) == before + 1
        assert sink.metrics["dropped"] == 3


async def test_a_killed_node_makes_its_points_bad_and_they_come_back(broker: Mosquitto) -> None:
    sink = RecordingSink()
    async with running(a_link(broker, sink)):
        simulated = nodes(broker, Wished(), points=[OTHER])
        await simulated.start()
        await simulated.publish(START, time.time_ns(), {})
        async with Cable(broker.port) as cable:
            gateway = nodes(broker, Wished(), cable.port, [p for p in POINTS if p is not OTHER])
            await gateway.start()
            await gateway.publish(START, time.time_ns(), {})
            await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
            taken_at = sink.latest[0][2]
            cable.cut()  # no DISCONNECT: the broker says the will
            await until(lambda: sink.quality(0) == BAD_NO_COMMUNICATION, "the death is noticed")
            assert sink.latest[0] == (2.5, BAD_NO_COMMUNICATION, taken_at) and sink.quality(5) == GOOD
            await until(lambda: sink.latest[0] == (2.5, GOOD, taken_at), "the node is born again")
            await gateway.stop()
            await until(lambda: sink.quality(0) == BAD_NO_COMMUNICATION, "the node says itself that it goes")
        assert sink.quality(5) == GOOD
        await simulated.stop()
    assert sink.letters == []


async def test_the_will_of_an_earlier_session_kills_nobody(broker: Mosquitto) -> None:
    sink = RecordingSink()
    async with Talker(broker) as talker, running(a_link(broker, sink, POINTS[:5])):
        await until(lambda: sink.online, "the link is up")
        talker.born(bd_seq=8)
        talker.say("DEATH", NODE, None, bd(7))
        talker.say("DATA", DEVICE, 2, level(2.0))
        await until(lambda: sink.latest.get(0, (0, 0))[:2] == (2.0, GOOD), "data is read")
        talker.say("DEATH", NODE, None, bd(8))
        await until(lambda: sink.quality(0) == BAD_NO_COMMUNICATION, "its own death counts")


async def test_other_aliases_after_a_restart_are_those_that_count(broker: Mosquitto) -> None:
    sink = RecordingSink()
    points = (LEVEL, SPEED)
    async with Talker(broker) as talker, running(a_link(broker, sink, points)):
        await until(lambda: sink.online, "the link is up")
        talker.born()
        await until(lambda: sink.value(0) == 1.5, "the first birth is read")
        talker.say("BIRTH", NODE, 0, bd(1), Metric("motor/speed", 3, spm.INT32, 5))
        talker.say("BIRTH", DEVICE, 1, Metric("level", 1, spm.DOUBLE, 4.0))
        talker.say("DATA", DEVICE, 2, Metric("", 1, spm.DOUBLE, 9.0), Metric("", 3, spm.INT32, -9))
        await until(lambda: (sink.value(0), sink.value(1)) == (9.0, -9.0), "both are told apart")
    assert sink.letters == []


async def test_a_repeated_message_counts_once(broker: Mosquitto) -> None:
    sink = RecordingSink()
    async with Talker(broker) as talker, running(a_link(broker, sink, POINTS[:5])):
        await until(lambda: sink.online, "the link is up")
        talker.born()
        before = talker.count(NODE.topic("CMD"))
        data = spm.encode([level(2.0)], time.time_ns() // 1_000_000, 2)
        for _ in range(3):
            talker.session.send(DEVICE.topic("DATA"), data)
        talker.say("DATA", DEVICE, 3, level(3.0))
        await until(lambda: sink.value(0) == 3.0, "the next one is read")
        assert sum(0 in batch.point for batch in sink.batches) <= 3 and sink.metrics["dropped"] == 2
        assert talker.count(NODE.topic("CMD")) == before


async def test_a_restarted_broker_is_found_again_and_every_node_is_born_again(broker: Mosquitto) -> None:
    sink = RecordingSink()
    simulated = nodes(broker, Wished())
    await simulated.start()
    await simulated.publish(START, time.time_ns(), {})
    async with running(a_link(broker, sink)):
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
        broker.kill()
        await until(lambda: sink.states[-1] is LinkState.OFFLINE, "the loss is noticed")
        sink.latest.clear()
        broker.start()
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read again", 15.0)
        assert sink.quality(0) == GOOD
    await simulated.stop()


async def test_a_node_that_was_there_before_us_is_asked_for_its_birth(broker: Mosquitto) -> None:
    sink = RecordingSink()
    async with Talker(broker) as talker:
        talker.born()
        async with running(a_link(broker, sink, POINTS[:5])):
            await until(lambda: talker.count(NODE.topic("CMD")) == 1, "it is asked although it says nothing")
            talker.born()
            await until(lambda: sink.value(0) == 1.5, "the birth is read")


async def test_writes_are_commands_of_the_datatype_that_the_birth_declared(broker: Mosquitto) -> None:
    sink, wished = RecordingSink(), Wished()
    simulated = nodes(broker, wished)
    await simulated.start()
    link = a_link(broker, sink)
    assert (await link.write(PUMP, 1.0, 0.2)).outcome is WriteOutcome.NOT_SENT
    async with running(link):
        await until(lambda: sink.online, "the link is up")
        assert (await link.write(PUMP, 1.0, 1.0)).outcome is WriteOutcome.REFUSED  # not born yet
        await simulated.publish(START, time.time_ns(), {})
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
        for wanted, value in ((PUMP, 0.0), (SPEED, -20.0), (WANTED, 8.0), (STATE, 0.0)):
            verdict = await link.write(wanted, value, 2.0)
            assert verdict.outcome is WriteOutcome.ACCEPTED and "edge node" in verdict.detail
        await until(lambda: wished.writes == [(2, 0.0), (1, -20.0), (3, 8.0), (4, 0.0)], "the node acts")
        await simulated.publish(START, time.time_ns(), {})
        assert await link.read(PUMP, 1.0) is None
    await simulated.stop()


async def test_a_value_that_the_declared_datatype_cannot_hold_is_refused(broker: Mosquitto) -> None:
    sink = RecordingSink()
    points = (LEVEL, SPEED, WANTED)
    link = a_link(broker, sink, points)
    async with Talker(broker) as talker, running(link):
        await until(lambda: sink.online, "the link is up")
        talker.born()
        await until(lambda: len(sink.latest) == 3, "the birth is read")
        refused = await link.write(SPEED, 2.0**31, 1.0)
        assert refused.outcome is WriteOutcome.REFUSED and "Int32" in refused.detail
        assert (await link.write(SPEED, 7.0, 1.0)).outcome is WriteOutcome.ACCEPTED
        await until(lambda: talker.count(NODE.topic("CMD")) > 0, "the command is there")
        command = [m for m in talker.heard if m.topic == NODE.topic("CMD").encode()][-1]
        assert not spm.parse(command.payload).HasField("seq") and not command.retained
        (metric,) = spm.metrics_of(command.payload)
        assert (metric.name, metric.datatype, metric.value) == ("motor/speed", spm.INT32, 7)


async def test_a_command_whose_fate_the_broker_does_not_tell_is_unknown(broker: Mosquitto) -> None:
    sink = RecordingSink()
    async with Cable(broker.port) as cable, Talker(broker) as talker:
        link = a_link(broker, sink, (SPEED,), cable.port)
        async with running(link):
            await until(lambda: sink.online, "the link is up")
            talker.born()
            await until(lambda: sink.value(1) == 5.0, "the birth is read")
            cable.swallow = True
            assert (await link.write(SPEED, 7.0, 0.2)).outcome is WriteOutcome.UNKNOWN


async def test_edge_nodes_see_whether_we_are_there(broker: Mosquitto) -> None:
    states: list[dict[str, Any]] = []

    def said(talker: Talker) -> list[dict[str, Any]]:
        return [orjson.loads(m.payload) for m in talker.heard if m.topic == b"spBv1.0/STATE/d1"]

    async with Talker(broker) as talker:
        async with Cable(broker.port) as cable:
            link = a_link(broker, RecordingSink(), port=cable.port)
            async with running(link):
                await until(lambda: len(said(talker)) == 1, "we say that we are there")
                cable.cut()
                await until(lambda: len(said(talker)) == 3, "the broker says that we went, we that we are back")
                talker.session.send("spBv1.0/STATE/d1", orjson.dumps({"online": False, "timestamp": 1}))
                await until(lambda: len(said(talker)) == 5, "we contradict who says that we are not there")
            await until(lambda: len(said(talker)) == 6, "we say that we go")
        states = said(talker)
    assert [s["online"] for s in states] == [True, False, True, False, True, False]
    assert states[0]["timestamp"] == states[1]["timestamp"] and states[2] == states[4]  # the will is of the birth
    assert states[5]["timestamp"] >= states[2]["timestamp"]


async def test_texts_arrays_times_and_nulls_are_taken_one_by_one(broker: Mosquitto) -> None:
    numbers = Array(Primitive("integer"))
    points = (
        point(0, "spBv1.0/plant/gateway#name", "string"),
        point(1, "spBv1.0/plant/gateway#steps", "object", schema=numbers),
        point(2, "spBv1.0/plant/gateway#at", "string", schema=Primitive("dateTime")),
        point(3, "spBv1.0/plant/gateway#empty"),
        point(4, "spBv1.0/plant/gateway#table"),
        point(5, "spBv1.0/plant/gateway#word"),
    )
    sink = RecordingSink()
    async with Talker(broker) as talker, running(a_link(broker, sink, points)):
        await until(lambda: sink.online, "the link is up")
        wire = Wire(timestamp=time.time_ns() // 1_000_000, seq=0)
        wire.metrics.add(name="name", datatype=spm.STRING, string_value="P-101")
        wire.metrics.add(name="steps", datatype=22, bytes_value=b"\x01\xff")
        wire.metrics.add(name="at", datatype=spm.DATE_TIME, long_value=1_700_000_000_123)
        wire.metrics.add(name="empty", datatype=spm.DOUBLE, is_null=True)
        wire.metrics.add(name="table", datatype=spm.DATA_SET).dataset_value.num_of_columns = 1
        wire.metrics.add(name="word", datatype=spm.STRING, string_value="12")
        talker.session.send(NODE.topic("BIRTH"), wire.SerializeToString())
        await until(lambda: len(sink.latest) == 4 and len(sink.letters) == 2, "each is taken or refused")
    assert sink.texts == {0: "P-101", 1: "[1,-1]", 2: "2023-11-14T22:13:20.123000Z"}
    assert sink.quality(3) == BAD and sink.reasons == {("twin4.value", "type"), ("twin5.value", "type")}


async def test_historical_values_do_not_replace_the_newest_even_when_the_node_dies(broker: Mosquitto) -> None:
    sink = RecordingSink()
    async with Talker(broker) as talker, running(a_link(broker, sink, (LEVEL,))):
        await until(lambda: sink.online, "the link is up")
        now = time.time_ns() // 1_000_000 * 1_000_000
        talker.say("BIRTH", NODE, 0, bd(0))
        talker.say("BIRTH", DEVICE, 1, Metric("level", 3, spm.DOUBLE, 1.5, stamp=now))
        old = Metric("", 3, spm.DOUBLE, 9.0, stamp=now - 3_600_000_000_000, historical=True)
        talker.say("DATA", DEVICE, 2, old)
        await until(lambda: sink.value(0) == 9.0, "what was comes in with its own time")
        talker.say("DEATH", NODE, None, bd(0))
        await until(lambda: sink.quality(0) == BAD_NO_COMMUNICATION, "the node dies")
        assert sink.latest[0] == (1.5, BAD_NO_COMMUNICATION, now)


async def test_garbage_becomes_dead_letters_and_the_others_go_on(broker: Mosquitto) -> None:
    chance = random.Random(11)
    sink = RecordingSink()
    async with Talker(broker) as talker, running(a_link(broker, sink)):
        await until(lambda: sink.online, "the link is up")
        talker.born()
        await until(lambda: sink.value(0) == 1.5, "the birth is read")
        whole = spm.encode([level(2.0), Metric("run", None, spm.BOOLEAN, True)], time.time_ns() // 1_000_000, 2)
        for kind in ("BIRTH", "DATA", "DEATH", "CMD"):
            for source in (NODE, DEVICE):
                for _ in range(10):
                    noise = bytes(b ^ chance.choice([0, 0, 0, 255]) for b in whole[: chance.randrange(len(whole))])
                    talker.session.send(source.topic(kind), noise)
        talker.session.send("spBv1.0/STATE/d1", b"OFFLINE")
        talker.say("DEATH", NODE, None, bd(0))
        talker.say("BIRTH", NODE, 0, bd(1))
        talker.say("BIRTH", DEVICE, 1, Metric("level", 1, spm.DOUBLE, 4.0), Metric("run", 2, spm.BOOLEAN, True))
        await until(lambda: sink.value(0) == 4.0, "the good values arrive")
    reasons = {reason for _, reason in sink.reasons}
    assert "decode" in reasons and reasons <= {"decode", "type", "range", "unknown_address", "source_time", "nan"}


async def test_a_broker_that_is_not_there_is_waited_for_by_both_sides(broker: Mosquitto) -> None:
    broker.kill()
    sink = RecordingSink()
    simulated = nodes(broker, Wished())
    starting = asyncio.create_task(simulated.start())
    await asyncio.sleep(0)  # its tasks are there
    async with running(a_link(broker, sink)):
        await until(lambda: LinkState.OFFLINE in sink.states, "nobody is there")
        broker.start()
        await starting
        await simulated.publish(START, time.time_ns(), {})
        await until(lambda: len(sink.latest) == len(POINTS), "all points are read")
    await simulated.stop()
