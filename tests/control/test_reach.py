"""How far the evidence reaches: four words, each for itself, and what is late."""

from __future__ import annotations

from itertools import product

import pytest

from control.reach import LEVELS, Reach, Watched, anchor_alarm, as_body, witness_alarm


def reach(recorded: int, checkpointed: int, witnessed: int, anchored: int) -> Reach:
    return Reach(recorded, checkpointed, anchored, None, None, witnessed=witnessed)


@pytest.mark.parametrize("sizes", list(product((1, 3), repeat=3)))
def test_no_level_follows_from_another(sizes: tuple[int, int, int]) -> None:
    found = reach(3, *sizes).levels(2)
    assert found == ["recorded", *(name for name, size in zip(LEVELS[1:], sizes, strict=True) if size == 3)]


def test_an_entry_that_is_only_recorded_is_nothing_else() -> None:
    assert reach(10, 9, 9, 9).levels(9) == ["recorded"]
    assert reach(10, 9, 9, 9).levels(10) == []


def test_an_anchor_is_late_when_the_oldest_entry_waited_longer_than_the_plant_allows() -> None:
    assert anchor_alarm(4, 300.0, 300.0, "why") == ""
    assert anchor_alarm(4, 300.1, 300.0, "the node is away") == (
        "4 entries wait for an anchor, the oldest for 300 s: the node is away"
    )


def test_a_witness_that_is_away_is_late_after_a_while_and_one_that_knows_another_past_at_once() -> None:
    away = Watched("w1", "k1", "http://w1", 7, "refused the connection", 299.0)
    liar = Watched("w2", "k2", "http://w2", 0, "has cosigned another past", 0.0, conflict=True)
    fine = Watched("w3", "k3", "http://w3", 9)
    assert witness_alarm((fine, away), 300.0) == ""
    assert witness_alarm((fine, away), 298.0) == "witness w1 has cosigned nothing for 299 s: refused the connection"
    assert "w2" in witness_alarm((fine, away, liar), 300.0)


def test_events_tell_every_level_by_its_own_name() -> None:
    assert as_body(reach(4, 3, 2, 1)) == {
        "size": 4, "checkpointed": 3, "witnessed": 2, "anchored": 1, "anchor_alarm": "", "witness_alarm": "",
    }  # fmt: skip
