"""A batch of readings as columns: what every link delivers and the point table takes; must not know any protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin.quality import GOOD


@dataclass(frozen=True, slots=True)
class Readings:
    """N readings of one delivery. Every column has shape (N,).

    Attributes:
        point: dense point ids.
        value: the number in the point's own unit; NaN for text points.
        quality: OPC UA status codes.
        source_time: when the source took the value, ns since 1970 UTC.
        received_time: when we received the batch, ns since 1970 UTC; one instant for all.
        text: row -> text, for text points only.
    """

    point: NDArray[np.int32]
    value: NDArray[np.float64]
    quality: NDArray[np.uint32]
    source_time: NDArray[np.int64]
    received_time: int
    text: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.point)

    @classmethod
    def of(
        cls,
        point: Sequence[int] | NDArray[np.int32],
        value: Sequence[float] | NDArray[np.float64],
        received_time: int,
        quality: int | Sequence[int] | NDArray[np.uint32] = GOOD,
        source_time: int | Sequence[int] | NDArray[np.int64] | None = None,
        text: Mapping[int, str] | None = None,
    ) -> Readings:
        """Columns from anything array-like; a scalar quality or source time holds for every row."""
        count = len(point)
        times = received_time if source_time is None else source_time
        return cls(
            np.asarray(point, np.int32),
            np.asarray(value, np.float64),
            np.broadcast_to(np.asarray(quality, np.uint32), (count,)),
            np.broadcast_to(np.asarray(times, np.int64), (count,)),
            received_time,
            text or {},
        )

    def take(self, rows: NDArray[np.intp]) -> Readings:
        """The given rows, in the given order."""
        text = {}
        if self.text:
            with_text = np.flatnonzero(np.isin(rows, np.array(list(self.text))))
            text = {int(new): self.text[int(rows[new])] for new in with_text}
        return Readings(
            self.point[rows],
            self.value[rows],
            self.quality[rows],
            self.source_time[rows],
            self.received_time,
            text,
        )


def joined(parts: Sequence[Readings]) -> Readings:
    """One after the other, as one batch; all received at the same instant."""
    if len(parts) == 1:
        return parts[0]
    starts = [0, *np.cumsum([len(p) for p in parts]).tolist()]
    return Readings(
        np.concatenate([p.point for p in parts]),
        np.concatenate([p.value for p in parts]),
        np.concatenate([p.quality for p in parts]),
        np.concatenate([p.source_time for p in parts]),
        parts[0].received_time,
        {start + row: text for start, p in zip(starts, parts, strict=False) for row, text in p.text.items()},
    )


def once(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """The ids ascending, each once (`np.unique` hashes, which takes six times as long for batches of our size)."""
    if len(ids) < 2 or np.all(ids[1:] > ids[:-1]):  # so a device's points come that are read in order
        return ids
    ordered: NDArray[np.int32] = np.sort(ids)
    if len(ordered) > 1:
        ordered = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return ordered
