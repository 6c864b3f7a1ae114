"""MQTT addresses and payloads."""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mqtt import codec
from protocols.mqtt.codec import Address, Endpoint, Found, Malformed
from twin.quality import BAD, GOOD, UNCERTAIN

NOON = 1_795_262_400_000_000_000  # 2026-11-21T12:00:00Z


def test_an_address_is_a_topic_with_a_pointer() -> None:
    assert codec.parse_address("plant/tank/level") == Address("plant/tank/level", ("value",))
    assert codec.parse_address("plant/tank#/a~1b/~0c") == Address("plant/tank", ("a/b", "~c"))
    assert codec.parse_address("plant/tank#") == Address("plant/tank", ())


@pytest.mark.parametrize("text", ["", "#/value", "plant/+/level", "plant#value", "a\0b", "t#" + "/x" * 40])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"topic|pointer"):
        codec.parse_address(text)


def test_a_value_inside_a_list_cannot_be_written() -> None:
    codec.check_address("t#/temperatures/3", "double", False)
    with pytest.raises(ValueError, match="list"):
        codec.check_address("t#/temperatures/3", "double", True)


@pytest.mark.parametrize("endpoint", ["mqtt://host", "tcp://host:1883", "mqtt://host:1883/topic", "mqtt://host:99999"])
def test_what_is_no_endpoint_is_refused_with_the_form(endpoint: str) -> None:
    with pytest.raises(ValueError, match="mqtt"):
        codec.check_endpoint(endpoint)


def test_user_and_password_come_from_the_endpoint() -> None:
    assert codec.parse_endpoint("mqtt://u%40x:p@host:1883") == Endpoint("host", 1883, "u@x", "p")
    assert codec.parse_endpoint("mqtt://host:1883") == Endpoint("host", 1883)
    assert codec.parse_endpoint("mqtts://host:8883") == Endpoint("host", 8883, secure=True)


@pytest.mark.parametrize("said", ["2026-11-21T12:00:00Z", "2026-11-21T13:00:00+01:00", "2026-11-21T12:00:00",
                                  1_795_262_400, 1_795_262_400.0, 1_795_262_400_000])  # fmt: skip
def test_all_ways_to_say_noon_are_noon(said: Any) -> None:
    assert codec.parse_time(said) == NOON


@pytest.mark.parametrize(
    "said", ["yesterday", True, None, [], float("nan"), float("inf"), -5, 10**30, "9999-12-31", ""]
)
def test_what_is_no_time_is_malformed(said: Any) -> None:
    with pytest.raises(Malformed, match="not a time"):
        codec.parse_time(said)


def test_quality_is_a_word_or_a_status_code() -> None:
    assert [codec.parse_quality(q) for q in ("good", "Uncertain", "BAD", 0x808C0000)] == [
        GOOD,
        UNCERTAIN,
        BAD,
        0x808C0000,
    ]
    for nonsense in ("fine", -1, 2**32, True, 1.0, None, []):
        with pytest.raises(Malformed, match="not a quality"):
            codec.parse_quality(nonsense)


def test_time_and_quality_stand_beside_the_value_or_at_the_top() -> None:
    document = {"time": 5, "quality": "bad", "tank": {"level": 2.5, "time": 6}, "list": [7, 8]}
    assert codec.look_up(document, ("tank", "level")) == Found(2.5, BAD, 6_000_000_000)
    assert codec.look_up(document, ("list", "1")) == Found(8, BAD, 5_000_000_000)
    assert codec.look_up(document, ("tank", "flow")) is None
    assert codec.look_up(document, ("list", "2")) is None


@pytest.mark.parametrize("payload", [b"23.5", b'{"value": 23.5}', msgpack.packb(23.5), msgpack.packb({"value": 23.5})])
def test_bare_values_and_documents_are_understood_in_both_formats(payload: bytes) -> None:
    assert codec.look_up(codec.decode_payload(payload, "auto"), ("value",)) == Found(23.5, GOOD, None)


@pytest.mark.parametrize(
    ("payload", "form"),
    [
        *((garbage, "auto") for garbage in (b"", b"on", b"x", b"\xff", b"\x93\x01")),
        *((garbage, "json") for garbage in (b"{", b"NaN", b"\xff\xfe", msgpack.packb({"value": 1}))),
        (b"\xc1", "msgpack"),
    ],
)
def test_what_nobody_can_read_is_malformed(payload: bytes, form: str) -> None:
    with pytest.raises(Malformed) as fault:
        codec.decode_payload(payload, form)
    assert fault.value.reason == "decode"


@pytest.mark.parametrize("key", ["value", "time", "quality"])
@pytest.mark.parametrize("nest", [b"[" * 1000 + b"]" * 1000, b'{"a":' * 1000 + b"1" + b"}" * 1000])
def test_nesting_without_end_is_malformed_and_nothing_worse(key: str, nest: bytes) -> None:
    with pytest.raises(Malformed):
        codec.look_up(codec.decode_payload(b'{"value": 1, "' + key.encode() + b'": ' + nest + b"}", "auto"), ("value",))


def test_a_payload_without_end_is_not_read() -> None:
    with pytest.raises(Malformed) as fault:
        codec.decode_payload(b"1" * (codec.PAYLOAD_MAX + 1), "auto")
    assert fault.value.reason == "overflow"


def test_a_write_puts_the_value_where_the_reading_came_from() -> None:
    payload = codec.encode_set(("tank", "level"), 2.5, NOON, "auto")
    assert orjson.loads(payload) == {"tank": {"level": 2.5, "time": "2026-11-21T12:00:00Z"}}
    assert codec.look_up(codec.decode_payload(payload, "json"), ("tank", "level")) == Found(2.5, GOOD, NOON)
    assert codec.encode_set((), True, NOON, "json") == b"true"
    assert msgpack.unpackb(codec.encode_set((), 3, NOON, "msgpack")) == 3


@given(st.binary(max_size=400), st.sampled_from(codec.FORMATS))
def test_any_bytes_are_a_payload_or_malformed(payload: bytes, form: str) -> None:
    with contextlib.suppress(Malformed):
        codec.look_up(codec.decode_payload(payload, form), ("value",))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**64) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "time", "quality", "0", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, st.lists(st.sampled_from(["value", "0", "1", "x", ""]), max_size=4))
def test_any_document_says_something_nothing_or_is_malformed(document: Any, pointer: list[str]) -> None:
    try:
        found = codec.look_up(document, pointer)
    except Malformed:
        return
    if found is not None:
        assert 0 <= found.quality < 2**32


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        codec.parse_address(text)
        codec.check_endpoint(text)
    except ValueError:
        pass
