"""A Thing Description states what the Web of Things wants of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.twin.machine import machine
from twin.errors import NotFound
from twin.plant import Plant
from twin.thing import thing_description

BASE = "http://twin.example:8080"
# Data types of a DataSchema, and the operations that may stand in a form of each affordance (TD 1.1, 5.3.2 and 5.3.4.2).
DATA_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
OPERATIONS = {"properties": {"readproperty", "writeproperty"}, "actions": {"invokeaction"}}


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return machine(tmp_path)


def check_schema(schema: dict[str, Any]) -> None:
    assert "oneOf" in schema or schema["type"] in DATA_TYPES
    for inner in [*schema.get("oneOf", ()), *schema.get("properties", {}).values()]:
        check_schema(inner)
    if "enum" in schema:
        assert schema["enum"] and len(set(schema["enum"])) == len(schema["enum"])


def test_a_description_has_what_is_mandatory(plant: Plant) -> None:
    thing = thing_description(plant, "pump", BASE)
    json.dumps(thing, allow_nan=False)
    assert thing["@context"] == "https://www.w3.org/2022/wot/td/v1.1"
    assert thing["title"] == "Feed pump"
    assert urlsplit(thing["id"]).scheme == "urn"
    assert thing["securityDefinitions"][thing["security"]] == {"scheme": "bearer", "in": "header"}
    for kind, operations in OPERATIONS.items():
        for affordance in thing[kind].values():
            assert affordance["forms"]
            for form in affordance["forms"]:
                assert form["href"].startswith(BASE)
                assert form["op"] in operations
            assert isinstance(affordance["title"], str)
    for affordance in thing["properties"].values():
        check_schema(affordance)
    for affordance in thing["actions"].values():
        check_schema(affordance["input"])


def test_a_property_is_described_as_the_route_answers_it(plant: Plant) -> None:
    mode = thing_description(plant, "pump", BASE)["properties"]["mode"]
    assert mode["forms"][0]["href"] == f"{BASE}/api/v1/points/pump.mode"
    assert mode["readOnly"] is True
    assert mode["properties"]["value"]["oneOf"][0] == {"type": "integer", "enum": [0, 4]}
    assert mode["properties"]["text"]["oneOf"][0]["enum"] == ["off", "auto"]
    speed = thing_description(plant, "pump", BASE)["properties"]["drive.speed"]
    assert speed["unit"] == "rpm"
    assert speed["@type"] == ["dtmi:dtdl:extension:quantitativeTypes:v1:class:AngularVelocity"]
    assert speed["properties"]["value"]["oneOf"][0] == {
        "type": "number", "unit": "rpm", "minimum": 0.0, "maximum": 3000.0
    }  # fmt: skip


def test_only_writable_points_are_actions(plant: Plant) -> None:
    actions = thing_description(plant, "pump", BASE)["actions"]
    assert set(actions) == {"set_mode"}
    given = actions["set_mode"]["input"]
    assert given["properties"]["point"]["const"] == "pump.mode"
    assert given["required"] == ["key", "point", "value"]


def test_relationships_are_links_to_things(plant: Plant) -> None:
    (link,) = thing_description(plant, "pump", BASE)["links"]
    assert (link["rel"], link["href"]) == ("feeds", thing_description(plant, "tank", BASE)["id"])


def test_a_twin_without_relationships_or_commands_says_neither(plant: Plant) -> None:
    assert {"links", "actions"} & set(thing_description(plant, "tank", BASE)) == set()


def test_the_link_of_a_device_is_a_thing_too(plant: Plant) -> None:
    assert set(thing_description(plant, "plc", BASE)["properties"]) >= {"state", "online"}


def test_an_unknown_twin_is_not_found(plant: Plant) -> None:
    with pytest.raises(NotFound, match="did you mean pump"):
        thing_description(plant, "pmp", BASE)
