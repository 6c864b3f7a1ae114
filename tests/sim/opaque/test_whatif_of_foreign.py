"""What-ifs of a layout with foreign parts: SimPy with the reason told, the same numbers again, and the model in the hash."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from sim.components.fluid import Demand
from sim.job import Where, join
from sim.layout import Layout
from sim.layout_job import layout_job
from sim.layout_record import layout_hash
from sim.opaque.component import Stepped, Ties
from sim.opaque.network import Network
from sim.runner import Runner
from sim.scenario import parse_scenario
from sim.spec import Constant, Level, Port, Signal
from sim.whatif import compare
from tests.sim.opaque.plants import Drain, shed

CALLS: list[int] = []


def learned() -> Callable[[torch.Tensor], torch.Tensor]:
    def follow(x: torch.Tensor) -> torch.Tensor:  # (B, 2) -> (B, 1)
        CALLS.append(len(x))
        return x[:, :1] + 0.2 * torch.tanh(x[:, 1:] - x[:, :1])

    return follow


class Sensor(Stepped):
    model = Network(learned, ("shown",), ("level",), rows=8)
    step = Constant(10.0)
    level, shown = Port(Level), Port(Signal)
    ties = Ties(reads={"level": level}, writes={"shown": shown})


def basin() -> Layout:
    plant = Layout("basin", "min")
    tank = plant.tank("tank", 30.0, 100.0)
    plant.add(Demand, "rain", tank=tank, sign=1.0)
    plant.add(Drain, "drain", tank=tank, valve=plant.signal("valve", 0.1))
    plant.add(Sensor, "sensor", level=tank, shown=plant.signal("shown"))
    return plant


def test_an_experiment_runs_on_simpy_says_why_and_is_the_same_again() -> None:
    inline = Runner(0)

    def ask() -> object:
        return compare(
            basin(), ["valve=0.3 at 30m"], horizon="4h", kpis=["tank.level.final", "shown.final"], replications=16,
            seed=4, runner=inline,
        )  # fmt: skip

    result = ask()
    assert result.backend == "simpy"  # type: ignore[attr-defined]
    assert "the generator drain" in result.why or "the network learned" in result.why  # type: ignore[attr-defined]
    opened = result.scenarios[0].differences  # type: ignore[attr-defined]
    assert opened["tank.level.final"].mean < -5
    assert opened["tank.level.final"].resolved
    again = ask()
    assert dataclasses.replace(again, wall_s=0.0) == dataclasses.replace(result, wall_s=0.0)  # type: ignore[type-var]


def test_worker_processes_give_the_same_numbers() -> None:
    pool = Runner(1)
    try:
        job = layout_job(shed(), [parse_scenario("valve=0.3 at 30m")], horizon_s=3600.0, seed=4, outputs=["tank.level"])
        assert job.where is Where.PROCESSES
        assert (join(pool.run(job, 0, 6)).samples == job.block(0, 6).samples).all()
    finally:
        pool.close()


def test_replications_of_a_block_share_the_calls_of_their_network() -> None:
    job = layout_job(basin(), [parse_scenario("valve=0.3 at 30m")], horizon_s=4 * 3600.0, seed=4, outputs=["shown"])
    CALLS.clear()
    block = job.block(0, 8)
    steps = 4 * 60 / 10
    assert [8] * int(2 * steps) == CALLS  # two scenarios
    assert (job.block(5, 1).samples[:, 0] == block.samples[:, 5]).all()


def test_another_model_is_another_layout() -> None:
    before = layout_hash(basin())
    kept = Sensor.model
    try:
        Sensor.model = Network(learned, ("shown",), ("level",), rows=8, start={"shown": 1.0})
        assert layout_hash(basin()) != before
    finally:
        Sensor.model = kept
    assert layout_hash(basin()) == before
