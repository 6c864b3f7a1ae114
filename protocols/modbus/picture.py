"""What a link polls, and the cells of it that came: plan, image and columns; pure, no requests, frames or clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.modbus.address import BIT, Address
from protocols.modbus.blocks import Block, Cells, Limits, image_bytes, plan
from protocols.modbus.burst import Burst
from protocols.modbus.columns import Forms
from protocols.modbus.values import FACTOR_ABSENT
from protocols.scan import WIRE_BOOLEAN, WIRE_FLOAT
from twin.quality import BAD_NO_DATA, GOOD

Columns = tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.uint8], NDArray[np.uint32], NDArray[np.int64]]
"""Row, number on the wire, kind, quality and time of receipt of each value, all of shape (n,)."""


class Picture:
    """N values in an image of their cells. Rows from N on are scale factors, which are read like values but not shown."""

    def __init__(self, addresses: Sequence[Address], limits: Limits, unit: int, together: int) -> None:
        """`together`: blocks of one burst."""
        self._unit, self._together = unit, together
        self._size = len(addresses)
        factors = list(dict.fromkeys((a.table, a.factor) for a in addresses if a.factor >= 0))
        cells = [*addresses, *(Address(table, start, "int16") for table, start in factors)]
        blocks = plan(Cells.of(cells), limits)
        # Scale factors come first, so that a value never waits for its own.
        blocks.sort(key=lambda block: not (block.rows >= self._size).any())
        self._at = np.zeros(len(cells), np.int32)
        for block in blocks:
            self._at[block.rows] = block.offsets()
        self._factor_at = {key: int(self._at[self._size + place]) for place, key in enumerate(factors)}
        factor_at = np.array([self._factor_at.get((a.table, a.factor), -1) for a in addresses], np.int32)
        self._forms = Forms.of(addresses, self._at[: self._size], factor_at)
        self._kind = np.where(self._forms.code == BIT, WIRE_BOOLEAN, WIRE_FLOAT).astype(np.uint8)
        self._image = np.zeros(image_bytes(blocks), np.uint8)
        self._cells = self._image.data
        for at in self._factor_at.values():
            self._cells[at : at + 2] = FACTOR_ABSENT.to_bytes(2, "big")
        self._blocks = dict.fromkeys(blocks)
        self._missing: dict[Block, None] = {}
        self._bursts: list[Burst] | None = None
        self._came: list[tuple[NDArray[np.int32], NDArray[np.int64]]] = []
        self.waiting = 0  # values that came and were not taken over yet

    def bursts(self, everything: bool) -> list[Burst]:
        """What to ask in a cycle; with `everything` also what the device refused before."""
        if self._bursts is None:
            self._bursts = self._cut(list(self._blocks))
        return [*self._bursts, *self._cut(list(self._missing))] if everything else self._bursts

    def burst(self, blocks: Sequence[Block]) -> Burst:
        again = bool(self._missing) and any(block in self._missing for block in blocks)
        return Burst(blocks, self._image, self._unit, again)

    def _cut(self, blocks: list[Block]) -> list[Burst]:
        step = self._together
        return [self.burst(blocks[begin : begin + step]) for begin in range(0, len(blocks), step)]

    def take(self, burst: Burst, fresh: NDArray[np.intp]) -> list[int]:
        """These blocks of a burst came; gives the rows that the device had refused before."""
        if len(fresh) == len(burst.blocks):
            self._came.append((burst.rows, burst.row_stamps()))
            self.waiting += len(burst.rows)
        else:
            for index in fresh.tolist():
                rows = burst.blocks[index].rows
                self._came.append((rows, np.full(len(rows), burst.stamps[index])))
                self.waiting += len(rows)
        return self._healed([burst.blocks[index] for index in fresh.tolist()]) if burst.again else []

    def _healed(self, blocks: Sequence[Block]) -> list[int]:
        rows: list[int] = []
        for block in blocks:
            if block in self._missing:
                del self._missing[block]
                self._blocks[block] = self._bursts = None
                rows += self.shown(block)
        return rows

    def refused(self, block: Block) -> list[Burst]:
        """The device does not have all of the block's cells: what to ask instead; nothing: the one value is missing."""
        self._blocks.pop(block, None)
        self._bursts = None
        if len(block.rows) == 1:
            self._missing[block] = None
            return []
        halves = block.halves()
        self._blocks |= dict.fromkeys(halves)
        return [self.burst([half]) for half in halves]

    def columns(self) -> Columns:
        """What came since the last call."""
        came, self._came, self.waiting = self._came, [], 0
        rows = np.concatenate([np.empty(0, np.int32), *(rows for rows, _ in came)])
        stamps = np.concatenate([np.empty(0, np.int64), *(stamps for _, stamps in came)])
        if self._factor_at:
            shown = rows < self._size
            rows, stamps = rows[shown], stamps[shown]
        wire, absent = self._forms.decode(self._image, rows)
        wire[absent] = np.nan
        quality = np.where(absent, np.uint32(BAD_NO_DATA), np.uint32(GOOD))
        return rows, wire, self._kind[rows], quality, stamps

    def shown(self, block: Block) -> list[int]:
        """The rows of a block that are values."""
        rows: list[int] = block.rows[block.rows < self._size].tolist()
        return rows

    def cells(self, row: int) -> bytes:
        """The bytes of one value as they came last."""
        at, size = int(self._at[row]), int(self._forms.size[row])
        return bytes(self._cells[at : at + size])

    def factor(self, address: Address) -> bytes:
        """The scale-factor register of an address as it came last; empty for one without."""
        at = self._factor_at.get((address.table, address.factor))
        return b"" if at is None else bytes(self._cells[at : at + 2])
