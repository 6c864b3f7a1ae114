"""One foreign part in an otherwise compiled plant: all of it runs on SimPy, says why, and loses nothing by that."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.components.fluid import Demand, Pump
from sim.components.line import Machine
from sim.kernel import loop
from sim.kernel.assembly import assemble
from sim.kernel.compiler import kernel_of
from sim.kernel.faults import Fault
from sim.kernel.interpreter import Interpreter, trace_of
from sim.kernel.names import Names
from sim.kernel.translation import CannotCompile
from sim.layout import Layout
from sim.opaque.component import Stepped, Ties
from sim.opaque.fmu import Fmu
from sim.opaque.generator import Generator, Life
from sim.opaque.stepper import Stepper, Variables, Wanted
from sim.runner import Runner
from sim.spec import (
    Buffer,
    Component,
    Constant,
    Level,
    Param,
    Port,
    Signal,
    Var,
    at_start,
    process,
    process_anew,
    when,
)
from sim.whatif import compare
from tests.sim.layouts import random_plant
from tests.sim.opaque.plants import run, told
from twin.errors import Refused


def follower(starts: Any) -> Life:
    """Gives half of what it was told."""
    given = 0.0
    while True:
        _, inputs = yield {"half": given}
        given = inputs["whole"] / 2


class Follower(Stepped):
    model = Generator(follower, ("whole",), ("half",))
    step = Constant(2.0)
    whole, tank = Port(Level), Port(Level)
    ties = Ties(reads={"whole": whole}, writes={"half": tank})


def works(path: Path | None) -> Layout:
    """A line, tanks and a pump; and, with an FMU, a boiler that the pump's tank feeds."""
    plant = Layout("works", "min")
    crew = plant.resource("crew", 1)
    parts = plant.buffer("parts")
    plant.add(Machine, "M1", inp=plant.buffer("supply", level=1e6), out=parts, crew=crew)
    well, tower = plant.tank("well", 80.0, 100.0), plant.tank("tower", 50.0, 100.0)
    plant.add(Pump, "P1", src=well, dst=tower, crew=crew)
    plant.add(Demand, "town", tank=tower)
    plant.add(Demand, "rain", tank=well, sign=1.0)
    if path is not None:

        class Boiler(Stepped):
            model = Fmu(str(path))
            step = Constant(1.0)
            feed, level = Port(Level), Port(Signal)
            ties = Ties(reads={"inflow": feed}, writes={"level": level})

        plant.add(Boiler, "boiler", feed=tower, level=plant.signal("steam"))
    return plant


def test_the_reason_why_it_is_not_compiled_names_the_part(tank: Path) -> None:
    with pytest.raises(CannotCompile, match=r"Boiler is the FMU tank\d\.fmu \(it runs on the SimPy backend\)"):
        kernel_of(works(tank).types)


def test_the_rest_of_the_plant_has_the_same_chance_with_it_and_without(tank: Path) -> None:
    steps = ((100.0, "crew.capacity", 2), (150.0, "M1.health", "down"))
    with_it, without = run(works(tank), 480.0, *steps), run(works(None), 480.0, *steps)
    figures = ("parts.level", "tower.level", "well.level", "P1.starts", "M1.health.up", "crew.utilisation")
    assert told(with_it, figures) == told(without, figures)
    assert told(with_it, ("parts.level",))[0] > 100
    with_it.close()


def test_what_it_gives_is_a_figure_a_trajectory_and_acts_on_others(tank: Path) -> None:
    plant = works(tank)
    names = Names(assemble(plant))
    assembly = assemble(plant, seed=2)
    going = Interpreter(assembly)
    found = [names.reading(name) for name in ("steam", "tower.level")]
    samples = going.run(60.0, np.arange(0.0, 60.1, 5.0), np.array([(r.kind, r.index) for r in found], np.int64))
    assert samples[0, 0] == 1.0
    assert len(set(samples[:, 0].tolist())) == len(samples)
    loop.finish(going.world)
    assert names.reading("steam.mean").mean
    assert told(going, ("boiler.advance.count",)) == [60.0]
    going.close()


