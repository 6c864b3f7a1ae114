"""The compiled decoder of OPC UA answers against asyncua's, and against bytes that no server should send."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary, variant_from_binary
from hypothesis import given
from hypothesis import strategies as st

from protocols.opcua import binary, codec
from protocols.opcua.messages import Answer, Answers, Garbled, Strange, raw_at, value_at
from protocols.scan import NO_STAMP, WIRE_BOOLEAN, WIRE_FLOAT, WIRE_INTEGER
from tests.protocols import opcua_answers as wire
from twin.quality import BAD_SENSOR_FAILURE, GOOD

NOW = 1_795_262_400_123_456_000
KINDS = {"Boolean": WIRE_BOOLEAN, "Float": WIRE_FLOAT, "Double": WIRE_FLOAT}
INTEGERS = ("SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")


def rare(raw: bytes) -> Any:
    return variant_from_binary(Buffer(raw)).Value


def decode(body: bytes) -> Answer:
    return Answers(rows=2).decode(body)


def of_asyncua(body: bytes, response: type = ua.PublishResponse) -> Any:
    """asyncua's answer: it reads the id of the encoding before."""
    buffer = Buffer(body)
    nodeid_from_binary(buffer.copy())
    return struct_from_binary(response, buffer)


def test_every_scalar_type_is_read_and_numbers_land_in_the_columns() -> None:
    types = list(wire.OF_EVERY_TYPE)
    items = [
        (handle, wire.data_value(wire.number(name, wire.OF_EVERY_TYPE[name]), None, wire.ticks(NOW)))
        for handle, name in enumerate(types)
    ]
    answer = decode(wire.publish([wire.data_change(items)], sequence=3))
    assert answer.handle.tolist() == list(range(len(types)))
    assert set(answer.quality.tolist()) == {GOOD} and set(answer.stamp.tolist()) == {NOW}
    for row, name in enumerate(types):
        value = value_at(answer, row, rare)
        assert value == wire.OF_EVERY_TYPE[name] and type(value) is type(wire.OF_EVERY_TYPE[name]), name
        assert int(answer.builtin[row]) == ua.VariantType[name].value
        if name in (*KINDS, *INTEGERS):
            assert answer.wire[row] == float(value) and answer.kind[row] == KINDS.get(name, WIRE_INTEGER)
        else:
            assert math.isnan(answer.wire[row])


@pytest.mark.parametrize("mask", range(64))
def test_every_combination_of_value_status_and_times_is_read(mask: int) -> None:
    parts: tuple[Any, ...] = (
        wire.number("Double", 4.5), BAD_SENSOR_FAILURE, wire.ticks(NOW), wire.ticks(NOW - 5_000_000), 77, 88,
    )  # fmt: skip
    there = [part if mask >> bit & 1 else None for bit, part in enumerate(parts)]
    after = wire.data_value(wire.number("Int16", 7))
    answer = decode(wire.read([wire.data_value(*there), after]))
    assert (answer.wire[0] == 4.5) if mask & 1 else (math.isnan(answer.wire[0]) and answer.builtin[0] == 0)
    assert answer.quality[0] == (BAD_SENSOR_FAILURE if mask & 2 else GOOD)
    assert answer.stamp[0] == (NOW if mask & 4 else NOW - 5_000_000 if mask & 8 else NO_STAMP)
    assert answer.wire[1] == 7.0, "what follows is found"


@pytest.mark.parametrize(
    ("source", "server", "told"),
    [
        (0, None, NO_STAMP),
        (0, wire.ticks(NOW), NOW),
        (-5, None, NO_STAMP),
        (wire.EPOCH_TICKS - 1, None, NO_STAMP),
        (wire.EPOCH_TICKS + 17, None, 1_000),
        (2**63 - 1, None, 2**63 - 1),
        (wire.ticks(NOW) + 9, None, NOW),
    ],
)
def test_no_time_and_impossible_times_are_told_apart(source: int, server: int | None, told: int) -> None:
    assert decode(wire.read([wire.data_value(None, None, source, server)])).stamp[0] == told


def test_the_head_of_a_publish_says_everything_that_the_session_needs() -> None:
    body = wire.publish(
        [wire.data_change([(1, wire.data_value(wire.number("Float", 2.5)))]), wire.status_change(0x800A_0000)],
        sequence=17, subscription=4, available=(15, 16, 17), further=True, results=(0, 0x8028_0000),
    )  # fmt: skip
    answer = decode(body)
    cells = (binary.SERVICE, binary.SUBSCRIPTION, binary.SEQUENCE, binary.PARTS, binary.FURTHER, binary.STATUS)
    assert [answer.head[cell] for cell in cells] == [binary.PUBLISH, 4, 17, 2, 1, 0x800A_0000]
    assert answer.available() == [15, 16, 17] and answer.acknowledged() == [0, 0x8028_0000]
    assert len(answer) == 1 and answer.wire[0] == 2.5


