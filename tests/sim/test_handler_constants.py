"""Small handlers of constants: what a compiler works out by itself must be what Python works out, to the last bit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.component_type import component_type
from sim.kernel.compiler import program_of
from sim.kernel.program import OWN, SYMBOL
from sim.kernel.translation import translate
from sim.layout import Layout
from sim.spec import Component, Var, command
from tests.sim.kernels import acts_of, outcomes
from tests.sim.test_handler_arithmetic import module_of

PAIRS = (
    (5, 3),
    (-1, 4),
    (18, 24),
    (-7.5, 2),
    (7, -2.5),
    (0, 3),
    (2, 0.5),
    (3, 40),
    (1e300, 7),
    (1103515245, 2147483648),
)
OPERATORS = ("+", "-", "*", "/", "//", "%", "**")
ONE = ("abs", "int", "round", "float", *(f"math.{word}" for word in (
    "sqrt", "exp", "log", "sin", "cos", "tan", "atan", "tanh", "floor", "ceil", "fabs"
)))  # fmt: skip
TWO = ("min", "max", "math.pow")
COMPARES = ("<", "<=", ">", ">=", "==", "!=")


def forms(a: str, b: str) -> Iterator[str]:
    """Every operator and every function of two operands."""
    yield from (f"{a} {sign} {b}" for sign in OPERATORS)
    yield from (f"{word}({a})" for word in ONE)
    yield from (f"{word}({a}, {b})" for word in TWO)
    yield from (f"1 if {a} {sign} {b} else 0" for sign in COMPARES)
    yield from (f"({a} < {b}) + ({b} == {b})", f"-({a} < {b})", f"(-{a})", f"({a} if {b} else 4) * {a}")
    yield from (f"{a} * {b} + {a} % 2147483648", f"int({a}) * int({a}) * 1103515245 % 1000", f"3 ** 40 % 1000 + {a}")


OPERANDS = (
    ("{a!r}", "{b!r}"), ("A{n}", "B{n}"), ("self.K{n}", "self.L{n}"), ("same(A{n})", "same(self.L{n})"), ("A{n}", "self.L{n}"),
)  # fmt: skip


def written(sort: int) -> tuple[str, list[str]]:
    """A module with one handler for each form, of operands of one sort; their texts.

    Each operator stands there once: a compiler inlines what is called once, and works it out.
    """
    every = list(enumerate(forms("x", "y")))
    lines = ["import math", "", "from sim.spec import Component, Var, command", "", "def same(x):", "    return x", ""]
    lines += [f"A{n}, B{n} = {a!r}, {b!r}" for n, (a, b) in enumerate(PAIRS)]
    lines += [line for n, form in every for line in (f"def f{n}(x, y):", f"    return {form}", "")]
    lines += ["class Constants(Component):", "    x = Var(0)"]
    lines += [f"    K{n}, L{n} = {a!r}, {b!r}" for n, (a, b) in enumerate(PAIRS)]
    said = []
    for number, _ in every:
        n = (number + sort) % len(PAIRS)
        a, b = (text.format(a=PAIRS[n][0], b=PAIRS[n][1], n=n) for text in OPERANDS[sort])
        said.append(list(forms(a, b))[number] if sort < len(OPERANDS) - 1 else f"f{number}({a}, {b})")
        lines += ["    @command", f"    def h{number}(self):", f"        self.x = {said[-1]}", ""]
    return "\n".join(lines), said


@pytest.mark.parametrize("sort", range(len(OPERANDS)))
def test_constants_are_worked_out_as_python_does(sort: int, tmp_path: Path) -> None:
    text, said = written(sort)
    cls = module_of(tmp_path / f"constants_{sort}.py", text).Constants
    plant = Layout()
    plant.add(cls, "C")
    acts = acts_of(plant, [(1.0, f"C.h{number}", 0.0) for number, _ in enumerate(said)])
    computed = 0
    for act, form in zip(acts, said, strict=True):
        ours, reference = outcomes(plant, 2.0, acts=[act], types=(component_type(cls),))
        assert ours.said == reference.said, form
        assert [x.hex() for x in ours.numbers] == [x.hex() for x in reference.numbers], form
        computed += not ours.said
    assert computed > len(said) / 2


class Rest(Component):
    """One remainder in all."""

    x = Var(0)

    @command
    def tell(self) -> None:
        self.x = 5 % 3


def test_one_remainder_of_two_constants_is_pythons() -> None:
    plant = Layout()
    plant.add(Rest, "R")
    ours, reference = outcomes(plant, 2.0, acts=acts_of(plant, [(1.0, "R.tell", 0.0)]), types=(component_type(Rest),))
    assert ours.numbers == reference.numbers == [2.0]


def test_no_function_of_a_kernel_can_be_taken_for_one_of_cs() -> None:
    text = program_of([translate(component_type(Rest), "step_0_Rest")])
    names = re.findall(r'^(?:define|declare) .*? @"?([^"(]+)"?\(', text, re.MULTILINE)
    assert "." in OWN
    assert len(names) > 50
    assert [n for n in names if not n.startswith((OWN, SYMBOL, "llvm."))] == []
