"""The change feed: state may be coalesced, events may not be lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.feed import DELTAS_MAX, EVENTS_MAX, Feed, Overrun


def ids(*points: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(points, np.int32)


@given(st.lists(st.sets(st.integers(0, 9), max_size=4), max_size=30), st.integers(0, 30), st.sampled_from([10, 1000]))
def test_a_cursor_gets_exactly_the_points_that_advanced_after_it(moves: list[set[int]], cursor: int, size: int) -> None:
    feed = Feed(size, epoch=1)  # 10: answered by a scan, 1000: from the ring
    after: set[int] = set()
    for move in moves:
        seq = feed.advance(ids(*sorted(move)))
        if move and seq > cursor:
            after |= move
    assert set(feed.points_since(cursor).tolist()) == after


def test_a_cursor_older_than_the_ring_gets_the_same_by_a_scan() -> None:
    feed = Feed(4, epoch=1)
    feed.advance(ids(3))
    for _ in range(DELTAS_MAX + 5):
        feed.advance(ids(0))
    assert feed.points_since(0).tolist() == [0, 3]
    assert feed.points_since(1).tolist() == [0]


def test_every_event_comes_once_in_order_after_the_cursor() -> None:
    feed = Feed(1, epoch=1)
    made = [feed.announce("command", 0, {"n": n}) for n in range(5)]
    assert [e.body["n"] for e in feed.events_since(made[1].seq)] == [2, 3, 4]
    assert feed.events_since(feed.seq) == []


def test_a_consumer_that_fell_behind_the_kept_events_is_told() -> None:
    feed = Feed(1, epoch=1)
    for n in range(EVENTS_MAX + 1):
        feed.announce("command", 0, {"n": n})
    with pytest.raises(Overrun):
        feed.events_since(0)
    assert len(feed.events_since(1)) == EVENTS_MAX


def test_points_and_events_share_one_sequence() -> None:
    feed = Feed(2, epoch=9)
    first = feed.advance(ids(0))
    event = feed.announce("link", 0, {})
    assert (first, event.seq, feed.advance(ids(1)), feed.epoch) == (1, 2, 3, 9)


def test_what_is_said_otherwise_later_keeps_its_number_and_its_place() -> None:
    feed = Feed(1, epoch=1)
    made = [feed.announce("command", n, {"by": "anna"}) for n in range(3)]
    feed.retell({made[1].seq: {"by": "(erased 7)"}, made[2].seq + 1: {"by": "nobody"}})
    assert [(e.seq, e.time, e.body["by"]) for e in feed.events_since(0)] == [
        (made[0].seq, 0, "anna"), (made[1].seq, 1, "(erased 7)"), (made[2].seq, 2, "anna")
    ]  # fmt: skip
    assert feed.seq == made[2].seq