def test_a_keep_alive_brings_nothing_but_its_number() -> None:
    answer = decode(wire.publish([], sequence=8))
    assert len(answer) == 0 and answer.head[binary.PARTS] == 0 and answer.head[binary.SEQUENCE] == 8
    assert answer.head[binary.STATUS] == binary.NONE


def test_a_fault_tells_its_status_code() -> None:
    answer = decode(wire.header(397, 0x8079_0000))
    assert answer.head[binary.SERVICE] == binary.SERVICE_FAULT and answer.head[binary.RESULT] == 0x8079_0000


def test_a_header_with_texts_is_passed() -> None:
    assert decode(wire.header(397, 0x8079_0000, ["eins", "zwei"])).head[binary.RESULT] == 0x8079_0000


def test_notifications_of_other_kinds_are_passed() -> None:
    change = wire.data_change([(1, wire.data_value(wire.number("Byte", 3)))])
    answer = decode(wire.publish([wire.structure(916, b"\x01\x02\x03"), change, b"\x00\x00\x00"]))
    assert answer.wire.tolist() == [3.0]


def test_values_that_the_servers_queue_lost_are_counted() -> None:
    value = wire.number("Byte", 1)
    codes = (0x0000_0480, 0x002F_0000, 0x0000_0080, GOOD, 0x4000_0480)
    answer = decode(
        wire.publish([wire.data_change([(n, wire.data_value(value, code)) for n, code in enumerate(codes)])])
    )
    assert answer.head[binary.OVERFLOWS] == 3 and tuple(answer.quality.tolist()) == codes


def test_arrays_and_structures_are_left_for_later_and_what_follows_is_read() -> None:
    later: list[Any] = [
        ua.Variant([1.5, 2.5]), ua.Variant(["a", None, "b"], ua.VariantType.String),
        ua.Variant([[1, 2], [3, 4]], ua.VariantType.Int32), ua.Variant([], ua.VariantType.Int64),
        ua.Variant([ua.NodeId("x", 3), ua.NodeId(5)]), ua.Variant(ua.Range(0.0, 10.0)),
        ua.Variant([ua.LocalizedText("a"), ua.LocalizedText("b", "de")]),
    ]  # fmt: skip
    values = [wire.data_value(wire.variant_to_binary(one), GOOD) for one in later]
    answer = decode(wire.read([*values, wire.data_value(wire.number("UInt16", 9))]))
    assert answer.wire[-1] == 9.0 and np.isnan(answer.wire[:-1]).all()
    for row, one in enumerate(later):
        assert variant_from_binary(Buffer(raw_at(answer, row))) == variant_from_binary(
            Buffer(wire.variant_to_binary(one))
        )


def test_a_value_within_a_value_is_left_to_the_librarys_decoder() -> None:
    nested = ua.Variant([ua.Variant(1.5), ua.Variant("x")], ua.VariantType.Variant)
    with pytest.raises(Strange):
        decode(wire.read([wire.data_value(wire.variant_to_binary(nested))]))


def test_the_results_of_created_items_are_read() -> None:
    results = [
        ua.MonitoredItemCreateResult(
            ua.StatusCode(0), ua.IntegerId(70 + n), 100.0 * n, ua.Counter(n), ua.ExtensionObject()
        )
        for n in range(5)
    ]
    results[3].StatusCode = ua.StatusCode(0x8034_0000)
    body = struct_to_binary(ua.CreateMonitoredItemsResponse(Results=results))
    answer = decode(body)
    assert answer.handle.tolist() == [70, 71, 72, 73, 74] and answer.quality.tolist() == [0, 0, 0, 0x8034_0000, 0]
    assert answer.wire.tolist() == [0.0, 100.0, 200.0, 300.0, 400.0] and answer.stamp.tolist() == [0, 1, 2, 3, 4]


# --- against asyncua's own decoder ---------------------------------------------------------------------------------

