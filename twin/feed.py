"""The change feed: which points advanced since a cursor, and every event in order; must not know its consumers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.readings import once

# State is coalesced, so the ring only saves work; past it a consumer gets the union by a scan of one column.
DELTAS_MAX = 512
# Sorting the union of deltas costs as much as the scan once they hold this part of all points.
SCAN_SHARE = 16
# Events are never dropped for a consumer that keeps up with this many; one that does not is told so (Overrun).
EVENTS_MAX = 8192


class Overrun(Exception):
    """The consumer's cursor lies before the oldest event kept: it must start again from a snapshot."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once and must reach everybody: a command transition, a link that broke."""

    seq: int
    kind: str
    time: int
    body: dict[str, Any]


class Feed:
    """Numbers every change. `(epoch, seq)` names a moment: epoch is new for each start of the server."""

    def __init__(self, size: int, epoch: int) -> None:
        self.epoch = epoch
        self.seq = 0
        self._point_seq = np.zeros(size, np.uint64)
        self._deltas: deque[tuple[int, NDArray[np.int32]]] = deque(maxlen=DELTAS_MAX)
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._events_dropped_to = 0

    def advance(self, ids: NDArray[np.int32]) -> int:
        """Record that these points advanced; returns the new head."""
        if len(ids):
            self.seq += 1
            self._point_seq[ids] = self.seq
            self._deltas.append((self.seq, ids))
        return self.seq

    def announce(self, kind: str, time: int, body: dict[str, Any]) -> Event:
        """Record an event; it takes a sequence number of its own."""
        self.seq += 1
        if len(self._events) == EVENTS_MAX:
            self._events_dropped_to = self._events[0].seq
        event = Event(self.seq, kind, time, body)
        self._events.append(event)
        return event

    def retell(self, bodies: Mapping[int, dict[str, Any]]) -> None:
        """Say events that are kept otherwise, by number: the same happened, and nobody is told anew."""
        told = (replace(e, body=bodies[e.seq]) if e.seq in bodies else e for e in self._events)
        self._events = deque(told, maxlen=EVENTS_MAX)

    def points_since(self, seq: int) -> NDArray[np.int32]:
        """Ids that advanced after `seq`, each once, ascending: coalesced state for any cursor, however old."""
        recent: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        few = len(self._point_seq) // SCAN_SHARE
        for at, ids in reversed(self._deltas):
            if at <= seq:
                return once(np.concatenate(recent))
            recent.append(ids)
            few -= len(ids)
            if few < 0:
                return self._scan(seq)
        return once(np.concatenate(recent)) if len(self._deltas) < DELTAS_MAX else self._scan(seq)

    def _scan(self, seq: int) -> NDArray[np.int32]:
        return np.flatnonzero(self._point_seq > seq).astype(np.int32)

    @property
    def kept_from(self) -> int:
        """The oldest cursor that can go on: events before it are no longer kept."""
        return self._events_dropped_to

    def grow(self, size: int) -> None:
        """Room for more points, after those there are."""
        more = np.zeros(size - len(self._point_seq), np.uint64)
        self._point_seq = np.concatenate([self._point_seq, more])

    def events_since(self, seq: int) -> list[Event]:
        """Events after `seq` in order.

        Raises:
            Overrun: some of them are no longer kept.
        """
        if seq < self._events_dropped_to:
            raise Overrun(f"events before {self._events_dropped_to} are no longer kept; the cursor is at {seq}")
        newer: list[Event] = []
        for event in reversed(self._events):
            if event.seq <= seq:
                break
            newer.append(event)
        return newer[::-1]
