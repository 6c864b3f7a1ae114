"""One specification, two backends: the compiled kernel leaves the same trace as SimPy, bit for bit."""

from __future__ import annotations

import pytest

from sim.kernel.loop import finish
from sim.kernel.world import World
from sim.layout import Layout
from sim.spec import Constant
from tests.sim.kernels import Step, acts_of, compiled, interpreted, trace_of
from tests.sim.layouts import line10, random_plant, three_tanks

LINE_STEPS: list[Step] = [
    (100.0, "M3.cycle.mean", 2.0), (150.0, "crew.capacity", 3), (180.0, "M4.speed", 0.25), (200.0, "M5.health", "down"),
    (230.0, "M5.health", "up"), (250.0, "B2.capacity", 12), (260.0, "B2.level", 11), (280.0, "M4.speed", 0.0),
    (300.0, "crew.capacity", 1), (320.0, "M4.speed", 1.5), (350.0, "M6.fail", 0), (350.5, "M6.fail", 0),
    (350.5, "M7.job", 0), (360.0, "M8.fix", 0),
]  # fmt: skip
TANK_STEPS: list[Step] = [
    (200.0, "P1.switch_off", 0), (300.0, "P2.high", 60.0), (400.0, "crew.capacity", 2), (500.0, "P1.rate", 8.0),
    (600.0, "T1.level", 3.0), (700.0, "P1.switch_on", 0), (800.0, "T2.capacity", 70.0),
    (850.0, "P2.fail", 0),
]  # fmt: skip


def same(one: World, other: World) -> None:
    """The same trace, and the same content at the end."""
    a, b = trace_of(one), trace_of(other)
    first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert a == b, f"differ at {first}: {a[first - 2 : first + 2]} and {b[first - 2 : first + 2]}"
    finish(other)  # as the kernel does at the horizon
    assert (one.events, one.amount, one.number, one.mode) == (other.events, other.amount, other.number, other.mode)


@pytest.mark.parametrize("replication", range(8))
def test_a_line_leaves_the_same_trace(replication: int) -> None:
    line = line10()
    run = interpreted(line, 480.0, replication=replication)
    assert len(trace_of(run.world)) > 5000
    same(compiled(line, 480.0, replication=replication), run.world)


def test_ties_everywhere_are_broken_alike() -> None:
    line = line10(cycle=Constant(1.0), mttf=Constant(7.0), mttr=Constant(2.0))
    same(compiled(line, 480.0), interpreted(line, 480.0).world)


@pytest.mark.parametrize("replication", range(8))
def test_tanks_leave_the_same_trace(replication: int) -> None:
    same(
        compiled(three_tanks(), 1440.0, replication=replication),
        interpreted(three_tanks(), 1440.0, replication=replication).world,
    )


@pytest.mark.parametrize(("plant", "steps"), [(line10(), LINE_STEPS), (three_tanks(), TANK_STEPS)])
@pytest.mark.parametrize("replication", range(4))
def test_interventions_do_the_same(plant: Layout, steps: list[Step], replication: int) -> None:
    acts = acts_of(plant, steps)
    ours = compiled(plant, 1000.0, replication=replication, acts=acts)
    assert sum(c < 0 for _, c, _ in trace_of(ours)) == len(steps)
    same(ours, interpreted(plant, 1000.0, replication=replication, acts=acts).world)


@pytest.mark.parametrize("seed", range(60))
def test_random_plants_leave_the_same_trace(seed: int) -> None:
    plant = random_plant(seed)
    same(compiled(plant, 300.0, seed=seed), interpreted(plant, 300.0, seed=seed).world)


def test_a_long_line_whose_calendar_is_a_tournament_leaves_the_same_trace() -> None:
    line = line10(machines=60)
    ours = compiled(line, 120.0)
    assert ours.calendar_size == 256
    same(ours, interpreted(line, 120.0).world)


@pytest.mark.parametrize("replication", range(6))
@pytest.mark.parametrize(("plant", "at", "end"), [(line10(), 137.0, 480.0), (three_tanks(), 503.0, 1440.0)])
def test_the_kernel_continues_a_live_run_as_it_would_have_gone_on(
    plant: Layout, at: float, end: float, replication: int
) -> None:
    live = interpreted(plant, at, replication=replication)
    state, before = live.snapshot(), len(trace_of(live.world))
    live.run(end)
    assert (
        trace_of(compiled(plant, end, replication=replication, fresh=0, state=state)) == trace_of(live.world)[before:]
    )
