"""A user's own function, as it is compiled: numbers put in, and what Python refuses made no number; must not compile it.

Python stops at 1 / 0 and at sqrt(-1), compiled code goes on with an infinity that a later step may hide. Here both give
NaN, which the handler that called then refuses.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from sim.kernel.translation import CannotCompile

MODULES = ("math", "numpy")
CHECKED = {ast.Div: "over", ast.FloorDiv: "over_whole", ast.Mod: "over_rest", ast.Pow: "power"}
DECORATOR = "njit(nogil=True, cache=True, error_model='numpy')"
ARITHMETIC = f"""
@{DECORATOR}
def over(x, y):
    return x / y if y != 0 else math.nan

@{DECORATOR}
def over_whole(x, y):
    return float(x // y) if y != 0 else math.nan

@{DECORATOR}
def over_rest(x, y):
    return float(x % y) if y != 0 else math.nan

@{DECORATOR}
def power(x, y):
    return finite(math.pow(x, y))

@{DECORATOR}
def finite(x):
    return float(x) if math.isfinite(x) else math.nan
"""


def own_function(name: str, function: Callable[..., Any]) -> str:
    """The text of `user_NAME`, decorated; it calls nothing else of the user's.

    Raises:
        CannotCompile: it uses something else than numbers, math and numpy.
    """
    names = inspect.getclosurevars(function)
    place = f"{inspect.getsourcefile(function)}:{function.__code__.co_firstlineno}: the function {name}"
    numbers, modules = {}, set()
    for used, value in {**names.globals, **names.nonlocals}.items():
        if isinstance(value, int | float):
            numbers[used] = value
        elif inspect.ismodule(value) and value.__name__ in MODULES:
            modules.add(used)
        else:
            raise CannotCompile(
                f"{place} uses {used}", "a function of a component may use numbers, math and numpy only"
            )
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(tree, ast.FunctionDef):
        raise CannotCompile(f"{place} is no plain function", "write def name(x): …")
    tree = _Own(place, numbers, _modules(function, modules)).visit(tree)
    tree.name, tree.returns = f"user_{name}", None
    tree.decorator_list = [ast.parse(DECORATOR, mode="eval").body]
    for argument in tree.args.args:
        argument.annotation = None
    return ast.unparse(ast.fix_missing_locations(tree))


def _modules(function: Callable[..., Any], used: set[str]) -> Mapping[str, ModuleType]:
    closure = inspect.getclosurevars(function)
    return {name: {**closure.globals, **closure.nonlocals}[name] for name in used}


class _Own(ast.NodeTransformer):
    """Puts numbers in place of their names, and checks where Python would."""

    def __init__(self, place: str, numbers: Mapping[str, float], modules: Mapping[str, ModuleType]) -> None:
        self._place, self._numbers, self._modules = place, numbers, modules

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self._numbers:
            return ast.Constant(self._numbers[node.id])
        if node.id in self._modules:
            return ast.Name({"math": "math", "numpy": "np"}[self._modules[node.id].__name__], ast.Load())
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if node.attr == "random":
            raise CannotCompile(f"{self._place} draws from numpy", "declare a Distribution, and give what it draws")
        return self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        left, right = self.visit(node.left), self.visit(node.right)
        if type(node.op) not in CHECKED:
            return ast.BinOp(left, node.op, right)
        return ast.Call(ast.Name(CHECKED[type(node.op)], ast.Load()), [left, right], [])

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not isinstance(node.target, ast.Name):
            return self.generic_visit(node)
        now = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return ast.Assign([node.target], self.visit(now))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = self.generic_visit(node)
        assert isinstance(called, ast.Call)
        of_math = isinstance(called.func, ast.Attribute) and ast.unparse(called.func.value) == "math"
        return ast.Call(ast.Name("finite", ast.Load()), [called], []) if of_math else called
