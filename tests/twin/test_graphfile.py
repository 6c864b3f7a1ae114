"""Graphs leave and enter as files, and two graphs differ by what must change."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.twin.machine import machine
from twin.difference import difference
from twin.graphfile import Graph, export_graph, graph_of, plain_value
from twin.graphread import read_graph
from twin.plant import Plant

VALUES: dict[str, Any] = {
    "pump.mode": 4,
    "pump.service": {"on": "2030-01-31", "hours": [1.0, 2.5]},
    "pump.installed": None,
    "pump.drive.speed": 1500.0,
    "pump.drive.starts": 12,
    "tank.height": 2.5,
    "tank.full": True,
}


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return machine(tmp_path)


@pytest.fixture
def document(plant: Plant) -> dict[str, Any]:
    return export_graph(plant, deepcopy(VALUES))


def said(document: Any) -> list[str]:
    return [str(m) for m in read_graph(json.dumps(document, indent=1)).mistakes]


def graph(document: Any) -> Graph:
    found = read_graph(json.dumps(document, indent=1))
    assert found.mistakes == ()
    assert found.graph is not None
    return found.graph


def test_a_graph_file_has_the_parts_that_the_explorer_reads(document: dict[str, Any]) -> None:
    assert document["digitalTwinsFileInfo"] == {"fileVersion": "1.0.0"}
    pump, tank = document["digitalTwinsGraph"]["digitalTwins"]
    assert pump == {
        "$dtId": "pump",
        "$metadata": {"$model": "dtmi:test:Pump;1"},
        "drive": {"$metadata": {}, "speed": 1500.0},
        "mode": 4,
        "service": {"on": "2030-01-31", "hours": [1.0, 2.5]},
    }
    assert tank["name"] == "Day tank", "the Interface has a Property for it"
    assert "full" not in tank, "Telemetry is no state"
    assert document["digitalTwinsGraph"]["relationships"] == [
        {
            "$relationshipId": "pump-feeds-tank",
            "$sourceId": "pump",
            "$targetId": "tank",
            "$relationshipName": "feeds",
        }
    ]
    assert {m["@id"] for m in document["digitalTwinsModels"]} == {
        "dtmi:test:Pump;1", "dtmi:test:Drive;1", "dtmi:test:Vessel;1"
    }  # fmt: skip


def test_what_is_exported_is_read_back_and_differs_in_nothing(plant: Plant, document: dict[str, Any]) -> None:
    current, wanted = graph_of(plant, VALUES), graph(document)
    assert wanted.models == current.models
    assert wanted.relationships == current.relationships
    assert difference(current, wanted, keep_models=False).is_empty
    assert (wanted.twins["pump"].name, wanted.twins["pump"].at) == ("Feed pump", (1.0, 2.0))


def test_a_file_may_leave_out_models_that_are_known(plant: Plant, document: dict[str, Any]) -> None:
    document["digitalTwinsModels"] = []
    assert "is of unknown Interface" in said(document)[0]
    found = read_graph(json.dumps(document), known=plant.interfaces)
    assert (found.mistakes, found.graph is not None) == ((), True)
    assert found.graph is not None
    assert difference(graph_of(plant, VALUES), found.graph).is_empty


def test_what_the_service_adds_is_passed_over(document: dict[str, Any]) -> None:
    pump = document["digitalTwinsGraph"]["digitalTwins"][0]
    pump["$etag"] = 'W/"1"'
    pump["$metadata"]["mode"] = {"lastUpdateTime": "2030-01-01T00:00:00Z"}
    document["digitalTwinsGraph"]["relationships"][0]["$etag"] = 'W/"2"'
    assert said(document) == []


def test_telemetry_in_a_file_is_named_and_left_out(document: dict[str, Any]) -> None:
    document["digitalTwinsGraph"]["digitalTwins"][1]["full"] = True
    found = read_graph(json.dumps(document))
    assert found.mistakes == ()
    assert [
        "full is Telemetry" in n.what for n in found.notices if "Command" not in n.what and "propert" not in n.what
    ] == [True]


def spoilt(document: dict[str, Any], place: list[Any], value: Any) -> dict[str, Any]:
    inner: Any = document
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return document


TWIN, TANK = ["digitalTwinsGraph", "digitalTwins", 0], ["digitalTwinsGraph", "digitalTwins", 1]
EDGE = ["digitalTwinsGraph", "relationships", 0]
MISTAKES: list[tuple[list[Any], Any, str]] = [
    (["digitalTwinsFileInfo", "fileVersion"], "2.0.0", "fileVersion '2.0.0'; only 1.0.0"),
    ([*TWIN, "$dtId"], "a b", "digitalTwins[0].$dtId: $dtId 'a b'"),
    ([*TWIN, "$dtId"], "tank", "twin tank stands twice"),
    (
        [*TWIN, "$metadata", "$model"],
        "dtmi:test:Pmp;1",
        "unknown Interface dtmi:test:Pmp;1; did you mean dtmi:test:Pump;1",
    ),
    ([*TWIN, "moode"], 1, "digitalTwins[0].moode: Pump has no Property 'moode'; did you mean mode"),
    ([*TWIN, "mode"], 1, "mode: int '1' is none of 0 off, 4 auto"),
    ([*TWIN, "service", "hours"], [1, "x"], "service: hours[1]: a number is wanted"),
    ([*TWIN, "drive"], 3, "component drive is not an object"),
    ([*TWIN, "drive", "sped"], 3, "digitalTwins[0].drive.sped: Pump has no Property 'drive.sped'"),
    ([*TANK, "height"], "tall", "height: a number is wanted, got str 'tall'"),
    ([*EDGE, "$targetId"], "tnak", "$targetId 'tnak' is no twin; did you mean tank"),
    ([*EDGE, "$targetId"], "pump", "feeds leads to dtmi:test:Vessel;1, but pump is dtmi:test:Pump;1"),
    ([*EDGE, "$relationshipName"], "feed", "Pump has no relationship 'feed'; did you mean feeds"),
    ([*EDGE, "shar"], 1, "relationship feeds has no property 'shar'; did you mean share"),
    ([*EDGE, "share"], "all", "share: a number is wanted"),
    (["twinloop", "twins", "tnak"], {}, "'tnak' is no twin of this file"),
    (["twinloop", "twins", "pump"], {"at": [1]}, "give two numbers"),
    (["digitalTwinsGraph"], [], "digitalTwinsGraph is not an object"),
    (["digitalTwinsModels"], {}, "digitalTwinsModels is not a list"),
    (["digitalTwinsModels", 0, "@type"], "Thing", "@type is 'Thing'"),
]


@pytest.mark.parametrize(("place", "value", "what"), MISTAKES)
def test_a_mistake_in_a_graph_file_names_place_line_and_fix(
    document: dict[str, Any], place: list[Any], value: Any, what: str
) -> None:
    found = [m for m in said(spoilt(document, place, value)) if what in m]
    assert found, said(document)
    text = json.dumps(document, indent=1).splitlines()
    line = int(found[0].split(":")[1])
    assert str(place[-1] if isinstance(place[-1], str) else "") in text[line - 1] or line > 1


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "3"])
def test_a_file_of_any_shape_gives_mistakes_and_never_a_crash(text: str) -> None:
    found = read_graph(text)
    assert found.graph is None
    assert found.mistakes


def test_a_difference_says_what_comes_goes_and_changes(plant: Plant, document: dict[str, Any]) -> None:
    inside = document["digitalTwinsGraph"]
    inside["digitalTwins"][0] |= {"mode": 0, "drive": {"speed": 1500.0}}
    inside["digitalTwins"][1] |= {"$dtId": "basin", "name": "Basin"}
    inside["relationships"][0] |= {"$targetId": "basin", "share": 0.5}
    document["twinloop"]["twins"]["pump"]["name"] = "Old pump"
    found = difference(graph_of(plant, VALUES), graph(document)).to_json()
    assert found["twins"] == {
        "added": ["basin"],
        "removed": ["tank"],
        "changed": [
            {
                "id": "pump",
                "changes": [
                    {"path": "name", "before": "Feed pump", "after": "Old pump"},
                    {"path": "properties.mode", "before": 4, "after": 0},
                ],
            }
        ],
    }
    assert (found["relationships"]["added"], found["relationships"]["removed"]) == (
        ["pump feeds basin"],
        ["pump feeds tank"],
    )
    assert found["models"] == {"added": [], "removed": [], "changed": []}


def test_a_changed_model_says_which_of_its_contents(plant: Plant, document: dict[str, Any]) -> None:
    vessel = next(m for m in document["digitalTwinsModels"] if m["@id"] == "dtmi:test:Vessel;1")
    vessel["displayName"] = "Vessel"
    vessel["contents"][1]["unit"] = "centimetre"
    (changed,) = difference(graph_of(plant, VALUES), graph(document)).models.changed
    assert changed.id == "dtmi:test:Vessel;1"
    assert [c.path for c in changed.changes] == ["displayName", "contents.height"]


def test_models_that_a_file_leaves_out_stay_unless_all_are_wanted(plant: Plant) -> None:
    current = graph_of(plant, VALUES)
    wanted = replace(current, models={})
    assert difference(current, wanted).models.removed == ()
    assert len(difference(current, wanted, keep_models=False).models.removed) == 3


@pytest.mark.parametrize(
    ("point", "value", "text", "plain"),
    [("pump.mode", 4.0, "auto", 4), ("pump.service", float("nan"), '{"on":"2030-01-31"}', {"on": "2030-01-31"}),
     ("pump.installed", float("nan"), "2030-01-31", "2030-01-31"), ("pump.drive.starts", 3.0, None, 3),
     ("tank.full", 1.0, None, True), ("tank.height", 2.5, None, 2.5), ("tank.height", float("nan"), None, None)],
)  # fmt: skip
def test_what_a_point_holds_becomes_json(plant: Plant, point: str, value: float, text: str | None, plain: Any) -> None:
    found = plain_value(plant.point(point), value, text)
    assert (found, type(found)) == (plain, type(plain))
