"""Scenarios and limits as people write them: `pump_335.status=off at 30m for 2h`, `tank_1.level<3`; pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from twin.errors import BadRequest
from twin.when import parse_duration_s

WORDS: Mapping[str, float] = {"on": 1.0, "off": 0.0, "true": 1.0, "false": 0.0, "open": 1.0, "closed": 0.0}
INTERVENTIONS_MAX = 100  # a day of commands every quarter of an hour; more is a schedule, not a what-if

_POINT = r"[A-Za-z]\w*(?:\.\w+)+"
_STEP = re.compile(rf"(?P<point>{_POINT})\s*=\s*(?P<value>[^\s=;]+)(?P<rest>(?:\s+(?:at|for)\s+\S+)*)", re.ASCII)
_WHEN = re.compile(r"(at|for)\s+(\S+)")
_LIMIT = re.compile(rf"\s*(?P<point>{_POINT})\s*(?P<sign><=|>=|<|>)\s*(?P<value>\S+)\s*", re.ASCII)
FORM = "point=value [at 30m] [for 2h], several joined with ;"


@dataclass(frozen=True, slots=True)
class Intervention:
    """A command `at_s` seconds after the start. A value of None puts back what the snapshot held."""

    at_s: float
    point: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done differently; no interventions: the plant is left as it is."""

    name: str
    interventions: tuple[Intervention, ...] = ()


BASELINE = Scenario("baseline")


@dataclass(frozen=True, slots=True)
class Limit:
    """A condition that should not come to hold: `Limit("tank_1.level", "<", 3.0)` is violated below 3."""

    point: str
    sign: str
    value: float

    def __str__(self) -> str:
        return f"{self.point}{self.sign}{self.value:g}"


def parse_scenario(text: str, name: str | None = None) -> Scenario:
    """A scenario from its text; it is called like its text unless named.

    Raises:
        BadRequest: the text is not of the form; the message names the place and the fix.
    """
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
        raise BadRequest(f"limit {text!r} is not understood", "write point<value or point>value: tank_1.level<3")
    return Limit(match["point"], match["sign"][0], _value(match["value"], f"limit {text!r}"))


def _interventions(part: str, number: int) -> list[Intervention]:
    place = f"intervention {number} ({part!r})"
    match = _STEP.fullmatch(part)
    if match is None:
        raise BadRequest(f"{place} is not understood", f"write {FORM}")
    when: dict[str, float] = {}
    for word, duration in _WHEN.findall(match["rest"]):
        if word in when:
            raise BadRequest(f"{place} says {word!r} twice", "keep one of them")
        when[word] = parse_duration_s(duration, place)
    at_s = when.get("at", 0.0)
    steps = [Intervention(at_s, match["point"], _value(match["value"], place))]
    if "for" in when:
        if when["for"] <= 0:
            raise BadRequest(f"{place} lasts no time", "leave `for` out or make it longer")
        steps.append(Intervention(at_s + when["for"], match["point"], None))
    return steps


def _value(text: str, place: str) -> float:
    word = WORDS.get(text.lower())
    if word is not None:
        return word
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadRequest(f"{place}: {text!r} is no value", f"write a number or one of {', '.join(WORDS)}")
    return value
