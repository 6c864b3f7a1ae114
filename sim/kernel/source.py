"""The text of handlers and guards, as syntax trees with their place in the user's file; must not translate them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sim.kernel.syntax import parsed
from sim.spec import Buffer, ComponentType, Level, Misspelt, Opaque, Resource, Signal, Transfer

SEEN: dict[type, tuple[str, ...]] = {Buffer: ("level", "space", "first"), Resource: ("free",), Signal: ("value",)}
"""What a rule may watch of each sort of thing."""


@dataclass(frozen=True, slots=True)
class Source:
    """One function as text.

    Attributes:
        guard: of a rule: the expression of its lambda, and the lambda's parameter.
        line: of the file, where `tree` begins.
    """

    tree: ast.FunctionDef
    guard: tuple[ast.expr, str] | None
    file: str
    line: int

    def place(self, node: ast.AST) -> str:
        """`file:line` of a part of it."""
        return f"{self.file}:{self.line + getattr(node, 'lineno', 1) - 1}"


@lru_cache(maxsize=4096)  # handlers of one process
def source(function: Callable[..., Any]) -> Source:
    """The text of a handler.

    Raises:
        Misspelt: there is none (it was typed into a console), or a guard is no lambda.
    """
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or ""
    except (OSError, TypeError) as missing:
        raise Misspelt(f"{function.__qualname__} has no source text", "write it into a file") from missing
    tree = parsed(textwrap.dedent("".join(lines))).body[0]
    if not isinstance(tree, ast.FunctionDef):
        raise Misspelt(f"{function.__qualname__} is no plain function", "write def name(self)")
    return Source(tree, _guard(function, tree), file, first)


def _guard(function: Callable[..., Any], tree: ast.FunctionDef) -> tuple[ast.expr, str] | None:
    for mark in tree.decorator_list:
        if isinstance(mark, ast.Call) and getattr(mark.func, "id", getattr(mark.func, "attr", "")) == "when":
            if mark.args and isinstance(mark.args[0], ast.Lambda) and len(mark.args[0].args.args) == 1:
                return mark.args[0].body, mark.args[0].args.args[0].arg
            raise Misspelt(f"the guard of {function.__qualname__} is no lambda of one thing", "@when(lambda m: …)")
    return None


def _hands_over(kind: ComponentType, guard: ast.expr, me: str) -> bool:
    """Whether a guard gives the component to a function, a method or a property, which may look at any of its ports."""
    seen = [n for n in ast.walk(guard) if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == me]
    own = all(n.attr in kind.fields or isinstance(getattr(kind.cls, n.attr, None), int | float) for n in seen)
    whole = sum(isinstance(n, ast.Name) and n.id == me for n in ast.walk(guard)) > len(seen)
    return whole or not own


@lru_cache(maxsize=4096)
def watched(kind: ComponentType) -> frozenset[str]:
    """The ports that a type's rules look at. Without source text: all that can be watched.

    Raises:
        Misspelt: a rule watches what changes without an event: a level, or the time.
    """
    found = set(kind.cls.watched() if issubclass(kind.cls, Opaque) else ())
    for rule in kind.rules:
        try:
            guard = source(rule.function).guard
        except Misspelt:
            return frozenset(p.name for p in kind.ports if p.to in SEEN)
        if guard is None:
            continue
        for node in ast.walk(guard[0]):
            if not isinstance(node, ast.Attribute):
                continue
            place = f"{source(rule.function).place(node)}: rule {kind.name}.{rule.name}"
            if isinstance(node.value, ast.Name) and node.value.id == guard[1] and node.attr == "now":
                raise Misspelt(f"{place} watches the time", "start a Timer, and watch a State that it sets")
            port = node.value.attr if isinstance(node.value, ast.Attribute) else ""
            known = next((p for p in kind.ports if p.name == port), None)
            if known is not None and known.to is Level and node.attr in ("level", "space", "flow"):
                fix = f'@crosses({port}, <Param>, "up" or "down"), and watch a State that it sets'
                raise Misspelt(f"{place} watches {port}.{node.attr}, which moves all the time", fix)
            if isinstance(kind.fields.get(port), Transfer) and node.attr == "flow":
                fix = '@crosses(the source, <Param>, "down"), and watch a State that it sets'
                raise Misspelt(f"{place} watches {port}.flow, which changes when its source runs empty", fix)
            if known is not None and node.attr in SEEN.get(known.to, ()):
                found.add(port)
        if _hands_over(kind, *guard):
            found |= {p.name for p in kind.ports if p.to in SEEN}
    return frozenset(found)
