"""From what is told of a plant to a whole state: what is drawn, which timers run and since when, who has what on loan.

Must not know points or snapshots; the rules of the kernel take over when the state begins to run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from sim.kernel.assembly import Assembly
from sim.kernel.chance import EXPONENTIAL
from sim.kernel.handles import instances
from sim.kernel.loop import SET_AMOUNT, SET_CAPACITY, SET_CEILING, SET_NUMBER, SET_SIGNAL
from sim.kernel.names import Names
from sim.kernel.rules import TRACE_BASE
from sim.kernel.world import Packed, pack, unpack
from sim.layout import Placed
from sim.layout_model import Unmeasured
from sim.resume import Going, Loan, Resume, resume_of
from sim.spec import Buffer, Condition, Distribution, Law, Level, Resource
from sim.unknown import Chance


@dataclass(slots=True)
class Told:
    """What points tell, in the layout's units, by name.

    Attributes:
        ages: of states, for how long each has been so.
        fields: (number, standard deviation of its measurement).
        queues: how many are in it.
        timers: work already done.
    """

    states: dict[str, str] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)
    fields: dict[str, tuple[float, float]] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)


Thens: TypeAlias = Sequence[tuple[Placed, Callable[[Any], None]]]
Holders: TypeAlias = set[tuple[int, str]]
"""Components by number, with the port whose unit they have."""


@dataclass(frozen=True, slots=True)
class _Age:
    """Of a timer that runs: the work it has done, as a number or as what it is drawn from."""

    slot: int
    name: str
    law: Law
    known: float | None = None
    like: Law | None = None
    least: float = 0.0
    most: float = float("inf")

    def of(self, chance: Chance) -> float:
        if self.known is not None:
            return self.known
        if self.like is not None:
            return chance.draw(self.name, self.like)
        return chance.age(self.name, self.law, self.least, self.most)


@dataclass(slots=True)
class _Request:
    """A component that has or wants a unit."""

    component: Placed
    item: int
    loan: Loan
    since: float


class Settler:
    """Makes states of one plant at one moment; `base` is its layout before the first event."""

    def __init__(
        self, assembly: Assembly, names: Names, base: Packed, told: Told, unmeasured: Sequence[Unmeasured]
    ) -> None:
        self.assembly, self.names, self.told = assembly, names, told
        self.unmeasured = {(u.kind, u.target): u for u in unmeasured}
        self.resumes = [(c, resume_of(c.type.cls)) for c in assembly.layout.components]
        self._base = base
        state = _State(base, self)
        state.tell()
        state.w.armed[:] = 0  # what lies beyond a threshold passed it before
        sure = not any(u.kind in ("state", "field") for u in unmeasured) and not any(
            sd for _, sd in told.fields.values()
        )
        # Who has what, and which timers run: worked out once where no replication has it otherwise.
        self._follows = state.follows() if sure else None

    def settle(self, chance: Chance, seed: int) -> Packed:
        """One state, in which what is not told is drawn."""
        packed = self._base.copy()
        packed.column("seed_low")[0], packed.column("seed_high")[0] = seed & 0xFFFFFFFF, seed >> 32
        state = _State(packed, self)
        state.draw(chance)
        ages, thens = state.follows() if self._follows is None else self._follows
        work = state.w.age
        for age in ages:
            work[age.slot] = age.of(chance)
        return self._then(packed, thens) if thens else packed

    def _then(self, packed: Packed, thens: Thens) -> Packed:
        """What follows from the state, set by the components themselves."""
        world = unpack(packed)
        kept = list(world.queue), world.tail, list(world.queued)
        bound = replace(self.assembly, world=world)
        components = instances(bound, lambda: None)
        for placed, then in thens:
            then(components[placed.number])
        # Nobody looks at anything yet: that is the first that the run does.
        world.queue, world.tail, world.queued = kept
        world.head = 0
        return pack(world)


class _Columns:
    """The columns of a packed state, to be written in place."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def __getattr__(self, name: str) -> Any:
        column = self._packed.column(name)
        setattr(self, name, column)
        return column


