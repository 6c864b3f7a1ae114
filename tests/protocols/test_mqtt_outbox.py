"""The outbox: newest states in turn, none lost, none told more often than allowed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protocols.mqtt.outbox import Outbox
from protocols.served import States
from tests.protocols.protocol_bench import point
from twin.plant import Plant
from twin.points import Points

S = 1_000_000_000


def plant(size: int) -> Plant:
    points = Points.of(point(n, f"t{n}") for n in range(size))
    return Plant("p", "p", "", {}, (), (), (), points, (), None, {})


WORKS = plant(10)


def states(values: dict[int, float], quality: int = 0, text: dict[int, str] | None = None, of: Plant = WORKS) -> States:
    ids = sorted(values)
    return States(
        of, np.array(ids, np.int32), np.array([values[i] for i in ids]), np.full(len(ids), quality, np.uint32),
        np.full(len(ids), S, np.int64), text or {},
    )  # fmt: skip


def test_a_point_is_told_when_it_changes_and_not_oftener_than_allowed() -> None:
    box = Outbox(S)
    assert box.hold(states({1: 5.0, 2: 6.0})) == 0
    assert box.due(10 * S, 9).tolist() == [1, 2] and box.due(10 * S, 9).tolist() == []
    box.hold(states({1: 5.0, 2: 7.0}))
    assert box.due(10 * S + S // 2, 9).tolist() == []
    assert box.hold(states({2: 8.0})) == 1  # 7 was never told
    assert box.due(11 * S, 9).tolist() == [2] and box.value[2] == 8.0


def test_quality_and_texts_are_changes_too() -> None:
    box = Outbox(0)
    box.hold(states({1: float("nan")}, text={1: "on"}))
    box.due(S, 9)
    box.hold(states({1: float("nan")}, text={1: "on"}))
    assert box.due(S, 9).tolist() == []
    box.hold(states({1: float("nan")}, text={1: "off"}))
    assert box.due(S, 9).tolist() == [1] and box.text[1] == "off"
    box.hold(states({1: float("nan")}, 0x8000_0000, text={1: "off"}))
    assert box.due(S, 9).tolist() == [1]


def test_what_could_not_be_told_is_due_again_with_its_newest_state() -> None:
    box = Outbox(S)
    box.hold(states({3: 1.0}))
    failed = box.due(5 * S, 9)
    box.hold(states({3: 2.0}))
    box.again(failed)
    assert box.due(5 * S, 9).tolist() == [3] and box.value[3] == 2.0
    box.anew()
    assert box.due(5 * S, 9).tolist() == [3] == box.known.tolist()


def test_everybody_has_a_turn() -> None:
    box = Outbox(0)
    box.hold(states(dict.fromkeys(range(10), 1.0)))
    turns = [box.due(S, 4).tolist() for _ in range(3)]
    assert turns == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    box.hold(states(dict.fromkeys(range(10), 2.0)))
    assert box.due(S, 4).tolist() == [8, 9, 0, 1]
    box.hold(states(dict.fromkeys(range(4), 3.0)))
    assert box.due(S, 5).tolist() == [2, 3, 4, 5, 6]


def test_an_edited_plant_brings_points_and_takes_some() -> None:
    box = Outbox(0)
    box.hold(states({1: 1.0}))
    box.hold(states({11: 1.0}, of=plant(12)))
    box.forget(np.array([1], np.int32))
    assert box.due(S, 9).tolist() == [11] and box.waiting == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=40))
def test_the_newest_state_is_always_told_in_the_end(steps: list[tuple[int, int, bool]]) -> None:
    box = Outbox(0)
    told: dict[int, float] = {}
    newest: dict[int, float] = {}
    for id, value, look in steps:
        newest[id] = float(value)
        box.hold(states({id: float(value)}))
        if look:
            told |= {int(i): float(box.value[i]) for i in box.due(S, 2)}
    while len(ids := box.due(S, 2)):
        told |= {int(i): float(box.value[i]) for i in ids}
    assert told == newest and box.waiting == 0
