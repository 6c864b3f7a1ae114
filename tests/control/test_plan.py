"""The best of a what-if as commands: keyed by the what-if, at their moments, and none that nobody should send."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from control.api.plan import plan_of
from control.asking import Kind
from control.whatif import Run, State
from tests.control.served_plant import read_plant, write_plant
from twin.errors import BadRequest, NotFound
from twin.plant import Plant

TAKEN_NS = 1_700_000_000 * 10**9
TAKEN_MS = TAKEN_NS / 1e6
POLICY = '\n[[policy]]\npoints = ["pump.speed"]\nselect = true\n'


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return read_plant(write_plant(tmp_path_factory.mktemp("plan"), POLICY))


def run(drafts: list[dict[str, Any]], kind: Kind = Kind.COMPARE, **more: Any) -> Run:
    plan = {"scenario": "s", "drafts": drafts, "by_hand": ["filler.life=3"], "reason": "because", "risks": ["a<1"]}
    result = {"taken_at": TAKEN_NS, "clock_s": 3600.0, "plan": plan, **more}
    if kind is Kind.OPTIMISE:
        result = {"plan": plan, "result": result}
    return Run("r1", kind, "", None, TAKEN_NS, state=State.DONE, result=result)


NOW = {"point": "pump.status", "value": 0.0, "at_s": 0.0}
LATER = {"point": "pump.speed", "value": 60.0, "at_s": 1800.0}


@pytest.mark.parametrize("kind", [Kind.COMPARE, Kind.OPTIMISE])
def test_each_draft_is_a_command_of_its_own_key_and_says_which_what_if(plant: Plant, kind: Kind) -> None:
    made = plan_of(run([NOW, LATER], kind), plant, TAKEN_MS, None)
    first, second = made.commands
    assert (first.key, second.key) == ("whatif-r1-1", "whatif-r1-2")
    assert first.reason == "what-if r1: because" and first.priority == "operator"
    assert (first.at, first.at_plant_s, first.select) == (None, None, False)
    assert (second.at, second.at_plant_s, second.select) == (TAKEN_MS + 1_800_000, None, True)
    assert (made.by_hand, made.risks, made.taken, made.overdue) == (["filler.life=3"], ["a<1"], TAKEN_MS, False)


def test_moments_are_on_the_plants_own_clock_where_it_has_one(plant: Plant) -> None:
    clocked = dataclasses.replace(plant, clock="tank.level")
    (made,) = plan_of(run([LATER]), clocked, TAKEN_MS, 3600.0).commands
    assert (made.at, made.at_plant_s) == (None, 5400.0) and made.wait_s > 1800


@pytest.mark.parametrize(
    ("clock", "now_ms", "clock_s", "overdue"),
    [
        (None, TAKEN_MS + 1_799_000, None, False),
        (None, TAKEN_MS + 1_801_000, None, True),
        ("tank.level", TAKEN_MS + 9e9, 5399.0, False),
        ("tank.level", TAKEN_MS, 5401.0, True),
        ("tank.level", TAKEN_MS, None, False),
    ],
)
def test_a_plan_whose_moment_is_past_says_so(
    plant: Plant, clock: str | None, now_ms: float, clock_s: float | None, overdue: bool
) -> None:
    made = dataclasses.replace(plant, clock=clock)
    assert plan_of(run([NOW, LATER]), made, now_ms, clock_s).overdue is overdue
    assert not plan_of(run([NOW]), made, now_ms, clock_s).overdue


def test_without_a_goal_or_a_result_there_is_no_plan(plant: Plant) -> None:
    with pytest.raises(BadRequest, match="without a goal"):
        plan_of(run([], plan=None), plant, TAKEN_MS, None)
    with pytest.raises(NotFound, match="running"):
        plan_of(Run("r2", Kind.RANK, "", None, TAKEN_NS), plant, TAKEN_MS, None)
