"""The conditions of all alarms of a plant over its columns: which came, which are over, which nobody can tell; pure.

Must not know acknowledgement, people or screens. Looked at when their points change, and when a delay ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin import alarm_kernel as kernel
from twin.alarm import Definition, Kind
from twin.columns import Columns

NS = 1e9


@dataclass(frozen=True, slots=True)
class Look:
    """What looks found, in order: `rows` of alarms, and of each ACTIVATED, CLEARED, UNSURE or SURE."""

    rows: NDArray[np.int32]
    what: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)


NOTHING = Look(np.empty(0, np.int32), np.empty(0, np.uint8))


class Conditions:
    """One row an alarm, in the order of the definitions."""

    def __init__(self, definitions: Sequence[Definition], points: Mapping[str, int], size: int, begun: int) -> None:
        """
        Args:
            points: ids by name. size: of the point table.
            begun: ns since 1970 UTC, from which on a point that was never heard grows old.
        """
        self._begun = begun
        self._codes = np.array([c for d in definitions for c in d.condition.codes], np.float64)
        self._asked = _asked(definitions, points)
        self._found = np.zeros(len(definitions), kernel.FOUND)
        self._found["since"] = begun
        self._found["due"] = begun
        self._found["anchor_time"] = kernel.NEVER
        self._found["given"] = kernel.UNKNOWN
        self._start, self._to = _by_point(definitions, points, self._asked, size)
        self._texts: dict[int, list[tuple[int, frozenset[str], bool]]] = {}
        for row, d in enumerate(definitions):
            if d.condition.texts:
                mine = self._texts.setdefault(points[d.point], [])
                mine.append((row, frozenset(d.condition.texts), d.condition.negated))

    def __len__(self) -> int:
        return len(self._asked)

    def restore(self, active: Iterable[int]) -> None:
        """These were active when the server stopped: so they are, until a good reading says otherwise."""
        rows = np.fromiter(active, np.int32)
        for name in ("active", "beyond"):
            self._found[name][rows] = 1

    @property
    def blind(self) -> NDArray[np.bool_]:
        """Where nobody can tell now whether the condition holds, shape (A,)."""
        blind: NDArray[np.bool_] = self._found["known"] == 0
        return blind

    def is_blind(self, row: int) -> bool:
        return int(self._found["known"].item(row)) == 0

    def is_beyond(self, row: int) -> bool:
        """Whether it holds, or did when it was last told; delays aside."""
        return int(self._found["beyond"].item(row)) == 1

    @property
    def active(self) -> NDArray[np.bool_]:
        """Shape (A,)."""
        active: NDArray[np.bool_] = self._found["active"] == 1
        return active

    def next_time(self) -> int | None:
        """When something is due by time alone; None for never."""
        if not len(self._found):
            return None
        due = int(self._found["due"].min())
        return None if due == kernel.NOT_DUE else due

    def changed(self, ids: NDArray[np.int32], columns: Columns, now: int) -> Look:
        """Points have changed, in value or in quality."""
        ids = ids[ids < len(self._start) - 1]  # the API may have added points; they have no alarms
        begin = self._start[ids]
        count = self._start[ids + 1] - begin
        total = int(count.sum())
        if not total:
            return NOTHING
        rows = self._to[np.arange(total) + np.repeat(begin - np.cumsum(count) + count, count)]
        for point in (self._texts.keys() & set(ids.tolist())) if self._texts else ():
            self._read_text(point, columns)
        return self.look(rows, columns, now)

    def due(self, columns: Columns, now: int) -> Look:
        """Delays that have ended, and what is looked at from time to time."""
        rows = np.flatnonzero(self._found["due"] <= now).astype(np.int32)
        return self.look(rows, columns, now) if len(rows) else NOTHING

    def all(self, columns: Columns, now: int) -> Look:
        for point in self._texts:
            self._read_text(point, columns)
        return self.look(np.arange(len(self), dtype=np.int32), columns, now)

    def give(self, row: int, truth: bool | None) -> bool:
        """What is told from outside; None: it cannot be told. Returns whether it is another than before."""
        word = kernel.UNKNOWN if truth is None else int(truth)
        changed = int(self._found["given"][row]) != word
        self._found["given"][row] = word
        return changed

    def look(self, rows: NDArray[np.int32], columns: Columns, now: int) -> Look:
        """Look at these alarms now, in order."""
        out, what = np.empty(2 * len(rows), np.int32), np.empty(2 * len(rows), np.uint8)
        n = kernel.look(
            rows, now, self._begun, columns.value, columns.quality, columns.received_time, self._codes, self._asked,
            self._found, out, what,
        )  # fmt: skip
        return Look(out[:n], what[:n]) if n else NOTHING

    def _read_text(self, point: int, columns: Columns) -> None:
        text = columns.text.get(point)
        good = columns.quality.item(point) >> 30 == 0
        for row, texts, negated in self._texts[point]:
            self.give(row, None if text is None or not good else (text in texts) != negated)


def _asked(definitions: Sequence[Definition], points: Mapping[str, int]) -> NDArray[np.void]:
    asked = np.zeros(len(definitions), kernel.ASKED)
    first = 0
    for row, d in enumerate(definitions):
        c = d.condition
        asked[row] = (
            points.get(d.point, -1), points[c.other] if c.other else -1, int(c.kind), c.sign, c.negated,
            int(c.limit) if c.kind is Kind.QUALITY else 0, c.limit, c.deadband, c.reference,
            int((c.limit if c.kind is Kind.STALE else c.window_s) * NS), int(d.on_delay_s * NS),
            int(d.off_delay_s * NS), first, len(c.codes),
        )  # fmt: skip
        first += len(c.codes)
    return asked


def _by_point(
    definitions: Sequence[Definition], points: Mapping[str, int], asked: NDArray[np.void], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Rows of alarms of point i: `to[start[i] : start[i + 1]]`."""
    rows = np.arange(len(definitions), dtype=np.int32)
    ends = [(asked["point"], rows)]
    second = asked["other"] >= 0
    ends.append((asked["other"][second], rows[second]))
    point, row = (np.concatenate(part) for part in zip(*ends, strict=True))
    known = point >= 0
    point, row = point[known], row[known]
    order = np.argsort(point, kind="stable")
    return np.searchsorted(point[order], np.arange(size + 1)), row[order]
