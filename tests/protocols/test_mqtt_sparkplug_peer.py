"""The Sparkplug link against Eclipse Tahu's own edge node through mosquitto."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocols.link import WriteOutcome
from protocols.mqtt.sparkplug_link import SparkplugLink
from tests.peers.tahu_node import TahuNode, tahu_node
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.protocol_bench import RecordingSink, device, point, running, seeded, until
from twin.quality import BAD, BAD_NO_COMMUNICATION, GOOD, UNCERTAIN_LAST_USABLE

POINTS = (
    point(0, "spBv1.0/Peer Group/tahu#speed", "integer", writable=True),
    point(1, "spBv1.0/Peer Group/tahu/pump 1#level"),
    point(2, "spBv1.0/Peer Group/tahu/pump 1#run", "boolean", writable=True),
    point(3, "spBv1.0/Peer Group/tahu/pump 1#name", "string"),
    point(4, "spBv1.0/Peer Group/tahu/pump 1#total", "integer"),
    point(5, "spBv1.0/Peer Group/tahu/pump 1#pressure"),
)
REBIRTH = {"name": "Node Control/Rebirth", "type": "Boolean", "value": False}


def metric(name: str, kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "value": value, **more}


def born(node: TahuNode, compress: str | None = None) -> None:
    node.say("birth", None, compress, REBIRTH, metric("speed", "Int16", -300, alias=1))
    node.say(
        "birth", "pump 1", compress,
        metric("level", "Double", 2.5, alias=2, properties={"engUnit": {"type": "String", "value": "m"}}),
        metric("run", "Boolean", True, alias=3), metric("name", "String", "Größe", alias=4),
        metric("total", "Int64", "123456789012", alias=5), metric("pressure", "Float", 0.5, alias=6),
    )  # fmt: skip


def a_link(broker: Mosquitto, sink: RecordingSink) -> SparkplugLink:
    at = device("mqtt", broker.endpoint, format="sparkplug", reorder_s=0.2, rebirth_s=0.5)
    return SparkplugLink(at, POINTS, sink, time.time_ns, seeded())


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.mark.parametrize("compress", [None, "DEFLATE", "GZIP"])
async def test_what_tahu_says_is_read_and_what_it_is_told_arrives(broker: Mosquitto, compress: str | None) -> None:
    sink = RecordingSink()
    link = a_link(broker, sink)
    async with tahu_node(broker.port) as node, running(link):
        await until(lambda: sink.online, "the link is up")
        born(node, compress)
        await until(lambda: len(sink.latest) == len(POINTS), "the births are read")
        assert [sink.value(i) for i in (0, 1, 2, 4, 5)] == [-300.0, 2.5, 1.0, 123456789012.0, 0.5]
        assert sink.texts == {3: "Größe"}
        bad = {"Quality": {"type": "Int32", "value": 0}}
        node.say("data", "pump 1", compress, metric("level", "Double", 3.5), metric("run", "Boolean", False))
        node.say("data", None, compress, metric("speed", "Int16", 7, properties=bad))
        await until(lambda: sink.quality(0) == BAD and sink.value(1) == 3.5, "data by name is read")
        for seq in range(300):
            node.say("data", "pump 1", compress, metric("total", "Int64", str(seq)))
        await until(lambda: sink.value(4) == 299.0, "numbers wrap")
        for wanted, value in ((POINTS[0], -20.0), (POINTS[2], 0.0)):
            assert (await link.write(wanted, value, 2.0)).outcome is WriteOutcome.ACCEPTED
        await until(lambda: len(node.commands) == 2, "both commands arrive")
        assert [(c["device"], c["metrics"][0]["name"], c["metrics"][0]["value"]) for c in node.commands] == [
            (None, "speed", -20), ("pump 1", "run", False),
        ]  # fmt: skip
    assert sink.letters == []


async def test_tahu_is_asked_for_a_rebirth_and_its_deaths_are_read(broker: Mosquitto) -> None:
    sink = RecordingSink()
    async with tahu_node(broker.port) as node, running(a_link(broker, sink)):
        await until(lambda: bool(node.commands), "it is asked for its birth, since it was there before us")
        asked = node.commands[0]["metrics"][0]
        assert (asked["name"], asked["value"]) == ("Node Control/Rebirth", True)
        born(node)
        await until(lambda: len(sink.latest) == len(POINTS), "the births are read")
        node.say("death", "pump 1")
        await until(lambda: sink.quality(1) == BAD_NO_COMMUNICATION, "the device is gone")
        assert sink.quality(0) == GOOD
        born(node)
        await until(lambda: sink.quality(1) == GOOD, "and back")
        node.kill()
        await until(lambda: sink.quality(0) == BAD_NO_COMMUNICATION, "the broker says its will")
        assert sink.quality(1) == BAD_NO_COMMUNICATION != UNCERTAIN_LAST_USABLE
    assert sink.letters == []
