"""A component that says how many units a crew has: shifts, on both backends, with what cannot be a crew refused."""

from __future__ import annotations

import pytest

from sim.components.line import Machine
from sim.kernel.faults import Fault
from sim.layout import Layout
from sim.runner import Runner
from sim.spec import Component, Constant, Items, Param, Port, Resource, Timer, Var, at_start, on
from sim.whatif import compare

BACKENDS = pytest.mark.parametrize("backend", ["kernel", "simpy"])


class Shifts(Component):
    """Goes round its steps: so long, so many people."""

    crew = Port(Resource)
    steps = Items(32)
    turn = Timer()
    more, seen = Param(0), Var(0)

    @at_start
    def begin(self) -> None:
        self.turn.start(0.0)

    @on(turn)
    def change(self) -> None:
        minutes = self.steps.pop()
        people = self.steps.pop()
        self.steps.push(minutes)
        self.steps.push(people)
        self.crew.capacity = people + self.more
        self.seen += self.crew.capacity
        self.turn.start(minutes)


def shop(*steps: float, machines: int = 3) -> Layout:
    made = Layout("shop", "min")
    crew, raw, parts = made.resource("crew", 1), made.buffer("raw", level=1e6), made.buffer("parts")
    made.add(Shifts, "shifts", crew=crew, steps=steps)
    for number in range(machines):
        made.add(
            Machine, f"M{number + 1}", inp=raw, out=parts, crew=crew, cycle=Constant(1.0), mttf=Constant(20.0),
            mttr=Constant(10.0),
        )  # fmt: skip
    return made


@BACKENDS
def test_people_come_and_go_by_the_hour_and_their_use_is_of_those_who_were_there(backend: str) -> None:
    result = compare(
        shop(60, 3, 60, 0), ["shifts.more=1"], horizon="4h", kpis=["crew.utilisation", "shifts.seen", "parts", "crew.busy"],
        backend=backend, replications=2, runner=Runner(0),
    )  # fmt: skip
    base, more = (outcome.kpis for outcome in result.outcomes)
    # Three machines break at 20, 50, 80 … while people are there; each is mended at once, and stands all night if not.
    assert base["shifts.seen"].mean == 3 + 0 + 3 + 0 + 3 and more["shifts.seen"].mean == 4 + 1 + 4 + 1 + 4
    assert 0.2 < base["crew.utilisation"].mean < 0.5
    assert more["parts"].mean > base["parts"].mean


def test_both_backends_say_the_same_to_the_bit() -> None:
    found = [
        compare(shop(45, 2, 15, 1, 60, 0), ["shifts.more=1"], horizon="8h", backend=backend, replications=3,
                kpis=["crew.utilisation", "parts", "M1.health.down"], runner=Runner(0))
        for backend in ("kernel", "simpy")
    ]  # fmt: skip
    assert found[0].outcomes == found[1].outcomes


@BACKENDS
@pytest.mark.parametrize("people", [-1.0, 0.5, 2e9])
def test_a_crew_that_is_none_stops_the_run_with_its_place(backend: str, people: float) -> None:
    with pytest.raises(Fault, match=r"shifts \(Shifts.change, .*let crew have units that are none.*whole number"):
        compare(shop(60, people), [], horizon="4h", kpis=["parts"], backend=backend, runner=Runner(0), replications=1)
