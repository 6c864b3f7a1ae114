"""What-ifs in the words that people read do something to the example plant as it starts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.water.fleet import START_LINKS
from sim.scenario import parse_scenario

ROOT = Path(__file__).parents[2]
PLACES = ("README.md", "docs/engineer.md", "docs/query.md", "docs/operator.md", "docs/cli.md", "control/cli_whatif.py")
LINKS = {"pump_335.status": "335", "pump_10.status": "10", "station.bypass": "330"}
START = {point: float(START_LINKS[link].open) for point, link in LINKS.items()}
"""Nothing changes it but commands."""
_LINE = re.compile(r"twinloop whatif (?!replay)(.*)")
_QUOTED = re.compile(r"[\"']((?:pump_335|pump_10|station)\.[^\"']+)[\"']")
_RANGE = re.compile(r"\b(pump_\d+)\.speed=\d[\d.]*\.\.")


def scenarios() -> Iterator[tuple[str, str]]:
    for place in PLACES:
        for line in _LINE.findall((ROOT / place).read_text()):
            said = line.split(" --")[0].split(" #")[0]
            yield from ((place, text) for text in _QUOTED.findall(said) if ".." not in text)


def ranges() -> Iterator[tuple[str, str]]:
    for place in (*PLACES, "control/api/wire_whatif.py"):
        yield from ((place, pump) for pump in _RANGE.findall((ROOT / place).read_text()))


@pytest.mark.parametrize(("place", "text"), list(scenarios()))
def test_a_scenario_sets_something_else_than_there_is(place: str, text: str) -> None:
    steps = parse_scenario(text).interventions
    assert any(START.get(s.point, s.value) != s.value for s in steps if not s.ends), (
        f"{place}: {text!r} changes nothing"
    )


@pytest.mark.parametrize(("place", "pump"), list(ranges()))
def test_the_speed_of_a_pump_that_runs_matters(place: str, pump: str) -> None:
    assert START[f"{pump}.status"] == 1.0, f"{place}: {pump} stands, its speed changes nothing"


def test_there_are_examples() -> None:
    assert len(list(scenarios())) > 5 and list(ranges())
