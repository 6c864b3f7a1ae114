"""From a component's handlers to one function of the rules' restricted Python; what cannot be says where and why.

Allowed in a handler: if/else, `for … in range(…)`, assignments to fields and local names, functions of the user's own
module, and what the tables of `sim.kernel.subset` hold.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sim.kernel.source import source
from sim.kernel.subset import (
    ARGUMENTS,
    CALLS,
    CHECKED,
    COMPARES,
    MATH,
    OPERATORS,
    PLAIN_CALLS,
    READS,
    WHOLE_CALLS,
    WRITES,
    offer,
    sort_of,
    truthful,
)
from sim.kernel.syntax import loaded
from sim.spec import (
    Buffer,
    ComponentType,
    Distribution,
    Field,
    Handler,
    Misspelt,
    Number,
    Opaque,
    Port,
    State,
    Timer,
    Transfer,
)


class CannotCompile(Misspelt):
    """A component that the kernel cannot run; SimPy can. The message names file, line and what to write instead."""


@dataclass(slots=True)
class Translation:
    """A type as text.

    Attributes:
        text: of `def step_…(w: World, c: int, h: int)`, in the restricted Python of the rules.
        functions: the user's own that it calls, by their names in the kernel.
    """

    name: str
    text: str
    functions: dict[str, Callable[..., Any]]


def translate(kind: ComponentType, name: str) -> Translation:
    """One function that runs any handler of a type, and then its rules.

    Raises:
        CannotCompile: a handler holds something that cannot.
    """
    if issubclass(kind.cls, Opaque):
        raise CannotCompile(f"{kind.name} is {kind.cls.title()}", "it runs on the SimPy backend")
    for opaque in kind.of("process"):
        raise CannotCompile(f"{kind.name}.{opaque.name} is a SimPy process", "it runs on the SimPy backend")
    functions: dict[str, Callable[..., Any]] = {}
    lines = [f"def {name}(w: World, c: int, h: int) -> None:", "    w.current = c"]
    for base, column in BASES.items():
        lines.append(f"    {base} = w.{column}[c]")
    lines += ["    if h == 0:", "        w.queued[c] = 0", "    else:", "        note(w, c, h)"]
    for handler in kind.handlers:
        if handler.trigger.kind != "rule":
            lines.append(f"        if h == {handler.number}:")
            lines += _Writer(kind, handler, functions).body(3)
    if kind.rules:
        lines += ["    n = 0", "    while w.fault == 0:", "        w.fault_handler = 0"]
        for position, rule in enumerate(kind.rules):
            writer = _Writer(kind, rule, functions)
            lines.append(f"        {'elif' if position else 'if'} {writer.guard()}:")
            lines.append(f"            note(w, c, {rule.number})")
            lines += writer.body(3)
        lines += ["        else:", "            break", "        n += 1", "        if n >= RULES_MAX:"]
        lines.append("            fail(w, RULES_WITHOUT_END, c)")
    lines.append("    w.current = -1")
    return Translation(name, "\n".join(lines) + "\n", functions)


BASES = {
    "mb": "mode_base", "nb": "number_base", "db": "draw_base", "sb": "slot_base", "pb": "port_base",
    "xb": "transfer_base",
}  # fmt: skip


class _Writer:
    """Writes one handler."""

    def __init__(self, kind: ComponentType, handler: Handler, functions: dict[str, Callable[..., Any]]) -> None:
        self.kind, self.handler, self.functions = kind, handler, functions
        try:
            self.source = source(handler.function)
        except Misspelt as missing:
            raise CannotCompile(str(missing)) from missing
        self.names: dict[str, str] = {}  # local name -> its name in the kernel
        self._me = self.source.tree.args.args[0].arg
        self._in_guard = False

    def guard(self) -> str:
        guard = self.source.guard
        if guard is None:
            raise CannotCompile(f"{self.kind.name}.{self.handler.name}: its guard has no text", "@when(lambda m: …)")
        me, self._me, self._in_guard = self._me, guard[1], True
        try:
            return self.test(guard[0])
        finally:
            self._me, self._in_guard = me, False

    def body(self, depth: int) -> list[str]:
        lines: list[str] = []
        for statement in self.source.tree.body:
            self.statement(statement, depth, lines)
        return lines or ["    " * depth + "pass"]

    def bad(self, node: ast.AST, why: str, fix: str = "") -> CannotCompile:
        place = f"{self.source.place(node)}: {self.kind.name}.{self.handler.name}"
        return CannotCompile(f"{place}: {why}", fix or "it runs on the SimPy backend as it is")

    # --- names -------------------------------------------------------------------------------------------------------

    def field_of(self, node: ast.AST) -> Field | None:
        """The declared field that `m.name` names; None when it is something else."""
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == self._me):
            return None
        found = self.kind.fields.get(node.attr)
        constant = getattr(self.kind.cls, node.attr, None)
        if found is None and node.attr != "now" and not isinstance(constant, int | float):
            known = ", ".join(sorted(self.kind.fields))
            raise self.bad(
                node, f"{node.attr!r} is no declared field", f"declare it: Param, Var or State; known: {known}"
            )
        return found

    def at(self, known: Field) -> str:
        """Its index in the world, as text."""
        kind = self.kind
        if isinstance(known, State):
            return f"mb + {kind.at(known)}"
        if isinstance(known, Number):
            return f"nb + {kind.at(known)}"
        if isinstance(known, Timer):
            return f"sb + {kind.at(known)}"
        if isinstance(known, Port):
            return f"w.port[pb + {kind.at(known)}]"
        return f"xb + {kind.at(known)}"

    def lookup(self, name: str) -> object:
        closure = inspect.getclosurevars(self.handler.function)
        guard = self.handler.trigger.guard
        guarded = inspect.getclosurevars(guard) if guard is not None else closure
        for names in (closure.nonlocals, closure.globals, guarded.nonlocals, guarded.globals, closure.builtins):
            if name in names:
                return names[name]
        return self.handler.function.__globals__.get(name)

    # --- expressions -------------------------------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=bool()):
                return repr(node.value)
            case ast.Constant(value=int() | float() as number):
                return self.number(node, number)
            case ast.Constant():
                raise self.bad(node, f"{node.value!r} stands where a number should", "compare States with their names")
            case ast.Name():
                return self.name(node)
            case ast.BinOp():
                return self.arithmetic(node)
            case ast.BoolOp():
                if not truthful(node):
                    raise self.bad(node, "and, or stand where a number should", "write a if a else b")
                return self.test(node)
            case ast.UnaryOp(op=ast.USub()):
                return f"(-float({self.expression(node.operand)}))"
            case ast.UnaryOp(op=ast.Not()):
                return f"(not {self.test(node.operand)})"
            case ast.UnaryOp(op=ast.UAdd()):
                return self.expression(node.operand)
            case ast.IfExp():
                yes, no = self.expression(node.body), self.expression(node.orelse)
                return f"({yes} if {self.test(node.test)} else {no})"
            case ast.Compare():
                return self.compare(node)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Call():
                return self.call(node)
        raise self.bad(node, f"{type(node).__name__} cannot be compiled")

    def test(self, node: ast.expr) -> str:
        """Where only true or false counts: there `and` and `or` may join numbers."""
        if not isinstance(node, ast.BoolOp):
            return self.expression(node)
        word = " and " if isinstance(node.op, ast.And) else " or "
        return "(" + word.join(map(self.test, node.values)) + ")"

    def number(self, node: ast.AST, value: float) -> str:
        if not math.isfinite(value):
            raise self.bad(node, f"{value} is no finite number")
        return repr(float(value))

    def name(self, node: ast.Name) -> str:
        if node.id in self.names:
            return self.names[node.id]
        if self.local(node.id):
            raise self.bad(node, f"{node.id} may have no value here", "give it one before the if or the loop")
        value = self.lookup(node.id)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self.number(node, value)
        raise self.bad(node, f"{node.id!r} is neither a local name nor a number of the module")

    def local(self, name: str) -> bool:
        """Whether Python takes the name for one of the handler's own, given a value or not."""
        return not self._in_guard and name in self.handler.function.__code__.co_varnames

    def arithmetic(self, node: ast.BinOp) -> str:
        left, right = self.expression(node.left), self.expression(node.right)
        if type(node.op) in OPERATORS:  # as floats: true and false would count as whole numbers
            return f"(float({left}) {OPERATORS[type(node.op)]} {right})"
        if type(node.op) in CHECKED:
            return f"{CHECKED[type(node.op)]}(w, {left}, {right})"
        if isinstance(node.op, ast.Pow):
            return f"math_pow(w, {left}, {right})"
        raise self.bad(node, f"operator {type(node.op).__name__} cannot be compiled", "+ - * / // % **")

    def compare(self, node: ast.Compare) -> str:
        state = self.field_of(node.left)
        if isinstance(state, State):
            return self.compare_state(node, state)
        parts = [node.left, *node.comparators]
        texts = [self.expression(p) for p in parts]
        if any(isinstance(n, ast.Call) for middle in parts[1:-1] for n in ast.walk(middle)):
            raise self.bad(node, "a call in the middle of two comparisons", "give its value a local name first")
        pairs = []
        for operator, left, right in zip(node.ops, texts, texts[1:], strict=False):
            if type(operator) not in COMPARES:
                raise self.bad(node, f"{type(operator).__name__} is for States", "< <= > >= == !=")
            pairs.append(f"{left} {COMPARES[type(operator)]} {right}")
        return "(" + " and ".join(pairs) + ")"

    def compare_state(self, node: ast.Compare, state: State) -> str:
        right = node.comparators[0]
        several = right.elts if isinstance(right, ast.Tuple | ast.List | ast.Set) else [right]
        if len(node.ops) != 1 or not all(isinstance(v, ast.Constant) for v in several):
            raise self.bad(node, f"{state.name} is compared with something else than its names", 'm.state == "name"')
        values = [v.value for v in several if isinstance(v, ast.Constant)]
        for value in values:
            if value not in state.values:
                raise self.bad(node, f"{state.name} has no state {value!r}", f"one of {state.values}")
        tests = " or ".join(f"w.mode[{self.at(state)}] == {state.values.index(str(v))}" for v in values)
        return f"({tests})" if isinstance(node.ops[0], ast.Eq | ast.In) else f"(not ({tests}))"

    def attribute(self, node: ast.Attribute) -> str:
        known = self.field_of(node)
        if isinstance(known, Number):
            return f"w.number[{self.at(known)}]"
        if known is None and isinstance(node.value, ast.Name) and node.value.id == self._me:
            return "w.now" if node.attr == "now" else self.number(node, getattr(self.kind.cls, node.attr))
        if isinstance(node.value, ast.Name) and self.lookup(node.value.id) is math:
            constant = getattr(math, node.attr, None)
            if not isinstance(constant, float):
                raise self.bad(node, f"math.{node.attr} is no number")
            return self.number(node, constant)
        if isinstance(known, State):
            fix = f'compare it with a name: {ast.unparse(node)} == "{known.values[0]}"'
            raise self.bad(node, f"the state {known.name} stands where a number should", fix)
        owner = self.field_of(node.value)
        form = READS.get((sort_of(owner), node.attr)) if owner is not None else None
        if form is None or owner is None:
            raise self.bad(node, f"{ast.unparse(node)} cannot be read", offer(owner, READS))
        port = f"pb + {self.kind.at(owner)}" if isinstance(owner, Port) else ""
        return self.guarded(owner, node.attr, form.format(e=self.at(owner), p=port))

    def call(self, node: ast.Call) -> str:
        if node.keywords:
            raise self.bad(node, "arguments by name", "give them by place")
        given = [self.expression(a) for a in node.args]
        if isinstance(node.func, ast.Attribute):
            owner = self.field_of(node.func.value)
            if isinstance(owner, Distribution) and node.func.attr == "draw" and not given:
                return self.draw(owner)
            if isinstance(owner, Port) and owner.to is Buffer and node.func.attr == "pop" and not given:
                return self.guarded(owner, "pop", f"pop(w, {self.at(owner)})")
            if isinstance(node.func.value, ast.Name) and self.lookup(node.func.value.id) is math:
                return self.math(node, node.func.attr, given)
        if isinstance(node.func, ast.Name):
            value = self.lookup(node.func.id)
            if inspect.isfunction(value):
                return self.own(node, value, given)
            if node.func.id in PLAIN_CALLS:
                if len(given) not in PLAIN_CALLS[node.func.id]:
                    raise self.bad(node, f"{node.func.id}() of {len(given)} arguments", "give numbers, not a list")
                return f"{node.func.id}({', '.join(given)})"
            if node.func.id in WHOLE_CALLS:
                if len(given) != 1:
                    raise self.bad(node, f"{node.func.id}() of {len(given)} arguments", "give one number")
                return f"math_{WHOLE_CALLS[node.func.id]}(w, {given[0]})"
        raise self.bad(node, f"{ast.unparse(node.func)}() cannot be compiled")

    def math(self, node: ast.AST, name: str, given: Sequence[str]) -> str:
        if name not in MATH:
            raise self.bad(node, f"math.{name} cannot be compiled", f"one of {', '.join(MATH)}")
        if len(given) != ARGUMENTS.get(name, 1):
            raise self.bad(node, f"math.{name} of {len(given)} arguments", f"give {ARGUMENTS.get(name, 1)}")
        return f"math_{name}(w, {', '.join(given)})"

    def own(self, node: ast.AST, function: Callable[..., Any], given: Sequence[str]) -> str:
        wanted = len(inspect.signature(function).parameters)
        if wanted != len(given):
            raise self.bad(node, f"{function.__name__} takes {wanted} arguments, not {len(given)}")
        # Functions of several modules may be called alike, and one text may hold several numbers.
        held = {n: v for n, v in inspect.getclosurevars(function).nonlocals.items() if isinstance(v, int | float)}
        place = f"{function.__module__}.{function.__qualname__}:{function.__code__.co_firstlineno} {held}"
        name = f"user_{function.__name__}_{hashlib.blake2s(place.encode(), digest_size=4).hexdigest()}"
        self.functions[name] = function
        return f"{name}({', '.join(['w', *given])})"

    def draw(self, chance: Distribution) -> str:
        own = self.kind.chances[self.kind.at(chance)]
        return f"draw(w, db + {own.index}, nb + {self.kind.draw_at(own)})"

    # --- statements --------------------------------------------------------------------------------------------------

    def statement(self, node: ast.stmt, depth: int, lines: list[str]) -> None:
        def out(text: str) -> None:
            lines.append("    " * depth + text)

        match node:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                out("pass")
            case ast.Break():
                out("break")
            case ast.Continue():
                out("continue")
            case ast.If():
                out(f"if {self.test(node.test)}:")
                self.branches((node.body, node.orelse), depth, lines)
            case ast.For():
                self.loop(node, depth, lines)
            case ast.Assign(targets=[target]):
                self.assign(target, self.value_of(target, node.value), out)
            case ast.AnnAssign(target=target, value=ast.expr()):
                assert node.value is not None
                self.assign(target, self.value_of(target, node.value), out)
            case ast.AugAssign():
                old = ast.BinOp(ast.copy_location(loaded(node.target), node.target), node.op, node.value)
                self.assign(node.target, self.expression(ast.copy_location(old, node)), out)
            case ast.Expr(value=ast.Call()):
                assert isinstance(node.value, ast.Call)
                self.operation(node.value, out)
            case _:
                fix = "use if/else, for … in range(…), assignments and operations of fields"
                raise self.bad(node, f"a statement {type(node).__name__} cannot be compiled", fix)

    def branches(self, bodies: Sequence[Sequence[ast.stmt]], depth: int, lines: list[str]) -> None:
        """What was named on one way only is not named afterwards: Python would say so when it gets there."""
        before, after = dict(self.names), []
        for position, body in enumerate(bodies):
            if position and body:
                lines.append("    " * depth + "else:")
            self.names = dict(before)
            self.block(body, depth, lines)
            after.append(self.names)
        self.names = {name: text for name, text in after[0].items() if all(name in names for names in after)}

    def guarded(self, owner: Field, name: str, text: str) -> str:
        """The text of what is read, a fault when an optional port of it is free."""
        test = "" if name in ("connected", "rate") else self.ties(owner)
        return f"({text} if {test} else 0.0)" if test else text

    def ties(self, owner: Field) -> str:
        """The test that the optional ports in use lead somewhere; "" when none is optional."""
        ports = [owner] if isinstance(owner, Port) else [owner.src, owner.dst] if isinstance(owner, Transfer) else []
        return " and ".join(f"tied(w, pb + {self.kind.at(p)})" for p in map(self.own_port, ports) if p.optional)

    def own_port(self, port: Port) -> Port:
        found = self.kind.fields[port.name]
        assert isinstance(found, Port)
        return found

    def block(self, body: Sequence[ast.stmt], depth: int, lines: list[str]) -> None:
        for each in body:
            self.statement(each, depth + 1, lines)

    def loop(self, node: ast.For, depth: int, lines: list[str]) -> None:
        fits = (
            isinstance(node.iter, ast.Call)
            and isinstance(node.iter.func, ast.Name)
            and node.iter.func.id == "range"
            and len(node.iter.args) == 1
            and isinstance(node.target, ast.Name)
            and not node.orelse
        )
        if not fits:
            raise self.bad(node, "a loop over something else than range(n)", "for k in range(n): …")
        assert isinstance(node.iter, ast.Call)
        assert isinstance(node.target, ast.Name)
        name = f"k_{node.target.id}"
        lines.append("    " * depth + f"for {name} in range(turns(w, {self.expression(node.iter.args[0])})):")
        before = dict(self.names)
        self.names[node.target.id] = f"float({name})"
        self.block(node.body, depth, lines)
        self.names = before  # it may turn not even once

    def value_of(self, target: ast.expr, value: ast.expr) -> str:
        """The text of what is assigned; names of states stay names."""
        state = self.field_of(target)
        if isinstance(state, State):
            if not isinstance(value, ast.Constant) or value.value not in state.values:
                raise self.bad(value, f"{state.name} becomes {ast.unparse(value)}", f"one of {state.values}")
            return str(value.value)
        return self.expression(value)

    def assign(self, target: ast.expr, value: str, out: Callable[[str], None]) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = f"v_{target.id}"
            out(f"v_{target.id} = {value}")
            return
        known = self.field_of(target)
        if isinstance(known, State):
            self.enter(known, value, out)
        elif isinstance(known, Number):
            if any(t.speed is not None and t.speed.name == known.name for t in self.kind.timers):
                out(f"assign(w, c, {self.at(known)}, checked(w, {value}))")
            else:
                out(f"w.number[{self.at(known)}] = checked(w, {value})")
        else:
            owner = self.field_of(target.value) if isinstance(target, ast.Attribute) else None
            form = WRITES.get((sort_of(owner), target.attr)) if isinstance(target, ast.Attribute) else None
            if form is None or owner is None:
                raise self.bad(target, f"{ast.unparse(target)} cannot be set", offer(owner, WRITES))
            port = f"pb + {self.kind.at(owner)}" if isinstance(owner, Port) else ""
            self.perform(owner, form.format(e=self.at(owner), p=port, x=value), out)

    def perform(self, owner: Field, text: str, out: Callable[[str], None]) -> None:
        test = self.ties(owner)
        out(f"if {test}:" if test else text)
        if test:
            out("    " + text)

    def enter(self, state: State, value: str, out: Callable[[str], None]) -> None:
        out(f"enter(w, {self.at(state)}, {state.values.index(value)})")
        for timer in self.kind.timers:
            if timer.gate is not None and timer.gate.state.name == state.name:
                verb = "resume" if value in timer.gate.values else "hold"
                out(f"{verb}(w, {self.at(timer)})")

    def operation(self, node: ast.Call, out: Callable[[str], None]) -> None:
        owner = self.field_of(node.func.value) if isinstance(node.func, ast.Attribute) else None
        if owner is None or not isinstance(node.func, ast.Attribute) or node.keywords:
            raise self.bad(node, f"{ast.unparse(node)} is no operation of a field")
        name, given = node.func.attr, [self.expression(a) for a in node.args]
        if isinstance(owner, Timer) and name == "start" and not given:
            if owner.chance is None:
                raise self.bad(node, f"{owner.name} has no distribution", "start it with a time")
            given = [self.draw(owner.chance)]
        form = CALLS.get((sort_of(owner), name, len(given)))
        if form is None:
            known = sorted({n for sort, n, _ in CALLS if sort is sort_of(owner)})
            raise self.bad(node, f"{owner.name} has no {name}({', '.join('…' for _ in given)})", f"it has {known}")
        if isinstance(owner, Port) and name == "request":
            granted = self.kind.timed(owner)
            if granted is None:
                raise self.bad(node, f"{owner.name}.request() has no handler", f"write one with @on({owner.name})")
            given = [f"c * TRACE_BASE + {granted.number}"]
        self.perform(owner, form.format(*given, e=self.at(owner)), out)
