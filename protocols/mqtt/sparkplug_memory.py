"""What was last heard of each point, so that it can be said again with another quality; must not know messages or brokers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.link import DeadLetter, LinkState, Sink
from twin.points import Selection
from twin.readings import Readings

NEVER = -1  # no source time: before 1970, which no reading is


class Memory:
    """A sink before the real one. Values keep their source time when their source is gone, so that the same value, born
    again with the same time, is neither late nor a repetition."""

    def __init__(self, points: Selection, sink: Sink) -> None:
        self._ids = points.ids
        self._order = np.argsort(points.ids, kind="stable")
        self._sorted = points.ids[self._order]
        self._value = np.full(len(points), np.nan)
        self._stamp = np.full(len(points), NEVER, np.int64)
        self._text: dict[int, str] = {}
        self._sink = sink

    def lost(self, rows: Sequence[int], quality: int, now: int) -> None:
        """Nobody vouches for these any more. Points never heard stay as they are."""
        at = np.asarray(rows, np.int64)
        at = at[self._stamp[at] != NEVER]
        if len(at):
            text = {n: self._text[row] for n, row in enumerate(at.tolist()) if row in self._text}
            self._sink.readings(Readings.of(self._ids[at], self._value[at], now, quality, self._stamp[at], text))

    def readings(self, batch: Readings) -> None:
        rows = self._rows(batch.point)
        newest = np.flatnonzero(batch.source_time >= self._stamp[rows])
        newest = newest[np.argsort(batch.source_time[newest], kind="stable")]  # of one point the last one stays
        self._value[rows[newest]] = batch.value[newest]
        self._stamp[rows[newest]] = batch.source_time[newest]
        for place in sorted(batch.text, key=lambda n: int(batch.source_time[n])):
            if batch.source_time[place] >= self._stamp[rows[place]]:
                self._text[int(rows[place])] = batch.text[place]
        self._sink.readings(batch)

    def dead_letter(self, letter: DeadLetter) -> None:
        self._sink.dead_letter(letter)

    def heard(self, device_id: str) -> None:
        self._sink.heard(device_id)

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None:
        self._sink.link_state(device_id, state, detail)

    def metric(self, device_id: str, name: str, value: float) -> None:
        self._sink.metric(device_id, name, value)

    def _rows(self, ids: NDArray[np.int32]) -> NDArray[np.intp]:
        return self._order[np.searchsorted(self._sorted, ids)]
