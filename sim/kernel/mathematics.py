"""Functions of `math` and whole numbers for handlers: a fault where Python raises; in the restricted Python of the rules.

Python raises when the result is infinite although the arguments are not, or no number although the arguments are.
"""

from __future__ import annotations

import math

from sim.kernel.rules import BAD_NUMBER, TURNS_WITHOUT_END, fail
from sim.kernel.world import World

CALL_TURNS_MAX = 1_000_000  # turns of the loops in one call of a user's function
FARTHEST = 1e15  # where a loop of one may count to


def settled(w: World, y: float, x: float) -> float:
    """A result `y` of an argument `x`."""
    if y - y != 0.0 and (x - x == 0.0 or (y != y and x == x)):
        fail(w, BAD_NUMBER, 0)
        return 0.0
    return y


def whole(w: World, x: float) -> float:
    """A whole number; Python has no infinite ones, and no negative zero."""
    if x - x != 0.0:
        fail(w, BAD_NUMBER, 0)
        return 0.0
    return x + 0.0


def math_sqrt(w: World, x: float) -> float:
    return settled(w, math.sqrt(x), x)


def math_exp(w: World, x: float) -> float:
    return settled(w, math.exp(x), x)


def math_log(w: World, x: float) -> float:
    return settled(w, math.log(x), x)


def math_sin(w: World, x: float) -> float:
    return settled(w, math.sin(x), x)


def math_cos(w: World, x: float) -> float:
    return settled(w, math.cos(x), x)


def math_tan(w: World, x: float) -> float:
    return settled(w, math.tan(x), x)


def math_atan(w: World, x: float) -> float:
    return math.atan(x)


def math_tanh(w: World, x: float) -> float:
    return math.tanh(x)


def math_fabs(w: World, x: float) -> float:
    return math.fabs(x)


def math_pow(w: World, x: float, y: float) -> float:
    """Also x ** y: what Python makes complex is no number to compute with."""
    return settled(w, math.pow(x, y), x * 0.0 + y * 0.0)


def math_floor(w: World, x: float) -> float:
    return whole(w, math.floor(x))


def math_ceil(w: World, x: float) -> float:
    return whole(w, math.ceil(x))


def math_trunc(w: World, x: float) -> float:
    """int(x)"""
    return whole(w, math.trunc(x))


def math_round(w: World, x: float) -> float:
    """round(x), halves to the even one"""
    return whole(w, math.round(x))  # type: ignore[attr-defined]  # printed, never run


def counted(w: World, x: float) -> int:
    """An end of a range."""
    if not -FARTHEST < x < FARTHEST:
        fail(w, TURNS_WITHOUT_END, 0)
        return 0
    return int(x)
