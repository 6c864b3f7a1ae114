"""What links hand over: believed columns, dead letters, and their limits."""

from __future__ import annotations

import math

from protocols.delivery import LETTER_WINDOW_NS, LETTERS_MAX, Delivery
from protocols.link import RAW_MAX
from tests.protocols.protocol_bench import RecordingSink, point
from twin.quality import BAD_SENSOR_FAILURE, GOOD, UNCERTAIN

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
