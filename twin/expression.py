"""Expressions over the twin, such as `tank_1.level > 1.2 m and not this.fault`: parsed once, judged over columns; pure.

Must not know who asks. An expression is true, false, or cannot be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan

from twin import expression_nodes as nodes
from twin import expression_syntax as syntax
from twin.columns import Columns
from twin.expression_types import Typing
from twin.interlock import Sight, amount, see, shown, trouble
from twin.points import Point


@dataclass(frozen=True, slots=True)
class Answer:
    """What an expression says now.

    Attributes:
        truth: None: cannot be told.
        detail: which parts do not hold or cannot be told, with what was seen; "" where it is true.
        seen: every point it uses.
    """

    truth: bool | None
    detail: str
    seen: tuple[Sight, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """What the expression joins by its outermost `and`, so that a refusal names the part that refuses.

    Attributes:
        slots: of the points it uses.
        is_of_value: it uses what is commanded.
    """

    text: str
    truth: nodes.Truth
    slots: tuple[int, ...]
    is_of_value: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition.

    Attributes:
        used: the points it looks at.
        terms: all must hold.
        needed: per point, whether its value is needed whatever the other parts say.
        target: the point whose command `value` is, None where there is none.
    """

    text: str
    used: tuple[Point, ...]
    terms: tuple[Term, ...]
    needed: tuple[bool, ...]
    target: Point | None

    @property
    def points(self) -> tuple[int, ...]:
        """Ids of the points it looks at."""
        return tuple(p.id for p in self.used)

    def holds(self, columns: Columns, now: int, value: float | None = None, max_age_s: float = inf) -> Answer:
        """Whether it holds.

        Args:
            now: ns since 1970 UTC.
            value: what is commanded.
            max_age_s: what was received longer ago counts as not known.
        """
        seen = tuple([see(columns, point, now) for point in self.used])
        troubles = [trouble(s, p, max_age_s) for s, p in zip(seen, self.used, strict=True)]
        frame = nodes.Frame(seen, troubles, nan if value is None else value)
        truths = [t.truth.at(frame) for t in self.terms]
        # A needed instrument that is broken decides, even where the other half of an `or` would hold without it: somebody
        # must see it. Whoever has a second instrument says so with good().
        broken = any(troubles) and any(bad and needed for bad, needed in zip(troubles, self.needed, strict=True))
        if all(truths) and not broken:
            return Answer(True, "", seen)
        return Answer(None if broken or False not in truths else False, self._why(seen, troubles, truths, value), seen)

    def _why(self, seen: tuple[Sight, ...], troubles: list[str], truths: list[bool | None], value: float | None) -> str:
        said: list[str] = []
        for term, truth in zip(self.terms, truths, strict=True):
            bad = [f"{seen[s].point} {troubles[s]}" for s in term.slots if troubles[s]]
            if bad and (truth is None or any(troubles[s] and self.needed[s] for s in term.slots)):
                said.append(f"{term.text} cannot be told: {', '.join(bad)}")
            elif not truth:
                facts = [shown(seen[s], self.used[s]) for s in term.slots if not troubles[s]] + bad
                if term.is_of_value and self.target is not None:
                    facts.append(f"value is {amount(value, self.target)}")
                words = "does not hold" if truth is False else "cannot be told"
                said.append(f"{term.text} {words}: {', '.join(facts) or 'it never does'}")
        return "; ".join(said)


def parse(text: str, points: Mapping[str, Point], *, target: Point | None = None) -> Expression:
    """An expression from its text.

    Args:
        points: of the plant, by name.
        target: the commanded point, which `value` and `this` mean.

    Raises:
        BadRequest: column, what is wrong, how to mend it.
    """
    return typed(text, syntax.read(text), points, target)


def typed(text: str, tree: syntax.Node, points: Mapping[str, Point], target: Point | None) -> Expression:
    """As `parse`, of a text that was read before: one row of a plant may guard a thousand points."""
    typing = Typing(text, points, target)
    parts = tree.parts if isinstance(tree, syntax.Logic) and tree.word == "and" else (tree,)
    terms = tuple(_term(typing, part) for part in parts)
    needed = tuple(slot in typing.demanded and slot not in typing.asked for slot in range(len(typing.used)))
    return Expression(text, tuple(typing.used), terms, needed, target)


def speaks_of_target(tree: syntax.Node) -> bool:
    """Whether it says something else for another commanded point."""
    words = _leaves(tree)
    return any(isinstance(w, syntax.Commanded) or (isinstance(w, syntax.Name) and w.is_of_target) for w in words)


def _term(typing: Typing, part: syntax.Node) -> Term:
    truth = typing.truth(part)
    words = list(_leaves(part))
    slots = dict.fromkeys(typing.slot(w) for w in words if isinstance(w, syntax.Name))
    is_of_value = any(isinstance(w, syntax.Commanded) for w in words)
    return Term(typing.said(part.place), truth, tuple(slots), is_of_value)


def _leaves(node: syntax.Node) -> list[syntax.Node]:
    match node:
        case syntax.Call(arguments=inner) | syntax.Logic(parts=inner) | syntax.Chain(parts=inner):
            return [leaf for part in inner for leaf in _leaves(part)]
        case syntax.Not(inner=part) | syntax.Minus(inner=part):
            return _leaves(part)
        case syntax.Arithmetic(left=left, right=right):
            return [*_leaves(left), *_leaves(right)]
        case _:
            return [node]
