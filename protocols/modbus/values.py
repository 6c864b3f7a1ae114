"""One value as the registers that carry it, and back, exactly; pure, knows no frames, blocks or points."""

from __future__ import annotations

import numpy as np

from protocols.modbus.address import BCD, BIT, FLOAT, TEXT, Address

FACTOR_MAX = 10  # SunSpec scale factors are -10 … 10
FACTOR_ABSENT = 0x8000  # of a scale factor: "not implemented"

NO_VALUE = None
"""What `decode` gives when the device says that it does not implement the value."""


class Undecodable(Exception):
    """Registers that no value of their type looks like."""


def decode(address: Address, data: bytes, factor: bytes = b"") -> bool | int | float | str | None:
    """The value of an address's cells: registers big-endian as on the wire; a coil is one byte, 0 or 1.

    Args:
        factor: the two bytes of the scale-factor register, where the address has one.

    Returns:
        NO_VALUE where SunSpec says "not implemented".

    Raises:
        Undecodable: digits above nine, bytes that are no text, a scale factor that is none.
    """
    kind = address.kind
    if address.type == "bit" and address.bit < 0:
        return data[0] != 0
    if address.type == "bit":
        register = int.from_bytes(data, "big")
        return NO_VALUE if address.sunspec and register == 0xFFFF else bool(register >> address.bit & 1)
    plain = reordered(data, address.order)
    if kind.code == TEXT:
        return _text(plain, address.sunspec)
    raw = int.from_bytes(plain, "big")
    if kind.code == BCD:
        digits = plain.hex()
        if not digits.isdecimal():
            raise Undecodable(f"{digits} has digits above nine, so it is no {address.type}")
        return _scaled(int(digits), factor)
    number: int | float = np.frombuffer(plain, kind.dtype)[0].item()
    if address.sunspec and (raw == kind.absent if kind.code != FLOAT else number != number):
        return NO_VALUE
    return _scaled(number, factor)


def reordered(data: bytes, order: str) -> bytes:
    """Bytes in one order -> the same in ABCD, and back: every order undoes itself."""
    words = np.frombuffer(data, ">u2")
    if order in ("CDAB", "DCBA"):
        words = words[::-1]
    return (words.byteswap() if order in ("BADC", "DCBA") else words).tobytes()


def exponent(factor: bytes) -> int | None:
    """The power of ten that a scale-factor register holds; None: "not implemented".

    Raises:
        Undecodable: it is no scale factor.
    """
    power = int.from_bytes(factor, "big", signed=True)
    if power == FACTOR_ABSENT - 0x1_0000:
        return None
    if abs(power) > FACTOR_MAX:
        raise Undecodable(f"the scale factor is {power}; -{FACTOR_MAX} … {FACTOR_MAX} are meant")
    return power


def _scaled(number: float, factor: bytes) -> float | None:
    if not factor:
        return number
    power = exponent(factor)
    if power is None:
        return NO_VALUE
    return _times(number, power)


def _times(number: float, power: int) -> float:
    """number * 10**power, divided where that is the exact one."""
    return number * float(10**power) if power >= 0 else number / float(10**-power)


def _text(plain: bytes, sunspec: bool) -> str | None:
    if sunspec and not any(plain):
        return NO_VALUE
    try:
        return plain.partition(b"\0")[0].decode().rstrip(" ")
    except UnicodeDecodeError as error:
        raise Undecodable(f"no UTF-8 text: {error.reason} at byte {error.start}") from None


def encode(address: Address, value: float, factor: bytes = b"") -> list[int]:
    """A number as the registers of its address, which is no coil, no bit and no text.

    Raises:
        ValueError: the type cannot carry it.
    """
    kind = address.kind
    if kind.code in (BIT, TEXT):
        raise ValueError(f"{address.type} is not written as whole registers")
    if factor:
        power = exponent(factor)
        if power is None:
            raise ValueError("the device gives no scale factor")
        value = _whole(_times(value, -power))
    if kind.code == FLOAT:
        with np.errstate(over="ignore"):
            cell = np.array([value], kind.dtype)
        if not np.isfinite(cell[0]) and np.isfinite(value):
            raise ValueError(f"{value:g} does not fit {address.type}")
        plain = cell.tobytes()
    else:
        plain = _integer(address, value)
    if address.sunspec and kind.code != FLOAT and int.from_bytes(plain, "big") == kind.absent:
        raise ValueError(f"{value:g} as {address.type} means that the device has no such value")
    registers: list[int] = np.frombuffer(reordered(plain, address.order), ">u2").tolist()
    return registers


def encode_text(address: Address, text: str) -> list[int]:
    """What fits of a text, filled up with NUL."""
    size = 2 * address.count
    whole = text.encode()[:size].decode(errors="ignore").encode()  # no half character at the end
    registers: list[int] = np.frombuffer(reordered(whole.ljust(size, b"\0"), address.order), ">u2").tolist()
    return registers


def _integer(address: Address, value: float) -> bytes:
    whole = _whole(value)
    if not np.isfinite(whole) or whole != round(whole):
        raise ValueError(f"{value!r} is not a whole number, the register is {address.type}")
    size = 2 * address.count
    if address.kind.code == BCD:
        if not 0 <= whole < 10 ** (2 * size):
            raise ValueError(f"{value:g} does not fit {address.type}")
        return bytes.fromhex(f"{round(whole):0{2 * size}d}")
    limits = np.iinfo(address.kind.dtype)
    if not limits.min <= round(whole) <= limits.max:
        raise ValueError(f"{value:g} does not fit {address.type}")
    return np.array([round(whole)], address.kind.dtype).tobytes()


def _whole(value: float) -> float:
    """The whole number that a value is to rounding errors of scaling, else the value itself."""
    if isinstance(value, int) or not np.isfinite(value):
        return value
    return round(value) if abs(value - round(value)) <= 1e-9 * max(1.0, abs(value)) else value
