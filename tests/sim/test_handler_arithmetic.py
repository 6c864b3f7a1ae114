"""Handlers and functions written at random: the kernel computes what Python computes, to the last bit, or both refuse."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim.component_type import component_type
from sim.layout import Layout
from tests.sim.kernels import acts_of, outcomes
from tests.sim.probe import compiled_functions

NUMBERS = ("0", "1", "2", "-3", "0.5", "-0.0", "7", "1e-3", "-2.25", "1e9", "10.0", "0.1")
SETTINGS = ((0.0, 1.0), (2.5, -3.0), (-7.0, 0.3), (1e12, 1e-9))
HANDLERS, FUNCTIONS = 25, 6
HEAD = """import math

from sim.spec import Component, Param, Var, command

LIMIT = 3.5
"""


class Author:
    """Writes expressions and statements; `names` are what has a value."""

    def __init__(self, chance: random.Random, names: list[str], calls: int) -> None:
        self.chance, self.names, self.calls = chance, names, calls

    def expression(self, depth: int) -> str:
        kind = self.chance.randrange(13) if depth else 0
        a = self.expression(depth - 1) if kind > 1 else ""
        b = self.expression(depth - 1) if kind > 1 else ""
        if kind <= 1:
            return self.chance.choice([*self.names, *self.names, *NUMBERS])
        if kind > 5 or self.chance.random() < 0.9:  # mostly such that Python goes on
            b = f"(abs({b}) + 0.5)" if kind in (4, 5) else b
            a = f"min(abs({a}) + 0.5, 30.0)" if kind in (6, 8) else a
        if kind <= 3:
            return f"({a} {self.chance.choice('+-*')} {b})"
        if kind <= 5:
            return f"({a} {self.chance.choice(['/', '//', '%'])} {b})"
        if kind == 6:
            return f"(float(abs({a})) ** min({b}, 9.0))"
        if kind == 7:
            return f"{self.chance.choice(['min', 'max'])}({a}, {b})"
        if kind == 8:
            word = self.chance.choice(
                ["sqrt", "exp", "log", "sin", "cos", "tan", "atan", "tanh", "floor", "ceil", "fabs"]
            )
            return f"math.{word}({a})"
        if kind == 9:
            return f"{self.chance.choice(['int', 'round'])}(min(max({a}, -1e6), 1e6))"
        if kind == 10:
            return f"(-{a})"
        if kind == 11 and self.calls:
            return f"f{self.chance.randrange(self.calls)}({a}, {b})"
        return f"({a} if {self.test(depth - 1)} else {b})"

    def test(self, depth: int) -> str:
        a, b, c = (self.expression(depth) for _ in range(3))
        sign = self.chance.choice(["<", "<=", ">", ">=", "==", "!="])
        form = self.chance.choice(
            ["{a} {s} {b}", "{a} {s} {b} and {b} {s} {c}", "not {a} {s} {b}", "{a} or {c} {s} {b}"]
        )
        return f"({form.format(a=a, b=b, c=c, s=sign)})"

    def statements(self, depth: int, indent: str, count: int) -> list[str]:
        lines = []
        for _ in range(count):
            kind = self.chance.randrange(4) if depth else 0
            if kind <= 1:
                name = f"v{self.chance.randrange(4)}"
                lines.append(f"{indent}{name} = {self.expression(2)}")
                self.names = [*self.names, name]
            elif kind == 2:
                known = list(self.names)
                lines.append(f"{indent}if {self.test(1)}:")
                lines += self.statements(depth - 1, indent + "    ", 2)
                self.names = list(known)
                lines.append(f"{indent}else:")
                lines += self.statements(depth - 1, indent + "    ", 2)
                self.names = known
            else:
                known = list(self.names)
                lines.append(f"{indent}for k in range({self.chance.randrange(5)}):")
                self.names = [*known, "k"]
                lines += self.statements(depth - 1, indent + "    ", 2)
                if self.chance.random() < 0.5:
                    word = self.chance.choice(["break", "continue"])
                    lines += [f"{indent}    if {self.test(1)}:", f"{indent}        {word}"]
                self.names = known
        return lines


def written(seed: int) -> str:
    chance = random.Random(seed)
    lines = [HEAD]
    for number in range(FUNCTIONS):
        author = Author(chance, ["x", "y", "LIMIT"], 0)
        lines += [f"def f{number}(x, y):", *author.statements(2, "    ", 3), f"    if {author.test(1)}:"]
        lines += [f"        return {author.expression(2)}", f"    return {author.expression(3)}", ""]
    lines += ["class Written(Component):", "    a, b, x = Param(1.0), Param(1.0), Var(0)", ""]
    for number in range(HANDLERS):
        author = Author(chance, ["self.a", "self.b", "LIMIT"], FUNCTIONS)
        lines += ["    @command", f"    def h{number}(self):", *author.statements(2, "        ", 3)]
        lines += [f"        self.x = {author.expression(4)}", ""]
    return "\n".join(lines)


def module_of(path: Path, text: str) -> ModuleType:
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(2))
def test_handlers_compute_alike(seed: int, tmp_path: Path) -> None:
    cls = module_of(tmp_path / f"written_{seed}.py", written(seed)).Written
    computed = refused = 0
    for number in range(HANDLERS):
        for a, b in SETTINGS:
            plant = Layout()
            plant.add(cls, "W", a=a, b=b)
            acts = acts_of(plant, [(1.0, f"W.h{number}", 0.0)])
            ours, reference = outcomes(plant, 2.0, acts=acts, types=(component_type(cls),))
            assert ours.said == reference.said, f"h{number} of {a}, {b}"
            refused += ours.said != ""
            if not ours.said:
                computed += 1
                assert ours.numbers == reference.numbers, f"h{number} of {a}, {b}"
    assert computed > HANDLERS / 2
    assert refused > 0


PROBE = """
def floors(x: float, y: float, found: NDArray[np.float64]) -> None:
    found[0] = x // y

