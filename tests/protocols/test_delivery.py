"""What links hand over: believed columns, dead letters, and their limits."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protocols.believe import SOURCE_AHEAD_MAX_NS
from protocols.delivery import (
    LETTER_WINDOW_NS,
    LETTERS_MAX,
    NO_STAMP,
    WIRE_BOOLEAN,
    WIRE_FLOAT,
    WIRE_INTEGER,
    Batch,
    Delivery,
)
from protocols.link import RAW_MAX, DeadLetter
from tests.protocols.protocol_bench import RecordingSink, point
from twin.quality import BAD_SENSOR_FAILURE, GOOD, UNCERTAIN
from twin.readings import Readings
from twin.schema import Enum, EnumValue

NOW = 1_795_262_400_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def test_believed_values_become_one_batch_in_the_twins_unit() -> None:
    sink, level, name = RecordingSink(), point(3, "a", scale=0.1, offset=1.0), point(5, "b", "string")
    batch = Delivery("d1", sink, Clock()).batch()
    batch.add(level, 20, UNCERTAIN, NOW - 5, "a", b"")
    batch.add(name, "pump", GOOD, None, "b", b"")
    readings = batch.deliver()
    assert readings is not None and sink.batches == [readings]
    assert sink.latest[3] == (3.0, UNCERTAIN, NOW - 5)
    assert sink.texts == {5: "pump"} and sink.latest[5][2] == NOW


def test_a_batch_of_nothing_is_not_delivered() -> None:
    sink = RecordingSink()
    assert Delivery("d1", sink, Clock()).batch().deliver() is None
    assert sink.batches == []


def test_a_bad_quality_needs_no_value() -> None:
    sink = RecordingSink()
    batch = Delivery("d1", sink, Clock()).batch()
    batch.add(point(0, "a", high=1.0), 99.0, BAD_SENSOR_FAILURE, NOW, "a", b"")
    batch.add_quality(point(1, "b"), BAD_SENSOR_FAILURE)
    batch.deliver()
    assert math.isnan(sink.latest[0][0]) and math.isnan(sink.latest[1][0]) and sink.letters == []


def test_a_time_of_the_future_is_not_believed() -> None:
    sink = RecordingSink()
    batch = Delivery("d1", sink, Clock()).batch()
    batch.add(point(0, "a"), 1.0, GOOD, NOW + 3_600 * 10**9, "a", b"raw")
    assert batch.deliver() is None
    assert (sink.letters[0].reason, sink.letters[0].raw, sink.letters[0].point) == (
        "source_time",
        b"raw",
        "twin0.value",
    )


def test_letters_of_one_kind_are_limited_and_counted_until_the_window_ends() -> None:
    sink, clock = RecordingSink(), Clock()
    delivery = Delivery("d1", sink, clock)
    for _ in range(LETTERS_MAX + 5):
        delivery.reject("t", "decode", "garbage", b"x" * (2 * RAW_MAX))
    delivery.reject("t", "decode", "garbage", b"x", "twin0.value")
    assert len(sink.letters) == LETTERS_MAX + 1
    assert len(sink.letters[0].raw) == RAW_MAX
    assert sink.metrics == {"rejected": LETTERS_MAX + 6, "letters_held": 5}
    clock.now += LETTER_WINDOW_NS
    delivery.reject("t", "decode", "garbage", b"x")
    assert len(sink.letters) == LETTERS_MAX + 2


MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 2)))
MIXED = (
    point(7, "a", scale=0.1, offset=1.0, low=-50.0, high=50.0),
    point(3, "b", "integer"),
    point(9, "c", "integer", scale=0.5),
    point(4, "d", "boolean"),
    point(1, "e", "string"),
    point(6, "f", "enum", schema=MODE),
)
numbers = st.one_of(
    st.tuples(st.just(WIRE_BOOLEAN), st.sampled_from([0.0, 1.0])),
    st.tuples(st.just(WIRE_INTEGER), st.integers(-(2**55), 2**55).map(float) | st.integers(-2, 3).map(float)),
    st.tuples(st.just(WIRE_FLOAT), st.floats() | st.sampled_from([0.0, 1.0, 2.0, 0.5])),
)
stamps = st.sampled_from([NO_STAMP, -1, 0, NOW - 5, NOW, NOW + 5, NOW + SOURCE_AHEAD_MAX_NS + 1])
qualities = st.sampled_from([GOOD, GOOD, UNCERTAIN, BAD_SENSOR_FAILURE])


class Listening(RecordingSink):
    """Writes down everything in order."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_in_order: list[object] = []

    def readings(self, batch: Readings) -> None:
        for row in range(len(batch)):
            value = repr(float(batch.value[row]))
            cells = (int(batch.point[row]), value, int(batch.quality[row]), int(batch.source_time[row]))
            self.heard_in_order.append((*cells, batch.text.get(row)))

    def dead_letter(self, letter: DeadLetter) -> None:
        self.heard_in_order.append((letter.point, letter.reason, letter.detail))


