"""Modbus TCP as bytes and numbers: frames, addresses, blocks, values; pure, no socket and no clock.

Sources: MODBUS Application Protocol V1.1b3 (function codes), MODBUS Messaging on TCP/IP V1.0b (MBAP).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

REGISTERS_MAX = 125  # of one read, V1.1b3 6.3
BITS_MAX = 2000  # of one read, V1.1b3 6.1
PDU_MAX = 253  # bytes, V1.1b3 4.1
HEADER_BYTES = 7

ENDPOINT_FORM = "modbus://host:port/unit"
ADDRESS_FORM = "coil:N, discrete:N, holding:N[:TYPE[:ORDER]] or input:N[:TYPE[:ORDER]]"


class Table(StrEnum):
    """The four tables of the Modbus data model."""

    COIL = "coil"
    DISCRETE = "discrete"
    HOLDING = "holding"
    INPUT = "input"


READ_FUNCTION = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
BIT_TABLES = (Table.COIL, Table.DISCRETE)

DTYPES = {
    "uint16": ">u2",
    "int16": ">i2",
    "uint32": ">u4",
    "int32": ">i4",
    "uint64": ">u8",
    "int64": ">i8",
    "float32": ">f4",
    "float64": ">f8",
}
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")

EXCEPTIONS = {
    1: "IllegalFunction",
    2: "IllegalDataAddress",
    3: "IllegalDataValue",
    4: "ServerDeviceFailure",
    5: "Acknowledge",
    6: "ServerDeviceBusy",
    7: "NegativeAcknowledge",
    8: "MemoryParityError",
    10: "GatewayPathUnavailable",
    11: "GatewayTargetFailedToRespond",
}


class BadFrame(Exception):
    """Bytes that are no Modbus: `reason` is a dead letter's, `raw` what was received."""

    def __init__(self, reason: str, detail: str, raw: bytes) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.raw = raw


class DeviceException(Exception):
    """The device answered with an exception code."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.name = EXCEPTIONS.get(code, f"Exception{code}")
        super().__init__(self.name)


# --- endpoints and addresses ---------------------------------------------------------------------------------------


def parse_endpoint(endpoint: str) -> tuple[str, int, int]:
    """`modbus://host:port/unit` -> (host, port, unit).

    Raises:
        ValueError: another form; the message gives the right one.
    """
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; the form is {ENDPOINT_FORM}") from None
    unit = parts.path.removeprefix("/")
    if parts.scheme != "modbus" or not parts.hostname or port is None or not re.fullmatch(r"[0-9]{1,3}", unit):
        raise ValueError(f"{endpoint!r} is not a Modbus endpoint; the form is {ENDPOINT_FORM}")
    if int(unit) > 255:
        raise ValueError(f"unit {unit} of {endpoint!r} is above 255")
    return parts.hostname, port, int(unit)


def check_endpoint(endpoint: str) -> None:
    """
    Raises:
        ValueError: not a Modbus endpoint.
    """
    parse_endpoint(endpoint)


@dataclass(frozen=True, slots=True)
class Address:
    """Where one value lives: `count` bits or registers from `start`."""

    table: Table
    start: int
    type: str
    order: str

    @property
    def count(self) -> int:
        return 1 if self.table in BIT_TABLES else np.dtype(DTYPES[self.type]).itemsize // 2


_ADDRESS = re.compile(r"(coil|discrete|holding|input):([0-9]{1,5})(?::([a-z]+[0-9]+)(?::([A-D]{4}))?)?")


def parse_address(text: str) -> Address:
    """
    Raises:
        ValueError: not an address of this grammar, or type and order do not go together.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a Modbus address; the form is {ADDRESS_FORM}")
    table, start, kind, order = Table(found[1]), int(found[2]), found[3], found[4]
    if table in BIT_TABLES:
        if kind is not None:
            raise ValueError(f"{text!r}: a {table} is one bit and has no type")
        address = Address(table, start, "bit", "ABCD")
    else:
        kind, order = kind or "uint16", order or "ABCD"
        if kind not in DTYPES:
            raise ValueError(f"{kind!r} of {text!r} is not a type; the types are {', '.join(DTYPES)}")
        if order not in ORDERS:
            raise ValueError(f"{order!r} of {text!r} is not an order; the orders are {', '.join(ORDERS)}")
        address = Address(table, start, kind, order)
        if address.count == 1 and order in ("CDAB", "DCBA"):
            raise ValueError(f"{text!r}: {kind} is one register, so its words cannot be swapped; use ABCD or BADC")
    if address.start + address.count > 0x10000:
        raise ValueError(f"{text!r} reaches beyond address 65535")
    return address


