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
    assembly = assemble(layout, seed=seed, trace=TRACE, types=kernel.types)
    packed = (state or pack(assembly.world)).copy()
    packed.column("traced")[0] = 0
    none = np.empty((0, 2), np.int64)
    acts = sorted(acts, key=lambda a: a.at)
    arrays = (
        np.array([a.at for a in acts], np.float64),
        np.array([(a.kind, a.component, a.index) for a in acts], np.int64).reshape(-1, 3),
        np.array([a.value for a in acts], np.float64),
        np.empty(0), none, none, np.empty((1, 0, 0), np.float32), np.empty((1, 0)), np.empty((1, 4), np.int64), np.empty(1),
    )  # fmt: skip
    room = packed.copy()
    numbers = (0, 1, replication, fresh, horizon, EVENTS_MAX)
    kernel.replicate(room, packed.ints[None], packed.floats[None], numbers, arrays)
    return unpack(room)


def interpreted(
    layout: Layout, horizon: float, *, seed: int = 7, replication: int = 0, acts: Sequence[Act] = ()
) -> Interpreter:
    """The run on SimPy, at the horizon."""
    run = Interpreter(assemble(layout, seed=seed, trace=TRACE, types=LIBRARY), replication=replication, acts=acts)
    run.run(horizon)
    return run


__all__ = ["Trace", "acts_of", "compiled", "interpreted", "library", "trace_of"]
