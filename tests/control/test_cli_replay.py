"""`twinloop whatif replay`: the bits of a kept result again, or what differs, with its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from control.cli import app
from control.places import plant_folder
from control.plants import read_plant
from scenarios.observe import snapshot_of
from scenarios.water.fleet import WaterMover
from sim.whatif import Now, Runner, compare
from twin.errors import BadRequest

NOW = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    plant = read_plant(plant_folder("water"), {})
    mover = WaterMover(plant, seed=1)
    now = Now(plant, snapshot_of(plant, mover.advance(0.0), mover, NOW))
    made = compare(now, ["pump_335.status=off for 1h"], horizon="1h", replications=3, runner=Runner(0))
    return made.to_json()


def replayed(file: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["whatif", "replay", str(file), "--plant", "water", *more])
    if isinstance(done.exception, BadRequest):
        raise done.exception
    return done.exit_code, done.stdout


def test_a_kept_run_is_the_same_bit_for_bit(result: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"id": "x", "state": "done", "result": result}))
    code, said = replayed(file, "--json")
    assert code == 0 and json.loads(said)["same"] is True
    assert json.loads(said)["result"]["digest"] == result["digest"]


def test_a_result_that_was_changed_is_found_out(result: dict[str, Any], tmp_path: Path) -> None:
    changed = json.loads(json.dumps(result))
    changed["outcomes"][1]["kpis"]["energy_kwh"]["mean"] += 1.0
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(changed))
    code, said = replayed(file)
    assert code == 3 and "NOT THE SAME" in said and "energy_kwh" in said


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"result": null}', '{"question": {}, "base": {}}'])
def test_a_file_that_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(BadRequest, match=r"no result|no JSON"):
        replayed(file)
