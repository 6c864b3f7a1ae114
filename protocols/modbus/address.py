"""Where a Modbus device is and where in it a value lies: endpoints, addresses, types, orders; pure, knows no frames.

Sources: MODBUS Application Protocol V1.1b3; SunSpec Device Information Model Specification V1.1 (values that stand for
"not implemented").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

REGISTERS_MAX = 125  # of one read, V1.1b3 6.3
BITS_MAX = 2000  # of one read, V1.1b3 6.1
OUTSTANDING_MAX = 64  # requests under way on one connection; what answers any faster is no field device
CELLS = 0x10000  # addresses of one table

ENDPOINT_FORM = "modbus://host:port/unit, modbus+rtu://host:port/unit or modbus+serial:///dev/ttyUSB0/unit?baud=9600"
ADDRESS_FORM = (
    "coil:N, discrete:N, holding:N[:TYPE][:ORDER][:sf=N][:sunspec] or input:N[:TYPE][:ORDER][:sf=N][:sunspec]"
)


class Table(StrEnum):
    """The four tables of the Modbus data model."""

    COIL = "coil"
    DISCRETE = "discrete"
    HOLDING = "holding"
    INPUT = "input"


READ_FUNCTION = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
BIT_TABLES = (Table.COIL, Table.DISCRETE)


# --- endpoints ---------------------------------------------------------------------------------------------------------


class Medium(StrEnum):
    """How frames travel: with transaction ids over TCP, or with check sums over TCP or a serial line."""

    TCP = "modbus"
    RTU = "modbus+rtu"
    SERIAL = "modbus+serial"


@dataclass(frozen=True, slots=True)
class SerialLine:
    """How a serial line is set. The defaults are those of MODBUS over Serial Line V1.02, but for the parity (most
    devices are delivered without)."""

    baud: int = 9600
    parity: str = "N"
    bits: int = 8
    stop: int = 1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`host` is the path of the serial line, and `port` 0, where the medium is one."""

    medium: Medium
    host: str
    port: int
    unit: int
    line: SerialLine = SerialLine()

    def __str__(self) -> str:
        if self.medium is Medium.SERIAL:
            line = self.line
            return f"{self.medium}://{self.host}/{self.unit}?baud={line.baud}&parity={line.parity}&stop={line.stop}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.medium}://{host}:{self.port}/{self.unit}"


_LINE_CHOICES: dict[str, tuple[str, ...]] = {
    "baud": ("300", "600", "1200", "2400", "4800", "9600", "19200", "38400", "57600", "115200", "230400", "460800"),
    "parity": ("N", "E", "O"),
    "bits": ("8",),
    "stop": ("1", "2"),
}


def parse_endpoint(endpoint: str) -> Endpoint:
    """
    Raises:
        ValueError: another form; the message gives the right one.
    """
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; the form is {ENDPOINT_FORM}") from None
    path, _, unit = parts.path.rpartition("/")
    serial = parts.scheme == Medium.SERIAL
    placed = path not in ("", "/") and not parts.netloc if serial else parts.hostname and port is not None and not path
    if parts.scheme not in set(Medium) or not placed or not re.fullmatch(r"[0-9]{1,3}", unit):
        raise ValueError(f"{endpoint!r} is not a Modbus endpoint; the form is {ENDPOINT_FORM}")
    if int(unit) > 255:
        raise ValueError(f"unit {unit} of {endpoint!r} is above 255")
    if serial:
        return Endpoint(Medium.SERIAL, path, 0, int(unit), _line(endpoint, parts.query))
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{endpoint!r}: nothing may stand before the host or behind the unit; {ENDPOINT_FORM}")
    return Endpoint(Medium(parts.scheme), str(parts.hostname), int(port or 0), int(unit))


def _line(endpoint: str, query: str) -> SerialLine:
    said = dict(parse_qsl(query, keep_blank_values=True))
    for key, value in said.items():
        if value not in _LINE_CHOICES.get(key, ()):
            offer = "; ".join(f"{k}={'|'.join(v)}" for k, v in _LINE_CHOICES.items())
            raise ValueError(f"{key}={value} of {endpoint!r} sets no serial line; there are {offer}")
    numbers = {key: int(said[key]) for key in ("baud", "bits", "stop") if key in said}
    return SerialLine(parity=said.get("parity", "N"), **numbers)


def check_endpoint(endpoint: str) -> None:
    """
    Raises:
        ValueError: not a Modbus endpoint.
    """
    parse_endpoint(endpoint)


