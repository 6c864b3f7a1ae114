"""Ethereum's contract ABI as far as our contracts need it: words, and one list of words at the end; bytes in, bytes out.

Must not know chains. Written out here so that a stranger can read a contract with Python alone; selectors, which need
Keccak, come with the compiled contracts. Source: Solidity ABI specification, "Formal Specification of the Encoding".
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.contracts import load
from ledger.errors import ChainError

WORD = 32
LIST_MAX = 64  # our longest list is an inclusion proof of a tree of 2^64 entries
Value = bytes | int | str | Sequence[bytes]


def call_data(contract: str, signature: str, *values: Value) -> bytes:
    """What calls `signature` ("anchor(bytes32,bytes32,uint64)") of a shipped contract.

    Raises:
        ChainError: the contract has no such function, or a value is none of the type's.
    """
    selectors = load(contract).selectors
    if signature not in selectors:
        raise ChainError(f"{contract} has no function {signature}; it has {', '.join(sorted(selectors))}")
    return selectors[signature] + encode(types_of(signature), values)


def types_of(signature: str) -> tuple[str, ...]:
    """("bytes32", "uint64") of "name(bytes32,uint64)"."""
    inside = signature[signature.index("(") + 1 : -1]
    return tuple(inside.split(",")) if inside else ()


def encode(types: Sequence[str], values: Sequence[Value]) -> bytes:
    """
    Raises:
        ChainError: too few or many values, or one that is none of its type's.
    """
    if len(types) != len(values):
        raise ChainError(f"{len(types)} values are needed ({', '.join(types)}), not {len(values)}")
    heads, tail = [], b""
    for kind, value in zip(types, values, strict=True):
        if kind == "bytes32[]":
            if isinstance(value, int | str | bytes) or len(value) > LIST_MAX:
                raise ChainError(f"a list of at most {LIST_MAX} hashes is needed, not {value!r}")
            heads.append(_word("uint256", len(types) * WORD + len(tail)))
            tail += _word("uint256", len(value)) + b"".join(_word("bytes32", one) for one in value)
        else:
            heads.append(_word(kind, value))
    return b"".join(heads) + tail


def decode(types: Sequence[str], data: bytes) -> tuple[bytes | int | str, ...]:
    """Words only.

    Raises:
        ChainError: the data is too short, or a word is none of its type's.
    """
    if len(data) < len(types) * WORD:
        raise ChainError(f"the contract answered {len(data)} bytes instead of {len(types) * WORD}: is it another one?")
    return tuple(_parsed(kind, data[at * WORD : (at + 1) * WORD]) for at, kind in enumerate(types))


def _word(kind: str, value: Value) -> bytes:
    if kind == "bytes32" and isinstance(value, bytes) and len(value) == WORD:
        return value
    if kind == "address" and isinstance(value, str) and len(value) == 42 and value.startswith("0x"):
        try:
            return bytes(12) + bytes.fromhex(value[2:])
        except ValueError as error:
            raise ChainError(f"{value!r} is no address") from error
    if kind.startswith("uint") and type(value) is int and 0 <= value < 1 << int(kind[4:]):
        return value.to_bytes(WORD, "big")
    raise ChainError(f"{value!r} is no {kind}")


def _parsed(kind: str, word: bytes) -> bytes | int | str:
    if kind == "bytes32":
        return word
    number = int.from_bytes(word, "big")
    bits = 160 if kind == "address" else 1 if kind == "bool" else int(kind.removeprefix("uint"))
    if number >> bits:
        raise ChainError(f"0x{word.hex()} is no {kind}: is it another contract?")
    return "0x" + word[12:].hex() if kind == "address" else number
