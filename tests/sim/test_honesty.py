"""Stated intervals hold as often as they state, with sequential stopping too; a compiler at work delays nobody."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from sim import backend
from sim.experiment import answer, replicate
from sim.kernel.ensemble import warm
from sim.kpi import values
from sim.layout import Layout
from sim.layout_job import layout_job
from sim.question import Precision, Question
from sim.result import Result
from sim.scenario import Scenario
from sim.spec import Component, Exponential, Hazard, Param, Var, on
from sim.whatif import Runner, compare
from tests.control.plants import until
from tests.sim.layouts import line10

EXPERIMENTS = 400
STOP_AT = 0.53  # a half-width that some experiments reach one doubling earlier than others
RATE, MORE, HORIZON = 1.0, 1.25, 50.0  # a Poisson stream: its mean count is known


class Clicks(Component):
    """Counts clicks of a Poisson stream, every one worth `worth`."""

    between = Exponential(1.0)
    worth = Param(1.0)
    total = Var(0)
    click = Hazard(between)

    @on(click)
    def clicks(self) -> None:
        self.total += self.worth
        self.click.start()


def counter() -> Layout:
    layout = Layout("clicks", "s")
    layout.add(Clicks, "c", between=Exponential(1 / RATE))
    return layout


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    warm(counter().types)
    made = Runner(2)
    yield made
    made.close()


def ask(runner: Runner, seed: int, question: Question) -> Result:
    faster = Scenario("faster").set("c.between.mean", 1 / (MORE * RATE))
    job = layout_job(counter(), [faster], horizon_s=HORIZON, seed=seed, kpis=question.kpis, backend="kernel")
    return answer(job, question, runner)


def held(results: list[Result], figure: str, truth: float) -> float:
    found = [r.scenarios[0].differences[figure] for r in results]
    return float(np.mean([abs(d.mean - truth) <= d.half_width for d in found]))


def test_90_percent_intervals_hold_the_truth_in_87_to_93_of_100_experiments(runner: Runner) -> None:
    question = Question(64, kpis=("c.total",), confidence=0.9)
    results = [ask(runner, seed, question) for seed in range(EXPERIMENTS)]
    assert 0.87 <= held(results, "c.total", (MORE - 1) * RATE * HORIZON) <= 0.93
    loose = np.mean([r.scenarios[0].differences["c.total"].half_width for r in results])
    sure = [dataclasses.replace(question, confidence=0.99)] * 100
    strict = [ask(runner, seed, q) for seed, q in enumerate(sure)]
    assert held(strict, "c.total", (MORE - 1) * RATE * HORIZON) >= 0.96
    assert np.mean([r.scenarios[0].differences["c.total"].half_width for r in strict]) > 1.4 * loose


def test_stopping_when_the_interval_is_narrow_hardly_costs_coverage(runner: Runner) -> None:
    question = Question(32, Precision("c.total", STOP_AT, 4096), ("c.total",), confidence=0.9)
    results = [ask(runner, seed, question) for seed in range(EXPERIMENTS)]
    counts = [r.replications for r in results]
    assert all(r.stopped == "half-width" for r in results)
    assert max(counts.count(n) for n in set(counts)) < 0.8 * EXPERIMENTS  # it did stop at different times
    assert 0.85 <= held(results, "c.total", (MORE - 1) * RATE * HORIZON) <= 0.95


def test_a_difference_that_is_none_is_resolved_as_seldom_as_stated(runner: Runner) -> None:
    """Two independent streams of one rate: an interval that excludes 0 is a false alarm."""
    alarms = []
    for seed in range(EXPERIMENTS):
        job = layout_job(counter(), [], horizon_s=HORIZON, seed=seed, kpis=["c.total"], backend="kernel")
        block, _ = replicate(job, Question(128), runner)
        both = values(job, block, 0, "c.total")
        gap = both[:64] - both[64:]
        alarms.append(abs(gap.mean()) > 1.6694 * gap.std(ddof=1) / 8)  # t of 63, 90 %
    assert np.mean(alarms) == pytest.approx(0.10, abs=0.03)


def test_simpy_answers_while_a_kernel_is_compiled_and_the_kernel_takes_over(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, begun = threading.Event(), threading.Event()
    load = backend._load

    def slow(types):  # type: ignore[no-untyped-def]
        begun.set()
        assert compiled.wait(60)
        return load(types)

    monkeypatch.setattr(backend, "_load", slow)
    monkeypatch.setattr(backend, "_ready", {})
    monkeypatch.setattr(backend, "is_kept", lambda types: False)
    more = [Scenario("crew +1").add("crew.capacity", 1)]
    both = compare(
        line10(machines=3), more, horizon="2h", kpis=["parts"], replications=1500, runner=runner,
        progress=lambda done, planned: compiled.set(),
    )  # fmt: skip
    assert begun.is_set() and "being compiled" in both.why
    monkeypatch.undo()
    whole = compare(line10(machines=3), more, horizon="2h", kpis=["parts"], replications=1500, runner=runner)
    assert (whole.backend, whole.why) == ("kernel", "") and both.outcomes == whole.outcomes
    assert both.backend == "simpy+kernel" and both.kernel_hash == whole.kernel_hash


async def test_the_kernel_is_there_for_the_next_question(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_ready", {})
    monkeypatch.setattr(backend, "is_kept", lambda types: False)
    assert backend.choose(line10()).waits
    await until(lambda: backend.ready(line10()), lambda kernel: kernel is not None)
    assert backend.choose(line10()).name == "kernel"
