"""Durable entries a second through the log's writer, against a bare loop of append, hash and fdatasync.

`value` is of callers that hand over a hundred entries at once, as audited points come; `single` of one call and one ticket
an entry, as transitions of commands come. The floor does in one thread what no such log can leave out: two hashes an entry
(RFC 6962: the leaf, and one node for each leaf), a write and a flush, of the same bytes in the very groups that the writer
made of them in the run before, so that a slow disk is slow for both; `one_hash` is the same without the nodes. Frames, CRCs,
the kept tree, and once a second a signature and tiles are in ours alone. Wall clock; `per_cpu_s` is by the time that all
threads together had the processor.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from ledger.bulk import Packed
from ledger.log import Log
from ledger.note import Checkpoint
from ledger.tickets import Ticket
from ledger.writer import LogWriter
from tests.bench import line

ENTRIES, SIZE, TOGETHER, TIMES, WAIT_S = 200_000, 200, 100, 5, 60.0
Rate = tuple[float, float]  # entries a second: of the wall clock, of processor time


class GroupSizes:
    """A log that remembers how many entries each flush took."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.sizes: list[int] = []

    @property
    def size(self) -> int:
        return self._log.size

    def append_packed(self, packed: Packed) -> range:
        self.sizes.append(len(packed))
        return self._log.append_packed(packed)

    def checkpoint(self) -> Checkpoint:
        return self._log.checkpoint()


def timed(work: Callable[[], object]) -> Rate:
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return ENTRIES / (time.perf_counter() - begun), ENTRIES / (time.process_time() - cpu)


def ours(folder: Path, submit: Callable[[LogWriter], Ticket[int] | Ticket[range]]) -> tuple[Rate, list[int]]:
    with Log.open(folder) as log:
        watched = GroupSizes(log)
        with LogWriter(watched) as writer:
            return timed(lambda: submit(writer).result(WAIT_S)), watched.sizes


def together(writer: LogWriter, payload: bytes) -> Ticket[range]:
    for _ in range(ENTRIES // TOGETHER):
        last = writer.submit_many([payload] * TOGETHER, WAIT_S)
    return last


def single(writer: LogWriter, payload: bytes) -> Ticket[int]:
    for _ in range(ENTRIES):
        last = writer.submit(payload, WAIT_S)
    return last


def floor(path: Path, payload: bytes, sizes: list[int], nodes: bool) -> Rate:
    pair = payload[:64]

    def work() -> None:
        for size in sizes:
            for _ in range(size):
                hashlib.sha256(b"\0" + payload).digest()
            for _ in range(size if nodes else 0):
                hashlib.sha256(b"\1" + pair).digest()
            os.write(descriptor, payload * size)
            os.fdatasync(descriptor)

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    found = timed(work)
    os.close(descriptor)
    return found


def main() -> None:
    payload = os.urandom(SIZE)
    found: dict[str, list[Rate]] = {"together": [], "floor": [], "one_hash": [], "single": []}
    groups: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(TIMES):
            rate, sizes = ours(Path(folder) / f"together{number}", lambda writer: together(writer, payload))
            groups += sizes
            found["together"].append(rate)
            found["floor"].append(floor(Path(folder) / f"floor{number}", payload, sizes, nodes=True))
            found["one_hash"].append(floor(Path(folder) / f"one{number}", payload, sizes, nodes=False))
            found["single"].append(ours(Path(folder) / f"single{number}", lambda writer: single(writer, payload))[0])
    wall = {name: round(median(one for one, _ in rates)) for name, rates in found.items()}
    cpu = {name: round(median(one for _, one in rates)) for name, rates in found.items()}
    detail = {
        "bytes": SIZE,
        "group": round(median(groups)),
        "single": wall["single"],
        "one_hash": wall["one_hash"],
        "per_cpu_s": cpu,
        "ratio_per_cpu_s": round(cpu["together"] / cpu["floor"], 3),
        "bars": "100,000 entries/s, ratio 0.6",
    }
    line("ledger_append", wall["together"], "entries/s", wall["floor"], detail)


if __name__ == "__main__":
    main()
