"""A user's generator in a plant: it forks by being told the same again, and its mistakes are named."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from sim.kernel.faults import Fault
from sim.layout import Layout
from sim.opaque.component import Stepped, Ties
from sim.opaque.generator import Generator, Life
from sim.opaque.replay import ASKED_MAX, Replayed
from sim.spec import Constant, Misspelt, Param, Port, Signal
from tests.sim.opaque.plants import run, told
from twin.errors import Refused

RUNS = itertools.count()


def kiln(starts: Mapping[str, float]) -> Life:
    """Heats with fuel and remembers its hottest moment."""
    heat = starts["heat"]
    hottest = heat
    while True:
        seconds, inputs = yield {"heat": heat, "hottest": hottest}
        heat += (inputs["fuel"] - 0.01 * heat) * seconds
        hottest = max(heat, hottest)


def moody(starts: Mapping[str, float]) -> Life:
    """Is another one each time it begins."""
    mood = float(next(RUNS))
    while True:
        yield {"heat": mood}


def broken(starts: Mapping[str, float]) -> Life:
    while True:
        _, inputs = yield {"heat": 1.0}
        if inputs["fuel"] > 1.0:
            raise RuntimeError("the burner is out")


def silent(starts: Mapping[str, float]) -> Life:
    yield {"heat": 0.0}


def mute(starts: Mapping[str, float]) -> Life:
    while True:
        yield {}


def wild(starts: Mapping[str, float]) -> Life:
    yield {"heat": 0.0}
    while True:
        yield {"heat": float("inf")}


def works(life, *writes: str) -> Layout:  # type: ignore[no-untyped-def]
    class Kiln(Stepped):
        model = Generator(life, ("fuel",), ("heat", "hottest"), ("heat",))
        step = Constant(5.0)
        fuel, heat, hottest = Port(Signal), Port(Signal), Port(Signal, optional=True)
        first = Param(20.0)
        ties = Ties(reads={"fuel": fuel}, writes={"heat": heat}, begins={"heat": first})

    plant = Layout("works", "min")
    plant.add(Kiln, "kiln", fuel=plant.signal("fuel", 0.5), heat=plant.signal("heat"))
    return plant


def by_hand(heat: float, pieces: list[tuple[float, float]]) -> float:
    for fuel, minutes in pieces:
        heat += (fuel - 0.01 * heat) * minutes * 60.0
    return heat


def test_it_is_told_seconds_and_what_held_meanwhile() -> None:
    going = run(works(kiln), 1.0, (0.25, "fuel", 0.0))
    assert told(going, ("heat",)) == [pytest.approx(by_hand(20.0, [(0.5, 0.25)]))]  # nobody looks before its next step
    going = run(works(kiln), 5.0, (0.25, "fuel", 0.0))
    assert told(going, ("heat",)) == [pytest.approx(by_hand(20.0, [(0.5, 0.25), (0.0, 4.75)]))]


def test_a_forked_run_goes_on_bit_for_bit() -> None:
    plant = works(kiln)
    live = run(plant, 23.0, (7.1, "fuel", 0.2))
    state = live.snapshot()
    live.run(60.0)
    assert told(run(plant, 60.0, state=state, fresh=0), ("heat",)) == told(live, ("heat",))


def test_one_that_is_another_each_time_cannot_be_forked() -> None:
    plant = works(moody)
    live = run(plant, 23.0)
    with pytest.raises(Fault, match=r"kiln \(Kiln, the generator moody\) failed: does not do the same twice"):
        run(plant, 60.0, state=live.snapshot(), fresh=0)


@pytest.mark.parametrize(
    ("life", "fuel", "words"),
    [
        (broken, 2.0, r"kiln \(Kiln, the generator broken\) failed: RuntimeError: the burner is out, at 10 "),
        (silent, 0.5, r"it returned, at 5 \(let it go on for ever"),
        (mute, 0.5, r"it yielded no 'heat', at 0 \(yield"),
        (wild, 0.5, r"gave heat = inf, at 5 "),
    ],
)
def test_what_it_does_wrong_is_a_fault_with_its_name(life, fuel: float, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Fault, match=words):
        run(works(life), 30.0, (5.0, "fuel", fuel))


def test_too_long_a_history_is_not_kept() -> None:
    class Still:
        def begin(self, at_s, starts): ...  # type: ignore[no-untyped-def]
        def hold(self, inputs): ...  # type: ignore[no-untyped-def]
        def close(self): ...  # type: ignore[no-untyped-def]
        def advance(self, to_s): ...  # type: ignore[no-untyped-def]
        def outputs(self):  # type: ignore[no-untyped-def]
            return []

    long = Replayed("the pump", Still())
    long.begin(0.0, [])
    for second in range(ASKED_MAX):
        long.advance(float(second))
    with pytest.raises(Refused, match=f"the pump ran for more than {ASKED_MAX} steps"):
        long.save()


def test_a_field_that_cannot_give_or_take_is_told_when_it_is_placed() -> None:
    class Loose(Stepped):
        model = Generator(kiln, ("fuel",), ("heat",), ("heat",))
        fuel, heat = Port(Signal, optional=True), Port(Signal)
        ties = Ties(reads={"fuel": fuel}, writes={"heat": heat})

    plant = Layout()
    with pytest.raises(Misspelt, match=r"kiln: Loose reads 'fuel' is a Port\(Signal\).*not optional"):
        plant.add(Loose, "kiln", heat=plant.signal("heat"))

    class Foreign(Loose):
        ties = Ties(reads={"fuel": Param(2.0)})

    with pytest.raises(Misspelt, match=r"Foreign reads 'fuel'.*that this class declares"):
        plant.add(Foreign, "kiln", heat=plant.entity("heat"))
