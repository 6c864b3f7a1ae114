"""Extremes and limits between two samples: what the kernel and SimPy see of every event, against what can be worked out."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.linalg import expm

from sim.beginning import Beginning, Shown
from sim.components.fluid import Demand, Pump
from sim.experiment import conclude
from sim.job import Block, join
from sim.kpi import passed_s, values
from sim.layout import Layout
from sim.layout_job import LayoutJob, layout_job
from sim.question import Question, check
from sim.result import Result
from sim.scenario import Limit, Scenario, parse_limit
from sim.spec import Component, Constant, Exponential, Port, Signal, Timer, at_start, on
from sim.whatif import Runner, compare
from tests.sim.layouts import line10, random_plant, three_tanks
from tests.sim.test_closed_forms import ARRIVALS, queue
from twin.errors import BadRequest

SHIFT_MIN = 480.0


@pytest.fixture(scope="module")
def inline() -> Runner:
    return Runner(0)


# --- a queue ---------------------------------------------------------------------------------------------------------


def exceeds(waiting: int, within: float) -> float:
    """P(more than that many have waited at once by then), from an empty queue: the Markov chain stopped there."""
    top = waiting + 2  # in the system: one is served
    rates = np.zeros((top + 1, top + 1))
    for n in range(top):
        rates[n, n + 1] = ARRIVALS
        rates[n, max(0, n - 1)] += 1.0 if n else 0.0
        rates[n, n] -= rates[n].sum()
    return float(expm(rates * within)[0, top])


def test_a_queue_is_longer_once_as_often_as_its_markov_chain_says(inline: Runner) -> None:
    figures = ["waiting.level.max", "waiting.level.min", "first(waiting.level>5)"]
    limits = ["waiting.level>14", "waiting.level>=15"]
    result = compare(
        queue(1, Exponential(1.0)), horizon=SHIFT_MIN, kpis=figures, limits=limits, replications=2000, seed=3,
        backend="kernel", runner=inline,
    )  # fmt: skip
    over, reached = result.baseline.limits
    assert over.low[-1] <= exceeds(14, SHIFT_MIN) <= over.high[-1]
    assert reached.probability == over.probability  # of whole numbers
    middle = len(result.times_s) // 2
    assert over.low[middle] <= exceeds(14, SHIFT_MIN / 2) <= over.high[middle]
    longest, least, first = (result.baseline.kpis[name].mean for name in figures)
    assert longest == pytest.approx(sum(exceeds(n, SHIFT_MIN) for n in range(100)), abs=0.35)
    assert least == 0.0
    times = np.linspace(0.0, SHIFT_MIN, 241)
    assert first == pytest.approx(trapezoid([1 - exceeds(5, t) for t in times], times), abs=3.0)


def test_how_often_is_sampled_changes_neither_extremes_nor_limits(inline: Runner) -> None:
    ask: dict[str, Any] = {
        "horizon": "4h", "kpis": ["waiting.level.max", "first(waiting.level>3)"], "limits": ["waiting.level>6"],
        "replications": 40, "backend": "kernel", "runner": inline,
    }  # fmt: skip
    seldom = compare(queue(1, Exponential(1.0)), every="2h", **ask).baseline
    often = compare(queue(1, Exponential(1.0)), every="1m", **ask).baseline
    assert seldom.kpis == often.kpis
    assert seldom.limits[0].probability == tuple(often.limits[0].probability[k] for k in (0, 120, 240))


# --- both backends ---------------------------------------------------------------------------------------------------


def blocks(job: LayoutJob, count: int = 6) -> Block:
    return job.block(0, count)


def watching(layout: Layout) -> dict[str, Any]:
    """Limits of every sign on its buffers, tanks and states."""
    holds = [e.name for e in layout.entities if e.kind.__name__ in ("Buffer", "Level")]
    states = [f"{p.name}.{s.name}" for p in layout.components for s in p.type.states]
    limits = [
        f"{name}.level{sign}{x}" for name, sign, x in zip(holds, ("<", ">=", ">", "<="), (20, 3, 50, 1), strict=False)
    ]
    limits += [f"{name}>=1" for name in states[:3]]
    return {"outputs": [*(f"{n}.level" for n in holds), *states], "limits": [parse_limit(x) for x in limits]}


@pytest.mark.parametrize(
    "layout", [line10(machines=4), three_tanks(), *map(random_plant, range(6))], ids=lambda plant: plant.name
)
def test_both_backends_see_the_same_bits_between_samples(layout: Layout) -> None:
    ask: dict[str, Any] = {"horizon_s": 4 * 3600.0, "seed": 5, **watching(layout)}
    kernel, simpy = (blocks(layout_job(layout, [], **ask, backend=name)) for name in ("kernel", "simpy"))
    assert kernel.extremes is not None and simpy.extremes is not None
    assert np.array_equal(kernel.extremes, simpy.extremes)
    assert np.isfinite(kernel.extremes).all() and (kernel.extremes[..., 0] <= kernel.extremes[..., 1]).all()
    assert kernel.passed is not None and simpy.passed is not None
    assert np.array_equal(kernel.passed, simpy.passed)
    assert np.isfinite(kernel.passed).any()
    slack = 1e-6 * (1 + np.abs(kernel.samples))  # samples are single
    within = (kernel.samples >= kernel.extremes[:, :, None, :, 0] - slack) & (
        kernel.samples <= kernel.extremes[:, :, None, :, 1] + slack
    )
    assert within[:, :, 1:].all()  # the first is what was before anything happened


# --- tanks -----------------------------------------------------------------------------------------------------------


def emptying(rate: float = 0.7) -> Layout:
    """A tank of 10 that loses that much a minute, and one that is kept between 2 and 8 from a well."""
    plant = Layout("emptying", "min")
    plant.add(Demand, "use", tank=plant.tank("tank", 10.0, 20.0), size=Constant(rate), hold=Constant(1e6))
    kept = plant.tank("kept", 7.0, 20.0)
    plant.add(Demand, "town", tank=kept, size=Constant(0.3), hold=Constant(1e6))
    plant.add(
        Pump, "pump", src=plant.tank("well", 1e6, 2e6), dst=kept, rate=1.1, low=2.0, high=8.0, mttf=Exponential(1e15)
    )
    return plant


@pytest.mark.parametrize("backend", ["kernel", "simpy"])
def test_a_level_passes_a_limit_when_its_rate_says(backend: str, inline: Runner) -> None:
    figures = [
        "first(tank.level<3)",
        "first(tank.level<=3)",
        "first(tank.level>=10)",
        "tank.level.min",
        "tank.level.max",
    ]
    result = compare(emptying(), horizon=12.0, kpis=figures, replications=1, backend=backend, runner=inline)
    found = {name: figure.mean for name, figure in result.baseline.kpis.items()}
    assert found["first(tank.level<3)"] == pytest.approx(10.0, rel=1e-12)
    assert found["first(tank.level<=3)"] == pytest.approx(10.0, rel=1e-12)
    assert found["first(tank.level>=10)"] == 0.0
    assert found["tank.level.min"] == pytest.approx(10.0 - 0.7 * 12.0)
    assert found["tank.level.max"] == 10.0


@pytest.mark.parametrize("backend", ["kernel", "simpy"])
def test_a_level_that_turns_at_its_threshold_is_never_past_it(backend: str, inline: Runner) -> None:
    """Whatever rounding says of the moment before the pump starts."""
    limits = ["kept.level<2", "kept.level>8", "kept.level<=2", "kept.level>=8", "tank.level<0", "tank.level<=0"]
    for rate in (0.7, 0.1, 1 / 3):
        result = compare(
            emptying(rate), horizon="60h", kpis=["kept.level.min", "kept.level.max", "tank.level.min"], limits=limits,
            replications=1, backend=backend, runner=inline,
        )  # fmt: skip
        assert [risk.probability[-1] for risk in result.baseline.limits] == [0.0, 0.0, 1.0, 1.0, 0.0, 1.0]
        assert [figure.mean for figure in result.baseline.kpis.values()] == [2.0, 8.0, 0.0]


class Blip(Component):
    """A signal that is 5 for a tenth of a minute, and -5 for no time at all."""

    out = Port(Signal)
    after, until = Timer(), Timer()

    @at_start
    def begin(self) -> None:
        self.after.start(31.7)

    @on(after)
    def rises(self) -> None:
        self.out.value = -5.0
        self.out.value = 5.0
        self.until.start(0.1)

    @on(until)
    def falls(self) -> None:
        self.out.value = 0.0


@pytest.mark.parametrize("backend", ["kernel", "simpy"])
def test_a_limit_passed_and_left_between_two_samples_is_seen(backend: str, inline: Runner) -> None:
    plant = Layout("blip", "min")
    plant.add(Blip, "blip", out=plant.signal("x"))
    figures = ["x.max", "x.min", "first(x>=5)", "first(x>5)"]
    result = compare(
        plant, horizon="1h", every="20m", kpis=figures, limits=["x>4", "x<-4"], replications=1, backend=backend,
        runner=inline,
    )  # fmt: skip
    assert [figure.mean for figure in result.baseline.kpis.values()] == [5.0, 0.0, 31.7, 60.0]
    seen, never = result.baseline.limits
    assert seen.probability == (0.0, 0.0, 1.0, 1.0)
    assert never.probability == (0.0,) * 4  # what lasts no time is not
    assert [row[2] for row in result.baseline.fans["x"]] == [0.0] * 5
    assert result.baseline.fans["x"] == ((0.0,) * 4,) * 5


# --- points of a plant -----------------------------------------------------------------------------------------------


def shown_job(backend: str, limits: Sequence[str]) -> LayoutJob:
    """Three machines in a row; points tell a buffer upside down in dozens, and a state by codes."""
    plant = line10(machines=3)
    reads = {
        "gap.dozens": Shown("B1.level", -1 / 12),
        "m2.code": Shown("M2.work", states=(10.0, 0.0, 20.0)),
        "tenths": Shown("B2.level", 0.1),
    }
    return layout_job(
        plant, [], horizon_s=4 * 3600.0, seed=2, sample_every_s=3600.0, outputs=["B1.level", "M2.work", "B2.level"],
        limits=[parse_limit(x) for x in limits], begin=Beginning("plant", "", reads=reads), backend=backend,
    )  # fmt: skip


def column(job: LayoutJob, block: Block, limit: str) -> NDArray[np.float64]:
    return passed_s(job, block, 0, parse_limit(limit))


def test_points_that_tell_a_reading_otherwise_pass_their_limits_when_it_does() -> None:
    told = ["gap.dozens<-0.5", "m2.code>=20", "m2.code<=0", "tenths>0.45"]
    plain = ["B1.level>6", "M2.work>=2", "M2.work>=1", "B2.level>=5"]
    kernel, simpy = (shown_job(name, [*told, *plain]) for name in ("kernel", "simpy"))
    one, two = blocks(kernel), blocks(simpy)
    for theirs, ours in zip(told, plain, strict=True):
        assert np.array_equal(column(kernel, one, theirs), column(kernel, one, ours)), theirs
        assert np.array_equal(column(kernel, one, theirs), column(simpy, two, theirs)), theirs
    assert one.extremes is not None
    at = {name: p for p, name in enumerate(kernel.outputs)}
    assert np.allclose(one.extremes[..., at["gap.dozens"], 0], -one.extremes[..., at["B1.level"], 1] / 12, rtol=1e-15)
    assert (one.extremes[..., at["m2.code"], :] == [0.0, 20.0]).all()


# --- how it travels --------------------------------------------------------------------------------------------------


def test_blocks_travel_and_join_with_what_was_seen() -> None:
    limits = [parse_limit("B1.level>6"), parse_limit("B2.level<1")]
    job = layout_job(
        line10(machines=3), [Scenario("crew").add("crew.capacity", 1)], horizon_s=7200.0, seed=1,
        kpis=["B1.level.max", "first(B2.level>=7)"], limits=limits, backend="kernel",
    )  # fmt: skip
    assert job.limits == (*limits, Limit("B2.level", ">=", 7.0))
    whole = job.block(0, 9)
    there = pickle.loads(pickle.dumps(job))
    joined = join([pickle.loads(pickle.dumps(there.block(first, 3))) for first in (6, 0, 3)])
    assert whole.extremes is not None and joined.extremes is not None
    assert whole.passed is not None and joined.passed is not None
    assert whole.extremes.shape == (2, 9, 2, 2) and whole.passed.shape == (2, 9, 3)
    assert np.array_equal(joined.extremes, whole.extremes) and np.array_equal(joined.passed, whole.passed)


def test_processes_and_threads_tell_the_same(inline: Runner) -> None:
    def ask(runner: Runner, backend: str) -> Result:
        return compare(
            line10(machines=3), horizon="2h", kpis=["B1.level.max", "first(B2.level>6)"], limits=["B1.level>7"],
            replications=12, backend=backend, runner=runner,
        )  # fmt: skip

    workers = Runner(2)
    try:
        far, threads, here = ask(workers, "simpy"), ask(workers, "kernel"), ask(inline, "simpy")
    finally:
        workers.close()
    assert far.outcomes == threads.outcomes == here.outcomes


def test_a_question_about_a_limit_that_nobody_looked_at_is_refused() -> None:
    job = layout_job(line10(machines=3), [], horizon_s=7200.0, seed=1, kpis=["B1.level.max"], backend="kernel")
    with pytest.raises(BadRequest, match=r"B1\.level>6"):
        check(job, Question(limits=(parse_limit("B1.level>6"),)))
    with pytest.raises(BadRequest, match=r"B1\.level>6"):
        check(job, Question(kpis=("first(B1.level>6)",)))


def test_a_job_of_samples_tells_all_by_its_samples() -> None:
    """As that of a water network, which is solved at steps."""
    limits = [parse_limit("B1.level>6"), parse_limit("B1.level<1")]
    seeing = layout_job(
        line10(machines=3), [], horizon_s=7200.0, seed=1, sample_every_s=600.0, kpis=["B1.level.max"], limits=limits,
        backend="kernel",
    )  # fmt: skip
    block = dataclasses.replace(seeing.block(0, 8), extremes=None, passed=None)
    samples = block.samples[0, :, :, 0]
    assert values(seeing, block, 0, "B1.level.max").tolist() == samples.max(axis=1).tolist()
    shown = np.logical_or.accumulate(samples > 6, axis=1)
    result = conclude(seeing, Question(limits=tuple(limits), kpis=("B1.level.max",)), block, "fixed")
    assert result.baseline.limits[0].probability == tuple(shown.mean(axis=0).tolist())
    expected = np.where(shown.any(axis=1), 600.0 * shown.argmax(axis=1), np.inf)
    assert passed_s(seeing, block, 0, limits[0]).tolist() == expected.tolist()
