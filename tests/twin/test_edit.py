"""Edits of a plant's graph: everything wrong is said with its place, ids stay, and no sequence of edits breaks the plant."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twin.plants import PLANT, RULES, TANK, write
from twin.dtdl import parse
from twin.edit import (
    AddInterface,
    AddRelationship,
    AddTwin,
    ChangeTwin,
    Edit,
    KeepPoint,
    RemoveRelationship,
    RemoveTwin,
    additions,
    edited,
    fitting,
)
from twin.errors import BadGraph, BadRequest, Conflict, NotFound, Refused, TwinloopError
from twin.plant import Plant, Relationship, Twin
from twin.plantfile import load_plant

T, S = "dtmi:test:Tank;1", "dtmi:test:Site;1"
NOTED = json.loads(TANK)
NOTED["contents"].append({"@type": "Property", "name": "note", "schema": "string"})


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return load_plant(write(tmp_path_factory.mktemp("plant"), PLANT, Tank=json.dumps(NOTED)), RULES)


def tank(identity: str, of: str = T) -> Twin:
    return Twin(identity, of, identity, None)


def interface(name: str, **more: object) -> AddInterface:
    said = {"@context": "dtmi:dtdl:context;3", "@id": f"dtmi:test:{name};1", "@type": "Interface", **more}
    return AddInterface(parse(json.dumps(said), f"{name}.json").interfaces[0], "models[0]")


def test_a_new_twin_gets_a_point_for_everything_its_interface_declares_after_those_there_are(plant: Plant) -> None:
    after = edited(plant, [AddTwin(tank("extra"))])
    more = [after.points[i] for i in range(plant.points.size, after.points.size)]
    assert [p.name for p in more] == [f"extra.{n}" for n in plant.interfaces[T].fields]
    assert {(p.device, p.writable) for p in more} == {("", False)}
    assert [p.name for p in plant.points] == [p.name for p in after.points][: len(plant.points)]
    assert after.added.twins == {"extra"}
    assert plant.added.twins == frozenset()


def test_a_removed_twin_takes_its_points_and_relationships_along_and_ids_are_not_given_again(plant: Plant) -> None:
    link = Relationship("tank", "feeds", "extra")
    there = edited(plant, [AddTwin(tank("extra")), AddRelationship(link)])
    gone = edited(there, [RemoveTwin("extra")])
    assert link not in gone.relationships
    assert gone.points.id_of("extra.note") is None
    assert gone.points.size == there.points.size
    again = edited(gone, [AddTwin(tank("extra"))])
    assert again.points.id_of("extra.level") == there.points.size
    assert additions(gone) == additions(plant) == ()


def test_an_interface_comes_with_what_it_inherits_and_its_twins_after_it(plant: Plant) -> None:
    new = interface("Deep", extends=T, contents=[{"@type": "Property", "name": "seal", "schema": "string"}])
    after = edited(
        plant, [new, AddTwin(tank("deep", "dtmi:test:Deep;1")), AddRelationship(Relationship("tank", "feeds", "deep"))]
    )
    assert {"seal", "level", "note"} <= after.interfaces["dtmi:test:Deep;1"].fields.keys()
    assert after.points.id_of("deep.seal") is not None
    assert edited(after, [new]).interfaces == after.interfaces


MISTAKES = [
    (AddTwin(tank("tank"), "t"), Conflict, "t.id: twin 'tank' exists"),
    (AddTwin(tank("plc"), "t"), Conflict, "id of a device"),
    (AddTwin(tank("9"), "t"), BadRequest, "twin id '9'"),
    (AddTwin(tank("a", "dtmi:test:Tnk;1"), "t"), BadRequest, "did you mean dtmi:test:Tank;1"),
    (ChangeTwin(tank("tank")), Refused, "edit plant.toml and restart"),
    (ChangeTwin(tank("nobody")), NotFound, "no twin is called 'nobody'"),
    (RemoveTwin("tank"), Refused, "belongs to the plant folder"),
    (RemoveTwin("plc"), Refused, "belongs to the plant folder"),
    (AddRelationship(Relationship("tank", "feeds", "nobody"), "r"), NotFound, "r.target: target 'nobody' is no twin"),
    (AddRelationship(Relationship("tank", "feed", "tank")), BadRequest, "did you mean feeds?"),
    (AddRelationship(Relationship("tank", "feeds", "site")), BadRequest, "leads to dtmi:test:Tank;1"),
    (AddRelationship(Relationship("tank", "contains", "site")), BadRequest, "parts form a circle: "),
    (AddRelationship(Relationship("plc", "feeds", "tank")), Refused, "is a link"),
    (RemoveRelationship(Relationship("site", "contains", "tank")), Refused, "belongs to the plant folder"),
    (RemoveRelationship(Relationship("tank", "feeds", "tank")), NotFound, "no relationship tank feeds tank"),
    (KeepPoint("tank", "nte"), NotFound, "did you mean note?"),
    (KeepPoint("nobody", "note"), NotFound, "no twin"),
    (interface("Tank"), Refused, "says something else"),
    (interface("Lost", extends="dtmi:test:Nothing;1"), BadRequest, "models[0]: extends unknown Interface"),
]


@pytest.mark.parametrize(("edit", "kind", "said"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_each_mistake_says_its_place_and_the_fix_and_whose_fault_it_is(
    plant: Plant, edit: Edit, kind: type[TwinloopError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        edited(plant, [edit])
    assert said in str(caught.value)
    assert caught.value.hint


def test_a_part_is_in_one_whole(plant: Plant) -> None:
    yard = AddTwin(tank("yard", S))
    with pytest.raises(BadRequest, match="r: tank is a part of site already") as caught:
        edited(plant, [yard, AddRelationship(Relationship("yard", "contains", "tank"), "r")])
    assert "one other" in caught.value.hint
    other = AddTwin(tank("other"))
    first, second = (AddRelationship(Relationship(w, "contains", "other"), w) for w in ("site", "yard"))
    with pytest.raises(BadRequest, match="yard: other is a part of site already"):
        edited(plant, [yard, other, first, second])
    there = edited(plant, [yard, other, first])
    moved = edited(there, [RemoveRelationship(first.relationship), second])
    assert second.relationship in moved.relationships


def test_all_mistakes_come_at_once(plant: Plant) -> None:
    with pytest.raises(BadGraph) as caught:
        edited(plant, [m[0] for m in MISTAKES])
    told = str(caught.value)
    assert len(caught.value.mistakes) >= len(MISTAKES)
    assert all(part in told for part in ("'tank' exists", "circle", "did you mean note?", "Nothing;1"))


def test_additions_that_no_longer_fit_are_set_aside_with_all_that_hangs_on_them(plant: Plant) -> None:
    edits = [
        interface("Seal", contents=[{"@type": "Relationship", "name": "guards"}]),
        AddTwin(tank("tank")),
        AddTwin(tank("lost", "dtmi:test:Gone;1")),
        AddTwin(tank("fits")),
        AddTwin(tank("seal", "dtmi:test:Seal;1")),
        AddRelationship(Relationship("seal", "guards", "lost")),
        AddRelationship(Relationship("seal", "guards", "fits")),
        KeepPoint("tank", "note"),
        KeepPoint("tank", "colour"),
    ]
    made, aside = fitting(plant, edits)
    assert made.added.twins == {"fits", "seal"}
    assert made.added.relationships == {Relationship("seal", "guards", "fits")}
    assert made.added.kept == {"tank.note"}
    assert [a.edit for a in aside] == [edits[1], edits[2], edits[8], edits[5]]
    assert all(a.message and a.fix for a in aside)


NAMES = st.sampled_from(["a", "b", "c", "tank", "site"])
RELATIONS = st.builds(Relationship, NAMES, st.sampled_from(["feeds", "contains"]), NAMES)
EDITS = st.one_of(
    st.builds(AddTwin, st.builds(tank, NAMES, st.sampled_from([T, S]))),
    st.builds(RemoveTwin, NAMES),
    st.builds(ChangeTwin, st.builds(Twin, NAMES, st.just(T), st.text(min_size=1, max_size=3), st.none())),
    st.builds(AddRelationship, RELATIONS),
    st.builds(RemoveRelationship, RELATIONS),
    st.builds(KeepPoint, NAMES, st.just("note")),
)


@given(batches=st.lists(st.lists(EDITS, min_size=1, max_size=4), max_size=12))
def test_whatever_is_edited_the_plant_stays_consistent_and_its_folder_untouched(
    plant: Plant, batches: list[list[Edit]]
) -> None:
    now = plant
    for batch in batches:
        try:
            after = edited(now, batch)
        except TwinloopError:
            continue
        assert set(plant.twins) <= set(after.twins)
        assert set(plant.relationships) <= set(after.relationships)
        ids = {t.id for t in after.twins}
        assert len(ids) == len(after.twins)
        assert all({r.source, r.target} <= ids for r in after.relationships)
        names = [p.name for p in after.points]
        assert len(names) == len(set(names))
        assert {p.twin for p in after.points} <= ids
        for row in range(now.points.size):  # ids stay
            assert after.points[row].name == now.points[row].name
        assert all(
            after.points.id_of(f"{t}.level") is not None
            for t in after.added.twins
            if after.twin_of_id[t].interface == T
        )
        now = after
    again, aside = fitting(plant, additions(now))
    assert not aside
    assert again.added == now.added
    assert set(again.twins) == set(now.twins)
    assert {p.name for p in again.points} == {p.name for p in now.points}
