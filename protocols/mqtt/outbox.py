"""Which points' newest states are to be published when; pure: no broker, no clock, and it must not know payloads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.served import States

NEVER = -(2**62)


class Outbox:
    """The newest state of each point. What a newer one replaces before its turn is not told: state, not events.

    Columns are of shape (N,), N the number of the plant's points; the row is the point's id.
    """

    def __init__(self, every_ns: int) -> None:
        """`every_ns`: the shortest time between two publications of one point."""
        self.value = np.zeros(0)
        self.quality = np.zeros(0, np.uint32)
        self.source_time = np.zeros(0, np.int64)
        self.text: dict[int, str] = {}
        self._every_ns = every_ns
        self._known = np.zeros(0, np.bool_)
        self._waiting = np.zeros(0, np.bool_)
        self._told_at = np.zeros(0, np.int64)
        self._next = 0

    @property
    def known(self) -> NDArray[np.int32]:
        """Ids of the points that have a state."""
        return np.flatnonzero(self._known).astype(np.int32)

    @property
    def waiting(self) -> int:
        return int(np.count_nonzero(self._waiting))

    def hold(self, states: States) -> int:
        """Take these; -> how many states that were not told yet they replace."""
        self._grow(states.plant.points.size)
        ids = states.point
        same = (states.value == self.value[ids]) | (np.isnan(states.value) & np.isnan(self.value[ids]))
        same &= self._known[ids] & (states.quality == self.quality[ids])
        if states.text:
            same &= np.array([states.text.get(i) == self.text.get(i) for i in ids.tolist()], np.bool_)
        news = ids[~same]
        replaced = int(np.count_nonzero(self._waiting[news]))
        self.value[ids], self.quality[ids], self.source_time[ids] = states.value, states.quality, states.source_time
        self.text.update(states.text)
        self._known[ids] = True
        self._waiting[news] = True
        return replaced

    def due(self, now: int, most: int) -> NDArray[np.int32]:
        """Whose turn it is; each is taken out until it changes or comes `again`. At most `most`, all in turn."""
        ready = np.flatnonzero(self._waiting & (self._told_at <= now - self._every_ns)).astype(np.int32)
        if len(ready) > most:
            at = int(np.searchsorted(ready, self._next))
            ready = np.roll(ready, -at)[:most]
            self._next = int(ready[-1]) + 1
        self._waiting[ready] = False
        self._told_at[ready] = now
        return ready

    def again(self, ids: NDArray[np.int32]) -> None:
        """These could not be told: their newest states are due at once."""
        self._waiting[ids] = self._known[ids]
        self._told_at[ids] = NEVER

    def anew(self) -> None:
        """Nobody knows anything: everything is due."""
        self.again(self.known)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """These points are gone."""
        self._known[ids] = self._waiting[ids] = False

    def _grow(self, size: int) -> None:
        more = size - len(self.value)
        if more <= 0:
            return
        self.value = np.concatenate([self.value, np.zeros(more)])
        self.quality = np.concatenate([self.quality, np.zeros(more, np.uint32)])
        self.source_time = np.concatenate([self.source_time, np.zeros(more, np.int64)])
        self._known = np.concatenate([self._known, np.zeros(more, np.bool_)])
        self._waiting = np.concatenate([self._waiting, np.zeros(more, np.bool_)])
        self._told_at = np.concatenate([self._told_at, np.full(more, NEVER, np.int64)])
