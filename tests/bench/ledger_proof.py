"""An inclusion proof of an open log of a million entries: its bytes, and the time to verify it against twenty bare hashes.

`make_us` is what the log takes to make one: it reads sixteen entries from its file and hashes them again. All by the time
that the processor took, for nothing here waits.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median

from ledger.log import Log
from ledger.merkle import leaf_hash, verify_inclusion
from tests.bench import line

ENTRIES, PROOFS, BYTES_MAX, BAR_US = 1_000_000, 1_000, 700, 100


def each_us(work: Callable[[], object]) -> float:
    took = []
    for _ in range(5):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return round(median(took) / PROOFS * 1e6, 1)


def main() -> None:
    chosen = random.Random(1).sample(range(ENTRIES), PROOFS)
    with tempfile.TemporaryDirectory() as folder:
        with Log.open(Path(folder)) as log:
            for start in range(0, ENTRIES, 10_000):
                log.append([b"entry %d" % number for number in range(start, start + 10_000)])
            log.checkpoint()
        tracemalloc.start()
        with Log.open(Path(folder)) as log:
            memory = tracemalloc.get_traced_memory()[0] / ENTRIES
            tracemalloc.stop()
            root = log.root()
            make_us = each_us(lambda: [log.inclusion_proof(index, ENTRIES) for index in chosen])
            made = [(leaf_hash(log.read(index)), index, log.inclusion_proof(index, ENTRIES)) for index in chosen]
    largest = max(sum(map(len, proof)) for _, _, proof in made)
    assert all(verify_inclusion(leaf, index, ENTRIES, proof, root) for leaf, index, proof in made)
    assert largest <= BYTES_MAX

    def verify() -> None:
        for leaf, index, proof in made:
            verify_inclusion(leaf, index, ENTRIES, proof, root)

    def bare() -> None:
        for leaf, _, proof in made:
            for step in proof:
                hashlib.sha256(b"\1" + step + leaf).digest()

    detail: dict[str, object] = {
        "entries": ENTRIES,
        "proof_bytes": largest,
        "make_us": make_us,
        "memory_bytes_an_entry": round(memory, 1),
        "bar_us": BAR_US,
    }
    line("ledger_proof", each_us(verify), "us", each_us(bare), detail)


if __name__ == "__main__":
    main()
