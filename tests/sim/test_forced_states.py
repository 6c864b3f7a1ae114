"""What a scenario does to a machine: it forces a state, and nothing follows; or lets a timer fire, and everything does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sim.components.line import Machine
from sim.kernel.assembly import assemble
from sim.kernel.names import Names
from sim.layout import Layout
from sim.spec import Constant
from sim.whatif import Runner, compare
from tests.sim.kernels import Step, acts_of, compiled, interpreted
from twin.errors import BadRequest

NEVER_BREAKS = Constant(1e6)


def shop(crew: int = 1) -> Layout:
    """One machine that makes a part a minute, would break in two years, and is repaired in 20 minutes."""
    plant = Layout("shop", "min")
    plant.add(
        Machine, "M1", inp=plant.buffer("raw", level=1e6), out=plant.buffer("parts"), crew=plant.resource("crew", crew),
        cycle=Constant(1.0), mttf=NEVER_BREAKS, mttr=Constant(20.0),
    )  # fmt: skip
    return plant


def told(steps: list[Step], *names: str, backend: str) -> list[float]:
    """Figures after ten hours."""
    plant = shop()
    acts = acts_of(plant, steps)
    world = compiled(plant, 600.0, acts=acts) if backend == "kernel" else interpreted(plant, 600.0, acts=acts).world
    readings = [Names(assemble(plant)).readings[name] for name in names]
    columns: dict[int, Sequence[float]] = {0: world.amount, 1: world.number, 2: world.count, 8: world.mode}
    return [float(columns[r.kind][r.index]) for r in readings]


BOTH = pytest.mark.parametrize("backend", ["kernel", "simpy"])
FIGURES = ("parts", "M1.failures", "M1.fixed.count", "M1.health")


@BOTH
def test_a_machine_that_is_forced_down_stays_down_and_nobody_repairs_it(backend: str) -> None:
    assert told([(100.0, "M1.health", "down")], *FIGURES, backend=backend) == [99.0, 0.0, 0.0, 1.0]


@BOTH
def test_a_machine_that_is_forced_down_and_up_again_stands_for_that_long(backend: str) -> None:
    steps: list[Step] = [(100.0, "M1.health", "down"), (130.0, "M1.health", "up")]
    assert told(steps, *FIGURES, backend=backend) == [570.0, 0.0, 0.0, 0.0]


@BOTH
def test_a_machine_whose_failure_is_run_breaks_as_if_by_itself_and_is_repaired(backend: str) -> None:
    assert told([(100.0, "M1.fail", 0)], *FIGURES, backend=backend) == [580.0, 1.0, 1.0, 0.0]


@BOTH
def test_a_machine_that_is_down_cannot_break_again(backend: str) -> None:
    steps: list[Step] = [(100.0, "M1.fail", 0), (110.0, "M1.fail", 0)]
    assert told(steps, *FIGURES, backend=backend) == [580.0, 1.0, 1.0, 0.0]


def test_a_failure_is_run_by_its_name_and_is_no_number() -> None:
    runner = Runner(0)
    found = compare(shop(), ["run M1.fail at 100m"], horizon="10h", kpis=["parts"], replications=2, runner=runner)
    assert found.scenarios[0].kpis["parts"].mean == 580.0
    with pytest.raises(BadRequest, match=r"M1.fail is a timer.*write run M1.fail"):
        compare(shop(), ["M1.fail=1"], horizon="10h", replications=2, runner=runner)
    with pytest.raises(BadRequest, match=r"M1.health is no command.*write M1.health=value"):
        compare(shop(), ["run M1.health"], horizon="10h", replications=2, runner=runner)
    runner.close()
