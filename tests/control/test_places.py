"""Endpoints from the command line: one by one, from a file, or as the fleet printed them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control.places import endpoints
from twin.errors import BadRequest

WANTED = {"plc": "modbus://127.0.0.1:15020/1", "ua": "opc.tcp://127.0.0.1:24840/works"}


def test_endpoints_are_taken_one_by_one() -> None:
    assert endpoints([f"{device}={endpoint}" for device, endpoint in WANTED.items()]) == WANTED
    with pytest.raises(BadRequest, match="name=endpoint"):
        endpoints(["plc"])


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(WANTED),
        json.dumps({"endpoints": WANTED}) + "\n",
        json.dumps({"endpoints": WANTED}) + '\n{"at": 1, "event": "fault", "is": "begins"}\n',
    ],
)
def test_a_file_of_endpoints_may_be_what_the_fleet_printed(tmp_path: Path, text: str) -> None:
    (tmp_path / "fleet.json").write_text(text)
    assert endpoints([f"@{tmp_path / 'fleet.json'}"]) == WANTED


@pytest.mark.parametrize("text", ["", "plc=x", "[1]", '{"plc": 5020}', '{"endpoints": [1]}'])
def test_a_file_without_endpoints_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(BadRequest, match=r"wrong\.json"):
        endpoints([f"@{tmp_path / 'wrong.json'}"])
