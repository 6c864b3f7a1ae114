"""Gives every part of an expression its type and unit, and looks its points up; must not know their values.

Numbers that meet are brought to one unit here, once: constants first, so that a point's own value is compared as it is.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import NoReturn

from twin import expression_nodes as nodes
from twin import expression_syntax as syntax
from twin.expression_measure import (
    KELVIN,
    NOTHING,
    ONE,
    SECOND,
    SUMS,
    Name,
    Origin,
    Quantity,
    Truth,
    Typed,
    Word,
    folded,
    origin_of,
    spacing,
    written,
)
from twin.expression_syntax import Place, wrong
from twin.nearest import nearest
from twin.points import Point
from twin.schema import Enum, offer
from twin.units import UNITS, Unit, conversion

OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": nodes.quotient,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


_CALLED = {Quantity: "a number", Truth: "on or off", Name: "a name of an enum", Word: "a text"}


@dataclass(slots=True)
class Typing:
    """Types one expression.

    Attributes:
        text: of the expression.
        points: of the plant, by name.
        target: the commanded point, None where nothing is commanded.
        used: the points it uses, in order; their place is their slot.
        demanded: slots whose values it needs; `asked`: slots that it asks `good()` of.
    """

    text: str
    points: Mapping[str, Point]
    target: Point | None
    used: list[Point] = field(default_factory=list)
    demanded: set[int] = field(default_factory=set)
    asked: set[int] = field(default_factory=set)

    def truth(self, node: syntax.Node) -> nodes.Truth:
        """
        Raises:
            BadRequest: something does not fit, or the whole is not true or false.
        """
        return self._truth(self.typed(node)).node

    def typed(self, node: syntax.Node) -> Typed:
        match node:
            case syntax.Number():
                return written(node)
            case syntax.Truth():
                return Truth(nodes.Certain(node.value), node.place)
            case syntax.Text():
                return Word(nodes.Written(node.text), node.place, node.text)
            case syntax.Name():
                return self._reading(node)
            case syntax.Commanded():
                return self._commanded(node)
            case syntax.Call():
                return self._call(node)
            case syntax.Not():
                return Truth(nodes.Not(self._truth(self.typed(node.inner)).node), node.place)
            case syntax.Minus():
                return self._negative(node)
            case syntax.Arithmetic():
                return self._arithmetic(node)
            case syntax.Chain():
                return self._chain(node)
            case syntax.Logic():
                parts = tuple(self._truth(self.typed(p)).node for p in node.parts)
                return Truth(nodes.Logic(node.word == "or", parts), node.place)

    def said(self, place: Place) -> str:
        return self.text[place.start : place.end]

    # --- points ------------------------------------------------------------------------------------------------------

    def slot(self, node: syntax.Name) -> int:
        """The place of a named point among the used ones.

        Raises:
            BadRequest: there is no such point.
        """
        name = node.name
        if node.is_of_target:
            if self.target is None:
                wrong(node.place, f"{name}: nothing is commanded here", "name the twin")
            name = f"{self.target.twin}.{name.removeprefix('this.')}"
        point = self.points.get(name)
        if point is None:
            among = self.points if self.target is None or not node.is_of_target else self._of_twin()
            wrong(node.place, f"{name!r} is no point", nearest(name, among) or "name a point of this plant")
        if point not in self.used:
            self.used.append(point)
        return self.used.index(point)

    def _of_twin(self) -> list[str]:
        """Points of the commanded point's twin."""
        assert self.target is not None
        return [name for name in self.points if name.startswith(f"{self.target.twin}.")]

    def _reading(self, node: syntax.Name) -> Typed:
        slot = self.slot(node)
        self.demanded.add(slot)
        return self._of_point(self.used[slot], nodes.Reading(slot), nodes.TextReading(slot), node.place)

    def _commanded(self, node: syntax.Commanded) -> Typed:
        if self.target is None:
            wrong(node.place, "value: nothing is commanded here", "name a point")
        return self._of_point(self.target, nodes.Commanded(), None, node.place)

    def _of_point(self, point: Point, number: nodes.Number, word: nodes.Word | None, place: Place) -> Typed:
        if point.type == "boolean":
            return Truth(nodes.Switched(number), place)
        if isinstance(point.schema, Enum):
            return Name(number, point.schema, place)
        if point.type in ("double", "integer"):
            unit = UNITS.get(point.unit, ONE)  # one that nobody knows is a mistake of points.csv
            return Quantity(number, unit, origin_of(unit), place)
        if point.type == "string" and word is not None:
            return Word(word, place)
        wrong(place, f"{point.name} is of type {point.type}", "use points that are numbers, on or off, enums or texts")

    # --- functions ---------------------------------------------------------------------------------------------------

    def _call(self, node: syntax.Call) -> Typed:
        if node.function in ("age", "good"):
            return self._of_reading(node)
        parts = [self._quantity(self.typed(a)) for a in node.arguments]
        if node.function == "abs":
            (part,) = parts
            self._no_absolute(part, "abs of a temperature")
            return Quantity(folded(nodes.Absolute(part.node), part), part.unit, part.origin, node.place, part.bare)
        measure = next((p for p in parts if not p.bare), parts[0])
        measure = next((p for p in parts if not isinstance(p.node, nodes.Constant)), measure)
        parts = [p if p is measure else self._alike(measure, p)[1] for p in parts]
        choose: Callable[[list[float]], float] = min if node.function == "min" else max
        made = nodes.Extreme(choose, tuple(p.node for p in parts))
        origin = next((p.origin for p in parts if p.origin is not Origin.EITHER), measure.origin)
        return Quantity(folded(made, *parts), measure.unit, origin, node.place, measure.bare)

    def _of_reading(self, node: syntax.Call) -> Typed:
        (argument,) = node.arguments
        if not isinstance(argument, syntax.Name):
            wrong(argument.place, f"{node.function}({self.said(argument.place)})", "name one point in the brackets")
        slot = self.slot(argument)
        if node.function == "good":
            self.asked.add(slot)
            return Truth(nodes.Good(slot), node.place)
        point = self.used[slot]
        if not point.device:
            wrong(argument.place, f"{point.name} has no age: no device reports it", "leave it out")
        return Quantity(nodes.Age(slot), SECOND, Origin.NONE, node.place)

    # --- arithmetic --------------------------------------------------------------------------------------------------

    def _negative(self, node: syntax.Minus) -> Typed:
        inner = self._quantity(self.typed(node.inner))
        self._no_absolute(inner, "minus a temperature")
        made = nodes.Arithmetic(operator.sub, nodes.Constant(0.0), inner.node)
        return Quantity(folded(made, inner), inner.unit, inner.origin, node.place, inner.bare)

    def _arithmetic(self, node: syntax.Arithmetic) -> Typed:
        left, right = self._quantity(self.typed(node.left)), self._quantity(self.typed(node.right))
        made = self._sum(node, left, right) if node.sign in ("+", "-") else self._product(node, left, right)
        if isinstance(made.node, nodes.Constant) and not isfinite(made.node.value):
            wrong(node.place, f"{self.said(node.place)} is no finite number", "divide by something else than 0")
        return made

    def _sum(self, node: syntax.Arithmetic, left: Quantity, right: Quantity) -> Quantity:
        origin = SUMS.get((left.origin, node.sign, right.origin))
        if left.unit.dimension == right.unit.dimension and origin is None:
            said = f"{self.said(left.place)} {node.sign} {self.said(right.place)}"
            wrong(node.place, f"{said} has no meaning as a temperature", "add or subtract a difference, such as 5 K")
        if right.origin is Origin.ABSOLUTE and origin is Origin.ABSOLUTE:
            left, right = right, left  # a sum: 5 K + 20 degC
        if left.origin is Origin.ABSOLUTE and origin is Origin.ABSOLUTE:
            right = self._as(right, spacing(left.unit))  # 20 degC + 5 K: only the size of the degrees counts
        else:
            left, right = self._aligned(left, right)
        unit = KELVIN if origin is Origin.DIFFERENCE and left.unit.offset else left.unit
        made: nodes.Number = nodes.Arithmetic(OPERATIONS[node.sign], left.node, right.node)
        if unit is not left.unit:
            made = nodes.Scaled(made, left.unit.factor, 0.0)
        bare = left.bare and right.bare
        return Quantity(folded(made, left, right), unit, origin or left.origin, node.place, bare)

    def _product(self, node: syntax.Arithmetic, left: Quantity, right: Quantity) -> Quantity:
        for part in (left, right):
            self._no_absolute(part, f"{node.sign} with a temperature")
        if node.sign == "/" and right.node == nodes.Constant(0.0):
            wrong(node.place, "divided by zero", "divide by something else")
        if right.bare:
            unit, origin = left.unit, left.origin
        elif left.bare and node.sign == "*":
            unit, origin = right.unit, right.origin
        elif right.unit.dimension == ONE.dimension:
            right = self._as(right, ONE)
            if left.unit.dimension == ONE.dimension:
                left = self._as(left, ONE)
            unit, origin = left.unit, left.origin
        elif left.unit.dimension == ONE.dimension and node.sign == "*":
            left = self._as(left, ONE)
            unit, origin = right.unit, right.origin
        elif left.unit.dimension == right.unit.dimension and node.sign == "/":
            left, right = self._aligned(left, right)
            unit, origin = ONE, Origin.NONE
        else:
            what = f"{self._measure(left)} {node.sign} {self._measure(right)}"
            fix = "multiply by numbers without a unit; divide by those, or by something of the same kind"
            wrong(node.place, f"{what} has no unit here", fix)
        made = nodes.Arithmetic(OPERATIONS[node.sign], left.node, right.node)
        return Quantity(folded(made, left, right), unit, origin, node.place, left.bare and right.bare)

    def _no_absolute(self, part: Quantity, what: str) -> None:
        if part.origin is Origin.ABSOLUTE:
            wrong(part.place, f"{what}: {self.said(part.place)} counts from its scale's zero", "use a difference")

    # --- comparisons -------------------------------------------------------------------------------------------------

    def _chain(self, node: syntax.Chain) -> Typed:
        parts = [self.typed(p) for p in node.parts]
        truths = tuple(
            self._compared(left, sign, right) for left, sign, right in zip(parts, node.signs, parts[1:], strict=False)
        )
        return Truth(truths[0] if len(truths) == 1 else nodes.Logic(False, truths), node.place)

    def _compared(self, left: Typed, sign: str, right: Typed) -> nodes.Truth:
        equal, is_equality = sign == "==", sign in syntax.EQUAL
        match left, right:
            case Quantity(), Quantity():
                left, right = self._alike(left, right)
                return nodes.Compared(COMPARISONS[sign], left.node, right.node)
            case Truth(), Truth() if is_equality:
                return nodes.SameTruth(equal, left.node, right.node)
            case Word(), Word() if is_equality:
                return nodes.SameWord(equal, left.node, right.node)
            case Name(), Name() if is_equality and left.schema == right.schema:
                return nodes.Compared(COMPARISONS[sign], left.node, right.node)
            case (Name(), Word()) if is_equality:
                return nodes.Compared(COMPARISONS[sign], left.node, self._code(left, right))
            case (Word(), Name()) if is_equality:
                return nodes.Compared(COMPARISONS[sign], self._code(right, left), right.node)
        self._incomparable(left, sign, right)

    def _code(self, name: Name, word: Word) -> nodes.Number:
        index = None if word.written is None else name.schema.index_of(word.written)
        if index is None:
            what = f"{self.said(word.place)} is no value of {self.said(name.place)}"
            wrong(word.place, what, f"write one in quotes: {offer(name.schema)}")
        return nodes.Constant(float(name.schema.code(index)))

    def _incomparable(self, left: Typed, sign: str, right: Typed) -> NoReturn:
        kinds = {type(left), type(right)}
        fix = "compare like with like"
        if kinds == {Truth, Quantity}:
            fix = "compare with on or off, without quotes"
        elif kinds == {Truth, Word}:
            fix = "write on or off without quotes"
        elif Name in kinds:
            schema = left.schema if isinstance(left, Name) else right.schema if isinstance(right, Name) else None
            fix = f"write == or != and one in quotes: {offer(schema)}" if schema else fix
        elif sign not in syntax.EQUAL:
            fix = "only numbers have an order: write == or !="
        said, other = (f"{self.said(t.place)} ({_CALLED[type(t)]})" for t in (left, right))
        wrong(left.place, f"{said} {sign} {other}", fix)

    # --- units -------------------------------------------------------------------------------------------------------

    def _truth(self, typed: Typed) -> Truth:
        if isinstance(typed, Truth):
            return typed
        what = f"{self.said(typed.place)} is {_CALLED[type(typed)]}, neither true nor false"
        wrong(typed.place, what, "compare it with something")

    def _quantity(self, typed: Typed) -> Quantity:
        if isinstance(typed, Quantity):
            return typed
        wrong(typed.place, f"{self.said(typed.place)} is {_CALLED[type(typed)]}, not a number", "use a number")

    def _measure(self, quantity: Quantity) -> str:
        """`tank_1.level (length)`."""
        dimension = quantity.unit.dimension
        return f"{self.said(quantity.place)} ({'a number' if dimension == ONE.dimension else dimension})"

    def _aligned(self, left: Quantity, right: Quantity) -> tuple[Quantity, Quantity]:
        """Both in one unit; a constant takes the other's."""
        if left.bare != right.bare:
            bare, other = (left, right) if left.bare else (right, left)
            if other.unit is not ONE:
                made = self._adopting(bare, other)
                return (made, right) if left.bare else (left, made)
        if left.unit.dimension != right.unit.dimension:
            what = f"{self._measure(left)} and {self._measure(right)} do not go together"
            wrong(left.place, what, "use one kind of measure on both sides")
        if isinstance(left.node, nodes.Constant) and not isinstance(right.node, nodes.Constant):
            return self._as(left, right.unit), right
        return left, self._as(right, left.unit)

    def _alike(self, left: Quantity, right: Quantity) -> tuple[Quantity, Quantity]:
        """As `_aligned`; differences of temperatures and temperatures are two things."""
        left, right = self._aligned(left, right)
        if left.origin is not right.origin and Origin.EITHER not in (left.origin, right.origin):
            difference, other = (left, right) if left.origin is Origin.DIFFERENCE else (right, left)
            what = f"{self.said(difference.place)} is a difference of temperatures, {self.said(other.place)} is none"
            wrong(left.place, what, "write differences in K")
        return left, right

    def _adopting(self, bare: Quantity, other: Quantity) -> Quantity:
        """Nothing is nothing in every unit that has no zero of its own; any other number must say what it counts."""
        if bare.node.at(NOTHING) == 0.0 and other.origin is not Origin.ABSOLUTE:
            return Quantity(bare.node, other.unit, other.origin, bare.place)
        unit = other.unit.symbol
        value = bare.node.at(NOTHING)
        what = f"{self.said(bare.place)} has no unit, {self.said(other.place)} is in {unit}"
        wrong(bare.place, what, f"write {value:g} {unit}")

    def _as(self, quantity: Quantity, unit: Unit) -> Quantity:
        """The same in another unit of its dimension; differences of temperatures are in K always."""
        if quantity.unit == unit:
            return quantity
        scale, offset = conversion(quantity.unit, unit)
        made = folded(nodes.Scaled(quantity.node, scale, offset), quantity)
        if isinstance(made, nodes.Constant):
            if not isfinite(made.value):
                wrong(quantity.place, f"{self.said(quantity.place)} is too large in {unit.symbol}", "stay below 1e300")
            # 10 degC is 50 degF and not 50.00000000000006: what people write has few digits, the rest is rounding.
            made = nodes.Constant(float(f"{made.value:.12g}"))
        return Quantity(made, unit, quantity.origin, quantity.place, quantity.bare)
