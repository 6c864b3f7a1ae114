"""The MQTT link and brokers that keep, share, refuse, talk garbage or vanish."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from protocols.link import LinkState
from protocols.mqtt.link import MqttLink
from protocols.mqtt.messages import Message
from tests.protocols.mqtt_field import LEVEL, POINTS, Field, field
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
from twin.points import Selection
from twin.quality import BAD_NODE_ID_UNKNOWN, GOOD, UNCERTAIN_LAST_USABLE


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Field]:
    broker = field(tmp_path)
    yield broker
    broker.kill()


class Scripted:
    """A broker that says what the test tells it to: `script` maps a packet's first byte to the answer."""

    def __init__(self, script: dict[int, list[bytes]]) -> None:
        self.port = 0
        self.heard: list[int] = []
        self.connections = 0
        self._script = script
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Scripted:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def say(self, data: bytes) -> None:
        self._writers[-1].write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while first := await reader.read(1):
                self.heard.append(first[0])
                size = (await reader.readexactly(1))[0]
                assert size < 128
                body = await reader.readexactly(size)
                for answer in self._script.get(first[0], []):
                    writer.write(answer.replace(b"ID", body[:2]))
        except (asyncio.IncompleteReadError, OSError):
            pass


WELCOME5 = [b"\x20\x03\x00\x00\x00"]


def five(broker: Scripted, sink: RecordingSink, **more: object) -> MqttLink:
    at = device("mqtt", f"mqtt://127.0.0.1:{broker.port}", version="5", **more)
    return MqttLink(at, (LEVEL, POINTS[3]), sink, time.time_ns, seeded())


async def test_refused_topics_are_said_once_and_known_to_be_bad_after_every_reconnect() -> None:
    sink = RecordingSink()
    async with Scripted({0x10: WELCOME5, 0x82: [b"\x90\x05ID\x00\x87\x01"]}) as broker, running(five(broker, sink)):
        await until(lambda: sink.online, "the link is up")
        await until(lambda: sink.quality(0) == BAD_NODE_ID_UNKNOWN, "the refused point is bad")
        assert [(letter.point, letter.reason) for letter in sink.letters] == [("twin0.value", "unknown_address")]
        assert "not authorized" in sink.letters[0].detail
        sink.latest.clear()
        broker._writers[-1].transport.abort()
        await until(lambda: broker.connections == 2 and sink.quality(0) == BAD_NODE_ID_UNKNOWN, "it is bad again")
        assert len(sink.letters) == 1 and sink.quality(3) is None


