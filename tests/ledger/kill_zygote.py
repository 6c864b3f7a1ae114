"""Forks one appending process after the other, so that each begins without loading anything; they are killed outside.

For each line `DIRECTORY RUN` on stdin a child says `pid N`, then one line `INDEX NUMBER` for each acknowledged entry.
"""

from __future__ import annotations

import os
import sys

from ledger.bulk import FEW
from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.writer import LogWriter


def child(directory: str, run: str) -> None:
    """Append bursts, one by one or together, as fast as they are acknowledged, until killed; say each unbuffered."""
    os.write(1, b"pid %d\n" % os.getpid())
    with Log.open(directory) as log, LogWriter(log, checkpoint_every_s=0.003) as writer:
        number = 0
        while True:
            burst = range(number, number + 1 + number % 17)
            payloads = [encode(Entry("run", n, {"run": run, "pad": "x" * (n % 90)})) for n in burst]
            if len(burst) >= FEW:  # by machine code
                found = list(writer.submit_many(payloads).result())
            else:
                found = [ticket.result() for ticket in [writer.submit(payload) for payload in payloads]]
            os.write(1, b"".join(b"%d %d\n" % one for one in zip(found, burst, strict=True)))
            number = burst.stop


def main() -> None:
    for line in sys.stdin:
        directory, run = line.split()
        pid = os.fork()
        if pid == 0:
            child(directory, run)
        os.waitpid(pid, 0)
        os.write(1, b"end\n")


if __name__ == "__main__":
    main()
