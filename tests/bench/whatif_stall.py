"""Longest wait of an event loop, in ms, while a what-if of LINE10 runs on threads of its process (bar: 10 ms).

The floor is the same wait beside as many threads of C code that never take the interpreter's lock: what is above it is
the lock, what is below it is the machine's scheduler.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

from sim.whatif import Runner, Scenario, compare
from tests.bench import line
from tests.bench.whatif_line10 import line10

BAR_MS, THREADS, ROUNDS, PAIRS = 10.0, 2, 3, 3000
BEAT_S = 0.001
HASHES = 2_000_000  # some 1 s of C code


async def waits_ms(work: Callable[[], Awaitable[object]]) -> list[float]:
    """How much later than asked each beat came, sorted, while the work was done."""
    late: list[float] = []
    task = asyncio.ensure_future(work())
    while not task.done():
        begun = time.perf_counter()
        await asyncio.sleep(BEAT_S)
        late.append((time.perf_counter() - begun - BEAT_S) * 1e3)
    await task
    return sorted(late)


async def measured() -> tuple[list[float], list[float]]:
    runner = Runner(THREADS)
    crew = Scenario("crew +1").add("crew.capacity", 1)

    def ask(pairs: int) -> None:
        compare(
            line10(), [crew], horizon="8h", kpis=["parts"], follow=["B5.level"], replications=pairs, runner=runner,
            backend="kernel",
        )  # fmt: skip

    def hashes() -> None:
        hashlib.pbkdf2_hmac("sha256", b"line", b"10", HASHES)

    ask(10)
    found: list[float] = []
    floor: list[float] = []
    for _ in range(ROUNDS):
        found += await waits_ms(lambda: asyncio.to_thread(ask, PAIRS))
        floor += await waits_ms(lambda: asyncio.gather(*(asyncio.to_thread(hashes) for _ in range(THREADS))))
    runner.close()
    return sorted(found), sorted(floor)


def main() -> None:
    found, floor = asyncio.run(measured())
    share = {f"p{p:g}": [round(x[int(len(x) * p / 100)], 2) for x in (found, floor)] for p in (50, 99, 99.9)}
    line(
        "whatif_stall", round(found[-1], 1), "ms", round(floor[-1], 1), {"bar_ms": BAR_MS, "beats": len(found), **share}
    )


if __name__ == "__main__":
    main()
