"""The twin as an address space: stable ids, every parent before its children, and edits that touch only what changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocols.opcua import served_model as model
from protocols.opcua.served_model import Kind, Reference, Space, changes, space_of
from protocols.opcua.unece import NO_CODE, unit_id
from tests.control.served_plant import read_plant, write_plant
from twin.plant import Plant, Relationship
from twin.units import UNITS


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return read_plant(write_plant(tmp_path_factory.mktemp("works") / "plant"))


def built(old: Space, new: Space) -> Space:
    """The old space after the changes to the new one, as a server carries them out; every step must be possible."""
    gone, added, lost, more = changes(old, new)
    nodes, references = dict(old.nodes), set(old.references)
    references -= lost
    for identity in gone:
        assert not [n.id for n in nodes.values() if n.parent == identity], "children go first"
        assert not [r for r in references if identity in (r.source, r.target, r.by)], "references go before"
        del nodes[identity]
    for node in added:
        assert node.id not in nodes
        assert isinstance(node.parent, int) or node.parent in nodes, f"{node.id} before its parent"
        assert not isinstance(node.type, str) or node.type in nodes
        nodes[node.id] = node
    for reference in more:
        assert reference not in references
        assert {reference.source, reference.target} <= nodes.keys()
        references.add(reference)
    return Space(nodes, references)


def same(one: Space, other: Space) -> bool:
    return one.nodes == other.nodes and one.references == other.references


def test_every_point_has_a_variable_of_its_own_name_and_every_parent_is_there(plant: Plant) -> None:
    space = space_of(plant, plant.points)
    assert {n.id for n in space.nodes.values() if n.point >= 0} == {p.name for p in plant.points}
    assert same(built(Space(), space), space)
    assert space.nodes["pump.motor.temperature"].parent == "pump.motor"
    assert space.nodes["pump.motor"].type == "dtmi:works:Motor;1"
    assert Reference("pump", "/relationship/feeds", "tank") in space.references


def test_only_twins_that_can_be_commanded_have_the_method(plant: Plant) -> None:
    space = space_of(plant, plant.points)
    commanded = {r.source for r in space.references if r.target.endswith("/Command")}
    assert commanded == {"pump", "far"}
    assert space.nodes["dtmi:works:Pump;1/Command"].kind is Kind.METHOD


def test_of_chosen_points_only_their_twins_are_shown(plant: Plant) -> None:
    space = space_of(plant, [plant.point("tank.level")])
    assert "tank" in space.nodes
    assert "pump" not in space.nodes
    assert space.references == set(), "no reference to what is not shown"


def test_an_edit_changes_what_it_must_and_nothing_else(plant: Plant) -> None:
    old = space_of(plant, plant.points)
    unlinked = space_of(replace(plant, relationships=()), plant.points)
    gone, added, lost, more = changes(old, unlinked)
    assert (gone, added, more) == (["/relationship/feeds"], [], set())
    assert lost == {Reference("pump", "/relationship/feeds", "tank")}
    without = space_of(plant, [p for p in plant.points if p.twin != "tank"])
    assert same(built(old, without), without)
    assert same(built(without, old), old)
    renamed = replace(plant, twins=tuple(replace(t, name="Big tank") if t.id == "tank" else t for t in plant.twins))
    gone, added, lost, _ = changes(old, space_of(renamed, plant.points))
    assert {"tank", "tank.level", "tank.level/EURange"} <= set(gone)
    assert not [i for i in gone if i.startswith("pump")]
    assert same(built(old, space_of(renamed, plant.points)), space_of(renamed, plant.points))
    more_links = replace(plant, relationships=(*plant.relationships, Relationship("far", "feeds", "tank")))
    assert same(built(old, space_of(more_links, plant.points)), space_of(more_links, plant.points))


def test_units_have_the_numbers_that_clients_know() -> None:
    assert unit_id("m") == 5067858  # the worked example of OPC UA Part 8, 5.6.3: MTR
    assert unit_id("slug") == NO_CODE
    known = [u for u in UNITS if unit_id(u) != NO_CODE]
    assert len(known) > 80
    assert len({unit_id(u) for u in known}) == len(known)


def test_a_data_type_is_that_of_the_interface_unless_the_point_is_scaled(plant: Plant) -> None:
    starts = plant.point("pump.starts")
    schema = plant.interfaces["dtmi:works:Pump;1"].fields["starts"].schema
    assert model.built_in(starts, schema) == model.INT32
    assert model.built_in(starts, None) == model.INT64
    assert model.built_in(replace(starts, scale=0.1), schema) == model.DOUBLE
