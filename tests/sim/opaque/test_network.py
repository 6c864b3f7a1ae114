"""Learned dynamics in a plant: one call a step for all replications, and the same numbers as alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sim.components.fluid import Demand
from sim.kernel.assembly import assemble
from sim.kernel.faults import Fault
from sim.kernel.interpreter import Interpreter
from sim.kernel.loop import BELOW
from sim.kernel.names import Names
from sim.kernel.watch import Seen, Watch
from sim.kernel.world import Packed, unpack
from sim.layout import Layout
from sim.opaque import network
from sim.opaque.component import Stepped, Ties
from sim.opaque.network import Network
from sim.opaque.together import run_together
from sim.spec import Component, Constant, Port, Signal, Timer, Uniform, at_start, on

STEP_S, HORIZON_S = 30.0, 1800.0
SIZES: list[tuple[int, ...]] = []  # shapes of the calls


def room() -> torch.nn.Module:
    """Two temperatures and a heater: a small network with fixed weights."""
    chance = torch.Generator().manual_seed(4)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
    for weights in layers.parameters():
        weights.data = 0.3 * torch.randn(weights.shape, generator=chance)

    class Room(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, 3) -> (B, 2)
            SIZES.append(tuple(x.shape))
            return x[:, :2] + 0.1 * self.layers(x)

    return Room()


def wide() -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: x


class Weather(Component):
    """Another value now and then, of its own stream."""

    hold, size = Uniform(40.0, 200.0), Uniform(0.0, 1.0)
    out = Port(Signal)
    next = Timer(hold)

    @at_start
    def begin(self) -> None:
        self.next.start()

    @on(next)
    def change(self) -> None:
        self.out.value = self.size.draw()
        self.next.start()


class Room(Stepped):
    model = Network(room, ("air", "wall"), ("outside",), rows=16, start={"air": 0.5})
    step = Constant(STEP_S)
    outside, air, wall = Port(Signal), Port(Signal), Port(Signal)
    ties = Ties(reads={"outside": outside}, writes={"air": air, "wall": wall}, begins={"wall": wall})


def house(cls: type[Stepped] = Room) -> Layout:
    plant = Layout("house")
    outside = plant.signal("outside", 0.3)
    plant.add(Weather, "weather", out=outside)
    plant.add(cls, "room", outside=outside, air=plant.signal("air"), wall=plant.signal("wall", 0.2))
    plant.add(Demand, "user", tank=plant.tank("tank", 50.0, 100.0))
    return plant


def replication(number: int, plant: Layout, *, state: Packed | None = None, fresh: int = 1) -> Interpreter:
    assembly = assemble(plant, seed=11)
    if state is not None:
        assembly.world = unpack(state)
    return Interpreter(assembly, replication=number, fresh=fresh)


def watched(plant: Layout) -> np.ndarray:
    found = [Names(assemble(plant)).reading(name) for name in ("air", "wall", "outside")]
    return np.array([(r.kind, r.index) for r in found], np.int64)


GRID = np.arange(0.0, HORIZON_S + 1, 100.0)


def test_the_network_is_called_once_a_step_for_all_and_each_gets_what_it_gets_alone() -> None:
    plant = house()
    alone = []
    for number in range(3):
        one = replication(number, plant)
        alone.append(one.run(HORIZON_S, GRID, watched(plant)))
        one.close()
    SIZES.clear()
    runs = [replication(number, plant) for number in range(16)]
    samples = run_together(runs, HORIZON_S, GRID, watched(plant))
    assert set(SIZES) == {(16, 3)}
    assert len(SIZES) == HORIZON_S / STEP_S
    assert np.array_equal(samples[:3], np.array(alone))
    assert len({tuple(row) for row in samples[:, -1, :2].tolist()}) == 16
    for each in runs:
        each.close()


def test_more_replications_than_rows_run_in_more_calls() -> None:
    plant = house()
    SIZES.clear()
    runs = [replication(number, plant) for number in range(20)]
    samples = run_together(runs, HORIZON_S, GRID, watched(plant))
    assert len(SIZES) == 2 * HORIZON_S / STEP_S
    alone = replication(18, plant)
    assert np.array_equal(samples[18], alone.run(HORIZON_S, GRID, watched(plant)))
    for each in (*runs, alone):
        each.close()


def test_what_is_seen_between_events_is_the_same_in_pieces() -> None:
    """A run that goes on by strides, and one that runs through; the tank's level passes a limit inside a stride."""
    plant = house()
    tank = Names(assemble(plant)).reading("tank.level")
    looked = np.vstack([watched(plant), [tank.kind, tank.index]])
    watch = Watch(np.array([[1.0], [1.0], [-2.0], [1.0]]), np.array([[3, BELOW], [2, BELOW]]), np.array([47.0, -1.8]))
    whole, pieces = Seen.nothing(watch, 4), Seen.nothing(watch, 4)
    for number in range(4):
        one = replication(number, plant)
        one.run(HORIZON_S, GRID, looked, whole.of(number))
        one.close()
    runs = [replication(number, plant) for number in range(4)]
    run_together(runs, HORIZON_S, GRID, looked, pieces)
    for each in runs:
        each.close()
    assert np.array_equal(pieces.extremes, whole.extremes)
    assert np.array_equal(pieces.passed, whole.passed)
    assert np.isfinite(whole.passed).any() and (whole.extremes[..., 0] < whole.extremes[..., 1]).all()
    assert (whole.passed[:, 0] % STEP_S > 0).all()


