"""What an experiment found, as plain frozen values, as JSON and as a table; must not know how it was run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sim.scenario import BASELINE, Intervention
from sim.statistics import CONFIDENCE, QUANTILES, Difference
from twin.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one scenario: its mean over the replications and its 5, 25, 50, 75, 95 % quantiles.

    Attributes:
        half_width: of the mean's t interval.
    """

    mean: float
    quantiles: tuple[float, ...]
    half_width: float


@dataclass(frozen=True, slots=True)
class LimitRisk:
    """P(limit violated by t), at the result's sample times, with its Wilson interval."""

    limit: str
    probability: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A command that somebody may approve: a point of the plant, its value, seconds after the start."""

    point: str
    value: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One scenario.

    Attributes:
        name: as asked; `baseline` for the plant left as it is.
        interventions: what was done in it.
        fans: point -> 5 rows (quantiles) of values at the sample times.
        kpis: figures by name.
        differences: the same names -> scenario - baseline, paired; empty for the baseline.
        limits: one per limit asked.
        drafts: those interventions that are commands to the plant.
        by_hand: those that no point of the plant takes, as text.
    """

    name: str
    interventions: tuple[Intervention, ...]
    fans: Mapping[str, tuple[tuple[float, ...], ...]]
    kpis: Mapping[str, Figure]
    differences: Mapping[str, Difference]
    limits: tuple[LimitRisk, ...]
    drafts: tuple[Draft, ...] = ()
    by_hand: tuple[str, ...] = ()


class Sense(StrEnum):
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Goal:
    """Which figure should be large, or small."""

    kpi: str
    sense: Sense = Sense.MAX

    @property
    def sign(self) -> float:
        return 1.0 if self.sense is Sense.MAX else -1.0

    def __str__(self) -> str:
        return f"{self.sense} {self.kpi}"


def parse_goal(text: str) -> Goal:
    """`max parts`, `min energy_kwh`.

    Raises:
        BadRequest: not of that form.
    """
    sense, _, kpi = text.strip().partition(" ")
    if sense not in (s.value for s in Sense) or not kpi.strip():
        raise BadRequest(f"goal {text!r} is not understood", "write max FIGURE or min FIGURE")
    return Goal(kpi.strip(), Sense(sense))


@dataclass(frozen=True, slots=True)
class Choice:
    """The scenario that serves the goal best, and how sure that is.

    Attributes:
        p_better: share of pairs in which it serves the goal better than the baseline, ties counting half.
        resolved: better than the baseline beyond chance, all scenarios taken together (Bonferroni).
        rivals: scenarios from which it cannot be told apart.
    """

    name: str
    goal: Goal
    p_better: float
    resolved: bool
    rivals: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Draft commands for somebody to approve, and why; what is `by_hand` no command can do.

    Attributes:
        risks: the limits that it makes more likely to be passed, in words: a goal does not look at them.
    """

    scenario: str
    drafts: tuple[Draft, ...]
    by_hand: tuple[str, ...]
    reason: str
    risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """An experiment: what was asked, from which state, and what came out. Same seed, state and question: same result.

    Attributes:
        taken_at: when the snapshot was taken, ns since 1970 UTC; 0 for a start that is no plant's.
        clock_s: the plant's own time at the start.
        state_hash: SHA-256 over the snapshot rows used.
        model_hash: SHA-256 over the model: [model] table and network file, or layout and its components' text.
        backend, why: what ran the replications, and the reason when it was not the fastest there is.
        demand_multiplier: measured at the start; None when the meters did not tell it.
        stopped: why there are no more replications: `fixed`, `half-width` or `max`.
        units: output -> symbol of its unit.
        wall_s: how long it took; the only field that differs from run to run.
        kernel_hash: of what was compiled; empty on SimPy.
        confidence: of all its intervals.
        choice: the best scenario, when a goal was asked.
        question, base: what was asked and what brings the start back: enough to run it again.
        versions: of what computed it.
    """

    plant: str
    taken_at: int
    clock_s: float
    state_hash: str
    model_hash: str
    backend: str
    seed: int
    replications: int
    stopped: str
    horizon_s: float
    demand_multiplier: float | None
    times_s: tuple[float, ...]
    units: Mapping[str, str]
    outcomes: tuple[Outcome, ...]
    wall_s: float
    why: str = ""
    kernel_hash: str = ""
    confidence: float = CONFIDENCE
    choice: Choice | None = None
    question: Mapping[str, Any] = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def baseline(self) -> Outcome:
        return self.outcomes[0]

    @property
    def scenarios(self) -> tuple[Outcome, ...]:
        return self.outcomes[1:]

    def best(self) -> Plan:
        """The best scenario as commands to be approved; none when nothing is better than leaving the plant as it is.

        Raises:
            BadRequest: no goal was asked.
        """
        if self.choice is None:
            raise BadRequest("nobody said what is better", 'ask with goal="max parts" or "min energy_kwh"')
        if not self.choice.resolved:
            return Plan(BASELINE.name, (), (), self.choice.reason)
        outcome = next(o for o in self.outcomes if o.name == self.choice.name)
        return Plan(outcome.name, outcome.drafts, outcome.by_hand, self.choice.reason, _risks(self.baseline, outcome))

    def to_json(self) -> dict[str, Any]:
        """Values that any JSON encoder takes; an infinite half-width becomes null."""
        content: dict[str, Any] = plain(dataclasses.asdict(self))
        content["plan"] = None if self.choice is None else plain(dataclasses.asdict(self.best()))
        content["quantiles"] = list(QUANTILES)
        content["digest"] = digest(content)
        return content

    def __str__(self) -> str:
        return table(self)


def _risks(base: Outcome, outcome: Outcome) -> tuple[str, ...]:
    ends = [(r.limit, r.probability[-1], b.probability[-1]) for r, b in zip(outcome.limits, base.limits, strict=True)]
    return tuple(
        f"{limit} with P = {p:.2f}, left as it is with {before:.2f}" for limit, p, before in ends if p > before
    )


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 over what came out, of a result as JSON: two results agree bit for bit when theirs are equal."""
    found = hashlib.sha256()
    for key in ("outcomes", "times_s", "replications", "stopped"):
        _feed(found, content[key])
    return found.hexdigest()


