"""What a link polls, and the cells of it that came: plan, image and columns; pure, no requests, frames or clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.modbus.address import BIT, BIT_TABLES, Address
from protocols.modbus.blocks import Block, Cells, Limits, image_bytes, plan
from protocols.modbus.columns import Forms
from protocols.modbus.values import FACTOR_ABSENT
from protocols.scan import WIRE_BOOLEAN, WIRE_FLOAT
from twin.quality import BAD_NO_DATA, GOOD

Columns = tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.uint8], NDArray[np.uint32], NDArray[np.int64]]
"""Row, number on the wire, kind, quality and time of receipt of each value, all of shape (n,)."""


class Picture:
    """N values in an image of their cells. Rows from N on are scale factors, which are read like values but not shown."""

    def __init__(self, addresses: Sequence[Address], limits: Limits) -> None:
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
        self._kind = np.where(self._forms.form["code"] == BIT, WIRE_BOOLEAN, WIRE_FLOAT).astype(np.uint8)
        self._image = np.zeros(image_bytes(blocks), np.uint8)
        self._cells = self._image.data
        for at in self._factor_at.values():
            self._cells[at : at + 2] = FACTOR_ABSENT.to_bytes(2, "big")
        self._blocks = dict.fromkeys(blocks)
        self._missing: dict[Block, None] = {}
        self._came: list[tuple[Block, int]] = []
        self.waiting = 0  # values that came and were not taken over yet

    def due(self, everything: bool) -> list[Block]:
        """What to ask in a cycle; with `everything` also what the device refused before."""
        return [*self._blocks, *self._missing] if everything else list(self._blocks)

    def take(self, block: Block, data: bytes, stamp: int) -> bool:
        """The answer of a block, received then; True: the device had refused it before."""
        at = block.area
        if block.table in BIT_TABLES:
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            self._image[at : at + block.count] = bits[: block.count]
        else:
            self._cells[at : at + 2 * block.count] = data
        self._came.append((block, stamp))
        self.waiting += len(block.rows)
        if block in self._blocks:
            return False
        self._blocks[block] = None
        self._missing.pop(block, None)
        return True

    def refused(self, block: Block) -> list[Block]:
        """The device does not have all of the block's cells: what to ask instead; nothing: the one value is missing."""
        self._blocks.pop(block, None)
        if len(block.rows) == 1:
            self._missing[block] = None
            return []
        halves = list(block.halves())
        self._blocks |= dict.fromkeys(halves)
        return halves

    def columns(self) -> Columns:
        """What came since the last call."""
        came, self._came, self.waiting = self._came, [], 0
        rows = np.concatenate([np.empty(0, np.int32), *(block.rows for block, _ in came)])
        stamps = np.repeat(np.array([stamp for _, stamp in came], np.int64), [len(block.rows) for block, _ in came])
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
        at, size = int(self._at[row]), int(self._forms.form["size"][row])
        return bytes(self._cells[at : at + size])

    def factor(self, address: Address) -> bytes:
        """The scale-factor register of an address as it came last; empty for one without."""
        at = self._factor_at.get((address.table, address.factor))
        return b"" if at is None else bytes(self._cells[at : at + 2])
