"""The graph of twins: what is reached from where, against networkx, and a drawing that is the same at every start."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twin.plants import PLANT, RULES, write
from twin.drawing import layout
from twin.errors import NotFound
from twin.graph import PART_OF, TwinGraph
from twin.plant import Plant, Relationship, Twin
from twin.plantfile import load_plant
from twin.points import Points

MORE = """
[[twin]]
id = "tank_2"
interface = "dtmi:test:Tank;1"
at = [3, 4]
[[relationship]]
source = "tank"
name = "feeds"
target = "tank_2"
"""
edges = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["feeds", "cools", "contains"]), st.integers(0, 7)))


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return load_plant(write(tmp_path, plant=PLANT + MORE), RULES)


@given(edges, st.sampled_from([None, {"feeds"}, {"cools", "contains"}]), st.sampled_from([None, 1, 2]))
def test_reach_and_hops_are_those_of_networkx(
    drawn: list[tuple[int, str, int]], names: set[str] | None, hops: int | None
) -> None:
    twins = tuple(Twin(f"t{n}", "dtmi:test:T;1", "", None) for n in range(8))
    relationships = tuple(Relationship(f"t{a}", name, f"t{b}") for a, name, b in drawn)
    graph = TwinGraph(Plant("p", "p", "", {}, (), twins, relationships, Points.of(()), (), None, {}))

    def expected(wanted: set[str], backwards: bool) -> dict[str, int]:
        model = nx.DiGraph([(r.source, r.target) for r in relationships if r.name in wanted])
        model.add_node("t0")
        model = model.reverse() if backwards else model
        found = nx.single_source_shortest_path_length(model, "t0", cutoff=hops)
        return {twin: hop for twin, hop in found.items() if hop}

    flow = names if names is not None else {"feeds", "cools"}
    assert graph.downstream("t0", names, hops) == expected(flow, backwards=False)
    assert graph.upstream("t0", names, hops) == expected(flow, backwards=True)
    assert graph.parts("t0", hops) == expected(set(PART_OF), backwards=False)
    wholes = {"t0", "t3", "t5"}
    assert graph.with_parts(wholes) == wholes.union(*(graph.parts(twin) for twin in wholes))


@given(st.lists(st.integers(-1, 6), min_size=8, max_size=8))
def test_upwards_what_is_added_up_reaches_every_whole(whole_of: list[int]) -> None:
    """Twin n is part of one of those before it, or of none."""
    parts = [(n, whole) for n, whole in enumerate(whole_of) if 0 <= whole < n]
    twins = tuple(Twin(f"t{n}", "dtmi:test:T;1", "", None) for n in range(8))
    relationships = tuple(Relationship(f"t{whole}", "contains", f"t{n}") for n, whole in parts)
    plant = Plant("p", "p", "", {}, (), twins, relationships, Points.of(()), (), None, {})
    counts = np.ones(8, np.int64)
    for part, whole in plant.graph.upwards:
        np.add.at(counts, whole, counts[part])
    assert counts.tolist() == [1 + len(plant.graph.parts(f"t{n}")) for n in range(8)]


def test_upstream_and_downstream_follow_flows_and_not_parts(plant: Plant) -> None:
    graph = TwinGraph(plant)
    assert graph.downstream("tank") == {"tank_2": 1}
    assert graph.upstream("tank_2") == {"tank": 1}
    assert graph.upstream("tank") == {}
    assert graph.parts("site") == {"tank": 1}


def test_an_unknown_twin_is_named_with_the_nearest(plant: Plant) -> None:
    with pytest.raises(NotFound, match="did you mean tank"):
        TwinGraph(plant).downstream("tnak")


def test_every_twin_has_a_place_in_the_unit_square_with_y_downwards(plant: Plant) -> None:
    places = layout(plant)
    assert set(places) == {"site", "tank", "tank_2", "plc"}
    assert all(0 <= c <= 1 for place in places.values() for c in place)
    assert places["tank_2"][1] < places["tank"][1]
    assert places == layout(plant)


@pytest.mark.parametrize("count", [3, 600])
def test_a_plant_without_places_gets_some_however_large(count: int) -> None:
    twins = tuple(Twin(f"t{n}", "dtmi:test:T;1", "", None) for n in range(count))
    chain = tuple(Relationship(f"t{n}", "feeds", f"t{n + 1}") for n in range(count - 1))
    places = layout(Plant("p", "p", "", {}, (), twins, chain, Points.of(()), (), None, {}))
    assert len(places) == count
    assert all(0 <= c <= 1 for place in places.values() for c in place)