texts = st.text(max_size=8)
numbers: list[st.SearchStrategy[tuple[str, Any]]] = [
    st.tuples(st.just(name), st.integers(*codec._INTEGER_RANGES[name])) for name in INTEGERS
]
scalars = st.one_of(
    *numbers,
    st.tuples(st.just("Boolean"), st.booleans()),
    st.tuples(st.just("Double"), st.floats(allow_nan=False)),
    st.tuples(st.just("Float"), st.floats(width=32, allow_nan=False)),
    st.tuples(st.just("String"), st.none() | texts),
    st.tuples(st.just("ByteString"), st.none() | st.binary(max_size=6)),
    st.tuples(st.just("Guid"), st.uuids()),
    st.tuples(st.just("LocalizedText"), st.builds(ua.LocalizedText, texts, st.none() | texts)),
    st.tuples(st.just("QualifiedName"), st.builds(ua.QualifiedName, texts, st.integers(0, 9))),
    st.tuples(st.just("NodeId"), st.builds(ua.NodeId, texts | st.integers(0, 2**32 - 1), st.integers(0, 65535))),
    st.tuples(st.just("StatusCode"), st.builds(ua.StatusCode, st.integers(0, 2**32 - 1))),
    st.tuples(st.just("Int32"), st.lists(st.integers(-5, 5), max_size=3)),
    st.tuples(st.just("String"), st.lists(texts, max_size=3)),
)
times = st.none() | st.integers(-5, 2**63 - 1) | st.integers(wire.EPOCH_TICKS - 20, wire.EPOCH_TICKS + 2**60)
picos = st.none() | st.integers(0, 9999)
plain_values = st.builds(
    lambda value, *rest: wire.data_value(None if value is None else wire.number(*value), *rest),
    st.none() | scalars, st.none() | st.integers(0, 2**32 - 1), times, times,
)  # fmt: skip
# asyncua reads picoseconds in the wrong order where both times are there.
fine_values = st.builds(
    lambda value, source, pico: wire.data_value(wire.number(*value), None, source, None, pico), scalars, times, picos
)
messages = st.builds(
    wire.publish,
    st.lists(
        st.one_of(
            st.lists(st.tuples(st.integers(0, 2**32 - 1), plain_values | fine_values), max_size=8).map(wire.data_change),
            st.integers(0, 2**32 - 1).map(wire.status_change),
        ),
        max_size=3,
    ),
    sequence=st.integers(0, 2**32 - 1), subscription=st.integers(0, 2**32 - 1),
    available=st.lists(st.integers(0, 2**32 - 1), max_size=3), further=st.booleans(),
    results=st.lists(st.sampled_from([0, 0x8028_0000]), max_size=3),
)  # fmt: skip


@given(messages)
def test_a_message_says_what_asyncua_finds_in_it(body: bytes) -> None:
    answer, theirs = decode(body), of_asyncua(body)
    told = theirs.Parameters
    message = told.NotificationMessage
    assert answer.head[binary.SUBSCRIPTION] == told.SubscriptionId
    assert answer.head[binary.SEQUENCE] == message.SequenceNumber
    assert answer.head[binary.PARTS] == len(message.NotificationData)
    assert bool(answer.head[binary.FURTHER]) == told.MoreNotifications
    assert answer.available() == told.AvailableSequenceNumbers
    assert answer.acknowledged() == [status.value for status in told.Results]
    items = [i for part in message.NotificationData for i in getattr(part, "MonitoredItems", ())]
    codes = [part.Status.value for part in message.NotificationData if isinstance(part, ua.StatusChangeNotification)]
    assert answer.head[binary.STATUS] == (codes[-1] if codes else binary.NONE)
    assert answer.handle.tolist() == [item.ClientHandle for item in items]
    for row, item in enumerate(items):
        value, quality, stamp = codec.read_data_value(item.Value)
        ours = value_at(answer, row, rare)
        assert codec.plain(ours) == value and type(codec.plain(ours)) is type(value)
        assert int(answer.quality[row]) == quality
        assert int(answer.stamp[row]) == (NO_STAMP if stamp is None else min(stamp, 2**63 - 1))
        if isinstance(value, bool | int | float) and not isinstance(ours, ua.StatusCode):
            assert answer.wire[row] == float(value)


@given(messages, st.data())
def test_a_message_that_ends_early_is_refused_and_never_read_past_its_end(body: bytes, data: st.DataObject) -> None:
    for end in range(len(body) - 4):  # the last four are diagnostics, which nobody reads
        with pytest.raises(Garbled):
            decode(body[:end])


@given(messages, st.data())
def test_bytes_that_were_changed_on_the_way_end_in_an_answer_or_a_typed_error(body: bytes, data: st.DataObject) -> None:
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Garbled, Strange):
        answer = decode(bytes(changed))
        for row in range(len(answer)):
            assert 0 < answer.begin[row] <= answer.stop[row] <= len(changed)
            with contextlib.suppress(ValueError):
                value_at(answer, row, lambda raw: raw)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x01\x00\x3d\x03", b"\x01\x00\x7a\x02", b"\x01\x00\xf2\x02"]))
def test_random_bytes_end_in_an_answer_or_a_typed_error(noise: bytes, start: bytes) -> None:
    with contextlib.suppress(Garbled, Strange):
        decode(start + noise)
    with contextlib.suppress(Garbled, Strange):
        decode(start + bytes(20) + noise)


@pytest.mark.parametrize("count", [2**31 - 1, -2, 1_000_000])
def test_an_impossible_number_of_items_is_refused_without_making_room_for_them(count: int) -> None:
    body = bytearray(wire.publish([wire.data_change([(1, wire.data_value(wire.number("Byte", 1)))])]))
    at = bytes(body).index(b"\x01\x00\x2b\x03\x01") + 9
    body[at : at + 4] = count.to_bytes(4, "little", signed=True)
    with pytest.raises(Garbled):
        decode(bytes(body))


def test_nothing_is_read_outside_the_bytes() -> None:
    """The same tests where every index is checked: uncompiled, numpy raises IndexError, which no test here expects."""
    if os.environ.get("NUMBA_DISABLE_JIT"):
        return
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-k", "early or changed or random or impossible", __file__]
    root = Path(__file__).parents[2]
    checked = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(words, cwd=root, env=checked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
