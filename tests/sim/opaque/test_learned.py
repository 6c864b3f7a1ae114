"""Learned dynamics in a plant: a model's file is a component, whose numbers are those of the model's own free run."""

from __future__ import annotations

import math
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml import model_file
from ml.dynamics import DynamicsOptions, train
from ml.training import Course
from sim.job import Where, join
from sim.kernel.assembly import assemble
from sim.kernel.faults import Fault
from sim.kernel.interpreter import Interpreter
from sim.kernel.names import Names
from sim.kernel.world import unpack
from sim.layout import Layout
from sim.layout_file import load
from sim.layout_job import layout_job
from sim.opaque.component import Stepped, Ties
from sim.opaque.learned import learned
from sim.opaque.network import Network
from sim.opaque.together import abreast, run_together
from sim.runner import Runner
from sim.scenario import parse_scenario
from sim.spec import Constant, Port, Signal
from tests.ml.plants_of_tanks import STEP_S, coolers, rigs
from twin.dynamics import Dynamics, run
from twin.errors import BadRequest, NotFound

OPTIONS = DynamicsOptions(
    inputs=("pump",), outputs=("level",), physics="two_tanks", model="network", lookback=16, horizon=64, folds=2, rounds=3,
    width=3, latent=1,
)  # fmt: skip
STEPS = 150


@pytest.fixture(scope="module")
def tanks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tanks.safetensors"
    model_file.write(path, train(rigs(1, 260, 1), OPTIONS, 1, Course()))
    return path


def plant_with(path: Path, rows: int = 8, step_s: float = STEP_S) -> Layout:
    class Tanks(Stepped):
        model = learned(path, rows)
        step = Constant(step_s)
        pump, level, upper, doubt = Port(Signal), Port(Signal), Port(Signal), Port(Signal)
        ties = Ties(
            reads={"pump": pump}, writes={"level": level, "above level": upper, "doubt": doubt}, begins={"level": level}
        )

    plant = Layout("waterworks", "s")
    pump, level = plant.signal("pump", 2.0), plant.signal("level", 5.0)
    upper, doubt = plant.signal("upper"), plant.signal("doubt")
    plant.add(Tanks, "tanks", pump=pump, level=level, upper=upper, doubt=doubt)
    return plant


def sampled(plant: Layout, pumps: list[float], steps: int = STEPS) -> np.ndarray:
    """Level, upper level and doubt, (replications, steps, 3); the pump changes after fifty steps."""
    names = Names(assemble(plant))
    at = 50 * STEP_S - 1.0
    runs = [
        Interpreter(assemble(plant), replication=r, acts=[names.act(at, "pump", pump)]) for r, pump in enumerate(pumps)
    ]
    grid = STEP_S * np.arange(steps, dtype=np.float64) + 0.5
    watched = np.array([(w.kind, w.index) for w in map(names.reading, ("level", "upper", "doubt"))], np.int64)
    found = run_together(runs, float(grid[-1]) + 1.0, grid, watched)
    for each in runs:
        each.close()
    return found


def test_a_component_does_what_the_models_own_free_run_does(tanks: Path) -> None:
    told = sampled(plant_with(tanks), [3.5])[0]
    file = model_file.read(tanks)
    dynamics = Dynamics.of(file.manifest.settings, file.tensors)
    assert len(dynamics.parameters) == 2
    inputs = torch.tensor([2.0] * 50 + [3.5] * (STEPS - 50), dtype=torch.float64)[None, :, None]
    first = torch.full((2, 1, dynamics.each), math.nan, dtype=torch.float64)
    first[..., 0] = 5.0
    free, _ = run(
        dynamics.step, dynamics.parameters, dynamics.step.settled(dynamics.parameters, first, inputs[:, 0]), inputs
    )
    assert told[:, 0] == pytest.approx(free.mean(dim=0)[0, :, 0].numpy(), abs=2e-4)  # float32 from step to step
    assert told[0, 0] == 5.0 and abs(told[-1, 0] - told[40, 0]) > 0.5
    assert (told[:, 1] > 0).all()


def test_replications_step_together_and_each_gets_what_it_gets_alone(tanks: Path) -> None:
    plant = plant_with(tanks)
    assert abreast(plant) == 8
    together = sampled(plant, [1.0, 2.0, 3.0, 4.0])
    for r in (0, 3):
        alone = sampled(plant, [1.0, 2.0, 3.0, 4.0][: r + 1])[r]
        assert np.array_equal(alone, together[r])
    assert len({float(x) for x in together[:, -1, 0]}) == 4


def test_an_input_that_training_never_saw_is_told_while_it_counts(tanks: Path) -> None:
    told = sampled(plant_with(tanks), [30.0, 3.0])
    assert (told[0, :50, 2] == 0).all() and (told[0, 51:, 2] == 1).all()
    assert (told[1, :, 2] == 0).all()
    assert np.isfinite(told).all() and told[..., 0].max() < 25


def test_a_fork_goes_on_bit_for_bit(tanks: Path) -> None:
    plant = plant_with(tanks)
    live = Interpreter(assemble(plant, seed=1))
    live.run(100.0)
    state = live.snapshot()
    fork = assemble(plant, seed=1)
    fork.world = unpack(state)
    again = Interpreter(fork, fresh=0)
    at = Names(assemble(plant)).reading("level").index
    found = []
    for each in (live, again):
        each.run(600.0)
        found.append(each.world.amount[at])
        each.close()
    assert found[0] == found[1]


