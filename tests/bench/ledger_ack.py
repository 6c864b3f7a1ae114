"""How long a caller waits until its entry is durable, at 10,000 entries a second; against bare flushes of the same run.

Ten entries are offered every millisecond, each with a ticket of its own; another thread waits for them in order. `value` is
the 99th percentile in milliseconds, `limit` that of a bare write and fdatasync of a hundred entries every ten milliseconds,
before and after. Who comes while a flush is on its way waits for its rest and for the next one: a ratio of two is what
group commit costs. `flush_ms` is what the disk took under the log, `late_ms` how late the machine let entries be offered.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from queue import SimpleQueue

from ledger.bulk import Packed
from ledger.log import Log
from ledger.tickets import Ticket
from ledger.writer import LogWriter
from tests.bench import line

RATE, SECONDS, SIZE, BAR_MS, WAIT_S = 10_000, 6, 200, 20, 60.0
STEP_S, GROUP = 0.001, 100
Offered = tuple[Ticket[int], float]


class TimedLog:
    """A log whose flushes are timed."""

    def __init__(self, log: Log) -> None:
        self.flush_ms: list[float] = []
        self.size, self.checkpoint = log.size, log.checkpoint
        self._log = log

    def append_packed(self, packed: Packed) -> range:
        begun = time.perf_counter()
        indexes = self._log.append_packed(packed)
        self.flush_ms.append((time.perf_counter() - begun) * 1e3)
        return indexes


def percentile(values: list[float], share: float) -> float:
    return round(sorted(values)[int(len(values) * share)], 2)


def waited(offered: SimpleQueue[Offered | None], found: list[float]) -> None:
    while (one := offered.get()) is not None:
        ticket, since = one
        ticket.result(WAIT_S)
        found.append((time.perf_counter() - since) * 1e3)


def waits_ms(folder: Path, payload: bytes) -> tuple[list[float], list[float], list[float]]:
    """Of each entry, of each flush, and how late each step was."""
    offered: SimpleQueue[Offered | None] = SimpleQueue()
    found: list[float] = []
    late: list[float] = []
    waiting = threading.Thread(target=waited, args=(offered, found))
    with Log.open(folder) as log:
        timed = TimedLog(log)
        with LogWriter(timed) as writer:
            waiting.start()
            begun = time.perf_counter()
            for step in range(int(SECONDS / STEP_S)):
                due = begun + step * STEP_S
                time.sleep(max(0.0, due - time.perf_counter()))
                late.append((time.perf_counter() - due) * 1e3)
                for _ in range(int(RATE * STEP_S)):
                    since = time.perf_counter()
                    offered.put((writer.submit(payload, WAIT_S), since))
            offered.put(None)
            waiting.join()
    return found, timed.flush_ms, late


def floor_ms(path: Path, payload: bytes) -> list[float]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    found = []
    begun = time.perf_counter()
    for step in range(SECONDS * RATE // GROUP // 2):
        time.sleep(max(0.0, begun + step * GROUP / RATE - time.perf_counter()))
        since = time.perf_counter()
        os.write(descriptor, payload * GROUP)
        os.fdatasync(descriptor)
        found.append((time.perf_counter() - since) * 1e3)
    os.close(descriptor)
    return found


def main() -> None:
    payload = os.urandom(SIZE)
    with tempfile.TemporaryDirectory() as folder:
        bare = floor_ms(Path(folder) / "before", payload)
        found, flushes, late = waits_ms(Path(folder) / "log", payload)
        bare += floor_ms(Path(folder) / "after", payload)
    detail: dict[str, object] = {"rate": RATE, "entries": len(found), "bar_ms": BAR_MS, "groups": len(flushes)}
    for name, values in {"wait": found, "flush": flushes, "late": late, "bare": bare}.items():
        detail[f"{name}_ms"] = {
            "p50": percentile(values, 0.5),
            "p99": percentile(values, 0.99),
            "max": round(max(values), 1),
        }
    line("ledger_ack", percentile(found, 0.99), "ms", percentile(bare, 0.99), detail)


if __name__ == "__main__":
    main()
