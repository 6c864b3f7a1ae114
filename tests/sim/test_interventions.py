"""What a scenario does to a plant: units that come and go, what is added then, distributions that must stay some."""

from __future__ import annotations

from typing import Any

import pytest

from sim.components.fluid import Valve
from sim.components.line import Machine
from sim.experiment import SAME_MIN
from sim.layout import Layout
from sim.result import Result
from sim.runner import Runner
from sim.spec import Component, Constant, Misspelt, Param, Timer, Triangular, Var, at_start, on
from sim.whatif import Precision, compare
from twin.errors import BadRequest

BACKENDS = pytest.mark.parametrize("backend", ["kernel", "simpy"])


class Sieve(Component):
    """Takes out a share."""

    turn, share = Constant(5.0), Param(0.0, low=0.0, high=1.0)
    wait = Timer(turn)

    @on(wait)
    def turns(self) -> None:
        self.wait.start()


def shed() -> Layout:
    """A tank that holds 40 and lets out 1 a minute; a store of 10 boxes; a machine with one of two fitters at most."""
    made = Layout("shed", "min")
    tank, drain = made.tank("T", 40.0, 100.0), made.tank("drain", 0.0, 1e6)
    made.add(Valve, "V", src=tank, dst=drain, rate=1.0, position="open")
    box, out = made.buffer("box", level=1e6), made.buffer("out")
    made.add(Machine, "M", inp=box, out=out, crew=made.resource("crew", 1), cycle=Triangular(1.0, 2.0, 3.0),
             mttf=Constant(10.0), mttr=Constant(10.0))  # fmt: skip
    return made


def ask(*options: str, kpis: tuple[str, ...], backend: str = "kernel", **more: Any) -> Result:
    settings: dict[str, Any] = {"horizon": "1h", "replications": 2, "runner": Runner(0), **more}
    return compare(shed(), list(options), kpis=list(kpis), backend=backend, **settings)


def means(result: Result, name: str) -> list[float]:
    return [outcome.kpis[name].mean for outcome in result.outcomes]


@BACKENDS
def test_utilisation_is_of_the_units_that_there_were(backend: str) -> None:
    """A second unit that nobody needs halves it; one for the second half hour takes a third of it."""
    result = ask("crew.capacity=2", "crew.capacity+=1 at 30m", kpis=("crew.utilisation",), backend=backend)
    alone, two, later = means(result, "crew.utilisation")
    assert 0.3 < alone < 0.6
    assert two == pytest.approx(alone / 2) and later == pytest.approx(alone / 1.5)


@BACKENDS
def test_what_is_added_is_added_to_what_is_there_then(backend: str) -> None:
    result = ask(
        "T.level+=5 at 20m", "T.level+=5 at 20m for 10m", "V.rate+=1 at 30m", "T.level=40 at 20m", kpis=("T.level.final",),
        backend=backend, horizon="39m",
    )  # fmt: skip
    assert means(result, "T.level.final") == pytest.approx([1.0, 6.0, 1.0, 1.0, 21.0])


@BACKENDS
def test_a_crew_is_the_same_again_when_the_extra_hand_has_left(backend: str) -> None:
    result = ask("crew.capacity+=2 for 10m", kpis=("crew.utilisation",), backend=backend)
    alone, more = means(result, "crew.utilisation")
    assert more == pytest.approx(alone * 60 / (60 + 2 * 10))


def test_a_rate_that_is_added_to_a_valve_holds_from_then_on() -> None:
    result = ask("V.rate+=1 at 10m", kpis=("V.rate.final",))
    assert means(result, "V.rate.final") == [1.0, 2.0]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("crew.capacity-=2", r"crew.capacity would be -1, it is 1 before \(give 0 or more\)"),
        ("M.cycle.low=5", r"M.cycle would be Triangular\(5, 2, 3\) \(low <= mode <= high must hold\)"),
        ("M.cycle.high=1.5 at 10m", r"M.cycle would be Triangular\(1, 2, 1.5\)"),
        ("M.mttf.value-=20", "M.mttf.value would be -10, it is 10 before"),
        ("V.position+=1", "state"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(option: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        ask(option, kpis=("out",))


def test_a_distribution_is_looked_at_when_all_of_a_moment_is_set() -> None:
    result = ask("M.cycle.low=5; M.cycle.mode=6; M.cycle.high=7", kpis=("out",))
    slow = means(result, "out")
    assert slow[1] < slow[0] / 2


def test_what_lasts_longer_than_the_horizon_never_ends_in_it() -> None:
    result = ask("V.rate=2 for 4h", "crew.capacity+=1 for 4h", kpis=("V.rate.final", "crew.utilisation"))
    assert means(result, "V.rate.final")[1] == 2.0
    assert means(result, "crew.utilisation")[2] == pytest.approx(means(result, "crew.utilisation")[0] / 2)
    with pytest.raises(BadRequest, match="outside the horizon"):
        ask("V.rate=2 at 4h", kpis=("out",))


def test_a_parameter_keeps_the_bounds_of_its_class() -> None:
    made = Layout("one", "min")
    with pytest.raises(Misspelt, match=r"B.share = 1.5 \(0 … 1\)"):
        made.add(Sieve, "B", share=1.5)
    made.add(Sieve, "B", share=0.5)
    with pytest.raises(BadRequest, match=r"B.share = 2 \(give 0 … 1\)"):
        compare(made, ["B.share=2"], horizon="1h", kpis=["B.share"], runner=Runner(0), backend="simpy")
    with pytest.raises(Misspelt, match="low <= value <= high"):
        Param(2.0, low=0.0, high=1.0)


class Rare(Component):
    """Counts what comes about in 1 of 100 minutes' looks."""

    every, chance = Constant(60.0), Triangular(0.0, 0.5, 1.0)
    look, p = Timer(every), Param(0.01, low=0.0, high=1.0)
    hits = Var(0)

    @at_start
    def begin(self) -> None:
        self.look.start()

    @on(look)
    def looks(self) -> None:
        if self.chance.draw() ** 2 * 2 < self.p:
            self.hits += 1
        self.look.start()


def test_equal_pairs_are_not_believed_before_there_are_many() -> None:
    made = Layout("rare", "min")
    made.add(Rare, "R")
    result = compare(
        made, ["R.p=0.02"], horizon="90m", until=Precision("R.hits", 0.5, 20_000), backend="kernel", runner=Runner(0),
        kpis=["R.hits"],
    )  # fmt: skip
    assert result.replications == 64 and result.stopped == "half-width"  # they differ: two of them are enough
    same = compare(
        made, ["R.p=0.01"], horizon="90m", until=Precision("R.hits", 0.5, 20_000), backend="kernel", runner=Runner(0),
        kpis=["R.hits"],
    )  # fmt: skip
    assert same.replications >= SAME_MIN and same.stopped == "half-width"


def test_a_figure_without_options_has_its_interval() -> None:
    result = compare(shed(), [], horizon="8h", until="out±5", kpis=["out"], runner=Runner(0), backend="kernel")
    figure = result.baseline.kpis["out"]
    assert 0 < figure.half_width <= 5
    assert f"{figure.half_width:.3g}" in str(result) and "replications" in str(result) and "pairs" not in str(result)
