"""Opening a log of a million entries, every byte of it read and compared; against reading and hashing the bare entries.

`cpu_s` is the processor's time of it, `all_hashed_s` a start that has no `resume` and hashes every entry again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from ledger.files import RESUME
from ledger.log import Log
from tests.bench import line, seconds

ENTRIES, SIZE, BAR_S = 1_000_000, 200, 3.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "log"
        block = [os.urandom(SIZE) for _ in range(10_000)]
        with Log.open(directory) as log:
            for _ in range(ENTRIES // len(block)):
                log.append(block)
            log.checkpoint()

        def bare() -> None:
            data = (directory / "log").read_bytes()
            step = len(data) // ENTRIES
            for at in range(0, len(data), step):
                hashlib.sha256(data[at : at + step]).digest()

        def slow() -> None:
            (directory / RESUME).unlink()
            Log.open(directory).close()

        began_cpu = time.process_time()
        took_s = seconds(lambda: Log.open(directory).close())
        cpu_s = (time.process_time() - began_cpu) / 5
        detail: dict[str, object] = {
            "entries": ENTRIES,
            "bytes": SIZE,
            "cpu_s": round(cpu_s, 2),
            "all_hashed_s": round(seconds(slow, 3), 2),
            "bar_s": BAR_S,
        }
        line("ledger_restart", round(took_s, 2), "s", round(seconds(bare, 3), 2), detail)


if __name__ == "__main__":
    main()
