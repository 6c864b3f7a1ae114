"""A user's own function, as it is compiled: numbers put in, and what Python refuses made no number; must not compile it.

Python stops at 1 / 0 and at sqrt(-1), compiled code goes on with an infinity that a later step may hide. Here both give
NaN, which the handler that called then refuses.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from sim.kernel.translation import CannotCompile

CHECKED = {ast.Div: "over", ast.FloorDiv: "over_whole", ast.Mod: "over_rest", ast.Pow: "power"}
ONLY = "a function of a component may use numbers and math only"


def own_function(name: str, function: Callable[..., Any]) -> ast.FunctionDef:
    """`user_NAME` in the restricted Python of the rules; it calls nothing else of the user's.

    Raises:
        CannotCompile: it uses something else than numbers and math.
    """
    place = place_of(name, function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(tree, ast.FunctionDef):
        raise CannotCompile(f"{place} is no plain function", "write def name(x): …")
    closure = inspect.getclosurevars(function)
    # Among the names of a closure Python also counts attributes that are called like something of the module.
    written = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used = {n: v for n, v in {**closure.globals, **closure.nonlocals}.items() if n in written}
    numbers = {n: float(v) for n, v in used.items() if isinstance(v, int | float)}
    modules = {n for n, v in used.items() if inspect.ismodule(v) and v.__name__ == "math"}
    for foreign in sorted(used.keys() - numbers.keys() - modules):
        raise CannotCompile(f"{place} uses {foreign}", ONLY)
    if any(isinstance(node, ast.While) for node in ast.walk(tree)):
        raise CannotCompile(f"{place} turns while something holds", "for k in range(n): …, which ends")
    _Own(numbers, modules).visit(tree)
    tree.name, tree.returns, tree.decorator_list = f"user_{name}", ast.Name("float"), []
    for argument in tree.args.args:
        argument.annotation = ast.Name("float")
    return ast.fix_missing_locations(tree)


def place_of(name: str, function: Callable[..., Any]) -> str:
    """`file:line: the function NAME`."""
    return f"{inspect.getsourcefile(function)}:{function.__code__.co_firstlineno}: the function {name}"


class _Own(ast.NodeTransformer):
    """Puts numbers in place of their names, and checks where Python would."""

    def __init__(self, numbers: Mapping[str, float], modules: set[str]) -> None:
        self._numbers, self._modules = numbers, modules

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self._numbers:
            return ast.Constant(self._numbers[node.id])
        return ast.Name("math", ast.Load()) if node.id in self._modules else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        # Numbers of handlers are floats, and so are those here: 2 ** 64 is no word of the machine.
        whole = isinstance(node.value, int) and not isinstance(node.value, bool)
        return ast.Constant(float(node.value)) if whole else node  # type: ignore[arg-type]

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

    def visit_For(self, node: ast.For) -> ast.AST:
        turns = node.iter
        if isinstance(turns, ast.Call) and isinstance(turns.func, ast.Name) and turns.func.id == "range":
            turns.args = [ast.Call(ast.Name("int", ast.Load()), [self.visit(a)], []) for a in turns.args]
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = self.generic_visit(node)
        assert isinstance(called, ast.Call)
        if isinstance(called.func, ast.Name) and called.func.id in ("int", "round"):
            return ast.Call(ast.Name("float", ast.Load()), [called], [])
        of_math = isinstance(called.func, ast.Attribute) and ast.unparse(called.func.value) == "math"
        return ast.Call(ast.Name("finite", ast.Load()), [called], []) if of_math else called
