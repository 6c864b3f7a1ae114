"""One replication of a what-if: SimPy processes around EPANET, the opaque component; must not know pools or statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.demand import sample_multipliers
from sim.epanet import Hydraulics, LinkInput
from sim.model import QUANTITIES, Model
from sim.scenario import Scenario
from sim.start import StartState
from sim.streams import stream

BACKEND = "simpy+epanet"
# Outside these the meters do not tell the demand: an empty network gives 0, a broken meter anything.
MULTIPLIER_MIN, MULTIPLIER_MAX = 0.25, 4.0
_ONE_AT_A_TIME = threading.Lock()  # the opened networks of this process serve one thread at a time


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that replications need. Plain values: it travels to worker processes.

    Attributes:
        scenarios: the baseline first.
        outputs: points to sample.
    """

    model: Model
    start: StartState
    scenarios: tuple[Scenario, ...]
    outputs: tuple[str, ...]
    horizon_s: float
    sample_every_s: float
    seed: int

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Sample times after the start, shape (T,), the start included."""
        steps = np.arange(int(self.horizon_s / self.sample_every_s + 1e-9) + 1, dtype=np.float64)
        return steps * np.float64(self.sample_every_s)


@dataclass(frozen=True, slots=True)
class Block:
    """Replications `first` … `first + R - 1`.

    Attributes:
        samples: shape (S, R, T, P): scenario, replication, time, output; in the twin's units.
        energy_kwh: shape (S, R).
        multiplier: the demand multiplier measured at the start, None when the meters did not tell.
    """

    first: int
    samples: NDArray[np.float64]
    energy_kwh: NDArray[np.float64]
    multiplier: float | None


def run_block(job: Job, first: int, count: int) -> Block:
    """Replications `first` … `first + count - 1` of every scenario, each with the same chance in all scenarios."""
    shape = (len(job.scenarios), count, len(job.times_s), len(job.outputs))
    samples, energy_kwh = np.empty(shape), np.empty(shape[:2])
    with _ONE_AT_A_TIME:
        water = _network(job.model.network, job.model.hash, job.model.step_s, job.model.energy)
        multiplier = _measured_multiplier(job, water)
        for row in range(count):
            for s, scenario in enumerate(job.scenarios):
                run = Replication(job, water, scenario, first + row, multiplier)
                samples[s, row] = run.run()
                energy_kwh[s, row] = water.energy_kwh
    return Block(first, samples, energy_kwh, multiplier)


@lru_cache(maxsize=4)  # networks open at once in one process; a server serves one or two plants
def _network(path: str, model_hash: str, step_s: int, powered: tuple[str, ...]) -> Hydraulics:
    """The opened network; the hash makes a changed file a new one."""
    return Hydraulics(Path(path), step_s, powered)


def _measured_multiplier(job: Job, water: Hydraulics) -> float | None:
    """Measured demand over the nominal demand at this time of day."""
    levels_m = {tank: level_m for tank, (level_m, _) in job.start.levels_m.items()}
    water.start(job.start.clock_s, levels_m, job.start.links)
    nominal_l_s = water.demand_l_s()
    ratio = job.start.demand_l_s / nominal_l_s if nominal_l_s > 0 else 0.0
    return ratio if MULTIPLIER_MIN <= ratio <= MULTIPLIER_MAX else None


class Replication:
    """One future of the plant: its processes share EPANET, and each brings it up to now before it changes anything."""

    def __init__(
        self, job: Job, water: Hydraulics, scenario: Scenario, replication: int, multiplier: float | None
    ) -> None:
        self._job, self._water, self._scenario = job, water, scenario
        self._env = simpy.Environment()
        self._links = dict(job.start.links)
        steps = int(job.horizon_s // job.model.step_s) + 1
        belief = job.model.demand
        self._multipliers = sample_multipliers(belief, multiplier, steps, job.model.step_s, job.seed, replication)
        self._levels_m = {
            tank: level_m + sd_m * float(stream(job.seed, f"start.{tank}", replication).standard_normal())
            for tank, (level_m, sd_m) in job.start.levels_m.items()
        }
        self._samples = np.empty((len(job.times_s), len(job.outputs)))

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
            self._set(intervention.point, self._job.start.settings[intervention.point] if value is None else value)

    def _set(self, point: str, value: float) -> None:
        channel = self._job.model.sets[point]
        held = self._links.get(channel.id, LinkInput(True))
        number = value / channel.factor
        changed = LinkInput(number >= 0.5, held.speed) if channel.quantity == "status" else LinkInput(held.open, number)
        self._links[channel.id] = changed
        self._water.set_link(channel.id, changed)

    def _sampler(self) -> Iterator[Any]:
        readers = _readers(self._job, self._water)
        for row, at_s in enumerate(self._job.times_s):
            yield self._env.timeout(float(at_s) - self._env.now)
            yield self._env.timeout(0)  # after everything else that happens at this moment
            self._water.advance(self._env.now)
            self._water.solve()
            for element, code, indexes, columns, factors in readers:
                self._samples[row, columns] = self._water.read(element, indexes, code) * factors


def _readers(job: Job, water: Hydraulics) -> list[tuple[str, int, list[int], list[int], NDArray[np.float64]]]:
    """Per quantity: element kind, code, EPANET indexes, output columns, factors to the twin's units."""
    grouped: dict[tuple[str, int], list[int]] = {}
    channels = [job.model.reads[name] for name in job.outputs]
    for column, channel in enumerate(channels):
        grouped.setdefault((channel.element, QUANTITIES[channel.element][channel.quantity]), []).append(column)
    readers = []
    for (element, code), columns in grouped.items():
        ids = [channels[c].id for c in columns]
        indexes = water.nodes(ids) if element == "node" else water.links(ids)
        readers.append((element, code, indexes, columns, np.array([channels[c].factor for c in columns])))
    return readers