class _State:
    """One state while it is made."""

    def __init__(self, packed: Packed, of: Settler) -> None:
        self.w = _Columns(packed)
        self._of = of

    def tell(self) -> None:
        """What is measured without doubt."""
        told = self._of.told
        for name, value in told.states.items():
            self._enter(name, value)
        for name, (number, _) in told.fields.items():
            self._assign(name, number)

    def draw(self, chance: Chance) -> None:
        """What is not measured, or not exactly."""
        told = self._of.told
        for name, (number, sd) in told.fields.items():
            if sd > 0:
                self._assign(name, number + sd * chance.normal(name))
        for unknown in self._of.unmeasured.values():
            like = unknown.like
            if unknown.kind == "state" and not isinstance(like, Distribution | str):
                self._enter(unknown.target, chance.pick(unknown.target, like))
            elif unknown.kind == "field" and isinstance(like, Distribution):
                self._assign(unknown.target, chance.draw(unknown.target, like.law))
            elif unknown.kind == "queue" and isinstance(like, Distribution):
                count = told.queues.get(unknown.target, 0)
                drawn = count if unknown.last is None else min(count, unknown.last)
                numbers = sorted(chance.draw(unknown.target, like.law, n) for n in range(drawn))
                self._fill(unknown.target, [0.0] * (count - drawn) + numbers)

    def follows(self) -> tuple[list[_Age], Thens]:
        """What follows from the states: loans, at once; ages of the timers that run; what components do themselves."""
        holders = self._lend()
        ages = [a for c, r in self._of.resumes for g in r.going if (a := self._age(c, g, holders)) is not None]
        thens = [(c, r.then) for c, r in self._of.resumes if r.then is not None and self._wants(c, r)]
        return ages, thens

    def _lend(self) -> Holders:
        """Units to those who have them, places in the queue to those who wait."""
        holders: Holders = set()
        by_resource: dict[int, list[_Request]] = {}
        for component, resume in self._of.resumes:
            for loan in resume.loans:
                e = component.ports[loan.port.name]
                if e >= 0 and (self._holds(component, loan.holds) or self._holds(component, loan.waits)):
                    by_resource.setdefault(e, []).append(self._request(component, loan))
        for e in (n.number for n in self._of.assembly.layout.entities if n.kind is Resource):
            capacity, asked = self.w.capacity[e], by_resource.get(e, [])
            surely = [r for r in asked if r.loan.told and self._holds(r.component, r.loan.holds)]
            rest = sorted((r for r in asked if r not in surely), key=lambda r: -r.since)
            # Where the state does not tell, those who asked first have what there is.
            free = int(capacity) - len(surely)
            having = [r for r in rest if not r.loan.told][: max(0, free)]
            holders.update((r.component.number, r.loan.port.name) for r in (*surely, *having))
            for r in (*surely, *having):
                self.w.held[self.w.hold_base[e] + r.component.number] += 1
            self._queue(e, free - len(having), [r for r in rest if r not in having])
        return holders

    def _wants(self, component: Placed, resume: Resume) -> bool:
        """Whether its `then` has something to do."""
        return resume.only is None or self._holds(component, resume.only)

    # --- ages --------------------------------------------------------------------------------------------------------

    def _age(self, component: Placed, going: Going, holders: Holders) -> _Age | None:
        """The work that a timer has done; None when it does not run."""
        if going.while_ is not None and not self._holds(component, going.while_):
            return None
        shared = going.loan is not None and component.ports[going.loan.name] >= 0
        if shared and going.loan is not None and (component.number, going.loan.name) not in holders:
            return None
        w, k = self.w, self._of.assembly.slot(component, going.timer)
        a, b, c = (float(x) for x in w.number[w.slot_draw_at[k] : w.slot_draw_at[k] + 3])
        age = _Age(k, f"{component.name}.{going.timer.name}", (int(w.draw_kind[w.slot_draw[k]]), a, b, c))
        told, unknown = self._of.told.timers, self._of.unmeasured.get(("timer", age.name))
        if age.name in told:
            return replace(age, known=told[age.name])
        if unknown is not None:
            return replace(age, like=unknown.like.law) if isinstance(unknown.like, Distribution) else age
        return replace(age, known=0.0) if age.law[0] == EXPONENTIAL else self._worked(component, going, age)

    def _worked(self, component: Placed, going: Going, age: _Age) -> _Age:
        """Of a timer that was started when its state was entered, and that its gate let do a part of its work.

        The speed is taken as it is now. A gate that opened since leaves open how long it had been shut.
        """
        w, gate, ages = self.w, going.timer.gate, self._of.told.ages
        assert going.while_ is not None
        speed = float(w.number[w.slot_speed[age.slot]]) if w.slot_speed[age.slot] >= 0 else 1.0
        elapsed = ages[f"{component.name}.{going.while_.state.name}"]
        if gate is None or gate.state.name == going.while_.state.name:
            return replace(age, known=elapsed * speed)
        since = ages.get(f"{component.name}.{gate.state.name}", 0.0)
        if since >= elapsed:
            return replace(age, known=elapsed * speed if self._holds(component, gate) else 0.0)
        if not self._holds(component, gate):
            return replace(age, known=(elapsed - since) * speed)
        return replace(age, least=since * speed, most=elapsed * speed)

    # --- columns -----------------------------------------------------------------------------------------------------

    def _holds(self, component: Placed, condition: Condition | None) -> bool:
        if condition is None:
            return False
        state = component.type.states[component.type.at(condition.state)]
        i = self._of.assembly.mode(component, state)
        return state.values[int(self.w.mode[i])] in condition.values

    def _request(self, component: Placed, loan: Loan) -> _Request:
        granted = component.type.timed(loan.port)
        item = component.number * TRACE_BASE + (granted.number if granted else 0)
        state = (loan.waits or loan.holds).state.name
        return _Request(component, item, loan, self._of.told.ages.get(f"{component.name}.{state}", 0.0))

    def _queue(self, e: int, free: int, waiting: Sequence[_Request]) -> None:
        w = self.w
        given, rest = waiting[: max(0, free)], waiting[max(0, free) :]
        for request in given:  # read a moment before they got it
            w.queue[int(w.tail[0]) & (len(w.queue) - 1)] = request.item
            w.tail[0] += 1
            w.held[w.hold_base[e] + request.component.number] += 1
        w.free[e] = free - len(given)
        rest = rest[: int(w.wait_size[e])]
        w.wait[w.wait_base[e] : w.wait_base[e] + len(rest)] = [r.item for r in rest]
        w.wait_count[e] = len(rest)

    def _enter(self, name: str, value: str) -> None:
        target = self._of.names.targets[name]
        self.w.mode[target.index] = target.values.index(value)

    def _assign(self, name: str, number: float) -> None:
        w, target = self.w, self._of.names.targets[name]
        i = target.index
        if target.kind == SET_NUMBER:
            w.number[i] = number
        elif target.kind == SET_CAPACITY:
            w.capacity[i] = round(number)
        elif target.kind == SET_CEILING:
            w.ceiling[i] = number
        elif target.kind == SET_SIGNAL:
            w.amount[i] = number
        elif target.kind == SET_AMOUNT:
            kind = self._of.assembly.layout.entities[i].kind
            bounded = min(max(number, float(w.floor[i])), float(w.ceiling[i]))
            w.amount[i] = round(bounded) if kind is Buffer else bounded if kind is Level else number

    def _fill(self, name: str, numbers: Sequence[float]) -> None:
        w, entity = self.w, self._of.assembly.layout.entity(name)
        e, base = entity.number, int(w.ring_base[entity.number])
        w.ring[base : base + len(numbers)] = numbers
        w.ring_head[e], w.ring_count[e], w.amount[e] = 0, len(numbers), float(len(numbers))
