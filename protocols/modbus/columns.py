"""Cells of many blocks as columns of values, compiled: the inner loop of a polling cycle; must not know frames or points.

Compiled with numba when first imported and cached beside this file. `values.decode` says the same of one value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from protocols.modbus.address import BCD, BIT, BIT_TABLES, FLOAT, ORDERS, SIGNED, TEXT, Address
from protocols.modbus.values import FACTOR_ABSENT, FACTOR_MAX

_PLAIN = {"uint16": 1, "int16": 2, "float32": 3}
_UINT16, _INT16, _FLOAT32 = _PLAIN.values()


def _is_plain(address: Address) -> bool:
    return address.order == "ABCD" and address.factor < 0 and not address.sunspec


@dataclass(frozen=True, slots=True)
class Forms:
    """How N values lie in an image of cells, as columns of shape (N,).

    Attributes:
        code: BIT, UNSIGNED, SIGNED, FLOAT, BCD or TEXT.
        order: index into ORDERS.
        size: bytes; 1 is a coil or a discrete input.
        bit: of a register; -1 where the value is none.
        sunspec: whether `absent` means that there is no value.
        at: byte of the image at which each value begins.
        factor_at: byte at which its scale factor begins, -1 for none.
        plain: one of _PLAIN for what most values are, which takes a third of the time; else 0.
    """

    code: NDArray[np.uint8]
    order: NDArray[np.uint8]
    size: NDArray[np.uint8]
    bit: NDArray[np.int8]
    sunspec: NDArray[np.bool_]
    absent: NDArray[np.uint64]
    at: NDArray[np.int32]
    factor_at: NDArray[np.int32]
    plain: NDArray[np.uint8]

    @classmethod
    def of(cls, addresses: Sequence[Address], at: NDArray[np.int32], factor_at: NDArray[np.int32]) -> Forms:
        orders = {order: index for index, order in enumerate(ORDERS)}
        kinds = [a.kind for a in addresses]
        return cls(
            np.array([kind.code for kind in kinds], np.uint8),
            np.array([orders[a.order] for a in addresses], np.uint8),
            np.array([1 if a.table in BIT_TABLES else min(255, 2 * a.count) for a in addresses], np.uint8),
            np.array([a.bit for a in addresses], np.int8),
            np.array([a.sunspec for a in addresses], np.bool_),
            np.array([kind.absent or 0 for kind in kinds], np.uint64),
            at,
            factor_at,
            np.array([_PLAIN.get(a.type, 0) if _is_plain(a) else 0 for a in addresses], np.uint8),
        )

    def decode(
        self, image: NDArray[np.uint8], rows: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values of these rows, shape (len(rows),), and where SunSpec says that there is none.

        NaN stands for what is no number of its type, and for texts.
        """
        wire, absent = np.empty(len(rows)), np.empty(len(rows), np.bool_)
        _decode(
            image, rows, self.plain, self.at, self.factor_at, self.code, self.order, self.size, self.bit, self.sunspec,
            self.absent, wire, absent,
        )  # fmt: skip
        return wire, absent


def _column(kind: types.Type) -> types.Array:
    return types.Array(kind, 1, "C", readonly=True)


_BYTES = _column(types.uint8)


@njit(types.uint64(_BYTES, types.int64, types.int64, types.int64), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _raw(image: np.ndarray, at: int, size: int, order: int) -> int:
    """The bytes of one value, put into order, as one number."""
    raw = np.uint64(0)
    # CDAB swaps the words, DCBA words and bytes: the place of a byte with its word or all its bits turned round.
    turn = (0, size - 2, 1, size - 1)[order]
    for i in range(size):
        raw = raw << np.uint64(8) | np.uint64(image[at + (i ^ turn)])
    return raw  # type: ignore[return-value]


@njit(types.float64(types.uint64, types.int64, types.int64), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _number(raw: int, size: int, code: int) -> float:
    if code == FLOAT:
        if size == 8:
            return np.uint64(raw).view(np.float64)
        return float(np.uint32(raw).view(np.float32))
    if code == SIGNED:
        spare = np.int64(64 - 8 * size)
        return float(np.int64(raw << np.uint64(spare)) >> spare)
    if code != BCD:
        return float(raw)
    value = 0.0
    for i in range(2 * size - 1, -1, -1):
        digit = np.int64((raw >> np.uint64(4 * i)) & np.uint64(15))
        value = value * 10 + digit if digit <= 9 else math.nan
    return value


@njit(types.float64(_BYTES, types.int64, types.float64), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _scaled(image: np.ndarray, factor_at: int, value: float) -> float:
    """NaN where the scale factor is none."""
    power = np.int64(image[factor_at]) << 8 | np.int64(image[factor_at + 1])
    power -= 0x10000 if power >= FACTOR_ABSENT else 0
    if not -FACTOR_MAX <= power <= FACTOR_MAX:
        return math.nan
    return value * 10.0**power if power >= 0 else value / 10.0**-power


@njit(types.float64(_BYTES, types.int64, types.int64), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _plain(image: np.ndarray, at: int, plain: int) -> float:
    word = np.uint32(image[at]) << np.uint32(8) | np.uint32(image[at + 1])
    if plain == _UINT16:
        return float(word)
    if plain == _INT16:
        return float(np.int16(word))
    rest = np.uint32(image[at + 2]) << np.uint32(8) | np.uint32(image[at + 3])
    return float(np.uint32(word << np.uint32(16) | rest).view(np.float32))


_SIGNATURE = types.void(
    _BYTES, _column(types.int32), _column(types.uint8), _column(types.int32), _column(types.int32),
    _column(types.uint8), _column(types.uint8), _column(types.uint8), _column(types.int8), _column(types.boolean),
    _column(types.uint64), types.float64[::1], types.boolean[::1],
)  # fmt: skip


@njit(_SIGNATURE, cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _decode(
    image: np.ndarray, rows: np.ndarray, plains: np.ndarray, ats: np.ndarray, factor_ats: np.ndarray,
    codes: np.ndarray, orders: np.ndarray, sizes: np.ndarray, bits: np.ndarray, sunspecs: np.ndarray,
    absents: np.ndarray, wire: np.ndarray, absent: np.ndarray,
) -> None:  # fmt: skip
    for position in range(len(rows)):
        row = rows[position]
        absent[position] = False
        if plains[row]:
            wire[position] = _plain(image, ats[row], plains[row])
            continue
        size, code, factor_at = np.int64(sizes[row]), np.int64(codes[row]), factor_ats[row]
        if code == TEXT:
            wire[position] = math.nan
            continue
        raw = _raw(image, ats[row], size, orders[row])
        if code == BIT:
            absent[position] = sunspecs[row] and raw == np.uint64(0xFFFF)
            wire[position] = np.float64((raw >> np.uint64(max(0, bits[row]))) & np.uint64(1))
            continue
        value = _number(raw, size, code)
        if sunspecs[row]:
            absent[position] = math.isnan(value) if code == FLOAT else raw == absents[row]
        if factor_at >= 0:
            if image[factor_at] == FACTOR_ABSENT >> 8 and image[factor_at + 1] == 0 and not math.isnan(value):
                absent[position] = True
            value = _scaled(image, factor_at, value)
        wire[position] = value
