"""What listening at a broker finds: values by topic and pointer, typed by all that was said, and what cannot be read."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from protocols.discovery import Found, FoundValue
from protocols.mqtt.client import Client
from protocols.mqtt.codec import check_address
from protocols.mqtt.discover import Wanted, discover, filters
from protocols.mqtt.offered import LIST_MAX, Heard
from protocols.mqtt.packets import Options
from protocols.mqtt.session import BrokerSession
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.protocol_bench import device, free_port
from twin.errors import BadRequest, Unavailable


def heard(*messages: tuple[str, Any], retained: bool = False, topics_max: int = 1000) -> Found:
    """What is found in these messages; a payload that is no bytes is sent as JSON."""
    found = Heard("auto", topics_max)
    for topic, payload in messages:
        found.take(topic, payload if isinstance(payload, bytes) else json.dumps(payload).encode(), retained)
    return found.found()


def by_address(found: Found) -> dict[str, FoundValue]:
    for value in found.values:
        check_address(value.address, value.type, value.writable)
    return {v.address: v for v in found.values}


def reasons(found: Found) -> dict[str, str]:
    return {s.address: s.reason for s in found.skipped}


def test_a_single_value_belongs_to_the_branch_above_it() -> None:
    values = by_address(heard(("site/tank_1/level", 3.5), ("site/tank_1/state", {"value": "open"})))
    assert (values["site/tank_1/level"].thing, values["site/tank_1/level"].name) == (("site", "tank_1"), ("level",))
    assert [values[a].type for a in ("site/tank_1/level", "site/tank_1/state")] == ["double", "string"]


def test_a_payload_with_several_values_is_a_thing_of_its_own() -> None:
    values = by_address(heard(("site/basin", {"temp": 20, "flow": {"in": 1.5, "a/b~c": True}, "axis": [1, 2]})))
    assert {a: (v.thing, v.name, v.type) for a, v in values.items()} == {
        "site/basin#/temp": (("site", "basin"), ("temp",), "double"),
        "site/basin#/flow/in": (("site", "basin"), ("flow", "in"), "double"),
        "site/basin#/flow/a~1b~0c": (("site", "basin"), ("flow", "a/b~c"), "boolean"),
        "site/basin#/axis/0": (("site", "basin"), ("axis", "0"), "double"),
        "site/basin#/axis/1": (("site", "basin"), ("axis", "1"), "double"),
    }


def test_a_number_is_a_double_however_whole_it_looks() -> None:
    assert by_address(heard(("a/b", 20), ("a/b", 20.5)))["a/b"].type == "double"
    assert by_address(heard(("a/b", 20)))["a/b"].type == "double"


def test_time_quality_and_unit_are_taken_with_the_value_beside_them() -> None:
    said = {"value": 3.5, "unit": "m³/h", "time": "2026-11-21T10:00:00Z", "quality": "good"}
    values = by_address(heard(("a/b", said)))
    assert set(values) == {"a/b"} and values["a/b"].unit == "m3/h"
    two = by_address(heard(("a/b", {"x": 1, "y": 2, "unit": "m"})))
    assert {v.unit for v in two.values()} == {""}  # nobody knows which of them


def test_a_unit_that_is_not_ours_or_changes_is_said() -> None:
    odd = by_address(heard(("a/b", {"value": 1, "unit": "furlong"})))["a/b"]
    assert odd.unit == "" and "furlong" in odd.note
    changing = by_address(heard(("a/b", {"value": 1, "unit": "m"}), ("a/b", {"value": 1, "unit": "s"})))["a/b"]
    assert changing.unit == "" and changing.note == "its unit changes"


def test_what_no_point_can_carry_is_named_with_its_reason() -> None:
    found = heard(
        ("a/mixed", 1), ("a/mixed", "one"), ("a/nothing", None), ("a/text", b"ON OFF"), ("a/empty", b""),
        ("a/long", {"list": list(range(LIST_MAX + 1))}), ("a/x", 1), ("a/x/set", 2),
    )  # fmt: skip
    assert set(by_address(found)) == {"a/x"}
    said = reasons(found)
    assert said["a/mixed"] == "sometimes number and sometimes text"
    assert said["a/nothing"] == "only null was said"
    assert said["a/text"].startswith("its payloads cannot be read: neither JSON")
    assert said["a/empty"] == "its payloads cannot be read: the payload is empty"
    assert said["a/long#/list"] == "a long list"
    assert said["a/x/set"] == "commands for the topic above it"


def test_a_value_that_was_null_at_times_is_what_it_was_otherwise() -> None:
    assert by_address(heard(("a/b", None), ("a/b", 2.5)))["a/b"].type == "double"


def test_msgpack_is_read_like_json() -> None:
    assert by_address(heard(("a/b", msgpack.packb({"value": 1.5, "unit": "bar"}))))["a/b"].unit == "bar"


def test_what_only_the_broker_remembers_is_said() -> None:
    assert "memory" in by_address(heard(("a/b", 1), retained=True))["a/b"].note


def test_odd_topics_stay_apart() -> None:
    found = heard(("/a//b", 1), ("a/b", 2), ("b", 3), ("a b ", 4), ("a\x00", 5), ("x\ny", 6))
    assert set(by_address(found)) == {"/a//b", "a/b", "b"}
    assert len({v.path for v in found.values}) == 3
    assert by_address(found)["b"].thing == ()


def test_topics_beyond_the_limit_are_said() -> None:
    found = heard(("a/1", 1), ("a/2", 2), ("a/3", 3), topics_max=2)
    assert len(found.values) == 2 and not found.complete and "--limit" in found.remarks[-1]


def test_sparkplug_is_left_to_its_own_search() -> None:
    found = heard(("spBv1.0/plant/NDATA/edge_1", b"\x08\x01"), ("a/b", 1))
    assert set(by_address(found)) == {"a/b"} and "1 Sparkplug edge nodes" in found.remarks[-1]


def test_deep_and_wide_payloads_end() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = {"a": deep}
    wide = {f"k{i}": i for i in range(5000)}
    assert reasons(heard(("a/deep", deep)))
    assert len(heard(("a/wide", wide)).values) == 2000


def test_prefixes_are_taken_as_people_write_them() -> None:
    assert filters("") == filters("#") == ["#"]
    assert filters("site/hall/") == filters("site/hall/#") == ["site/hall", "site/hall/#"]
    with pytest.raises(BadRequest, match="no topic"):
        filters("a/#/b")


# --- through a real broker -------------------------------------------------------------------------------------------


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


async def said(broker: Mosquitto, stop: asyncio.Event) -> None:
    """A plant that talks until it is told to stop."""
    session = BrokerSession(broker.endpoint, Client(Options("plant")), lambda messages: None)
    await session.open(4.0)
    session.start()
    assert session.send("site/tank/level", b"1.5", retain=True)
    while not stop.is_set():
        session.send("site/pump", b'{"speed": 12, "on": true}')  # what a busy machine does not take is said again
        session.send("other/value", b"7")
        with_timeout = asyncio.wait_for(stop.wait(), 0.05)
        await asyncio.gather(with_timeout, return_exceptions=True)
    await session.close()


async def listened(broker: Mosquitto, **wanted: Any) -> Found:
    where = device("mqtt", broker.endpoint)
    talking, stop = [], asyncio.Event()
    talking.append(asyncio.create_task(said(broker, stop)))
    try:
        return await discover(
            where, Wanted(listen_s=0.6, **wanted), lambda count, what: None, time.time_ns, random.Random(1)
        )
    finally:
        stop.set()
        await asyncio.gather(*talking)


async def test_a_broker_is_listened_to_for_a_while(mosquitto: Mosquitto) -> None:
    values = by_address(await listened(mosquitto))
    assert set(values) == {"site/tank/level", "site/pump#/speed", "site/pump#/on", "other/value"}


async def test_only_what_lies_under_the_prefix_is_heard(mosquitto: Mosquitto) -> None:
    found = await listened(mosquitto, under="site/")
    assert found.scope == ("site",)
    assert set(by_address(found)) == {"site/tank/level", "site/pump#/speed", "site/pump#/on"}


async def test_a_broker_that_is_not_there_is_unavailable_and_passwords_are_not_shown() -> None:
    nowhere = device("mqtt", f"mqtt://anna:secret@127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable) as failed:
        await discover(nowhere, Wanted(), lambda count, what: None, time.time_ns, random.Random(1))
    assert "secret" not in str(failed.value)


async def test_a_broker_that_goes_ends_the_search(mosquitto: Mosquitto) -> None:
    def told(count: int, what: str) -> None:
        mosquitto.stop()

    with pytest.raises(Unavailable):
        await discover(device("mqtt", mosquitto.endpoint), Wanted(listen_s=30.0), told, time.time_ns, random.Random(1))
