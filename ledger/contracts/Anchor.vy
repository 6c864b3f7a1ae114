# pragma version 0.4.3
# pragma evm-version prague
"""
@title Anchor
@license Apache-2.0
@notice The roots of one append-only log (RFC 6962), each naming the one before it and growing in size.
@dev One contract per log, no proxy: a fork of the log cannot be anchored, and the rule cannot be changed later; a later
     contract is named by the successor pointer instead, which ends this one. A root is found by the size it is of.
     Holds nothing but roots and sizes; personal data never comes near it.
"""

import roles

initializes: roles

exports: (roles.admin, roles.writer, roles.set_admin)

event Anchored:
    number: indexed(uint256)
    root: indexed(bytes32)
    previous_root: bytes32
    size: uint64

event Succeeded:
    successor: indexed(address)

DEPTH_MAX: constant(uint256) = 64  # of a tree of 2^64 entries
SIZE_BITS: constant(uint256) = 2**64 - 1

roots: public(HashMap[uint64, bytes32])
successor: public(address)
_head: uint256  # (anchors + 1) << 64 | size of the last: one storage slot to write, and never a fresh one


@deploy
def __init__(writer: address):
    roles.__init__(writer)
    self._head = 1 << 64


@external
def anchor(previous_root: bytes32, root: bytes32, size: uint64) -> uint256:
    """
    @notice Record the root of the log at `size` entries.
    @param previous_root The root recorded last; zero for the first.
    @return The number of the new record, counted from 0.
    """
    roles._only_writer()
    head: uint256 = self._head
    last: uint64 = convert(head & SIZE_BITS, uint64)
    assert previous_root == self.roots[last], "previous root differs"
    assert size > last, "size does not grow"
    assert root != empty(bytes32), "root is zero"
    number: uint256 = (head >> 64) - 1
    self.roots[size] = root
    self._head = ((number + 2) << 64) | convert(size, uint256)
    log Anchored(number=number, root=root, previous_root=previous_root, size=size)
    return number


@external
@view
def last() -> (bytes32, uint64, uint256):
    """
    @notice The newest root, its size, and how many were recorded; zeros before the first.
    """
    size: uint64 = convert(self._head & SIZE_BITS, uint64)
    return self.roots[size], size, (self._head >> 64) - 1


@external
@view
def verify_inclusion(size: uint64, index: uint64, leaf: bytes32, proof: DynArray[bytes32, DEPTH_MAX]) -> bool:
    """
    @notice Whether entry `index` is in the log as it was recorded at `size` entries.
    @param leaf SHA-256(0x00 || entry).
    @param proof The siblings from the leaf up, as in RFC 9162, section 2.1.3.2.
    """
    root: bytes32 = self.roots[size]
    if root == empty(bytes32) or index >= size:
        return False
    at: uint256 = convert(index, uint256)
    end: uint256 = convert(size, uint256) - 1
    node: bytes32 = leaf
    for sibling: bytes32 in proof:
        if end == 0:
            return False
        if at & 1 == 1 or at == end:
            node = sha256(concat(x"01", sibling, node))
            for _: uint256 in range(DEPTH_MAX):
                if at & 1 == 1 or at == 0:
                    break
                at >>= 1
                end >>= 1
        else:
            node = sha256(concat(x"01", node, sibling))
        at >>= 1
        end >>= 1
    return end == 0 and node == root


@external
def set_writer(writer: address):
    assert self.successor == empty(address), "succeeded"
    roles._appoint(writer)


@external
def set_successor(successor: address):
    """
    @notice Name the contract that records this log from now on. Final: this one takes no more roots.
    """
    roles._only_admin()
    assert self.successor == empty(address), "succeeded"
    assert successor != empty(address) and successor != self, "no successor"
    self.successor = successor
    roles._dismiss()
    log Succeeded(successor=successor)
