"""What-if experiments on Net3: paired, reproducible, honest about what they cannot tell, and quick to give up."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sim.answers import Answers
from sim.engine import WaterJob
from sim.model import Model
from sim.result import Draft, Result
from sim.runner import Cancelled, Runner
from sim.scenario import BASELINE, Intervention, Limit, Scenario, parse_scenario
from sim.start import start_state
from sim.whatif import Now, Precision, compare
from twin.columns import Snapshot
from twin.errors import BadRequest, Refused
from twin.plant import Plant

TRIP = parse_scenario("pump_335.status=off for 2h", "trip")
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def inline() -> Runner:
    return Runner(0)


@pytest.fixture(scope="module")
def pools() -> Iterator[list[Runner]]:
    runners = [Runner(1), Runner(2)]
    yield runners
    for runner in runners:
        runner.close()


def ask(plant: Plant, snapshot: Snapshot, runner: Runner, *scenarios: Scenario, **more: Any) -> Result:
    settings: dict[str, Any] = {"horizon": 3 * HOUR_S, "every": "10m", "seed": 5, "replications": 16, **more}
    return compare(Now(plant, snapshot), scenarios or (TRIP,), runner=runner, **settings)


def found(result: Result) -> Result:
    """All but how long it took."""
    return dataclasses.replace(result, wall_s=0.0)


def test_a_tripped_pump_lowers_the_tanks_and_saves_energy(plant: Plant, morning: Snapshot, inline: Runner) -> None:
    result = ask(plant, morning, inline, limits=[Limit("tank_1.level", "<", 3.2)])
    trip = result.scenarios[0]
    assert trip.differences["tank_1.level.final"].mean < -1 and trip.differences["tank_1.level.final"].resolved
    assert trip.differences["tank_1.level.final"].p_greater == 0.0
    assert trip.differences["energy_kwh"].mean < -300
    risk = trip.limits[0]
    assert risk.probability[0] == 0.0 and list(risk.probability) == sorted(risk.probability)
    assert all(a <= p <= b for a, p, b in zip(risk.low, risk.probability, risk.high, strict=True))
    assert result.baseline.limits[0].probability[-1] < risk.probability[-1]


def test_the_measured_demand_is_the_nominal_one_on_a_nominal_morning(
    plant: Plant, morning: Snapshot, inline: Runner
) -> None:
    assert ask(plant, morning, inline).demand_multiplier == pytest.approx(1.0, abs=0.02)


def test_the_same_seed_and_snapshot_give_the_same_result_whoever_computes_it(
    plant: Plant, morning: Snapshot, inline: Runner, pools: list[Runner]
) -> None:
    first = ask(plant, morning, inline, replications=24)
    assert found(ask(plant, morning, inline, replications=24)) == found(first)
    for runner in pools:
        assert found(ask(plant, morning, runner, replications=24)) == found(first)
    assert ask(plant, morning, inline, seed=6).outcomes != first.outcomes


def test_more_replications_leave_the_first_ones_as_they_were(plant: Plant, morning: Snapshot, model: Model) -> None:
    job = a_job(plant, model, morning, TRIP)
    few, many = job.block(0, 2), job.block(0, 5)
    assert np.array_equal(few.samples, many.samples[:, :2])
    assert np.array_equal(job.block(3, 2).samples, many.samples[:, 3:])


def test_another_scenario_leaves_the_others_chance_alone(plant: Plant, morning: Snapshot, model: Model) -> None:
    slow = parse_scenario("pump_335.speed=90", "slow")
    alone = a_job(plant, model, morning, TRIP).block(0, 3).samples
    beside = a_job(plant, model, morning, slow, TRIP).block(0, 3).samples
    assert np.array_equal(alone[[0, 1]], beside[[0, 2]])


def test_a_scenario_that_changes_nothing_differs_by_exactly_nothing(
    plant: Plant, morning: Snapshot, inline: Runner
) -> None:
    same = ask(plant, morning, inline, parse_scenario("pump_335.status=on")).scenarios[0]
    assert {d.mean for d in same.differences.values()} == {0.0}
    assert not any(d.resolved for d in same.differences.values())


def test_pairing_needs_ten_times_fewer_replications_than_independent_runs(
    plant: Plant, morning: Snapshot, model: Model
) -> None:
    job = a_job(plant, model, morning, parse_scenario("pump_335.speed=97"))
    one = job.block(0, 40).samples[:, :, -1, 0]  # (S, R) of tank 1's final level
    other = dataclasses.replace(job, seed=99).block(0, 40).samples[:, :, -1, 0]
    paired = np.var(one[1] - one[0], ddof=1)
    independent = np.var(one[1] - other[0], ddof=1)
    assert independent / paired > 10


def test_an_intervention_for_a_while_ends_with_the_pump_as_it_was(
    plant: Plant, morning: Snapshot, inline: Runner
) -> None:
    result = ask(
        plant,
        morning,
        inline,
        parse_scenario("pump_335.status=off at 30m for 1h", "off"),
        every="30m",
        follow=["pump_335.flow", "pump_335.running"],
    )
    running = result.scenarios[0].fans["pump_335.running"][2]
    assert running == (1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
    assert result.units["pump_335.flow"] == "L/s"
    assert result.scenarios[0].fans["pump_335.flow"][2][1] == 0.0


def test_replications_double_until_the_asked_precision(plant: Plant, morning: Snapshot, inline: Runner) -> None:
    loose = ask(plant, morning, inline, replications=4, until=Precision("tank_1.level.final", 0.5))
    assert (loose.stopped, loose.replications) == ("half-width", 4)
    tight = ask(plant, morning, inline, replications=4, until=Precision("tank_1.level.final", 1e-6, 13))
    assert (tight.stopped, tight.replications) == ("max", 13)
    assert ask(plant, morning, inline, replications=13).outcomes == tight.outcomes


def test_a_start_whose_meters_do_not_tell_the_demand_falls_back_on_the_prior(
    plant: Plant, snapshot_with: Callable[..., Snapshot], inline: Runner
) -> None:
    silent = snapshot_with({"pipe_60.flow": 0.0, "tank_1.inflow": 0.0, "tank_2.inflow": 0.0, "tank_3.inflow": 0.0})
    result = ask(plant, silent, inline)
    assert result.demand_multiplier is None
    assert result.baseline.kpis["tank_1.level.final"].quantiles[2] > 3


def test_a_result_travels_as_json(plant: Plant, morning: Snapshot, inline: Runner) -> None:
    content = json.loads(json.dumps(ask(plant, morning, inline, replications=1).to_json(), allow_nan=False))
    assert content["backend"] == "simpy+epanet" and content["seed"] == 5
    assert content["outcomes"][1]["differences"]["energy_kwh"]["half_width"] is None  # one pair tells no spread
    assert len(content["outcomes"][0]["fans"]["tank_1.level"]) == len(content["quantiles"]) == 5
    assert len(content["times_s"]) == 19 and content["times_s"][-1] == 3 * HOUR_S
    assert len(content["state_hash"]) == len(content["model_hash"]) == 64


def test_progress_is_told_until_all_is_done(plant: Plant, morning: Snapshot, inline: Runner) -> None:
    told: list[tuple[int, int]] = []
    ask(plant, morning, inline, progress=lambda done, planned: told.append((done, planned)))
    assert told[-1] == (16, 16) and told == sorted(told)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_cancelled_experiment_ends_soon(
    plant: Plant, morning: Snapshot, inline: Runner, pools: list[Runner], pooled: bool
) -> None:
    cancel = threading.Event()
    done: list[int] = []

    def stop(count: int, planned: int) -> None:
        done.append(count)
        cancel.set()

    runner = pools[1] if pooled else inline
    with pytest.raises(Cancelled):
        ask(plant, morning, runner, replications=4096, progress=stop, cancel=cancel)
    assert done[0] < 500
    assert ask(plant, morning, runner, replications=2).replications == 2  # the runner still works


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"horizon": 10.0}, "horizon"),
        ({"horizon": math.inf}, "horizon"),
        ({"horizon": math.nan}, "horizon"),
        ({"every": 0.1}, "sample"),
        ({"every": math.nan}, "every"),
        ({"replications": 0}, "0 replications"),
        ({"replications": 5000}, "5000 replications"),
        ({"follow": ["tank_1.depth"]}, "does not tell 'tank_1.depth'"),
        ({"seed": -1}, "seed"),
        ({"until": Precision("tank_1.final", 1.0)}, "no figure is called"),
        ({"until": Precision("energy_kwh", 0.0)}, "precision"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    plant: Plant, morning: Snapshot, inline: Runner, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        ask(plant, morning, inline, **more)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pump_336.status=off", "pump_336.status cannot be set"),
        ("tank_1.level=3", "tank_1.level cannot be set"),
        ("pump_335.status=0.5", "0.5"),
        ("pump_335.speed=900", "900"),
        ("pump_335.status=off at 4h", "outside the horizon"),
    ],
)
def test_a_scenario_that_the_plant_cannot_do_is_refused(
    plant: Plant, morning: Snapshot, inline: Runner, text: str, message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        ask(plant, morning, inline, parse_scenario(text))


def test_scenarios_need_names_of_their_own(plant: Plant, morning: Snapshot, inline: Runner) -> None:
    with pytest.raises(BadRequest, match="'baseline'"):
        ask(plant, morning, inline, Scenario("baseline", (Intervention(0, "pump_335.status", 0.0),)))


def test_a_stale_snapshot_is_refused(plant: Plant, snapshot_with: Callable[..., Snapshot], inline: Runner) -> None:
    with pytest.raises(Refused, match=r"tank_2\.level is 99 s old"):
        ask(plant, snapshot_with(age_s={"tank_2.level": 99.0}), inline)


def a_job(plant: Plant, model: Model, snapshot: Snapshot, *scenarios: Scenario) -> WaterJob:
    start = start_state(plant, model, snapshot)
    return WaterJob(model, start, (BASELINE, *scenarios), model.outputs, 3 * HOUR_S, 600.0, seed=5)


def test_the_best_option_becomes_draft_commands_of_the_plant(plant: Plant, morning: Snapshot, inline: Runner) -> None:
    helps = parse_scenario("pump_10.status=on at 30m for 1h; pump_335.speed=90", "lake pump")
    result = ask(plant, morning, inline, TRIP, helps, kpis=["energy_kwh"], goal="min energy_kwh")
    plan = result.best()
    assert plan.scenario == "trip" and plan.by_hand == ()
    assert plan.drafts == (Draft("pump_335.status", 0.0, 0.0), Draft("pump_335.status", 1.0, 2 * HOUR_S))
    assert "P(better) = 1.00" in plan.reason


def test_figures_of_a_plant_are_asked_by_name(plant: Plant, morning: Snapshot, inline: Runner) -> None:
    names = ["tank_1.level.mean", "first(tank_1.level<4)", "pump_335.flow.max"]
    result = ask(plant, morning, inline, kpis=names, follow=["tank_1.level"])
    assert list(result.scenarios[0].differences) == names
    first = result.scenarios[0].kpis["first(tank_1.level<4)"].mean
    assert 0 < first < result.baseline.kpis["first(tank_1.level<4)"].mean <= 3 * HOUR_S


def test_the_same_question_from_the_same_state_is_computed_once(
    plant: Plant, morning: Snapshot, snapshot_with: Callable[..., Snapshot], inline: Runner
) -> None:
    answers = Answers()
    first = ask(plant, morning, inline, replications=2, answers=answers)
    assert ask(plant, snapshot_with(), inline, replications=2, answers=answers) is first
    other = snapshot_with({"tank_1.level": 5.1})
    assert ask(plant, other, inline, replications=2, answers=answers) is not first
    assert ask(plant, morning, inline, replications=3, answers=answers) is not first and answers.hits == 1
