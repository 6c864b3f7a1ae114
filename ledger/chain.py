"""The embedded chain: an EVM in this process that holds our contracts, first of all the Anchor of one log.

Must not know logs or files of the ledger. Runs Python byte code for ~15 ms an anchor: never in the server's process.
The accounts' keys are made at random for each chain (`CHAIN_DIR/key`), so no other chain has this contract's address.
A chain kept by the operator proves nothing against the operator; it becomes evidence when its roots leave the machine.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from eth.exceptions import PyEVMError
from eth_bloom.bloom import BloomFilter
from eth_keys import KeyAPI
from eth_tester import EthereumTester
from eth_tester.exceptions import TransactionFailed
from eth_tester.exceptions import ValidationError as TesterValidationError
from eth_utils import keccak
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]
from trie.exceptions import InvalidNode, MissingTrieNode
from trie.exceptions import ValidationError as TrieValidationError

from ledger.abi import Value, call_data, encode
from ledger.anchoring import (
    ANCHOR_CALL,
    EVENT_BLOCKS_MAX,
    LAST_CALL,
    ROOT_CALL,
    Event,
    Heard,
    Last,
    Mined,
    check_follows,
    parse_last,
    parse_root,
    receipt_of,
)
from ledger.chain_keys import ADMIN, WRITER, load_keys
from ledger.chain_store import CHAIN_ID, READER, Backend, Store, create_chain, open_chain
from ledger.contracts import ANCHOR, load
from ledger.errors import ChainError, ContractMissing, ContractRefused
from ledger.files import CHAIN_FILE, lock
from ledger.receipts import Receipt

DEPLOY_GAS = 3_000_000  # measured 0.8 to 1.1 M; given, because estimating costs 3x the transaction's time
GAS = 1_000_000  # of a call: an anchor takes 59 k, a data set with 16 sources 0.5 M
RECEIPTS_MAX = 1_000  # per request: one JSON line of ~400 kB to the server
Made = TypeVar("Made")
_UNREADABLE = (  # what the EVM, its tries and SQLite raise over damaged bytes
    TransactionFailed,
    TesterValidationError,
    PyEVMError,
    ValidationError,
    TrieValidationError,
    InvalidNode,
    MissingTrieNode,
    RLPException,
    KeyError,
    ValueError,  # sqlite3 quoting a damaged schema, py-evm counting a damaged header's fields
    sqlite3.Error,
)


class Chain:
    """One chain directory with the one Anchor contract of a log, and the registries once they are used. For a single
    thread."""

    def __init__(self, directory: Path, store: Store, account_keys: tuple[Any, ...], lock_descriptor: int) -> None:
        self.directory = directory
        self._store = store
        self._keys = account_keys
        self._lock_descriptor = lock_descriptor
        self._load()
        address = self.address(ANCHOR)
        if address is None or self._code(address) != load(ANCHOR).runtime:
            raise ChainError(
                f"{directory}: the chain holds another Anchor contract than this version's; "
                "move it and anchors.jsonl away, a new chain begins at the next start"
            )
        self.contract: str = address

    @classmethod
    def open(cls, directory: Path | str) -> Self:
        """Open the chain in `directory`; make it, keys and Anchor contract included, where there is none."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo, _readable(directory):
            descriptor = lock(directory, "chain")
            undo.callback(os.close, descriptor)
            account_keys = _account_keys(directory, create=not (directory / CHAIN_FILE).exists())
            store = undo.enter_context(closing(Store(directory, read_only=False)))
            if store.address(ANCHOR) is None and not store.begun():
                with store.transaction():
                    create_chain(store, account_keys)
                    tester = EthereumTester(Backend(open_chain(store), account_keys))
                    _deploy(tester, store, account_keys, ANCHOR)
            chain = cls(directory, store, account_keys, descriptor)
            undo.pop_all()
        return chain

    @classmethod
    def read(cls, directory: Path | str) -> Self:
        """Open an existing chain for reading one moment of it, beside a running writer or without its keys."""
        directory = Path(directory)
        if not (directory / CHAIN_FILE).exists():
            raise ChainError(f"{directory / CHAIN_FILE} does not exist")
        with ExitStack() as undo, _readable(directory):
            store = undo.enter_context(closing(Store(directory, read_only=True)))
            chain = cls(directory, store, (), -1)
            undo.pop_all()
        return chain

    def anchor(self, previous_root: bytes, root: bytes, size: int) -> Receipt:
        """Record `root` at `size` after `previous_root` (32 zero bytes for the first); durable on return.

        The newest anchor again gives its receipt again. Raises AnchorConflict when the chain's history is another.
        """
        last = self.last()
        if last.count and (root, size) == (last.root, last.size):
            return self.receipts(last.count - 1)[0]
        check_follows(self.directory, last, previous_root, size)

        def keep(mined: Mined) -> Receipt:
            made = receipt_of(mined, last.count, size, root, CHAIN_ID, self.contract)
            self._store.add_receipt(made)
            return made

        return self._mine(ANCHOR, call_data(ANCHOR, ANCHOR_CALL, previous_root, root, size), keep)

    def send(self, contract: str, signature: str, *values: Value) -> Mined:
        """Call a function as the writer; durable on return. The contract is deployed with its first call.

        Raises:
            ChainError: the contract refused, with its reason.
        """
        return self._mine(contract, call_data(contract, signature, *values), lambda mined: mined)

    def view(self, contract: str, signature: str, *values: Value) -> bytes:
        """What a function answers, unchanged.

        Raises:
            ContractMissing: the contract is not on this chain. ContractRefused: it refused.
        """
        address = self.address(contract)
        if address is None:
            raise ContractMissing(f"{self.directory}: nothing was recorded in {contract} yet")
        data = "0x" + call_data(contract, signature, *values).hex()
        with _readable(self.directory):
            try:
                answer = self._tester.call({"from": READER, "to": address, "data": data, "gas": GAS})
            except TransactionFailed as error:
                raise ContractRefused(f"{contract} refused: {error}") from error
        return bytes.fromhex(answer.removeprefix("0x"))

    def events(self, contract: str, event: str, from_block: int, confirmations: int) -> Heard:
        """What a contract said from a block on, where it is at least `confirmations` blocks deep."""
        with _readable(self.directory):
            evm = self._tester.backend.chain
            head = int(evm.get_canonical_head().block_number)
            end = min(head - confirmations + 1, from_block + EVENT_BLOCKS_MAX - 1)
            address = self.address(contract)
            if end < from_block or address is None:
                return Heard((), max(from_block, end + 1))
            topic = load(contract).topics[event]
            heard = [one for at in range(from_block, end + 1) for one in _said(evm, at, address, topic)]
        return Heard(tuple(heard), end + 1)

    def address(self, contract: str) -> str | None:
        """Where a contract is; None before its first call."""
        with _readable(self.directory):
            return self._store.address(contract)

    def writer(self) -> str:
        """Who sends: the address of the chain's writer key."""
        return str(self._keys[1].public_key.to_checksum_address()).lower()

    def last(self) -> Last:
        return parse_last(self.view(ANCHOR, LAST_CALL))

    def root_at(self, size: int) -> bytes:
        """The root recorded at `size`, from the contract's storage; 32 zero bytes where there is none."""
        return parse_root(self.view(ANCHOR, ROOT_CALL, size))

    def receipts(self, first: int = 0) -> list[Receipt]:
        """At most 1,000 receipts from number `first` on."""
        with _readable(self.directory):
            return self._store.receipts(first, RECEIPTS_MAX)

    def damaged_rows(self) -> int:
        """How many stored headers, trie nodes and codes are not what their hash says."""
        with _readable(self.directory):
            return sum(keccak(value) != key for key, value in self._store.hashed())

    def close(self) -> None:
        self._store.close()
        if self._lock_descriptor >= 0:
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _load(self) -> None:
        self._tester = EthereumTester(Backend(open_chain(self._store), self._keys))

    def _mine(self, contract: str, data: bytes, keep: Callable[[Mined], Made]) -> Made:
        """One transaction, and what is kept of it, durable together."""
        try:
            with self._store.transaction():
                address = self._store.address(contract)
                if address is None:
                    address = _deploy(self._tester, self._store, self._keys, contract)
                return keep(_mined(self._tester, self._keys[1], address, data, GAS)[0])
        except (ChainError, *_UNREADABLE) as error:
            self._load()  # what the EVM holds in memory was rolled back on disk
            kind = ContractRefused if isinstance(error, TransactionFailed | ContractRefused) else ChainError
            raise kind(f"{self.directory}: {contract} refused: {error}") from error

    def _code(self, address: str) -> bytes:
        with _readable(self.directory):
            return bytes.fromhex(self._tester.get_code(address).removeprefix("0x"))


