"""What an experiment found, as plain frozen values and as JSON; must not know how it was run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.scenario import Intervention
from sim.statistics import QUANTILES, Difference


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one scenario: its mean over the replications and its 5, 25, 50, 75, 95 % quantiles."""

    mean: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LimitRisk:
    """P(limit violated by t), at the result's sample times, with its 95 % Wilson interval."""

    limit: str
    probability: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One scenario.

    Attributes:
        name: as asked; `baseline` for the plant left as it is.
        interventions: what was done in it.
        fans: point -> 5 rows (quantiles) of values at the sample times.
        kpis: `tank_1.level.final`, `tank_1.level.min` … and `energy_kwh`.
        differences: the same names -> scenario - baseline, paired; empty for the baseline.
        limits: one per limit asked.
    """

    name: str
    interventions: tuple[Intervention, ...]
    fans: Mapping[str, tuple[tuple[float, ...], ...]]
    kpis: Mapping[str, Figure]
    differences: Mapping[str, Difference]
    limits: tuple[LimitRisk, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """An experiment: what was asked, from which state, and what came out. Same seed, state and question: same result.

    Attributes:
        taken_at: when the snapshot was taken, ns since 1970 UTC.
        clock_s: the plant's own time at the start.
        state_hash: SHA-256 over the snapshot rows used.
        model_hash: SHA-256 over the [model] table and the network file.
        demand_multiplier: measured at the start; None when the meters did not tell it.
        stopped: why there are no more replications: `fixed`, `half-width` or `max`.
        units: point -> symbol of its unit.
        wall_s: how long it took; the only field that differs from run to run.
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

    @property
    def baseline(self) -> Outcome:
        return self.outcomes[0]

    @property
    def scenarios(self) -> tuple[Outcome, ...]:
        return self.outcomes[1:]

    def to_json(self) -> dict[str, Any]:
        """Values that any JSON encoder takes; an infinite half-width becomes null."""
        content: dict[str, Any] = _plain(dataclasses.asdict(self))
        content["quantiles"] = list(QUANTILES)
        return content


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
