"""A chain that others run: our contracts behind a JSON-RPC node, with the same verbs as the embedded chain.

Must not know logs. Keeps, in CHAIN_DIR, the keys, the contracts' addresses, what was sent, and the receipts that are
deep enough: a transaction is written down before it is sent, so a crash or a time-out leaves nothing unknown for long.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eth_account import Account
from eth_utils.address import to_checksum_address

from ledger import receipt_table
from ledger.abi import Value, call_data, encode
from ledger.anchoring import ANCHOR_CALL, EVENT_BLOCKS_MAX, Event, Heard, Last, Mined, NodeSettings, check_follows
from ledger.chain_keys import ADMIN, WRITER, load_keys
from ledger.contracts import ANCHOR, load
from ledger.errors import AnchorConflict, AnchorReorganised, AnchorTimeout, ChainError, ContractMissing, ContractRefused
from ledger.files import NODE_FILE, lock
from ledger.node import Node, number
from ledger.node_anchors import check_identity, last_of, receipt_at
from ledger.receipts import Receipt

GAS = 1_000_000  # of a call, paid for only as far as it is used: an anchor takes 56 k
DEPLOY_GAS = 3_000_000
RECEIPTS_MAX = 1_000
POLL_S = 0.1  # a local node answers in a millisecond; a public chain makes a block every 2 to 12 s
REORG_MAX = 64  # anchors that a chain may take back before a person has to look
FEE_RISE = 1.25  # of a transaction that takes another's place; nodes ask for 1.1 at least
_GWEI = 10**9

_SCHEMA = (
    receipt_table.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS contract (name TEXT PRIMARY KEY, address TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
  tx_hash TEXT PRIMARY KEY, sender TEXT NOT NULL, nonce INTEGER NOT NULL, fee INTEGER NOT NULL, raw TEXT NOT NULL
) WITHOUT ROWID;
"""
)


