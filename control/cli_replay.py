"""`twinloop whatif replay FILE`: runs the question of a kept result again and says whether the bits are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from control import show
from control.places import plant_folder
from twin.errors import BadRequest

BYTES_MAX = 1 << 30  # of a result; the largest has some 10 MB
DIFFERS = 3  # exit code: verification failed


def replay_file(file: Path, plant: str, json_: bool) -> None:
    """
    Args:
        plant: folder or name of a shipped one; the result's own plant when empty.

    Raises:
        BadRequest: the file is no result, or its plant is not given.
    """
    from control.plants import read_plant
    from sim.replay import is_of_plant, replay
    from sim.runner import Runner

    content = _result(file)
    made = read_plant(plant_folder(plant), {}) if is_of_plant(content) and plant else None
    runner = Runner(2)
    try:
        again = replay(content, runner, made)
    finally:
        runner.close()
    if json_:
        show.as_json({"same": again.same, "differences": again.differences, "result": again.result.to_json()})
    else:
        verdict = "the same, bit for bit" if again.same else "NOT THE SAME"
        show.out.print(f"{again.result.replications} pairs, {again.result.backend}: {verdict}", markup=False)
        for difference in again.differences:
            show.out.print(difference, markup=False)
    raise typer.Exit(0 if again.same else DIFFERS)


def _result(file: Path) -> dict[str, Any]:
    """A result, alone or in the run that `whatif --json` prints."""
    if file.stat().st_size > BYTES_MAX:
        raise BadRequest(f"{file} has more than {BYTES_MAX >> 20} MB", "name a file that whatif --json wrote")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError, RecursionError):
        raise BadRequest(f"{file} is no JSON document", "name a file that whatif --json wrote") from None
    found = content.get("result", content) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise BadRequest(f"{file} is no result of a what-if", "name a file that whatif --json wrote")
    return found
