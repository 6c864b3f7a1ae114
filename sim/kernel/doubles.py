"""A component's functions as SimPy runs them: the same lines, computed in doubles as the kernel does; must not run them.

Python's whole numbers are exact at any length, the kernel's numbers are doubles. So that both compute the same, a whole number
in the text becomes a float, `int` and `round` and `math.floor` give floats, and loops of functions have the kernel's limit.
Lines and file stay, for tracebacks and debuggers. What the kernel cannot run stays as it is.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from inspect import isfunction
from types import CellType, CodeType, FunctionType
from typing import Any

from sim.kernel import mathematics, rules
from sim.kernel.functions import own_function
from sim.kernel.mathematics import CALL_TURNS_MAX
from sim.kernel.source import Source, source
from sim.kernel.subset import WHOLE_CALLS
from sim.kernel.syntax import compiled, loaded
from sim.kernel.translation import CannotCompile, translate
from sim.kernel.world import World
from sim.spec import ComponentType, Handler

# Names that no user can write.
AS_FLOAT, POWER, LOOP, RANGE, TURNS, ENDLESS = (
    "as a float",
    "power",
    "loop of a handler",
    "range of a",
    "turns",
    "endless",
)
LEFT_WHOLE = ("floor", "ceil", "trunc")  # of math: what gives whole numbers
UNSURE = ("connected", "running")  # attributes that are true or false


class Stopped(Exception):
    """The run has a fault already; the handler need not go on."""


@lru_cache(maxsize=4096)  # types of one process
def compilable(kind: ComponentType) -> bool:
    """Whether the kernel can run the type: only then its numbers are doubles."""
    try:
        for name, function in translate(kind, "step").functions.items():
            own_function(name, function)
    except CannotCompile:
        return False
    return True


def constants(kind: ComponentType) -> dict[str, float]:
    """Whole numbers of the class, as floats."""
    found = {name: getattr(kind.cls, name) for base in kind.cls.__mro__ for name in vars(base)}
    return {name: float(value) for name, value in found.items() if isinstance(value, int)}


@dataclass(slots=True)
class Doubles:
    """Makes the functions of one run.

    Attributes:
        w: the world in which what goes wrong is told.
    """

    w: World

    def handler(self, handler: Handler) -> Callable[..., Any]:
        return self._made(handler.function, _handler_code(handler.function))

    def guard(self, handler: Handler) -> Callable[..., Any]:
        guard = handler.trigger.guard
        assert guard is not None
        return self._made(guard, _guard_code(guard, handler.function))

    def _made(self, function: Callable[..., Any], code: CodeType) -> Callable[..., Any]:
        assert isinstance(function, FunctionType)
        own = {AS_FLOAT: float, POWER: math.pow, LOOP: self._loop, RANGE: self._range, ENDLESS: self._endless}
        known = {n: self._value(function.__globals__[n]) for n in _names(code) if n in function.__globals__}
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        closure = tuple(self._cell(cells[name]) for name in code.co_freevars)
        names = {"__builtins__": function.__globals__["__builtins__"], "__name__": function.__module__, **known, **own}
        return FunctionType(code, names, function.__name__, function.__defaults__, closure)

    def _cell(self, cell: CellType) -> CellType:
        try:
            return CellType(self._value(cell.cell_contents))
        except ValueError:  # it has no value yet
            return cell

    def _value(self, value: Any) -> Any:
        if isinstance(value, int):
            return float(value)
        return self._made(value, _function_code(value)) if isfunction(value) and _is_own(value) else value

    def _loop(self, n: float) -> Iterator[float]:
        return map(float, range(rules.turns(self.w, n)))

    def _range(self, *ends: float) -> Iterator[float]:
        return map(float, range(*(mathematics.counted(self.w, x) for x in ends)))

    def _endless(self) -> None:
        rules.fail(self.w, rules.TURNS_WITHOUT_END, 0)
        raise Stopped


@lru_cache(maxsize=4096)
def _is_own(function: Callable[..., Any]) -> bool:
    """Whether the kernel takes it for a function of the user's own."""
    try:
        own_function(function.__name__, function)
    except CannotCompile:
        return False
    return True


def _names(code: CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, CodeType))
    return set(code.co_names).union(*map(_names, inner))


# --- code ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)  # functions of one process
def _handler_code(function: Callable[..., Any]) -> CodeType:
    text = source(function)
    tree = _Handler(function).visit(deepcopy(text.tree))
    return _code(tree, function, text)


@lru_cache(maxsize=4096)
def _guard_code(guard: Callable[..., Any], function: Callable[..., Any]) -> CodeType:
    text = source(function)
    assert text.guard is not None
    body, me = text.guard
    test = _Handler(guard).visit(deepcopy(body))
    given = ast.arguments([], [ast.arg(me)], None, [], [], None, [])
    tree = ast.FunctionDef(name="guard", args=given, body=[ast.Return(test)], decorator_list=[])
    return _code(ast.copy_location(tree, body), guard, text)