GARBAGE = [b"HTTP/1.1 200 OK\r\n" * 10, b"\x00\x00", b"\x36\x04\x00\x01ab", b"\xf0\x00", b"\x30\xff\xff\xff\xff\x01"]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_a_broker_that_talks_garbage_is_left_and_tried_again(
    garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    sink = RecordingSink()
    async with Scripted({0x10: WELCOME5, 0x82: [b"\x90\x05ID\x00\x01\x01"]}) as broker, running(five(broker, sink)):
        await until(lambda: sink.online, "the link is up")
        broker.say(garbage)
        await until(lambda: "breaks the protocol" in caplog.text, "the fault is named")
        await until(lambda: broker.connections == 2 and sink.online, "the link tries again")
        assert 0xE0 in broker.heard


async def test_who_lost_his_name_to_another_does_not_fight_for_it(caplog: pytest.LogCaptureFixture) -> None:
    sink = RecordingSink()
    answers = {0x10: WELCOME5, 0x82: [b"\x90\x05ID\x00\x01\x01"]}
    settings: dict[str, Any] = {"client_id": "plc-7", "session_expiry_s": 60}
    async with Scripted(answers) as broker, running(five(broker, sink, **settings)):
        await until(lambda: sink.online, "the link is up")
        broker.say(b"\xe0\x01\x8e")
        await until(lambda: "another client has taken the name 'plc-7'" in caplog.text, "the loss is named")
        await asyncio.sleep(0.6)  # the usual wait is over by now
        assert broker.connections == 1 and sink.states[-1] is LinkState.OFFLINE


async def test_two_links_with_one_name_at_mosquitto_do_not_throw_each_other_out_for_ever(broker: Field) -> None:
    first, second = RecordingSink(), RecordingSink()
    settings: dict[str, Any] = {"version": "5", "client_id": "twin"}
    async with running(broker.link(first, **settings)):
        await until(lambda: first.online, "the first link is up")
        async with running(broker.link(second, **settings)):
            await until(lambda: second.online and first.states[-1] is LinkState.OFFLINE, "the second has the name")
            await asyncio.sleep(0.6)
            assert second.online and not first.online


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_lasting_session_brings_what_was_said_meanwhile_even_over_a_restart_of_the_broker(
    tmp_path: Path, version: str
) -> None:
    broker = field(tmp_path, f"allow_anonymous true\npersistence true\npersistence_location {tmp_path}/\n")
    sink = RecordingSink()
    settings: dict[str, Any] = {"version": version, "session_expiry_s": 600}
    link = broker.link(sink, **settings)
    async with running(link):
        await until(lambda: sink.online, "the link is up")
    talker = await broker.talker()
    for value in (1.0, 2.0, 3.0):
        assert (await talker.publish("plant/tank/level", orjson.dumps(value), 1, False, 2.0)).outcome == "accepted"
    await talker.close()
    broker.stop()
    broker.start()
    async with running(link):
        await until(lambda: sink.value(0) == 3.0, "what was said meanwhile arrives")
        assert [float(b.value[i]) for b in sink.batches for i in range(len(b))] == [1.0, 2.0, 3.0]
        assert sink.early == 0 and sink.quality(0) == GOOD
    broker.kill()


async def test_messages_of_qos_2_come_once_each_although_the_connection_is_cut_again_and_again(broker: Field) -> None:
    sink, count = RecordingSink(), 300
    talker = await broker.talker()
    async with Cable(broker.port) as cable:
        link = broker.link(sink, (point(0, "plant/count#"),), cable.port, qos=2, session_expiry_s=600)
        async with running(link):
            await until(lambda: sink.online, "the link is up")
            for number in range(count):
                await talker.publish("plant/count", orjson.dumps(number), 2, False, 2.0)
                if number % 100 == 50:
                    cable.cut()
            await until(lambda: sink.value(0) == count - 1, "the last one arrives", 15.0)
    said = [float(b.value[i]) for b in sink.batches for i in range(len(b))]
    assert said == [float(n) for n in range(count)]
    await talker.close()


async def test_members_of_a_group_share_the_messages(broker: Field) -> None:
    sinks = [RecordingSink(), RecordingSink()]
    points = tuple(point(i, f"plant/{i}#") for i in range(20))
    links = [broker.link(sink, points, share="twins", qos=0) for sink in sinks]
    async with running(links[0]):
        other = asyncio.create_task(broker.link(sinks[1], points, share="twins", qos=0, client_id="other").run())
        await until(lambda: all(sink.online for sink in sinks), "both links are up")
        talker = await broker.talker()
        for value in (b"1", b"2"):  # mosquitto takes turns within each topic
            for i in range(20):
                await talker.publish(f"plant/{i}", value, 1, False, 2.0)
        await until(lambda: sum(len(s.latest) for s in sinks) == 40, "every message goes to one of them")
        assert all(len(sink.latest) == 20 for sink in sinks)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        await talker.close()


async def test_the_status_topic_says_online_and_offline_also_when_nobody_says_goodbye(broker: Field) -> None:
    heard: list[Message] = []
    listener = await broker.listener(heard, "status")
    async with Cable(broker.port) as cable:
        async with running(broker.link(RecordingSink(), port=cable.port, status_topic="status")):
            await until(lambda: [m.payload for m in heard] == [b"online"], "the link says that it is there")
            cable.cut()
            await until(lambda: b"offline" in [m.payload for m in heard], "the broker says that it is gone")
            await until(lambda: heard[-1].payload == b"online", "the link is there again")
        await until(lambda: heard[-1].payload == b"offline", "the link says that it goes")
    await listener.close()
    late: list[Message] = []
    second = await broker.listener(late, "status")
    await until(lambda: late == [Message(b"status", b"offline", True)], "the broker remembers")
    await second.close()


async def test_packed_rows_and_values_in_topics_reach_their_points(broker: Field) -> None:
    sink, wished = RecordingSink(), Wished()
    points = (point(0, "plant/row#0"), point(1, "plant/row#2", "integer"), point(2, "plant/one", writable=True))
    settings: dict[str, Any] = {"format": "packed", "layout": "time f64"}
    simulated = broker.device(wished, points, **settings)
    await simulated.start()
    link = broker.link(sink, points, **settings)
    async with running(link):
        await until(lambda: sink.online, "the link is up")
        taken_at = time.time_ns() - 1_000_000_000
        await simulated.publish({0: 1.5, 1: 7.0, 2: 4.0}, taken_at, {})
        await until(lambda: sink.latest == {0: (1.5, GOOD, taken_at), 1: (7.0, GOOD, taken_at), 2: (4.0, GOOD, taken_at)},
                    "all are read")  # fmt: skip
        assert (await link.write(points[2], 9.0, 2.0)).outcome == "accepted"
        await until(lambda: wished.writes == [(2, 9.0)], "the device acts")
    await simulated.stop()
    said, doors = (
        RecordingSink(),
        (point(0, "plant/door/{value}", "boolean"), point(1, "plant/mode/{value}/set", "string")),
    )
    simulated = broker.device(wished, doors)
    await simulated.start()
    async with running(broker.link(said, doors)):
        await until(lambda: said.online, "the link is up")
        await simulated.publish({0: 1.0, 1: "idle"}, taken_at, {})
        await until(lambda: said.value(0) == 1.0 and said.texts == {1: "idle"}, "the topics' values are read")
        assert said.latest[0][2] == taken_at // 1000 * 1000
    await simulated.stop()


async def test_a_retained_document_is_the_last_usable_one_in_columns_too(broker: Field) -> None:
    talker = await broker.talker()
    await talker.publish("plant/line", b'{"flow": 1, "speed": {"actual": 2, "quality": "bad"}}', 1, True, 2.0)
    sink = RecordingSink()
    async with running(broker.link(sink)):
        await until(lambda: len(sink.latest) == 2, "the retained values arrive")
        assert sink.quality(1) == UNCERTAIN_LAST_USABLE and sink.quality(2) == 0x80000000
    await talker.close()


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_very_many_topics_are_subscribed_to_in_seconds(broker: Field, count: int) -> None:
    points = Selection.of(point(i, f"plant/line_{i % 100}/cell_{i}/value") for i in range(count))
    sink = RecordingSink()
    async with running(broker.link(sink, points, qos=0)):
        await until(lambda: sink.online, "the link is up", 60.0)
        talker = await broker.talker()
        assert talker.send(f"plant/line_99/cell_{count - 1}/value", b"7")
        await until(lambda: sink.value(count - 1) == 7.0, "the last topic is heard")
        await talker.close()


async def test_a_slow_twin_holds_the_broker_back_and_loses_nothing(
    broker: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.mqtt.session.TURN_S", 0.0)
    sink, count = RecordingSink(), 30_000
    async with running(broker.link(sink, (point(0, "plant/count#"),), qos=1)):
        await until(lambda: sink.online, "the link is up")
        talker = await broker.talker()
        for number in range(count):
            await until(lambda: talker.send("plant/count", orjson.dumps(number)), "the broker takes more")  # noqa: B023
        await until(lambda: sink.value(0) == count - 1, "everything arrives", 20.0)
        assert sum(map(len, sink.batches)) == count
        await talker.close()


async def test_two_hundred_reconnects_leave_nothing_behind(broker: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.link.Backoff.next_s", lambda self: 0.0)
    from protocols.mqtt.session import BrokerSession

    alive: weakref.WeakSet[BrokerSession] = weakref.WeakSet()
    made = BrokerSession.__init__

    def counted(self: BrokerSession, *more: object) -> None:
        alive.add(self)
        made(self, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(BrokerSession, "__init__", counted)
    sink = RecordingSink()
    async with Cable(broker.port) as cable, running(broker.link(sink, port=cable.port)):
        for round_ in range(200):
            await until(lambda: sink.online and sink.metrics.get("reconnects", 0) == round_, "the link is up")  # noqa: B023
            cable.cut()
            await until(lambda: not sink.online or sink.metrics.get("reconnects", 0) > round_, "the loss is noticed")  # noqa: B023
        await until(lambda: sink.metrics["reconnects"] == 200, "the last one")
        gc.collect()
        assert len(alive) <= 2
        assert len(asyncio.all_tasks()) < 10 + 2 * 2