def _feed(found: hashlib._Hash, value: Any) -> None:
    """In pieces: one encoder call over megabytes would stop every other thread."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            found.update(key.encode() + b"\0")
            _feed(found, value[key])
    elif isinstance(value, list) and any(isinstance(each, list | dict) for each in value):
        for each in value:
            _feed(found, each)
    else:
        found.update(json.dumps(value).encode() + b"\0")


def table(result: Result) -> str:
    """One line a scenario and figure: the baseline, the difference with its interval, P(greater), and the risks."""
    level = f"{100 * result.confidence:g} %"
    wide = max([8, *(len(o.name) for o in result.outcomes)]) + 2
    names = max([6, *(len(name) for name in result.baseline.kpis)]) + 2
    heads = ("baseline", "difference", f"± {level}", "P(greater)") if result.scenarios else ("mean", f"± {level}")
    lines = [f"{'scenario':{wide}}{'figure':{names}}" + "".join(f"{head:>13}" for head in heads)]
    for outcome in result.scenarios or result.outcomes:
        for name, figure in outcome.kpis.items():
            lines.append(f"{outcome.name:{wide}}{name:{names}}" + _row(result, outcome, name, figure))
        for risk in outcome.limits:
            span = f"[{risk.low[-1]:.2f}, {risk.high[-1]:.2f}]"
            lines.append(f"{outcome.name:{wide}}P({risk.limit}) = {risk.probability[-1]:.2f} {span}")
    if result.choice is not None:
        lines.append(result.choice.reason)
    why = f" ({result.why})" if result.why else ""
    ended = "" if result.stopped != "max" else ", stopped at its limit before the precision asked"
    runs = f"{result.replications} {'pairs' if result.scenarios else 'replications'}{ended}"
    lines.append(f"{runs}, seed {result.seed}, {result.backend}{why}, {result.wall_s:.2f} s")
    return "\n".join(lines)


def _row(result: Result, outcome: Outcome, name: str, figure: Figure) -> str:
    difference = outcome.differences.get(name)
    if difference is None:
        return f"{figure.mean:>13.5g}{figure.half_width:>13.3g}"
    verdict = "" if difference.resolved else "  not resolved"
    numbers = result.baseline.kpis[name].mean, difference.mean, difference.half_width, difference.p_greater
    return "{:>13.5g}{:>+13.4g}{:>13.3g}{:>13.2f}".format(*numbers) + verdict


def plain(value: Any) -> Any:
    """Values that any JSON encoder takes; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
