"""Holds a log against what its embedded chain keeps of anchors, read as a file: a start has no time for an EVM.

The chain's own state is asked when it runs, and by the verifier. Must not write.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ledger import receipt_table, sqlite_read
from ledger.errors import LogDamaged
from ledger.files import ANCHORS, CHAIN_FILE
from ledger.log import Log
from ledger.receipts import Receipt, read_receipts

COMPARED = 10_000  # the newest: a day of anchors every 10 s
_RESTORE = "restore both from one copy"


def compare(log: Log, chain_dir: Path) -> None:
    """
    Raises:
        LogDamaged: chain, receipts and log are not of one history; the message names the anchor.
    """
    ours = read_receipts(log.directory)[0]
    theirs = _kept(chain_dir / CHAIN_FILE, len(ours))
    for receipt in theirs:
        if receipt.size > log.size or log.root(receipt.size) != receipt.root_bytes():
            raise LogDamaged(
                f"{chain_dir}: the chain has another root at size {receipt.size} (anchor {receipt.number}) than this log "
                f"of {log.size} entries: restore the log that belongs to this chain"
            )
    known = {receipt.number: receipt for receipt in theirs}
    for receipt in ours[-COMPARED:]:
        if receipt.number not in known:
            raise LogDamaged(
                f"{chain_dir}: the chain does not have anchor {receipt.number} (size {receipt.size}) of "
                f"{log.directory / ANCHORS}: {_RESTORE}"
            )
        if known[receipt.number] != receipt:
            raise LogDamaged(
                f"{chain_dir}: the chain has another anchor {receipt.number} than {log.directory / ANCHORS}: {_RESTORE}"
            )


def _kept(path: Path, count: int) -> list[Receipt]:
    """From the first that is compared on."""
    if not path.exists():
        return []
    try:
        with closing(sqlite_read.connect(path)) as db:
            return receipt_table.read(db, max(0, count - COMPARED), 2 * COMPARED)
    except sqlite3.Error as error:
        raise LogDamaged(f"{path} cannot be read ({error}): restore it from a copy") from error
