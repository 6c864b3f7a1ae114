"""Moves the devices of any plant: numbers wander within their range, switches toggle, what is written is taken over.

For plants that have no mover of their own: their devices then say something, of the right type and within range, and
commands confirm. It knows no physics: no value depends on another, but a feedback point on the point that it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scenarios.mover import Measured
from scenarios.specimen import specimen
from sim.streams import stream
from twin.plant import Plant
from twin.points import Point
from twin.quality import GOOD
from twin.schema import Enum

TICK_S = 0.5  # of plant time
TICKS_MAX = 20  # in one `advance`: a plant that runs faster takes longer strides
STRIDE = 0.02  # of the range: standard deviation of one move
RARE = 0.1  # switches, choices and texts change so much more seldom than numbers
FOLLOW_S = 1.0  # time constant with which a feedback follows its setting
ARRIVED = 1e-3  # of the range: nearer than that it stands where it was told
RANGE_OPEN = 100.0  # width of a range without a limit, in the point's unit


class Wanderer:
    """See scenarios.mover.Mover. The same seed gives the same values at the same plant time, to 20 ticks a call.

    Args:
        start_s: the plant's own time at the start, said at the plant's clock point.
        activity: share of the numbers that change in a second of plant time, 0 … 1.
    """

    def __init__(self, plant: Plant, seed: int, start_s: float | None = None, activity: float = 0.2) -> None:
        self._plant = plant
        self._chance = stream(seed, "plant.wander")
        self._activity = activity
        self._start_s = 0.0 if start_s is None else start_s
        self._elapsed_s = 0.0
        points = plant.points
        self._bound = np.flatnonzero(~points.retired).astype(np.int32)
        self._bound = self._bound[~np.isin(self._bound, points.where("device", ""))]
        self._low, self._high = _ranges(plant)
        self._scale, self._offset = points.numbers("scale"), points.numbers("offset")
        # What an instrument can tell apart: whole numbers, or the steps of a scaled register.
        whole = _among(plant, "integer") & (self._scale == 1.0)
        self._stepped = whole | (_among(plant, "integer", "double") & (self._scale != 1.0))
        self._value = self._beginning(points.size)
        self._codes = self._enum_codes()
        self._text: dict[int, str] = {}
        self._said_so_far: dict[int, int] = {}
        self._settings = self._settable()
        self._divide()
        self._say_texts(self._texts)

    def advance(self, elapsed_s: float) -> Measured:
        ticks = int((elapsed_s - self._elapsed_s) / TICK_S)
        stride_s = TICK_S * max(1, math.ceil(ticks / TICKS_MAX))
        while self._elapsed_s + stride_s <= elapsed_s:
            self._elapsed_s += stride_s
            self._move(stride_s)
        return self._measure()

    def command(self, point: Point, value: float) -> bool:
        if point.id not in self._settings or not math.isfinite(value):
            return False
        if point.type == "enum" and value not in self._codes[point.id]:
            return False
        low, high = (0.0, 1.0) if point.type == "boolean" else (point.low, point.high)
        if not low <= value <= high:
            return False
        self._settings[point.id] = value
        return True

    def settings(self) -> Mapping[int, float]:
        return dict(self._settings)

    def _measure(self) -> Measured:
        said = self._value[self._said]
        text, self._text = self._text, {}
        return Measured(self._said, said, np.full(len(said), GOOD, np.uint32), text)

    def _move(self, stride_s: float) -> None:
        moves = 1.0 - math.exp(-self._activity * stride_s)
        numbers = self._drawn(self._numbers, moves)
        low, high = self._low[numbers], self._high[numbers]
        moved = self._value[numbers] + STRIDE * (high - low) * self._chance.standard_normal(len(numbers))
        moved = np.where(moved > high, 2 * high - moved, np.where(moved < low, 2 * low - moved, moved))
        self._value[numbers] = self._as_shown(numbers, moved)
        switches = self._drawn(self._switches, moves * RARE)
        self._value[switches] = 1.0 - self._value[switches]
        for point_id in self._drawn(self._choices, moves * RARE).tolist():
            self._value[point_id] = self._chance.choice(self._codes[point_id])
        self._say_texts(self._drawn(self._texts, moves * RARE))
        self._follow(stride_s)
        if self._clock is not None:
            self._value[self._clock] = self._start_s + self._elapsed_s

    def _follow(self, stride_s: float) -> None:
        told = np.array([self._settings[i] for i in self._led.tolist()])
        shown, span = self._value[self._following], (self._high - self._low)[self._following]
        near = shown + (told - shown) * (1 - math.exp(-stride_s / FOLLOW_S))
        arrived = ~self._gradual | (np.abs(told - near) <= ARRIVED * span)
        self._value[self._following] = np.where(arrived, told, self._as_shown(self._following, near))

    def _drawn(self, ids: NDArray[np.int32], share: float) -> NDArray[np.int32]:
        return ids[self._chance.random(len(ids)) < share]

    def _as_shown(self, ids: NDArray[np.int32], value: NDArray[np.float64]) -> NDArray[np.float64]:
        scale, offset = self._scale[ids], self._offset[ids]
        return np.where(self._stepped[ids], np.round((value - offset) / scale) * scale + offset, value)

    def _say_texts(self, ids: NDArray[np.int32]) -> None:
        for point in self._plant.points.some(ids):
            count = self._said_so_far[point.id] = self._said_so_far.get(point.id, 0) + 1
            text = specimen(point, count)
            if text is not None:
                self._text[point.id] = text

    def _beginning(self, size: int) -> NDArray[np.float64]:
        """Numbers in the middle half of their range, switches by chance."""
        place = 0.25 + 0.5 * self._chance.random(size)
        value = self._as_shown(np.arange(size, dtype=np.int32), self._low + place * (self._high - self._low))
        return np.where(_among(self._plant, "boolean"), np.round(place), value)

    def _enum_codes(self) -> Mapping[int, list[float]]:
        codes: dict[int, list[float]] = {}
        for point in self._plant.points.some(self._bound[_among(self._plant, "enum")[self._bound]]):
            schema = point.schema
            assert isinstance(schema, Enum)
            codes[point.id] = [float(schema.code(i)) for i in range(len(schema.values))]
            self._value[point.id] = codes[point.id][0]
        return codes

    def _settable(self) -> dict[int, float]:
        numeric = _among(self._plant, "double", "integer", "boolean", "enum")
        writable = self._plant.points.flagged("writable") & numeric
        ids = self._bound[writable[self._bound]]
        return dict(zip(ids.tolist(), self._value[ids].tolist(), strict=True))

    def _divide(self) -> None:
        """Which points do what."""
        plant = self._plant
        follows: dict[int, int] = {}
        for row in plant.feedbacks:
            setting, shown = plant.points.id_of(row.point), plant.points.id_of(row.feedback)
            if setting in self._settings and shown is not None and shown not in self._settings:
                follows[shown] = setting
        self._following = np.array(list(follows), np.int32)
        self._led = np.array(list(follows.values()), np.int32)
        self._gradual = _among(plant, "double", "integer")[self._following]
        self._value[self._following] = self._value[self._led]
        clock = None if plant.clock is None else plant.point(plant.clock)
        self._clock = clock.id if clock is not None and clock.device else None
        taken = [*self._settings, *self._following.tolist(), *([] if self._clock is None else [self._clock])]
        free = self._bound[~np.isin(self._bound, taken)]
        self._numbers = free[_among(plant, "double", "integer")[free]]
        self._switches = free[_among(plant, "boolean")[free]]
        self._choices = free[_among(plant, "enum")[free]]
        self._texts = free[_among(plant, "string", "object")[free]]
        clocks = np.array([] if self._clock is None else [self._clock], np.int32)
        self._said = np.concatenate([self._numbers, self._switches, self._choices, self._following, clocks])


def _ranges(plant: Plant) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Finite ends of every point's range, shape (points.size,)."""
    low, high = plant.points.numbers("low").copy(), plant.points.numbers("high").copy()
    open_below, open_above = ~np.isfinite(low), ~np.isfinite(high)
    low[open_below] = np.where(open_above[open_below], 0.0, high[open_below] - RANGE_OPEN)
    high[open_above] = low[open_above] + RANGE_OPEN
    return low, high


def _among(plant: Plant, *types: str) -> NDArray[np.bool_]:
    found = np.zeros(plant.points.size, np.bool_)
    found[plant.points.among("type", types)] = True
    return found