def _said(evm: Any, at: int, address: str, topic: str) -> Iterator[Event]:
    """The events of a block. Its header's bloom filter says of most blocks that there is none: eth-tester's own search
    takes a second for a hundred blocks."""
    wanted, by = bytes.fromhex(topic[2:]), bytes.fromhex(address[2:])
    bloom = BloomFilter(evm.get_canonical_block_header_by_number(at).bloom)
    if wanted not in bloom or by not in bloom:
        return
    block, index = evm.get_canonical_block_by_number(at), 0
    for sent, receipt in zip(block.transactions, block.get_receipts(evm.chaindb), strict=True):
        for log in receipt.logs:
            topics = tuple(f"0x{word:064x}" for word in log.topics)
            if log.address == by and topics[:1] == (topic,):
                yield Event(at, "0x" + sent.hash.hex(), index, topics, "0x" + log.data.hex())
            index += 1


@contextmanager
def _readable(directory: Path) -> Iterator[None]:
    """Turn what the libraries raise over a damaged chain into one typed error."""
    try:
        yield
    except _UNREADABLE as error:
        raise ChainError(f"{directory}: the chain cannot be read ({error!r}); restore it from a copy") from error


def _account_keys(directory: Path, create: bool) -> tuple[Any, ...]:
    """The admin's and the writer's private key."""
    texts = load_keys(directory, create)
    try:
        return tuple(KeyAPI().PrivateKey(texts[name]) for name in (ADMIN, WRITER))
    except ValidationError as error:
        raise ChainError(f"{directory}: the chain's keys are none ({error}); restore them from a copy") from error


