"""The receipts of a chain as an SQLite table, beside what the chain's process keeps; must not know chains."""

from __future__ import annotations

import sqlite3

from ledger.receipts import Receipt

SCHEMA = """
CREATE TABLE IF NOT EXISTS receipt (
  number INTEGER PRIMARY KEY, size INTEGER NOT NULL, root TEXT NOT NULL, block INTEGER NOT NULL,
  block_time_s INTEGER NOT NULL, tx_hash TEXT NOT NULL, log_index INTEGER NOT NULL, gas_used INTEGER NOT NULL,
  chain_id INTEGER NOT NULL, contract TEXT NOT NULL
);
"""
_NAMES = ", ".join(Receipt.__dataclass_fields__)
_MARKS = ", ".join(f":{name}" for name in Receipt.__dataclass_fields__)


def add(db: sqlite3.Connection, receipt: Receipt) -> None:
    db.execute(f"INSERT INTO receipt ({_NAMES}) VALUES ({_MARKS})", vars(receipt))


def read(db: sqlite3.Connection, first: int, count: int) -> list[Receipt]:
    """At most `count` from number `first` on."""
    rows = db.execute(f"SELECT {_NAMES} FROM receipt WHERE number >= ? ORDER BY number LIMIT ?", (first, count))
    return [Receipt(*row) for row in rows]
