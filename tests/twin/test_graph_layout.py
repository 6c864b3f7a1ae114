"""The picture of the graph: parts within their whole, nothing over another, flow to the right, the same every time."""

from __future__ import annotations

import random

import pytest

from control.plants import read_plant
from tests.twin.test_lookahead import WATER
from twin.graph_layout import Box, GraphLayout, digest, nested
from twin.plant import Plant, Relationship, Twin
from twin.points import Points


def plant(twins: int, relationships: list[tuple[int, str, int]]) -> Plant:
    made = tuple(Twin(f"t{n}", "dtmi:x:T;1", "", None) for n in range(twins))
    ends = tuple(Relationship(f"t{a}", name, f"t{b}") for a, name, b in relationships)
    return Plant("p", "P", "", {}, (), made, ends, Points.of(()), (), None, {})


def apart(a: Box, b: Box) -> bool:
    return a.x + a.w <= b.x + 1e-6 or b.x + b.w <= a.x + 1e-6 or a.y + a.h <= b.y + 1e-6 or b.y + b.h <= a.y + 1e-6


def check(layout: GraphLayout) -> None:
    groups: dict[int, list[Box]] = {}
    for box in layout.boxes:
        whole = layout.boxes[box.parent] if box.parent >= 0 else Box(-1, 0, 0, layout.width, layout.height)
        assert whole.x - 1e-6 <= box.x and box.x + box.w <= whole.x + whole.w + 1e-6
        assert whole.y - 1e-6 <= box.y and box.y + box.h <= whole.y + whole.h + 1e-6
        groups.setdefault(box.parent, []).append(box)
    for members in groups.values():
        for n, box in enumerate(members):
            assert all(apart(box, other) for other in members[:n])


@pytest.mark.parametrize("seed", range(8))
def test_parts_lie_within_their_whole_and_nothing_over_another(seed: int) -> None:
    chance = random.Random(seed)
    size = chance.choice([1, 2, 7, 60, 250])
    whole = [(chance.randrange(n), "contains", n) for n in range(1, size) if chance.random() < 0.8]
    flow = [(chance.randrange(size), "feeds", chance.randrange(size)) for _ in range(size)]
    made = plant(size, [*whole, *dict.fromkeys(flow)])
    layout = nested(made)
    check(layout)
    assert layout == nested(made)


def test_what_feeds_stands_left_of_what_it_feeds_though_they_are_parts_of_others() -> None:
    made = plant(5, [(0, "contains", 1), (2, "contains", 3), (1, "feeds", 3), (3, "feeds", 4)])
    boxes = nested(made).boxes
    assert boxes[0].x + boxes[0].w <= boxes[2].x and boxes[2].x + boxes[2].w <= boxes[4].x
    assert [b.parent for b in boxes] == [-1, 0, -1, 2, -1]


def test_a_whole_network_fits_a_screen_and_another_graph_has_another_digest() -> None:
    water = read_plant(WATER, {})
    layout = nested(water)
    check(layout)
    assert 0.5 < layout.width / layout.height < 4
    assert digest(plant(3, [])) != digest(plant(3, [(0, "feeds", 1)])) != digest(plant(4, [(0, "feeds", 1)]))


def test_nothing_at_all_has_a_picture() -> None:
    assert nested(plant(0, [])) == GraphLayout(digest(plant(0, [])), 0.0, 0.0, ())
