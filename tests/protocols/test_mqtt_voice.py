"""How the twin speaks over MQTT: topics, documents, wishes and answers; and as an edge node, heard by our own host."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mqtt import sparkplug_metrics as spm
from protocols.mqtt.sparkplug import Source, encode_state, parse_address
from protocols.mqtt.sparkplug_host import Host, Lost
from protocols.mqtt.sparkplug_metrics import Metric
from protocols.mqtt.sparkplug_voice import SparkplugVoice
from protocols.mqtt.voice import PlainVoice, Saying, Spoken, Unfit, Wish, document
from protocols.served import CommandState
from tests.protocols.test_mqtt_sparkplug_host import heard
from twin.points import Point
from twin.quality import BAD_NO_COMMUNICATION, UNCERTAIN
from twin.schema import Array, Enum, EnumValue, Primitive

NOW = 1_700_000_000_000_000_000
MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 4)))


def a_point(id: int, property: str, type: str = "double", unit: str = "", **more: Any) -> Point:
    return Point(id, f"pump.{property}", "pump", property, type, unit, "plc", "x", **more)


SPEED = a_point(0, "drive.speed", unit="%", low=0.0, high=120.0, writable=True)
RUN = a_point(1, "run", "boolean", writable=True)
MODES = a_point(2, "mode", "enum", schema=MODE, writable=True)
NAME = a_point(3, "name", "string")
STEPS = a_point(4, "steps", "object", schema=Array(Primitive("integer")))
COUNT = a_point(5, "count", "integer")
POINTS = [SPEED, RUN, MODES, NAME, STEPS, COUNT]


def spoken(point: Point, value: float = math.nan, text: str | None = None, quality: int = 0) -> Spoken:
    return Spoken(point, value, text, quality, NOW)


ALL = [
    spoken(SPEED, 80.5), spoken(RUN, 1.0), spoken(MODES, 4.0, "auto"), spoken(NAME, text="P-1"),
    spoken(STEPS, text="[1,2]"), spoken(COUNT, 7.0),
]  # fmt: skip


def plain(writes: bool = True) -> PlainVoice:
    voice = PlainVoice("works", 1, True, writes)
    voice.bind(POINTS)
    return voice


def test_each_state_is_a_retained_document_on_its_own_topic() -> None:
    sayings = plain().say(ALL, NOW)
    assert all(s.qos == 1 and s.retain for s in sayings)
    assert sayings[0].topic == "works/pump/drive.speed"
    assert orjson.loads(sayings[0].payload) == {
        "value": 80.5, "time": "2023-11-14T22:13:20Z", "quality": "good", "unit": "%",
    }  # fmt: skip
    assert [orjson.loads(s.payload)["value"] for s in sayings] == [80.5, True, "auto", "P-1", [1, 2], 7]


def test_a_quality_that_is_not_good_is_said_in_word_and_code() -> None:
    said = orjson.loads(document(spoken(SPEED, 1.0, quality=BAD_NO_COMMUNICATION)))
    assert (said["quality"], said["status"]) == ("bad", BAD_NO_COMMUNICATION)
    assert orjson.loads(document(spoken(SPEED, quality=UNCERTAIN)))["value"] is None


def test_whether_we_are_there_is_said_and_willed() -> None:
    voice = plain()
    will = voice.will(NOW)
    assert (will.topic, will.payload, will.qos, will.retain) == ("works/status", b"offline", 1, True)
    assert not voice.greeted
    greeting = voice.greeting(ALL, NOW)
    assert (greeting, bool(voice.greeted)) == ([Saying("works/status", b"online", 1, True)], True)
    assert voice.farewell(NOW) == [Saying("works/status", b"offline", 1, True)]


def test_points_that_are_gone_are_taken_from_the_broker() -> None:
    assert plain().bind([SPEED]) == [
        Saying(f"works/pump/{p}", b"", 1, True) for p in ("count", "mode", "name", "run", "steps")
    ]


@pytest.mark.parametrize(
    ("point", "payload", "value"),
    [
        (SPEED, b"50", 50.0), (SPEED, b'{"value": 50.5}', 50.5), (RUN, b"true", 1.0), (MODES, b'"auto"', 4.0),
        (MODES, b"4", 4.0), (COUNT, b"3", 3.0),
    ],
)  # fmt: skip
def test_a_wish_is_a_bare_value_or_an_object(point: Point, payload: bytes, value: float) -> None:
    topic = f"works/pump/{point.property}/set"
    assert plain().hear(topic.encode(), payload, False) == [
        Wish(point, value, "", "operator", f"{topic}/result"),
    ]


def test_a_wish_may_say_why_how_urgent_and_by_what_name() -> None:
    payload = orjson.dumps({"value": 1, "id": "a7", "reason": "shift", "priority": "safety"})
    assert plain().hear(b"works/pump/drive.speed/set", payload, False) == [
        Wish(SPEED, 1.0, "shift", "safety", "works/pump/drive.speed/set/result", "a7")
    ]


@pytest.mark.parametrize(
    ("property", "payload"),
    [
        ("run", b"1"), ("drive.speed", b"true"), ("drive.speed", b'"5"'), ("mode", b'"on"'), ("mode", b"[]"),
        ("drive.speed", b"{}"), ("drive.speed", b""), ("drive.speed", b"\xff"), ("nothing", b"1"), ("name", b'"x"'),
        ("drive.speed", b'{"value": 1, "id": 7}'), ("drive.speed", b'{"value": 1, "reason": "%b"}' % (b"x" * 1001)),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_answered(property: str, payload: bytes) -> None:
    (unfit,) = plain().hear(f"works/pump/{property}/set".encode(), payload, False)
    assert isinstance(unfit, Unfit) and unfit.detail and unfit.answer == f"works/pump/{property}/set/result"


def test_a_wish_that_the_broker_kept_is_not_one_of_now() -> None:
    assert plain().hear(b"works/pump/run/set", b"true", True) == []
    assert plain(writes=False).filters() == [] and plain().filters()[0].topic == "works/+/+/set"


def test_answers_tell_the_command_and_the_askers_own_word() -> None:
    asked = Wish(RUN, 1.0, "", "operator", "works/pump/run/set/result", "a7")
    said = plain().answer(asked, CommandState("c1", "CONFIRMED", True, "pump.running reads 1"), "")
    assert said is not None and said.topic == asked.answer and not said.retain
    assert orjson.loads(said.payload) == {
        "id": "a7", "command": "c1", "status": "CONFIRMED", "final": True, "detail": "pump.running reads 1",
    }  # fmt: skip
    refused = plain().answer(Unfit("no", "t"), None, "no")
    assert refused is not None and orjson.loads(refused.payload) == {"status": "REFUSED", "final": True, "detail": "no"}


@given(st.sampled_from(POINTS), st.binary(max_size=40))
def test_bytes_of_any_kind_are_a_wish_or_unfit(point: Point, payload: bytes) -> None:
    (asked,) = plain().hear(f"works/pump/{point.property}/set".encode(), payload, False)
    assert isinstance(asked, Unfit) or math.isfinite(asked.value) or isinstance(asked.value, float)


# --- as an edge node -------------------------------------------------------------------------------------------------

EDGE = Source("twinloop", "works")


def edge(primary_host: str = "", writes: bool = True) -> SparkplugVoice:
    voice = SparkplugVoice(EDGE, primary_host, writes, 5)
    voice.bind(POINTS)
    voice.will(NOW)
    return voice


def a_host() -> Host:
    host = Host([parse_address(f"spBv1.0/twinloop/works/pump#{p.property}") for p in POINTS], 10**9, 10**9)
    host.begin(NOW)
    return host


def hear(host: Host, sayings: list[Saying]) -> dict[int, Any]:
    return heard([i for s in sayings for i in host.take(s.topic.encode(), s.payload, False, NOW)])


def test_a_host_hears_the_twin() -> None:
    voice, host = edge(), a_host()
    said = hear(host, voice.greeting(ALL, NOW))
    assert said == {0: 80.5, 1: True, 2: "auto", 3: "P-1", 4: "[1,2]", 5: 7} and voice.greeted
    assert hear(host, voice.say([spoken(SPEED, 81.0), spoken(RUN, 1.0)], NOW)) == {0: 81.0}
    (farewell,) = voice.farewell(NOW)
    assert host.take(farewell.topic.encode(), farewell.payload, False, NOW) == [
        Lost((0, 1, 2, 3, 4, 5), BAD_NO_COMMUNICATION)
    ]


def test_births_carry_units_and_ranges() -> None:
    birth = next(s for s in edge().greeting(ALL, NOW) if "DBIRTH" in s.topic)
    speed = spm.metrics_of(birth.payload)[0]
    assert speed.properties == {"engUnit": "%", "engLow": 0.0, "engHigh": 120.0}


def test_a_rebirth_is_owed_until_it_is_said() -> None:
    voice, host = edge(), a_host()
    hear(host, voice.greeting(ALL, NOW))
    asks = spm.encode([Metric("Node Control/Rebirth", None, spm.BOOLEAN, True)], NOW // 1_000_000)
    assert voice.hear(b"spBv1.0/twinloop/NCMD/works", asks, False) == [] and not voice.greeted
    assert len(hear(host, voice.greeting(ALL, NOW + 10**6))) == 6 and voice.greeted


def test_commands_of_hosts_are_wishes_only_where_writes_are_allowed() -> None:
    command = spm.encode([Metric("run", None, spm.BOOLEAN, False), Metric("mode", None, spm.STRING, "auto")], 1)
    topic = b"spBv1.0/twinloop/DCMD/works/pump"
    assert edge().hear(topic, command, False) == [Wish(RUN, 0.0, "", "operator"), Wish(MODES, 4.0, "", "operator")]
    assert edge(writes=False).hear(topic, command, False) == [] == edge().hear(topic, command, True)
    (unfit,) = edge().hear(topic, spm.encode([Metric("mode", None, spm.STRING, "on")], 1), False)
    assert isinstance(unfit, Unfit)


def test_without_its_primary_host_nothing_is_said_and_the_newest_word_of_it_counts() -> None:
    voice = edge(primary_host="scada")
    topic = b"spBv1.0/STATE/scada"
    assert not voice.listener and topic.decode() in [f.topic for f in voice.filters()]
    for online, stamp_ms, there in ((True, 5, True), (False, 4, True), (False, 5, False), (True, 9, True)):
        voice.hear(topic, encode_state(online, stamp_ms), True)
        assert voice.listener is there
    voice.hear(topic, b"ONLINE", False)
    voice.will(NOW)
    assert not voice.listener
