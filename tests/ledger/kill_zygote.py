"""Forks one appending process after the other, so that each begins without loading anything; they are killed outside.

For each line `DIRECTORY RUN` on stdin a child says `pid N`, then one line `INDEX NUMBER` for each acknowledged entry.
"""

from __future__ import annotations

import os
import sys

from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.writer import LogWriter


def child(directory: str, run: str) -> None:
    """Append small bursts, as fast as they are acknowledged, until killed; say each acknowledgement unbuffered."""
    os.write(1, b"pid %d\n" % os.getpid())
    with Log.open(directory) as log, LogWriter(log, checkpoint_every_s=0.003) as writer:
        number = 0
        while True:
            burst = range(number, number + 1 + number % 7)
            tickets = [(n, writer.submit(encode(Entry("run", n, {"run": run, "pad": "x" * (n % 90)})))) for n in burst]
            os.write(1, b"".join(b"%d %d\n" % (ticket.result(), n) for n, ticket in tickets))
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
