"""A what-if of a layout: its replications on the compiled kernel or on SimPy, the same bits; must not know statistics."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.backend import COMPILED, choose, ready
from sim.components.library import kernel_types
from sim.job import Block, Origin, Where, times_s
from sim.kernel import loop
from sim.kernel.assembly import Assembly, assemble
from sim.kernel.ensemble import Ask, pairs, replicate
from sim.kernel.interpreter import EVENTS_MAX, Act, Interpreter
from sim.kernel.loop import (
    ABOVE,
    ADDED,
    AT_LEAST,
    AT_MOST,
    BELOW,
    COMMAND,
    FIRST,
    MODE,
    SET_AMOUNT,
    SET_CAPACITY,
    SET_CEILING,
    SET_NUMBER,
    SET_SIGNAL,
)
from sim.kernel.names import Names, Reading, Target, trajectory_readings
from sim.kernel.watch import Seen, Watch
from sim.kernel.world import NEVER, Packed, World, pack, unpack
from sim.kpi import limits_of, needed
from sim.layout import Layout
from sim.layout_drafts import commands
from sim.layout_file import files_of, load
from sim.layout_record import importable, layout_hash, record
from sim.opaque import together
from sim.scenario import BASELINE, Intervention, Limit, Scenario, Verb, state_of
from twin.errors import BadRequest
from twin.nearest import nearest

if TYPE_CHECKING:
    from sim.layout_model import Setting

SAMPLES = 48  # sample times over the horizon: as many as a fan chart shows

States = Callable[[int], Packed]
"""Replication -> the state it starts from."""

HELD: Mapping[int, str] = {
    SET_NUMBER: "number", SET_CAPACITY: "capacity", SET_SIGNAL: "amount", SET_CEILING: "ceiling", SET_AMOUNT: "amount",
}  # fmt: skip
"""Kind of intervention -> the column of the world that it sets."""
FIXED = (SET_NUMBER, SET_CAPACITY, SET_CEILING)
"""Those that nothing but an intervention changes, as a rule: what they will be is known before the run."""
SIGNS: Mapping[str, int] = {"<": BELOW, "<=": AT_MOST, ">": ABOVE, ">=": AT_LEAST}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a point of the plant shows of a layout.

    Attributes:
        reading: point = that figure * factor.
        states: where the figure is a state: what the point shows for each of its numbers; empty otherwise.
    """

    reading: str
    factor: float = 1.0
    states: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the replications start: fresh, or from the state of a plant.

    Attributes:
        states: a state for each replication; the layout's own when None.
        hash: of what the states were made of.
        reads: point of the plant -> what it shows.
        sets: points that interventions may set.
        settings: their values at the start, in the plant's units, to be put back.
    """

    plant: str
    hash: str
    states: States | None = None
    taken_at: int = 0
    clock_s: float = 0.0
    reads: Mapping[str, Shown] = field(default_factory=dict)
    sets: Mapping[str, Setting] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)


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
        return tuple(_arm(self, scenario) for scenario in self.scenarios)

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
class Arm:
    """A scenario made ready: what is set before the first event is in `packed`, the rest are acts."""

    assembly: Assembly
    packed: Packed
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class Found:
    """What the replications of one arm gave: samples and figures of the layout, and what was seen between events."""

    samples: NDArray[np.float32]
    figures: NDArray[np.float64]
    seen: Seen


def _now(states: Sequence[Packed]) -> float:
    return float(states[0].column("now")[0]) if states else 0.0


def _arm(job: LayoutJob, scenario: Scenario) -> Arm:
    assembly = assemble(job.layout, seed=job.seed, types=kernel_types(job.layout))
    names = Names(assembly)
    held: dict[str, float] = {}
    acts = []
    for _, steps in groupby(scenario.interventions, key=lambda step: step.at_s):
        for step in steps:
            for act in _acts(job, names, scenario, step, held):
                # From nothing, what holds from the start holds for the first draws too.
                if act.at > 0 or job.begin.states is not None or not _preset(assembly.world, act):
                    acts.append(act)
        _check_laws(job, names, scenario, held)
    return Arm(assembly, pack(assembly.world), acts)


def _check_laws(job: LayoutJob, names: Names, scenario: Scenario, held: Mapping[str, float]) -> None:
    """Distributions of which parameters were set must still be some."""
    for law, kind in dict.fromkeys(names.laws[name] for name in held if name in names.laws):
        keys = [f"{law}.{key}" for key in kind.keys]
        numbers = tuple(held.get(key, float(job._first.number[names.targets[key].index])) for key in keys)
        problem = kind.problem(numbers)
        if problem:
            told = f"{kind.__name__}({', '.join(f'{x:g}' for x in numbers)})"
            raise BadRequest(f"scenario {scenario.name!r}: {law} would be {told}", problem)


def _acts(
    job: LayoutJob, names: Names, scenario: Scenario, step: Intervention, held: dict[str, float]
) -> Sequence[Act]:
    """What an intervention does; `held` keeps what was set before, by name."""
    place = f"scenario {scenario.name!r}: {step.point}"
    if step.ends and step.at_s >= job.horizon_s:
        return ()
    if not 0 <= step.at_s < job.horizon_s:
        raise BadRequest(f"{place} is set outside the horizon of {job.horizon_s:g} s", "look further ahead")
    setting = job.begin.sets.get(step.point)
    if setting is None:
        return (_act(job, names, place, step, held),)
    if isinstance(step.value, str) or step.verb is Verb.RUN or (step.verb is Verb.ADD and setting.map is not None):
        raise BadRequest(f"{place} can only be set to a number", f"write {step.point}=value")
    value = job.begin.settings.get(step.point) if step.value is None else step.value
    if step.verb is Verb.ADD and value is not None:
        before = held.get(step.point, job.begin.settings.get(step.point))
        value = None if before is None else before + value
    if value is None:
        what = "added to" if step.verb is Verb.ADD else "put back"
        raise BadRequest(f"{place} cannot be {what}: its value is not measured", f"write {step.point}=value")
    held[step.point] = value
    return setting.acts(names, step.at_s / job.layout.unit_s, value)


def _act(job: LayoutJob, names: Names, place: str, step: Intervention, held: dict[str, float]) -> Act:
    name, at = step.point, step.at_s / job.layout.unit_s
    target = names.targets.get(name)
    if target is None:
        known = (*names.targets, *job.begin.sets)
        raise BadRequest(f"nothing that can be set is called {name!r}", nearest(name, known) or "see the layout")
    if (step.verb is Verb.RUN) is not target.runs:
        fix = f"write run {step.point}" if target.runs else f"write {step.point}=value"
        kind = "no command" if not target.runs else "a command" if target.kind == COMMAND else "a timer"
        raise BadRequest(f"{place} is {kind}", fix)
    if step.verb is Verb.RUN:
        return names.act(at, name)
    first = held.get(name)
    if first is None and (step.verb is Verb.ADD or step.value is None):
        first = _held(job._first, target, place)
    if step.verb is Verb.ADD and first is not None:
        held[name] = first + float(step.value or 0.0)
        if target.kind in FIXED and target.problem(held[name]):
            raise BadRequest(f"{place} would be {held[name]:g}, it is {first:g} before", target.problem(held[name]))
        return names.act(at, name, float(step.value or 0.0), more=True)
    value = _held(job._first, target, place) if step.value is None else step.value
    value = state_of(value, target.values) if target.values else value
    if isinstance(value, float):
        held[name] = value
    return names.act(at, name, value)


def _held(world: World, target: Target, place: str) -> float:
    column = HELD.get(target.kind)
    if column is None:
        raise BadRequest(f"{place} is a state and cannot be put back or added to", "say which state comes then")
    return float(getattr(world, column)[target.index])


def _preset(world: World, act: Act) -> bool:
    """Whether it could be set before the first event."""
    kind = act.kind % ADDED
    if kind not in (*FIXED, SET_SIGNAL):
        return False
    column = getattr(world, HELD[kind])
    value = act.value + (column[act.index] if act.kind >= ADDED else 0.0)
    if kind == SET_CAPACITY:
        column[act.index] = world.free[act.index] = int(value)
    else:
        column[act.index] = value
    return True
