"""The embedded chain: an EVM in this process that records a log's roots in the Anchor contract.

Must not know logs or files of the ledger. Runs Python byte code for ~15 ms an anchor: never in the server's process.
The accounts' keys are made at random for each chain (`CHAIN_DIR/key`), so no other chain has this contract's address.
A chain kept by the operator proves nothing against the operator; it becomes evidence when its roots leave the machine.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eth.exceptions import PyEVMError
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_keys import KeyAPI
from eth_tester import EthereumTester
from eth_tester.exceptions import TransactionFailed
from eth_tester.exceptions import ValidationError as TesterValidationError
from eth_utils import function_signature_to_4byte_selector, keccak
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]
from trie.exceptions import InvalidNode, MissingTrieNode
from trie.exceptions import ValidationError as TrieValidationError

from ledger.chain_store import CHAIN_FILE, CHAIN_ID, READER, Backend, Store, create_chain, open_chain
from ledger.contracts import load
from ledger.errors import AnchorConflict, ChainError
from ledger.files import lock, replace
from ledger.receipts import Receipt

KEYS = "key"
DEPLOY_GAS = 1_500_000  # measured 0.5 M; given, because estimating costs 3x the transaction's time
ANCHOR_GAS = 200_000  # measured ~85 k
RECEIPTS_MAX = 1_000  # per request: one JSON line of ~400 kB to the server
_NO_ROOT = bytes(32)
_UNREADABLE = (  # what the EVM, its tries and SQLite raise over damaged bytes
    TransactionFailed,
    TesterValidationError,
    DecodingError,
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


@dataclass(frozen=True)
class Last:
    """The newest anchor of the contract; `root` is 32 zero bytes and `size` 0 before the first."""

    root: bytes
    size: int
    count: int


class Chain:
    """One chain directory with its one Anchor contract. For a single thread."""

    def __init__(self, directory: Path, store: Store, account_keys: tuple[Any, ...], lock_descriptor: int) -> None:
        self.directory = directory
        self._store = store
        self._keys = account_keys
        self._lock_descriptor = lock_descriptor
        self._contract = store.meta("contract")
        self._load()

    @classmethod
    def open(cls, directory: Path | str) -> Self:
        """Open the chain in `directory`; make it, keys and contract included, where there is none."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo, _readable(directory):
            descriptor = lock(directory, "chain")
            undo.callback(os.close, descriptor)
            account_keys = _load_keys(directory, create=not (directory / CHAIN_FILE).exists())
            store = undo.enter_context(closing(Store(directory, read_only=False)))
            if store.meta("contract") is None:
                with store.transaction():
                    create_chain(store, account_keys)
                    _deploy(store, account_keys)
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
            if store.meta("contract") is None:
                raise ChainError(f"{directory / CHAIN_FILE} has no contract")
            chain = cls(directory, store, (), -1)
            undo.pop_all()
        return chain

    @property
    def contract(self) -> str:
        """The Anchor contract's address."""
        return str(self._contract)

    def anchor(self, previous_root: bytes, root: bytes, size: int) -> Receipt:
        """Record `root` at `size` after `previous_root` (32 zero bytes for the first); durable on return.

        The newest anchor again gives its receipt again. Raises AnchorConflict when the chain's history is another.
        """
        last = self.last()
        if last.count and (root, size) == (last.root, last.size):
            return self.receipts(last.count - 1)[0]
        if previous_root != last.root or size <= last.size:
            raise AnchorConflict(
                f"{self.directory}: the chain's newest anchor is number {last.count - 1} of size {last.size} with root "
                f"0x{last.root.hex()}; size {size} after root 0x{previous_root.hex()} does not follow it: "
                "use the chain that belongs to this log"
            )
        data = _call_data("anchor(bytes32,bytes32,uint64)", ("bytes32", "bytes32", "uint64"), previous_root, root, size)
        try:
            with self._store.transaction():
                receipt = _mined(self._tester, self._keys[1], self.contract, data, ANCHOR_GAS)
                made = _receipt(receipt, last.count, size, root, self.contract, self._block_time_s())
                self._store.add_receipt(made)
        except (ChainError, *_UNREADABLE) as error:
            self._load()  # what the EVM holds in memory was rolled back on disk
            raise ChainError(f"{self.directory}: the anchor of size {size} was refused: {error}") from error
        return made

    def last(self) -> Last:
        (count,) = self._view("count()", (), (), ("uint256",))
        if not count:
            return Last(_NO_ROOT, 0, 0)
        root, size = self.anchor_at(count - 1)
        return Last(root, size, count)

    def anchor_at(self, number: int) -> tuple[bytes, int]:
        """Root and size of anchor `number`, from the contract's storage; zeros where there is none."""
        root, size = self._view("anchors(uint256)", ("uint256",), (number,), ("bytes32", "uint64"))
        return root, size

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

    def _block_time_s(self) -> int:
        return int(self._tester.get_block_by_number("latest")["timestamp"])

    def _view(self, signature: str, types: tuple[str, ...], values: tuple[Any, ...], returns: tuple[str, ...]) -> Any:
        data = _call_data(signature, types, *values)
        with _readable(self.directory):
            answer = self._tester.call({"from": READER, "to": self.contract, "data": data, "gas": ANCHOR_GAS})
            return decode(returns, bytes.fromhex(answer.removeprefix("0x")))


