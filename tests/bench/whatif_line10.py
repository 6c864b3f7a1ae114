"""Seconds of a what-if of LINE10 (1,000 pairs, 8 h, from the specification, warm, two threads) against SimPy by hand.

LINE10: ten machines in a row, times to work, fail and repair exponential (1, 60, 8 min), buffers of 10, a crew of 2.
The peer is the model as one writes it in SimPy, serial, timed over some replications and counted up to all 2,000.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from statistics import mean
from typing import Any

import simpy

from sim.components.line import Machine
from sim.layout import Layout
from sim.whatif import Result, Runner, Scenario, compare
from tests.bench import line, seconds

PAIRS, THREADS, BY_HAND = 1000, 2, 60
LIMIT_S, BAR = 0.5, 80.0
MACHINES, PLACES, CREW, HORIZON_MIN = 10, 10, 2, 480.0
WORK_MIN, FAILS_MIN, REPAIR_MIN = 1.0, 60.0, 8.0


def line10() -> Layout:
    """LINE10 of the specification."""
    layout = Layout("line10", "min")
    crew = layout.resource("crew", CREW)
    buffers = [layout.buffer(f"B{i}", PLACES) for i in range(1, MACHINES)]
    buffers = [layout.buffer("supply", level=1e15), *buffers, layout.buffer("parts")]
    for i in range(MACHINES):
        layout.add(Machine, f"M{i + 1}", inp=buffers[i], out=buffers[i + 1], crew=crew)
    return layout


class ByHand:
    """LINE10 as one writes it in SimPy."""

    def __init__(self, seed: int, crew: int) -> None:
        self.env = simpy.Environment()
        self.chance = random.Random(seed)
        self.crew = simpy.Resource(self.env, crew)
        stores = [simpy.Container(self.env, PLACES) for _ in range(MACHINES - 1)]
        self.parts = 0
        for i in range(MACHINES):
            inp = stores[i - 1] if i else None
            out = stores[i] if i < MACHINES - 1 else None
            worker = self.env.process(self.works(inp, out))
            self.env.process(self.breaks(worker))
        self.env.run(HORIZON_MIN)

    def works(self, inp: simpy.Container | None, out: simpy.Container | None) -> Iterator[Any]:
        env, up = self.env, True
        while True:
            for store, verb in ((inp, "get"), (None, "work"), (out, "put")):
                left = self.chance.expovariate(1 / WORK_MIN) if verb == "work" else 0.0
                event = getattr(store, verb)(1) if store is not None else None
                while event is not None or left > 0 or not up:
                    begun = env.now
                    try:
                        if not up:
                            yield env.event()
                        elif event is not None:
                            yield event
                            event = None
                        else:
                            yield env.timeout(left)
                            left = 0.0
                    except simpy.Interrupt as cause:
                        if up and event is None:
                            left -= env.now - begun
                        up = bool(cause.cause)
                        if event is not None and event.triggered:
                            event = None
                if verb == "put" and out is None:
                    self.parts += 1

    def breaks(self, worker: simpy.Process) -> Iterator[Any]:
        while True:
            yield self.env.timeout(self.chance.expovariate(1 / FAILS_MIN))
            worker.interrupt(False)
            with self.crew.request() as request:
                yield request
                yield self.env.timeout(self.chance.expovariate(1 / REPAIR_MIN))
            worker.interrupt(True)


def main() -> None:
    layout, crew = line10(), Scenario("crew +1").add("crew.capacity", 1)
    runner = Runner(THREADS)
    found: list[Result] = []

    def ask() -> None:
        found.append(
            compare(
                layout, [crew], horizon="8h", kpis=["parts"], replications=PAIRS, runner=runner, backend="kernel",
                seed=len(found),
            )
        )  # fmt: skip

    ask()
    spent = time.process_time()
    value = seconds(ask)
    cpu_s = (time.process_time() - spent) / (len(found) - 1)
    begun, spent = time.perf_counter(), time.process_time()
    parts = [ByHand(seed, CREW + seed % 2).parts for seed in range(BY_HAND)]
    by_hand = (time.perf_counter() - begun) / BY_HAND * 2 * PAIRS
    cpu_by_hand = (time.process_time() - spent) / BY_HAND * 2 * PAIRS
    runner.close()
    gain = found[-1].scenarios[0].differences["parts"]
    detail = {
        "times_faster": round(by_hand / value, 1), "bar_times": BAR, "bar_s": LIMIT_S, "pairs": PAIRS,
        "times_less_cpu": round(cpu_by_hand / cpu_s, 1), "cpu_s": round(cpu_s, 3),
        "threads": THREADS, "parts": round(found[-1].baseline.kpis["parts"].mean, 2),
        "parts_by_hand": round(mean(parts[::2]), 2), "gain": round(gain.mean, 2), "half_width": round(gain.half_width, 2),
        "ms_a_replication_by_hand": round(by_hand / 2, 2),
    }  # fmt: skip
    line("whatif_line10", round(value, 3), "s", round(by_hand, 2), detail)


if __name__ == "__main__":
    main()
