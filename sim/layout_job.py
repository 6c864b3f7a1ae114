"""A what-if of a layout: its replications on the compiled kernel or on SimPy, the same bits; must not know statistics."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.backend import COMPILED, choose, ready
from sim.beginning import Beginning, Shown
from sim.components.library import kernel_types
from sim.job import Block, Origin, Where, times_s
from sim.kernel import loop
from sim.kernel.assembly import assemble
from sim.kernel.ensemble import Ask, pairs, replicate
from sim.kernel.interpreter import EVENTS_MAX, Interpreter
from sim.kernel.loop import (
    ABOVE,
    AT_LEAST,
    AT_MOST,
    BELOW,
    FIRST,
    MODE,
)
from sim.kernel.names import Names, Reading, trajectory_readings
from sim.kernel.watch import Seen, Watch
from sim.kernel.world import NEVER, Packed, World, unpack
from sim.kpi import limits_of, needed
from sim.layout import Layout
from sim.layout_arm import Arm, Preparation
from sim.layout_drafts import commands
from sim.layout_file import files_of, load
from sim.layout_record import importable, layout_hash, record
from sim.opaque import together
from sim.scenario import BASELINE, Limit, Scenario
from twin.errors import BadRequest
from twin.nearest import nearest

SAMPLES = 48  # sample times over the horizon: as many as a fan chart shows

SIGNS: Mapping[str, int] = {"<": BELOW, "<=": AT_MOST, ">": ABOVE, ">=": AT_LEAST}


@dataclass(frozen=True)
class LayoutJob:
    """Replications of a layout.

    Attributes:
        scenarios: the baseline first.
        outputs, figures: names of readings that are sampled, and read at the horizon.
        limits: of outputs; when each is first passed is told.
        backend, why, kernel_hash: as chosen.
        model_hash: of the layout.
        base: as in `sim.job.Origin`.
        waits: a kernel is being compiled that will take over.
    """

    layout: Layout
    begin: Beginning
    scenarios: tuple[Scenario, ...]
    outputs: tuple[str, ...]
    figures: tuple[str, ...]
    limits: tuple[Limit, ...]
    horizon_s: float
    sample_every_s: float
    seed: int
    backend: str
    why: str
    kernel_hash: str
    model_hash: str
    units: Mapping[str, str] = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)
    events_max: int = EVENTS_MAX
    waits: bool = False

    def __reduce__(self) -> tuple[Callable[..., LayoutJob], tuple[Sequence[str], bytes]]:
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return _travelled, (files_of(self.layout), pickle.dumps(kept))

    @property
    def origin(self) -> Origin:
        return Origin(
            plant=self.begin.plant,
            taken_at=self.begin.taken_at,
            clock_s=self.begin.clock_s,
            state_hash=self.begin.hash,
            model_hash=self.model_hash,
            backend=self.backend,
            why=self.why,
            kernel_hash=self.kernel_hash,
            base=self.base,
            time_s=self.layout.unit_s,
        )

    @cached_property
    def where(self) -> Where:
        """On processes unless the classes cannot be found there."""
        if self.backend == COMPILED:
            return Where.THREADS
        return Where.HERE if importable(self.layout) else Where.PROCESSES

    def unit(self, name: str) -> str:
        return self.units.get(name, "")

    def drafts(self, scenario: Scenario) -> Sequence[tuple[str, float] | None]:
        """Only what is tied to a point of the plant can become a command."""
        return commands(scenario, self.begin.sets, self.begin.settings)

    def block(self, first: int, count: int) -> Block:
        """Replications of every scenario, each with the same chance in all scenarios."""
        states = [self._state(first + r) for r in range(count)] if self.begin.states is not None else []
        run = self._compiled if self.backend == COMPILED else self._interpreted
        found = [run(arm, first, count, states) for arm in self._arms]
        samples, figures = np.stack([f.samples for f in found]), np.stack([f.figures for f in found])
        since = np.stack([f.seen.passed for f in found]) - _now(states)  # (S, R, L)
        return Block(
            first,
            self._told_by_points(samples),
            figures / self._divisors,
            backend=self.backend,
            extremes=np.stack([f.seen.extremes for f in found]),
            # A crossing is reckoned: it may round past the end.
            passed=np.where(since < NEVER, np.clip(since * self.layout.unit_s, 0.0, self.horizon_s), np.inf),
        )

    def asking(self, scenarios: Sequence[Scenario]) -> LayoutJob:
        return dataclasses.replace(self, scenarios=tuple(scenarios))

    def faster(self) -> LayoutJob:
        """The same replications on the kernel, once that is compiled."""
        if self.backend == COMPILED or not self.waits:
            return self
        kernel = ready(self.layout)
        if kernel is None:
            return self
        return dataclasses.replace(self, backend=COMPILED, kernel_hash=kernel.hash, waits=False)

    def check(self) -> None:
        """Raise what the names or values of a scenario have wrong."""
        _ = self._arms

    # --- one arm: a scenario made ready ------------------------------------------------------------------------------

    @cached_property
    def _arms(self) -> tuple[Arm, ...]:
        return tuple(self._preparation(scenario).arm() for scenario in self.scenarios)

    def _preparation(self, scenario: Scenario) -> Preparation:
        names = Names(assemble(self.layout, seed=self.seed, types=kernel_types(self.layout)))
        return Preparation(self.layout, self.begin, scenario, self.horizon_s, names, self._first)

    @cached_property
    def _names(self) -> Names:
        return Names(assemble(self.layout, seed=self.seed))

    @cached_property
    def _first(self) -> World:
        """As the first replication starts."""
        return self._names.assembly.world if self.begin.states is None else unpack(self._state(0))

    @cached_property
    def _readings(self) -> tuple[Reading, ...]:
        return tuple(self._names.reading(name) for name in self.figures)

    @cached_property
    def _divisors(self) -> NDArray[np.float64]:
        return np.array([self.horizon if r.mean else 1.0 for r in self._readings])

    @cached_property
    def _watched(self) -> tuple[Reading, ...]:
        return tuple(self._names.reading(shown.reading) for shown in self._shown)

    @cached_property
    def _shown(self) -> tuple[Shown, ...]:
        return tuple(self.begin.reads.get(name, Shown(name)) for name in self.outputs)

    def _told_by_points(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples (…, P) of the layout's figures as the points show them."""
        scaled = samples * np.array([shown.factor for shown in self._shown], np.float32)
        for p, shown in enumerate(self._shown):
            if shown.states:
                scaled[..., p] = np.array(shown.states, np.float32)[samples[..., p].astype(np.intp)]
        return scaled

    @cached_property
    def _watch(self) -> Watch:
        """The outputs as the points show them, and the limits."""
        names = [
            self._names.modes.get(s.reading, ()) if r.kind == MODE else ()
            for s, r in zip(self._shown, self._watched, strict=True)
        ]
        images = np.zeros((len(names), max([1, *map(len, names)])))
        for p, (shown, values) in enumerate(zip(self._shown, names, strict=True)):
            images[p, 0] = shown.factor
            if values:
                images[p, : len(values)] = shown.states or shown.factor * np.arange(len(values))
        limits = pairs([(self.outputs.index(x.point), SIGNS[x.sign]) for x in self.limits])
        return Watch(images, limits, np.array([x.value for x in self.limits], np.float64))

    @property
    def horizon(self) -> float:
        """In the layout's unit."""
        return self.horizon_s / self.layout.unit_s

    @cached_property
    def _grid(self) -> NDArray[np.float64]:
        return times_s(self.horizon_s, self.sample_every_s) / self.layout.unit_s

    def _state(self, replication: int) -> Packed:
        assert self.begin.states is not None
        state = self.begin.states(replication).copy()
        state.column("seed_low")[0], state.column("seed_high")[0] = self.seed & 0xFFFFFFFF, self.seed >> 32
        return state

    def _ask(self, arm: Arm, now: float) -> Ask:
        watched = pairs([(r.kind, r.index) for r in self._watched])
        wanted = pairs([(r.kind, r.index) for r in self._readings])
        acts = [dataclasses.replace(a, at=a.at + now) for a in arm.acts] if now else arm.acts
        fresh = 1 if self.begin.states is None else 2
        return Ask(now + self.horizon, wanted, now + self._grid, watched, acts, fresh, self.events_max, self._watch)

    def _compiled(self, arm: Arm, first: int, count: int, states: Sequence[Packed]) -> Found:
        kernel = choose(self.layout, COMPILED).kernel
        assert kernel is not None
        ask = self._ask(arm, _now(states))
        runs = replicate(kernel, arm.assembly, ask, first, count, states=states or (arm.packed,))
        return Found(runs.samples, self._told(runs.figures), runs.seen)

    def _interpreted(self, arm: Arm, first: int, count: int, states: Sequence[Packed]) -> Found:
        ask = self._ask(arm, _now(states))
        samples = np.empty((count, len(self._grid), len(self.outputs)), np.float32)
        figures = np.empty((count, len(self.figures)))
        seen = Seen.nothing(ask.watch, count)
        abreast = together.abreast(self.layout)
        for begin in range(0, count, abreast):
            rows = range(begin, min(count, begin + abreast))
            runs = [self._run(arm, ask, first + r, states[r] if states else arm.packed) for r in rows]
            try:
                samples[rows.start : rows.stop] = together.run_together(
                    runs, ask.horizon, ask.grid, ask.watched, seen.of(begin, len(rows))
                )
                for r, run in zip(rows, runs, strict=True):
                    loop.finish(run.world)
                    figures[r] = [loop.read(run.world, int(k), int(i), run.world.now) for k, i in ask.wanted]
            finally:
                for run in runs:
                    run.close()
        return Found(samples, self._told(figures), seen)

    def _run(self, arm: Arm, ask: Ask, replication: int, state: Packed) -> Interpreter:
        assembly = dataclasses.replace(arm.assembly, world=unpack(state))
        return Interpreter(
            assembly, replication=replication, acts=ask.acts, fresh=ask.fresh, events_max=ask.events_max
        )  # fmt: skip

    def _told(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """What never happened is told as the horizon."""
        for column, reading in enumerate(self._readings):
            if reading.kind == FIRST:
                figures[:, column] = np.minimum(figures[:, column], self.horizon)
        return figures


def _travelled(files: Sequence[str], kept: bytes) -> LayoutJob:
    """A job in another process: layout files of plants are loaded before their components are looked for."""
    for file in map(Path, files):
        load(file.parent, file.name)
    return LayoutJob(**pickle.loads(kept))


def layout_job(
    layout: Layout,
    scenarios: Sequence[Scenario],
    *,
    horizon_s: float,
    seed: int,
    sample_every_s: float | None = None,
    outputs: Sequence[str] = (),
    kpis: Sequence[str] = (),
    limits: Sequence[Limit] = (),
    begin: Beginning | None = None,
    model_hash: str = "",
    units: Mapping[str, str] | None = None,
    base: Mapping[str, Any] | None = None,
    backend: str = "auto",
    events_max: int = EVENTS_MAX,
) -> LayoutJob:
    """A job with its backend chosen and its names checked.

    Args:
        sample_every_s: a SAMPLES-th of the horizon when None.
        outputs: readings to follow; what figures and limits need is added.
        begin: fresh when None.
        model_hash: of a plant's model; the layout's own when empty.
        backend: as `sim.backend.choose` takes it.
        events_max: of each replication; one that has more is stopped, and with it the question.

    Raises:
        BadRequest: an unknown name, a value that cannot be.
    """
    names = Names(assemble(layout))
    begin = begin or Beginning(layout.name, "")
    followed = {**trajectory_readings(names), **begin.reads}
    asked = [*outputs, *(x.point for x in limits)]
    for name in asked:
        if name not in followed:
            raise BadRequest(
                f"{name!r} cannot be followed", nearest(name, followed) or "ask for a level, state or number"
            )
    read = needed(kpis, names.readings, tuple(followed))
    chosen = choose(layout, backend)
    why = chosen.why
    if chosen.kernel is None and importable(layout):
        why = f"{why}; {importable(layout)}"
    made_of = layout_hash(layout)
    job = LayoutJob(
        layout,
        begin if begin.hash else dataclasses.replace(begin, hash=made_of),
        scenarios=(BASELINE, *scenarios),
        outputs=tuple(dict.fromkeys([*asked, *read.outputs])),
        figures=read.figures,
        limits=tuple(dict.fromkeys([*limits, *limits_of(kpis)])),
        horizon_s=horizon_s,
        sample_every_s=horizon_s / SAMPLES if sample_every_s is None else sample_every_s,
        seed=seed,
        backend=chosen.name,
        why=why,
        kernel_hash="" if chosen.kernel is None else chosen.kernel.hash,
        model_hash=model_hash or made_of,
        units=units or {},
        base={"layout": record(layout)} if base is None else base,
        events_max=events_max,
        waits=chosen.waits,
    )
    job.check()
    return job


@dataclass(frozen=True, slots=True)
class Found:
    """What the replications of one arm gave: samples and figures of the layout, and what was seen between events."""

    samples: NDArray[np.float32]
    figures: NDArray[np.float64]
    seen: Seen


def _now(states: Sequence[Packed]) -> float:
    return float(states[0].column("now")[0]) if states else 0.0
