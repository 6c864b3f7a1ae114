"""The names in a log's directory, and writing a file so that a crash leaves the old or the new one whole.

Must not know what the files say.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from ledger.errors import LogLocked

LOG = "log"
CHECKPOINT = "checkpoint"
KEY = "key"
PUBLIC_KEY = "key.pub"
ANCHORS = "anchors.jsonl"
VOID_ANCHORS = "anchors-void.jsonl"  # receipts that a chain took back
LOCK = "lock"
CHAIN = "chain"
CHAIN_FILE = "chain.sqlite"  # in CHAIN, the embedded one
NODE_FILE = "node.sqlite"  # in CHAIN, where others run the chain
TILES = "tile"
WITNESSES = "witnesses"  # who is asked for cosignatures
WITNESSED = "checkpoint.witnessed"  # the newest cosigned checkpoint
RESUME = "resume"  # makes the next start quick; no evidence
RESUME_NOTE = "resume.note"
WITNESS_KEY = "witness.pub"

LOCK_WAIT_S = 2.0  # a reader holds the lock for microseconds; a process that is ending, for less than this


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` durably and in one step."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_directory(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """`os.write` until every byte is taken."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(directory: Path, what: str) -> int:
    """Take the directory for writing: a descriptor that holds the lock until it is closed. Raises LogLocked."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    give_up_at = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < give_up_at:
                time.sleep(0.02)
                continue
            os.close(descriptor)
            raise LogLocked(
                f"{directory}: another process has this {what} open for writing; stop it, or use another directory"
            ) from error
        return descriptor


def is_locked(directory: Path) -> bool:
    """Whether a writer has the directory open now."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
