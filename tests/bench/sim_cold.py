"""Seconds until a user's own new component type is compiled in a new process, while SimPy answers; then from the cache."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from statistics import median

from sim.kernel.assembly import assemble
from sim.kernel.ensemble import warm
from sim.kernel.interpreter import Interpreter
from sim.layout import Layout
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
from tests.bench import line

BAR_S, CACHED_BAR_S = 20.0, 1.0
TIMES = 3


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
    """In a process of its own: the kernel in a thread, and meanwhile one replication on SimPy."""
    plant, ready = bakery(), [0.0]
    begun = time.perf_counter()

    def compile_() -> None:
        ready[0] = warm(plant.types).ready_s

    thread = threading.Thread(target=compile_)
    thread.start()
    Interpreter(assemble(plant)).run(480.0)
    answered = time.perf_counter() - begun
    thread.join()
    print(json.dumps({"answered_s": answered, "ready_s": time.perf_counter() - begun, "kernel_s": ready[0]}))


def new_process(folder: str) -> dict[str, float]:
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.sim_cold", "child"], env={**os.environ, "TWINLOOP_KERNELS": folder},
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
        "simpy_first_answer_s": of["answered_s"], "process_s": of["process_s"], "cached_ready_s": after["kernel_s"],
        "cached_bar_s": CACHED_BAR_S, "cached_process_s": after["process_s"], "runs": TIMES,
    }  # fmt: skip
    line("sim_cold", of["ready_s"], "s", BAR_S, detail)


if __name__ == "__main__":
    child() if sys.argv[1:] == ["child"] else main()
