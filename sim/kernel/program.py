"""A program in LLVM's language as it is put together: its functions, constants and sorts of values; must print nothing.

What may be printed: functions with annotated arguments (numbers, `World`, arrays), assignments, if, while, `for … in range`,
`for … in (constants)`, arithmetic, comparisons, `w.column[index]`, calls of each other and of `math`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from sim.kernel.world import COLUMNS

INT, DOUBLE, SINGLE, BIT, VOID = ir.IntType(64), ir.DoubleType(), ir.FloatType(), ir.IntType(1), ir.VoidType()
SORTS: Mapping[str, str] = {
    "World": "world", "int": "int", "float": "float", "bool": "bool", "None": "none",
    "NDArray[np.int64]": "ints", "NDArray[np.float64]": "floats", "NDArray[np.float32]": "singles",
    "tuple[int, int, int, int]": "words",
}  # fmt: skip
ELEMENTS: Mapping[str, ir.Type] = {"ints": INT, "floats": DOUBLE, "singles": SINGLE}
SCALARS: Mapping[str, ir.Type] = {"int": INT, "word": INT, "float": DOUBLE, "bool": BIT}
RETURNS: Mapping[str, ir.Type] = {**SCALARS, "none": VOID, "words": ir.LiteralStructType([INT] * 4)}
PLACES = ("plan_ints", "ints", "floats")  # of a world, in the order in which its addresses are handed over
OF_PLACE: Mapping[str, str] = {"plan_ints": "int", "ints": "int", "floats": "float"}
RANK = ("bool", "int", "word", "float")
# Called in Python's own library, under names of ours: a compiler that knows `pow` may replace it by something else.
LIBRARY: Mapping[str, int] = {
    "log": 1, "exp": 1, "pow": 2, "sin": 1, "cos": 1, "tan": 1, "atan": 1, "tanh": 1, "erfc": 1, "fmod": 2,
}  # fmt: skip
INTRINSICS: Mapping[str, str] = {
    "sqrt": "llvm.sqrt", "floor": "llvm.floor", "ceil": "llvm.ceil", "fabs": "llvm.fabs", "round": "llvm.rint",
    "trunc": "llvm.trunc", "copysign": "llvm.copysign",
}  # fmt: skip
SYMBOL = "twinloop_"  # of functions of `LIBRARY`
# Of our own functions. LLVM takes a function called `remainder` for the C library's, and computes calls of it by itself;
# no function of C has a point in its name.
OWN = "twinloop."
BITWISE: Mapping[type, str] = {ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor", ast.LShift: "shl"}
COMPARES: Mapping[type, str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip


class Unprintable(Exception):
    """The text holds what cannot be printed: a mistake in the rules, or in a translation."""


@dataclass(frozen=True, slots=True)
class Value:
    """A computed value: its kind (`bool`, `int`, `word`, `float` or a sort of array) and what LLVM calls it."""

    kind: str
    ir: Any


@dataclass(frozen=True, slots=True)
class Declared:
    """A function of the program.

    Attributes:
        parameters: (name, sort), without those that are functions themselves.
    """

    ir: ir.Function
    tree: ast.FunctionDef
    parameters: tuple[tuple[str, str], ...]
    returns: str


@dataclass(slots=True)
class Program:
    """Functions that call each other, and the constants that they name."""

    constants: Mapping[str, float]
    module: ir.Module = field(default_factory=lambda: ir.Module("kernel"))
    functions: dict[str, Declared] = field(default_factory=dict)

    def add(self, tree: ast.FunctionDef, exported: bool = False) -> None:
        """Declare a function; all are declared before one is printed."""
        parameters = tuple(
            (a.arg, SORTS[ast.unparse(a.annotation)]) for a in tree.args.args if a.annotation and _is_data(a)
        )
        kinds = [kind for _, sort in parameters for kind in _passed(sort)]
        returns = SORTS[ast.unparse(tree.returns)] if tree.returns else "none"
        function = ir.Function(self.module, ir.FunctionType(RETURNS[returns], kinds), OWN + tree.name)
        function.linkage = "external" if exported else "internal"
        function.attributes.add("nounwind")
        at = 0
        for _, sort in parameters:
            if sort == "world":
                for argument in function.args[at : at + 3]:
                    argument.add_attribute("noalias")
            at += len(_passed(sort))
        self.functions[tree.name] = Declared(function, tree, parameters, returns)

    def library(self, name: str) -> ir.Function:
        """A function of `math`."""
        found = self.module.globals.get(SYMBOL + name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(DOUBLE, [DOUBLE] * LIBRARY[name]), SYMBOL + name)
            found.attributes.add("nounwind")
        return found


def _is_data(argument: ast.arg) -> bool:
    return argument.annotation is not None and ast.unparse(argument.annotation) in SORTS


def _passed(sort: str) -> list[ir.Type]:
    """What a parameter is passed as: a world as three addresses, an array as its address and two lengths."""
    if sort == "world":
        return [INT.as_pointer(), INT.as_pointer(), DOUBLE.as_pointer()]
    if sort in ELEMENTS:
        return [ELEMENTS[sort].as_pointer(), INT, INT]
    return [SCALARS[sort]]


def joined(kinds: Sequence[str]) -> str:
    """The kind that holds all of these."""
    return max(kinds, key=RANK.index)


def column_of(node: ast.AST) -> str | None:
    """The column that `w.name` or `w.name[…]` names."""
    node = node.value if isinstance(node, ast.Subscript) else node
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "w":
        if node.attr not in COLUMNS:
            raise Unprintable(f"w.{node.attr} is no column")
        return node.attr
    return None