class NodeChain:
    """One Anchor contract behind one node. For a single thread."""

    def __init__(self, directory: Path, settings: NodeSettings, undo: ExitStack) -> None:
        self.directory, self.settings = directory, settings
        undo.callback(os.close, lock(directory, "chain"))
        keys = load_keys(directory, create=True)
        self._admin, self._writer = (Account.from_key(keys[name]) for name in (ADMIN, WRITER))
        self._db = undo.enter_context(closing(sqlite3.connect(directory / NODE_FILE, isolation_level=None)))
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._node = undo.enter_context(Node(settings.rpc, min(settings.timeout_s, 30.0)))
        self._undo = undo
        if (found := self._node.chain_id()) != settings.chain_id:
            raise ChainError(
                f"{self._node.place} serves chain {found}, not {settings.chain_id}: name the node of the right chain"
            )
        address = settings.contract.lower() or self.address(ANCHOR) or self._deploy(ANCHOR)
        check_identity(self._node, settings.chain_id, address)
        self.contract: str = address
        self._settle()

    @classmethod
    def open(cls, directory: Path | str, settings: NodeSettings) -> Self:
        """
        Raises:
            ChainError: the node is away, refuses, or serves another chain or contract. AnchorTimeout.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            chain = cls(directory, settings, undo)
            chain._undo = undo.pop_all()
        return chain

    def anchor(self, previous_root: bytes, root: bytes, size: int) -> Receipt:
        """Record `root` at `size` after `previous_root`; on return as deep in the chain as the settings ask.

        Raises:
            AnchorReorganised: the chain took earlier anchors back. AnchorTimeout: not in a block, or not deep enough,
            in time; the next call settles it. AnchorConflict, ChainError.
        """
        if taken_back := self._settle():
            raise AnchorReorganised(
                f"{self._node.place} took {taken_back} anchors back: they are recorded anew with the next anchor"
            )
        last = self.last()
        if not (last.count and (root, size) == (last.root, last.size)):
            check_follows(self._node.place, last, previous_root, size)
            self._transact(self._writer, self.contract, call_data(ANCHOR, ANCHOR_CALL, previous_root, root, size))
        self._settle()
        newest = self._newest()
        if newest is None or (newest.size, newest.root_bytes()) != (size, root):
            raise AnchorTimeout(f"the anchor of size {size} is not deep enough in the chain yet: it is settled later")
        return newest

    def send(self, contract: str, signature: str, *values: Value) -> Mined:
        """As for the embedded chain: the contract is deployed with its first call."""
        data = call_data(contract, signature, *values)
        found = self._transact(self._writer, self.address(contract) or self._deploy(contract), data)
        block = self._node.ask("eth_getBlockByHash", found["blockHash"], False) or {}
        index = number(found["logs"][0]["logIndex"]) if found["logs"] else 0
        time_s = number(block.get("timestamp", "0x0"))
        return Mined(number(found["blockNumber"]), time_s, found["transactionHash"], index, number(found["gasUsed"]))

    def view(self, contract: str, signature: str, *values: Value) -> bytes:
        address = self.address(contract)
        if address is None:
            raise ContractMissing(f"{self.directory}: nothing was recorded in {contract} yet")
        return self._node.call(address, call_data(contract, signature, *values))

    def events(self, contract: str, event: str, from_block: int, confirmations: int) -> Heard:
        """As for the embedded chain."""
        end = min(self._node.block_number() - confirmations + 1, from_block + EVENT_BLOCKS_MAX - 1)
        address = self.address(contract)
        if end < from_block or address is None:
            return Heard((), max(from_block, end + 1))
        topics = [load(contract).topics[event]]
        asked = {"address": address, "fromBlock": hex(from_block), "toBlock": hex(end), "topics": topics}
        try:
            heard = [
                Event(
                    number(e["blockNumber"]), e["transactionHash"], number(e["logIndex"]), tuple(e["topics"]), e["data"]
                )
                for e in self._node.ask("eth_getLogs", asked)
            ]
        except (KeyError, TypeError) as error:
            raise ChainError(f"{self._node.place} answered no events: {error!r}") from error
        return Heard(tuple(sorted(heard, key=lambda e: (e.block, e.log_index))), end + 1)

    def address(self, contract: str) -> str | None:
        if contract == ANCHOR and self.settings.contract:
            return self.settings.contract.lower()
        row = self._db.execute("SELECT address FROM contract WHERE name = ?", (contract,)).fetchone()
        return None if row is None else str(row[0])

    def writer(self) -> str:
        return str(self._writer.address).lower()

    def last(self) -> Last:
        return last_of(self._node, self.contract)

    def receipts(self, first: int = 0) -> list[Receipt]:
        return receipt_table.read(self._db, first, RECEIPTS_MAX)

    def close(self) -> None:
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- receipts ----------------------------------------------------------------------------------------------------

    def _newest(self) -> Receipt | None:
        row = self._db.execute("SELECT max(number) FROM receipt").fetchone()
        return None if row[0] is None else self.receipts(row[0])[0]

    def _settle(self) -> int:
        """Drop the receipts that the chain took back, keep those that it has beyond ours; returns how many went."""
        dropped = 0
        while (newest := self._newest()) is not None:
            if self._seen(newest.number, max(0, newest.block - REORG_MAX)) == newest:
                break
            dropped += 1
            if dropped > REORG_MAX or newest.number == 0:
                raise AnchorConflict(
                    f"{self._node.place}: none of the last {dropped} anchors is on the chain any more: "
                    "is this the chain and the contract of this log?"
                )
            self._db.execute("DELETE FROM receipt WHERE number = ?", (newest.number,))
        first, begin = (0, 0) if newest is None else (newest.number + 1, newest.block)
        deep = self._node.block_number() - self.settings.confirmations + 1
        for at in range(first, self.last().count):
            found = self._seen(at, begin)
            if found is None or found.block > deep:
                break
            receipt_table.add(self._db, found)
        return dropped

    def _seen(self, at: int, from_block: int) -> Receipt | None:
        return receipt_at(self._node, self.settings.chain_id, self.contract, at, from_block)

    # --- transactions ------------------------------------------------------------------------------------------------

    def _deploy(self, contract: str) -> str:
        code = load(contract).bytecode + encode(("address",), (self._writer.address,))
        address = str(self._transact(self._admin, None, code)["contractAddress"]).lower()
        self._db.execute("INSERT INTO contract VALUES (?, ?)", (contract, address))
        return address

    def _transact(self, account: Any, to: str | None, data: bytes) -> dict[str, Any]:
        """Send, wait until it is deep enough, and answer its receipt.

        Raises:
            ChainError: it was reverted or refused. AnchorTimeout: it is not deep enough in time; it may be later.
        """
        sender = str(account.address)
        nonce = number(self._node.ask("eth_getTransactionCount", sender, "latest"))
        call: dict[str, Any] = {"from": sender, "data": "0x" + data.hex(), **({} if to is None else {"to": to})}
        self._node.ask("eth_call", call, "latest")  # refuses with the contract's reason, and costs nothing
        raw, tx_hash = self._signed(account, to, data, nonce)
        try:
            self._node.ask("eth_sendRawTransaction", raw)
        except ChainError as error:
            known = ("known", "already imported", "nonce too low", "underpriced")  # one of ours is there: wait for it
            if not any(word in str(error).lower() for word in known):
                raise
        mined = self._awaited(sender, nonce, tx_hash)
        if mined["status"] != "0x1":
            raise ContractRefused(f"{self._node.place}: transaction {mined['transactionHash']} was reverted")
        if mined["transactionHash"] != tx_hash:
            raise AnchorTimeout(f"transaction {mined['transactionHash']}, sent earlier, came first: ask again")
        return mined

    def _signed(self, account: Any, to: str | None, data: bytes, nonce: int) -> tuple[str, str]:
        """The transaction, written down; dearer than one with the same nonce that is on its way."""
        base = self._node.ask("eth_getBlockByNumber", "latest", False).get("baseFeePerGas")
        row = self._db.execute(
            "SELECT max(fee) FROM sent WHERE sender = ? AND nonce = ?", (str(account.address), nonce)
        ).fetchone()
        least = int(row[0] * FEE_RISE) + 1 if row[0] is not None else 0
        fields: dict[str, Any] = {
            "chainId": self.settings.chain_id, "nonce": nonce, "gas": GAS if to else DEPLOY_GAS, "value": 0,
            "data": "0x" + data.hex(), **({} if to is None else {"to": to_checksum_address(to)}),
        }  # fmt: skip
        if base is None:
            fee = max(least, number(self._node.ask("eth_gasPrice")))
            fields["gasPrice"] = fee
        else:
            fee = max(least, 2 * number(base) + _GWEI)
            fields |= {"maxFeePerGas": fee, "maxPriorityFeePerGas": min(fee, max(_GWEI, least // 2)), "type": 2}
        signed = account.sign_transaction(fields)
        raw, tx_hash = "0x" + signed.raw_transaction.hex(), "0x" + signed.hash.hex()
        self._db.execute("INSERT INTO sent VALUES (?, ?, ?, ?, ?)", (tx_hash, str(account.address), nonce, fee, raw))
        return raw, tx_hash

    def _awaited(self, sender: str, nonce: int, tx_hash: str) -> dict[str, Any]:
        """The receipt of whichever of our transactions with this nonce came, once it is deep enough."""
        end = time.monotonic() + self.settings.timeout_s
        rows = self._db.execute("SELECT tx_hash FROM sent WHERE sender = ? AND nonce = ?", (sender, nonce)).fetchall()
        while True:
            found = self._node.ask_all([("eth_getTransactionReceipt", [row[0]]) for row in rows])
            mined: dict[str, Any] | None = next((one for one in found if one is not None), None)
            if mined is not None:
                depth = self._node.block_number() - number(mined["blockNumber"]) + 1
                if depth >= self.settings.confirmations:
                    self._db.execute("DELETE FROM sent WHERE sender = ? AND nonce <= ?", (sender, nonce))
                    return mined
            if time.monotonic() > end:
                where = f"{depth} blocks deep" if mined is not None else "in no block"
                raise AnchorTimeout(
                    f"{self._node.place}: transaction {tx_hash} is {where} after {self.settings.timeout_s:g} s, "
                    f"{self.settings.confirmations} are asked for; it is settled with the next anchor"
                )
            time.sleep(POLL_S)
