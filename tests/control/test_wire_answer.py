"""What the API says of a what-if's answer is what the simulation writes: each kind, from the bottling line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from control.api.openapi import document
from control.api.wire_answer import ANSWERS, Comparison, Ranking, Search, Sensitivity, answer_types
from control.places import plant_folder
from control.plants import read_plant
from scenarios.layout_mover import LayoutMover
from scenarios.observe import observe
from sim.optimise import optimise
from sim.runner import Runner
from sim.selection import select
from sim.sensitivity import tornado
from sim.whatif import Now, compare

GOAL = "max line.packed.final"


@pytest.fixture(scope="module")
def now() -> Now:
    plant = read_plant(plant_folder("bottling"), {})
    return Now(plant, observe(plant, LayoutMover(plant, 1), 1800.0, 1_700_000_000_000_000_000))


def fits(content: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    """It is of that type, and has nothing that the type does not tell."""
    assert msgspec.to_builtins(msgspec.convert(content, kind)) == content


def test_a_comparison_is_what_its_type_says(now: Now) -> None:
    options = ["more crew: crew.size=2", "filler.health=broken at 5m; run filler.maintain at 10m"]
    ask: dict[str, Any] = {"horizon": "20m", "replications": 4, "runner": Runner(0)}
    fits(compare(now, options, goal=GOAL, limits=["line.behind>60"], **ask).to_json(), Comparison)
    fits(compare(now, options[:1], horizon="20m", replications=1, runner=Runner(0)).to_json(), Comparison)


def test_a_ranking_is_what_its_type_says(now: Now) -> None:
    options = ["crew.size=2", "crew.size=3"]
    fits(select(now, options, goal=GOAL, delta=5.0, horizon="20m", budget=64, runner=Runner(0)).to_json(), Ranking)


def test_a_tornado_is_what_its_type_says(now: Now) -> None:
    ranges = {"filler.command.MachSpeed": (4.0, 6.0)}
    told = tornado(now, ranges, kpi="line.packed.final", horizon="20m", replications=4, runner=Runner(0))
    fits(told.to_json(), Sensitivity)


def test_a_search_is_what_its_type_says(now: Now) -> None:
    pytest.importorskip("optuna")
    found = optimise(now, {"crew.size": (1, 2)}, goal=GOAL, horizon="20m", trials=2, replications=4, runner=Runner(0))
    fits(found.to_json(), Search)


def test_the_document_names_all_of_them() -> None:
    told = document("1")["components"]["schemas"]
    shown = [each["$ref"].rsplit("/", 1)[-1] for each in told["WhatIfRun"]["properties"]["result"]["anyOf"][:-1]]
    assert shown == [kind.__name__ for kind in ANSWERS]
    assert {kind.__name__ for kind in answer_types()} <= set(told)
