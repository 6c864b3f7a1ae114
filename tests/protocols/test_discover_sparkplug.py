"""What births of Sparkplug edge nodes offer, and how a search gets to hear them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocols.discovery import Found, FoundValue
from protocols.mqtt import sparkplug_metrics as metrics
from protocols.mqtt.births import Births
from protocols.mqtt.discover import Wanted, discover
from protocols.mqtt.sparkplug_device import SparkplugDevice
from protocols.mqtt.sparkplug_metrics import Metric
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.protocol_bench import device, point
from twin.schema import Primitive

REBIRTH = Metric(metrics.REBIRTH, datatype=metrics.BOOLEAN, value=False)


def heard(*messages: tuple[str, list[Metric] | bytes], under: str = "spBv1.0", limit: int = 1000) -> Births:
    births = Births(under, limit)
    for topic, said in messages:
        births.take(topic, said if isinstance(said, bytes) else metrics.encode(said, 1_000, 0), False)
    return births


def by_address(found: Found) -> dict[str, FoundValue]:
    return {v.address: v for v in found.values}


def offer(name: str, datatype: int, value: Any, **properties: Any) -> Metric:
    return Metric(name, datatype=datatype, value=value, properties=properties)


def test_a_birth_offers_its_metrics_with_type_unit_and_access() -> None:
    level = offer("Tank/Level", metrics.FLOAT, 1.5, engUnit="m", engLow=0.0, engHigh=4.0)
    speed = offer("Speed", metrics.DOUBLE, 10.0, engUnit="rpm", engLow=0, engHigh=3000, readOnly=False)
    births = heard(
        ("spBv1.0/plant/NBIRTH/edge", [REBIRTH, offer("On", metrics.BOOLEAN, True)]),
        ("spBv1.0/plant/DBIRTH/edge/pump", [level, speed, offer("Made", metrics.DATE_TIME, 0)]),
    )
    values = by_address(births.found())
    assert set(values) == {
        "spBv1.0/plant/edge#On", "spBv1.0/plant/edge/pump#Tank/Level", "spBv1.0/plant/edge/pump#Speed",
        "spBv1.0/plant/edge/pump#Made",
    }  # fmt: skip
    tank = values["spBv1.0/plant/edge/pump#Tank/Level"]
    assert (tank.thing, tank.name) == (("plant", "edge", "pump"), ("Tank", "Level"))
    assert (tank.schema, tank.unit, tank.writable, tank.high) == (Primitive("float"), "m", False, float("inf"))
    pump = values["spBv1.0/plant/edge/pump#Speed"]
    assert (pump.writable, pump.low, pump.high) == (True, 0.0, 3000.0)
    assert values["spBv1.0/plant/edge/pump#Made"].schema == Primitive("dateTime")


def test_what_no_point_can_carry_is_named_with_its_reason() -> None:
    births = heard(
        ("spBv1.0/g/NBIRTH/e", [offer("list", metrics.DOUBLE_ARRAY, [1.0]), offer("odd\n", metrics.INT32, 1)]),
        ("spBv1.0/g/DBIRTH/e/d", b"\xff\xff"),
    )
    reasons = [s.reason for s in births.found().skipped]
    assert any("array" in r for r in reasons) and any("cannot be read" in r for r in reasons)
    assert any("characters" in r for r in reasons)


def test_an_edge_node_without_a_birth_is_said_and_makes_the_search_incomplete() -> None:
    births = heard(("spBv1.0/g/NDATA/e", [offer("", metrics.INT32, 1)]), ("spBv1.0/g/NCMD/other", [REBIRTH]))
    found = births.found()
    assert [str(edge) for edge in births.unborn()] == ["spBv1.0/g/e"]
    assert not found.complete and "--rebirth" in found.remarks[0]


def test_one_group_or_node_can_be_looked_at_alone() -> None:
    said = [offer("x", metrics.INT32, 1)]
    messages = [(f"spBv1.0/{group}/NBIRTH/{node}", said) for group in "ab" for node in "xy"]
    assert set(by_address(heard(*messages, under="spBv1.0/a").found())) == {"spBv1.0/a/x#x", "spBv1.0/a/y#x"}
    assert set(by_address(heard(*messages, under="spBv1.0/a/y/#").found())) == {"spBv1.0/a/y#x"}
    assert heard(under="spBv1.0/a/y").filter == "spBv1.0/a/#"


def test_metrics_beyond_the_limit_are_said() -> None:
    said = [offer(f"m{i}", metrics.INT32, i) for i in range(5)]
    found = heard(("spBv1.0/g/NBIRTH/e", said), ("spBv1.0/g/NBIRTH/f", said), limit=7).found()
    assert len(found.values) == 5 and not found.complete


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


async def searched(broker: Mosquitto, rebirth: bool) -> Found:
    """A node that was born long ago and only says what changes."""
    points = [point(1, "spBv1.0/plant/edge#Level", writable=True), point(2, "spBv1.0/plant/edge/pump#On", "boolean")]
    served = SparkplugDevice(
        device("mqtt", broker.endpoint, format="sparkplug"), points, lambda p, v: True, time.time_ns
    )
    await served.start()
    ended = asyncio.Event()

    async def talk() -> None:
        step = 0
        while not ended.is_set():
            step += 1
            await served.publish({1: float(step)}, time.time_ns(), {})
            await asyncio.gather(asyncio.wait_for(ended.wait(), 0.05), return_exceptions=True)

    talking = asyncio.create_task(talk())
    try:
        where = device("mqtt", broker.endpoint, format="sparkplug")
        wanted = Wanted("spBv1.0", 1.0, rebirth=rebirth)
        return await discover(where, wanted, lambda count, what: None, time.time_ns, random.Random(1))
    finally:
        ended.set()
        await talking
        await served.stop()


async def test_births_are_asked_for_only_when_told_to(mosquitto: Mosquitto) -> None:
    silent = await searched(mosquitto, rebirth=False)
    assert not silent.values and "--rebirth" in silent.remarks[0]
    found = await searched(mosquitto, rebirth=True)
    assert set(by_address(found)) == {"spBv1.0/plant/edge#Level", "spBv1.0/plant/edge/pump#On"}
    assert found.complete