@lru_cache(maxsize=4096)
def _function_code(function: Callable[..., Any]) -> CodeType:
    text = source(function)
    tree = _Function(function).visit(deepcopy(text.tree))
    tree.body.insert(0, ast.Assign([ast.Name(TURNS, ast.Store())], ast.Constant(0)))
    return _code(tree, function, text)


def _code(tree: ast.FunctionDef, function: Callable[..., Any], text: Source) -> CodeType:
    """Of the function alone; around it stands one that has the names of the scopes outside."""
    assert isinstance(function, FunctionType)
    tree.decorator_list, tree.returns = [], None
    for argument in (*tree.args.posonlyargs, *tree.args.args):
        argument.annotation = None
    tree.args.defaults, tree.args.kw_defaults = [], []
    outside = ast.arguments([], [ast.arg(name) for name in function.__code__.co_freevars], None, [], [], None, [])
    around = ast.FunctionDef(name="around", args=outside, body=[tree], decorator_list=[])
    module = ast.fix_missing_locations(ast.Module([around], []))
    ast.increment_lineno(module, text.line - 1)
    (middle,) = (c for c in compiled(module, text.file).co_consts if isinstance(c, CodeType))
    (inner,) = (c for c in middle.co_consts if isinstance(c, CodeType))
    return inner


class _Handler(ast.NodeTransformer):
    """Rewrites a handler or a guard."""

    loop = LOOP

    def __init__(self, function: Callable[..., Any]) -> None:
        assert isinstance(function, FunctionType)
        self.names: Mapping[str, object] = function.__globals__

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        whole = isinstance(node.value, int) and not isinstance(node.value, bool)
        return ast.copy_location(ast.Constant(float(node.value)), node) if whole else node  # type: ignore[arg-type]

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Pow):
            return _call(node, POWER, left, right)
        if not _surely(left) and not _surely(right):
            left = _call(node, AS_FLOAT, left)  # True + True is a whole number
        return ast.copy_location(ast.BinOp(left, node.op, right), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        old = ast.copy_location(loaded(node.target), node)
        for part in ast.walk(old):
            ast.copy_location(part, node)
        value = self.visit(ast.copy_location(ast.BinOp(old, node.op, node.value), node))
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.USub) and not _surely(operand):
            operand = _call(node, AS_FLOAT, operand)
        return ast.copy_location(ast.UnaryOp(node.op, operand), node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        made = ast.copy_location(ast.Call(self.visit(node.func), [self.visit(a) for a in node.args], []), node)
        called = node.func
        if isinstance(called, ast.Name) and called.id == "range":
            return _call(node, self.loop, *made.args)
        whole = isinstance(called, ast.Name) and called.id in WHOLE_CALLS and called.id not in self.names
        return _call(node, AS_FLOAT, made) if whole or self._of_math(called) else made

    def _of_math(self, called: ast.expr) -> bool:
        named = isinstance(called, ast.Attribute) and called.attr in LEFT_WHOLE and isinstance(called.value, ast.Name)
        return named and self.names.get(called.value.id) is math  # type: ignore[attr-defined]


class _Function(_Handler):
    """Rewrites a user's own function."""

    loop = RANGE

    def visit_For(self, node: ast.For) -> ast.stmt:
        self.generic_visit(node)
        node.body[:0] = _turn(node)
        return node

    def visit_While(self, node: ast.While) -> ast.stmt:
        self.generic_visit(node)
        node.body[:0] = _turn(node)
        return node


def _turn(node: ast.stmt) -> list[ast.stmt]:
    """One more turn of this call; too many are a fault."""
    one = ast.BinOp(ast.Name(TURNS, ast.Load()), ast.Add(), ast.Constant(1))
    many = ast.Compare(ast.Name(TURNS, ast.Load()), [ast.Gt()], [ast.Constant(CALL_TURNS_MAX)])
    made = [
        ast.Assign([ast.Name(TURNS, ast.Store())], one),
        ast.If(many, [ast.Expr(ast.Call(ast.Name(ENDLESS, ast.Load()), [], []))], []),
    ]
    return [ast.copy_location(each, node) for each in made]


def _surely(node: ast.expr) -> bool:
    """Whether it is a float and neither true nor false, which count as whole numbers."""
    match node:
        case ast.Constant():
            return isinstance(node.value, float)
        case ast.BinOp() | ast.UnaryOp(op=ast.USub()):
            return True
        case ast.Attribute():
            return node.attr not in UNSURE
        case ast.Call(func=ast.Name(id=name)):
            return name in (AS_FLOAT, POWER, "float")
    return False


def _call(node: ast.expr, name: str, *given: ast.expr) -> ast.expr:
    made = ast.Call(ast.copy_location(ast.Name(name, ast.Load()), node), list(given), [])
    return ast.copy_location(made, node)
