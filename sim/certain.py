"""Mistakes in the text of handlers that can never be right, found when a type is first used; must not know backends.

What merely cannot be compiled is no mistake. What is refused here would run without a word and do other than it reads: a
state that there is not, a name that is declared nowhere, chance that no seed repeats, a timer that nobody hears.
"""

from __future__ import annotations

import ast
import datetime
import random
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import isfunction
from typing import Any

import numpy as np

from sim.kernel.source import Source, source
from sim.kernel.subset import WRITES, offer, sort_of
from sim.spec import ComponentType, Distribution, Field, Handler, Hazard, Misspelt, Opaque, State
from twin.nearest import nearest

DEPTH_MAX = 8  # functions that call functions
SEEDED = (random.Random, np.random.default_rng, np.random.Generator, np.random.SeedSequence, np.random.RandomState)
CLOCKS = (time, secrets, uuid)


def refuse_certain(kind: ComponentType) -> None:
    """Raise what a type's handlers hold that can never be right.

    Raises:
        Misspelt: naming component, handler, line and fix.
    """
    if issubclass(kind.cls, Opaque):
        return
    texts = [(h, text) for h in kind.handlers if (text := _text(h)) is not None]
    set_anywhere = {n.attr for h, text in texts for n in _set(_Reading(kind, h, text)) if isinstance(n, ast.Attribute)}
    for handler, text in texts:
        reading = _Reading(kind, handler, text)
        reading.states()
        reading.assignments(set_anywhere)
        reading.names(set_anywhere)
        reading.chance()
    if len(texts) == len(kind.handlers):
        _unheard(kind, [text for _, text in texts])


def _text(handler: Handler) -> Source | None:
    try:
        return source(handler.function)
    except Misspelt:  # typed into a console
        return None


def _set(reading: _Reading) -> Iterator[ast.expr]:
    for node in ast.walk(reading.text.tree):
        if isinstance(node, ast.Assign):
            yield from node.targets
        elif isinstance(node, ast.AnnAssign):
            yield node.target


def _unheard(kind: ComponentType, texts: list[Source]) -> None:
    """Timers that fire without anything that follows."""
    nodes = [n for text in texts for tree in (text.tree, text.guard and text.guard[0]) if tree for n in ast.walk(tree)]
    asked, started = _of_fields(nodes, "running"), _of_fields(nodes, "start")
    for timer in kind.timers:
        heard = kind.timed(timer) is not None or timer.name in asked or bool(kind.rules)
        if not heard and (isinstance(timer, Hazard) or timer.name in started):
            raise Misspelt(f"{kind.name}.{timer.name} fires and nothing follows", f"write a handler @on({timer.name})")


def _of_fields(nodes: list[ast.AST], word: str) -> set[str]:
    """The fields of which `word` is asked."""
    said = (n.value for n in nodes if isinstance(n, ast.Attribute) and n.attr == word)
    return {owner.attr for owner in said if isinstance(owner, ast.Attribute)}


