"""The types that parts of an expression have: numbers with a unit, truths, names of enums, texts; must not know points.

Temperatures are of two kinds: those that count from their scale's zero, and differences of such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum as Choice

from twin import expression_nodes as nodes
from twin import expression_syntax as syntax
from twin.expression_syntax import Place
from twin.schema import Enum
from twin.units import UNITS, Unit

ONE, SECOND, KELVIN = UNITS[""], UNITS["s"], UNITS["K"]


class Origin(Choice):
    """Whether a temperature counts from its scale's zero. 20 degC - 15 degC is a difference, 5 K, and not 5 degC."""

    NONE = "none"  # not a temperature
    ABSOLUTE = "absolute"
    DIFFERENCE = "difference"
    EITHER = "either"  # `5 K` as written


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number. `bare`: made of numbers without a unit only."""

    node: nodes.Number
    unit: Unit
    origin: Origin
    place: Place
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    node: nodes.Truth
    place: Place


@dataclass(frozen=True, slots=True)
class Name:
    """A value of an Enum; its node gives the code."""

    node: nodes.Number
    schema: Enum
    place: Place


@dataclass(frozen=True, slots=True)
class Word:
    """A text. `written`: as it stands in the expression, None for that of a point."""

    node: nodes.Word
    place: Place
    written: str | None = None


Typed = Quantity | Truth | Name | Word

# Which temperatures may be added and subtracted, and what comes out.
SUMS: Mapping[tuple[Origin, str, Origin], Origin] = {
    (Origin.NONE, "+", Origin.NONE): Origin.NONE,
    (Origin.NONE, "-", Origin.NONE): Origin.NONE,
    (Origin.ABSOLUTE, "-", Origin.ABSOLUTE): Origin.DIFFERENCE,
    **{(Origin.ABSOLUTE, sign, o): Origin.ABSOLUTE for sign in "+-" for o in (Origin.DIFFERENCE, Origin.EITHER)},
    **{(o, "+", Origin.ABSOLUTE): Origin.ABSOLUTE for o in (Origin.DIFFERENCE, Origin.EITHER)},
    **{(Origin.DIFFERENCE, sign, o): Origin.DIFFERENCE for sign in "+-" for o in (Origin.DIFFERENCE, Origin.EITHER)},
    **{(Origin.EITHER, sign, Origin.DIFFERENCE): Origin.DIFFERENCE for sign in "+-"},
    **{(Origin.EITHER, sign, Origin.EITHER): Origin.EITHER for sign in "+-"},
}


def written(node: syntax.Number) -> Quantity:
    unit = ONE if node.unit is None else UNITS[node.unit]
    origin = Origin.EITHER if unit == KELVIN else origin_of(unit)
    return Quantity(nodes.Constant(node.value), unit, origin, node.place, node.unit is None)


def origin_of(unit: Unit) -> Origin:
    return Origin.ABSOLUTE if unit.dimension == KELVIN.dimension else Origin.NONE


def spacing(unit: Unit) -> Unit:
    """The unit without its zero: for differences."""
    return Unit(unit.symbol, unit.dimension, unit.factor)


def folded(made: nodes.Number, *parts: Quantity) -> nodes.Number:
    """Worked out now, where it is made of constants only."""
    if all(isinstance(p.node, nodes.Constant) for p in parts):
        return nodes.Constant(made.at(NOTHING))
    return made


NOTHING = nodes.Frame((), (), 0.0)
