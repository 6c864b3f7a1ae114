"""Payloads in columns: the compiled reader says what the plain one says, whatever comes."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.delivery import NO_STAMP, Delivery
from protocols.mqtt import client, codec, documents, numbers
from protocols.mqtt import layout as packed
from protocols.mqtt.bindings import Bindings
from protocols.mqtt.intake import Intake
from protocols.mqtt.messages import Message, Messages
from tests.protocols.protocol_bench import RecordingSink, point
from twin.points import Point, Selection
from twin.quality import GOOD

NOW = 1_795_262_400_000_000_000


def heard(
    points: list[Point], messages: list[Message], by_hand: bool = False, form: str = "auto", layout: str = "f64"
) -> RecordingSink:
    sink = RecordingSink()
    selected = Selection.of(points)
    bindings = Bindings(selected.words("address"), ["string" if by_hand else p.type for p in points], form)
    intake = Intake(bindings, selected, form, layout, lambda topic: False)
    batch = Delivery("d1", sink, lambda: NOW, selected).batch()
    intake.take(batch, Messages.of(messages))
    batch.deliver()
    return sink


def told(sink: RecordingSink) -> list[tuple[Any, ...]]:
    """Every reading and every letter, in order for each point; NaN as a word, to be equal to itself."""
    rows = []
    for b in sink.batches:
        for i in range(len(b)):
            value = float(b.value[i])
            said = "nan" if math.isnan(value) else value.hex()
            rows.append((int(b.point[i]), said, int(b.quality[i]), int(b.source_time[i]), b.text.get(i)))
    letters = [(x.point, x.address, x.reason, x.detail, x.raw) for x in sink.letters]
    return sorted(rows, key=lambda r: r[0]) + sorted(letters, key=lambda x: x[0])


def say_the_same(points: list[Point], messages: list[Message], form: str = "auto") -> None:
    assert told(heard(points, messages, form=form)) == told(heard(points, messages, by_hand=True, form=form))


POINTS = [
    point(0, "t"),
    point(1, "t#/a", "integer", low=-1000, high=1000),
    point(2, "t#/b", "boolean"),
    point(3, "t#/in/a", scale=2.0),
    point(4, "t#/in/2"),
    point(5, "t#/0"),
    point(6, "t#/1", "boolean"),
    point(7, "bare#"),
    point(8, "words#/a", "string"),
    point(9, "words#/b"),
]

plain_numbers = st.integers(-(2**63), 2**64) | st.floats() | st.integers(-3, 3) | st.booleans()
times = (
    st.sampled_from(["2026-11-21T12:00:00Z", "2026-11-21T12:00:00.1234567+01:30", "2026-11-21 12:00:00", "2024-02-29T00:00:00Z",
                     "2023-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "soon", 1_795_262_400, 1_795_262_400.25, 1_795_262_399_123,
                     1e300, -1, None, True])
    | st.floats(0, 4e12) | st.integers(0, 2**64 - 1) | st.datetimes().map(lambda t: t.isoformat() + "Z")
)  # fmt: skip
qualities = st.sampled_from(
    ["good", "Bad", "UNCERTAIN", "fine", "gold", 0, 0x80000000, 0x40920000, 2**32, -1, None, 1.5]
)
inner = st.recursive(
    plain_numbers | st.none() | st.text(max_size=4),
    lambda deeper: (
        st.lists(deeper, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "in", "2", "0", "value", "x", "é", 'q"']), deeper, max_size=5)
    ),
    max_leaves=10,
)
about = st.fixed_dictionaries({}, optional={"time": times, "quality": qualities})
documents_ = (
    st.builds(
        lambda members, said, nested, more: {
            **members,
            **({"in": {**nested, **more}} if nested or more else {}),
            **said,
        },
        st.dictionaries(st.sampled_from(["value", "a", "b", "x", "0"]), plain_numbers | inner, max_size=5),
        about,
        st.dictionaries(st.sampled_from(["a", "2", "y"]), plain_numbers, max_size=3),
        about,
    )
    | inner
)


def dumps(document: Any) -> bytes:
    return orjson.dumps(document) if _fits(document) else b"[1e999]"


def packb(document: Any, short: bool) -> bytes:
    """With floats of 4 bytes where that is wanted and they all fit."""
    try:
        return bytes(msgpack.packb(document, use_single_float=short))
    except OverflowError:
        return bytes(msgpack.packb(document))


def _fits(document: Any) -> bool:
    try:
        orjson.dumps(document)
    except TypeError:  # an integer of more than 64 bits
        return False
    return True


@given(
    st.lists(
        st.tuples(st.sampled_from([b"t", b"bare", b"words", b"unknown"]), documents_.map(dumps), st.booleans()),
        max_size=4,
    )
)
def test_documents_mean_the_same_to_both_readers(said: list[tuple[bytes, bytes, bool]]) -> None:
    say_the_same(POINTS, [Message(*one) for one in said])


@given(st.text(alphabet='{}[]:,"0123456789.eE+- abtinvlu', max_size=30))
@example('{"a":1,}')
@example('{"a":1,"a":2}')
@example('{"in":{"a":1},"in":{"2":2}}')
@example('{"time":1,"a":1,"time":2}')
@example("[1,2")
@example("[1,,2]")
@example("-0")
@example("01")
@example("1.")
@example(".5")
@example("1e5")
@example("[true,false]")
@example('{"a":[1,{"x":"y"},[[]],{}],"b":true}')
@example('{"a" : 1 , "x":{"y":[1,2,{"z":null}]} }')
def test_text_that_looks_like_json_means_the_same_to_both_readers(text: str) -> None:
    say_the_same(POINTS, [Message(topic, text.encode(), False) for topic in (b"t", b"bare")])


@given(st.binary(max_size=40))
def test_any_bytes_mean_the_same_to_both_readers(payload: bytes) -> None:
    say_the_same(POINTS, [Message(b"t", payload, False), Message(b"bare", payload, True)])


@given(
    st.lists(st.tuples(st.sampled_from([b"t", b"bare", b"words"]), documents_, st.booleans()), max_size=3),
    st.sampled_from(["auto", "msgpack"]),
    st.booleans(),
)
def test_msgpack_documents_mean_the_same_to_both_readers(
    said: list[tuple[bytes, Any, bool]], form: str, short: bool
) -> None:
    messages = [Message(t, packb(d, short), r) for t, d, r in said if _fits(d)]
    say_the_same(POINTS, messages, form)


@given(st.binary(max_size=40), st.sampled_from(["auto", "msgpack"]))
@example(b"\x81\xa1a", "msgpack")
@example(b"\x82\xa1a\x01\xa1a\x02", "auto")
@example(b"\xdf\xff\xff\xff\xff", "msgpack")
@example(b"\xd3" + b"\xff" * 8, "auto")
@example(b"\xcf" + b"\xff" * 8, "auto")
@example(b"\x81\x01\x02", "auto")
def test_any_bytes_as_msgpack_mean_the_same_to_both_readers(payload: bytes, form: str) -> None:
    say_the_same(POINTS, [Message(b"t", payload, False), Message(b"bare", payload, True)], form)


@given(documents_, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3), st.integers(0, 3))
def test_broken_msgpack_means_the_same_to_both_readers(document: Any, wrong: list[tuple[int, int]], cut: int) -> None:
    payload = bytearray(msgpack.packb(document) if _fits(document) else b"\xc1")
    for place, byte in wrong:
        payload[place % len(payload)] = byte
    say_the_same(POINTS, [Message(b"t", bytes(payload[: len(payload) - cut]), False)], "msgpack")


number_texts = st.builds(
    lambda sign, whole, part, exponent: f"{sign}{whole}{part}{exponent}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**20).map(str),
    st.just("") | st.integers(0, 10**18).map(lambda n: f".{n}") | st.integers(0, 999).map(lambda n: f".{n:012}"),
    st.just("") | st.integers(-70, 70).map(lambda n: f"e{n}"),
)


@given(number_texts | st.floats(allow_nan=False, allow_infinity=False).map(repr))
@example("9007199254740993.0")
@example("9007199254740992.5")
@example("1.7976931348623157e308")
@example("8.5e-9")
@example("5e22")
@example("123456789012345678.5e-3")
def test_every_decimal_number_is_rounded_as_it_must_be(text: str) -> None:
    say_the_same([point(0, "t#", low=-math.inf)], [Message(b"t", text.encode(), False)])
    sink = heard([point(0, "t#")], [Message(b"t", text.encode(), False)])
    if math.isfinite(float(text)):
        value = sink.value(0)
        assert value is not None and struct.pack("<d", value + 0.0) == struct.pack("<d", float(text) + 0.0)


@given(st.datetimes())
def test_every_time_text_is_the_same_moment_to_both_readers(moment: Any) -> None:
    for zone in ("Z", "", "+02:00", "-11:30"):
        text = f'{{"value":1,"time":"{moment.isoformat()}{zone}"}}'
        say_the_same([point(0, "t")], [Message(b"t", text.encode(), False)])


def test_the_words_of_a_topic_are_found_among_a_hundred_thousand() -> None:
    bindings = Bindings([f"plant/{i}/level" for i in range(100_000)], ["double"] * 100_000)
    asked = [0, 17, 99_999, 100_000, 50_000]
    found = bindings.numbers(Messages.of([Message(f"plant/{i}/level".encode(), b"1", False) for i in asked]))
    assert found.tolist() == [0, 17, 99_999, -1, 50_000]


@pytest.mark.parametrize("payload", [list(range(100)), {f"v{i}": i / 7 for i in range(100)}])
def test_a_hundred_values_of_one_message_reach_their_points(payload: Any) -> None:
    parts = [str(i) if isinstance(payload, list) else f"v{i}" for i in range(100)]
    sink = heard(
        [point(i, f"t#/{part}") for i, part in enumerate(parts)], [Message(b"t", orjson.dumps(payload), False)]
    )
    values = payload if isinstance(payload, list) else list(payload.values())
    assert [sink.value(i) for i in range(100)] == values
    assert len(sink.batches) == 1


def test_more_values_than_the_columns_hold_arrive_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.mqtt.intake.VALUES_MAX", 8)
    points = [point(i, f"t#/{i}") for i in range(5)] + [point(5 + i, f"u#/{i}") for i in range(9)]
    messages = [Message(b"t", b"[1,2,3,4,5]", False)] * 3 + [Message(b"u", b"[1,2,3,4,5,6,7,8,9]", False)]
    sink = heard(points, messages)
    assert sum(map(len, sink.batches)) == 24 and sink.value(13) == 9.0


def test_the_compiled_reader_is_compiled_again_when_its_parts_change() -> None:
    source = Path(documents.__file__).with_name("numbers.py").read_bytes()
    assert zlib.crc32(source) == documents.NUMBERS_CRC, (
        f"write NUMBERS_CRC = 0x{zlib.crc32(source):08X} in documents.py"
    )


rows = st.lists(st.floats() | st.sampled_from([0.0, 1.0]), min_size=1, max_size=5)


@given(rows, st.integers(-(2**63), 2**63 - 1), st.sampled_from(packed.LAYOUTS), st.booleans(), st.binary(max_size=9))
def test_packed_rows_mean_the_same_to_both_readers(
    values: list[float], stamp: int, layout: str, retained: bool, more: bytes
) -> None:
    points = [point(0, "t"), point(1, "t#1", "boolean"), point(2, "t#3", scale=2.0), point(3, "u", "string")]
    with np.errstate(over="ignore"):
        payload = packed.write(values, stamp, packed.Layout.of(layout)) + more
    said = [Message(topic, payload, retained) for topic in (b"t", b"u", b"unknown")]
    one, other = (told(heard(points, said, hand, "packed", layout)) for hand in (False, True))
    assert one == other


@pytest.mark.parametrize("layout", packed.LAYOUTS)
def test_a_packed_row_says_its_values_and_its_time(layout: str) -> None:
    row = packed.Layout.of(layout)
    payload = packed.write([1.5, 2.0, -0.25], NOW - 5, row)
    sink = heard([point(i, f"t#{i}") for i in range(3)], [Message(b"t", payload, False)], form="packed", layout=layout)
    taken_at = NOW - 5 if row.head or row.tail else NOW
    assert sink.latest == {0: (1.5, GOOD, taken_at), 1: (2.0, GOOD, taken_at), 2: (-0.25, GOOD, taken_at)}
    short = heard([point(0, "t")], [Message(b"t", payload[:-1], False)], form="packed", layout=layout)
    assert short.reasons == {("twin0.value", "decode")} and short.latest == {}


def test_powers_of_five_are_those_of_the_paper() -> None:
    assert int(numbers._UPPER[numbers.POWER_MAX]) == 1 << 63 and int(numbers._LOWER[numbers.POWER_MAX]) == 0
    assert np.all(numbers._UPPER >> np.uint64(63) == 1)


def test_limits_that_are_said_twice_are_the_same() -> None:
    assert codec.PAYLOAD_MAX == client.PAYLOAD_MAX and codec.MS_FROM == numbers.MS_FROM
    assert codec.TIME_MAX_NS == numbers.STAMP_MAX and packed.NO_TIME == NO_STAMP