# --- addresses ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """How registers make one value.

    Attributes:
        registers: how many.
        code: what the compiled decoder calls it.
        dtype: of numpy, big-endian; "" for what is no plain number.
        absent: the registers as one number that mean "not implemented" under SunSpec; None: it has no such number.
    """

    registers: int
    code: int
    dtype: str = ""
    absent: int | None = None


BIT, UNSIGNED, SIGNED, FLOAT, BCD, TEXT = range(6)

KINDS = {
    "uint16": Kind(1, UNSIGNED, ">u2", 0xFFFF),
    "int16": Kind(1, SIGNED, ">i2", 0x8000),
    "uint32": Kind(2, UNSIGNED, ">u4", 0xFFFF_FFFF),
    "int32": Kind(2, SIGNED, ">i4", 0x8000_0000),
    "uint64": Kind(4, UNSIGNED, ">u8", 0xFFFF_FFFF_FFFF_FFFF),
    "int64": Kind(4, SIGNED, ">i8", 0x8000_0000_0000_0000),
    "float32": Kind(2, FLOAT, ">f4", 0x7FC0_0000),
    "float64": Kind(4, FLOAT, ">f8", 0x7FF8_0000_0000_0000),
    "acc16": Kind(1, UNSIGNED, ">u2", 0),
    "acc32": Kind(2, UNSIGNED, ">u4", 0),
    "acc64": Kind(4, UNSIGNED, ">u8", 0),
    "bcd16": Kind(1, BCD),
    "bcd32": Kind(2, BCD),
}
TYPES_OFFERED = (*KINDS, "bit0 … bit15", "string1 … string125")
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
INTEGERS = (UNSIGNED, SIGNED, BCD)


@dataclass(frozen=True, slots=True)
class Address:
    """Where one value lies: `count` bits or registers from `start`.

    Attributes:
        type: a key of KINDS; `bit` for coils, discrete inputs and bits of registers; `string`.
        bit: which bit of the register; -1 where the type is no bit of a register.
        factor: register of the same table with the exponent of ten that the value is multiplied with; -1: none.
        sunspec: whether "not implemented" of SunSpec is understood.
    """

    table: Table
    start: int
    type: str = "uint16"
    order: str = "ABCD"
    count: int = 1
    bit: int = -1
    factor: int = -1
    sunspec: bool = False

    @property
    def kind(self) -> Kind:
        return KINDS.get(self.type) or Kind(self.count, TEXT if self.type == "string" else BIT)


_ADDRESS = re.compile(
    r"(coil|discrete|holding|input):([0-9]{1,5})(?::([a-z]+)([0-9]{1,3}))?(?::([A-D]{4}))?(?::sf=([0-9]{1,5}))?(:sunspec)?"
)


@lru_cache(maxsize=16_384)  # a plant's addresses are asked for again and again
def parse_address(text: str) -> Address:
    """
    Raises:
        ValueError: not an address of this grammar, or its parts do not go together.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a Modbus address; the form is {ADDRESS_FORM}")
    table, start, word, number, order, factor, sunspec = found.groups()
    if table in BIT_TABLES:
        if word or order or factor or sunspec:
            raise ValueError(f"{text!r}: a {table} is one bit and has no type")
        return _within(text, Address(Table(table), int(start), "bit"))
    address = _typed(text, Table(table), int(start), word or "uint", number or "16", order or "ABCD")
    if factor is None and sunspec is None:
        return _within(text, address)
    return _within(text, _scaled(text, address, factor, sunspec is not None))


def _typed(text: str, table: Table, start: int, word: str, number: str, order: str) -> Address:
    if order not in ORDERS:
        raise ValueError(f"{order!r} of {text!r} is not an order; the orders are {', '.join(ORDERS)}")
    if word == "bit" and int(number) < 16:
        if order != "ABCD":
            raise ValueError(f"{text!r}: a bit has no order; in swapped bytes bit {number} is bit{int(number) ^ 8}")
        return Address(table, start, "bit", "ABCD", 1, int(number))
    if word == "string" and 0 < int(number) <= REGISTERS_MAX:
        if order not in ("ABCD", "BADC"):
            raise ValueError(f"{text!r}: a text has its characters in order; use ABCD, or BADC for swapped bytes")
        return Address(table, start, "string", order, int(number))
    kind = KINDS.get(word + number)
    if kind is None:
        raise ValueError(f"{word + number!r} of {text!r} is not a type; the types are {', '.join(TYPES_OFFERED)}")
    if kind.registers == 1 and order in ("CDAB", "DCBA"):
        raise ValueError(f"{text!r}: {word}{number} is one register, its words cannot be swapped; use ABCD or BADC")
    return Address(table, start, word + number, order, kind.registers)


def _scaled(text: str, address: Address, factor: str | None, sunspec: bool) -> Address:
    if factor is not None and (address.kind.code not in INTEGERS):
        raise ValueError(f"{text!r}: a scale factor belongs to whole numbers, not to {address.type}; leave out sf")
    if factor is not None and int(factor) >= CELLS:
        raise ValueError(f"{text!r}: the scale factor is beyond address {CELLS - 1}")
    if sunspec and address.kind.code == BCD:
        raise ValueError(f"{text!r}: SunSpec knows no {address.type}; leave out sunspec")
    return Address(
        address.table, address.start, address.type, address.order, address.count, address.bit,
        -1 if factor is None else int(factor), sunspec,
    )  # fmt: skip


def _within(text: str, address: Address) -> Address:
    if address.start + address.count > CELLS:
        raise ValueError(f"{text!r} reaches beyond address {CELLS - 1}")
    return address


def check_address(text: str, point_type: str, writable: bool) -> None:
    """
    Raises:
        ValueError: not an address, or not one for a point of this type and access.
    """
    address = parse_address(text)
    code = address.kind.code
    if point_type == "object":
        raise ValueError(f"{text!r}: Modbus carries no structured points; make a point of each field")
    if point_type == "string" and code != TEXT:
        raise ValueError(f"{text!r}: the point is text; use stringN, N registers of two characters")
    if code == TEXT and point_type not in ("string", "enum"):
        raise ValueError(f"{text!r} is text, the point is {point_type}; make the point string or use a number")
    if code == BIT and point_type != "boolean":
        raise ValueError(f"{text!r} is one bit, the point is {point_type}; make the point boolean or use a register")
    if point_type in ("boolean", "enum") and (code == FLOAT or address.factor >= 0):
        what = "scaled" if address.factor >= 0 else address.type
        instead = "a bit or an integer type" if point_type == "boolean" else "an integer type"
        raise ValueError(f"{text!r} is {what}, the point is {point_type}; use {instead}")
    if writable and address.table in (Table.DISCRETE, Table.INPUT):
        raise ValueError(f"{text!r} is read-only in Modbus; writable points are coil or holding")
    if writable and code == TEXT:
        raise ValueError(f"{text!r} is text, which cannot be written; give it access r")
