"""A user's own function as the kernel takes it: numbers only, a fault where Python would raise; must not print or compile.

It is handed the world, so that 1 / 0 in it stops the run as it stops Python. What is not in the cases below is refused
when the plant is loaded: what is printed from here must not be able to do anything but compute.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sim.kernel.subset import (
    ARGUMENTS,
    CHECKED,
    COMPARES,
    MATH,
    PLAIN_CALLS,
    WHOLE_CALLS,
    truthful,
)
from sim.kernel.syntax import parsed
from sim.kernel.translation import CannotCompile

OPERATORS = {**CHECKED, ast.Pow: "math_pow"}
PLAIN = (ast.Add, ast.Sub, ast.Mult)
ADVICE = "numbers, if, while, for … in range(…), return, min, max, abs and math; it runs on the SimPy backend as it is"


def own_function(name: str, function: Callable[..., Any]) -> ast.FunctionDef:
    """The function, called `name`, in the rules' restricted Python; it calls nothing else of the user's.

    Raises:
        CannotCompile: it holds something else than computing with numbers; the message says where and why.
    """
    file, first = inspect.getsourcefile(function), function.__code__.co_firstlineno
    try:
        tree = parsed(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError) as missing:
        raise CannotCompile(
            f"the function {function.__name__} has no text of its own", "write def, in a file"
        ) from missing
    place = f"{file}:{first}: the function {function.__name__}"
    if not isinstance(tree, ast.FunctionDef):
        raise CannotCompile(f"{place} is no plain function", "write def name(x): …")
    given = tree.args
    if given.vararg or given.kwarg or given.kwonlyargs:
        raise CannotCompile(f"{place} takes more than arguments by place", "write def name(x, y): …")
    closure = inspect.getclosurevars(function)
    own = _Own(function.__name__, f"{file}", first - 1, {**closure.globals, **closure.nonlocals})
    own.known = {a.arg for a in (*given.posonlyargs, *given.args)}
    body = own.block(tree.body)
    if not own.left:
        raise CannotCompile(f"{place} may end without a value", "let every way end with return")
    world = ast.arg("w", ast.Name("World"))
    floats = [ast.arg(f"v_{a.arg}", ast.Name("float")) for a in (*given.posonlyargs, *given.args)]
    made = ast.FunctionDef(
        name=name, args=ast.arguments([], [world, *floats], None, [], [], None, []), body=[*TURNS, *body],
        decorator_list=[], returns=ast.Name("float"),
    )  # fmt: skip
    # Through its text: places in the user's file would mean nothing there.
    printed = parsed(ast.unparse(ast.fix_missing_locations(made))).body[0]
    assert isinstance(printed, ast.FunctionDef)
    return printed


TURNS = parsed("turns = 0").body
TURN = parsed("""
turns += 1
if turns > CALL_TURNS_MAX:
    fail(w, TURNS_WITHOUT_END, 0)
    return 0.0
