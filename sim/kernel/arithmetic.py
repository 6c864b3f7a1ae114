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