def test_two_options_of_one_replication_do_not_share_a_row() -> None:
    plant = house()
    base, warm = replication(5, plant), replication(5, plant)
    warm.world.amount[plant.entity("outside").number] = 0.9
    samples = run_together([base, warm], HORIZON_S, GRID, watched(plant))
    assert not np.array_equal(samples[0], samples[1])
    alone = replication(5, plant)
    assert np.array_equal(samples[0], alone.run(HORIZON_S, GRID, watched(plant)))
    for each in (base, warm, alone):
        each.close()


def test_a_forked_run_goes_on_bit_for_bit() -> None:
    plant = house()
    live = replication(2, plant)
    live.run(437.0)
    state = live.snapshot()
    after = GRID[GRID > 437.0]
    future = live.run(HORIZON_S, after, watched(plant))
    fork = replication(2, plant, state=state, fresh=0)
    assert np.array_equal(fork.run(HORIZON_S, after, watched(plant)), future)
    for each in (live, fork):
        each.close()


def test_futures_with_other_chance_fork_from_one_live_run() -> None:
    plant = house()
    live = replication(0, plant)
    live.run(437.0)
    state, air = live.aged(), live.world.amount[plant.entity("air").number]
    runs = [replication(number, plant, state=state, fresh=2) for number in range(8)]
    grid = np.array([437.0, HORIZON_S])
    samples = run_together(runs, HORIZON_S, grid, watched(plant))
    assert set(samples[:, 0, 0]) == {np.float32(air)}
    assert len(set(samples[:, 1, 0])) == 8
    for each in (live, *runs):
        each.close()


def test_a_closed_replication_gives_its_row_back() -> None:
    class Small(Room):
        model = Network(room, ("air", "wall"), ("outside",), rows=5)

    def batches() -> int:
        return sum(len(refs) for (model, *_), refs in network._BATCHES.items() if model == Small.model)

    plant = house(Small)
    first, second = replication(3, plant), replication(3, plant)
    assert batches() == 2
    first.close()
    third = replication(3, plant)
    assert batches() == 2
    for each in (second, third):
        each.close()


def test_a_network_of_the_wrong_shape_is_named() -> None:
    class Wide(Room):
        model = Network(wide, ("air", "wall"), ("outside",), rows=4)

    with pytest.raises(
        Fault, match=r"room \(Wide, the network wide\) failed: it gave the shape \(4, 3\), at 30 \(give \(4, 2\)\)"
    ):
        replication(0, house(Wide)).run(100.0)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_weights_from_files_make_the_model_and_its_hash(tmp_path: Path) -> None:
    made = room()
    file, script = tmp_path / "room.safetensors", tmp_path / "room.pt"
    save_file(made.state_dict(), file)
    with torch.no_grad():
        expected = made(torch.zeros(16, 3))

    def loaded() -> torch.nn.Module:
        other = room()
        other.load_state_dict(load_file(file))
        return other

    torch.jit.trace(made, torch.zeros(16, 3)).save(str(script))

    def scripted() -> torch.nn.Module:
        found: torch.nn.Module = torch.jit.load(str(script))
        return found

    for build in (loaded, scripted):
        model = Network(build, ("air", "wall"), ("outside",), files=(str(file),), rows=16)
        assert torch.equal(torch.from_numpy(network._built(model)[0](np.zeros((16, 3), np.float32))), expected)
    before = model.hash()
    save_file({name: 2 * weights for name, weights in made.state_dict().items()}, file)
    assert model.hash() != before