""").body


class _Own:
    """Goes through a function once.

    Attributes:
        known: names that have a value on every way to here.
        left: whether every way to here has returned, or gone on with a loop.
    """

    def __init__(self, name: str, file: str, offset: int, names: Mapping[str, object]) -> None:
        self._name, self._file, self._offset, self._names = name, file, offset, names
        self.known: set[str] = set()
        self.left = False

    def bad(self, node: ast.AST, why: str, fix: str = ADVICE) -> CannotCompile:
        place = f"{self._file}:{self._offset + getattr(node, 'lineno', 1)}"
        return CannotCompile(f"{place}: the function {self._name}: {why}", fix)

    # --- statements --------------------------------------------------------------------------------------------------

    def block(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        return [made for node in body for made in self.statement(node)] or [ast.Pass()]

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        match node:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                return []
            case ast.Break() | ast.Continue():
                self.left = True
                return [node]
            case ast.Return(value=ast.expr() as value):
                made = ast.Return(self.expression(value))
                self.left = True
                return [made]
            case ast.Assign(targets=[ast.Name() as target]):
                return [self.store(target.id, self.expression(node.value))]
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                if len(targets) == len(values) and all(isinstance(t, ast.Name) for t in targets):
                    return self.together([t.id for t in targets if isinstance(t, ast.Name)], values)
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                return [self.store(target.id, self.expression(value))]
            case ast.AugAssign(target=ast.Name() as target):
                return [self.store(target.id, self.binary(node, self.name(node, target.id), node.op, node.value))]
            case ast.If():
                return [self.branch(node)]
            case ast.While(orelse=[]):
                test = self.test(node.test)
                return [ast.While(test, [*TURN, *self.turned(node.body)], [])]
            case ast.For(target=ast.Name() as target, iter=ast.Call(func=ast.Name(id="range")) as counted, orelse=[]):
                return [self.loop(target.id, counted, node.body)]
        raise self.bad(node, f"a statement {type(node).__name__} cannot be compiled")

    def store(self, name: str, value: ast.expr) -> ast.stmt:
        self.known.add(name)
        return ast.Assign([ast.Name(f"v_{name}", ast.Store())], value)

    def together(self, names: Sequence[str], values: Sequence[ast.expr]) -> list[ast.stmt]:
        """All values are computed before the first name changes."""
        held = [
            ast.Assign([ast.Name(f"held_{n}", ast.Store())], self.expression(v))
            for n, v in zip(names, values, strict=True)
        ]
        return [*held, *(self.store(n, ast.Name(f"held_{n}", ast.Load())) for n in names)]

    def branch(self, node: ast.If) -> ast.stmt:
        test, before = self.test(node.test), set(self.known)
        ways = []
        for body in (node.body, node.orelse):
            self.known, self.left = set(before), False
            ways.append((self.block(body), self.known, self.left))
        (yes, known, left), (no, others, gone) = ways
        # What a way that has left did not name, nobody misses.
        self.known = known if gone else others if left else known & others
        self.left = left and gone
        return ast.If(test, yes, no)

    def turned(self, body: Sequence[ast.stmt], *, named: str | None = None) -> list[ast.stmt]:
        """The body of a loop, which may run not even once."""
        before = set(self.known)
        self.known |= {named} if named else set()
        made = self.block(body)
        self.known, self.left = before, False
        return made

    def loop(self, name: str, counted: ast.Call, body: Sequence[ast.stmt]) -> ast.stmt:
        if counted.keywords or not 1 <= len(counted.args) <= 2:
            raise self.bad(counted, "a range of other than one or two numbers")
        ends = [_checked("counted", self.expression(a)) for a in counted.args]
        each = ast.Assign([ast.Name(f"v_{name}", ast.Store())], _call("float", ast.Name(f"k_{name}", ast.Load())))
        inner = self.turned(body, named=name)
        return ast.For(ast.Name(f"k_{name}", ast.Store()), _call("range", *ends), [*TURN, each, *inner], [])

    # --- expressions -------------------------------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.Constant(value=bool()):
                return node
            case ast.Constant(value=int() | float() as number):
                return ast.Constant(float(number))
            case ast.Name():
                return self.name(node, node.id)
            case ast.Attribute(value=ast.Name(id=module)) if self._names.get(module) is math:
                constant = getattr(math, node.attr, None)
                if isinstance(constant, float) and math.isfinite(constant):
                    return ast.Constant(constant)
            case ast.BinOp():
                return self.binary(node, self.expression(node.left), node.op, node.right)
            case ast.UnaryOp(op=ast.USub()):
                return ast.UnaryOp(ast.USub(), _call("float", self.expression(node.operand)))
            case ast.UnaryOp(op=ast.UAdd()):
                return self.expression(node.operand)
            case ast.UnaryOp(op=ast.Not()):
                return ast.UnaryOp(ast.Not(), self.test(node.operand))
            case ast.BoolOp():
                if not truthful(node):
                    raise self.bad(node, "and, or stand where a number should", "write a if a else b")
                return self.test(node)
            case ast.IfExp():
                return ast.IfExp(self.test(node.test), self.expression(node.body), self.expression(node.orelse))
            case ast.Compare():
                if all(type(op) in COMPARES for op in node.ops):
                    return ast.Compare(
                        self.expression(node.left), node.ops, [self.expression(c) for c in node.comparators]
                    )
            case ast.Call():
                return self.call(node)
        raise self.bad(node, f"{ast.unparse(node)} cannot be compiled")

    def test(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.BoolOp):
            return ast.BoolOp(node.op, [self.test(part) for part in node.values])
        return self.expression(node)

    def name(self, node: ast.AST, name: str) -> ast.expr:
        if name in self.known:
            return ast.Name(f"v_{name}", ast.Load())
        number = self._names.get(name)
        if isinstance(number, int | float) and math.isfinite(number):
            return ast.Constant(float(number))
        if name in self._names:
            raise self.bad(node, f"it uses {name}", "a function of a component may use numbers and math only")
        raise self.bad(node, f"{name} may have no value here", "give it one before the if or the loop")

    def binary(self, node: ast.AST, left: ast.expr, operator: ast.operator, right: ast.expr) -> ast.expr:
        other = self.expression(right)
        if isinstance(operator, PLAIN):
            return ast.BinOp(_call("float", left), operator, other)
        if type(operator) not in OPERATORS:
            raise self.bad(node, f"operator {type(operator).__name__} cannot be compiled", "+ - * / // % **")
        return _checked(OPERATORS[type(operator)], left, other)

    def call(self, node: ast.Call) -> ast.expr:
        given, called = [self.expression(a) for a in node.args if not isinstance(a, ast.Starred)], node.func
        if not node.keywords and len(given) == len(node.args):
            if isinstance(called, ast.Name) and called.id not in self._names and called.id not in self.known:
                if len(given) in PLAIN_CALLS.get(called.id, ()):
                    return _call(called.id, *given)
                if called.id in WHOLE_CALLS and len(given) == 1:
                    return _checked(f"math_{WHOLE_CALLS[called.id]}", *given)
            module = called.value if isinstance(called, ast.Attribute) else None
            of_math = isinstance(module, ast.Name) and self._names.get(module.id) is math
            word = called.attr if of_math and isinstance(called, ast.Attribute) else ""
            if word in MATH and len(given) == ARGUMENTS.get(word, 1):
                return _checked(f"math_{word}", *given)
        if isinstance(called, ast.Name) and called.id in self._names:
            raise self.bad(node, f"it uses {called.id}", "a function of a component may use numbers and math only")
        raise self.bad(node, f"{ast.unparse(node)} cannot be compiled")


def _call(name: str, *given: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(given), [])


def _checked(name: str, *given: ast.expr) -> ast.expr:
    return _call(name, ast.Name("w", ast.Load()), *given)
