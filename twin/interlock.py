"""What an interlock saw and said; must not know commands or devices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a point. `quality` is an OPC UA status code; `age_s` None: nobody could say it is old."""

    point: str
    value: float | None
    text: str | None
    quality: int
    age_s: float | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """`detail` says which interlocks refuse and why, "" when all allow."""

    allowed: bool
    detail: str = ""
    seen: tuple[Sight, ...] = ()


ALLOWED = Judgement(True)
