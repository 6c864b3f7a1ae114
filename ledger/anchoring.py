"""What anchoring is on any chain: the Anchor contract's functions, and the rule that anchors follow on each other.

Must not know how a chain is reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.abi import decode
from ledger.errors import AnchorConflict
from ledger.receipts import Receipt

ANCHOR_CALL = "anchor(bytes32,bytes32,uint64)"
LAST_CALL = "last()"
ROOT_CALL = "roots(uint64)"
SUCCESSOR_CALL = "successor()"
INCLUSION_CALL = "verify_inclusion(uint64,uint64,bytes32,bytes32[])"
NO_ROOT = bytes(32)


@dataclass(frozen=True)
class Last:
    """The newest anchor of the contract; `root` is 32 zero bytes and `size` 0 before the first."""

    root: bytes
    size: int
    count: int


@dataclass(frozen=True)
class Mined:
    """A transaction in a block. `log_index` is that of its first event."""

    block: int
    block_time_s: int
    tx_hash: str
    log_index: int
    gas_used: int


@dataclass(frozen=True)
class Event:
    """Something that a contract said. (`tx_hash`, `log_index`) tells it from every other; `topics` and `data` are hex."""

    block: int
    tx_hash: str
    log_index: int
    topics: tuple[str, ...]
    data: str


@dataclass(frozen=True)
class Heard:
    """The events of a stretch of blocks in order; the next stretch begins at `next_block`."""

    events: tuple[Event, ...]
    next_block: int


EVENT_BLOCKS_MAX = 1_000  # of one stretch: public nodes refuse more, and the embedded chain looks through every block


@dataclass(frozen=True)
class NodeSettings:
    """How a chain that others run is reached.

    Attributes:
        rpc: the node's address. Keys in it are secret: it is never shown whole.
        chain_id: what the node must say that it serves.
        contract: address of the Anchor contract; where it is empty, the chain's own admin key deploys one.
        confirmations: blocks, its own included, that a transaction must be deep to count.
        timeout_s: how long that may take.
    """

    rpc: str
    chain_id: int
    contract: str = ""
    confirmations: int = 1
    timeout_s: float = 120.0


def parse_last(data: bytes) -> Last:
    root, size, count = decode(("bytes32", "uint64", "uint256"), data)
    assert isinstance(root, bytes) and isinstance(size, int) and isinstance(count, int)
    return Last(root, size, count)


def parse_root(data: bytes) -> bytes:
    """32 zero bytes where nothing was recorded at that size."""
    (root,) = decode(("bytes32",), data)
    assert isinstance(root, bytes)
    return root


def check_follows(place: object, last: Last, previous_root: bytes, size: int) -> None:
    """
    Raises:
        AnchorConflict: an anchor of `size` after `previous_root` is none that this contract would take.
    """
    if previous_root != last.root or size <= last.size:
        raise AnchorConflict(
            f"{place}: the chain's newest anchor is number {last.count - 1} of size {last.size} with root "
            f"0x{last.root.hex()}; size {size} after root 0x{previous_root.hex()} does not follow it: "
            "use the chain that belongs to this log"
        )


def receipt_of(mined: Mined, number: int, size: int, root: bytes, chain_id: int, contract: str) -> Receipt:
    return Receipt(
        number=number,
        size=size,
        root="0x" + root.hex(),
        block=mined.block,
        block_time_s=mined.block_time_s,
        tx_hash=mined.tx_hash,
        log_index=mined.log_index,
        gas_used=mined.gas_used,
        chain_id=chain_id,
        contract=contract,
    )
