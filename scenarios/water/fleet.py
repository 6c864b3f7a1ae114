"""The water behind Net3's devices: EPANET, a true demand of its own, noisy instruments; must not know sockets or twins."""

from __future__ import annotations

import math
import queue
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scenarios.mover import Measured
from sim.epanet import QUANTITIES, Hydraulics, LinkInput
from sim.model import Channel, read_model
from sim.streams import stream
from twin.plant import Plant
from twin.points import Point
from twin.quality import GOOD, UNCERTAIN

STEP_S = 60  # hydraulic step of the true plant: finer than any what-if's
START_S = 6 * 3600.0
# What the plant is told at the start: the river pump runs, the lake pump rests, the bypass is shut.
START_LINKS: Mapping[str, LinkInput] = {"10": LinkInput(False), "335": LinkInput(True), "330": LinkInput(False)}


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of the instruments: `absolute` in the network's unit, `relative` to the value."""

    absolute: float = 0.0
    relative: float = 0.0


NOISE: Mapping[str, Noise] = {
    "level": Noise(absolute=0.01),
    "inflow": Noise(relative=0.005),
    "flow": Noise(relative=0.005),
    "pressure": Noise(absolute=0.3),
}


@dataclass(frozen=True, slots=True)
class TrueDemand:
    """How customers really draw water; the twin is not told.

    Attributes:
        level_sd: of the logarithm of a factor on all demands, drawn once.
        walk_sd, correlation_s: of a factor on all demands that wanders.
        junction_sd: of the logarithm of each junction's own factor, drawn once.
        step_s: how often the demand changes.
    """

    level_sd: float = 0.05
    walk_sd: float = 0.06
    correlation_s: float = 3 * 3600.0
    junction_sd: float = 0.10
    step_s: int = 300


class WaterMover:
    """Moves a water network's devices: see scenarios.mover.Mover.

    Args:
        seed: of demand and noise; the same seed and commands give the same readings.
        start_s: the plant's own time at the start, seconds since midnight of its day 0.
    """

    def __init__(
        self,
        plant: Plant,
        seed: int,
        start_s: float | None = None,
        levels_m: Mapping[str, float] | None = None,
        demand: TrueDemand = TrueDemand(),
    ) -> None:
        model = read_model(plant)
        self._plant, self._demand = plant, demand
        self._sets = {plant.point(name).id: channel for name, channel in model.sets.items()}
        self._clock_id = plant.point(model.clock).id
        self._settings = {i: _told(c) * c.factor for i, c in self._sets.items()}
        self._links = dict(START_LINKS)
        self._commands: queue.SimpleQueue[tuple[Channel, float]] = queue.SimpleQueue()
        self._noise = stream(seed, "plant.noise")
        self._walk = stream(seed, "plant.demand.walk")
        self._level = demand.level_sd * float(stream(seed, "plant.demand.level").standard_normal())
        self._drift = demand.walk_sd * float(self._walk.standard_normal())
        self.water = Hydraulics(Path(model.network), STEP_S)
        own = stream(seed, "plant.demand.junctions").standard_normal(len(self.water.junctions))
        self.water.set_demand_factors(np.exp(demand.junction_sd * own))
        self.water.start(START_S if start_s is None else start_s, levels_m or {}, self._links)
        self.water.set_demand_multiplier(math.exp(self._level + self._drift))
        self._groups = [_Group.of(plant, self.water, key, model.reads) for key in _quantities(model.reads)]

    def advance(self, elapsed_s: float) -> Measured:
        self._obey()
        while self.water.time_s < int(elapsed_s):
            step_s = self._demand.step_s
            change_s = (self.water.time_s // step_s + 1) * step_s
            self.water.advance(min(int(elapsed_s), change_s))
            if self.water.time_s == change_s:
                self._wander()
        return self._measure()

    def command(self, point: Point, value: float) -> bool:
        channel = self._sets.get(point.id)
        low, high = (0.0, 1.0) if point.type == "boolean" else (point.low, point.high)
        if channel is None or not low <= value <= high:
            return False
        self._settings[point.id] = value
        self._commands.put((channel, value / channel.factor))
        return True

    def settings(self) -> Mapping[int, float]:
        return dict(self._settings)

    def _obey(self) -> None:
        while not self._commands.empty():
            channel, number = self._commands.get()
            held = self._links[channel.id]
            told = (
                LinkInput(number >= 0.5, held.speed) if channel.quantity == "status" else LinkInput(held.open, number)
            )
            self._links[channel.id] = told
            self.water.set_link(channel.id, told)

    def _wander(self) -> None:
        kept = math.exp(-self._demand.step_s / self._demand.correlation_s)
        push = self._demand.walk_sd * math.sqrt(1 - kept * kept)
        self._drift = kept * self._drift + push * float(self._walk.standard_normal())
        self.water.set_demand_multiplier(math.exp(self._level + self._drift))

    def _measure(self) -> Measured:
        self.water.solve()
        ids, values = [np.array([self._clock_id], np.int32)], [np.array([self.water.clock_s], np.float64)]
        quality = [np.zeros(1, np.uint32)]
        for group in self._groups:
            readings, saturated = group.read(self.water, self._noise)
            ids.append(group.ids)
            values.append(readings)
            quality.append(np.where(saturated, np.uint32(UNCERTAIN), np.uint32(GOOD)))
        return Measured(np.concatenate(ids), np.concatenate(values), np.concatenate(quality))


@dataclass(frozen=True, slots=True)
class _Group:
    """All points that read one quantity; arrays have one row a point."""

    element: str
    code: int
    noise: Noise
    ids: NDArray[np.int32]
    indexes: tuple[int, ...]
    factor: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, plant: Plant, water: Hydraulics, key: tuple[str, str], reads: Mapping[str, Channel]) -> _Group:
        element, quantity = key
        channels = [c for c in reads.values() if (c.element, c.quantity) == key]
        points = [plant.point(c.point) for c in channels]
        ids = [c.id for c in channels]
        return cls(
            element=element,
            code=QUANTITIES[element][quantity],
            noise=NOISE.get(quantity, Noise()),
            ids=np.array([p.id for p in points], np.int32),
            indexes=tuple(water.nodes(ids) if element == "node" else water.links(ids)),
            factor=np.array([c.factor for c in channels]),
            low=np.array([p.low for p in points]),
            high=np.array([p.high for p in points]),
        )

    def read(self, water: Hydraulics, chance: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Noisy readings in the twin's units, and where the instrument stands at an end of its range."""
        true = water.read(self.element, self.indexes, self.code)
        noisy = true * (1 + self.noise.relative * chance.standard_normal(len(true)))
        noisy += self.noise.absolute * chance.standard_normal(len(true))
        readings = noisy * self.factor
        held = np.clip(readings, self.low, self.high)
        return held, held != readings


def _quantities(reads: Mapping[str, Channel]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((c.element, c.quantity) for c in reads.values()))


def _told(channel: Channel) -> float:
    """What a link is told at the start, in the network's unit."""
    told = START_LINKS[channel.id]
    return float(told.open) if channel.quantity == "status" else told.speed