def check_address(text: str, point_type: str, writable: bool) -> None:
    """
    Raises:
        ValueError: not an address, or not one for a point of this type and access.
    """
    address = parse_address(text)
    if point_type in ("string", "object"):
        raise ValueError(f"{text!r}: Modbus carries no {'text' if point_type == 'string' else 'structured'} points")
    if address.table in BIT_TABLES and point_type != "boolean":
        raise ValueError(f"{text!r} is one bit, the point is {point_type}; make the point boolean or use a register")
    if address.table not in BIT_TABLES and address.type.startswith("float") and point_type in ("boolean", "enum"):
        instead = "a coil or an integer type" if point_type == "boolean" else "an integer type"
        raise ValueError(f"{text!r} is {address.type}, the point is {point_type}; use {instead}")
    if writable and address.table in (Table.DISCRETE, Table.INPUT):
        raise ValueError(f"{text!r} is read-only in Modbus; writable points are coil or holding")


# --- blocks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """What one request reads: `count` cells from `start`, and the rows of the points in it."""

    table: Table
    start: int
    count: int
    rows: tuple[int, ...]
    addresses: tuple[Address, ...]

    def halves(self) -> tuple[Block, Block]:
        """Two blocks with half of the values each, for a block that the device refuses as a whole."""
        middle = len(self.rows) // 2
        return (
            _block(self.table, self.rows[:middle], self.addresses[:middle]),
            _block(self.table, self.rows[middle:], self.addresses[middle:]),
        )


def _block(table: Table, rows: Sequence[int], addresses: Sequence[Address]) -> Block:
    start = min(a.start for a in addresses)
    end = max(a.start + a.count for a in addresses)
    return Block(table, start, end - start, tuple(rows), tuple(addresses))


def plan(addresses: Sequence[Address], gap: int = 0, max_registers: int = REGISTERS_MAX) -> list[Block]:
    """As few reads as may be: neighbours share one, and holes of up to `gap` unasked cells are read across.

    With the default gap of 0 no cell is ever read that no point asked for. Rows are indices into `addresses`.
    """
    blocks: list[Block] = []
    for table in Table:
        limit = BITS_MAX if table in BIT_TABLES else max_registers
        rows = sorted((r for r, a in enumerate(addresses) if a.table is table), key=lambda r: addresses[r].start)
        run: list[int] = []
        start = end = 0
        for row in rows:
            address = addresses[row]
            reach = max(end, address.start + address.count)
            if run and (address.start - end > gap or reach - start > limit):
                blocks.append(_block(table, run, [addresses[r] for r in run]))
                run = []
            if not run:
                start, reach = address.start, address.start + address.count
            run.append(row)
            end = reach
        if run:
            blocks.append(_block(table, run, [addresses[r] for r in run]))
    return blocks


# --- values ----------------------------------------------------------------------------------------------------------


def decode_block(block: Block, data: bytes) -> list[tuple[int, bool | int | float]]:
    """The block's bytes (bits packed from the lowest, registers big-endian) -> (row, value), in any order."""
    if block.table in BIT_TABLES:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return [(r, bool(bits[a.start - block.start])) for r, a in zip(block.rows, block.addresses, strict=True)]
    words = np.frombuffer(data, ">u2")
    groups: dict[tuple[str, str], list[int]] = {}
    for position, address in enumerate(block.addresses):
        groups.setdefault((address.type, address.order), []).append(position)
    values: list[tuple[int, bool | int | float]] = []
    for (kind, order), positions in groups.items():
        starts = np.array([block.addresses[p].start - block.start for p in positions])
        width = block.addresses[positions[0]].count
        chosen = words[starts[:, None] + np.arange(width)]  # (len(positions), width)
        numbers = _reorder(chosen, order).view(DTYPES[kind])[:, 0].tolist()
        values += zip((block.rows[p] for p in positions), numbers, strict=True)
    return values


def encode_registers(address: Address, value: float) -> list[int]:
    """A number as the registers of its address.

    Raises:
        ValueError: the type cannot carry it.
    """
    dtype = np.dtype(DTYPES[address.type])
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            cell = np.array([value], dtype)
        if not np.isfinite(cell[0]) and np.isfinite(value):
            raise ValueError(f"{value:g} does not fit {address.type}")
    else:
        limits = np.iinfo(dtype)
        if not np.isfinite(value) or abs(value - round(value)) > 1e-9 * max(1.0, abs(value)):
            raise ValueError(f"{value!r} is not a whole number, the register is {address.type}")
        if not limits.min <= round(value) <= limits.max:
            raise ValueError(f"{value:g} does not fit {address.type}")
        cell = np.array([round(value)], dtype)
    words = _reorder(np.frombuffer(cell.tobytes(), ">u2")[None, :], address.order)
    return [int(word) for word in words[0]]


