# pragma version 0.4.3
# pragma evm-version prague
"""
@title Notary
@license Apache-2.0
@notice Which data sets there were, by hash and since when, and what each was made from.
@dev A hash is notarised once and stays. Sources must be notarised first, so provenance has no circle and no gap.
"""

import roles

initializes: roles

exports: (roles.admin, roles.writer, roles.set_admin)

SOURCES_MAX: constant(uint256) = 16

struct Notarised:
    provenance: bytes32
    by: address
    time_s: uint64
    sources: uint64

event DataSet:
    data_set: indexed(bytes32)
    by: indexed(address)
    provenance: bytes32
    sources: DynArray[bytes32, SOURCES_MAX]

data_sets: public(HashMap[bytes32, Notarised])
sources: public(HashMap[bytes32, DynArray[bytes32, SOURCES_MAX]])
count: public(uint256)


@deploy
def __init__(writer: address):
    roles.__init__(writer)


@external
def notarise(data_set: bytes32, provenance: bytes32, sources: DynArray[bytes32, SOURCES_MAX]):
    """
    @notice Record a data set, once.
    @param data_set Its SHA-256.
    @param provenance SHA-256 of the text that says where it came from and how it was made.
    @param sources Hashes of the data sets that it was made from.
    """
    roles._only_writer()
    assert data_set != empty(bytes32) and provenance != empty(bytes32), "zero"
    assert self.data_sets[data_set].time_s == 0, "notarised"
    for source: bytes32 in sources:
        assert self.data_sets[source].time_s != 0, "unknown source"
    self.data_sets[data_set] = Notarised(
        provenance=provenance,
        by=msg.sender,
        time_s=convert(block.timestamp, uint64),
        sources=convert(len(sources), uint64),
    )
    self.sources[data_set] = sources
    self.count += 1
    log DataSet(data_set=data_set, by=msg.sender, provenance=provenance, sources=sources)


@external
def set_writer(writer: address):
    roles._appoint(writer)
