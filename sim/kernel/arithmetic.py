"""Arithmetic of Python that machine words do otherwise: the kernel computes as Python does; pure, compiled as it is."""

from __future__ import annotations

import math


def floor_divided(x: float, y: float) -> float:
    """x // y for y != 0, as Python defines it for floats."""
    rest = math.fmod(x, y)
    quotient = (x - rest) / y
    if rest != 0.0 and (y < 0.0) != (rest < 0.0):
        quotient -= 1.0
    if quotient == 0.0:
        return math.copysign(0.0, x / y)
    whole = math.floor(quotient) + 0.0
    if quotient - whole > 0.5:
        whole += 1.0
    return whole


def remainder(x: float, y: float) -> float:
    """x % y for y != 0, as Python defines it for floats."""
    rest = math.fmod(x, y)
    if rest == 0.0:
        return math.copysign(0.0, y)
    if (y < 0.0) != (rest < 0.0):
        rest += y
    return rest


# What a user's own function computes: NaN where Python stops, since nothing there can say so.

NAN = math.nan
LOOPS_MAX = 1_000_000  # turns of the loops of one call
FARTHEST = 1e15  # where a loop may count to


def over(x: float, y: float) -> float:
    """x / y."""
    if y == 0.0:
        return NAN
    return x / y


def over_whole(x: float, y: float) -> float:
    """x // y."""
    if y == 0.0:
        return NAN
    return floor_divided(x, y)


def over_rest(x: float, y: float) -> float:
    """x % y."""
    if y == 0.0:
        return NAN
    return remainder(x, y)


def power(x: float, y: float) -> float:
    """x ** y, where Python would not make it complex."""
    return finite(math.pow(x, y))


def finite(x: float) -> float:
    """x, NaN for an infinity."""
    if x - x != 0.0:
        return NAN
    return x


def counted(x: float) -> int:
    """An end of a range, which Python takes as a whole number."""
    if not -FARTHEST < x < FARTHEST:
        return 0
    return int(x)
