"""From the restricted Python of the rules to arithmetic on three arrays that numba compiles; must not know components.

`w.due[k]` becomes `floats[U64(o_due + k)]`, where `o_due` is read once from the plan: unsigned, because numba then leaves
out its handling of negative indexes (1.4 times faster, measured).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from sim.kernel.world import COLUMNS, PLACE_FIELDS

ARRAYS = ("w_plan", "w_ints", "w_floats")
OF_PLACE = {place: f"w_{name}" for place, name in PLACE_FIELDS.items()}
GONE = frozenset({"dispatch"})  # parameters that are functions of the kernel's own


def lowered(function: ast.FunctionDef, decorator: str) -> ast.FunctionDef:
    """The function on arrays, without annotations and docstring, decorated."""
    lowering = _Lowering()
    body = [lowering.visit(statement) for statement in function.body if not _is_docstring(statement)]
    prologue = [_parsed(f"o_{name} = w_plan[{COLUMNS[name].slot}]") for name in sorted(lowering.used)]
    names = [a.arg for a in function.args.args if a.arg not in GONE]
    arguments = [n for name in names for n in (ARRAYS if name == "w" else (name,))]
    made = ast.FunctionDef(
        name=function.name,
        args=ast.arguments([], [ast.arg(a) for a in arguments], None, [], [], None, []),
        body=[*prologue, *body],
        decorator_list=[ast.parse(decorator, mode="eval").body],
        returns=None,
    )
    return ast.fix_missing_locations(made)


def functions(text: str) -> list[ast.FunctionDef]:
    """The functions of a module's text."""
    return [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]


def constants(text: str) -> list[str]:
    """The lines `NAME = number` of a module's text."""
    found: list[str] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name | ast.Tuple) for t in node.targets):
            names = [n.id for n in ast.walk(node.targets[0]) if isinstance(n, ast.Name)]
            calls = any(isinstance(n, ast.Call) and ast.unparse(n.func) != "range" for n in ast.walk(node.value))
            if names and all(n.isupper() and n not in ("U64",) for n in names) and not calls:
                found.append(ast.unparse(node))
    return found


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _parsed(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


class _Lowering(ast.NodeTransformer):
    """Rewrites what touches `w`; notes the array columns in use."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        name = _column(node.value)
        if name is None:
            return self._unsigned(node)
        index = self.visit(node.slice)
        self.used.add(name)
        at = ast.BinOp(ast.Name(f"o_{name}", ast.Load()), ast.Add(), index)
        return ast.Subscript(ast.Name(OF_PLACE[COLUMNS[name].place], ast.Load()), _u64(at), node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        name = _column(node)
        if name is None:
            return self.generic_visit(node)
        column = COLUMNS[name]
        return ast.Subscript(ast.Name(OF_PLACE[column.place], ast.Load()), ast.Constant(column.slot), node.ctx)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "len":
            name = _column(node.args[0])
            if name is not None:
                at = ast.Constant(COLUMNS[name].slot + 1)
                return ast.Subscript(ast.Name("w_plan", ast.Load()), at, ast.Load())
        arguments: list[ast.expr] = []
        for argument in node.args:
            if isinstance(argument, ast.Name) and argument.id == "w":
                arguments.extend(ast.Name(a, ast.Load()) for a in ARRAYS)
            elif not (isinstance(argument, ast.Name) and argument.id in GONE):
                arguments.append(self.visit(argument))
        return ast.Call(node.func, arguments, [])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return ast.Assign([self.visit(node.target)], self.visit(node.value))

    def _unsigned(self, node: ast.Subscript) -> ast.AST:
        parts: Sequence[ast.expr] = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        indexes = [p if isinstance(p, ast.Constant | ast.Slice) else _u64(self.visit(p)) for p in parts]
        made = ast.Tuple(list(indexes), ast.Load()) if isinstance(node.slice, ast.Tuple) else indexes[0]
        return ast.Subscript(self.visit(node.value), made, node.ctx)


def _u64(index: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("U64", ast.Load()), [index], [])


def _column(node: ast.AST) -> str | None:
    """The column that `w.name` names."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "w":
        if node.attr not in COLUMNS:
            raise KeyError(f"the rules use w.{node.attr}, which is no column")
        return node.attr
    return None