def _reorder(words: NDArray[Any], order: str) -> NDArray[Any]:
    """Words of shape (N, width) in one order -> the same in ABCD, and back: every order undoes itself."""
    if order in ("CDAB", "DCBA"):
        words = words[:, ::-1]
    if order in ("BADC", "DCBA"):
        words = words.byteswap()
    return np.ascontiguousarray(words)


# --- requests and answers -----------------------------------------------------------------------------------------


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """MBAP header and PDU."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def read_request(block: Block) -> bytes:
    return struct.pack(">BHH", READ_FUNCTION[block.table], block.start, block.count)


def write_request(address: Address, value: float, single_register: bool = True) -> bytes:
    """FC 5 for a coil; FC 6 for one register, or FC 16 where the device knows no FC 6; FC 16 for more.

    Raises:
        ValueError: the address cannot carry the value.
    """
    if address.table is Table.COIL:
        if value not in (0.0, 1.0):
            raise ValueError(f"{value:g} is neither 0 nor 1, the address is a coil")
        return struct.pack(">BHH", 5, address.start, 0xFF00 if value else 0)
    registers = encode_registers(address, value)
    if len(registers) == 1 and single_register:
        return struct.pack(">BHH", 6, address.start, registers[0])
    return write_registers_request(address.start, registers)


def write_registers_request(start: int, registers: Sequence[int]) -> bytes:
    count = len(registers)
    return struct.pack(f">BHHB{count}H", 16, start, count, 2 * count, *registers)


def write_coils_request(start: int, bits: Sequence[bool]) -> bytes:
    packed = np.packbits(np.array(bits, bool), bitorder="little").tobytes()
    return struct.pack(">BHHB", 15, start, len(bits), len(packed)) + packed


def read_answer(block: Block, pdu: bytes) -> bytes:
    """The data bytes of the answer to a block's request.

    Raises:
        DeviceException: the device refused.
        BadFrame: not an answer to this request.
    """
    body = _answer_body(READ_FUNCTION[block.table], pdu)
    expected = (block.count + 7) // 8 if block.table in BIT_TABLES else 2 * block.count
    if len(body) < 1 + expected:
        raise BadFrame("truncated", f"{len(body) - 1} of {expected} data bytes came", pdu)
    if body[0] != expected or len(body) != 1 + expected:
        raise BadFrame("decode", f"byte count {body[0]}, asked for {expected}, got {len(body) - 1}", pdu)
    return body[1:]


def write_answer(request: bytes, pdu: bytes) -> None:
    """
    Raises:
        DeviceException: the device refused.
        BadFrame: not an answer to this request: all four echo their first five bytes.
    """
    _answer_body(request[0], pdu)
    if pdu != request[:5]:
        raise BadFrame("decode", "the answer does not echo the write", pdu)


def _answer_body(function: int, pdu: bytes) -> bytes:
    if len(pdu) < 2:
        raise BadFrame("truncated", "an answer without a body", pdu)
    if pdu[0] == function | 0x80:
        raise DeviceException(pdu[1])
    if pdu[0] != function:
        raise BadFrame("decode", f"asked with function {function}, answered with {pdu[0]}", pdu)
    return pdu[1:]


@dataclass(frozen=True, slots=True)
class Frame:
    """One MBAP frame."""

    transaction: int
    unit: int
    pdu: bytes


class FrameParser:
    """Bytes in, frames out. After a BadFrame the stream has lost its beat: only a new connection helps."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> bytes:
        """What came of a frame that is not complete."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next whole frame; None: more bytes are needed.

        Raises:
            BadFrame: what came is not MBAP, from the first byte that shows it.
        """
        buffer = self._buffer
        if any(buffer[2:4]):
            raise BadFrame("decode", "the protocol identifier is not 0", bytes(buffer))
        if len(buffer) < 6:
            return None
        length = int.from_bytes(buffer[4:6], "big")
        if not 2 <= length <= PDU_MAX + 1:
            raise BadFrame("decode", f"a frame of {length} bytes; 2 to {PDU_MAX + 1} exist", bytes(buffer))
        if len(buffer) < 6 + length:
            return None
        found = Frame(int.from_bytes(buffer[0:2], "big"), buffer[6], bytes(buffer[HEADER_BYTES : 6 + length]))
        del buffer[: 6 + length]
        return found