def wire_of(kind: int, number: float) -> bool | int | float:
    return bool(number) if kind == WIRE_BOOLEAN else int(number) if kind == WIRE_INTEGER else number


@given(st.lists(st.tuples(st.integers(0, len(MIXED) - 1), numbers, qualities, stamps), max_size=30), st.booleans())
def test_columns_are_believed_as_their_values_would_be_one_by_one(
    said: list[tuple[int, tuple[int, float], int, int]], framed: bool
) -> None:
    def single(batch: Batch, place: int) -> None:
        row, (kind, number), quality, stamp = said[place]
        at = None if stamp == NO_STAMP else stamp
        batch.add(MIXED[row], wire_of(kind, number), quality, at, MIXED[row].address, b"raw")

    heard: list[list[object]] = []
    for in_columns in (True, False):
        sink = Listening()
        batch = Delivery("d1", sink, Clock(), MIXED).batch()
        if framed:
            batch.add(MIXED[0], 1, GOOD, NOW, "a", b"")
        if in_columns:
            batch.add_columns(
                np.array([row for row, *_ in said], np.int32),
                np.array([number for _, (_, number), *_ in said], np.float64),
                np.array([kind for _, (kind, _), *_ in said], np.uint8),
                np.array([quality for _, _, quality, _ in said], np.uint32),
                np.array([stamp for *_, stamp in said], np.int64),
                lambda place, to=batch: single(to, place),
            )
        else:
            for place in range(len(said)):
                single(batch, place)
        if framed:
            batch.add(MIXED[0], 2, GOOD, NOW, "a", b"")
        batch.deliver()
        heard.append(sink.heard_in_order)
    assert heard[0] == heard[1]


def test_a_number_of_no_point_is_doubted() -> None:
    sink, doubted = RecordingSink(), list[int]()
    one = np.zeros(3)
    for points in (MIXED, ()):
        batch = Delivery("d1", sink, Clock(), points).batch()
        rows = np.array([-1, 99, 2**31 - 1], np.int32)
        kind, quality = np.full(3, WIRE_FLOAT, np.uint8), np.zeros(3, np.uint32)
        batch.add_columns(rows, one, kind, quality, np.full(3, NO_STAMP), doubted.append)
        assert batch.deliver() is None
    assert doubted == [0, 1, 2] * 2


def test_a_letter_comes_after_what_was_believed_before_it() -> None:
    sink = Listening()
    batch = Delivery("d1", sink, Clock(), MIXED).batch()
    batch.add(MIXED[0], 1, GOOD, NOW, "a", b"")
    batch.add(MIXED[0], "garbage", GOOD, NOW, "a", b"garbage")
    batch.add(MIXED[0], 2, GOOD, NOW, "a", b"")
    batch.deliver()
    assert [type(heard[0]) for heard in sink.heard_in_order] == [int, str, int]  # type: ignore[index]
