"""Scenarios and limits as people write them: `pump_335.status=off at 30m for 2h`, `tank_1.level<3`; pure.

In a script: `Scenario("crew +1").add("crew.capacity", 1).at("2h", "M5.health", "down")`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import BadRequest
from twin.limit_form import limit_fix, rewritten
from twin.when import parse_duration_s

WORDS: Mapping[str, float] = {"on": 1.0, "off": 0.0, "true": 1.0, "false": 0.0, "open": 1.0, "closed": 0.0}
UNUSABLE = frozenset({"nan", "inf", "infinity"})  # numbers to Python, values to nobody
INTERVENTIONS_MAX = 100  # a day of commands every quarter of an hour; more is a schedule, not a what-if

_POINT = r"[A-Za-z]\w*(?:\.\w+)*"
_REST = r"(?P<rest>(?:\s+(?:at|for)\s+\S+)*)"
_STEP = re.compile(rf"(?P<point>{_POINT})\s*(?P<sign>\+=|-=|=)\s*(?P<value>[^\s=;]+){_REST}", re.ASCII)
_RUN = re.compile(rf"run\s+(?P<point>{_POINT}){_REST}", re.ASCII)
_NAMED = re.compile(r"\s*(?P<name>[^:=;\s][^:=;]{0,79}?)\s*:(?P<steps>.*)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WHEN = re.compile(r"(at|for)\s+(\S+)")
_LIMIT = re.compile(rf"\s*(?P<point>{_POINT})\s*(?P<sign><=|>=|<|>)\s*(?P<value>\S+)\s*", re.ASCII)
FORM = "[name:] point=value [at 30m] [for 2h], several joined with ;"
Value = float | str
PASSED: Mapping[str, Callable[[Any, float], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class Verb(StrEnum):
    """What an intervention does: set a value, add to it, or run a command of a component."""

    SET = "set"
    ADD = "add"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Intervention:
    """Something done `at_s` seconds after the start.

    Attributes:
        point: a point of the plant, or a name in the layout.
        value: a number or the name of a state; None puts back what was there at the start.
        ends: one that lasted ends; beyond the horizon it never comes.
    """

    at_s: float
    point: str
    value: Value | None
    verb: Verb = Verb.SET
    ends: bool = False

    def __str__(self) -> str:
        at = f" at {self.at_s:g}s" if self.at_s else ""
        if self.verb is Verb.RUN:
            return f"run {self.point}{at}"
        if self.value is None:
            return f"{self.point} as before{at}"
        value = self.value if isinstance(self.value, str) else f"{self.value:g}"
        return f"{self.point}{'+=' if self.verb is Verb.ADD else '='}{value}{at}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done differently; no interventions: the plant is left as it is. Times are texts as `2h` or `30m`."""

    name: str
    interventions: tuple[Intervention, ...] = ()

    def set(self, point: str, value: Value) -> Scenario:
        """The same, and `point` has the value from the start."""
        return self.at("0s", point, value)

    def at(self, when: str, point: str, value: Value, *, lasting: str = "") -> Scenario:
        """The same, and `point` gets the value then; put back after `lasting`, if that is given."""
        return self._with(when, point, value, Verb.SET, lasting)

    def add(self, point: str, more: float, *, when: str = "0s", lasting: str = "") -> Scenario:
        """The same, and a resource has so many units more, or less, from then."""
        return self._with(when, point, float(more), Verb.ADD, lasting)

    def run(self, command: str, *, when: str = "0s") -> Scenario:
        """The same, and the component's command runs then."""
        return self._with(when, command, 0.0, Verb.RUN, "")

    def _with(self, when: str, point: str, value: Value, verb: Verb, lasting: str) -> Scenario:
        if not isinstance(when, str) or not isinstance(lasting, str):
            raise BadRequest(f"scenario {self.name!r}: {point} at {when!r}", "write times as texts: '2h', '90s'")
        at_s = parse_duration_s(when, f"scenario {self.name!r}: {point}")
        number = float(value) if isinstance(value, int | float) else value
        steps = [*self.interventions, Intervention(at_s, point, number, verb)]
        if lasting:
            steps.append(_end(steps[-1], parse_duration_s(lasting, f"scenario {self.name!r}: {point}")))
        return Scenario(self.name, tuple(sorted(steps, key=lambda i: i.at_s)))


BASELINE = Scenario("baseline")