def test_it_reads_a_level_at_each_step_and_lets_flow_into_another() -> None:
    plant = Layout("two")
    one, two = plant.tank("one", 8.0, 100.0), plant.tank("two", 0.0, 100.0)
    plant.add(Follower, "follower", whole=one, tank=two)
    going = run(plant, 10.0)
    assert told(going, ("two.level",)) == [pytest.approx(4.0 * 8.0)]
    again = run(plant, 10.0, (5.0, "one.level", 20.0))
    assert told(again, ("two.level",)) == [pytest.approx(4.0 * 6.0 + 10.0 * 2.0)]  # seen at 6, given from 8 on


def test_a_state_with_foreign_parts_travels_to_another_process(tank: Path) -> None:
    plant = works(tank)
    live = run(plant, 100.0)
    state = pickle.loads(pickle.dumps(live.snapshot()))
    live.run(200.0)
    fork = run(plant, 200.0, state=state, fresh=0)
    assert told(fork, ("steam", "tower.level", "parts.level")) == told(live, ("steam", "tower.level", "parts.level"))
    for each in (live, fork):
        each.close()


def mixed(seed: int, path: Path) -> Layout:
    """A random plant with two foreign parts tied to its tanks, and to each other."""
    plant = random_plant(seed)
    steam = plant.signal("steam")

    class Boiler(Stepped):
        model = Fmu(str(path))
        step = Constant(random.Random(seed).choice([0.7, 1.0, 2.5]))
        feed, level = Port(Level), Port(Signal)
        ties = Ties(reads={"inflow": feed}, writes={"level": level})

    class Heated(Stepped):
        model = Generator(follower, ("whole",), ("half",))
        step = Constant(1.3)
        steam, tank = Port(Signal), Port(Level)
        ties = Ties(reads={"whole": steam}, writes={"half": tank})

    plant.add(Boiler, "kettle", feed=plant.entity("T0"), level=steam)
    plant.add(Heated, "heated", steam=steam, tank=plant.entity("T1"))
    return plant


@pytest.mark.parametrize("seed", range(12))
def test_random_plants_with_foreign_parts_fork_bit_for_bit(tank: Path, seed: int) -> None:
    plant = mixed(seed, tank)
    live = run(plant, random.Random(seed).uniform(5.0, 90.0))
    state, before = live.snapshot(), len(trace_of(live.world))
    live.run(150.0)
    fork = run(plant, 150.0, state=state, fresh=0)
    assert trace_of(fork.world) == trace_of(live.world)
    assert len(trace_of(live.world)) > before + 100
    assert fork.world.amount == live.world.amount
    for each in (live, fork):
        each.close()


# --- what fails -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Echo:
    """A user's own row: gives what it reads and more, at once."""

    title = "an echo"
    exact = direct = True

    def hash(self) -> str:
        return "echo"

    def variables(self) -> Variables:
        return Variables(frozenset({"in"}), frozenset({"out"}), frozenset())

    def open(self, wanted: Wanted, replication: int) -> Stepper:
        return Echoing()


class Echoing:
    value = 0.0

    def begin(self, at_s: float, starts: Sequence[float]) -> None: ...
    def advance(self, to_s: float) -> None: ...
    def close(self) -> None: ...

    def hold(self, inputs: Sequence[float]) -> None:
        self.value = inputs[0] + 1.0

    def outputs(self) -> Sequence[float]:
        return [self.value]

    def save(self) -> bytes:
        return np.float64(self.value).tobytes()

    def restore(self, saved: bytes) -> None:
        self.value = float(np.frombuffer(saved)[0])


class Echoes(Stepped):
    model = Echo()
    inp, out = Port(Signal), Port(Signal)
    ties = Ties(reads={"in": inp}, writes={"out": out})


def test_a_row_of_the_users_own_is_one_like_the_others() -> None:
    plant = Layout()
    first, second, third = plant.signal("a", 1.0), plant.signal("b"), plant.signal("c")
    plant.add(Echoes, "one", inp=first, out=second)
    plant.add(Echoes, "two", inp=second, out=third)
    live = run(plant, 0.5, (0.25, "a", 5.0))
    assert told(live, ("b", "c")) == [6.0, 7.0]
    fork = run(plant, 9.5, (8.25, "a", 2.0), state=live.snapshot(), fresh=0)
    assert told(fork, ("b", "c")) == [3.0, 4.0]


class Alarmed(Echoes):
    """A foreign part with a rule of its own beside it."""

    limit, bell, rung = Param(10.0), Port(Signal), Var(0)

    @when(lambda s: s.bell.value > s.limit and s.rung == 0)
    def ring(self) -> None:
        self.rung = 1


