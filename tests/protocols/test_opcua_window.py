"""Sequence numbers of a subscription's messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.opcua.window import GAP_MAX, SEQUENCE_MAX, Taken, Window

FINE = Taken()


def opened(at: int) -> Window:
    window = Window()
    assert window.take(at, False) == FINE
    return window


def test_messages_in_order_miss_nothing_and_keep_alives_count_for_none() -> None:
    window = Window()
    for sequence, keep_alive in ((1, True), (1, False), (2, False), (3, True), (3, True), (3, False)):
        assert window.take(sequence, keep_alive) == FINE


def test_a_gap_names_what_is_missing_once() -> None:
    window = opened(4)
    assert window.take(8, False) == Taken((5, 6, 7))
    assert window.take(9, False) == FINE


def test_a_keep_alive_shows_that_the_last_message_got_lost() -> None:
    window = opened(4)
    assert window.take(6, True) == Taken((5,))
    assert window.take(6, False) == FINE


def test_a_message_that_comes_again_is_known() -> None:
    window = opened(4)
    assert window.take(4, False).repeated and window.take(1, False).repeated
    assert window.take(5, False) == FINE


def test_after_the_largest_number_comes_one() -> None:
    window = opened(SEQUENCE_MAX)
    assert window.take(1, True) == FINE
    assert window.take(3, False) == Taken((1, 2))
    assert opened(SEQUENCE_MAX - 1).take(2, False) == Taken((SEQUENCE_MAX, 1))


def test_of_a_long_gap_the_newest_are_asked_for_and_the_rest_is_lost() -> None:
    taken = opened(1).take(1000, False)
    assert taken.missing == tuple(range(1000 - GAP_MAX, 1000)) and taken.lost == 998 - GAP_MAX


@given(st.integers(1, SEQUENCE_MAX), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_every_message_is_either_taken_or_named_as_missing(first: int, steps: list[tuple[bool, bool]]) -> None:
    window, at, seen, sent = opened(first), first, {first}, {first}
    for arrives, keep_alive in [*steps, (True, True)]:
        following = at % SEQUENCE_MAX + 1
        if not keep_alive:
            at = following
            sent.add(at)
        if arrives:
            taken = window.take(following, keep_alive)
            seen |= {*taken.missing, *(() if keep_alive else (following,))}
            assert not taken.repeated and taken.lost == 0
    assert seen == sent


@pytest.mark.parametrize("sequence", [0, SEQUENCE_MAX])
def test_an_impossible_number_upsets_nothing(sequence: int) -> None:
    window = opened(5)
    assert window.take(sequence, True).repeated
    assert window.take(6, False) == FINE
