"""The point table: the last reading of every point as numpy columns; must not know protocols, files or clocks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin.quality import BAD_WAITING_FOR_INITIAL_DATA
from twin.readings import Readings

NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What one `apply` did.

    Attributes:
        advanced: ids whose reading is now newer, shape (A,), ascending.
        changed: the part of `advanced` whose value, text or quality differs from before, shape (C,), ascending.
        record: the readings that history keeps: the changed ones and those older than the current one.
        late: how many readings were older than the current one.
        duplicates: how many readings said again what the table already held.
    """

    advanced: NDArray[np.int32]
    changed: NDArray[np.int32]
    record: Readings
    late: int
    duplicates: int


@dataclass(slots=True)
class Columns:
    """The state of N points; every array has shape (N,)."""

    value: NDArray[np.float64]
    quality: NDArray[np.uint32]
    source_time: NDArray[np.int64]
    received_time: NDArray[np.int64]
    revision: NDArray[np.uint64]
    text: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, size: int) -> Columns:
        """N points that have never been read: NaN, BadWaitingForInitialData, revision 0."""
        return cls(
            np.full(size, np.nan),
            np.full(size, BAD_WAITING_FOR_INITIAL_DATA, np.uint32),
            np.full(size, NEVER, np.int64),
            np.full(size, NEVER, np.int64),
            np.zeros(size, np.uint64),
        )

    def copy(self) -> Columns:
        return Columns(
            self.value.copy(),
            self.quality.copy(),
            self.source_time.copy(),
            self.received_time.copy(),
            self.revision.copy(),
            dict(self.text),
        )

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The twin at one moment: a copy that nobody changes.

    Attributes:
        epoch: the feed's epoch.
        seq: the feed's last change contained in the columns.
        taken_at: ns since 1970 UTC.
        columns: one row a point.
    """

    epoch: int
    seq: int
    taken_at: int
    columns: Columns

    def fork(self) -> PointTable:
        """A writable table that starts from this moment and never touches the live one."""
        return PointTable(self.columns.copy())


class PointTable:
    """One row a point. `apply` is the only way a reported value changes."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    @classmethod
    def sized(cls, size: int) -> PointTable:
        return cls(Columns.empty(size))

    def __len__(self) -> int:
        return len(self.columns)

    def apply(self, batch: Readings) -> ChangeSet:
        """Take a batch of readings.

        Of several readings of one point the newest by source time counts (the last one in the batch when equal).
        A reading older than the current one leaves the table alone and goes to history; one that repeats the current
        one in time, value and quality is dropped and counted.
        """
        rows = _newest_rows(batch.point, batch.source_time)
        ids = batch.point[rows]
        older = batch.source_time[rows] < self.columns.source_time[ids]
        differs = self._differs(batch, rows)
        repeats = (batch.source_time[rows] == self.columns.source_time[ids]) & ~differs
        taken = ~older & ~repeats
        late_rows = np.setdiff1d(np.arange(len(batch)), rows[taken | repeats])
        self._store(batch, rows[taken], rows[taken & differs])
        record_rows = np.sort(np.concatenate([rows[taken & differs], late_rows]))
        return ChangeSet(
            ids[taken], ids[taken & differs], batch.take(record_rows), len(late_rows), int(np.count_nonzero(repeats))
        )

    def touch(self, ids: NDArray[np.int32], received_time: int) -> None:
        """The source says that these values still hold: their age starts again, nothing else changes."""
        self.columns.received_time[ids] = np.maximum(self.columns.received_time[ids], received_time)

    def snapshot(self, epoch: int, seq: int, taken_at: int) -> Snapshot:
        return Snapshot(epoch, seq, taken_at, self.columns.copy())

    def _differs(self, batch: Readings, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Where value, text or quality is not what the table holds, shape (len(rows),)."""
        ids = batch.point[rows]
        value, held = batch.value[rows], self.columns.value[ids]
        differs: NDArray[np.bool_] = (value != held) & ~(np.isnan(value) & np.isnan(held))
        differs |= batch.quality[rows] != self.columns.quality[ids]
        if batch.text:
            for position, row in enumerate(rows):
                new = batch.text.get(int(row))
                if new is not None and new != self.columns.text.get(int(ids[position])):
                    differs[position] = True
        return differs

    def _store(self, batch: Readings, rows: NDArray[np.intp], changed_rows: NDArray[np.intp]) -> None:
        columns, ids = self.columns, batch.point[rows]
        columns.value[ids] = batch.value[rows]
        columns.quality[ids] = batch.quality[rows]
        columns.source_time[ids] = batch.source_time[rows]
        columns.received_time[ids] = np.maximum(columns.received_time[ids], batch.received_time)
        columns.revision[batch.point[changed_rows]] += np.uint64(1)
        if batch.text:
            for row in rows:
                new = batch.text.get(int(row))
                if new is not None:
                    columns.text[int(batch.point[row])] = new


def _newest_rows(point: NDArray[np.int32], source_time: NDArray[np.int64]) -> NDArray[np.intp]:
    """For every point in the batch the row of its newest reading, ordered by point id."""
    order: NDArray[np.intp] = np.lexsort((source_time, point))  # stable: equal times keep the batch's order
    if len(order) == 0:
        return order
    last_of_point = np.append(point[order][1:] != point[order][:-1], True)
    newest: NDArray[np.intp] = order[last_of_point]
    return newest
