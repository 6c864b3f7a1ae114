"""Expressions as text: words and their order, as a tree that nothing was looked up for; must not know points or units' use.

Grammar, loosest first:
    or, and, not, a chain of comparisons, + and -, * and /, unary minus, and the atoms of `_Reader._atom`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from twin.errors import BadRequest
from twin.nearest import nearest
from twin.units import SPELLINGS, UNITS

LENGTH_MAX = 1_000  # characters: more than a person checks by reading
DEPTH_MAX = 32  # brackets, `not` and minus in one another: far more than a reader follows, far less than Python's stack
NODES_MAX = 200  # parts of one expression: keeps judging one under a tenth of a millisecond, it happens at every send

FUNCTIONS = {"abs": 1, "min": 2, "max": 2, "age": 1, "good": 1}  # name -> least arguments
MANY = ("min", "max")
TRUTHS = {"on": True, "off": False, "true": True, "false": False}
WORDS = ("and", "or", "not", "value", *TRUTHS, *FUNCTIONS)

_UNIT = "|".join(re.escape(s) for s in sorted(filter(None, SPELLINGS), key=len, reverse=True))
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_TOKEN = re.compile(
    rf"(?P<number>{_NUMBER})(?:[ \t]*(?P<unit>{_UNIT})(?!\w|\.\w))?"
    r"|(?P<name>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)"
    r"|'(?P<single>[^'\n]*)'|\"(?P<double>[^\"\n]*)\""
    r"|(?P<sign>==|!=|<=|>=|<|>|[-+*/(),])",
    re.ASCII,
)
_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[^\W\d]\w*|\S")
_INSTEAD = {
    "=": "write == to compare", "&": "write and", "|": "write or", "!": "write not, or != to compare",
    "≥": "write >=", "≤": "write <=", "≠": "write !=", "'": "close the text with '", '"': 'close the text with "',
    "^": "write a * a", "×": "write *", "·": "write *", "−": "write - (the minus of the keyboard)",
}  # fmt: skip
UPWARD, DOWNWARD, EQUAL = ("<", "<="), (">", ">="), ("==", "!=")


def _unit(spelt: str | None) -> str | None:
    """Its symbol; some have two spellings."""
    return None if spelt is None else SPELLINGS[spelt].symbol


@dataclass(frozen=True, slots=True)
class Place:
    """From where to where in the text, counted from 0."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Number:
    """`unit` None: the text names none."""

    value: float
    unit: str | None
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Truth:
    value: bool
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A point, or `this.property`."""

    name: str
    place: Place = field(compare=False)

    @property
    def is_of_target(self) -> bool:
        return self.name.startswith("this.")


@dataclass(frozen=True, slots=True)
class Commanded:
    """`value`."""

    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Node, ...]
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    inner: Node
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Minus:
    inner: Node
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`sign` is + - * or /."""

    sign: str
    left: Node
    right: Node
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """`parts[0] signs[0] parts[1] signs[1] …`: every neighbour compared with the next."""

    parts: tuple[Node, ...]
    signs: tuple[str, ...]
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Logic:
    """`word` is `and` or `or`."""

    word: str
    parts: tuple[Node, ...]
    place: Place = field(compare=False)


Node = Number | Truth | Text | Name | Commanded | Call | Not | Minus | Arithmetic | Chain | Logic
Operand = Callable[[], Node]


def wrong(place: Place, what: str, fix: str) -> NoReturn:
    """
    Raises:
        BadRequest: always; columns count from 1.
    """
    raise BadRequest(f"column {place.start + 1}: {what}", fix)


