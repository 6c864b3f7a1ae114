"""The state of N points as numpy columns, and one moment of it; must not know where readings come from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin.quality import BAD_WAITING_FOR_INITIAL_DATA

NEVER = np.iinfo(np.int64).min
"""The time of a reading that never was."""


@dataclass(slots=True)
class Columns:
    """The state of N points; every array has shape (N,). `text` holds texts, names of enum values and JSON by row."""

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

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        return (self.value, self.quality, self.source_time, self.received_time, self.revision)

    def copy(self) -> Columns:
        return Columns(
            self.value.copy(),
            self.quality.copy(),
            self.source_time.copy(),
            self.received_time.copy(),
            self.revision.copy(),
            dict(self.text),
        )

    def grown(self, size: int) -> Columns:
        """The same rows followed by points that have never been read, `size` in all."""
        more = Columns.empty(size - len(self))
        return Columns(
            np.concatenate([self.value, more.value]),
            np.concatenate([self.quality, more.quality]),
            np.concatenate([self.source_time, more.source_time]),
            np.concatenate([self.received_time, more.received_time]),
            np.concatenate([self.revision, more.revision]),
            dict(self.text),
        )

    def first(self, size: int) -> Columns:
        """At most so many rows; arrays are not copied."""
        if size >= len(self):
            return self
        return Columns(
            self.value[:size], self.quality[:size], self.source_time[:size], self.received_time[:size],
            self.revision[:size], self.text,
        )  # fmt: skip

    def take_over(self, other: Columns, ids: NDArray[np.int32]) -> None:
        """These rows become what they are in `other`."""
        for mine, theirs in zip(self.arrays(), other.arrays(), strict=True):
            mine[ids] = theirs[ids]
        self.text |= other.texts(ids)

    def texts(self, ids: NDArray[np.int32]) -> dict[int, str]:
        """Of those of these rows that have one; as much work as there are rows or texts, whichever are fewer."""
        if len(ids) < len(self.text):
            return {i: self.text[i] for i in ids.tolist() if i in self.text}
        if not self.text:
            return {}
        wanted = np.zeros(len(self), np.bool_)
        wanted[ids] = True
        return {i: text for i, text in self.text.items() if wanted[i]}

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The twin at one moment: a copy that nobody changes. `PointTable.fork` makes a writable table of it.

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
