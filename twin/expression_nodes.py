"""What a typed expression is made of and how it is worked out over what was seen; must not know units or where it stood.

Numbers are NaN where they cannot be told, truths and texts None; logic is Kleene's: a part that cannot be told decides
nothing, the others may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Protocol

from twin.interlock import Sight


@dataclass(slots=True)
class Frame:
    """What was seen, a slot a point, and why nobody can go by it ("" where one can); what is commanded."""

    seen: Sequence[Sight]
    troubles: Sequence[str]
    commanded: float


class Number(Protocol):
    def at(self, frame: Frame, /) -> float: ...


class Truth(Protocol):
    def at(self, frame: Frame, /) -> bool | None: ...


class Word(Protocol):
    def at(self, frame: Frame, /) -> str | None: ...


# --- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constant:
    value: float

    def at(self, frame: Frame, /) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Reading:
    slot: int

    def at(self, frame: Frame, /) -> float:
        value = frame.seen[self.slot].value
        return nan if value is None or frame.troubles[self.slot] else value


@dataclass(frozen=True, slots=True)
class Commanded:
    def at(self, frame: Frame, /) -> float:
        return frame.commanded


@dataclass(frozen=True, slots=True)
class Age:
    slot: int

    def at(self, frame: Frame, /) -> float:
        age_s = frame.seen[self.slot].age_s
        return nan if age_s is None else age_s


@dataclass(frozen=True, slots=True)
class Scaled:
    inner: Number
    scale: float
    offset: float

    def at(self, frame: Frame, /) -> float:
        return self.inner.at(frame) * self.scale + self.offset


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operation: Callable[[float, float], float]
    left: Number
    right: Number

    def at(self, frame: Frame, /) -> float:
        return self.operation(self.left.at(frame), self.right.at(frame))


@dataclass(frozen=True, slots=True)
class Absolute:
    inner: Number

    def at(self, frame: Frame, /) -> float:
        return abs(self.inner.at(frame))


@dataclass(frozen=True, slots=True)
class Extreme:
    """The least or the greatest; not known where one of them is not."""

    choose: Callable[[list[float]], float]
    parts: tuple[Number, ...]

    def at(self, frame: Frame, /) -> float:
        numbers = [p.at(frame) for p in self.parts]
        return nan if any(map(math.isnan, numbers)) else self.choose(numbers)


def quotient(a: float, b: float) -> float:
    """Nothing can be told of a division by zero."""
    return a / b if b else nan


# --- truths ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certain:
    value: bool

    def at(self, frame: Frame, /) -> bool | None:
        return self.value


@dataclass(frozen=True, slots=True)
class Switched:
    """A number that is on or off."""

    inner: Number

    def at(self, frame: Frame, /) -> bool | None:
        value = self.inner.at(frame)
        return value != 0.0 if value == value else None


@dataclass(frozen=True, slots=True)
class Good:
    slot: int

    def at(self, frame: Frame, /) -> bool | None:
        return not frame.troubles[self.slot]


@dataclass(frozen=True, slots=True)
class Compared:
    """Nothing can be told of what is not a finite number."""

    sign: Callable[[float, float], bool]
    left: Number
    right: Number

    def at(self, frame: Frame, /) -> bool | None:
        left, right = self.left.at(frame), self.right.at(frame)
        return self.sign(left, right) if isfinite(left) and isfinite(right) else None


@dataclass(frozen=True, slots=True)
class SameTruth:
    equal: bool
    left: Truth
    right: Truth

    def at(self, frame: Frame, /) -> bool | None:
        left, right = self.left.at(frame), self.right.at(frame)
        return None if left is None or right is None else (left is right) is self.equal


@dataclass(frozen=True, slots=True)
class SameWord:
    equal: bool
    left: Word
    right: Word

    def at(self, frame: Frame, /) -> bool | None:
        left, right = self.left.at(frame), self.right.at(frame)
        return None if left is None or right is None else (left == right) is self.equal


@dataclass(frozen=True, slots=True)
class Not:
    inner: Truth

    def at(self, frame: Frame, /) -> bool | None:
        value = self.inner.at(frame)
        return None if value is None else not value


@dataclass(frozen=True, slots=True)
class Logic:
    """`or` when `deciding` is True, `and` when it is False: one part of that value decides."""

    deciding: bool
    parts: tuple[Truth, ...]

    def at(self, frame: Frame, /) -> bool | None:
        told = True
        for part in self.parts:
            value = part.at(frame)
            if value is self.deciding:
                return value
            told = told and value is not None
        return (not self.deciding) if told else None


# --- texts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    text: str

    def at(self, frame: Frame, /) -> str | None:
        return self.text


@dataclass(frozen=True, slots=True)
class TextReading:
    slot: int

    def at(self, frame: Frame, /) -> str | None:
        return None if frame.troubles[self.slot] else frame.seen[self.slot].text
