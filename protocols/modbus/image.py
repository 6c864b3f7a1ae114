"""The twin as Modbus cells: what a request reads, and which values a write means; pure, no socket, no clock.

Source: MODBUS Application Protocol V1.1b3, 6 (functions) and 7 (exceptions).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocols.modbus.address import BCD, BIT_TABLES, BITS_MAX, FLOAT, REGISTERS_MAX, TEXT, Address, Table
from protocols.modbus.codec import DeviceException
from protocols.modbus.map import Aspect, Row
from protocols.modbus.values import Undecodable, decode, encode, reordered
from twin.quality import BAD_WAITING_FOR_INITIAL_DATA

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, FAILURE, ACKNOWLEDGE, BUSY = 1, 2, 3, 4, 5, 6
TABLE_OF_READ = {1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT}
_COILS_MAX, _REGISTERS_WRITTEN_MAX = 0x7B0, 0x7B  # of one write, V1.1b3 6.11 and 6.12
_ON = {0x0000: 0, 0xFF00: 1}  # V1.1b3 6.5
BAD_WAYS = ("exception", "sentinel", "last")


@dataclass(frozen=True, slots=True)
class Written:
    """Cells that a client wants to write: registers, or bits of 0 and 1."""

    table: Table
    start: int
    cells: tuple[int, ...]


@dataclass(slots=True)
class _Cell:
    """Bits of it that carry something, what they say, and which of them nobody may believe."""

    used: int = 0
    held: int = 0
    bad: int = 0


class Image:
    """The served cells, and what stands in them. Nothing is good before it was read from the twin."""

    def __init__(self, rows: Sequence[Row], bad: str) -> None:
        self.rows = rows
        self._bad = bad
        self._tables: dict[Table, dict[int, _Cell]] = {table: {} for table in Table}
        for row in rows:
            for cell, mask in _masks(row.address):
                place = self._tables[row.address.table].setdefault(cell, _Cell())
                place.used |= mask
                place.bad |= mask if row.aspect is Aspect.VALUE else 0
        for row in rows:
            if row.aspect is Aspect.QUALITY:
                self.show(row, float(BAD_WAITING_FOR_INITIAL_DATA), None, True)

    def show(self, row: Row, value: float, text: str | None, good: bool) -> None:
        """What the twin says now; `value` in the twin's unit."""
        registers = _registers(row, value, text) if good or self._bad == "last" else None
        believed = registers is not None and (good or self._bad == "last")
        if registers is None and self._bad == "sentinel":
            registers = _sentinel(row.address)
            believed = registers is not None
        for (cell, mask), register in zip(_masks(row.address), registers or (), strict=False):
            place = self._tables[row.address.table][cell]
            place.held = place.held & ~mask | register & mask
        for cell, mask in _masks(row.address):
            place = self._tables[row.address.table][cell]
            place.bad = place.bad & ~mask if believed else place.bad | mask

    def read(self, table: Table, start: int, count: int) -> bytes:
        """The data bytes of an answer.

        Raises:
            DeviceException: too many, cells that nothing is served in, or a value that nobody may believe.
        """
        bits = table in BIT_TABLES
        if not 0 < count <= (BITS_MAX if bits else REGISTERS_MAX):
            raise DeviceException(ILLEGAL_VALUE)
        cells = [self._tables[table].get(cell) for cell in range(start, start + count)]
        if None in cells:
            raise DeviceException(ILLEGAL_ADDRESS)
        found = [cell for cell in cells if cell is not None]
        if any(cell.bad for cell in found):
            raise DeviceException(FAILURE)
        if not bits:
            return struct.pack(f">{count}H", *(cell.held for cell in found))
        packed = sum((cell.held & 1) << n for n, cell in enumerate(found))
        return packed.to_bytes((count + 7) // 8, "little")

    def meant(self, written: Written) -> list[tuple[Row, float]]:
        """(row, value in the twin's unit) of a write.

        Raises:
            DeviceException: it covers cells that carry no value, or a value only in part.
        """
        table, first, last = written.table, written.start, written.start + len(written.cells)
        rows = [
            r for r in self.rows
            if r.address.table is table and r.address.start < last and first < r.address.start + r.address.count
        ]  # fmt: skip
        covered: set[int] = set()
        for row in rows:
            address = row.address
            whole = first <= address.start and address.start + address.count <= last
            if not whole or row.aspect is not Aspect.VALUE or address.bit >= 0 or address.kind.code == TEXT:
                raise DeviceException(ILLEGAL_ADDRESS)
            covered |= set(range(address.start, address.start + address.count))
        if covered != set(range(first, last)):
            raise DeviceException(ILLEGAL_ADDRESS)
        return [(row, _value(row, written)) for row in rows]


def request(pdu: bytes) -> tuple[Table, int, int] | Written:
    """(table, start, count) of a read, or what is to be written.

    Raises:
        DeviceException: another function, or not what the function asks for.
    """
    function, body = pdu[0], pdu[1:]
    if function in TABLE_OF_READ:
        if len(body) != 4:
            raise DeviceException(ILLEGAL_VALUE)
        start, count = struct.unpack(">HH", body)
        return TABLE_OF_READ[function], start, count
    if function in (5, 6):
        if len(body) != 4:
            raise DeviceException(ILLEGAL_VALUE)
        start, cell = struct.unpack(">HH", body)
        if function == 6:
            return Written(Table.HOLDING, start, (cell,))
        if cell not in _ON:
            raise DeviceException(ILLEGAL_VALUE)
        return Written(Table.COIL, start, (_ON[cell],))
    if function in (15, 16):
        return _several(function, body)
    raise DeviceException(ILLEGAL_FUNCTION)


def _several(function: int, body: bytes) -> Written:
    if len(body) < 5:
        raise DeviceException(ILLEGAL_VALUE)
    start, count, size = struct.unpack_from(">HHB", body)
    data = body[5:]
    most, needed = (_COILS_MAX, (count + 7) // 8) if function == 15 else (_REGISTERS_WRITTEN_MAX, 2 * count)
    if not 0 < count <= most or size != needed or len(data) != needed:
        raise DeviceException(ILLEGAL_VALUE)
    if function == 16:
        return Written(Table.HOLDING, start, struct.unpack(f">{count}H", data))
    packed = int.from_bytes(data, "little")
    return Written(Table.COIL, start, tuple(packed >> n & 1 for n in range(count)))


def answer_to_write(pdu: bytes) -> bytes:
    """A write is answered with its beginning."""
    return pdu[:5]


def answer_to_read(function: int, data: bytes) -> bytes:
    return bytes((function, len(data))) + data


def refusal(function: int, code: int) -> bytes:
    return bytes((function & 0x7F | 0x80, code))


def _value(row: Row, written: Written) -> float:
    address = row.address
    cells = written.cells[address.start - written.start :][: address.count]
    data = bytes(cells) if address.table in BIT_TABLES else struct.pack(f">{len(cells)}H", *cells)
    try:
        found = decode(address, data)
    except Undecodable:
        raise DeviceException(ILLEGAL_VALUE) from None
    if found is None or isinstance(found, str):
        raise DeviceException(ILLEGAL_VALUE)
    return float(found) * row.scale + row.offset


def _masks(address: Address) -> Iterable[tuple[int, int]]:
    """(cell, bits of it) that an address takes up."""
    if address.table in BIT_TABLES:
        return [(address.start, 1)]
    if address.bit >= 0:
        return [(address.start, 1 << address.bit)]
    return [(cell, 0xFFFF) for cell in range(address.start, address.start + address.count)]


def _registers(row: Row, value: float, text: str | None) -> list[int] | None:
    """The cells of a value, None when the type cannot carry it."""
    address = row.address
    if address.kind.code == TEXT:
        return _text(address, text)
    if address.type == "bit":
        return [int(value == 1.0) << max(address.bit, 0)] if value in (0.0, 1.0) else None
    wire = (value - row.offset) / row.scale
    try:
        return encode(address, wire if address.kind.code == FLOAT else round(wire))
    except (ValueError, OverflowError):
        return None


def _text(address: Address, text: str | None) -> list[int] | None:
    """UTF-8, cut at a character, filled up with zeros."""
    if text is None:
        return None
    size = 2 * address.count
    plain = text.encode()[:size].decode(errors="ignore").encode().ljust(size, b"\0")
    return list(struct.unpack(f">{address.count}H", reordered(plain, address.order)))


def _sentinel(address: Address) -> list[int] | None:
    """SunSpec's "not implemented"; None where a type has no such value, or one that is a value as well."""
    absent = address.kind.absent
    if not absent or address.kind.code in (TEXT, BCD):
        return None
    plain = absent.to_bytes(2 * address.count, "big")
    return list(struct.unpack(f">{address.count}H", reordered(plain, address.order)))
