"""Seconds until a user's own new component type is compiled in a new process, while SimPy answers; then from the cache."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

from sim.backend import ready
from sim.layout import Layout
from sim.runner import Runner
from sim.spec import (
    Buffer,
    Component,
    Exponential,
    Hazard,
    Items,
    Param,
    Port,
    Resource,
    State,
    Timer,
    Uniform,
    Var,
    Weibull,
    command,
    on,
    when,
)
from sim.whatif import compare
from tests.bench import line

BAR_S, CACHED_BAR_S = 20.0, 1.0
TIMES, PAIRS = 3, 16


def warmed(age: float, gain: float) -> float:
    """How much faster an oven is that has run for a while."""
    return 1.0 + gain * (1.0 - math.exp(-age / 30.0))


class Oven(Component):
    """What a user might write: a batch oven with doors, wear, a queue of due times and somebody who loads it."""

    bake, wear, mend, load = Weibull(12.0, 3.0), Exponential(200.0), Uniform(5.0, 15.0), Uniform(0.5, 1.5)
    inp, out, hand = Port(Buffer), Port(Buffer), Port(Resource, optional=True)
    size, gain, patience = Param(6), Param(0.3), Param(40.0)
    door, health = State("open", "closed", "waiting"), State("up", "down")
    begun, late, baked = Var(0), Var(0), Var(0)
    due = Items(64)
    loading, job = Timer(load), Timer(while_=health.up)
    fail = Hazard(wear, while_=door.closed)
    fix = Timer(mend)

    @when(lambda o: o.door == "waiting" and o.out.space >= o.size)
    def unload(self) -> None:
        for _ in range(int(self.size)):
            if self.due.pop() < self.now:
                self.late += 1
        self.out.put(self.size)
        self.baked += self.size
        self.door = "open"

    @when(lambda o: o.door == "open" and o.inp.level >= o.size and not o.loading.running)
    def begins(self) -> None:
        self.inp.take(self.size)
        self.loading.start()

    @on(loading)
    def closes(self) -> None:
        for _ in range(int(self.size)):
            self.due.push(self.now + self.patience)
        self.door = "closed"
        self.begun = self.now
        self.job.start(self.bake.draw() / warmed(self.now, self.gain))

    @on(job)
    def done(self) -> None:
        self.door = "waiting"

    @on(fail)
    def breaks(self) -> None:
        self.health = "down"
        if self.hand.connected:
            self.hand.request()
        else:
            self.fix.start()

    @on(hand)
    def repairs(self) -> None:
        self.fix.start()

    @on(fix)
    def fixed(self) -> None:
        self.health = "up"
        if self.hand.connected:
            self.hand.release()
        self.fail.start()

    @command
    def open_wide(self) -> None:
        self.size = 12


def bakery() -> Layout:
    plant = Layout("bakery", "min")
    plant.add(
        Oven, "oven", inp=plant.buffer("dough", level=1e9), out=plant.buffer("bread"), hand=plant.resource("hand", 1)
    )
    return plant


def child() -> None:
    """In a process of its own: what a script asks first, answered by SimPy, until the kernel is there."""
    plant, runner = bakery(), Runner(0)
    begun = time.perf_counter()
    first = compare(plant, ["oven.size=12"], horizon="8h", kpis=["bread"], replications=PAIRS, runner=runner)
    answered_s = time.perf_counter() - begun
    while ready(plant) is None:
        time.sleep(0.002)
    print(
        json.dumps(
            {"answered_s": answered_s, "ready_s": time.perf_counter() - begun, "simpy": first.backend != "kernel"}
        )
    )


def new_process(folder: str) -> dict[str, float]:
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", "from tests.bench.sim_cold import child; child()"], env={**os.environ, "TWINLOOP_KERNELS": folder},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return {**found, "process_s": time.perf_counter() - begun}


def main() -> None:
    cold, cached = [], []
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(new_process(folder))
            cached.append(new_process(folder))
    of = {key: round(median(c[key] for c in cold), 3) for key in cold[0]}
    after = {key: round(median(c[key] for c in cached), 3) for key in cached[0]}
    detail = {
        "simpy_answered_s": of["answered_s"], "by_simpy": all(c["simpy"] for c in cold), "pairs": PAIRS,
        "process_s": of["process_s"], "cached_ready_s": after["ready_s"], "cached_bar_s": CACHED_BAR_S,
        "cached_answered_s": after["answered_s"], "cached_process_s": after["process_s"], "runs": TIMES,
    }  # fmt: skip
    line("sim_cold", of["ready_s"], "s", BAR_S, detail)


if __name__ == "__main__":
    main()