@dataclass(frozen=True, slots=True)
class _Reading:
    """One handler, read."""

    kind: ComponentType
    handler: Handler
    text: Source

    def wrong(self, node: ast.AST, why: str, fix: str) -> Misspelt:
        return Misspelt(f"{self.text.place(node)}: {self.kind.name}.{self.handler.name}: {why}", fix)

    def parts(self) -> Iterator[tuple[ast.AST, str]]:
        """Handler and guard, and what the component is called there."""
        yield self.text.tree, self.text.tree.args.args[0].arg
        if self.text.guard is not None:
            yield self.text.guard

    def own(self) -> Iterator[tuple[ast.Attribute, str]]:
        """Every `self.name`."""
        for tree, me in self.parts():
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == me:
                    yield node, me

    def field(self, node: ast.AST) -> Field | None:
        me = {name for _, name in self.parts()}
        named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in me
        return self.kind.fields.get(node.attr) if named and isinstance(node, ast.Attribute) else None

    def states(self) -> None:
        """Values that a state has not, in comparisons and assignments."""
        for tree, _ in self.parts():
            for node in ast.walk(tree):
                if isinstance(node, ast.Compare):
                    sides = [node.left, *node.comparators]
                    for state in filter(lambda f: isinstance(f, State), map(self.field, sides)):
                        for side in sides:
                            self.state_value(state, side)
                elif isinstance(node, ast.Assign):
                    for target in node.targets:
                        self.state_value(self.field(target), node.value)

    def state_value(self, state: Field | None, node: ast.expr) -> None:
        if not isinstance(state, State):
            return
        for each in node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]:
            if isinstance(each, ast.Constant) and each.value not in state.values:
                raise self.wrong(each, f"{state.name} has no state {each.value!r}", f"one of {state.values}")

    def assignments(self, set_anywhere: set[str]) -> None:
        """What is set without effect."""
        for node in ast.walk(self.text.tree):
            targets = list(node.targets) if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AugAssign | ast.AnnAssign):
                targets = [node.target]
            for target in targets:
                if isinstance(target, ast.Attribute):
                    self.target(target, node, set_anywhere)

    def target(self, target: ast.Attribute, node: ast.AST, set_anywhere: set[str]) -> None:
        me, fields = self.text.tree.args.args[0].arg, self.kind.fields
        owner = self.field(target.value)
        if owner is not None and (sort_of(owner), target.attr) not in WRITES:
            if isinstance(owner, Distribution):
                fix = f"a scenario sets it: name.{owner.name}.{target.attr}=…; here draw, and multiply by a Var"
            else:
                fix = offer(owner, WRITES) or "look at what it has in docs/components.md"
            raise self.wrong(target, f"{ast.unparse(target)} cannot be set", fix)
        if not (isinstance(target.value, ast.Name) and target.value.id == me) or target.attr in fields:
            return
        if hasattr(self.kind.cls, target.attr) or self.kind.of("process"):
            return
        value = getattr(node, "value", None)
        counted = isinstance(value, ast.BinOp) or (
            isinstance(value, ast.Constant) and isinstance(value.value, int | float)
        )
        alone = isinstance(node, ast.AugAssign) and target.attr not in set_anywhere
        if counted or alone or nearest(target.attr, list(fields)):
            raise self.unknown(target)

    def unknown(self, node: ast.Attribute) -> Misspelt:
        fix = nearest(node.attr, list(self.kind.fields)) or f"declare it: {node.attr} = Var(0)"
        return self.wrong(node, f"{node.attr!r} is declared nowhere", fix)

    def names(self, set_anywhere: set[str]) -> None:
        """What is read and is nowhere."""
        for node, _ in self.own():
            known = node.attr in self.kind.fields or node.attr in set_anywhere or hasattr(self.kind.cls, node.attr)
            if isinstance(node.ctx, ast.Load) and not known and node.attr != "handle" and not self.kind.of("process"):
                raise self.unknown(node)

    def chance(self) -> None:
        """Chance or clocks of the computer, here and in functions that are called."""
        guard = self.handler.trigger.guard
        for function, (tree, _) in zip((self.handler.function, guard), self.parts(), strict=False):
            found = _chance_in(tree, function, DEPTH_MAX) if isfunction(function) else None
            if found is not None:
                why = f"{ast.unparse(found)}() differs from run to run, whatever the seed"
                raise self.wrong(
                    self.text.tree, why, "declare a distribution, such as Uniform(0, 1), and draw() from it"
                )


def _chance_in(tree: ast.AST, function: Callable[..., Any], depth: int) -> ast.expr | None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = _meant(node.func, function)
        if _differs(called):
            return node.func
        if depth and isfunction(called) and called.__module__ == function.__module__:
            try:
                inner = _chance_in(source(called).tree, called, depth - 1)
            except Misspelt:
                continue
            if inner is not None:
                return inner
    return None


def _meant(node: ast.expr, function: Callable[..., Any]) -> object:
    """What `a.b.c` names in the function's module; None when it is something of its own."""
    if isinstance(node, ast.Name):
        return function.__globals__.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _meant(node.value, function)
        return None if owner is None else getattr(owner, node.attr, None)
    return None


def _differs(called: object) -> bool:
    """Whether a function gives something else each time, by no seed of ours."""
    if called is None or any(called is each for each in SEEDED):
        return False
    own = getattr(called, "__self__", None)
    if own is datetime.datetime:
        return getattr(called, "__name__", "") in ("now", "utcnow", "today")
    return getattr(own, "__class__", None) in (random.Random, random.SystemRandom, np.random.RandomState) or (
        getattr(called, "__module__", None) in [m.__name__ for m in CLOCKS] or any(own is m for m in CLOCKS)
    )
