"""RFC 6962 Merkle trees: roots, inclusion proofs and consistency proofs, made and checked.

Must not know entries, files or signatures; hashes and integers in, hashes and verdicts out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

from ledger.errors import ProofError

HASH_BYTES = 32
PAIR_BYTES = 2 * HASH_BYTES
KEPT_LEVEL = 4  # from 16 leaves up: 4 bytes a leaf, and a proof hashes 16 leaves anew, some 20 us
EMPTY_ROOT = hashlib.sha256(b"").digest()  # RFC 6962 2.1: MTH({}) = SHA-256()

_sha256 = hashlib.sha256


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 2.1: the hash of a leaf, SHA-256(0x00 || data)."""
    return _sha256(b"\x00" + data).digest()


def leaf_hashes(datas: Iterable[bytes]) -> list[bytes]:
    """The hashes of many leaves."""
    return [_sha256(b"\x00" + data).digest() for data in datas]


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 2.1: the hash of an inner node, SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


class Frontier:
    """The root of a growing list in constant memory: one hash per set bit of the size."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # roots of the complete subtrees, largest first

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        carry, bits = leaf, self.size
        while bits & 1:
            carry = node_hash(self._peaks.pop(), carry)
            bits >>= 1
        self._peaks.append(carry)
        self.size += 1

    def root(self) -> bytes:
        return _fold(self._peaks)


class Tree:
    """A growing list with the hashes of its complete subtrees: any past root, any proof. 64 bytes a leaf, after
    `forget` 4: where a hash below KEPT_LEVEL is asked for, `again` gives the leaf hashes from a start up to a stop.
    `pairs` does what `hashed_pairs` does.

    One thread extends and forgets; others may ask meanwhile, since what is below `size` never changes.
    """

    def __init__(
        self, leaves: Iterable[bytes] = (), again: Callable[[int, int], Sequence[bytes]] | None = None,
        pairs: Callable[[bytes], bytes] | None = None,
    ) -> None:  # fmt: skip
        self.size = 0
        self._again = again
        self._pairs = pairs or hashed_pairs
        self._low = _Low(0, [bytearray() for _ in range(KEPT_LEVEL)])
        self._last: tuple[int, list[bytes]] = -1, []  # the forgotten block that was asked for last
        self._high = [bytearray()]  # [h] holds the roots of subtrees of 2**(KEPT_LEVEL + h) leaves
        self.extend(b"".join(leaves))

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.extend(leaf)

    def extend(self, leaves: bytes) -> None:
        """Add leaf hashes, one after the other; many at once cost less, for each level is hashed in one go."""
        low = self._low
        low.levels[0] += leaves
        for level, (below, above) in enumerate(pairwise([*low.levels, self._high[0]]), 1):
            gone = low.first >> level if level == KEPT_LEVEL else 0  # `above` begins at leaf 0, `below` does not
            above += self._pairs(_unpaired(below, len(above) // HASH_BYTES - gone))
        self._extend_high()
        self.size += len(leaves) // HASH_BYTES  # last: what others may ask for is there

    def extend_forgotten(self, nodes: bytes) -> None:
        """Add leaves of which only the hashes at KEPT_LEVEL are known, to a tree of which nothing else is kept."""
        assert self.size == self._low.first
        self._high[0] += nodes
        self._extend_high()
        self.size += len(nodes) // HASH_BYTES << KEPT_LEVEL
        self._low = _Low(self.size, [bytearray() for _ in range(KEPT_LEVEL)])

    def forget(self, below: int) -> None:
        """Give up the memory of what `again` can give of the leaves before `below`."""
        low, first = self._low, below >> KEPT_LEVEL << KEPT_LEVEL
        if first > low.first:
            levels = [have[(first - low.first >> h) * HASH_BYTES :] for h, have in enumerate(low.levels)]
            self._low = _Low(first, levels)

    def nodes(self, level: int, start: int, stop: int) -> bytes:
        """The roots of the subtrees of 2**level leaves numbered `start` up to `stop`, one after the other."""
        if level >= KEPT_LEVEL:
            return bytes(self._high[level - KEPT_LEVEL][start * HASH_BYTES : stop * HASH_BYTES])
        low = self._low
        first = low.first >> level
        if start >= first:
            return bytes(low.levels[level][(start - first) * HASH_BYTES : (stop - first) * HASH_BYTES])
        block = start >> KEPT_LEVEL - level
        if block != stop - 1 >> KEPT_LEVEL - level:
            return self._hashed_again(start << level, stop << level, level)[level]
        known, levels = self._last
        if known != block:  # a proof asks for each level of one block
            levels = self._hashed_again(block << KEPT_LEVEL, block + 1 << KEPT_LEVEL, KEPT_LEVEL - 1)
            self._last = block, levels
        first = block << KEPT_LEVEL - level
        return levels[level][(start - first) * HASH_BYTES : (stop - first) * HASH_BYTES]

    def _hashed_again(self, start: int, stop: int, highest: int) -> list[bytes]:
        """The levels from 0 to `highest` over these leaves."""
        assert self._again is not None
        levels = [b"".join(self._again(start, stop))]
        for _ in range(highest):
            levels.append(self._pairs(levels[-1]))
        return levels

    def _extend_high(self) -> None:
        for level in count():
            below = self._high[level]
            if level + 1 == len(self._high) and len(below) >= PAIR_BYTES:
                self._high.append(bytearray())
            if level + 1 == len(self._high):
                return
            self._high[level + 1] += self._pairs(_unpaired(below, len(self._high[level + 1]) // HASH_BYTES))

    def leaf(self, index: int) -> bytes:
        return self._node(0, index)

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves (of all of them without it)."""
        size = self._checked(self.size if size is None else size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """PATH(index, D[size]) of RFC 6962 2.1.1, nearest sibling first."""
        size = self._checked(self.size if size is None else size)
        if not 0 <= index < size:
            raise ProofError(f"entry {index} is not among the first {size}: ask for an index from 0 to {size - 1}")
        start, stop, path = 0, size, []
        while stop - start > 1:
            middle = start + _split(stop - start)
            if index < middle:
                path.append(self._range(middle, stop))
                stop = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def consistency_proof(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        """PROOF(old_size, D[new_size]) of RFC 6962 2.1.2; empty for equal sizes."""
        new_size = self._checked(self.size if new_size is None else new_size)
        if not 0 < old_size <= new_size:
            raise ProofError(f"no proof leads from size {old_size} to {new_size}: ask for 1 to {new_size}")
        start, stop, path, whole = 0, new_size, [], True
        while stop != old_size:
            middle = start + _split(stop - start)
            if old_size <= middle:
                path.append(self._range(middle, stop))
                stop = middle
            else:
                path.append(self._range(start, middle))
                start, whole = middle, False
        if not whole:  # SUBPROOF with b = false: the verifier cannot know this subtree's root
            path.append(self._range(start, stop))
        return path[::-1]

    def _checked(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise ProofError(f"the tree has {self.size} leaves, not {size}")
        return size

    def _node(self, level: int, index: int) -> bytes:
        return self.nodes(level, index, index + 1)

    def _range(self, start: int, stop: int) -> bytes:
        """MTH(D[start:stop]), where `start` is a multiple of the largest power of two in the length."""
        peaks = []
        while start < stop:
            level = (stop - start).bit_length() - 1
            peaks.append(self._node(level, start >> level))
            start += 1 << level
        return _fold(peaks)


@dataclass(frozen=True, slots=True)
class _Low:
    """The levels below KEPT_LEVEL, from leaf `first` on: replaced as a whole, so that whoever asks sees one of them."""

    first: int
    levels: list[bytearray]


def hashed_pairs(nodes: bytes) -> bytes:
    """The hashes of nodes two by two, one after the other."""
    return b"".join(
        [_sha256(b"\x01" + nodes[at : at + PAIR_BYTES]).digest() for at in range(0, len(nodes), PAIR_BYTES)]
    )


def _unpaired(nodes: bytearray, done: int) -> bytes:
    """The whole pairs from number `done` on."""
    return bytes(nodes[done * PAIR_BYTES : len(nodes) // PAIR_BYTES * PAIR_BYTES])


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of a list of leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162 2.1.3.2: whether `leaf` (a leaf hash) is number `index` of the `size` leaves under `root`."""
    if not (_is_size(size) and _is_count(index) and index < size and _are_hashes([leaf, root, *proof])):
        return False
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and computed == root


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """RFC 9162 2.1.4.2: whether the tree under `new_root` begins with the tree under `old_root`.

    Size 0 proves nothing and is refused, as are a shrinking tree and any proof of the wrong length.
    """
    if not (_is_size(old_size) and _is_size(new_size) and _are_hashes([old_root, new_root, *proof])):
        return False
    if old_size >= new_size:
        return old_size == new_size and not proof and old_root == new_root
    path = list(proof)
    if old_size & (old_size - 1) == 0:  # a complete tree's root is not repeated in the proof
        path.insert(0, old_root)
    if not path:
        return False
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old, new = path[0], path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old == old_root and new == new_root


def _fold(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (RFC 6962 2.1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_size(value: object) -> bool:
    return _is_count(value) and value != 0


def _are_hashes(values: Sequence[object]) -> bool:
    return all(isinstance(value, bytes) and len(value) == HASH_BYTES for value in values)
