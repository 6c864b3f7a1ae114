# pragma version 0.4.3
# pragma evm-version prague
"""
@title Anchor
@license Apache-2.0
@notice The roots of one append-only log (RFC 6962), each naming the one before it and growing in size.
@dev One contract per log, no proxy: a fork of the log cannot be anchored, and the rule cannot be changed later.
     Holds nothing but roots and sizes; personal data never comes near it.
"""

struct Record:
    root: bytes32
    size: uint64

event Anchored:
    number: indexed(uint256)
    root: indexed(bytes32)
    previous_root: bytes32
    size: uint64

event WriterChanged:
    writer: indexed(address)

event AdminChanged:
    admin: indexed(address)

admin: public(address)
writer: public(address)
count: public(uint256)
anchors: public(HashMap[uint256, Record])


@deploy
def __init__(writer: address):
    assert writer != empty(address), "writer is zero"
    self.admin = msg.sender
    self.writer = writer
    log AdminChanged(admin=msg.sender)
    log WriterChanged(writer=writer)


@external
def anchor(previous_root: bytes32, root: bytes32, size: uint64) -> uint256:
    """
    @notice Record the root of the log at `size` entries.
    @param previous_root The root recorded last; zero for the first.
    @return The number of the new record, counted from 0.
    """
    assert msg.sender == self.writer, "not the writer"
    number: uint256 = self.count
    last: Record = empty(Record)
    if number > 0:
        last = self.anchors[number - 1]
    assert previous_root == last.root, "previous root differs"
    assert size > last.size, "size does not grow"
    assert root != empty(bytes32), "root is zero"
    self.anchors[number] = Record(root=root, size=size)
    self.count = number + 1
    log Anchored(number=number, root=root, previous_root=previous_root, size=size)
    return number


@external
def set_writer(writer: address):
    assert msg.sender == self.admin, "not the admin"
    assert writer != empty(address), "writer is zero"
    self.writer = writer
    log WriterChanged(writer=writer)


@external
def set_admin(admin: address):
    assert msg.sender == self.admin, "not the admin"
    assert admin != empty(address), "admin is zero"
    self.admin = admin
    log AdminChanged(admin=admin)
