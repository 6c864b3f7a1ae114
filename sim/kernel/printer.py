"""Prints functions of the restricted Python as LLVM's language: their statements; must not know components or files."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from sim.kernel.expressions import Expressions
from sim.kernel.program import (
    INT,
    RETURNS,
    SCALARS,
    SINGLE,
    Program,
    Value,
    column_of,
)
from sim.kernel.syntax import loaded
from sim.kernel.world import COLUMNS


def printed(program: Program) -> str:
    """All of a program in LLVM's language."""
    for declared in program.functions.values():
        _Printer(program, declared).print()
    return str(program.module)


class _Printer(Expressions):
    """Prints one function."""

    def print(self) -> None:
        tree = self.declared.tree
        self.parameters()
        self.infer(tree)
        for name, kind in self.kinds.items():
            if name not in self.slots:
                self.slots[name] = self.builder.alloca(SCALARS[kind], name=name)
        for name in sorted({n for node in ast.walk(tree) if (n := column_of(node)) and not COLUMNS[n].scalar}):
            self.columns[name] = self.address(COLUMNS[name])
        self.block(tree.body)
        if not self.builder.block.is_terminated:
            if self.declared.returns == "none":
                self.builder.ret_void()
            else:
                self.builder.unreachable()

    # --- statements --------------------------------------------------------------------------------------------------

    def block(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            if self.builder.block.is_terminated:
                return
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr():
                self.value(node.value)
            case ast.Assign(targets=[ast.Tuple(elts=targets)]):
                found = self.value(node.value)
                for number, target in enumerate(targets):
                    self.store(target, Value("word", self.builder.extract_value(found.ir, number)))
            case ast.Assign(targets=[target]):
                self.store(target, self.value(node.value))
            case ast.AugAssign():
                self.store(node.target, self.arithmetic(ast.BinOp(loaded(node.target), node.op, node.value)))
            case ast.If():
                self.branch(node)
            case ast.While():
                self.loop(node)
            case ast.For():
                self.count(node)
            case ast.Break() | ast.Continue():
                self.builder.branch(self.loops[-1][isinstance(node, ast.Break)])
            case ast.Return():
                self.give_back(node)
            case _:
                raise self.bad(node)

    def give_back(self, node: ast.Return) -> None:
        returns = self.declared.returns
        if node.value is None:
            self.builder.ret_void()
        elif isinstance(node.value, ast.Tuple):
            found = ir.Constant(RETURNS["words"], ir.Undefined)
            for number, part in enumerate(node.value.elts):
                found = self.builder.insert_value(found, self.to(self.value(part), "int"), number)
            self.builder.ret(found)
        else:
            self.builder.ret(self.to(self.value(node.value), returns))

    def store(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.builder.store(self.to(value, self.kinds[target.id]), self.slots[target.id])
            return
        assert isinstance(target, ast.Subscript | ast.Attribute)
        place, kind = self.place(target)
        number = self.to(value, kind)
        self.builder.store(self.builder.fptrunc(number, SINGLE) if place.type.pointee == SINGLE else number, place)

    def branch(self, node: ast.If) -> None:
        yes, ends = self.block_of("then"), self.block_of("end")
        no = self.block_of("else") if node.orelse else ends
        self.builder.cbranch(self.truth(node.test), yes, no)
        for block, body in ((yes, node.body), (no, node.orelse)):
            if body:
                self.builder.position_at_end(block)
                self.block(body)
                if not self.builder.block.is_terminated:
                    self.builder.branch(ends)
        self.builder.position_at_end(ends)

    def loop(self, node: ast.While) -> None:
        test, body, ends = self.block_of("test"), self.block_of("body"), self.block_of("end")
        self.builder.branch(test)
        self.builder.position_at_end(test)
        self.builder.cbranch(self.truth(node.test), body, ends)
        self.turn(node.body, body, test, ends)
        self.builder.position_at_end(ends)

    def turn(self, statements: Sequence[ast.stmt], body: Any, further: Any, ends: Any) -> None:
        self.builder.position_at_end(body)
        self.loops.append((further, ends))
        self.block(statements)
        self.loops.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(further)

    def count(self, node: ast.For) -> None:
        if isinstance(node.iter, ast.Tuple):  # printed once for each of the constants
            for constant in node.iter.elts:
                self.store(node.target, self.value(constant))
                self.block(node.body)
            return
        assert isinstance(node.iter, ast.Call)
        given = [self.to(self.value(a), "int") for a in node.iter.args]
        first, last = (ir.Constant(INT, 0), given[0]) if len(given) == 1 else (given[0], given[1])
        step = given[2] if len(given) > 2 else ir.Constant(INT, 1)
        down = len(given) > 2 and isinstance(node.iter.args[2], ast.UnaryOp)
        with self.builder.goto_entry_block():
            counter = self.builder.alloca(INT)
        self.builder.store(first, counter)
        test, body, further, ends = (self.block_of(n) for n in ("test", "body", "further", "end"))
        self.builder.branch(test)
        self.builder.position_at_end(test)
        at = self.builder.load(counter)
        self.builder.cbranch(self.builder.icmp_signed(">" if down else "<", at, last), body, ends)
        self.builder.position_at_end(body)
        self.store(node.target, Value("int", at))
        self.turn(node.body, body, further, ends)
        self.builder.position_at_end(further)
        self.builder.store(self.builder.add(self.builder.load(counter), step), counter)
        self.builder.branch(test)
        self.builder.position_at_end(ends)
