"""`twinloop model …` and `twinloop check` as people call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from control.cli import app
from tests.twin.machine import DRIVE, PUMP
from twin.errors import NotFound


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(w) for w in words])


def test_models_are_checked_without_a_plant(tmp_path: Path) -> None:
    (tmp_path / "pump.json").write_text(json.dumps([PUMP, DRIVE], indent=1))
    found = run("model", "check", tmp_path)
    assert found.exit_code == 0
    assert "1 files, 2 Interfaces, 0 mistakes, 2 notices" in found.stdout
    assert f"notice {tmp_path}/pump.json:65: properties of relationship feeds" in found.stdout


def test_a_mistake_in_a_model_ends_with_code_2(tmp_path: Path) -> None:
    (tmp_path / "pump.json").write_text(json.dumps(PUMP, indent=1))
    found = run("model", "check", "--json", tmp_path)
    assert found.exit_code == 2
    said = json.loads(found.stdout)
    assert said["interfaces"] == ["dtmi:test:Pump;1"]
    assert [m["message"] for m in said["mistakes"]] == ["component drive is of unknown Interface dtmi:test:Drive;1"]
    assert said["notices"][0]["meaning"] == "kept; no point is made of them"


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert isinstance(run("model", "check", tmp_path / "gone").exception, NotFound)
    assert isinstance(run("model", "check", tmp_path).exception, NotFound)


def test_exported_models_are_checked_without_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "models.json"
    assert run("model", "export", "--plant", "water", "-o", file).exit_code == 0
    assert "7 Interfaces, 0 mistakes, 0 notices" in run("model", "check", file).stdout


def test_the_graph_of_a_plant_is_written_and_read(tmp_path: Path) -> None:
    from twin.graphread import read_graph

    found = read_graph(run("model", "export", "--graph", "--plant", "water").stdout)
    assert found.mistakes == ()
    assert found.graph is not None
    assert len(found.graph.models) == 7
    assert found.graph.twins["pump_335"].name == "Pump 335"


def test_a_thing_description_is_written() -> None:
    thing = json.loads(run("model", "thing", "pump_335", "--plant", "water", "--url", "http://x").stdout)
    assert "set_speed" in thing["actions"]


@pytest.mark.parametrize("words", [("check", "water", "--json"), ("check", "water")])
def test_a_plant_says_its_notices(words: tuple[str, ...]) -> None:
    found = run(*words)
    assert found.exit_code == 0
    assert ('"notices": []' if "--json" in words else "no mistake") in found.stdout
