"""Several reads that are sent together, and their answers taken from the socket's bytes at once, compiled; no I/O.

What is not plainly the answer to one of the reads is left in its place for `codec`. Compiled with numba when first
imported and cached beside this file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from protocols.modbus import codec
from protocols.modbus.address import BIT_TABLES, READ_FUNCTION
from protocols.modbus.blocks import Block

REQUEST_BYTES = 12

_ONLY = np.zeros(1, np.intp)


class Burst:
    """N blocks of one image, asked for anew in every cycle.

    Attributes:
        pdus: the requests.
        again: whether the device refused some of the blocks before.
        rows: of the values of all blocks, one block after the other; `lengths` of each.
        came: which blocks were answered with data since `begin`, shape (N,).
        stamps: when, shape (N,).
    """

    def __init__(self, blocks: Sequence[Block], image: NDArray[np.uint8], unit: int, again: bool = False) -> None:
        self.blocks = tuple(blocks)
        self.pdus = [codec.read_request(b.table, b.start, b.count) for b in blocks]
        self.again = again
        self.rows = np.concatenate([b.rows for b in blocks])
        self.lengths = np.array([len(b.rows) for b in blocks])
        self._marks = np.zeros((2, len(blocks)), np.bool_)
        self.came, self._handed = self._marks
        self.stamps = np.zeros(len(blocks), np.int64)
        self._image, self._unit = image, unit
        self._function = np.array([READ_FUNCTION[b.table] for b in blocks], np.uint8)
        self._size = np.array([codec.data_bytes(b.table, b.count) for b in blocks], np.int32)
        self._bits = np.array([b.count if b.table in BIT_TABLES else 0 for b in blocks], np.int32)
        self._area = np.array([b.area for b in blocks], np.int64)
        frames = b"".join(codec.frame(0, unit, pdu) for pdu in self.pdus)
        self._frames = np.frombuffer(frames, np.uint8).reshape(len(blocks), REQUEST_BYTES).copy()
        self._ids = self._frames[:, :2]

    def begin(self) -> None:
        self._marks.fill(False)

    def fresh(self) -> NDArray[np.intp]:
        """Which blocks came since the last call."""
        if len(self.blocks) == 1 and self.came[0] and not self._handed[0]:
            self._handed[0] = True
            return _ONLY
        fresh = np.flatnonzero(self.came > self._handed)
        self._handed[fresh] = True
        return fresh

    def row_stamps(self) -> NDArray[np.int64]:
        """When each of `rows` came."""
        if len(self.blocks) == 1:
            return np.full(len(self.rows), self.stamps[0])
        return np.repeat(self.stamps, self.lengths)

    def frames(self, first: int) -> bytes:
        """The requests for Modbus TCP, with transaction ids from `first` on."""
        ids = np.arange(first, first + len(self.blocks), dtype=np.uint16).astype(">u2")
        self._ids[:] = ids.view(np.uint8).reshape(-1, 2)
        return self._frames.tobytes()

    def scan(self, first: int, data: bytes, at: int, stamp: int) -> tuple[int, int]:
        """Take answers from `data`, beginning at a frame, into the image, until something else comes.

        Returns where it stopped, and how many it took.
        """
        found: tuple[int, int] = _scan(
            np.frombuffer(data, np.uint8), at, first, stamp, self._unit, self._function, self._size, self._bits,
            self._area, self._image, self.came, self.stamps,
        )  # fmt: skip
        return found

    def put(self, index: int, data: bytes, stamp: int) -> None:
        """Take one answer's data bytes."""
        block, area = self.blocks[index], int(self._area[index])
        if block.table in BIT_TABLES:
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            self._image[area : area + block.count] = bits[: block.count]
        else:
            self._image[area : area + len(data)] = np.frombuffer(data, np.uint8)
        self.came[index] = True
        self.stamps[index] = stamp


def _column(kind: types.Type) -> types.Array:
    return types.Array(kind, 1, "C")


_SIGNATURE = types.UniTuple(types.int64, 2)(
    types.Array(types.uint8, 1, "C", readonly=True), types.int64, types.int64, types.int64, types.int64,
    _column(types.uint8), _column(types.int32), _column(types.int32), _column(types.int64), _column(types.uint8),
    _column(types.boolean), _column(types.int64),
)  # fmt: skip


@njit(_SIGNATURE, cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _scan(
    data: np.ndarray, at: int, first: int, stamp: int, unit: int, functions: np.ndarray, sizes: np.ndarray,
    bits: np.ndarray, areas: np.ndarray, image: np.ndarray, came: np.ndarray, stamps: np.ndarray,
) -> tuple[int, int]:  # fmt: skip
    taken, end, place = 0, len(data), np.int64(at)
    while end - place >= 9:
        index = (np.int64(data[place]) << 8 | np.int64(data[place + 1])) - first
        if index < 0 or index >= len(came) or came[index]:
            break
        size = np.int64(sizes[index])
        length = np.int64(data[place + 4]) << 8 | np.int64(data[place + 5])
        if data[place + 2] or data[place + 3] or length != size + 3 or end - place < size + 9:
            break
        if data[place + 6] != unit or data[place + 7] != functions[index] or data[place + 8] != size:
            break
        area, begin = areas[index], place + 9
        if bits[index]:
            for bit in range(bits[index]):
                image[area + bit] = data[begin + (bit >> 3)] >> (bit & 7) & 1
        else:
            for byte in range(size):
                image[area + byte] = data[begin + byte]
        came[index], stamps[index] = True, stamp
        taken += 1
        place = begin + size
    return place, taken  # type: ignore[return-value]
