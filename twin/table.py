"""The point table: the last reading of every point as numpy columns; must not know protocols, files or clocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.columns import Columns, Snapshot
from twin.errors import BadRequest
from twin.readings import Readings, once
from twin.scatter import CHANGED, CONFIRMED, CONFLICT, DUPLICATE, LATE, QUIET, scatter

_NO_TEXT = np.empty(0, np.bool_)
_NO_EXPECTATION = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What one `apply` did.

    Attributes:
        advanced: ids whose reading is now newer, shape (A,), ascending, each once.
        changed: the part of `advanced` whose value, text or quality differs from before, shape (C,), likewise.
        record: the readings that history keeps, in the order of the batch: those that changed something and those
            older than what was held.
        late: how many readings were older than what was held.
        duplicates: how many readings said again what was held.
        quiet: how many readings differed by no more than the point's dead band: only the age is renewed.
        conflicts: rows of the batch whose point was not at the expected revision, shape (X,); nothing was done.
    """

    advanced: NDArray[np.int32]
    changed: NDArray[np.int32]
    record: Readings
    late: int
    duplicates: int
    quiet: int
    conflicts: NDArray[np.intp]


class PointTable:
    """One row a point. `apply` is the only way a reported value changes."""

    def __init__(self, columns: Columns, deadband: NDArray[np.float64] | None = None) -> None:
        """`deadband`: shape (N,), in each point's unit; a change of no more than this is noise. None for none."""
        self.columns = columns
        self._deadband = np.zeros(len(columns)) if deadband is None else deadband

    @classmethod
    def sized(cls, size: int, deadband: NDArray[np.float64] | None = None) -> PointTable:
        return cls(Columns.empty(size), deadband)

    def __len__(self) -> int:
        return len(self.columns)

    def apply(self, batch: Readings, expected: NDArray[np.uint64] | None = None) -> ChangeSet:
        """Take a batch of readings, one after the other.

        A reading older than the one held leaves the table alone and goes to history; one that repeats it in time,
        value and quality is dropped and counted. Within the dead band (OPC UA Part 8, absolute dead band: against
        the last value held) the value stays and its age is renewed.

        Args:
            expected: revision that each row's point must have, shape (B,); rows that find another do nothing.

        Raises:
            BadRequest: `expected` is given and a point stands twice in the batch.
        """
        if expected is not None and len(once(batch.point)) != len(batch):
            raise BadRequest("a conditional update names a point twice", "send one reading a point")
        columns = self.columns
        outcome = np.empty(len(batch), np.uint8)
        scatter(
            batch.point, batch.value, batch.quality, batch.source_time, batch.received_time,
            self._text_differs(batch), _NO_EXPECTATION if expected is None else expected,
            columns.value, columns.quality, columns.source_time, columns.received_time, columns.revision,
            self._deadband, outcome,
        )  # fmt: skip
        changed = outcome == CHANGED
        for row in sorted(batch.text):
            if changed[row]:
                columns.text[int(batch.point[row])] = batch.text[row]
        kinds = np.bincount(outcome, minlength=CONFLICT + 1)
        advanced_ids = once(batch.point[outcome <= QUIET])
        only_changes = kinds[CONFIRMED] == kinds[QUIET] == 0
        recorded = changed | (outcome == LATE)
        return ChangeSet(
            advanced=advanced_ids,
            changed=advanced_ids if only_changes else once(batch.point[changed]),
            record=batch if recorded.all() else batch.take(np.flatnonzero(recorded)),
            late=int(kinds[LATE]),
            duplicates=int(kinds[DUPLICATE]),
            quiet=int(kinds[QUIET]),
            conflicts=np.flatnonzero(outcome == CONFLICT),
        )

    def touch(self, ids: NDArray[np.int32], received_time: int) -> None:
        """The source says that these values still hold: their age starts again, nothing else changes."""
        self.columns.received_time[ids] = np.maximum(self.columns.received_time[ids], received_time)

    def snapshot(self, epoch: int, seq: int, taken_at: int) -> Snapshot:
        return Snapshot(epoch, seq, taken_at, self.columns.copy())

    @classmethod
    def fork(cls, snapshot: Snapshot, deadband: NDArray[np.float64] | None = None) -> PointTable:
        """A writable table that starts from a moment and never touches the live one."""
        return cls(snapshot.columns.copy(), deadband)

    def grow(self, size: int, deadband: NDArray[np.float64]) -> None:
        """Points that have never been read, after those there are; `deadband` of all, shape (size,)."""
        self.columns = self.columns.grown(size)
        self._deadband = deadband

    def extend(self, deadband: NDArray[np.float64]) -> None:
        """As `grow`; `deadband` of the points that are more, shape (more,)."""
        self.grow(len(self) + len(deadband), np.concatenate([self._deadband, deadband]))

    def _text_differs(self, batch: Readings) -> NDArray[np.bool_]:
        """Where a row's text is not what the table will hold when the row's turn comes, shape (B,) or (0,)."""
        if not batch.text:
            return _NO_TEXT
        differs = np.zeros(len(batch), np.bool_)
        rows = np.array(sorted(batch.text))
        with_text = np.isin(batch.point, batch.point[rows]).nonzero()[0]  # a row without text may move the time
        text: dict[int, str | None] = {}
        newest: dict[int, int] = {}
        for row, point in zip(with_text.tolist(), batch.point[with_text].tolist(), strict=True):
            time = int(batch.source_time[row])
            if time < newest.get(point, int(self.columns.source_time[point])):
                continue
            newest[point] = time
            new = batch.text.get(row)
            if new is not None:
                differs[row] = new != text.get(point, self.columns.text.get(point))
                text[point] = new
        return differs
