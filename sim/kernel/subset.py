"""What of Python, of `math` and of a component's fields may stand in a handler, and the kernel's words for it: tables.

In the words, {e} is where the field lies, {p} its port, {x} what is assigned, {0} the argument. Must not translate anything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from sim.spec import Buffer, Field, Level, Port, Resource, Signal, Timer, Transfer

OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
CHECKED = {ast.Div: "divided", ast.FloorDiv: "floored", ast.Mod: "modulo"}
COMPARES = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
MATH = ("sqrt", "exp", "log", "sin", "cos", "tan", "atan", "tanh", "pow", "floor", "ceil", "fabs")
ARGUMENTS = {"pow": 2}  # of those that take other than one
PLAIN_CALLS = {"min": range(2, 9), "max": range(2, 9), "abs": range(1, 2), "float": range(1, 2)}
WHOLE_CALLS = {"int": "trunc", "round": "round"}

READS: dict[tuple[type | None, str], str] = {
    (Buffer, "level"): "w.amount[{e}]",
    (Buffer, "space"): "(w.ceiling[{e}] - w.amount[{e}])",
    (Buffer, "first"): "front(w, {e})",
    (Level, "level"): "level(w, {e})",
    (Level, "space"): "(w.ceiling[{e}] - level(w, {e}))",
    (Level, "flow"): "w.flow[{p}]",
    (Resource, "free"): "float(w.free[{e}])",
    (Resource, "capacity"): "float(w.capacity[{e}])",
    (Signal, "value"): "w.amount[{e}]",
    (Transfer, "rate"): "w.wish[{e}]",
    (Transfer, "flow"): "read(w, FLOW, {e}, w.now)",
    (Timer, "running"): "running(w, {e})",
    **{(sort, "connected"): "({e} >= 0)" for sort in (Buffer, Level, Resource, Signal)},
}
WRITES: dict[tuple[type | None, str], str] = {
    (Level, "flow"): "give(w, {p}, {x})",
    (Resource, "capacity"): "staff(w, {e}, {x})",
    (Signal, "value"): "signal(w, {e}, checked(w, {x}))",
    (Transfer, "rate"): "transfer(w, {e}, {x})",
}
CALLS: dict[tuple[type | None, str, int], str] = {
    (Buffer, "put", 1): "put(w, {e}, {0})",
    (Buffer, "take", 1): "take(w, {e}, {0})",
    (Buffer, "push", 1): "push(w, {e}, {0})",
    (Buffer, "pop", 0): "pop(w, {e})",
    (Level, "put", 1): "pour(w, {e}, {0})",
    (Level, "take", 1): "drain(w, {e}, {0})",
    (Resource, "request", 0): "request(w, {e}, {0})",
    (Resource, "release", 0): "release(w, {e})",
    (Timer, "start", 1): "start(w, {e}, {0})",
    (Timer, "stop", 0): "stop(w, {e})",
}


def sort_of(known: Field | None) -> type | None:
    """What the table's rows are about: what a port leads to, or the sort of field."""
    if isinstance(known, Port):
        return known.to
    return Timer if isinstance(known, Timer) else Transfer if isinstance(known, Transfer) else None


def offer(owner: Field | None, rows: Iterable[tuple[type | None, str]]) -> str:
    """What can be asked of that sort of field; "" when it is no field."""
    known = sorted(name for sort, name in rows if owner is not None and sort is sort_of(owner))
    return f"of {owner.name} there is {', '.join(known)}" if owner is not None and known else ""


def truthful(node: ast.expr) -> bool:
    """Whether an expression is true or false and nothing else: there `and` and `or` give no number."""
    if isinstance(node, ast.BoolOp):
        return all(map(truthful, node.values))
    negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    named = isinstance(node, ast.Attribute) and node.attr in ("connected", "running")
    return negated or named or isinstance(node, ast.Compare) or isinstance(getattr(node, "value", None), bool)
