"""Points as columns give back what was put in, however they grow and whatever is retired."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twin import points as columns
from twin.plant import nearest
from twin.points import FEW, ByName, Point, Points, Selection
from twin.schema import Enum, EnumValue, Primitive

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
    assert list(made) == list(made.current) == current
    assert [made[p.id] for p in every] == every
    assert (made.size, len(made)) == (len(every), len(current))
    assert [made.id_of(p.name) for p in every] == [None if p.id in retired else p.id for p in every]
    for device in {p.device for p in every}:
        assert made.where("device", device).tolist() == [p.id for p in current if p.device == device]
    assert made.numbers("scale").tolist() == [p.scale for p in every]
    assert made.flagged("audit").tolist() == [p.audit for p in every]
    assert list(pickle.loads(pickle.dumps(made))) == current


@given(rows(), st.data())
def test_a_selection_is_its_points_as_a_list_and_as_columns(every: list[Point], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(every), unique_by=lambda p: p.id)) if every else []
    of_plant = Points.of(every).selection(np.array([p.id for p in chosen], np.int32))
    for selected in (of_plant, Selection.of(chosen), Selection.of(of_plant)):
        assert list(selected) == chosen and len(selected) == len(chosen)
        assert [selected[place] for place in range(-len(chosen), len(chosen))] == chosen * 2
        assert list(selected[1:3]) == chosen[1:3]
        assert selected.ids.tolist() == [p.id for p in chosen]
        assert selected.numbers("high").tolist() == [p.high for p in chosen]
        assert selected.words("type") == [p.type for p in chosen]
        assert selected.words("address") == [p.address for p in chosen]
        assert selected.flagged("writable").tolist() == [p.writable for p in chosen]


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


def test_points_made_cell_by_cell_are_those_made_by_columns() -> None:
    enum = Enum("integer", (EnumValue("off", 0),))
    made = [
        Point(n, f"t{n}.v", f"t{n}", "v", "enum" if n % 3 == 0 else "double", "m", "plc", f"holding:{n}", 0.1 * n, float(n),
              -1.0, float("inf"), n % 2 == 0, n % 5 == 0, 0.5, enum if n % 3 == 0 else None)
        for n in range(3 * FEW)
    ]  # fmt: skip
    points = Points.of(made)
    every = np.arange(len(made), dtype=np.int32)
    assert points.some(every) == made
    assert [points[n] for n in range(len(made))] == made
    assert points.some(every[:FEW]) == made[:FEW]


def test_arrays_of_lists_are_made_without_loading_pandas_and_go_there_all_the_same() -> None:
    code = (
        "import sys; import twin.points, pyarrow as pa; made = pa.table({'a': pa.array([1, 2])}); "
        "assert 'pandas' not in sys.modules; import pandas; assert made.to_pandas()['a'].tolist() == [1, 2]"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