def read(text: str) -> Node:
    """The tree of an expression.

    Raises:
        BadRequest: column, what is wrong, how to mend it.
    """
    if len(text) > LENGTH_MAX:
        raise BadRequest(f"the expression has {len(text)} characters", f"at most {LENGTH_MAX}; split it in two")
    return _Reader(text).whole()


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind` is `number`, `name`, `text`, `sign` or `end`."""

    kind: str
    text: str
    place: Place
    unit: str | None = None


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = _SPACE.match(text).end()  # type: ignore[union-attr]  # matches the empty text too
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            word = _WORD.match(text, at)
            shown = word[0] if word else text[at]
            wrong(
                Place(at, at + 1),
                f"{shown!r} means nothing here",
                _INSTEAD.get(shown, "see the grammar of expressions"),
            )
        place = Place(at, match.end())
        if match["number"] is not None:
            found.append(_Token("number", match["number"], place, _unit(match["unit"])))
        elif match["name"] is not None:
            found.append(_Token("name", match["name"], place))
        elif match["sign"] is not None:
            found.append(_Token("sign", match["sign"], place))
        else:
            found.append(_Token("text", match["single"] if match["single"] is not None else match["double"], place))
        at = _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]
    return [*found, _Token("end", "", Place(len(text), len(text)))]


class _Reader:
    """Reads from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._nodes = 0

    def whole(self) -> Node:
        node = self._or()
        token = self._next
        if token.kind != "end":
            self._complain_of_rest(token)
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *signs: str) -> _Token | None:
        """The next token, where it is one of these signs or words."""
        token = self._next
        if token.kind in ("sign", "name") and token.text in signs:
            self._at += 1
            return token
        return None

    def _count(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            wrong(node.place, f"more than {NODES_MAX} parts", "split it into several interlocks")
        return node

    def _deeper(self, place: Place) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            wrong(place, f"more than {DEPTH_MAX} levels of brackets, not and minus", "write it flatter")

    # --- loosest to tightest -----------------------------------------------------------------------------------------

    def _or(self) -> Node:
        return self._logic("or", self._and)

    def _and(self) -> Node:
        return self._logic("and", self._not)

    def _logic(self, word: str, inner: Operand) -> Node:
        parts = [inner()]
        while self._take(word):
            parts.append(inner())
        if len(parts) == 1:
            return parts[0]
        return self._count(Logic(word, tuple(parts), Place(parts[0].place.start, parts[-1].place.end)))

    def _not(self) -> Node:
        token = self._take("not")
        if token is None:
            return self._comparison()
        self._deeper(token.place)
        inner = self._not()
        self._depth -= 1
        return self._count(Not(inner, Place(token.place.start, inner.place.end)))

    def _comparison(self) -> Node:
        parts, signs = [self._sum()], list[str]()
        while token := self._take(*EQUAL, *UPWARD, *DOWNWARD):
            signs.append(token.text)
            if len(signs) > 1 and not (set(signs) <= set(UPWARD) or set(signs) <= set(DOWNWARD)):
                wrong(token.place, f"{' and '.join(signs)} in one chain", "chain < and <=, or > and >=; else write and")
            parts.append(self._sum())
        if not signs:
            return parts[0]
        return self._count(Chain(tuple(parts), tuple(signs), Place(parts[0].place.start, parts[-1].place.end)))

    def _sum(self) -> Node:
        return self._arithmetic(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._arithmetic(("*", "/"), self._minus)

    def _arithmetic(self, signs: tuple[str, ...], inner: Operand) -> Node:
        left = inner()
        while token := self._take(*signs):
            right = inner()
            left = self._count(Arithmetic(token.text, left, right, Place(left.place.start, right.place.end)))
        return left

    def _minus(self) -> Node:
        token = self._take("-")
        if token is None:
            return self._atom()
        self._deeper(token.place)
        inner = self._minus()
        self._depth -= 1
        place = Place(token.place.start, inner.place.end)
        # The sign belongs to the number: -5 degC is five degrees below zero, not the negative of an absolute temperature.
        if isinstance(inner, Number) and self._tokens[self._at - 1].kind == "number":
            return Number(-inner.value, inner.unit, place)
        return self._count(Minus(inner, place))

    def _atom(self) -> Node:
        token = self._next
        if token.kind == "number":
            return self._number(token)
        if token.kind == "text":
            self._at += 1
            return self._count(Text(token.text, token.place))
        if opening := self._take("("):
            self._deeper(opening.place)
            inner = self._or()
            closing = self._close(opening)
            self._depth -= 1
            return replace(inner, place=Place(opening.place.start, closing.place.end))
        if token.kind == "name" and token.text not in ("and", "or", "not"):
            self._at += 1
            return self._word(token)
        if token.kind == "end":
            wrong(token.place, "the expression ends too early", "write a point, a number or a bracket here")
        wrong(token.place, f"{token.text!r} where a value is wanted", "write a point, a number or a bracket here")

    def _number(self, token: _Token) -> Node:
        self._at += 1
        value = float(token.text)
        if not math.isfinite(value):
            wrong(token.place, f"{token.text[:20]} is too large a number", "stay below 1e308")
        return self._count(Number(value, token.unit, token.place))

    def _word(self, token: _Token) -> Node:
        name = token.text
        if name in TRUTHS:
            return self._count(Truth(TRUTHS[name], token.place))
        if name == "value":
            return self._count(Commanded(token.place))
        if name in FUNCTIONS:
            return self._call(token)
        if "." not in name:
            fix = nearest(name, WORDS) or "points are written twin.property, texts in quotes: 'auto'"
            wrong(token.place, f"{name!r} is no word of expressions", fix)
        return self._count(Name(name, token.place))

    def _call(self, token: _Token) -> Node:
        name, opening = token.text, self._take("(")
        if opening is None:
            wrong(token.place, f"{name} needs its arguments in brackets", f"write {name}(…)")
        self._deeper(opening.place)
        arguments = [self._or()]
        while self._take(","):
            arguments.append(self._or())
        closing = self._close(opening)
        self._depth -= 1
        least = FUNCTIONS[name]
        if len(arguments) < least or (len(arguments) > least and name not in MANY):
            wanted = f"{least} or more" if name in MANY else str(least)
            wrong(token.place, f"{name} has {len(arguments)} arguments", f"give {wanted}")
        return self._count(Call(name, tuple(arguments), Place(token.place.start, closing.place.end)))

    def _close(self, opening: _Token) -> _Token:
        closing = self._take(")")
        if closing is None:
            if self._next.kind != "end":
                self._complain_of_rest(self._next)
            wrong(opening.place, "this bracket is not closed", "add )")
        return closing

    def _complain_of_rest(self, token: _Token) -> NoReturn:
        before = self._tokens[self._at - 1]
        if before.kind == "number" and before.unit is None and token.kind == "name":
            fix = nearest(token.text, filter(None, UNITS)) or "see the table of units"
            wrong(token.place, f"{token.text!r} is no unit", fix)
        if token.text == ")":
            wrong(token.place, "there is no bracket to close", "remove it")
        wrong(token.place, f"{token.text!r} does not go on from what is before it", "join them with and, or, or a sign")
