"""Which cells one request reads: neighbours together, holes left alone, limits kept; pure, knows no frames or values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from protocols.modbus.address import BIT_TABLES, BITS_MAX, REGISTERS_MAX, Address, Table

_TABLES = tuple(Table)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request of a device may span.

    Attributes:
        gap: unasked cells that may be read across.
        registers, bits: of one request; a value that is longer is a request of its own.
        merge: False asks for each value alone.
    """

    gap: int = 0
    registers: int = REGISTERS_MAX
    bits: int = BITS_MAX
    merge: bool = True


@dataclass(frozen=True, slots=True)
class Cells:
    """Where N values lie, as columns of shape (N,): index of the table, first cell, number of cells."""

    table: NDArray[np.uint8]
    start: NDArray[np.int32]
    count: NDArray[np.int32]

    @classmethod
    def of(cls, addresses: Sequence[Address]) -> Cells:
        index = {table: at for at, table in enumerate(_TABLES)}
        return cls(
            np.array([index[a.table] for a in addresses], np.uint8),
            np.array([a.start for a in addresses], np.int32),
            np.array([a.count for a in addresses], np.int32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What one request reads: `count` cells from `start`, and the values in it.

    Attributes:
        rows: which of the planned values lie in it, shape (n,).
        starts, counts: their cells, shape (n,).
        area: byte of an image of all blocks where this one's cells begin; 0 for a block of its own.
    """

    table: Table
    start: int
    count: int
    rows: NDArray[np.int32]
    starts: NDArray[np.int32]
    counts: NDArray[np.int32]
    area: int = 0

    @property
    def cell_bytes(self) -> int:
        """Of one cell in an image."""
        return 1 if self.table in BIT_TABLES else 2

    def offsets(self) -> NDArray[np.int32]:
        """Where in an image each value begins, shape (n,)."""
        return self.area + (self.starts - np.int32(self.start)) * np.int32(self.cell_bytes)

    def halves(self) -> tuple[Block, Block]:
        """Two blocks with half of the values each, in the same places of the image, for a block that the device refuses
        as a whole."""
        middle = len(self.rows) // 2
        return self._part(slice(None, middle)), self._part(slice(middle, None))

    def _part(self, part: slice) -> Block:
        half = _block(self.table, self.rows[part], self.starts[part], self.counts[part])
        return replace(half, area=self.area + (half.start - self.start) * self.cell_bytes)


def _block(
    table: Table, rows: NDArray[np.int32], starts: NDArray[np.int32], counts: NDArray[np.int32], area: int = 0
) -> Block:
    start = int(starts.min())
    return Block(table, start, int((starts + counts).max()) - start, rows, starts, counts, area)


def block_of(address: Address) -> Block:
    """One value alone, as row 0."""
    row, start = np.zeros(1, np.int32), np.array([address.start], np.int32)
    return Block(address.table, address.start, address.count, row, start, np.array([address.count], np.int32))


def plan(cells: Cells, limits: Limits = Limits()) -> list[Block]:
    """As few reads as may be, each in its own area of an image.

    With a gap of 0 no cell is ever read that no value asked for.
    """
    order = np.lexsort((cells.start, cells.table)).astype(np.int32)
    tables, starts, counts = cells.table[order], cells.start[order], cells.count[order]
    blocks: list[Block] = []
    area = 0
    cuts = [*_cuts(tables.tolist(), starts.tolist(), counts.tolist(), limits), len(order)]
    for begin, end in pairwise(cuts):
        part = slice(begin, end)
        blocks.append(_block(_TABLES[tables[begin]], order[part], starts[part], counts[part], area))
        area += blocks[-1].count * blocks[-1].cell_bytes
    return blocks


def _cuts(tables: list[int], starts: list[int], counts: list[int], limits: Limits) -> list[int]:
    """Where in the sorted values each request begins."""
    most_of = [limits.bits if table in BIT_TABLES else limits.registers for table in _TABLES]
    cuts: list[int] = []
    table, first, end = -1, 0, 0
    for place, (of, start, count) in enumerate(zip(tables, starts, counts, strict=True)):
        reach = max(end, start + count)
        apart = of != table or start - end > limits.gap or reach - first > most_of[of] or not limits.merge
        if apart:
            cuts.append(place)
            table, first, reach = of, start, start + count
        end = reach
    return cuts


def image_bytes(blocks: Sequence[Block]) -> int:
    return sum(block.count * block.cell_bytes for block in blocks)