def rests(x: float, y: float, found: NDArray[np.float64]) -> None:
    found[0] = x % y
"""


@cache
def kernel() -> dict[str, Callable[..., None]]:
    return compiled_functions(PROBE)


def compiled(name: str, x: float, y: float) -> str:
    found = np.empty(1)
    kernel()[name](x, y, found)
    return float(found[0]).hex()


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(finite, finite.filter(bool))
@example(-0.0, 5.0)
@example(5.0, -1e-300)
@example(-1.0, 3.0)
@example(6.0, -2.0)
@example(1e300, 1e-300)
def test_division_towards_minus_infinity_is_pythons(x: float, y: float) -> None:
    assert compiled("floors", x, y) == (x // y).hex()
    assert compiled("rests", x, y) == (x % y).hex()


def test_whole_numbers_are_doubles_on_both(tmp_path: Path) -> None:
    text = """import math
from sim.spec import Component, Var, at_start, when

SEED = 12345
def turned(n):
    found = 7
    for k in range(2, n):
        found = found * 31 + k
    return found ** 3

class Whole(Component):
    N = 2**61
    x, y, z, done = Var(0), Var(0), Var(0), Var(0)

    @at_start
    def begin(self):
        k = int(SEED)
        for j in range(40):
            k = (k * 1103515245 + 12345) % 2147483648 + j
        self.x = k
        self.y = turned(20) + 3**40 % 1000 + math.floor(1e15 + 0.3) * 9007199254740993

    @when(lambda m: m.done == 0 and m.N * m.N % 7 + 9007199254740993 - 9007199254740992 == 4)
    def tell(self):
        self.done = 1
        self.z = (self.x > 3) + (self.y > 2)
        for k in range(70):
            b = self.z > 0
            self.z += b + b
"""
    cls = module_of(tmp_path / "whole.py", text).Whole
    plant = Layout()
    plant.add(cls, "W")
    ours, reference = outcomes(plant, 2.0, types=(component_type(cls),))
    assert ours == reference
    assert ours.said == ""
    assert ours.numbers[0] != 1103527590.0
    assert (2.0**61 * 2.0**61 % 7 + 0.0 == 4.0) == (ours.numbers[3] == 1.0)


def test_a_function_without_end_stops_on_both(tmp_path: Path) -> None:
    text = """from sim.spec import Component, Var, at_start

def settle(x):
    while x > 0.5:
        x = x + 1.0
    return x

class Endless(Component):
    x = Var(0)

    @at_start
    def begin(self):
        self.x = settle(1.0)
"""
    cls = module_of(tmp_path / "endless.py", text).Endless
    plant = Layout()
    plant.add(cls, "E")
    ours, reference = outcomes(plant, 2.0, types=(component_type(cls),))
    assert ours.said == reference.said
    assert "began a loop" in ours.said