def test_the_models_file_is_part_of_the_hash(tanks: Path, tmp_path: Path) -> None:
    file = model_file.read(tanks)
    changed = dict(file.tensors)
    changed["parameters"] = changed["parameters"] * 1.001
    model_file.write(tmp_path / "other.safetensors", replace(file, tensors=changed))
    model_file.write(tmp_path / "same.safetensors", file)
    one, other, same = (learned(p) for p in (tanks, tmp_path / "other.safetensors", tmp_path / "same.safetensors"))
    assert one.hash() != other.hash() and one.hash() == same.hash()
    assert pickle.loads(pickle.dumps(one)) == one  # it travels to worker processes
    assert one.title == "the learned model tanks.safetensors"


RIG = """
from pathlib import Path

from sim.layout import Layout
from sim.opaque.component import Stepped, Ties
from sim.opaque.learned import learned
from sim.spec import Constant, Port, Signal


class Tanks(Stepped):
    model = learned(Path(__file__).parent / "tanks.safetensors", rows=4)
    step = Constant(4.0)
    pump, level = Port(Signal), Port(Signal)
    ties = Ties(reads={"pump": pump}, writes={"level": level}, begins={"level": level})


def layout():
    plant = Layout("rig", "s")
    plant.add(Tanks, "tanks", pump=plant.signal("pump", 2.0), level=plant.signal("level", 5.0))
    return plant
"""


def test_a_plants_layout_file_names_it_and_what_ifs_run_in_worker_processes(tanks: Path, tmp_path: Path) -> None:
    shutil.copy(tanks, tmp_path)
    (tmp_path / "rig.py").write_text(RIG)
    plant = load(tmp_path, "rig.py").layout({})
    asked = [parse_scenario("pump=4 at 200s")]
    job = layout_job(plant, asked, horizon_s=800.0, seed=4, outputs=["level"])
    here = job.block(0, 5).samples
    assert here.shape[:2] == (2, 5), here.shape
    assert (here[1, :, -1, 0] > here[0, :, -1, 0] + 0.5).all()  # a pump that does more fills the tank
    pool = Runner(1)
    try:
        assert job.where is Where.PROCESSES
        assert (join(pool.run(job, 0, 5)).samples == here).all()
    finally:
        pool.close()


def test_a_file_that_was_replaced_is_another_model(tanks: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tanks, tmp_path))
    plant, before = plant_with(path), learned(path)
    file = model_file.read(tanks)
    model_file.write(path, replace(file, tensors={**file.tensors, "parameters": file.tensors["parameters"] * 1.001}))
    assert learned(path).hash() != before.hash() and learned(path) != before
    with pytest.raises((BadRequest, Fault), match=r"tanks.safetensors was changed since this layout was loaded"):
        Interpreter(assemble(plant)).run(10.0)


def test_a_linear_model_begins_at_rest_where_nothing_else_is_said(tmp_path: Path) -> None:
    options = DynamicsOptions(
        inputs=("gas", "water"), outputs=("warmth", "damp"), model="physics", lags=3, lookback=8, horizon=32, folds=2
    )
    model_file.write(tmp_path / "m.safetensors", train(coolers(1, 200, 1), options, 1, Course()))

    class Cooler(Stepped):
        model = learned(tmp_path / "m.safetensors")
        step = Constant(10.0)
        gas, water, warmth, damp = Port(Signal), Port(Signal), Port(Signal), Port(Signal)
        ties = Ties(
            reads={"gas": gas, "water": water}, writes={"warmth": warmth}, begins={"warmth": warmth, "damp": damp}
        )

    plant = Layout("house", "s")
    warmth = plant.signal("warmth", 1.0)
    plant.add(
        Cooler,
        "cooler",
        gas=plant.signal("gas", 0.1),
        water=plant.signal("water"),
        warmth=warmth,
        damp=plant.signal("damp", 0.5),
    )
    live = Interpreter(assemble(plant))
    told = []
    for t in range(3):
        live.run(10.0 * t + 0.5)
        told.append(live.world.amount[warmth.number])
    live.close()
    assert told[0] == 1.0 and told[1] == pytest.approx(1.0, abs=0.15) and told[2] == pytest.approx(1.0, abs=0.15)


def test_what_is_wrong_is_said(tanks: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model file"):
        learned(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(BadRequest, match="text is no model"):
        learned(tmp_path / "text")
    file = model_file.read(tanks)
    model_file.write(tmp_path / "rul", replace(file, manifest=replace(file.manifest, task="rul")))
    with pytest.raises(BadRequest, match="no model of dynamics, but of rul"):
        learned(tmp_path / "rul")
    live = Interpreter(assemble(plant_with(tanks, step_s=5.0)))
    with pytest.raises(Fault, match="it learned steps of 4 s, and this is one of 5 s"):
        live.run(20.0)
    live.close()

    class Untied(Stepped):
        model = learned(tanks)
        step = Constant(4.0)
        level = Port(Signal)
        ties = Ties(writes={"level": level})

    plant = Layout("waterworks", "s")
    plant.add(Untied, "tanks", level=plant.signal("level"))
    with pytest.raises((BadRequest, Fault), match="nothing gives pump"):
        Interpreter(assemble(plant)).run(1.0)
    assert isinstance(Untied.model, Network)
