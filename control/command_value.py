"""What a command's value means: a number, a switch's word or the name of an enum's value; must not know transports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twin.errors import BadRequest
from twin.schema import Enum, offer

if TYPE_CHECKING:
    from twin.points import Point

SWITCH = {"on": 1.0, "true": 1.0, "off": 0.0, "false": 0.0}


def number_of(point: Point, said: float | str) -> float:
    """The number that a command on the point carries. Numbers are not checked here: the runtime checks them all.

    Raises:
        BadRequest: a text that means no value of the point.
    """
    if not isinstance(said, str):
        return said + 0.0  # no negative zero
    if isinstance(point.schema, Enum):
        index = point.schema.index_of(said)
        if index is None:
            raise BadRequest(f"{said[:80]!r} is no value of {point.name}", f"one of {offer(point.schema)}")
        return float(point.schema.code(index))
    number = SWITCH.get(said.lower()) if point.type == "boolean" else None
    if number is None:
        wanted = "on or off" if point.type == "boolean" else "a number"
        raise BadRequest(f"value {said[:80]!r} of {point.name}", f"give {wanted}")
    return number


def as_said(text: str) -> float | str:
    """What somebody typed: a number, or text for the server, which knows the names of an enum's values."""
    if not text.isascii() or "_" in text:
        return text  # Python reads 1_0 as 10, and ٥ as 5; people mean something else
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text  # JSON has no word for the others
