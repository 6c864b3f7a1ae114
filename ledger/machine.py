"""The inner loops over many entries, compiled: frames, leaf hashes, nodes and bundles; the caller's thread holds up no other.

Compiled with numba when first imported and cached beside this file. SHA-256 and CRC-32 are those of the libraries that
Python's own hashlib and zlib have loaded, called at their addresses. Must not know when it is worth it: ledger/bulk.py does.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

HASH_BYTES, PAIR_BYTES, HEADER_BYTES = 32, 64, 8
CONTEXT_BYTES = 256  # SHA256_CTX has 112
INIT, UPDATE, FINAL, CRC = range(4)
_NAMES = (("_hashlib", "SHA256_Init"), ("_hashlib", "SHA256_Update"), ("_hashlib", "SHA256_Final"), ("zlib", "crc32"))


def addresses() -> np.ndarray | None:
    """Of the four functions, in order; None where Python's modules do not link the libraries as files of their own."""
    found: list[int] = []
    for module, name in _NAMES:
        path = getattr(importlib.import_module(module), "__file__", None)
        if path is None:
            return None
        try:
            function = getattr(ctypes.CDLL(path), name)
        except (OSError, AttributeError):
            return None
        found.append(ctypes.cast(function, ctypes.c_void_p).value or 0)
    return np.array(found, np.intp) if all(found) else None


def _call(count: int) -> tuple[Any, Any]:
    """A C function at an address, of so many numbers."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word] * count)
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])

    return types.int64(*[types.int64] * (count + 1)), generate


@intrinsic  # type: ignore[untyped-decorator]
def _call_1(_typing: Any, address: Any, a: Any) -> tuple[Any, Any]:
    return _call(1)


@intrinsic  # type: ignore[untyped-decorator]
def _call_2(_typing: Any, address: Any, a: Any, b: Any) -> tuple[Any, Any]:
    return _call(2)


@intrinsic  # type: ignore[untyped-decorator]
def _call_3(_typing: Any, address: Any, a: Any, b: Any, c: Any) -> tuple[Any, Any]:
    return _call(3)


BYTES = types.Array(types.uint8, 1, "C", readonly=True)
OUT = types.Array(types.uint8, 1, "C")
NUMBERS = types.Array(types.int64, 1, "C")


@njit(types.void(NUMBERS, BYTES, NUMBERS, OUT, OUT), cache=True)  # type: ignore[untyped-decorator]
def pack(c: np.ndarray, payloads: np.ndarray, lengths: np.ndarray, framed: np.ndarray, leaves: np.ndarray) -> None:
    """Payloads that lie one after the other become frames and leaf hashes that do.

    Args:
        c: addresses. framed: as long as the payloads and a header for each. leaves: HASH_BYTES for each.
    """
    context, zero = np.zeros(CONTEXT_BYTES, np.uint8), np.zeros(1, np.uint8)
    hashed, read = context.ctypes.data, payloads.ctypes.data
    wrote, leaf = framed.ctypes.data, leaves.ctypes.data
    taken, at = 0, 0
    for length in lengths:
        for byte in range(4):
            framed[at + byte] = (length >> 8 * byte) & 0xFF
        crc = _call_3(c[CRC], 0, wrote + at, 4)
        crc = _call_3(c[CRC], crc, read + taken, length)
        for byte in range(4):
            framed[at + 4 + byte] = (crc >> 8 * byte) & 0xFF
        at += HEADER_BYTES
        framed[at : at + length] = payloads[taken : taken + length]
        _call_1(c[INIT], hashed)
        _call_3(c[UPDATE], hashed, zero.ctypes.data, 1)
        _call_3(c[UPDATE], hashed, read + taken, length)
        _call_2(c[FINAL], leaf, hashed)
        taken, at, leaf = taken + length, at + length, leaf + HASH_BYTES


@njit(types.void(NUMBERS, BYTES, OUT), cache=True)  # type: ignore[untyped-decorator]
def pairs(c: np.ndarray, nodes: np.ndarray, above: np.ndarray) -> None:
    """The hashes of nodes two by two; `above`: half as long."""
    context, one = np.zeros(CONTEXT_BYTES, np.uint8), np.ones(1, np.uint8)
    hashed, read, wrote = context.ctypes.data, nodes.ctypes.data, above.ctypes.data
    for number in range(len(nodes) // PAIR_BYTES):
        _call_1(c[INIT], hashed)
        _call_3(c[UPDATE], hashed, one.ctypes.data, 1)
        _call_3(c[UPDATE], hashed, read + number * PAIR_BYTES, PAIR_BYTES)
        _call_2(c[FINAL], wrote + number * HASH_BYTES, hashed)


@njit(types.int64(BYTES, types.int64, OUT), cache=True)  # type: ignore[untyped-decorator]
def bundle(framed: np.ndarray, count: int, out: np.ndarray) -> int:
    """So many whole frames as an entry bundle of C2SP tlog-tiles; returns how long it is, -1: there are not so many.

    Args:
        out: as long as `framed`.
    """
    at, end = 0, 0
    for _ in range(count):
        if at + HEADER_BYTES > len(framed):
            return -1
        length = int(framed[at]) | int(framed[at + 1]) << 8  # an entry has at most 65,535 bytes
        at += HEADER_BYTES
        if at + length > len(framed):
            return -1
        out[end], out[end + 1] = length >> 8, length & 0xFF
        end += 2
        out[end : end + length] = framed[at : at + length]
        at, end = at + length, end + length
    return end