@contextmanager
def _readable(directory: Path) -> Iterator[None]:
    """Turn what the libraries raise over a damaged chain into one typed error."""
    try:
        yield
    except _UNREADABLE as error:
        raise ChainError(f"{directory}: the chain cannot be read ({error!r}); restore it from a copy") from error


def _load_keys(directory: Path, create: bool) -> tuple[Any, ...]:
    """The admin's and the writer's private key."""
    path = directory / KEYS
    if create and not path.exists():
        made = {name: secrets.token_hex(32) for name in ("admin", "writer")}
        replace(path, (json.dumps(made) + "\n").encode(), 0o600)
    try:
        texts = json.loads(path.read_text("utf-8"))
        return tuple(KeyAPI().PrivateKey(bytes.fromhex(texts[name])) for name in ("admin", "writer"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ChainError(f"{path}: the chain's keys cannot be read ({error}); restore the file from a copy") from error


def _deploy(store: Store, account_keys: tuple[Any, ...]) -> None:
    admin, writer = account_keys
    tester = EthereumTester(Backend(open_chain(store), account_keys))
    arguments = encode(["address"], [writer.public_key.to_checksum_address()])
    code = "0x" + (load("Anchor").bytecode + arguments).hex()
    receipt = _mined(tester, admin, "", code, DEPLOY_GAS)
    store.set_meta("contract", receipt["contract_address"].lower())


def _mined(tester: EthereumTester, key: Any, to: str, data: str, gas: int) -> dict[str, Any]:
    """Send a transaction, mine its block and return its receipt. Raises ChainError when it was reverted."""
    evm = tester.backend.chain
    evm.header = evm.ensure_header()  # py-evm began this block when it ended the last one, and would give it that time
    sent = tester.send_transaction({"from": key.public_key.to_checksum_address(), "to": to, "data": data, "gas": gas})
    receipt: dict[str, Any] = tester.get_transaction_receipt(sent)
    if receipt["status"] != 1:
        raise ChainError("the contract reverted")
    return receipt


def _receipt(mined: dict[str, Any], number: int, size: int, root: bytes, contract: str, block_time_s: int) -> Receipt:
    return Receipt(
        number=number,
        size=size,
        root="0x" + root.hex(),
        block=mined["block_number"],
        block_time_s=block_time_s,
        tx_hash=mined["transaction_hash"],
        log_index=mined["logs"][0]["log_index"],
        gas_used=mined["gas_used"],
        chain_id=CHAIN_ID,
        contract=contract,
    )


def _call_data(signature: str, types: tuple[str, ...], *values: Any) -> str:
    data: bytes = function_signature_to_4byte_selector(signature) + encode(types, values)
    return "0x" + data.hex()
