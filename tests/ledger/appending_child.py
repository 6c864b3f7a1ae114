"""Appends to a log until it is killed; prints the index and number of each acknowledged entry."""

from __future__ import annotations

import sys
from concurrent.futures import Future

from ledger.entry import Entry, encode
from ledger.log import Log
from ledger.writer import LogWriter


def main(directory: str, run: str) -> None:
    def say(done: Future[int]) -> None:
        sys.stdout.write(f"{done.result()} {done.number}\n")  # type: ignore[attr-defined]
        sys.stdout.flush()

    with Log.open(directory) as log:
        writer = LogWriter(log, checkpoint_every_s=0.01)
        number = 0
        while True:
            future = writer.submit(encode(Entry("run", number, {"run": run, "pad": "x" * (number % 700)})), wait_s=60)
            future.number = number  # type: ignore[attr-defined]
            future.add_done_callback(say)
            number += 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
