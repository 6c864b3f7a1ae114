"""Prints expressions of the restricted Python as LLVM's language; must not know statements, components or files.

Meaning is Python's: ints are 64 bits, floats doubles that no pass may reorder, and `math` is the library that Python itself
calls.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from sim.kernel.program import (
    BIT,
    BITWISE,
    COMPARES,
    DOUBLE,
    ELEMENTS,
    INT,
    INTRINSICS,
    LIBRARY,
    OF_PLACE,
    PLACES,
    SCALARS,
    SINGLE,
    Declared,
    Program,
    Unprintable,
    Value,
    column_of,
    joined,
)
from sim.kernel.world import COLUMNS, Column


class Expressions:
    """The expressions of one function; holds where its names lie."""

    def __init__(self, program: Program, declared: Declared) -> None:
        self.program, self.declared = program, declared
        self.builder = ir.IRBuilder(declared.ir.append_basic_block("entry"))
        self.kinds: dict[str, str] = {}
        self.slots: dict[str, Any] = {}
        self.arrays: dict[str, tuple[str, Any, Any, Any]] = {}
        self.world: dict[str, Any] = {}
        self.columns: dict[str, Any] = {}
        self.loops: list[tuple[Any, Any]] = []  # where `continue` and `break` go

    def parameters(self) -> None:
        arguments = iter(self.declared.ir.args)
        for name, sort in self.declared.parameters:
            if sort == "world":
                self.world = {place: next(arguments) for place in PLACES}
            elif sort in ELEMENTS:
                self.arrays[name] = (sort, next(arguments), next(arguments), next(arguments))
            else:
                self.kinds[name] = sort
                self.slots[name] = self.builder.alloca(SCALARS[sort], name=name)
                self.builder.store(next(arguments), self.slots[name])

    def address(self, column: Column) -> Any:
        offset = self.plan(column.slot)
        return self.builder.gep(self.world[column.place], [offset])

    def plan(self, slot: int) -> Any:
        """A word of the plan's head: it never changes."""
        word = self.builder.load(self.builder.gep(self.world["plan_ints"], [ir.Constant(INT, slot)]))
        return self.unchanging(word)

    def unchanging(self, load: Any) -> Any:
        load.set_metadata("invariant.load", self.program.module.add_metadata([]))
        return load

    def bad(self, node: ast.AST) -> Unprintable:
        return Unprintable(f"{self.declared.tree.name}: {ast.unparse(node)}")

    # --- kinds -------------------------------------------------------------------------------------------------------

    def infer(self, tree: ast.FunctionDef) -> None:
        """The kind of each local name: that which holds everything assigned to it."""
        before = None
        while before != self.kinds:
            before = dict(self.kinds)
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    self.widen(node.targets[0].id, self.kind(node.value))
                elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                    for target in node.targets[0].elts:
                        self.widen(ast.unparse(target), "word")
                elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                    self.widen(node.target.id, self.kind(ast.BinOp(node.target, node.op, node.value)))
                elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
                    parts = node.iter.elts if isinstance(node.iter, ast.Tuple) else []
                    self.widen(node.target.id, joined([self.kind(p) or "int" for p in parts] or ["int"]))

    def widen(self, name: str, kind: str | None) -> None:
        if kind is not None:
            self.kinds[name] = joined([kind, self.kinds.get(name, kind)])

    def kind(self, node: ast.expr) -> str | None:
        """Of an expression; None while a name in it has none yet."""
        match node:
            case ast.Constant(value=bool()) | ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return "bool"
            case ast.Constant(value=int()):
                return "int"
            case ast.Constant(value=float()):
                return "float"
            case ast.Name():
                constant = self.program.constants.get(node.id)
                return self.kinds.get(node.id) or (None if constant is None else type(constant).__name__)
            case ast.UnaryOp():
                return self.kind(node.operand)
            case ast.BinOp(op=ast.Div()):
                return "float"
            case ast.BinOp():
                return self.joined(node.left, node.right, least="int")
            case ast.IfExp():
                return self.joined(node.body, node.orelse)
            case ast.Call():
                return self.kind_of_call(node)
            case ast.Subscript() | ast.Attribute():
                name = column_of(node)
                if name is not None:
                    return OF_PLACE[COLUMNS[name].place]
                if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                    return "int" if self.arrays[node.value.id][0] == "ints" else "float"
        raise self.bad(node)

    def joined(self, *nodes: ast.expr, least: str = "bool") -> str | None:
        kinds = [self.kind(n) for n in nodes]
        known = [k for k in kinds if k is not None]
        return joined([*known, least]) if len(known) == len(kinds) else None

    def kind_of_call(self, node: ast.Call) -> str | None:
        if isinstance(node.func, ast.Attribute):
            return "float"  # math
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in ("min", "max", "abs"):
            return self.joined(*node.args, least="int")
        fixed = {"U64": "word", "float": "float", "int": "int", "len": "int", "round": "int"}
        return fixed[name] if name in fixed else self.program.functions[name].returns

    # --- expressions -------------------------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=bool() as truth):
                return Value("bool", ir.Constant(BIT, int(truth)))
            case ast.Constant(value=int() as whole):
                return Value("int", ir.Constant(INT, whole))
            case ast.Constant(value=float() as number):
                return Value("float", ir.Constant(DOUBLE, number))
            case ast.Name():
                return self.name(node)
            case ast.BinOp():
                return self.arithmetic(node)
            case ast.UnaryOp(op=ast.Not()):
                return Value("bool", self.builder.not_(self.truth(node.operand)))
            case ast.UnaryOp(op=ast.USub()):
                return self.negative(node)
            case ast.BoolOp():
                return self.both(node)
            case ast.Compare():
                return self.compare(node)
            case ast.IfExp():
                return self.choice(node)
            case ast.Call():
                return self.call(node)
            case ast.Subscript() | ast.Attribute():
                return self.read(node)
        raise self.bad(node)

    def name(self, node: ast.Name) -> Value:
        if node.id in self.slots:
            return Value(self.kinds[node.id], self.builder.load(self.slots[node.id]))
        return self.value(ast.Constant(self.program.constants[node.id]))

    def to(self, value: Value, kind: str) -> Any:
        """The value as another kind, as Python converts it."""
        if kind == value.kind or {kind, value.kind} == {"int", "word"}:
            return value.ir
        if kind == "float":
            convert = self.builder.sitofp if value.kind == "int" else self.builder.uitofp
            return convert(value.ir, DOUBLE)
        if kind == "bool":
            zero = ir.Constant(value.ir.type, 0)
            test = self.builder.fcmp_unordered if value.kind == "float" else self.builder.icmp_signed
            return test("!=", value.ir, zero)
        return self.builder.zext(value.ir, INT) if value.kind == "bool" else self.builder.fptosi(value.ir, INT)

    def truth(self, node: ast.expr) -> Any:
        return self.to(self.value(node), "bool")

    def negative(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        if value.kind == "float":
            return Value("float", self.builder.fneg(value.ir))
        return Value("int", self.builder.neg(self.to(value, "int")))

    def arithmetic(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        kind = "float" if isinstance(node.op, ast.Div) else joined([left.kind, right.kind, "int"])
        a, b = self.to(left, kind), self.to(right, kind)
        make = self.builder
        if kind == "float":
            simple: dict[type, Callable[[Any, Any], Any]] = {
                ast.Add: make.fadd, ast.Sub: make.fsub, ast.Mult: make.fmul, ast.Div: make.fdiv,
            }  # fmt: skip
            if type(node.op) in simple:
                return Value(kind, simple[type(node.op)](a, b))
            name = {ast.FloorDiv: "floor_divided", ast.Mod: "remainder"}.get(type(node.op))
            if name is not None:
                return Value(kind, make.call(self.program.functions[name].ir, [a, b]))
            raise self.bad(node)
        if type(node.op) in BITWISE:
            return Value(kind, getattr(make, BITWISE[type(node.op)])(a, b))
        whole: dict[type, Callable[[Any, Any], Any]] = {ast.Add: make.add, ast.Sub: make.sub, ast.Mult: make.mul}
        if type(node.op) in whole:
            return Value(kind, whole[type(node.op)](a, b))
        if isinstance(node.op, ast.RShift):
            return Value(kind, (make.lshr if kind == "word" else make.ashr)(a, b))
        return Value(kind, self.whole_division(node, a, b))

    def whole_division(self, node: ast.BinOp, a: Any, b: Any) -> Any:
        """// and % of ints, towards minus infinity."""
        make, zero = self.builder, ir.Constant(INT, 0)
        quotient, rest = make.sdiv(a, b), make.srem(a, b)
        signs = make.icmp_signed("<", make.xor(rest, b), zero)
        off = make.and_(make.icmp_signed("!=", rest, zero), signs)
        if isinstance(node.op, ast.FloorDiv):
            return make.sub(quotient, make.zext(off, INT))
        if isinstance(node.op, ast.Mod):
            return make.select(off, make.add(rest, b), rest)
        raise self.bad(node)

    def both(self, node: ast.BoolOp) -> Value:
        """`and` and `or`, of which the right side is computed only where it counts."""
        make, ends = self.builder, self.block_of("decided")
        went = []
        for position, part in enumerate(node.values):
            truth = self.truth(part)
            went.append((truth, make.block))
            if position == len(node.values) - 1:
                make.branch(ends)
            else:
                further = self.block_of("further")
                make.cbranch(truth, *((further, ends) if isinstance(node.op, ast.And) else (ends, further)))
                make.position_at_end(further)
        make.position_at_end(ends)
        found = make.phi(BIT)
        for truth, block in went:
            found.add_incoming(truth, block)
        return Value("bool", found)

    def compare(self, node: ast.Compare) -> Value:
        values = [self.value(n) for n in (node.left, *node.comparators)]
        tests = [self.test(op, a, b) for op, a, b in zip(node.ops, values, values[1:], strict=False)]
        found = tests[0]
        for test in tests[1:]:
            found = self.builder.and_(found, test)
        return Value("bool", found)

    def test(self, operator: ast.cmpop, left: Value, right: Value) -> Any:
        kind = joined([left.kind, right.kind, "int"])
        sign, a, b = COMPARES[type(operator)], self.to(left, kind), self.to(right, kind)
        if kind == "float":
            return (self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered)(sign, a, b)
        return (self.builder.icmp_unsigned if kind == "word" else self.builder.icmp_signed)(sign, a, b)

    def choice(self, node: ast.IfExp) -> Value:
        kind = self.kind(node)
        assert kind is not None
        make = self.builder
        yes, no, ends = self.block_of("yes"), self.block_of("no"), self.block_of("chosen")
        make.cbranch(self.truth(node.test), yes, no)
        went = []
        for block, part in ((yes, node.body), (no, node.orelse)):
            make.position_at_end(block)
            value = self.to(self.value(part), kind)
            went.append((value, make.block))
            make.branch(ends)
        make.position_at_end(ends)
        found = make.phi(SCALARS[kind])
        for value, block in went:
            found.add_incoming(value, block)
        return Value(kind, found)

    def call(self, node: ast.Call) -> Value:
        if isinstance(node.func, ast.Attribute):
            return self.mathematics(node, node.func.attr)
        assert isinstance(node.func, ast.Name)
        name, make = node.func.id, self.builder
        if name == "len":
            return self.length(node.args[0])
        if name in ("U64", "float", "int"):
            kind = {"U64": "word"}.get(name, name)
            return Value(kind, self.to(self.value(node.args[0]), kind))
        if name == "round":
            return Value("int", make.fptosi(self.mathematics(node, "round").ir, INT))
        if name in ("min", "max"):
            return self.extreme(node, "<" if name == "min" else ">")
        if name == "abs":
            return self.mathematics(node, "fabs")
        if name == "restore":
            return self.restore(node)
        if name == "raised":  # others write it meanwhile: it must be read each time
            assert isinstance(node.args[0], ast.Name)
            place = self.arrays[node.args[0].id][1]
            return Value("int", self.builder.load_atomic(place, "monotonic", 8))
        return self.own(node, self.program.functions[name])

    def own(self, node: ast.Call, declared: Declared) -> Value:
        given: list[Any] = []
        data = [a for a in node.args if not (isinstance(a, ast.Name) and a.id == "dispatch")]
        for argument, (_, sort) in zip(data, declared.parameters, strict=True):
            if sort == "world":
                given.extend(self.world[place] for place in PLACES)
            elif sort in ELEMENTS:
                assert isinstance(argument, ast.Name)
                given.extend(self.arrays[argument.id][1:])
            else:
                given.append(self.to(self.value(argument), sort))
        return Value(declared.returns, self.builder.call(declared.ir, given))

    def mathematics(self, node: ast.Call, name: str) -> Value:
        given = [self.to(self.value(a), "float") for a in node.args]
        if name in INTRINSICS:
            function = self.program.module.declare_intrinsic(
                INTRINSICS[name], [DOUBLE], ir.FunctionType(DOUBLE, [DOUBLE] * len(given))
            )
        elif name in LIBRARY:
            function = self.program.library(name)
        else:
            raise self.bad(node)
        return Value("float", self.builder.call(function, given))

    def extreme(self, node: ast.Call, sign: str) -> Value:
        """The first of equals, as Python's `min` and `max`."""
        values = [self.value(a) for a in node.args]
        kind = joined([*(v.kind for v in values), "int"])
        best = self.to(values[0], kind)
        for value in values[1:]:
            other = self.to(value, kind)
            compare = self.builder.fcmp_ordered if kind == "float" else self.builder.icmp_signed
            best = self.builder.select(compare(sign, other, best), other, best)
        return Value(kind, best)

    def length(self, node: ast.expr) -> Value:
        name = column_of(node)
        if name is not None:
            return Value("int", self.plan(COLUMNS[name].slot + 1))
        assert isinstance(node, ast.Name)
        return Value("int", self.arrays[node.id][2])

    def read(self, node: ast.Subscript | ast.Attribute) -> Value:
        place, kind = self.place(node)
        load = self.builder.load(place)
        name = column_of(node)
        if name is not None and COLUMNS[name].place == "plan_ints":
            self.unchanging(load)
        if load.type == SINGLE:
            load = self.builder.fpext(load, DOUBLE)
        return Value(kind, load)

    def place(self, node: ast.Subscript | ast.Attribute) -> tuple[Any, str]:
        """Address and kind of what `w.column[index]`, `w.scalar` or `array[i, j]` means."""
        name = column_of(node)
        if name is not None and isinstance(node, ast.Subscript):
            index = self.to(self.value(node.slice), "int")
            return self.builder.gep(self.columns[name], [index]), OF_PLACE[COLUMNS[name].place]
        if name is not None:
            column = COLUMNS[name]
            at = ir.Constant(INT, column.slot)
            return self.builder.gep(self.world[column.place], [at]), OF_PLACE[column.place]
        if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
            raise self.bad(node)
        sort, address, _, width = self.arrays[node.value.id]
        if isinstance(node.slice, ast.Tuple):
            row, column_ = (self.to(self.value(e), "int") for e in node.slice.elts)
            index = self.builder.add(self.builder.mul(row, width), column_)
        else:
            index = self.to(self.value(node.slice), "int")
        return self.builder.gep(address, [index]), "int" if sort == "ints" else "float"

    def restore(self, node: ast.Call) -> Value:
        """`restore(w, ints, floats, row)`: the whole state from a row of each."""
        row = self.to(self.value(node.args[3]), "int")
        for argument, place in ((node.args[1], "ints"), (node.args[2], "floats")):
            assert isinstance(argument, ast.Name)
            _, address, _, width = self.arrays[argument.id]
            source = self.builder.gep(address, [self.builder.mul(row, width)])
            pointer = ir.IntType(8).as_pointer()
            copy = self.program.module.declare_intrinsic("llvm.memcpy", [pointer, pointer, INT])
            size = self.builder.mul(width, ir.Constant(INT, 8))
            into = self.builder.bitcast(self.world[place], pointer)
            self.builder.call(copy, [into, self.builder.bitcast(source, pointer), size, ir.Constant(BIT, 0)])
        return Value("none", None)

    def block_of(self, name: str) -> Any:
        return self.declared.ir.append_basic_block(name)
