"""Frames, leaf hashes, nodes and bundles of many entries at once; decides who makes them.

Machine code (ledger/machine.py) where there is numba and Python links the libraries that it calls; else, and of few entries,
what frames.py and merkle.py make one by one. The bytes are the same. Must not know files or queues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.entry import ENTRY_BYTES_MAX
from ledger.frames import HEADER, frames, prefixed
from ledger.merkle import HASH_BYTES, PAIR_BYTES, hashed_pairs, leaf_hashes
from ledger.tiles import LENGTH

try:
    import numpy as np

    from ledger import machine
except ImportError:  # a verifier's machine, with no need of it
    _AT = None
else:
    _AT = machine.addresses()

FEW = 8  # below it a call of compiled code costs more than it saves


@dataclass(slots=True)  # not frozen: that would double what one entry costs
class Packed:
    """Entries as a log takes them.

    Attributes:
        data: their frames, one after the other. lengths: bytes of each frame. leaves: their hashes, one after the other.
    """

    data: bytes
    lengths: Sequence[int]
    leaves: bytes

    def __len__(self) -> int:
        return len(self.lengths)


def pack(payloads: Sequence[bytes]) -> Packed:
    """Raises EntryError, EntryTooLarge."""
    if _AT is None or len(payloads) < FEW:
        return _one_by_one(payloads)
    lengths = [*map(len, payloads)]
    if not 0 < min(lengths) <= max(lengths) <= ENTRY_BYTES_MAX:
        return _one_by_one(payloads)  # raises, saying which limit
    joined = b"".join(payloads)
    framed_bytes = np.empty(len(joined) + HEADER.size * len(payloads), np.uint8)
    leaves = np.empty(HASH_BYTES * len(payloads), np.uint8)
    machine.pack(_AT, np.frombuffer(joined, np.uint8), np.array(lengths, np.int64), framed_bytes, leaves)
    return Packed(framed_bytes.tobytes(), [length + HEADER.size for length in lengths], leaves.tobytes())


def _one_by_one(payloads: Sequence[bytes]) -> Packed:
    framed = frames(payloads)
    return Packed(b"".join(framed), [*map(len, framed)], b"".join(leaf_hashes(payloads)))


def pairs(nodes: bytes) -> bytes:
    """The hashes of nodes two by two, one after the other."""
    count = len(nodes) // PAIR_BYTES
    if _AT is None or count < FEW:
        return hashed_pairs(nodes)
    above = np.empty(count * HASH_BYTES, np.uint8)
    machine.pairs(_AT, np.frombuffer(nodes, np.uint8), above)
    return above.tobytes()


def bundle(framed: bytes, count: int) -> bytes:
    """The payloads of so many whole frames as an entry bundle; no CRC is checked again."""
    if _AT is not None:
        out = np.empty(len(framed), np.uint8)
        length = int(machine.bundle(np.frombuffer(framed, np.uint8), count, out))
        if length >= 0:
            return out[:length].tobytes()
    return prefixed(framed, count, LENGTH.pack)


def _agrees() -> bool:
    """Whether machine code makes here what hashlib and zlib do: whoever writes evidence does not take that on trust."""
    probe = [bytes([number]) * (1 + 40 * number) for number in range(FEW)]
    return pack(probe) == _one_by_one(probe)


if not _agrees():
    _AT = None
