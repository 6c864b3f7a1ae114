"""What a user gets wrong when a component runs: told with component, handler and fix, alike by the kernel and by SimPy."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from sim.component_type import component_type
from sim.components.fluid import Demand, Valve
from sim.components.line import Sink, Source
from sim.kernel.assembly import assemble
from sim.kernel.faults import Fault
from sim.kernel.interpreter import Interpreter
from sim.kernel.names import Names
from sim.layout import Layout
from sim.spec import (
    Buffer,
    Component,
    Constant,
    Items,
    Level,
    Misspelt,
    Param,
    Port,
    Resource,
    Signal,
    Timer,
    Transfer,
    Var,
    at_start,
    command,
    on,
    when,
)
from tests.sim.kernels import Types, acts_of, interpreted, outcomes
from tests.sim.layouts import line10


def reciprocal(x: float) -> float:
    return 1.0 / (1.0 + 1.0 / x)  # an infinity inside would be hidden again


class Wrong(Component):
    """Each of its commands does one thing that cannot be."""

    parts, crew, tank, seen = Port(Buffer), Port(Resource), Port(Level), Port(Signal)
    other = Port(Buffer, optional=True)
    nobody, dry = Port(Resource, optional=True), Port(Level, optional=True)
    own = Items(2)
    x, zero = Var(0), Param(0.0)
    wait = Timer()
    pour_off = Transfer(tank, dry)

    @on(wait)
    def waited(self) -> None:
        self.zero = 0.0

    @on(crew)
    def lent(self) -> None:
        self.x = 1.0

    @on(nobody)
    def hired(self) -> None:
        self.x = 2.0

    @command
    def takes_too_much(self) -> None:
        self.parts.take(4)

    @command
    def puts_too_much(self) -> None:
        self.parts.put(9)

    @command
    def takes_less_than_nothing(self) -> None:
        self.parts.take(-1)

    @command
    def puts_no_number(self) -> None:
        huge = 1e308 * 10.0
        self.parts.put(huge - huge)

    @command
    def pops_from_nothing(self) -> None:
        self.x = self.own.pop()

    @command
    def looks_at_nothing(self) -> None:
        self.x = self.own.first

    @command
    def pushes_too_many(self) -> None:
        for _ in range(3):
            self.own.push(1.0)

    @command
    def counts_numbers(self) -> None:
        self.own.put(1)

    @command
    def drains_too_much(self) -> None:
        self.tank.take(6.0)

    @command
    def divides(self) -> None:
        self.x = 1.0 / self.zero

    @command
    def divides_whole(self) -> None:
        self.x = 1.0 // self.zero

    @command
    def takes_the_rest(self) -> None:
        self.x = 1.0 % self.zero

    @command
    def roots(self) -> None:
        self.x = math.sqrt(self.zero - 1.0)

    @command
    def roots_by_power(self) -> None:
        self.x = (self.zero - 1.0) ** 0.5

    @command
    def logs(self) -> None:
        self.x = 1.0 / math.log(self.zero)

    @command
    def overflows(self) -> None:
        self.x = math.exp(1000.0)

    @command
    def hides_an_infinity(self) -> None:
        self.x = reciprocal(self.zero)

    @command
    def makes_whole_of_infinity(self) -> None:
        huge = 1e308 * 10.0
        self.x = int(huge)

    @command
    def waits_less_than_nothing(self) -> None:
        self.wait.start(-1.0)

    @command
    def waits_no_time(self) -> None:
        huge = 1e308 * 10.0
        self.wait.start(huge - huge)

    @command
    def releases(self) -> None:
        self.crew.release()

    @command
    def asks_for_ever(self) -> None:
        for _ in range(100):
            self.crew.request()

    @command
    def signals_no_number(self) -> None:
        huge = 1e308 * 10.0
        self.seen.value = huge - huge

    @command
    def flows_without_bound(self) -> None:
        self.tank.flow = 1e308 * 10.0

    @command
    def uses_what_is_free(self) -> None:
        self.other.put(1)

    @command
    def reads_what_is_free(self) -> None:
        self.x = self.other.level

    @command
    def asks_nobody(self) -> None:
        self.nobody.request()

    @command
    def pours_nowhere(self) -> None:
        self.pour_off.rate = 1.0

    @command
    def turns_for_ever(self) -> None:
        for _ in range(1001):
            self.x += 1.0


class Backwards(Component):
    """A pump that runs backwards."""

    src, dst = Port(Level), Port(Level)
    line = Transfer(src, dst)

    @command
    def reverse(self) -> None:
        self.line.rate = -1.0


class Slowing(Component):
    """A timer whose speed becomes negative."""

    speed, chance = Var(1.0), Constant(5.0)
    job = Timer(chance, speed=speed)

    @at_start
    def begin(self) -> None:
        self.job.start()

    @on(job)
    def done(self) -> None:
        self.job.stop()

    @command
    def reverse(self) -> None:
        self.speed -= 2.0


class Restless(Component):
    """A rule that never comes to rest."""

    n = Var(0)

    @when(lambda r: r.n >= 0)
    def again(self) -> None:
        self.n += 1


class Dividing(Component):
    """A guard that divides by what may be 0."""

    a, b = Param(1.0), Param(1.0)
    n = Var(0)

    @when(lambda d: d.a / d.b > 2.0 and d.n == 0)
    def once(self) -> None:
        self.n = 1


class Echo(Component):
    """Answers each change of what it hears: two of them never stop."""

    heard, said = Port(Signal), Port(Signal)
    last = Var(0)

    @when(lambda e: e.heard.value != e.last)
    def answer(self) -> None:
        self.last = self.heard.value
        self.said.value = self.heard.value + 1


class Hasty(Component):
    """Starts itself again at once."""

    none = Constant(0.0)
    tick = Timer(none)

    @at_start
    def begin(self) -> None:
        self.tick.start()

    @on(tick)
    def again(self) -> None:
        self.tick.start()


def types() -> Types:
    kinds = (Wrong, Backwards, Slowing, Restless, Dividing, Echo, Hasty, Borrower)
    return tuple(sorted(map(component_type, kinds), key=lambda t: t.cls.__qualname__))


def plant() -> Layout:
    made = Layout("wrong", "min")
    shared = {
        "parts": made.buffer("B", 10, level=3), "crew": made.resource("crew", 1), "tank": made.tank("T", 5.0, 10.0),
        "seen": made.signal("S"),
    }  # fmt: skip
    made.add(Wrong, "first", **shared)
    made.add(Wrong, "W", **shared)
    return made


def refusal(layout: Layout, *steps: tuple[float, str, float | str], horizon: float = 10.0) -> str:
    """What both backends say, which must be the same; the trace too."""
    ours, reference = outcomes(layout, horizon, acts=acts_of(layout, steps), types=types())
    assert ours.said == reference.said
    assert ours.trace == reference.trace
    return ours.said


FAULTS = {
    "takes_too_much": "took more from B than there is, at 1 min (ask for its level first)",
    "puts_too_much": "put more into B than fits, at 1 min (ask for its space first)",
    "takes_less_than_nothing": "put or took a negative amount at B",
    "puts_no_number": "computed something that is no finite number",
    "pops_from_nothing": "took more from W.own than there is",
    "looks_at_nothing": "took more from W.own than there is",
    "pushes_too_many": "put more into W.own than fits",
    "counts_numbers": "counted parts in W.own, which is a queue of numbers, at 1 min (push(x) and pop() them)",
    "drains_too_much": "took more from T than there is",
    "divides": "computed something that is no finite number, at 1 min (look for a division by 0",
    "divides_whole": "computed something that is no finite number",
    "takes_the_rest": "computed something that is no finite number",
    "roots": "computed something that is no finite number",
    "roots_by_power": "computed something that is no finite number",
    "logs": "computed something that is no finite number",
    "overflows": "computed something that is no finite number",
    "hides_an_infinity": "computed something that is no finite number",
    "makes_whole_of_infinity": "computed something that is no finite number",
    "waits_less_than_nothing": "started W.wait with a time that is negative or no number, at 1 min (give 0 or more)",
    "waits_no_time": "started W.wait with a time that is negative or no number",
    "releases": "released a unit of crew that it does not have, at 1 min (release once for each loan)",
    "asks_for_ever": "asked crew for more units than can wait",
    "signals_no_number": "computed something that is no finite number",
    "flows_without_bound": "computed something that is no finite number",
    "uses_what_is_free": "used W.other, which is not connected, at 1 min (ask connected first, or connect it)",
    "reads_what_is_free": "used W.other, which is not connected",
    "asks_nobody": "used W.nobody, which is not connected",
    "pours_nowhere": "used W.dry, which is not connected",
    "turns_for_ever": "began a loop of more than 1000 turns",
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_done_is_refused_with_component_handler_and_fix(name: str) -> None:
    said = refusal(plant(), (1.0, f"W.{name}", 0.0))
    assert re.match(rf"W \(Wrong\.{name}, \S+test_component_errors\.py:\d+\) ", said), said
    assert FAULTS[name] in said


def test_every_command_of_the_wrong_component_is_tried() -> None:
    assert set(FAULTS) == {h.name for h in component_type(Wrong).of("command")}


class Borrower(Component):
    """Somebody who asks for a unit and gives one back when told to."""

    hand = Port(Resource)
    had = Var(0)

    @on(hand)
    def gets(self) -> None:
        self.had += 1

    @command
    def asks(self) -> None:
        self.hand.request()

    @command
    def gives(self) -> None:
        self.hand.release()


def two_borrowers() -> Layout:
    made = Layout("yard", "min")
    hand = made.resource("hand", 2)
    for name in ("A", "B"):
        made.add(Borrower, name, hand=hand)
    return made


def test_who_has_no_unit_cannot_give_back_anothers() -> None:
    said = refusal(two_borrowers(), (1.0, "A.asks", 0.0), (2.0, "B.gives", 0.0))
    assert re.match(
        r"B \(Borrower\.gives, \S+test_component_errors\.py:\d+\) released a unit of hand that it does", said
    )
    said = refusal(two_borrowers(), (1.0, "A.asks", 0.0), (2.0, "A.gives", 0.0), (3.0, "A.gives", 0.0))
    assert "A (Borrower.gives" in said and "at 3 min (release once for each loan)" in said


def test_who_has_two_units_gives_back_both() -> None:
    steps = [(1.0, "A.asks", 0.0), (2.0, "A.asks", 0.0), (3.0, "A.gives", 0.0), (4.0, "A.gives", 0.0)]
    run = interpreted(two_borrowers(), 10.0, acts=acts_of(two_borrowers(), steps), types=types())
    assert run.world.free[0] == 2


def test_the_line_that_is_told_is_the_handlers() -> None:
    said = refusal(plant(), (1.0, "W.divides", 0.0))
    line = int(said.split(".py:")[1].split(")")[0])
    assert "def divides(" in "".join(Path(__file__).read_text(encoding="utf-8").splitlines()[line - 1 : line + 1])


def test_a_transfer_does_not_run_backwards() -> None:
    made = Layout("backwards", "min")
    made.add(Backwards, "P", src=made.tank("A", 5.0, 10.0), dst=made.tank("B", 5.0, 10.0))
    assert "P (Backwards.reverse," in refusal(made, (1.0, "P.reverse", 0.0))
    assert "set P.line to a negative rate" in refusal(made, (1.0, "P.reverse", 0.0))


def test_a_circle_of_empty_tanks_that_does_not_settle_is_told() -> None:
    """Each gives what the other gives, less next to nothing: the shares come down for ever."""
    made = Layout("circle", "min")
    one, two = made.tank("A", 5e-6, 10.0), made.tank("B", 0.0, 10.0)
    made.add(Demand, "drop", tank=two, size=Constant(1e-6))
    made.add(Valve, "there", src=one, dst=two, rate=5.0, position="open")
    made.add(Valve, "back", src=two, dst=one, rate=5.0, position="open")
    ours, reference = outcomes(made, 10.0)
    assert ours == reference
    assert re.search(
        r"left flows through [AB] that do not settle, at [0-9.]+ min \(look for a circle of transfers\)", ours.said
    )


def test_a_circle_of_tanks_that_settles_keeps_its_mass() -> None:
    made = Layout("circle", "min")
    one, two = made.tank("A", 3.0, 10.0), made.tank("B", 0.0, 10.0)
    made.add(Demand, "use", tank=two, size=Constant(1.0))
    made.add(Valve, "there", src=one, dst=two, rate=5.0, position="open")
    made.add(Valve, "back", src=two, dst=one, rate=4.0, position="open")
    run = Interpreter(assemble(made))
    run.run(10.0)
    w = run.world
    short = w.short[1] + w.unserved[1] * (10.0 - w.since[1])
    assert sum(w.amount) == pytest.approx(3.0 - 10.0 + short, abs=1e-9)
    assert short == pytest.approx(7.0)


def test_a_timer_does_not_run_at_a_negative_speed() -> None:
    made = Layout("slowing", "min")
    made.add(Slowing, "S")
    assert "let S.job run at a negative speed" in refusal(made, (1.0, "S.reverse", 0.0))


# --- loops -----------------------------------------------------------------------------------------------------------


def test_a_rule_without_end_is_stopped_and_named() -> None:
    made = Layout("restless")
    made.add(Restless, "R")
    said = refusal(made)
    assert "R (Restless.again," in said
    assert "fired 1000 rules at one moment, at 0 s (a rule must make its own guard false)" in said


def test_components_that_wake_each_other_for_ever_are_stopped() -> None:
    made = Layout("echoes")
    one, two = made.signal("one"), made.signal("two", 1.0)
    made.add(Echo, "A", heard=one, said=two)
    made.add(Echo, "B", heard=two, said=one)
    said = refusal(made)
    assert re.match(r"[AB] \(Echo", said)
    assert "too many steps at one moment" in said
    assert "components that wake each other" in said


def test_a_loop_that_takes_no_time_is_stopped() -> None:
    made = Layout("hasty")
    made.add(Hasty, "H")
    said = refusal(made)
    assert "H (Hasty.again," in said
    assert "no time passes" in said


def test_a_line_without_any_time_is_stopped() -> None:
    made = Layout("line")
    endless = made.buffer("endless")
    made.add(Source, "source", out=endless, between=Constant(0.0))
    made.add(Sink, "sink", inp=endless, between=Constant(0.0))
    ours, reference = outcomes(made, 10.0)
    assert ours.said == reference.said
    assert "no time passes" in ours.said


def test_a_replication_that_runs_away_is_stopped_at_the_stated_limit() -> None:
    ours, reference = outcomes(line10(), 480.0, events_max=500)
    assert ours == reference
    assert "ran past the limit of" in ours.said
    assert re.match(r"(M\d+ \(Machine)", ours.said)


# --- guards, interventions -------------------------------------------------------------------------------------------


def test_a_guard_that_fails_is_told_of_its_own_component() -> None:
    made = Layout("guards", "h")
    made.add(Hasty, "other", none=Constant(1.0))
    made.add(Dividing, "D")
    said = refusal(made, (1.0, "D.b", 0.0))
    assert said.startswith("D (Dividing, a guard of its rules) computed something that is no finite number, at 1 h")


def test_an_intervention_that_cannot_be_is_not_blamed_on_a_component() -> None:
    said = refusal(plant(), (1.0, "B.level", 50.0))
    assert said.startswith("an intervention, or the state it began from, put more into B than fits, at 1 min")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("M3.cicle.mean", 2.0, "nothing that can be set is called 'M3.cicle.mean' (did you mean M3.cycle.mean or "),
        ("crew.capasity", 2, "crew.capacity"),
        ("M3.cycle.mean", -1.0, "M3.cycle.mean = -1 (give more than 0)"),
        ("M3.cycle.mean", 0.0, "M3.cycle.mean = 0 (give more than 0)"),
        ("M3.cycle.mean", math.nan, "M3.cycle.mean = nan (give a finite number)"),
        ("M3.speed", -0.5, "M3.speed = -0.5 (give 0 or more)"),
        ("M3.speed", "fast", "M3.speed = 'fast' (give a finite number)"),
        ("M3.health", "broken", "M3.health = 'broken' (one of ('up', 'down'))"),
        ("M3.health", 1.0, "M3.health = 1.0 (one of ('up', 'down'))"),
        ("crew.capacity", 1.5, "crew.capacity = 1.5 (a whole number of units"),
        ("crew.capacity", -1, "crew.capacity = -1 (give 0 or more)"),
        ("B1.capacity", -1.0, "B1.capacity = -1 (give 0 or more)"),
        ("B1.level", -1.0, "B1.level = -1 (give 0 or more)"),
    ],
)
def test_an_intervention_that_is_not_one_is_refused_when_it_is_written(
    name: str, value: float | str, message: str
) -> None:
    with pytest.raises(Misspelt) as refused:
        Names(assemble(line10())).act(1.0, name, value)
    assert message in str(refused.value)


@pytest.mark.parametrize("at", [-1.0, math.nan, math.inf])
def test_an_intervention_has_a_time(at: float) -> None:
    with pytest.raises(Misspelt, match="a finite time from the start, 0 or more"):
        Names(assemble(line10())).act(at, "M3.speed", 1.0)


def test_only_numbers_are_added_to_and_units_come_whole() -> None:
    names = Names(assemble(line10()))
    with pytest.raises(Misspelt, match=r"M3.health \+1.0 \(a state cannot be added to"):
        names.act(1.0, "M3.health", 1.0, more=True)
    with pytest.raises(Misspelt, match="a whole number of units"):
        names.act(1.0, "crew.capacity", 0.5, more=True)


def test_an_unknown_figure_is_told_with_the_nearest() -> None:
    with pytest.raises(Misspelt, match=r"no figure is called 'part' \(did you mean parts or "):
        Names(assemble(line10())).reading("part")


def test_a_crew_that_shrinks_below_what_is_lent_takes_none_back() -> None:
    line = line10()
    ours, reference = outcomes(
        line, 480.0, acts=acts_of(line, [(100.0, "crew.capacity", 0), (200.0, "crew.capacity", 1)])
    )
    assert ours == reference
    assert not ours.said


# --- SimPy only ------------------------------------------------------------------------------------------------------


class Clumsy(Component):
    """Runs on SimPy only, and is wrong there."""

    x = Var(0)

    @command
    def adds_words(self) -> None:
        self.x = "five"  # type: ignore[assignment]

    @command
    def asks_for_more(self) -> None:
        self.x = [1.0][int(self.x) + 3]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("adds_words", "computed something that is no finite number"),
        ("asks_for_more", "failed: IndexError: list index out of range"),
    ],
)
def test_a_handler_that_python_refuses_is_told_with_its_place(name: str, why: str) -> None:
    made = Layout()
    made.add(Clumsy, "C")
    run = Interpreter(assemble(made), acts=acts_of(made, [(1.0, f"C.{name}", 0.0)]))
    with pytest.raises(Fault) as stopped:
        run.run(5.0)
    assert re.match(rf"C \(Clumsy\.{name}, \S+test_component_errors\.py:\d+\) ", str(stopped.value))
    assert why in str(stopped.value)
