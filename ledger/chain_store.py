"""Where the embedded chain keeps its keys and values: one SQLite file, one transaction per EVM transaction.

Must not know contracts or logs. Only the chain's own process and the verifier may import this.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.db.backends.base import BaseDB
from eth.exceptions import PyEVMError
from eth.vm.forks import PragueVM
from eth_tester.backends.pyevm.main import (
    PyEVMBackend,
    generate_genesis_state_for_keys,
    get_default_account_state,
    get_default_genesis_params,
)
from eth_utils.exceptions import ValidationError
from eth_utils.toolz import assoc
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from ledger import receipt_table, sqlite_read
from ledger.errors import ChainError
from ledger.files import CHAIN_FILE
from ledger.receipts import Receipt

CHAIN_ID = 7_715_001  # private and unregistered; chains are told apart by the contract's address
READER = "0x" + "00" * 19 + "ff"  # the caller of read-only calls; nobody has its key, but it must afford the gas
BUSY_TIMEOUT_S = 10.0  # a reader never blocks the writer in WAL mode; this covers a checkpoint of the WAL

_SCHEMA = (
    receipt_table.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
)


class Store(BaseDB):  # type: ignore[misc]  # py-evm is untyped
    """py-evm's key-value store over SQLite, plus the contracts' addresses and the receipts (finding one on the chain
    is a walk over all blocks)."""

    def __init__(self, directory: Path, read_only: bool) -> None:
        path = directory / CHAIN_FILE
        open_ = sqlite_read.connect if read_only else sqlite3.connect
        with ExitStack() as undo:
            db = open_(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
            self._db = undo.enter_context(closing(db))
            if read_only:
                self._db.execute("BEGIN")  # one moment of the chain, however long the reading takes
            else:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
            undo.pop_all()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are durable together, or none is."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def __getitem__(self, key: bytes) -> bytes:
        row = self._db.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value: bytes = row[0]
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._db.execute("INSERT INTO kv VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value))

    def __delitem__(self, key: bytes) -> None:
        if not self._db.execute("DELETE FROM kv WHERE key = ?", (key,)).rowcount:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self._db.execute("SELECT 1 FROM kv WHERE key = ?", (key,)).fetchone() is not None

    def hashed(self) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose key is the Keccak hash of the value: headers, trie nodes, code."""
        yield from self._db.execute("SELECT key, value FROM kv WHERE length(key) = 32")

    def begun(self) -> bool:
        """Whether there is a chain here at all."""
        return self._db.execute("SELECT 1 FROM kv LIMIT 1").fetchone() is not None

    def address(self, contract: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (contract,)).fetchone()
        return None if row is None else str(row[0])

    def set_address(self, contract: str, address: str) -> None:
        self._db.execute("INSERT INTO meta VALUES (?, ?)", (contract, address))

    def add_receipt(self, receipt: Receipt) -> None:
        receipt_table.add(self._db, receipt)

    def receipts(self, first: int, count: int) -> list[Receipt]:
        return receipt_table.read(self._db, first, count)

    def close(self) -> None:
        self._db.close()


class EmbeddedChain(MiningChain):  # type: ignore[misc]  # py-evm is untyped
    """A chain of Prague rules and constant gas limit, without proof of work."""

    chain_id = CHAIN_ID
    vm_configuration = ((0, PragueVM),)

    def create_header_from_parent(self, parent_header, **header_params):  # type: ignore[no-untyped-def]
        return super().create_header_from_parent(
            parent_header, **assoc(header_params, "gas_limit", parent_header.gas_limit)
        )

    def get_transaction_builder(self):  # type: ignore[no-untyped-def]
        return super().get_vm().get_transaction_builder()


class Backend(PyEVMBackend):  # type: ignore[misc]  # eth-tester is untyped
    """eth-tester's backend over a chain that was opened, not made anew."""

    def __init__(self, chain: EmbeddedChain, account_keys: tuple[object, ...]) -> None:
        self.chain = chain
        self.account_keys = account_keys


def create_chain(store: Store, account_keys: tuple[object, ...]) -> None:
    """Write the genesis block, which gives every key a million ether, and the reader enough to call."""
    state = generate_genesis_state_for_keys(account_keys)
    state[bytes.fromhex(READER[2:])] = get_default_account_state()
    EmbeddedChain.from_genesis(AtomicDB(store), get_default_genesis_params(), state)


def open_chain(store: Store) -> EmbeddedChain:
    try:
        return EmbeddedChain(AtomicDB(store))
    except (KeyError, ValidationError, PyEVMError, RLPException) as error:
        raise ChainError(f"the chain's head cannot be read: {error}") from error
