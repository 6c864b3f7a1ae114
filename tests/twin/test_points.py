"""Points as columns give back what was put in, however they grow and whatever is retired."""

from __future__ import annotations

import math
import pickle

from hypothesis import given
from hypothesis import strategies as st

from twin import points as columns
from twin.plant import nearest
from twin.points import ByName, Point, Points
from twin.schema import Primitive

words = st.sampled_from(["m", "", "degC", "ü", "plc_1", "plc_2"])
numbers = st.sampled_from([1.0, 0.1, -math.inf, math.inf, 3.5])


@st.composite
def rows(draw: st.DrawFn, first: int = 0) -> list[Point]:
    made = []
    for identity in range(first, first + draw(st.integers(0, 30))):
        schema = draw(st.sampled_from([None, Primitive("double")]))
        made.append(
            Point(
                identity, f"twin_{identity % 7}.p{identity}", f"twin_{identity % 7}", f"p{identity}",
                draw(st.sampled_from(["double", "enum"])), draw(words), draw(words), draw(words), draw(numbers), 0.0,
                draw(numbers), draw(numbers), draw(st.booleans()), draw(st.booleans()), 0.5, schema,
            )
        )  # fmt: skip
    return made


@given(rows(), st.data())
def test_points_are_those_that_were_put_in(first: list[Point], data: st.DataObject) -> None:
    more = data.draw(rows(len(first)))
    every = [*first, *more]
    retired = set(data.draw(st.lists(st.sampled_from(range(len(every))), max_size=5))) if every else set()
    made = Points.of(first).changed(more, retired)
    current = [p for p in every if p.id not in retired]
    assert list(made) == current
    assert [made[p.id] for p in every] == every
    assert (made.size, len(made)) == (len(every), len(current))
    assert [made.id_of(p.name) for p in every] == [None if p.id in retired else p.id for p in every]
    for device in {p.device for p in every}:
        assert made.where("device", device).tolist() == [p.id for p in current if p.device == device]
    assert made.numbers("scale").tolist() == [p.scale for p in every]
    assert made.flagged("audit").tolist() == [p.audit for p in every]
    assert list(pickle.loads(pickle.dumps(made))) == current


def test_a_name_is_found_although_another_has_its_hash() -> None:
    held, columns._hash = columns._hash, lambda _: 7
    try:
        made = Points.of(Point(n, f"t.p{n}", "t", f"p{n}", "double", "", "", "") for n in range(20))
        assert [made.id_of(f"t.p{n}") for n in range(21)] == [*range(20), None]
    finally:
        columns._hash = held


def test_names_are_a_mapping_without_a_dictionary() -> None:
    named = ByName(Points.of(Point(n, f"t.p{n}", "t", f"p{n}", "double", "", "", "") for n in range(3)))
    assert (list(named), len(named), "t.p1" in named, "t.p9" in named) == (["t.p0", "t.p1", "t.p2"], 3, True, False)
    assert named["t.p2"].id == 2
    assert nearest("t.pp1", named) == "did you mean t.p1 or t.p2 or t.p0?"
