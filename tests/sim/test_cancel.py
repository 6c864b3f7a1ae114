"""A question that is cancelled stops in the middle of its replications, wherever they run; so does one that has failed."""

from __future__ import annotations

import threading

import pytest

from sim.kernel.faults import Fault
from sim.layout import Layout
from sim.runner import Cancelled, Runner
from sim.spec import Component, Constant, Hazard, Var, on
from sim.whatif import compare


class Busy(Component):
    """Ten million events in a second of the plant's: a replication of 10 h would take days."""

    count = Var(0)
    each = Constant(1e-7)
    tick = Hazard(each)

    @on(tick)
    def again(self) -> None:
        self.count += 1
        self.tick.start()


def busy() -> Layout:
    plant = Layout("busy", "s")
    plant.add(Busy, "B")
    return plant


@pytest.mark.parametrize("backend", ["kernel", "simpy"])
@pytest.mark.parametrize("workers", [0, 2, None])
def test_a_cancelled_question_ends_soon(backend: str, workers: int | None) -> None:
    cancel = threading.Event()
    runner = None if workers is None else Runner(workers)
    timer = threading.Timer(1.5, cancel.set)
    compare(busy(), [], horizon=1e-5, kpis=["B.count"], replications=1, backend=backend, runner=Runner(0))
    timer.start()
    with pytest.raises(Cancelled):
        compare(
            busy(), [], horizon="10h", kpis=["B.count"], replications=8, backend=backend, runner=runner, cancel=cancel,
            events_max=10**12,
        )  # fmt: skip
    if runner is not None:
        runner.close()


@pytest.mark.parametrize("backend", ["kernel", "simpy"])
def test_one_failed_replication_stops_the_others(backend: str) -> None:
    with pytest.raises(Fault, match="ran past the limit of 20,000 events"):
        compare(busy(), [], horizon="10h", kpis=["B.count"], replications=64, backend=backend, events_max=20_000)
