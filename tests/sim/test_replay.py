"""A result carries its question and start: it is run again bit for bit, or says what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from control.places import plant_folder
from control.plants import read_plant
from scenarios.layout_mover import LayoutMover
from scenarios.observe import observe
from sim.components.library import LIBRARY
from sim.job import Where
from sim.kernel.ensemble import warm
from sim.question import Question
from sim.replay import is_of_plant, replay
from sim.whatif import Now, Precision, Result, Runner, Scenario, compare, job_of, parse_scenario
from tests.sim.layouts import line10, three_tanks
from twin.columns import Snapshot
from twin.errors import BadRequest
from twin.plant import Plant


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    warm(LIBRARY)
    made = Runner(2)
    yield made
    made.close()


def kept(result: Result) -> dict[str, Any]:
    """As it comes back from a file."""
    content: dict[str, Any] = json.loads(json.dumps(result.to_json()))
    return content


def a_line(runner: Runner) -> dict[str, Any]:
    options = [Scenario("crew +1").add("crew.capacity", 1), parse_scenario("M2.health=down at 1h; M3.cycle.mean=0.7")]
    return kept(
        compare(
            line10(machines=3), options, horizon="2h", kpis=["parts"], until=Precision("parts", 2.0, 64), runner=runner,
            replications=16,
            follow=["B2.level"], limits=["B2.level<1"], goal="max parts", confidence=0.9,
        )
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["kernel", "simpy"])
def test_a_what_if_of_a_line_is_replayed_bit_for_bit(backend: str, runner: Runner) -> None:
    content = a_line(runner)
    again = replay(content, runner, backend=backend)
    assert again.same and again.differences == () and again.result.backend == backend
    assert again.result.choice is not None and again.result.choice.reason == content["choice"]["reason"]


def test_a_what_if_of_tanks_is_replayed_bit_for_bit(runner: Runner) -> None:
    content = kept(
        compare(three_tanks(), ["P1.rate=4 at 1h for 30m"], horizon="3h", follow=["T1.level"], runner=runner)
    )
    assert replay(content, runner).same


def test_a_what_if_of_the_water_plant_is_replayed_from_the_rows_it_carries(
    plant: Plant, morning: Snapshot, runner: Runner
) -> None:
    trip = parse_scenario("pump_335.status=off for 2h", "trip")
    content = kept(compare(Now(plant, morning), [trip], runner=runner, horizon=7200.0, seed=3, replications=4))
    assert is_of_plant(content)
    again = replay(content, runner, plant)
    assert again.same and again.result.state_hash == content["state_hash"]
    with pytest.raises(BadRequest, match="--plant"):
        replay(content, runner)


def test_a_replay_that_differs_says_what(runner: Runner) -> None:
    content = a_line(runner)
    content["base"]["layout"]["components"][0]["values"] = {"speed": 0.5}
    content["versions"]["numpy"] = "1.0"
    again = replay(content, runner)
    assert not again.same
    told = "\n".join(again.differences)
    assert "model_hash" in told and "numpy: 1.0 then" in told and "outcomes.0.kpis.parts.mean" in told


def test_a_result_that_was_touched_is_found_out(runner: Runner) -> None:
    content = a_line(runner)
    content["outcomes"][1]["kpis"]["parts"]["mean"] += 1e-9
    again = replay(content, runner)
    assert not again.same and "parts" in again.differences[0]


@pytest.mark.parametrize(
    ("place", "forged"),
    [
        (("choice", "name"), "B2"), (("choice", "p_better"), 1.0), (("choice",), None), (("confidence",), 0.99),
        (("seed",), 7), (("quantiles",), []), (("state_hash",), "0" * 64), (("digest",), ""), (("plan", "name"), "x"),
        (("outcomes", 1, "differences", "parts", "mean"), 999.0), (("outcomes", 1, "fans", "B2.level", 0, 3), -1.0),
        (("outcomes", 1, "limits", 0, "probability", 2), 0.5), (("clock_s",), 1.0), (("surplus",), 1),
    ],
)  # fmt: skip
def test_nothing_that_a_result_says_can_be_forged(runner: Runner, place: tuple[Any, ...], forged: Any) -> None:
    content = a_line(runner)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = forged
    again = replay(content, runner)
    assert not again.same and any(".".join(map(str, place)) in d for d in again.differences)


@pytest.mark.parametrize("broken", [{}, {"question": {}}, {"question": 1, "base": {"layout": []}}])
def test_what_is_no_result_is_refused(broken: dict[str, Any], runner: Runner) -> None:
    with pytest.raises(BadRequest, match="no result"):
        replay(broken, runner)


def test_one_more_of_a_crew_becomes_a_command_to_the_point_that_sets_it(runner: Runner) -> None:
    plant = read_plant(plant_folder("bottling"), {})
    now = Now(plant, observe(plant, LayoutMover(plant, 1), 1800.0, 1_700_000_000_000_000_000))
    ask: dict[str, Any] = {"horizon": "1h", "replications": 8, "runner": runner}
    options = ["crew.size+=1 at 10m for 20m; crew.size+=2 at 40m", "crew.capacity+=1 at 10m", "filler.speed=1.2"]
    point, layout, speed = compare(now, [*options, "crew.size=2 at 10m"], **ask).scenarios[:3]
    told = [(d.point, d.value, d.at_s) for d in point.drafts]
    assert told == [("crew.size", 2.0, 600.0), ("crew.size", 1.0, 1800.0), ("crew.size", 3.0, 2400.0)]
    assert point.by_hand == layout.by_hand == speed.by_hand == ()
    assert [(d.point, d.value) for d in layout.drafts] == [("crew.size", 2.0)]
    assert [(d.point, round(d.value, 9)) for d in speed.drafts] == [("filler.command.MachSpeed", 6.0)]
    same = compare(now, ["crew.size+=1 at 10m", "crew.capacity+=1 at 10m", "crew.size=2 at 10m"], **ask).scenarios
    assert same[0].kpis == same[1].kpis == same[2].kpis, "three ways to say it"
    with pytest.raises(BadRequest, match="take 0 … 6"):
        compare(now, ["crew.size+=6"], **ask)


@pytest.mark.parametrize(
    ("options", "more", "said"),
    [
        (["filler.command.UnitMode=Production"], {}, "UnitMode=Production does nothing in the model: write filler.comm"),
        (["nosuch.point=1"], {}, "'nosuch.point': such as filler.command.Run, "),
        (["filler.comand.Run=off"], {}, "'filler.comand.Run': did you mean filler.command.Run"),
        (["run filler.explode"], {}, "no command is called 'filler.explode': "),
        (["crew.size=2"], {"goal": "max line.packed"}, "line.packed alone is no figure: write line.packed.final or "),
        (["crew.size=2", "crew.size=2"], {}, "2 scenarios are the same: 'crew.size=2': leave one out"),
        (["a: crew.size=2", "a: crew.size=3"], {}, "2 scenarios are called 'a': name them apart"),
        (["baseline: crew.size=2"], {}, "no scenario can be called 'baseline'"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_meant_is_told_what_can(
    options: list[str], more: dict[str, Any], said: str, runner: Runner
) -> None:
    plant = read_plant(plant_folder("bottling"), {})
    now = Now(plant, observe(plant, LayoutMover(plant, 1), 1800.0, 1_700_000_000_000_000_000))
    with pytest.raises(BadRequest) as caught:
        compare(now, options, horizon="1h", replications=2, runner=runner, **more)
    told = f"{caught.value.message}: {caught.value.hint}"
    assert said in told and "filler.made" not in told


def test_a_what_if_of_a_live_line_is_replayed_on_either_backend(runner: Runner) -> None:
    plant = read_plant(plant_folder("bottling"), {})
    mover = LayoutMover(plant, 1)
    now = Now(plant, observe(plant, mover, 1800.0, 1_700_000_000_000_000_000))
    options = ["crew.size=2 at 10m for 20m; run filler.maintain at 5m", "conveyor_1.places=24"]
    ask: dict[str, Any] = {"horizon": "1h", "goal": "max line.packed.final", "replications": 16, "runner": runner}
    result = compare(now, options, **ask)
    assert result.backend == "kernel"
    drafts = [(d.point, d.value, d.at_s) for d in result.scenarios[0].drafts]
    assert drafts == [("crew.size", 2.0, 600.0), ("crew.size", 1.0, 1800.0)]
    assert result.scenarios[0].by_hand == ("run filler.maintain at 300s",)
    content = kept(result)
    for backend in ("kernel", "simpy"):
        again = replay(content, runner, plant, backend)
        assert again.same and again.result.backend == backend and again.result.state_hash == result.state_hash
    job = job_of(now, options, Question(), horizon="1h", backend="simpy")
    assert job.where is Where.PROCESSES and job.origin.why == "asked for"  # its own file travels with it