def test_a_foreign_part_can_have_rules_of_its_own() -> None:
    plant = Layout()
    bell = plant.signal("bell")
    plant.add(Alarmed, "one", inp=plant.signal("a"), out=plant.signal("b"), bell=bell)
    assert told(run(plant, 5.5, (5.25, "bell", 11.0)), ("one.rung", "b")) == [1.0, 1.0]
    assert told(run(plant, 5.5, (5.25, "bell", 9.0)), ("one.rung",)) == [0.0]


def test_a_circle_of_parts_that_follow_at_once_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "STILL_MAX", 5000)  # the same, sooner
    plant = Layout()
    first, second = plant.signal("a"), plant.signal("b")
    plant.add(Echoes, "one", inp=first, out=second)
    plant.add(Echoes, "two", inp=second, out=first)
    with pytest.raises(Fault, match=r"(one|two) \(Echoes.*\) .*no time passes"):
        run(plant, 1.0)


class Visitor(Component):
    """Comes every ten minutes; nobody knows where its generator stands."""

    visits = Var(0)
    every = Param(10.0)

    @process
    def life(self, env: Any) -> Iterator[Any]:
        while True:
            yield env.timeout(self.every)
            self.visits += 1


class Returner(Visitor):
    """Remembers all in its fields."""

    @process_anew
    def life(self, env: Any) -> Iterator[Any]:
        while True:
            yield env.timeout(self.every - env.now % self.every)
            self.visits += 1


class Starter(Component):
    told = Var(0)

    @at_start
    def begin(self) -> None:
        self.told = 1


class Opener(Component):
    """Lets a tank flow off, and lends three parts, for five minutes from the tenth."""

    tank, parts = Port(Level), Port(Buffer)

    @process
    def life(self, env: Any) -> Iterator[Any]:
        yield env.timeout(10.0)
        self.tank.flow = -1.0
        self.parts.put(3)
        yield env.timeout(5.0)
        self.tank.flow = 0.0
        self.parts.take(3)


def test_what_a_process_changes_holds_from_the_moment_it_does() -> None:
    plant = Layout("opened", "min")
    plant.add(Opener, "opener", tank=plant.tank("tank", 10.0, 20.0), parts=plant.buffer("parts", 9))
    figures = {
        "tank.level.final": 5.0, "tank.mean": (10 * 10 + 7.5 * 5 + 5 * 45) / 60, "first(tank.level<7)": 13.0,
        "parts.mean": 3 * 5 / 60, "parts.level.max": 3.0, "first(parts.level>=3)": 10.0,
    }  # fmt: skip
    result = compare(plant, horizon=60.0, every=60.0, kpis=list(figures), replications=1, runner=Runner(0))
    assert {name: figure.mean for name, figure in result.baseline.kpis.items()} == pytest.approx(figures, rel=1e-12)


def visited(cls: type[Component]) -> Layout:
    plant = Layout()
    plant.add(cls, "visitor")
    plant.add(Starter, "starter")
    return plant


def test_a_run_with_a_process_cannot_be_forked_and_says_what_to_do() -> None:
    live = run(visited(Visitor), 35.0)
    assert told(live, ("visitor.visits",)) == [3.0]
    for take in (live.snapshot, live.aged):
        with pytest.raises(
            Refused, match=r"visitor\.life is a SimPy process: nobody can save.*process_anew.*Generator"
        ):
            take()
    with pytest.raises(Refused, match=r"visitor\.life is a SimPy process"):
        run(visited(Visitor), 60.0, state=run(visited(Starter), 35.0).aged(), fresh=2)


def test_a_process_that_may_begin_anew_goes_on_from_a_state_with_other_chance() -> None:
    plant = visited(Returner)
    live = run(plant, 35.0)
    with pytest.raises(Refused, match=r"visitor\.life"):
        live.snapshot()
    fork = run(plant, 75.0, state=live.aged(), fresh=2)
    assert told(fork, ("visitor.visits",)) == [7.0]


def test_a_state_taken_before_the_first_event_is_refused() -> None:
    plant = Layout()
    plant.add(Echoes, "one", inp=plant.signal("a"), out=plant.signal("b"))
    with pytest.raises(Refused, match="one has not begun"):
        Interpreter(assemble(plant)).snapshot()
