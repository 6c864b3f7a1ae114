"""Runs of one replication in both backends, as traces that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sim.components.library import LIBRARY
from sim.kernel.assembly import assemble
from sim.kernel.compiler import Kernel, kernel_of
from sim.kernel.interpreter import EVENTS_MAX, Act, Interpreter, trace_of
from sim.kernel.names import Names
from sim.kernel.world import Packed, World, pack, unpack
from sim.layout import Layout

TRACE = 60_000
Trace = list[tuple[float, int, int]]
Step = tuple[float, str, float | str]


@lru_cache(maxsize=1)
def library() -> Kernel:
    """The kernel of all shipped components."""
    return kernel_of(LIBRARY)


def acts_of(layout: Layout, steps: Sequence[Step]) -> list[Act]:
    names = Names(assemble(layout))
    return [names.act(at, name, value) for at, name, value in steps]


def compiled(
    layout: Layout, horizon: float, *, seed: int = 7, replication: int = 0, acts: Sequence[Act] = (), fresh: int = 1,
    state: Packed | None = None, kernel: Kernel | None = None,
) -> World:  # fmt: skip
    """The world at the horizon; its trace holds this run only."""
    kernel = kernel or library()
    types = LIBRARY if kernel is library() else None
    world = assemble(layout, seed=seed, trace=TRACE, types=types)
    packed = (state or pack(world.world)).copy()
    packed.column("traced")[0] = 0
    arrays = packed.plan.ctypes.data, packed.ints.ctypes.data, packed.floats.ctypes.data
    kernel.module.set_replication(*arrays, replication)
    kernel.module.begin(*arrays, fresh)
    acts = sorted(acts, key=lambda a: a.at)
    at = np.array([a.at for a in acts], np.float64)
    what = np.array([(a.kind, a.component, a.index) for a in acts], np.int64).reshape(-1, 3)
    value = np.array([a.value for a in acts], np.float64)
    none = np.empty((0, 2), np.int64)
    kernel.module.run(
        *arrays, horizon, EVENTS_MAX, at, what, value, np.empty(0), none, np.empty((0, 0), np.float32)
    )  # fmt: skip
    return unpack(packed)


def interpreted(
    layout: Layout, horizon: float, *, seed: int = 7, replication: int = 0, acts: Sequence[Act] = ()
) -> Interpreter:
    """The run on SimPy, at the horizon."""
    run = Interpreter(assemble(layout, seed=seed, trace=TRACE, types=LIBRARY), replication=replication, acts=acts)
    run.run(horizon)
    return run


__all__ = ["Trace", "acts_of", "compiled", "interpreted", "library", "trace_of"]
