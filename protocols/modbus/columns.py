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

from protocols.modbus.address import BCD, BIT, FLOAT, ORDERS, SIGNED, TEXT, Address
from protocols.modbus.values import FACTOR_ABSENT, FACTOR_MAX

_FORM = np.dtype(
    [
        ("code", "u1"),  # BIT, UNSIGNED, SIGNED, FLOAT, BCD, TEXT
        ("order", "u1"),  # index into ORDERS
        ("size", "u1"),  # bytes; 1 is a coil or a discrete input
        ("bit", "i1"),
        ("sunspec", "?"),
        ("absent", "u8"),
    ]
)


@dataclass(frozen=True, slots=True)
class Forms:
    """How N values lie in an image of cells.

    Attributes:
        form: _FORM, shape (N,).
        at: byte of the image at which each value begins, shape (N,).
        factor_at: byte at which its scale factor begins, -1 for none, shape (N,).
    """

    form: NDArray[np.void]
    at: NDArray[np.int32]
    factor_at: NDArray[np.int32]

    @classmethod
    def of(cls, addresses: Sequence[Address], at: NDArray[np.int32], factor_at: NDArray[np.int32]) -> Forms:
        orders = {order: index for index, order in enumerate(ORDERS)}
        form = np.empty(len(addresses), _FORM)
        form[:] = [
            (k.code, orders[a.order], min(255, 2 * a.count) if a.bit >= 0 or a.type != "bit" else 1, a.bit, a.sunspec,
             0 if k.absent is None else k.absent)
            for a, k in ((a, a.kind) for a in addresses)
        ]  # fmt: skip
        return cls(form, at, factor_at)

    def decode(
        self, image: NDArray[np.uint8], rows: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values of these rows, shape (len(rows),), and where SunSpec says that there is none.

        NaN stands for what is no number of its type, and for texts.
        """
        wire, absent = np.empty(len(rows)), np.empty(len(rows), np.bool_)
        form = self.form
        _decode(
            image, rows, self.at, self.factor_at, form["code"], form["order"], form["size"], form["bit"],
            form["sunspec"], form["absent"], wire, absent,
        )  # fmt: skip
        return wire, absent


def _read(kind: types.Type) -> types.Array:
    return types.Array(kind, 1, "A", readonly=True)


_BYTES = types.Array(types.uint8, 1, "C", readonly=True)


@njit(types.uint64(_BYTES, types.int64, types.int64, types.int64), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _raw(image: np.ndarray, at: int, size: int, order: int) -> int:
    """The bytes of one value, put into order, as one number."""
    raw = np.uint64(0)
    for i in range(size):
        if order == 0:
            source = i
        elif order == 1:
            source = size - 2 - (i & ~1) + (i & 1)
        elif order == 2:
            source = i ^ 1
        else:
            source = size - 1 - i
        raw = (raw << np.uint64(8)) | np.uint64(image[at + source])
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


_SIGNATURE = types.void(
    _BYTES, types.Array(types.int32, 1, "C", readonly=True),
    _read(types.int32), _read(types.int32), _read(types.uint8), _read(types.uint8), _read(types.uint8),
    _read(types.int8), _read(types.boolean), _read(types.uint64), types.float64[::1], types.boolean[::1],
)  # fmt: skip


@njit(_SIGNATURE, cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _decode(
    image: np.ndarray, rows: np.ndarray, ats: np.ndarray, factor_ats: np.ndarray, codes: np.ndarray,
    orders: np.ndarray, sizes: np.ndarray, bits: np.ndarray, sunspecs: np.ndarray, absents: np.ndarray,
    wire: np.ndarray, absent: np.ndarray,
) -> None:  # fmt: skip
    for position in range(len(rows)):
        row = rows[position]
        size, code, factor_at = np.int64(sizes[row]), np.int64(codes[row]), factor_ats[row]
        absent[position] = False
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