@dataclass(frozen=True, slots=True)
class Limit:
    """A condition that should not come to hold: `Limit("tank_1.level", "<", 3.0)` is passed below 3.

    Attributes:
        sign: of PASSED.
    """

    point: str
    sign: str
    value: float

    @property
    def downward(self) -> bool:
        """Whether it is passed by falling."""
        return self.sign.startswith("<")

    def passed(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """By which of the values, the same shape; never by NaN."""
        found: NDArray[np.bool_] = PASSED[self.sign](values, self.value)
        return found

    def __str__(self) -> str:
        return f"{self.point}{self.sign}{self.value:g}"


def parse_scenario(text: str, name: str | None = None) -> Scenario:
    """A scenario from its text, with its name before it or not: `more crew: crew.size=2`.

    Args:
        name: instead of the one in the text; without either it is called like its text.

    Raises:
        BadRequest: the text is not of the form; the message names the place and the fix.
    """
    said = _NAMED.fullmatch(text)
    if said is not None:
        text, name = said["steps"], name or said["name"]
    steps: list[Intervention] = []
    for number, part in enumerate(text.split(";"), 1):
        if part.strip():
            steps.extend(_interventions(part.strip(), number))
    if not steps:
        raise BadRequest("the scenario is empty", f"write {FORM}")
    if len(steps) > INTERVENTIONS_MAX:
        raise BadRequest(f"{len(steps)} interventions, at most {INTERVENTIONS_MAX}", "split the scenario")
    # Stable: of two at the same moment the one written later wins.
    return Scenario(name or text.strip(), tuple(sorted(steps, key=lambda i: i.at_s)))


def parse_limit(text: str) -> Limit:
    """A limit from its text.

    Raises:
        BadRequest: the text is not of the form.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise BadRequest(f"limit {text!r} is not understood", limit_fix(text))
    return Limit(match["point"], match["sign"], _limit_value(match["value"], text))


def _limit_value(text: str, limit: str) -> float:
    word = WORDS.get(text.lower())
    try:
        return _number(text, f"limit {limit!r}") if word is None else word
    except BadRequest as error:
        raise BadRequest(error.message, rewritten(limit) or error.hint) from None


def state_of(value: Value, states: Sequence[str]) -> Value:
    """The state that a word meant, where the word was read as a number: `open` is 1, and here the name of a state."""
    if isinstance(value, str):
        return value
    meant = [word for word, number in WORDS.items() if number == value and word in states]
    return meant[0] if len(meant) == 1 else value


def _interventions(part: str, number: int) -> list[Intervention]:
    place = f"intervention {number} ({part!r})"
    match = _RUN.fullmatch(part) or _STEP.fullmatch(part)
    if match is None:
        raise BadRequest(f"{place} is not understood", f"write {FORM}")
    when: dict[str, float] = {}
    for word, duration in _WHEN.findall(match["rest"]):
        if word in when:
            raise BadRequest(f"{place} says {word!r} twice", "keep one of them")
        when[word] = parse_duration_s(duration, place)
    if "value" not in match.groupdict():
        if "for" in when:
            raise BadRequest(f"{place}: a command does not last", "leave `for` out")
        return [Intervention(when.get("at", 0.0), match["point"], 0.0, Verb.RUN)]
    step = Intervention(when.get("at", 0.0), match["point"], _value(match["value"], place))
    if match["sign"] != "=":
        if isinstance(step.value, str) or step.value is None:
            raise BadRequest(f"{place}: {match['value']!r} cannot be added", "write a number")
        step = replace(step, value=step.value if match["sign"] == "+=" else -step.value, verb=Verb.ADD)
    if "for" not in when:
        return [step]
    if when["for"] <= 0:
        raise BadRequest(f"{place} lasts no time", "leave `for` out or make it longer")
    return [step, _end(step, when["for"])]


def _end(step: Intervention, lasting_s: float) -> Intervention:
    if step.verb is Verb.ADD and isinstance(step.value, float):
        return replace(step, at_s=step.at_s + lasting_s, value=-step.value, ends=True)
    return replace(step, at_s=step.at_s + lasting_s, value=None, ends=True)


def _value(text: str, place: str) -> Value:
    number = _number(text, place) if not _WORD.fullmatch(text) or text.lower() in UNUSABLE else WORDS.get(text.lower())
    return text if number is None else number


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadRequest(f"{place}: {text!r} is no value", f"write a number, a state or one of {', '.join(WORDS)}")
    return value
