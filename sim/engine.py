"""One replication of a what-if: SimPy processes around EPANET, the opaque component; must not know pools or statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.demand import sample_multipliers
from sim.epanet import Hydraulics, LinkInput
from sim.job import Block, Origin, Where, times_s
from sim.model import Model
from sim.scenario import Scenario
from sim.start import StartState
from sim.streams import stream

BACKEND = "simpy+epanet"
WHY = "EPANET's hydraulics do not compile"
ENERGY = "energy_kwh"
# Outside these the meters do not tell the demand: an empty network gives 0, a broken meter anything.
MULTIPLIER_MIN, MULTIPLIER_MAX = 0.25, 4.0
_ONE_AT_A_TIME = threading.Lock()  # the opened networks of this process serve one thread at a time


@dataclass(frozen=True, slots=True)
class WaterJob:
    """A what-if of a water network. Plain values: it travels to worker processes.

    Attributes:
        scenarios: the baseline first.
        outputs: points to sample.
        units: point -> symbol of its unit.
        base: as in `sim.job.Origin`.
    """

    model: Model
    start: StartState
    scenarios: tuple[Scenario, ...]
    outputs: tuple[str, ...]
    horizon_s: float
    sample_every_s: float
    seed: int
    plant: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)

    @property
    def figures(self) -> tuple[str, ...]:
        return (ENERGY,)

    @property
    def limits(self) -> None:
        return None

    @property
    def where(self) -> Where:
        return Where.PROCESSES

    @property
    def origin(self) -> Origin:
        start = self.start
        return Origin(
            self.plant, start.taken_at, start.clock_s, start.hash, self.model.hash, BACKEND, WHY, base=self.base
        )

    def unit(self, name: str) -> str:
        return "kWh" if name == ENERGY else self.units.get(name, "")

    def asking(self, scenarios: Sequence[Scenario]) -> WaterJob:
        return replace(self, scenarios=tuple(scenarios))

    def faster(self) -> WaterJob:
        return self

    def drafts(self, scenario: Scenario) -> Sequence[tuple[str, float] | None]:
        """Interventions are in the plant's points already, and set them only."""
        values = [
            (s.point, self.start.settings.get(s.point) if s.value is None else s.value) for s in scenario.interventions
        ]
        return [None if value is None or isinstance(value, str) else (point, value) for point, value in values]

    def block(self, first: int, count: int) -> Block:
        """Replications of every scenario, each with the same chance in all scenarios."""
        times = times_s(self.horizon_s, self.sample_every_s)
        shape = (len(self.scenarios), count, len(times), len(self.outputs))
        samples, energy_kwh = np.empty(shape), np.empty((*shape[:2], 1))
        with _ONE_AT_A_TIME:
            water = _network(self.model.network, self.model.hash, self.model.step_s, self.model.energy)
            multiplier = _measured_multiplier(self, water)
            for row in range(count):
                for s, scenario in enumerate(self.scenarios):
                    run = Replication(self, water, scenario, first + row, multiplier, times)
                    samples[s, row] = run.run()
                    energy_kwh[s, row, 0] = water.energy_kwh
        return Block(first, samples, energy_kwh, multiplier, BACKEND)


@lru_cache(maxsize=4)  # networks open at once in one process; a server serves one or two plants
def _network(path: str, model_hash: str, step_s: int, powered: tuple[str, ...]) -> Hydraulics:
    """The opened network; the hash makes a changed file a new one."""
    return Hydraulics(Path(path), step_s, powered)


def _measured_multiplier(job: WaterJob, water: Hydraulics) -> float | None:
    """Measured demand over the nominal demand at this time of day."""
    levels_m = {tank: level_m for tank, (level_m, _) in job.start.levels_m.items()}
    water.start(job.start.clock_s, levels_m, job.start.links)
    nominal_l_s = water.demand_l_s()
    ratio = job.start.demand_l_s / nominal_l_s if nominal_l_s > 0 else 0.0
    return ratio if MULTIPLIER_MIN <= ratio <= MULTIPLIER_MAX else None


class Replication:
    """One future of the plant: its processes share EPANET, and each brings it up to now before it changes anything."""

    def __init__(
        self, job: WaterJob, water: Hydraulics, scenario: Scenario, replication: int, multiplier: float | None,
        times_s: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self._job, self._water, self._scenario, self._times_s = job, water, scenario, times_s
        self._env = simpy.Environment()
        self._links = dict(job.start.links)
        steps = int(job.horizon_s // job.model.step_s) + 1
        belief = job.model.demand
        self._multipliers = sample_multipliers(belief, multiplier, steps, job.model.step_s, job.seed, replication)
        self._levels_m = {
            tank: level_m + sd_m * float(stream(job.seed, f"start.{tank}", replication).standard_normal())
            for tank, (level_m, sd_m) in job.start.levels_m.items()
        }
        self._samples = np.empty((len(times_s), len(job.outputs)))

    def run(self) -> NDArray[np.float64]:
        """Samples of the outputs, shape (T, P)."""
        self._water.start(self._job.start.clock_s, self._levels_m, self._links)
        for process in (self._demand, self._interventions, self._sampler):
            self._env.process(process())
        self._env.run()
        self._water.advance(self._job.horizon_s)
        return self._samples

    def _demand(self) -> Iterator[Any]:
        for multiplier in self._multipliers:
            self._water.advance(self._env.now)
            self._water.set_demand_multiplier(float(multiplier))
            if self._env.now + self._job.model.step_s > self._job.horizon_s:
                return
            yield self._env.timeout(self._job.model.step_s)

    def _interventions(self) -> Iterator[Any]:
        for intervention in self._scenario.interventions:
            if intervention.at_s > self._job.horizon_s:
                return
            yield self._env.timeout(max(0.0, intervention.at_s - self._env.now))
            self._water.advance(self._env.now)
            value = intervention.value
            self._set(
                intervention.point, self._job.start.settings[intervention.point] if value is None else float(value)
            )

    def _set(self, point: str, value: float) -> None:
        channel = self._job.model.sets[point]
        held = self._links.get(channel.id, LinkInput(True))
        number = value / channel.factor
        changed = LinkInput(number >= 0.5, held.speed) if channel.quantity == "status" else LinkInput(held.open, number)
        self._links[channel.id] = changed
        self._water.set_link(channel.id, changed)

    def _sampler(self) -> Iterator[Any]:
        channels = [self._job.model.reads[name] for name in self._job.outputs]
        gauges = self._water.gauges({column: (c.element, c.id, c.quantity) for column, c in enumerate(channels)})
        factors = np.array([c.factor for c in channels])
        for row, at_s in enumerate(self._times_s):
            yield self._env.timeout(float(at_s) - self._env.now)
            yield self._env.timeout(0)  # after everything else that happens at this moment
            self._water.advance(self._env.now)
            self._water.solve()
            for gauge in gauges:
                numbers = self._water.read(gauge.element, gauge.indexes, gauge.code)
                self._samples[row, gauge.places] = numbers * factors[gauge.places]
