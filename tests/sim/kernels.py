"""Runs of one replication in both backends, as traces that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.components.library import LIBRARY
from sim.kernel.assembly import assemble
from sim.kernel.compiler import Kernel, kernel_of
from sim.kernel.faults import Fault, fault_of
from sim.kernel.interpreter import EVENTS_MAX, Act, Interpreter, trace_of
from sim.kernel.names import Names
from sim.kernel.watch import Seen, Watch
from sim.kernel.world import Packed, World, pack, unpack
from sim.layout import Layout
from sim.spec import ComponentType

TRACE = 60_000
Trace = list[tuple[float, int, int]]
Types = tuple[ComponentType, ...]
Step = tuple[float, str, float | str]


def library(types: Types = LIBRARY) -> Kernel:
    """The kernel of all shipped components, or of those."""
    return kernel_of(types)


def acts_of(layout: Layout, steps: Sequence[Step]) -> list[Act]:
    names = Names(assemble(layout))
    return [names.act(at, name, value) for at, name, value in steps]


def compiled(
    layout: Layout, horizon: float, *, seed: int = 7, replication: int = 0, acts: Sequence[Act] = (), fresh: int = 1,
    state: Packed | None = None, types: Types = LIBRARY, events_max: int = EVENTS_MAX,
) -> World:  # fmt: skip
    """The world at the horizon; its trace holds this run only."""
    kernel = library(types)
    assembly = assemble(layout, seed=seed, trace=TRACE, types=kernel.types)
    packed = (state or pack(assembly.world)).copy()
    packed.column("traced")[0] = 0
    none = np.empty((0, 2), np.int64)
    acts = sorted(acts, key=lambda a: a.at)
    arrays = (
        np.array([a.at for a in acts], np.float64),
        np.array([(a.kind, a.component, a.index) for a in acts], np.int64).reshape(-1, 3),
        np.array([a.value for a in acts], np.float64),
        np.empty(0), none, none, np.empty((1, 0, 0), np.float32),
        *Seen.nothing(Watch(), 1).arrays, np.empty((1, 0)), np.empty((1, 4), np.int64), np.empty(1),
    )  # fmt: skip
    room = packed.copy()
    numbers = (0, 1, replication, fresh, horizon, events_max)
    kernel.replicate(room, packed.ints[None], packed.floats[None], numbers, arrays)
    return unpack(room)


def interpreted(
    layout: Layout, horizon: float, *, seed: int = 7, replication: int = 0, acts: Sequence[Act] = (),
    types: Types = LIBRARY,
) -> Interpreter:  # fmt: skip
    """The run on SimPy, at the horizon."""
    run = Interpreter(assemble(layout, seed=seed, trace=TRACE, types=types), replication=replication, acts=acts)
    run.run(horizon)
    return run


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its trace, its components' numbers, and what its fault said, "" without one."""

    trace: Trace
    numbers: list[float]
    said: str


def outcomes(
    layout: Layout, horizon: float, *, seed: int = 7, acts: Sequence[Act] = (), types: Types = LIBRARY,
    events_max: int = EVENTS_MAX,
) -> tuple[Outcome, Outcome]:  # fmt: skip
    """Compiled, and on SimPy."""
    ours = compiled(layout, horizon, seed=seed, acts=acts, types=types, events_max=events_max)
    said = str(fault_of(assemble(layout, types=types), ours)) if ours.fault else ""
    begun = assemble(layout, seed=seed, trace=TRACE, types=types)
    fault = ""
    try:
        Interpreter(begun, acts=acts, events_max=events_max).run(horizon)
    except Fault as stopped:
        fault = str(stopped)
    return Outcome(trace_of(ours), ours.number, said), Outcome(trace_of(begun.world), begun.world.number, fault)


__all__ = ["Outcome", "Trace", "acts_of", "compiled", "interpreted", "library", "outcomes", "trace_of"]
