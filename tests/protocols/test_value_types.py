"""Enums and structured values over each protocol, on real sockets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from protocols.catalog import PROTOCOLS
from protocols.link import WriteOutcome
from tests.protocols.mqtt_field import Field, field
from tests.protocols.protocol_bench import RecordingSink, Wished, device, free_port, point, running, seeded, until
from twin.points import Point
from twin.schema import Array, Enum, EnumValue, Member, Object, Primitive

MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 4)))
WORD = Enum("string", (EnumValue("idle", "IDLE"), EnumValue("busy", "BUSY")))
ROUTE = Object((Member("route", Array(Object((Member("speed", Primitive("double")),)))),))

CODED = {
    "modbus": ("modbus://127.0.0.1:{}/1", "holding:0:uint16"),
    "opcua": ("opc.tcp://127.0.0.1:{}/twinloop", "ns=2;s=mode"),
}


@pytest.mark.parametrize("protocol", CODED)
async def test_an_enum_is_read_with_its_name_and_written_by_its_code(protocol: str) -> None:
    form, address = CODED[protocol]
    at = device(protocol, form.format(free_port()))
    mode = point(0, address, "enum", writable=True, schema=MODE)
    wished, sink = Wished(), RecordingSink()
    served = PROTOCOLS[protocol].device(at, [mode], wished, time.time_ns, None)
    await served.start()
    await served.publish({0: 4.0}, time.time_ns(), {})
    link = PROTOCOLS[protocol].link(at, [mode], sink, time.time_ns, seeded(), None)
    try:
        async with running(link):
            await until(lambda: sink.value(0) == 4.0, "the code is read")
            assert sink.texts == {0: "auto"}
            assert (await link.write(mode, 0.0, 2.0)).outcome is WriteOutcome.ACCEPTED
            assert wished.writes == [(0, 0.0)]
            await served.publish({0: 3.0}, time.time_ns(), {})
            await until(lambda: (mode.name, "enum") in sink.reasons, "an unknown code becomes a dead letter")
    finally:
        await served.stop()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Field]:
    broker = field(tmp_path)
    yield broker
    broker.kill()


async def test_mqtt_carries_objects_lists_and_enums(broker: Field) -> None:
    points: tuple[Point, ...] = (
        point(0, "agv/plan", "object", schema=ROUTE),
        point(1, "agv/all#", "object", schema=ROUTE),
        point(2, "agv/speeds", "object", schema=Array(Primitive("double"))),
        point(3, "agv/state", "enum", schema=WORD, writable=True),
    )
    sink = RecordingSink()
    talker = await broker.talker()
    async with running(broker.link(sink, points)):
        await until(lambda: sink.online, "the link is up")
        talker.send("agv/plan", orjson.dumps({"value": {"route": [{"speed": 2}]}, "quality": "good"}), False)
        talker.send("agv/all", orjson.dumps({"route": []}), False)
        talker.send("agv/speeds", b"[1, 2.5]", False)
        talker.send("agv/state", b'"BUSY"', False)
        await until(lambda: len(sink.texts) == 4, "all are believed")
        assert sink.texts == {0: '{"route":[{"speed":2.0}]}', 1: '{"route":[]}', 2: "[1.0,2.5]", 3: "busy"}
        assert sink.value(3) == 1.0
        talker.send("agv/all", orjson.dumps({"route": [{"speed": "fast"}]}), False)
        await until(lambda: bool(sink.letters), "what has another shape becomes a dead letter")
        assert (sink.letters[0].reason, "route[0].speed" in sink.letters[0].detail) == ("schema", True)
    await talker.close()


async def test_mqtt_writes_an_enum_of_texts_as_its_text(broker: Field) -> None:
    state = point(0, "agv/state", "enum", schema=WORD, writable=True)
    heard = RecordingSink()
    echo = point(0, "agv/state/set", "enum", schema=WORD)
    link = broker.link(RecordingSink(), (state,))
    async with running(broker.link(heard, (echo,))), running(link):
        await until(lambda: heard.online, "somebody listens")
        await until(lambda: link._session is not None, "the link is up")
        assert (await link.write(state, 1.0, 2.0)).outcome is WriteOutcome.ACCEPTED
        await until(lambda: heard.texts == {0: "busy"}, "the text arrives")
