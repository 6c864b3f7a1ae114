"""The SimPy backend: the components' own methods, on SimPy's event loop; the reference that the kernel must equal.

The calendar is SimPy's: whenever a rule plans a slot, an event goes into SimPy's queue. Its priorities give the order of
what happens at one moment: 0 what is queued and SimPy's own processes' wake-ups, 1 interventions, 2 + slot the slots.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from sim import halt
from sim.kernel import levels, loop, rules
from sim.kernel.assembly import Assembly
from sim.kernel.doubles import Doubles, Stopped, compilable, constants
from sim.kernel.faults import broken, fault_of
from sim.kernel.handles import instances
from sim.kernel.loop import COMMAND, EXPIRE
from sim.kernel.rules import LOOK, RULES_MAX, TRACE_BASE
from sim.kernel.watch import Seen
from sim.kernel.world import NEVER, Packed, World, pack, unpack
from sim.spec import ComponentType, Opaque
from twin.errors import Refused

EVENTS_MAX = 50_000_000  # of one replication: some seconds of the kernel, and some minutes of SimPy
FLAG_EVERY = 31  # and one: events between two looks at the flag


@dataclass(frozen=True, slots=True)
class Act:
    """One intervention, by number.

    Attributes:
        kind, component, index, value: as `sim.kernel.loop.intervene` takes them, COMMAND or EXPIRE.
    """

    at: float
    kind: int
    component: int
    index: int
    value: float


class _Calendar(list[float]):
    """`due`, which tells SimPy of each moment that is written."""

    planned: Callable[[int], None]

    def __setitem__(self, k: int, when: float) -> None:  # type: ignore[override]
        super().__setitem__(k, when)
        if when < NEVER:
            self.planned(k)


class Interpreter:
    """One replication on SimPy.

    Args:
        assembly: the layout; its world is used up.
        fresh: as `sim.kernel.loop.begin` takes it.
    """

    def __init__(
        self, assembly: Assembly, *, replication: int = 0, acts: Sequence[Act] = (), fresh: int = 1,
        events_max: int = EVENTS_MAX,
    ) -> None:  # fmt: skip
        self.assembly, self.world = assembly, assembly.world
        w = self.world
        w.replication = replication
        self.env = simpy.Environment(w.now)
        self._events: list[simpy.Event | None] = [None] * len(w.due)
        self._events_max = events_max
        self._flag = halt.current()
        calendar = _Calendar(w.due)
        calendar.planned = self._push
        w.due = calendar
        self._calendar_size, w.calendar_size = w.calendar_size, 0  # SimPy's queue is the calendar
        self._busy = True  # until all is set up
        self._draining = False
        self.components = instances(assembly, self._changed)
        self._opaque = [c for c in self.components if isinstance(c, Opaque)]
        kinds = [p.type for p in assembly.layout.components]
        self._processes = [
            (c, h) for c, kind in zip(self.components, kinds, strict=True) for h in kind.of("process")
        ]  # fmt: skip
        if fresh != 1:
            self._refuse_processes(exactly=fresh == 0)
        self._compute(kinds)
        for act in acts:
            self.plan(act)
        for k, when in enumerate(calendar):
            if when < NEVER:
                self._push(k)
        for part in self._opaque:
            part.open(assembly.layout.unit_s, replication)
        loop.begin(w, fresh)
        if fresh != 1:
            self._resume(exactly=fresh == 0)
        self._busy = False
        self._drain_soon()
        for component, handler in self._processes:
            self.env.process(handler.function(component, self.env))

    def _compute(self, kinds: Sequence[ComponentType]) -> None:
        """What the handlers and guards of each component are: in doubles where the kernel could run them."""
        doubles = Doubles(self.world)
        self._handlers: list[dict[int, Callable[..., Any]]] = []
        self._rules: list[list[tuple[int, Callable[..., Any], Callable[..., Any]]]] = []
        made: dict[ComponentType, tuple[dict[int, Any], list[Any]]] = {}
        for component, kind in zip(self.components, kinds, strict=True):
            if compilable(kind):
                vars(component).update(constants(kind))
            if kind not in made:
                made[kind] = self._functions(kind, doubles)
            handlers, guards = made[kind]
            self._handlers.append(handlers)
            self._rules.append(guards)

    def _functions(self, kind: ComponentType, doubles: Doubles) -> tuple[dict[int, Any], list[Any]]:
        """Handlers by their numbers; rules as number, guard and handler."""
        if compilable(kind):
            handlers = {h.number: doubles.handler(h) for h in kind.handlers}
            return handlers, [(h.number, doubles.guard(h), handlers[h.number]) for h in kind.rules]
        handlers = {h.number: self._turning(h.function) for h in kind.handlers}
        return handlers, [(h.number, h.trigger.guard, handlers[h.number]) for h in kind.rules]

    def plan(self, act: Act) -> None:
        """An intervention to come, or at this very moment."""
        self._at(act.at, 1, lambda event: self._act(act))

    def run(
        self, horizon: float, grid: NDArray[np.float64] | None = None, watched: NDArray[np.int64] | None = None,
        seen: Seen | None = None,
    ) -> NDArray[np.float32]:  # fmt: skip
        """Everything up to and including the horizon; samples, shape (t, p).

        Args:
            seen: room of this replication for what is seen between events; it goes on where it was.

        Raises:
            Fault: a component did what cannot be; the message names it.
            Halted: the flag of the thread that made this was raised.
        """
        grid = np.empty(0) if grid is None else grid
        watched = np.empty((0, 2), np.int64) if watched is None else watched
        samples = np.empty((len(grid), len(watched)), np.float32)
        room = None if seen is None else seen.arrays
        g = 0
        while True:
            t = self.env.peek()
            pending = t <= self.world.now and self.world.head != self.world.tail
            while not pending and g < len(grid) and grid[g] <= t:
                for p, (kind, at) in enumerate(watched):
                    samples[g, p] = loop.read(self.world, int(kind), int(at), float(grid[g]))
                g += 1
            if room is not None and self.world.now < min(t, horizon):
                loop.observe(self.world, min(t, horizon), watched, *room, 0)
            if t > horizon:
                break
            if t > self.world.now:  # before SimPy's own processes act at that moment
                self.world.now, self.world.still = t, 0
            with suppress(Stopped):
                self.env.step()
            self._check()
        self.world.now = horizon
        self.env._now = horizon
        return samples

    def _check(self) -> None:
        if self.world.fault == rules.HALTED:
            raise halt.Halted
        if self.world.fault:
            raise fault_of(self.assembly, self.world)

    def snapshot(self) -> Packed:
        """The state as the kernel takes it, to go on from exactly (`fresh` 0). Take it when a run has returned.

        Raises:
            Refused: a component's state outside its fields cannot be saved.
        """
        self._refuse_processes(exactly=True)
        return self._packed()

    def _packed(self) -> Packed:
        w = self.world
        w.opaque = {part.handle.placed.name: part.save() for part in self._opaque}
        kept = w.due, w.calendar_size
        w.due, w.calendar_size = list(w.due), self._calendar_size
        try:
            return pack(w)
        finally:
            w.due, w.calendar_size = kept

    def aged(self) -> Packed:
        """The state with what is in hand and how long it has been, to go on from with other chance (`fresh` 2).

        Of each timer that was started with a draw the time already worked is kept; what remains is drawn anew in each
        replication, given that age.

        Raises:
            Refused: a component's state outside its fields cannot be saved.
        """
        self._refuse_processes(exactly=False)
        w = unpack(self._packed())
        for k, d in enumerate(w.slot_draw):
            if d >= 0 and rules.running(w, k):
                left = (w.due[k] - w.now) * rules.speed(w, k) if w.due[k] < NEVER else w.left[k]
                w.age[k] = max(0.0, w.whole[k] - left)
                w.due[k], w.left[k] = NEVER, -1.0
        w.drawn = [0] * len(w.drawn)
        w.spare = [-1.0] * len(w.spare)
        return pack(w)

    def close(self) -> None:
        """Free what opaque components hold: instances of FMUs, networks."""
        for part in self._opaque:
            part.close()

    def _refuse_processes(self, *, exactly: bool) -> None:
        for component, handler in self._processes:
            if exactly or not handler.trigger.anew:
                place = f"{component.handle.placed.name}.{handler.name}"
                hint = "keep its memory in fields and mark it @process_anew, or make it a Generator of sim.opaque"
                raise Refused(f"{place} is a SimPy process: nobody can save where it stands", hint)

    def _resume(self, *, exactly: bool) -> None:
        saved = self.world.opaque
        for part in self._opaque:
            name = part.handle.placed.name
            if exactly and name not in saved:
                raise Refused(
                    f"the state holds nothing of {name}, {part.title()}", "take it with Interpreter.snapshot()"
                )
            part.restore(saved.get(name))

    # --- SimPy's queue -----------------------------------------------------------------------------------------------

    def _at(self, when: float, priority: int, call: Callable[[simpy.Event], None]) -> simpy.Event:
        event = simpy.Event(self.env)
        event._ok, event._value = True, None
        event.callbacks = [call]
        heapq.heappush(self.env._queue, (when, priority, next(self.env._eid), event))
        return event

    def _push(self, k: int) -> None:
        self._events[k] = self._at(self.world.due[k], 2 + k, lambda event: self._fire(k, event))

    def _fire(self, k: int, event: simpy.Event) -> None:
        w = self.world
        if self._events[k] is not event or w.due[k] != self.env.now:
            return  # stopped, or planned anew
        c, h = w.slot_component[k], w.slot_handler[k]
        self._moved(c, h)
        rules.plan(w, k, NEVER)
        self._busy = True
        if w.slot_level[k] >= 0:
            levels.pass_crossing(w, k)
        self._busy = False
        self._step(c, h)

    def _act(self, act: Act) -> None:
        w = self.world
        self._moved(-1, act.kind)
        if w.traced < len(w.trace_time):
            w.trace_time[w.traced], w.trace_what[w.traced] = w.now, -1 - act.kind
            w.traced += 1
        if act.kind == COMMAND:
            self._step(act.component, act.index)
            return
        if act.kind == EXPIRE:
            self._step(act.component, loop.expire(w, act.index))
            return
        self._busy = True
        loop.intervene(w, act.kind, act.component, act.index, act.value)
        self._busy = False
        self._step(act.component, LOOK)

    def _moved(self, c: int, h: int) -> None:
        """An event of a component's handler, or, with -1, of an intervention's kind."""
        w = self.world
        w.fault_component, w.fault_handler = c, h
        w.events += 1
        if w.events > self._events_max:
            rules.fail(w, rules.TOO_MANY_EVENTS, self._events_max)
        if w.events & FLAG_EVERY == 0 and self._flag[0]:
            rules.fail(w, rules.HALTED, 0)

    # --- handlers ----------------------------------------------------------------------------------------------------

    def _step(self, c: int, h: int) -> None:
        """A handler and then the rules of its component; then everything that woke."""
        self._run(c, h)
        self._drain()

    def _drain(self) -> None:
        w = self.world
        while w.head != w.tail and not w.fault:
            item = w.queue[w.head & (len(w.queue) - 1)]
            w.head += 1
            self._run(item // TRACE_BASE, item & (TRACE_BASE - 1))

    def _run(self, c: int, h: int) -> None:
        w = self.world
        if not w.fault:
            w.fault_component, w.fault_handler = c, h
        w.still += 1
        if w.still > loop.STILL_MAX:
            rules.fail(w, rules.STANDING_STILL, 0)
        if c < 0 or w.fault:
            return
        component = self.components[c]
        self._busy = True
        w.current = c
        try:
            if h == LOOK:
                w.queued[c] = 0
            else:
                loop.note(w, c, h)
                self._handlers[c][h](component)
            fired = 0
            while not w.fault and self._fires(component, c):
                fired += 1
                if fired >= RULES_MAX:
                    rules.fail(w, rules.RULES_WITHOUT_END, c)
        except Stopped:
            return
        except (ArithmeticError, ValueError) as wrong:
            rules.fail(w, rules.BAD_NUMBER, 0)
            raise fault_of(self.assembly, w) from wrong
        except (TypeError, AttributeError, LookupError, NameError, RecursionError) as wrong:
            if not w.fault and "complex" not in str(
                wrong
            ):  # the root of a negative number is no number to compute with
                raise broken(self.assembly, w, wrong) from wrong
            rules.fail(w, rules.BAD_NUMBER, 0)
            raise fault_of(self.assembly, w) from wrong
        finally:
            w.current = -1
            self._busy = False

    def _fires(self, component: object, c: int) -> bool:
        self.world.fault_handler = LOOK
        for number, guard, function in self._rules[c]:
            if guard(component):
                loop.note(self.world, c, number)
                function(component)
                return True
        return False

    def _turning(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A handler whose loops have the kernel's limit."""
        if "range" not in function.__code__.co_names:
            return function

        def limited(*numbers: int) -> range:
            return range(*numbers) if len(numbers) > 1 else range(rules.turns(self.world, *numbers))

        names = {**function.__globals__, "range": limited}
        return FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)

    def _changed(self) -> None:
        """A process of SimPy's changed something outside any handler."""
        if not self._busy:
            self._drain_soon()

    def _drain_soon(self) -> None:
        if not self._draining:
            self._draining = True
            self._at(self.env.now, 0, lambda event: self._drained())

    def _drained(self) -> None:
        self._draining = False
        self._drain()


def trace_of(world: World) -> list[tuple[float, int, int]]:
    """The trace as (time, component, handler); (time, -1, kind) for interventions."""
    entries = zip(world.trace_time[: world.traced], world.trace_what[: world.traced], strict=True)
    return [(t, what // TRACE_BASE, what % TRACE_BASE) if what >= 0 else (t, -1, -1 - what) for t, what in entries]
