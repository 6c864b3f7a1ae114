"""Ids from names: allowed, distinct, and the same whatever the order in which a device names its things."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.discover_names import ID_MAX, family, named, plain, stem
from protocols.discovery import path_text, text_path
from twin.interface import NAME


def test_names_keep_what_an_id_can_hold() -> None:
    assert plain("Pump 12") == "Pump_12" and plain("tank_1") == "tank_1"
    assert plain("Füllstände & mehr") == "Fullstande_mehr" and plain("Größe") == "Grosse"
    assert plain("3rd") == "n3rd" and plain("Δp [bar]") == "p_bar"
    assert NAME.match(plain("泵")) and plain("泵") != plain("阀")


@given(st.text(max_size=120))
def test_every_text_becomes_an_id(text: str) -> None:
    made = plain(text)
    assert NAME.match(made) and len(made) <= ID_MAX and plain(made) == made


@given(st.lists(st.text(max_size=12), max_size=12, unique=True), st.randoms())
def test_ids_are_distinct_and_do_not_depend_on_the_order(texts: list[str], chance: object) -> None:
    wanted = [(t, t) for t in texts]
    ids = named(wanted, ["Taken"])
    assert len({i.casefold() for i in ids.values()} | {"taken"}) == len(texts) + 1
    assert all(NAME.match(i) for i in ids.values())
    assert named(wanted[::-1], ["Taken"]) == ids


def test_of_names_that_become_one_the_exact_one_keeps_it() -> None:
    ids = named([("a", "Level 1"), ("b", "Level_1"), ("c", "Level-1")])
    assert ids["b"] == "Level_1" and ids["a"].startswith("Level_1_") and ids["c"].startswith("Level_1_")


def test_numbered_names_have_a_stem() -> None:
    assert [stem(n) for n in ("Pump 12", "Pump_3", "M1", "Pump", "12")] == ["Pump", "Pump", "M", "", ""]
    assert family(["Pump 1", "Pump 2"]) == "Pump" and family(["Inlet", "Outlet"]) == ""


@given(st.lists(st.text(min_size=1, max_size=8), max_size=5).map(tuple))
def test_a_path_as_text_is_read_back(path: tuple[str, ...]) -> None:
    assert text_path(path_text(path)) == path