def _deploy(tester: EthereumTester, store: Store, account_keys: tuple[Any, ...], contract: str) -> str:
    """Deploy a contract as the admin, with the writer as its writer; its address."""
    admin, writer = account_keys
    code = load(contract).bytecode + encode(("address",), (writer.public_key.to_checksum_address(),))
    address = str(_mined(tester, admin, "", code, DEPLOY_GAS)[1]).lower()
    store.set_address(contract, address)
    return address


def _mined(tester: EthereumTester, key: Any, to: str, data: bytes, gas: int) -> tuple[Mined, str | None]:
    """Send a transaction and mine its block; with the address of a contract that it made.

    Raises:
        ChainError: it was reverted, with the contract's reason.
    """
    evm = tester.backend.chain
    evm.header = evm.ensure_header()  # py-evm began this block when it ended the last one, and would give it that time
    call = {"from": key.public_key.to_checksum_address(), "to": to, "data": "0x" + data.hex(), "gas": gas}
    sent = tester.send_transaction(call)
    receipt: dict[str, Any] = tester.get_transaction_receipt(sent)
    if receipt["status"] != 1:
        tester.call(call)  # raises with the reason
        raise ContractRefused("the contract reverted")
    time_s = int(tester.get_block_by_number("latest")["timestamp"])
    event = receipt["logs"][0]["log_index"] if receipt["logs"] else 0
    mined = Mined(receipt["block_number"], time_s, receipt["transaction_hash"], event, receipt["gas_used"])
    return mined, receipt["contract_address"]
