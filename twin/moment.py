"""The twin at one moment as an Arrow table for queries, and cheap consistent copies of now; must not know SQL."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin.columns import NEVER, Columns
from twin.digest import SeriesRows
from twin.errors import LimitExceeded
from twin.feed import Feed
from twin.points import Points
from twin.table import PointTable

QUERIES_MAX = 4  # at once: each holds a copy of the columns (44 MB a million points) and shares two threads
FIXED = ("name", "twin", "property", "type", "unit", "device", "address", "writable")


@dataclass(slots=True)
class Moment:
    """Consistent columns at `seq` of a feed, and what was desired then."""

    seq: int
    columns: Columns
    desired: Mapping[int, float] = field(default_factory=dict)

    def table(self, points: Points) -> pa.Table:
        """One row a point that is not retired; queries see it as `points`. NULL is what was never read.

        Arrays are not copied.
        """
        columns = self.columns.first(points.size)  # the plant may have grown since `points`
        size = len(columns)
        wanted = np.full(size, np.nan)
        for point, value in self.desired.items():
            if point < size:
                wanted[point] = value
        made = pa.table(
            {
                "id": _whole(np.arange(size, dtype=np.int32), pa.int32()),
                **{name: points.column(name).slice(0, size) for name in FIXED},
                "value": _nullable(columns.value, pa.float64(), ~np.isnan(columns.value)),
                "text": _texts(columns.text, size),
                "quality": _whole(columns.quality, pa.uint32()),
                "source_time": _nullable(columns.source_time, pa.timestamp("ns"), columns.source_time != NEVER),
                "received_time": _nullable(columns.received_time, pa.timestamp("ns"), columns.received_time != NEVER),
                "revision": _whole(columns.revision, pa.uint64()),
                "desired": _nullable(wanted, pa.float64(), ~np.isnan(wanted)),
            }
        )
        return made.filter(pa.array(~points.retired[:size])) if points.retired.any() else made


class Mirror:
    """Copies of the live columns for queries. A copy that comes back is brought up to date by what has changed since.

    `take` runs on the event loop, where nothing changes the columns meanwhile; `give_back` on any thread.
    """

    def __init__(self) -> None:
        self._idle: list[Moment] = []
        self._out = 0
        self._lock = threading.Lock()

    def take(self, table: PointTable, feed: Feed, desired: Mapping[int, float]) -> Moment:
        """The live columns as they are now.

        Raises:
            LimitExceeded: QUERIES_MAX moments are out.
        """
        with self._lock:
            if self._out >= QUERIES_MAX:
                raise LimitExceeded(f"{QUERIES_MAX} queries are running", "ask again when one of them has ended")
            self._out += 1
            moment = self._idle.pop() if self._idle else None
        if moment is None or len(moment.columns) != len(table):
            moment = Moment(feed.seq, table.columns.copy())
        changed = feed.points_since(moment.seq)
        moment.columns.take_over(table.columns, changed)
        moment.seq, moment.desired = feed.seq, dict(desired)
        return moment

    def give_back(self, moment: Moment) -> None:
        with self._lock:
            self._out -= 1
            self._idle.append(moment)


def _nullable(values: NDArray[np.generic], kind: pa.DataType, valid: NDArray[np.bool_]) -> pa.Array:
    """Values and which of them count, without a copy of the values."""
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").data)
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(values.data)])


def _whole(values: NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """As `pa.array(values)`, which looks for pandas first and keeps 50 MB of it in memory."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values.data)])


def _texts(text: Mapping[int, str], size: int) -> pa.Array:
    """NULL but for the few rows that have a text."""
    rows = np.array(sorted(i for i in text if i < size), np.int64)
    encoded = [text[i].encode() for i in rows.tolist()]
    lengths, valid = np.zeros(size + 1, np.int32), np.zeros(size, np.bool_)
    lengths[rows + 1] = [len(e) for e in encoded]
    valid[rows] = True
    buffers = [
        pa.py_buffer(np.packbits(valid, bitorder="little").data),
        pa.py_buffer(np.cumsum(lengths, dtype=np.int32).data),
    ]
    return pa.Array.from_buffers(pa.string(), size, [*buffers, pa.py_buffer(b"".join(encoded))])


def rebuilt(rows: SeriesRows, series: NDArray[np.int32]) -> Columns:
    """The columns of a past moment.

    Args:
        rows: the state of every series then (Store.state_at).
        series: the series id of every point, shape (N,).
    """
    columns = Columns.empty(len(series))
    point_of = np.full(int(max(series.max(initial=0), rows.series.max(initial=0))) + 1, -1, np.int32)
    point_of[series] = np.arange(len(series), dtype=np.int32)
    ids = point_of[rows.series]
    here = ids >= 0
    ids = ids[here]
    columns.value[ids] = rows.value[here]
    columns.quality[ids] = rows.quality[here]
    columns.source_time[ids] = rows.source_time[here]
    columns.received_time[ids] = rows.received_time[here]
    columns.text = {int(i): t for row, t in rows.text.items() if (i := point_of[rows.series[row]]) >= 0}
    return columns
