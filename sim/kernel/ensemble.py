"""Many replications of one layout on compiled threads; must not know what is asked of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.halt import Halted
from sim.kernel.assembly import Assembly, assemble
from sim.kernel.compiler import Kernel, kernel_of
from sim.kernel.faults import fault
from sim.kernel.interpreter import EVENTS_MAX, Act
from sim.kernel.rules import HALTED
from sim.kernel.watch import Seen, Watch
from sim.kernel.world import Packed, pack
from sim.layout import Layout
from sim.spec import ComponentType

CHUNKS_EACH = 4  # pieces of work for each thread: replications differ in length


@dataclass(frozen=True, slots=True)
class Runs:
    """What replications gave.

    Attributes:
        figures: at the horizon, shape (r, w), w as wanted.
        samples: shape (r, t, p), float32.
        seen: between events, of all of them.
        events: of all of them.
    """

    figures: NDArray[np.float64]
    samples: NDArray[np.float32]
    seen: Seen
    events: int


@dataclass(frozen=True, slots=True)
class Ask:
    """What to run and to read; times in the layout's unit.

    Attributes:
        wanted: kinds and indexes of figures, shape (w, 2), as `sim.kernel.loop.read` takes them.
        grid, watched: sample times (t,), kinds and indexes (p, 2).
        fresh: as `sim.kernel.loop.begin` takes it.
        watch: what of `watched` is looked at between events too.
    """

    horizon: float
    wanted: NDArray[np.int64]
    grid: NDArray[np.float64]
    watched: NDArray[np.int64]
    acts: Sequence[Act] = ()
    fresh: int = 1
    events_max: int = EVENTS_MAX
    watch: Watch = field(default_factory=Watch)


def pairs(items: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Kinds and indexes as an array, shape (n, 2)."""
    return np.array(items, np.int64).reshape(-1, 2)


def warm(types: Sequence[ComponentType]) -> Kernel:
    """The kernel of these types, ready to run: compiled now, or loaded.

    Raises:
        CannotCompile: a type cannot.
    """
    kernel = kernel_of(types)
    replicate(kernel, assemble(Layout("empty"), types=types), Ask(0.0, pairs([]), np.empty(0), pairs([])), 0, 1)
    return kernel


def replicate(
    kernel: Kernel, assembly: Assembly, ask: Ask, first: int, count: int, *, threads: int = 1,
    states: Sequence[Packed] = (), cancel: threading.Event | None = None,
) -> Runs:  # fmt: skip
    """Replications `first` … `first + count - 1`; the same whatever the number of threads.

    Args:
        states: initial states, one for each replication in turn; the assembly's own when empty.

    Raises:
        Fault: in one of them a component did what cannot be; the earliest replication's is told.
        Halted: the flag of this thread was raised.
    """
    begins = list(states) or [pack(assembly.world)]
    ints, floats = np.stack([s.ints for s in begins]), np.stack([s.floats for s in begins])
    acts = sorted(ask.acts, key=lambda a: a.at)
    at = np.array([a.at for a in acts], np.float64)
    what = np.array([(a.kind, a.component, a.index) for a in acts], np.int64).reshape(-1, 3)
    value = np.array([a.value for a in acts], np.float64)
    figures = np.empty((count, len(ask.wanted)))
    samples = np.empty((count, len(ask.grid), len(ask.watched)), np.float32)
    seen = Seen.nothing(ask.watch, count)
    faults, times = np.zeros((count, 4), np.int64), np.zeros(count)

    def work(span: tuple[int, int]) -> int:
        if cancel is not None and cancel.is_set():
            return 0
        numbers = (*span, first, ask.fresh, float(ask.horizon), ask.events_max)
        arrays = (at, what, value, ask.grid, ask.watched, ask.wanted, samples, *seen.arrays, figures, faults, times)
        return kernel.replicate(begins[0].copy(), ints, floats, numbers, arrays)

    if threads <= 1:
        events = work((0, count))
    else:
        edges = np.linspace(0, count, CHUNKS_EACH * threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            events = sum(pool.map(work, zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)))
    wrong = np.flatnonzero(faults[:, 0])
    if len(wrong):
        number, where, c, h = faults[wrong[0]].tolist()
        if number == HALTED:
            raise Halted
        raise fault(assembly, number, where, c, h, float(times[wrong[0]]))
    return Runs(figures, samples, seen, events)
