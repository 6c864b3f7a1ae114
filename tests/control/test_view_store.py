"""Saved views and notes: whose they are, who may change them, and that what is deleted can be had back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control.view_store import OF_ONE_MAX, UNDO_NS, Person, ViewStore
from twin.errors import BadRequest, Conflict, LimitExceeded, NotFound, NotPermitted
from twin.role import Role

ANNA, BERT = Person("anna", Role.OPERATOR), Person("bert", Role.VIEWER)
SUE = Person("sue", Role.SUPERVISOR)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ViewStore]:
    made = ViewStore(tmp_path / "views.sqlite")
    yield made
    made.close()


def names(store: ViewStore, who: Person) -> list[str]:
    return [view.name for view in store.views(who)[0]]


def test_a_view_is_its_owners_and_one_for_all_is_everybodys(store: ViewStore) -> None:
    store.save(ANNA, "1", "  my   tanks ", "#/trends?points=tank_1.level", False, 1)
    store.save(SUE, "2", "shift", "#/alarms", True, 1)
    assert names(store, ANNA) == ["shift", "my tanks"]
    assert names(store, BERT) == ["shift"]
    with pytest.raises(NotFound):
        store.delete(BERT, "1", 2)


def test_only_supervisors_and_above_change_what_all_see(store: ViewStore) -> None:
    with pytest.raises(NotPermitted):
        store.save(ANNA, "1", "shift", "#/alarms", True, 1)
    store.save(SUE, "1", "shift", "#/alarms", True, 1)
    for act in (lambda: store.delete(ANNA, "1", 2), lambda: store.change(ANNA, "1", "mine", None)):
        with pytest.raises(NotPermitted):
            act()
    assert store.change(SUE, "1", "day shift", None).name == "day shift"


def test_a_deleted_view_can_be_had_back_for_a_day(store: ViewStore) -> None:
    store.save(ANNA, "1", "a", "#/plant", False, 1)
    store.open_first(ANNA, "1")
    store.delete(ANNA, "1", 2)
    assert store.views(ANNA) == ([], "")
    store.restore(ANNA, "1", 2)
    assert store.views(ANNA)[1] == "1"
    store.delete(ANNA, "1", 3)
    store.save(ANNA, "2", "a", "#/audit", False, 4)
    with pytest.raises(Conflict):
        store.restore(ANNA, "1", 3 + UNDO_NS)
    store.delete(ANNA, "2", 5)
    with pytest.raises(NotFound):
        store.restore(ANNA, "1", 4 + UNDO_NS)


def test_of_what_is_deleted_no_more_is_kept_than_there_may_be_views(store: ViewStore) -> None:
    store.save(BERT, "of another", "a", "#/plant", False, 1)
    store.delete(BERT, "of another", 1)
    for n in range(OF_ONE_MAX + 2):
        store.save(ANNA, str(n), "a", "#/plant", False, n)
        store.delete(ANNA, str(n), n)
    for lost in ("0", "1"):
        with pytest.raises(NotFound):
            store.restore(ANNA, lost, OF_ONE_MAX)
    assert store.restore(ANNA, "2", OF_ONE_MAX).name == "a"
    assert store.restore(BERT, "of another", OF_ONE_MAX).name == "a"


def test_names_are_one_of_a_kind_and_addresses_lead_nowhere_else(store: ViewStore) -> None:
    store.save(ANNA, "1", "a", "#/plant", False, 1)
    with pytest.raises(Conflict):
        store.save(ANNA, "2", "a", "#/plant", False, 1)
    store.save(BERT, "3", "a", "#/plant", False, 1)
    for name, address in (("", "#/plant"), ("x" * 81, "#/plant"), ("b", "https://else"), ("b", "#/" + "x" * 2_000)):
        with pytest.raises(BadRequest):
            store.save(ANNA, "4", name, address, False, 1)


def test_there_is_an_end_to_them(store: ViewStore) -> None:
    for n in range(OF_ONE_MAX):
        store.save(ANNA, str(n), str(n), "#/plant", False, 1)
    with pytest.raises(LimitExceeded):
        store.save(ANNA, "more", "more", "#/plant", False, 1)


def test_notes_are_kept_with_who_and_when_newest_first(store: ViewStore) -> None:
    store.note("anna", " pump 10 is loud ", 5)
    store.note("bert", "heard it, too", 6)
    assert [(n.time, n.by, n.text) for n in store.notes(10)] == [
        (6, "bert", "heard it, too"),
        (5, "anna", "pump 10 is loud"),
    ]
    assert len(store.notes(1)) == 1
    for text in (" ", "x" * 2_001):
        with pytest.raises(BadRequest):
            store.note("anna", text, 7)


def test_of_an_erased_person_nothing_is_left_but_another_name(store: ViewStore) -> None:
    store.save(SUE, "1", "shift", "#/alarms", True, 1)
    store.save(SUE, "2", "own", "#/plant", False, 1)
    store.note("sue", "all quiet", 2)
    store.rename("sue", "person 7")
    assert names(store, SUE) == ["shift"]
    assert (store.views(SUE)[0][0].by, store.notes(1)[0].by) == ("person 7", "person 7")
