"""What faulty instruments make of true values, as columns; pure: time and chance are arguments, acts on nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.faults import SPAN_UNBOUNDED, Fault, Kind
from twin.plant import Plant

_NUMBERS = ("double", "integer", "boolean", "enum")
_ANALOG = ("double", "integer")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the instruments show, shape (plant.points.size,).

    Attributes:
        still: where not even the source time moves: the device says nothing new of these points.
    """

    value: NDArray[np.float64]
    quality: NDArray[np.uint32]
    still: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Acting:
    """A fault at work: its rows, those of them that a number can be added to, and what they showed at its start."""

    fault: Fault
    rows: NDArray[np.int32]
    analog: NDArray[np.int32]
    held: NDArray[np.float64]
    since_s: float


class Instruments:
    """All instruments of a plant. Faults begin and end; `show` gives what a device then says."""

    def __init__(self, plant: Plant, chance: np.random.Generator) -> None:
        points = plant.points
        self._plant = plant
        self._chance = chance
        low, high = points.numbers("low"), points.numbers("high")
        bounded = np.isfinite(low) & np.isfinite(high) & (high > low)
        self._span = np.where(bounded, high - low, SPAN_UNBOUNDED)
        self._whole = _of_types(plant, ("integer",))
        self._number, self._analog = _of_types(plant, _NUMBERS), _of_types(plant, _ANALOG)
        self._acting: dict[tuple[str, Kind], _Acting] = {}
        self._shown = np.full(points.size, np.nan)

    def begin(self, fault: Fault, now_s: float) -> None:
        """From now on. A frozen value is what was shown last."""
        rows = self._plant.points.where("device", fault.device)
        if fault.points:
            rows = np.array([self._plant.point(name).id for name in fault.points], np.int32)
        numbers = rows[self._number[rows]]
        analog = rows[self._analog[rows]]
        if fault.kind is Kind.FREEZE and not fault["clock"]:
            numbers = rows  # texts too: nothing is said of them
        acting = _Acting(fault, numbers, analog, self._shown[numbers].copy(), now_s)
        self._acting[fault.device, fault.kind] = acting

    def end(self, fault: Fault) -> None:
        self._acting.pop((fault.device, fault.kind), None)

    def show(self, value: NDArray[np.float64], quality: NDArray[np.uint32], now_s: float) -> Shown:
        """Shapes (plant.points.size,); the given columns stay as they are."""
        if not self._acting:
            self._shown = value
            return Shown(value, quality, np.zeros(len(value), np.bool_))
        value, quality, still = value.copy(), quality.copy(), np.zeros(len(value), np.bool_)
        for kind in (Kind.DRIFT, Kind.SPIKE, Kind.FREEZE, Kind.BAD_QUALITY):  # a frozen value neither drifts nor jumps
            for acting in [a for (_, k), a in self._acting.items() if k is kind]:
                self._distort(acting, value, quality, still, now_s)
        self._shown = value
        return Shown(value, quality, still)

    def _distort(
        self,
        acting: _Acting,
        value: NDArray[np.float64],
        quality: NDArray[np.uint32],
        still: NDArray[np.bool_],
        now_s: float,
    ) -> None:
        fault, analog = acting.fault, acting.analog
        match fault.kind:
            case Kind.DRIFT:
                moved = value[analog] + fault["spans_per_s"] * (now_s - acting.since_s) * self._span[analog]
                value[analog] = np.where(self._whole[analog], np.round(moved), moved)
            case Kind.SPIKE:
                draws = self._chance.random((2, len(analog)))
                jump = np.where(draws[1] < 0.5, -1.0, 1.0) * fault["spans"] * self._span[analog]
                moved = value[analog] + np.where(draws[0] < fault["share"], jump, 0.0)
                value[analog] = np.where(self._whole[analog], np.round(moved), moved)
            case Kind.FREEZE:
                value[acting.rows] = np.where(np.isnan(acting.held), value[acting.rows], acting.held)
                still[acting.rows] = not fault["clock"]
            case Kind.BAD_QUALITY:
                quality[acting.rows] = np.uint32(fault["code"])


def _of_types(plant: Plant, types: tuple[str, ...]) -> NDArray[np.bool_]:
    found = np.zeros(plant.points.size, np.bool_)
    found[plant.points.among("type", types)] = True
    return found
