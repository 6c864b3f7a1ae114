"""Durable entries a second through the log's writer, against bare append + hash + fdatasync in batches of a thousand."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from ledger.log import Log
from ledger.writer import LogWriter
from tests.bench import line

ENTRIES, SIZE, BATCH = 100_000, 200, 1_000


def ours(folder: Path, payload: bytes) -> float:
    with Log.open(folder / "log") as log, LogWriter(log, queue_max=ENTRIES) as writer:
        begun = time.perf_counter()
        futures = [writer.submit(payload, 60) for _ in range(ENTRIES)]
        futures[-1].result(60)
        return ENTRIES / (time.perf_counter() - begun)


def floor(folder: Path, payload: bytes) -> float:
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    begun = time.perf_counter()
    for _ in range(ENTRIES // BATCH):
        for _ in range(BATCH):
            hashlib.sha256(b"\0" + payload).digest()
        os.write(descriptor, payload * BATCH)
        os.fdatasync(descriptor)
    took_s = time.perf_counter() - begun
    os.close(descriptor)
    return ENTRIES / took_s


def main() -> None:
    payload = os.urandom(SIZE)
    with tempfile.TemporaryDirectory() as folder:
        peer = floor(Path(folder), payload)
        line(
            "ledger_append",
            round(ours(Path(folder), payload)),
            "entries/s",
            round(peer),
            {"bytes": SIZE, "batch": BATCH},
        )


if __name__ == "__main__":
    main()
