"""The graph of twins: reach, parts and a drawing that is the same at every start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.twin.plants import PLANT, RULES, write
from twin.errors import NotFound
from twin.graph import TwinGraph
from twin.plantfile import load_plant

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


@pytest.fixture
def graph(tmp_path: Path) -> TwinGraph:
    return TwinGraph(load_plant(write(tmp_path, plant=PLANT + MORE), RULES))


def test_upstream_and_downstream_follow_flows_and_not_parts(graph: TwinGraph) -> None:
    assert graph.downstream("tank") == {"tank_2"}
    assert graph.upstream("tank_2") == {"tank"}
    assert graph.upstream("tank") == set()
    assert graph.parts("site") == {"tank"}


def test_an_unknown_twin_is_named_with_the_nearest(graph: TwinGraph) -> None:
    with pytest.raises(NotFound, match="did you mean tank"):
        graph.downstream("tnak")


def test_every_twin_has_a_place_in_the_unit_square_with_y_downwards(graph: TwinGraph) -> None:
    places = graph.layout()
    assert set(places) == {"site", "tank", "tank_2", "plc"}
    assert all(0 <= c <= 1 for place in places.values() for c in place)
    assert places["tank_2"][1] < places["tank"][1]
    assert places == graph.layout()
