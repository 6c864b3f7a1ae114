"""From the restricted Python of the rules to loads and stores that numba compiles; must not know components.

`w` becomes the addresses of the three packed arrays: `w.due[k]` is `load_float(a_due, k)`, where `a_due` is the column's
address, read once from the plan. Addresses, not arrays: passing an array counts references at each call, which took more
than half of the time (measured). What is read of the plan never changes, and the compiler is told so.
"""

from __future__ import annotations

import ast

from sim.kernel.world import COLUMNS, PLACE_FIELDS

ADDRESSES = ("w_plan", "w_ints", "w_floats")
OF_PLACE = {place: f"w_{name}" for place, name in PLACE_FIELDS.items()}
SORT = {"plan_ints": "plan", "ints": "int", "floats": "float"}
GONE = frozenset({"dispatch"})  # parameters that are functions of the kernel's own
MEMORY = """
import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

def _pointer(builder, address, number, kind):
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [number])

def _tell(builder, instruction, sort):
    module = builder.module
    root = module.add_metadata(["twinloop"])
    place = module.add_metadata([sort, root])
    zero = ir.Constant(ir.IntType(64), 0)
    instruction.set_metadata("tbaa", module.add_metadata([place, place, zero]))
    if sort == "plan":
        instruction.set_metadata("invariant.load", module.add_metadata([]))
    return instruction

@intrinsic
def load_plan(context, address, number):
    def make(context, builder, signature, values):
        return _tell(builder, builder.load(_pointer(builder, *values, ir.IntType(64))), "plan")
    return types.int64(types.int64, types.int64), make

@intrinsic
def load_int(context, address, number):
    def make(context, builder, signature, values):
        return _tell(builder, builder.load(_pointer(builder, *values, ir.IntType(64))), "int")
    return types.int64(types.int64, types.int64), make

@intrinsic
def load_float(context, address, number):
    def make(context, builder, signature, values):
        return _tell(builder, builder.load(_pointer(builder, *values, ir.DoubleType())), "float")
    return types.float64(types.int64, types.int64), make

@intrinsic
def store_int(context, address, number, value):
    def make(context, builder, signature, values):
        _tell(builder, builder.store(values[2], _pointer(builder, values[0], values[1], ir.IntType(64))), "int")
        return context.get_dummy_value()
    return types.void(types.int64, types.int64, types.int64), make

@intrinsic
def store_float(context, address, number, value):
    def make(context, builder, signature, values):
        _tell(builder, builder.store(values[2], _pointer(builder, values[0], values[1], ir.DoubleType())), "float")
        return context.get_dummy_value()
    return types.void(types.int64, types.int64, types.float64), make
"""


def lowered(function: ast.FunctionDef, decorator: str) -> ast.FunctionDef:
    """The function on addresses, without annotations and docstring, decorated."""
    lowering = _Lowering()
    body = [lowering.visit(statement) for statement in function.body if not _is_docstring(statement)]
    prologue = [_address(name) for name in sorted(lowering.used)]
    names = [a.arg for a in function.args.args if a.arg not in GONE]
    arguments = [n for name in names for n in (ADDRESSES if name == "w" else (name,))]
    made = ast.FunctionDef(
        name=function.name,
        args=ast.arguments([], [ast.arg(a) for a in arguments], None, [], [], None, []),
        body=[*prologue, *body],
        decorator_list=[ast.parse(decorator, mode="eval").body],
        returns=None,
    )
    return ast.fix_missing_locations(made)


def _address(name: str) -> ast.stmt:
    column = COLUMNS[name]
    return ast.parse(f"a_{name} = {OF_PLACE[column.place]} + 8 * load_plan(w_plan, {column.slot})").body[0]


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


class _Lowering(ast.NodeTransformer):
    """Rewrites what touches `w`; notes the array columns in use."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        place = self._place(node)
        return self.generic_visit(node) if place is None else _load(*place)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        place = self._place(node)
        return self.generic_visit(node) if place is None else _load(*place)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "len":
            name = _column(node.args[0])
            if name is not None:
                return _load("plan", ast.Name("w_plan", ast.Load()), ast.Constant(COLUMNS[name].slot + 1))
        arguments: list[ast.expr] = []
        for argument in node.args:
            if isinstance(argument, ast.Name) and argument.id == "w":
                arguments.extend(ast.Name(a, ast.Load()) for a in ADDRESSES)
            elif not (isinstance(argument, ast.Name) and argument.id in GONE):
                arguments.append(self.visit(argument))
        return ast.Call(node.func, arguments, [])

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        place = self._place(node.targets[0]) if len(node.targets) == 1 else None
        return self.generic_visit(node) if place is None else _store(place, self.visit(node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        place = self._place(node.target)
        if place is None:
            return self.generic_visit(node)
        return _store(place, ast.BinOp(_load(*place), node.op, self.visit(node.value)))

    def _place(self, node: ast.AST) -> tuple[str, ast.expr, ast.expr] | None:
        """Sort, address and number of what a `w.column[index]` or `w.scalar` means."""
        name = _column(node.value if isinstance(node, ast.Subscript) else node)
        if name is None:
            return None
        column = COLUMNS[name]
        if isinstance(node, ast.Subscript):
            self.used.add(name)
            return SORT[column.place], ast.Name(f"a_{name}", ast.Load()), self.visit(node.slice)
        return SORT[column.place], ast.Name(OF_PLACE[column.place], ast.Load()), ast.Constant(column.slot)


def _load(sort: str, address: ast.expr, number: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(f"load_{sort}", ast.Load()), [address, number], [])


def _store(place: tuple[str, ast.expr, ast.expr], value: ast.expr) -> ast.stmt:
    sort, address, number = place
    return ast.Expr(ast.Call(ast.Name(f"store_{sort}", ast.Load()), [address, number, value], []))


def _column(node: ast.AST) -> str | None:
    """The column that `w.name` names."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "w":
        if node.attr not in COLUMNS:
            raise KeyError(f"the rules use w.{node.attr}, which is no column")
        return node.attr
    return None
