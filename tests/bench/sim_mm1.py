"""Customers per second of a queue with one server, compiled on one thread, against SimPy written by hand, same run."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import simpy

from sim.components.line import Source
from sim.kernel.assembly import assemble
from sim.kernel.compiler import kernel_of
from sim.kernel.ensemble import Ask, pairs, replicate
from sim.kernel.names import Names
from sim.layout import Layout
from sim.spec import Buffer, Component, Exponential, Port, State, Timer, Var, on, when
from tests.bench import line, seconds

ARRIVALS, WAIT = 0.8, 4.0  # a minute; the mean wait that follows, rho / (mu - lambda)
HORIZON, REPLICATIONS = 50_000.0, 40
HAND_HORIZON = 50_000.0
BAR = 30.0


class Server(Component):
    """Serves one after another."""

    service = Exponential(1.0)
    queue = Port(Buffer)
    work = State("idle", "busy")
    served = Var(0)
    job = Timer(service)

    @when(lambda s: s.work == "idle" and s.queue.level >= 1)
    def begins(self) -> None:
        self.queue.take(1)
        self.work = "busy"
        self.job.start()

    @on(job)
    def done(self) -> None:
        self.served += 1
        self.work = "idle"


def queue() -> Layout:
    plant = Layout("mm1", "min")
    waiting = plant.buffer("waiting")
    plant.add(Source, "door", out=waiting, between=Exponential(1 / ARRIVALS))
    plant.add(Server, "server", queue=waiting)
    return plant


def by_hand(horizon: float) -> int:
    """The fastest usual way of writing it for SimPy: two processes and a store."""
    env, chance = simpy.Environment(), random.Random(1)
    waiting, served = simpy.Store(env), 0

    def door() -> Iterator[object]:
        while True:
            yield env.timeout(chance.expovariate(ARRIVALS))
            waiting.put(env.now)

    def server() -> Iterator[object]:
        nonlocal served
        while True:
            yield waiting.get()
            yield env.timeout(chance.expovariate(1.0))
            served += 1

    env.process(door())
    env.process(server())
    env.run(horizon)
    return served


def main() -> None:
    plant = queue()
    kernel = kernel_of(plant.types)
    assembly = assemble(plant, seed=1, types=kernel.types)
    names = Names(assembly)
    wanted = pairs([(r.kind, r.index) for r in (names.reading("server.served"), names.reading("waiting.mean"))])
    ask = Ask(HORIZON, wanted, np.empty(0), pairs([]))

    def ensemble(threads: int = 1) -> np.ndarray:  # type: ignore[type-arg]
        return replicate(kernel, assembly, ask, 0, REPLICATIONS, threads=threads).figures

    found = ensemble()
    served = float(found[:, 0].sum())
    rate = served / seconds(ensemble)
    peer = by_hand(HAND_HORIZON) / seconds(lambda: by_hand(HAND_HORIZON), 3)
    detail = {
        "bar": BAR, "customers": int(served), "wait_min": round(found[:, 1].mean() / HORIZON / ARRIVALS, 3), "theory_min": WAIT,
        "two_threads": round(served / seconds(lambda: ensemble(2))), "peer": "SimPy, store and server, by hand",
    }  # fmt: skip
    line("sim_mm1", round(rate), "customers/s", round(peer), detail)


if __name__ == "__main__":
    main()
