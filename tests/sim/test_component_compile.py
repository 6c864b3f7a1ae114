"""What the kernel cannot run: told with file, line and what to write instead; SimPy runs it all the same."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator

import numpy as np
import pytest

from sim.component_type import component_type
from sim.kernel.assembly import assemble
from sim.kernel.compiler import kernel_of
from sim.kernel.interpreter import Interpreter
from sim.kernel.translation import CannotCompile
from sim.layout import Layout
from sim.spec import (
    Buffer,
    Component,
    Constant,
    Hazard,
    Misspelt,
    Param,
    Port,
    State,
    Timer,
    Var,
    at_start,
    on,
    process,
    when,
)
from tests.sim.kernels import Types, outcomes

LIMIT = 5.0


def listed(x: float) -> float:
    return sum([x, 1.0])


def drawn(x: float) -> float:
    return x * random.random()


def drawn_by_numpy(x: float) -> float:
    return x * np.random.random()


def may_end(x: float) -> float:  # type: ignore[return]
    if x > 1:
        return 1.0


def half_named(x: float) -> float:
    if x > 1:
        y = 2.0
    return y


def takes_any(*x: float) -> float:
    return x[0]


def ors(x: float) -> float:
    return x or 2.0


def twice(x: float) -> float:
    return 2.0 * x


def of_another(x: float) -> float:
    return twice(x)


class Plain(Component):
    """What the wrong ones begin with."""

    x, y = Var(0), Param(3.0)
    chance, health = Constant(1.0), State("up", "down")
    parts = Port(Buffer)


class Whiles(Plain):
    @at_start
    def begin(self) -> None:
        while self.x < 5:
            self.x += 1


class Lists(Plain):
    @at_start
    def begin(self) -> None:
        for each in [1.0, 2.0]:
            self.x += each


class Ranges(Plain):
    @at_start
    def begin(self) -> None:
        for k in range(2, 5):
            self.x += k


class Tries(Plain):
    @at_start
    def begin(self) -> None:
        try:
            self.x = 1
        finally:
            self.x = 2


class Returns(Plain):
    @at_start
    def begin(self) -> None:
        if self.x == 0:
            return
        self.x = 1


class Prints(Plain):
    @at_start
    def begin(self) -> None:
        print("begins")


class Words(Plain):
    @at_start
    def begin(self) -> None:
        name = "begin"
        self.x = len(name)


class Undeclared(Plain):
    @at_start
    def begin(self) -> None:
        self.total = 5.0


class Named(Plain):
    @at_start
    def begin(self) -> None:
        self.x = pow(base=2.0, exp=3.0)


class Several(Plain):
    @at_start
    def begin(self) -> None:
        self.x, z = 1.0, 2.0
        self.x += z


class StateAsNumber(Plain):
    @at_start
    def begin(self) -> None:
        before = self.health
        self.health = "down"
        self.x = 1.0 if before == "up" else 0.0


class StateFromName(Plain):
    @at_start
    def begin(self) -> None:
        self.health = "up" if self.x > 0 else "down"


class NoSuchState(Plain):
    @at_start
    def begin(self) -> None:
        if self.health == "broken":
            self.x = 1.0


class HalfNamed(Plain):
    @at_start
    def begin(self) -> None:
        if self.y > 1:
            much = 2.0
        self.x = much


class Gamma(Plain):
    @at_start
    def begin(self) -> None:
        self.x = math.gamma(5.0)


class TwoOfSqrt(Plain):
    @at_start
    def begin(self) -> None:
        if self.x > 1:
            self.x = math.sqrt(2.0, 3.0)  # type: ignore[call-arg]


class RoundsDigits(Plain):
    @at_start
    def begin(self) -> None:
        self.x = round(self.y / 7, 2)


class MinOfOne(Plain):
    @at_start
    def begin(self) -> None:
        self.x = min([self.y, 2.0])


class Chained(Plain):
    @at_start
    def begin(self) -> None:
        if 0.5 < self.chance.draw() < 2.0:
            self.x = 1.0


class Bits(Plain):
    @at_start
    def begin(self) -> None:
        self.x = 6 & 3


class WrongArity(Plain):
    @at_start
    def begin(self) -> None:
        if self.x > 1:
            self.x = twice(1.0, 2.0)  # type: ignore[call-arg]


class NoOperation(Plain):
    @at_start
    def begin(self) -> None:
        if self.x > 1:
            self.parts.pour(1.0)


class NoReading(Plain):
    @at_start
    def begin(self) -> None:
        if self.x > 1:
            self.x = self.parts.flow


class NoChance(Plain):
    wait = Timer()

    @at_start
    def begin(self) -> None:
        if self.x > 1:
            self.wait.start()

    @on(wait)
    def waited(self) -> None:
        self.x = 2.0


class CallsRandom(Plain):
    @at_start
    def begin(self) -> None:
        self.x = drawn(1.0)


class CallsNumpyRandom(Plain):
    @at_start
    def begin(self) -> None:
        self.x = drawn_by_numpy(1.0)


class CallsOther(Plain):
    @at_start
    def begin(self) -> None:
        self.x = of_another(1.0)


class CallsEndless(Plain):
    @at_start
    def begin(self) -> None:
        self.x = may_end(3.0)


class CallsHalfNamed(Plain):
    @at_start
    def begin(self) -> None:
        self.x = half_named(3.0)


class CallsAny(Plain):
    @at_start
    def begin(self) -> None:
        self.x = takes_any(3.0)


class CallsOrs(Plain):
    @at_start
    def begin(self) -> None:
        self.x = ors(3.0)


class OrsNumbers(Plain):
    @at_start
    def begin(self) -> None:
        self.x = self.x or 2.0


class Infinite(Plain):
    @at_start
    def begin(self) -> None:
        self.x = min(math.inf, 5.0)


class CallsListing(Plain):
    @at_start
    def begin(self) -> None:
        self.x = listed(1.0)


class Lives(Plain):
    @process
    def life(self, env) -> Iterator[object]:  # type: ignore[no-untyped-def]
        yield env.timeout(1.0)
        self.x = 1.0


def is_late(lateness: Lateness) -> bool:
    return lateness.x < 1


class Lateness(Plain):
    @when(is_late)
    def late(self) -> None:
        self.x = 1.0


REASONS = {
    Whiles: "begin: a statement While cannot be compiled (use if/else, for … in range(…)",
    Lists: "begin: a loop over something else than range(n) (for k in range(n): …)",
    Ranges: "begin: a loop over something else than range(n)",
    Tries: "begin: a statement Try cannot be compiled",
    Returns: "begin: a statement Return cannot be compiled",
    Prints: "begin: print('begins') is no operation of a field",
    Words: "begin: 'begin' stands where a number should (compare States with their names)",
    Named: "begin: arguments by name (give them by place)",
    Several: "begin: ",
    StateAsNumber: 'begin: the state health stands where a number should (compare it with a name: self.health == "up")',
    StateFromName: "begin: health becomes 'up' if self.x > 0 else 'down' (one of ('up', 'down'))",
    HalfNamed: "begin: much may have no value here (give it one before the if or the loop)",
    Gamma: "begin: math.gamma cannot be compiled (one of sqrt, exp, log",
    TwoOfSqrt: "begin: math.sqrt of 2 arguments (give 1)",
    RoundsDigits: "begin: round() of 2 arguments (give one number)",
    MinOfOne: "begin: List cannot be compiled",
    Chained: "begin: a call in the middle of two comparisons (give its value a local name first)",
    Bits: "begin: operator BitAnd cannot be compiled (+ - * / // % **)",
    WrongArity: "begin: twice takes 1 arguments, not 2",
    NoOperation: "begin: parts has no pour(…) (it has ['pop', 'push', 'put', 'take'])",
    NoReading: "begin: self.parts.flow cannot be read (of parts there is connected, first, level, space)",
    NoChance: "begin: wait has no distribution (start it with a time)",
    CallsEndless: "the function may_end may end without a value (let every way end with return)",
    CallsHalfNamed: "the function half_named: y may have no value here (give it one before the if or the loop)",
    CallsAny: "the function takes_any takes more than arguments by place (write def name(x, y): …)",
    CallsOrs: "the function ors: and, or stand where a number should (write a if a else b)",
    OrsNumbers: "begin: and, or stand where a number should (write a if a else b)",
    Infinite: "begin: inf is no finite number",
    CallsOther: "the function of_another: it uses twice (a function of a component may use numbers and math only)",
    CallsListing: "the function listed: [x, 1.0] cannot be compiled (numbers, if, while",
    Lives: "Lives.life is a SimPy process (it runs on the SimPy backend)",
    Lateness: "the guard of Lateness.late is no lambda of one thing (@when(lambda m: …))",
}
PLACELESS = (Lives, Lateness)


@pytest.mark.parametrize("cls", REASONS, ids=lambda cls: cls.__name__)
def test_what_cannot_be_compiled_says_where_why_and_what_instead(cls: type[Component]) -> None:
    with pytest.raises(CannotCompile) as refused:
        kernel_of((component_type(cls),))
    said = str(refused.value)
    assert REASONS[cls] in said
    if cls not in PLACELESS:
        assert re.match(r"\S+test_component_compile\.py:\d+: ", said), said


@pytest.mark.parametrize("cls", REASONS, ids=lambda cls: cls.__name__)
def test_simpy_runs_it_all_the_same(cls: type[Component]) -> None:
    plant = Layout()
    plant.add(cls, "X", parts=plant.buffer("B"))
    run = Interpreter(assemble(plant))
    run.run(5.0)
    assert run.world.now == 5.0


# --- what can never be right -----------------------------------------------------------------------------------------


class Miscounted(Plain):
    @at_start
    def begin(self) -> None:
        self.cuts += 1  # type: ignore[attr-defined]


class NoSuchGuard(Plain):
    @when(lambda m: m.health == "UP")
    def tell(self) -> None:
        self.x = 1.0


class SetsTheMean(Plain):
    @at_start
    def begin(self) -> None:
        self.chance.mean = 100.0  # type: ignore[attr-defined]


class Unheard(Plain):
    each = Constant(1.0)
    next = Hazard(each)


class UnheardTimer(Plain):
    wait = Timer()

    @at_start
    def begin(self) -> None:
        self.wait.start(1.0)


CERTAIN: dict[type[Component], str] = {
    Undeclared: "begin: 'total' is declared nowhere (declare it: total = Var(0))",
    Miscounted: "begin: 'cuts' is declared nowhere (declare it: cuts = Var(0))",
    NoSuchState: "begin: health has no state 'broken' (one of ('up', 'down'))",
    NoSuchGuard: "tell: health has no state 'UP' (one of ('up', 'down'))",
    SetsTheMean: "begin: self.chance.mean cannot be set (a scenario sets it: name.chance.mean=",
    CallsRandom: "begin: random.random() differs from run to run, whatever the seed (declare a distribution",
    CallsNumpyRandom: "begin: np.random.random() differs from run to run, whatever the seed",
    Unheard: "Unheard.next fires and nothing follows (write a handler @on(next))",
    UnheardTimer: "UnheardTimer.wait fires and nothing follows (write a handler @on(wait))",
}


@pytest.mark.parametrize("cls", CERTAIN, ids=lambda cls: cls.__name__)
def test_what_can_never_be_right_is_refused_when_it_is_added(cls: type[Component]) -> None:
    plant = Layout()
    with pytest.raises(Misspelt, match=re.escape(CERTAIN[cls])):
        plant.add(cls, "X", parts=plant.buffer("B"))


# --- what looks dangerous and is compiled ----------------------------------------------------------------------------


K = 3.0


def with_module_number(x: float) -> float:
    return K * x


def closed_over(much: float):  # type: ignore[no-untyped-def]
    K = much

    def with_own_number(x: float) -> float:
        return K * x

    return with_own_number


with_own_number, nine_times = closed_over(7.0), closed_over(9.0)


def gathers(n: float) -> float:
    total, k = 0.0, 0
    while k < n:
        total += k % 3
        total /= 1.5
        k += 1
    for each in range(1, 4):
        if each == 2:
            continue
        total, k = total + each // 2, total
        if total > 1e6:
            return -1.0
    if total < 0 or not k:
        return math.pi
    elif n > 100:
        part = int(-n / 3)
    else:
        part = round(n / 2) ** 2
    return total + part + abs(-n) + min(n, 3, 5.5) + math.floor(-0.5) + (1 < k < 9) + (k if k > 2 else -k)


class Able(Component):
    """Uses whatever may be used, in the ways that backends could take differently."""

    HALF = 0.5
    size = Param(7.0)
    a, b, c, d, e = Var(0), Var(0), Var(0), Var(0), Var(0)
    f, g, rest, whole = Var(0), Var(0), Var(0), Var(0)
    chance = Constant(1.0)
    tick = Timer(chance)

    @at_start
    def begin(self) -> None:
        much = self.size / 3 if self.size > 5 else 0.0
        self.a = with_module_number(much) + with_own_number(much) + gathers(self.size)
        self.b = round(self.size / 2) + int(-self.size / 2) + math.floor(-2.5)
        self.c = -self.size // 2 + (-self.size % 3) + self.size % -3
        self.d = (2**-1) + self.size**0.5 + math.pow(self.size, 3)
        for k in range(self.size):  # type: ignore[arg-type]
            if k == 2:
                continue
            if k == 5:
                break
            self.e += k * self.HALF
        self.f = not self.size > 3
        self.g = 1 < self.size < 8 and self.size != 6
        self.rest = min(self.size, LIMIT, 9.0) - max(-1.0, abs(-LIMIT))
        if self.size < 0:
            low = 0.0
        else:
            low = self.size
            self.f += low
        self.whole = low


class Shares(Component):
    """Calls what another component calls, and another function of that name."""

    x = Var(0)

    @at_start
    def begin(self) -> None:
        self.x = gathers(2.0) + with_own_number(1.0) + nine_times(1.0)


class Machine(Component):
    """Called like a shipped one; both may be in one plant."""

    x = Var(0)

    @at_start
    def begin(self) -> None:
        self.x = 5.0


def test_what_backends_could_take_differently_they_take_alike() -> None:
    kinds: Types = (component_type(Able), component_type(Shares))
    plant = Layout()
    plant.add(Able, "A")
    plant.add(Able, "B", size=12.5)
    plant.add(Shares, "C")
    ours, reference = outcomes(plant, 5.0, types=kinds)
    assert ours == reference
    assert not ours.said
    assert ours.numbers == reference.numbers
    assert reference.numbers[-1] == pytest.approx(gathers(2.0) + 16.0)
    assert reference.numbers[1] == pytest.approx(10 * 7 / 3 + gathers(7.0))


def test_two_types_of_one_name_stay_two() -> None:
    from sim.components import line

    kinds: Types = tuple(map(component_type, (line.Machine, Machine)))
    plant = Layout()
    plant.add(Machine, "mine")
    plant.add(line.Machine, "theirs", inp=plant.buffer("in", level=9), out=plant.buffer("out"))
    ours, reference = outcomes(plant, 5.0, types=kinds)
    assert ours == reference
    assert len({c for _, c, _ in ours.trace}) == 2
