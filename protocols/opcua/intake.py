"""What the server says about a link's points, into its delivery: in columns, one by one where numbers do not do.

Must not know sessions or where an answer came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary
from numpy.typing import NDArray

from protocols.delivery import NO_STAMP, Batch
from protocols.opcua import codec, messages
from protocols.opcua.failures import FAILURES
from protocols.opcua.messages import Answer
from twin.points import Point, Selection

STRETCH = 256  # points made at a time when one is asked for: their neighbours are mostly asked for next
STRETCHES_MAX = 128  # kept, some 20 MB: 32,768 points whose values are no plain numbers


class Intake:
    """Takes answers about the points of one link.

    Attributes:
        heard: which points the server has said something about in this session, shape (n,).
        types: the built-in type that each point's value had last, shape (n,); 0 while there was none.
    """

    def __init__(self, points: Selection) -> None:
        self._points = points
        self._stretches: dict[int, list[Point]] = {}
        self.heard = np.zeros(len(points), np.bool_)
        self.types = np.zeros(len(points), np.uint8)
        self._by_id: NDArray[np.intp] | None = None

    def begin(self) -> None:
        """A new session: a restarted server may have other types."""
        self.heard[:] = False
        self.types[:] = 0

    def type_of(self, point: Point) -> int:
        """The built-in type that the point's value had last; 0 while there was none."""
        ids = self._points.ids
        if self._by_id is None:  # only those who write ask
            self._by_id = np.argsort(ids)
        place = int(np.searchsorted(ids, point.id, sorter=self._by_id))
        return int(self.types[self._by_id[place]]) if place < len(ids) else 0

    def point(self, row: int) -> Point:
        start = row - row % STRETCH
        stretch = self._stretches.get(start)
        if stretch is None:
            if len(self._stretches) >= STRETCHES_MAX:
                del self._stretches[next(iter(self._stretches))]
            stretch = self._stretches[start] = list(self._points[start : start + STRETCH])
        return stretch[row - start]

    def take(self, batch: Batch, answer: Answer, row: NDArray[np.int32], part: slice) -> None:
        """Hand over the given part of an answer's rows.

        Args:
            row: the place among the link's points of each one that is handed over.
        """
        known = row.view(np.uint32) < len(self.heard)
        rows, builtin = row, answer.builtin[part]
        if not known.all():
            rows, builtin = row[known], builtin[known]
        self.heard[rows] = True
        self.types[rows] = builtin

        def doubt(place: int) -> None:
            self._take_one(batch, answer, int(row[place]), part.start + place)

        batch.add_columns(
            row, answer.wire[part], answer.kind[part], answer.quality[part], answer.stamp[part], doubt
        )  # fmt: skip

    def _take_one(self, batch: Batch, answer: Answer, row: int, place: int) -> None:
        point = self._known(batch, row, messages.raw_at(answer, place))
        if point is not None:
            take_value(batch, answer, place, point)

    def take_slowly(self, batch: Batch, values: Sequence[tuple[int, Any]]) -> None:
        """Hand over what asyncua has decoded: (row, DataValue) of each."""
        for row, data_value in values:
            point = self._known(batch, row, b"")
            if point is None:
                continue
            self.heard[row] = True
            self.types[row] = 0 if data_value.Value is None else data_value.Value.VariantType.value
            take_data_value(batch, data_value, point)

    def _known(self, batch: Batch, row: int, raw: bytes) -> Point | None:
        if 0 <= row < len(self._points):
            return self.point(row)
        batch.reject(f"handle {row & 0xFFFF_FFFF}", "unknown_address", "no such item was asked for", raw)
        return None


def take_value(batch: Batch, answer: Answer, place: int, point: Point) -> None:
    """Hand over one value alone."""
    raw = messages.raw_at(answer, place)
    try:
        value = codec.plain(messages.value_at(answer, place, _rare))
    except FAILURES as failure:
        batch.reject(point.address, "decode", f"{point.name}: {failure}", raw, point.name)
        return
    stamp = int(answer.stamp[place])
    at = None if stamp == NO_STAMP else stamp
    batch.add(point, value, int(answer.quality[place]), at, point.address, raw)


def take_data_value(batch: Batch, data_value: Any, point: Point) -> None:
    """Hand over one value that asyncua has decoded."""
    value, quality, stamp = codec.read_data_value(data_value)
    batch.add(point, value, quality, stamp, point.address, b"")


def _rare(raw: bytes) -> Any:
    return variant_from_binary(Buffer(raw)).Value


def by_library(response: type, body: bytes) -> Any:
    """An answer as asyncua decodes it, for messages that the compiled decoder leaves alone.

    Raises:
        messages.Garbled: asyncua cannot read it either.
    """
    try:
        return ua.ua_binary.struct_from_binary(response, Buffer(body))
    except FAILURES as failure:
        raise messages.Garbled(f"{len(body)} bytes that cannot be read: {failure}") from failure
