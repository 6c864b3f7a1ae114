"""What a component's own methods get hold of on SimPy: fields that read and write the world; the rules do the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.kernel import levels, loop, rules
from sim.kernel.assembly import Assembly, Place
from sim.kernel.doubles import Stopped
from sim.kernel.rules import TRACE_BASE
from sim.kernel.world import World
from sim.layout import Placed
from sim.spec import (
    Buffer,
    Component,
    Distribution,
    Level,
    Misspelt,
    Number,
    Port,
    Resource,
    Signal,
    State,
    Timer,
    Transfer,
)


@dataclass(slots=True)
class Handle:
    """A component's place in the world.

    Attributes:
        changed: told after each change, so that what it woke runs although no event did.
    """

    w: World
    placed: Placed
    place: Place
    changed: Callable[[], None]

    @property
    def now(self) -> float:
        return self.w.now

    def state(self, state: State) -> str:
        return state.values[self.w.mode[self.place.mode + self.placed.type.at(state)]]

    def enter(self, state: State, value: str) -> None:
        if value not in state.values:
            raise Misspelt(f"{self.placed.name}.{state.name} has no state {value!r}", f"one of {state.values}")
        i = self.place.mode + self.placed.type.at(state)
        rules.enter(self.w, i, state.values.index(value))
        rules.gates(self.w, self.placed.number, i)
        self.changed()

    def number(self, number: Number) -> float:
        return self.w.number[self.place.number + self.placed.type.at(number)]

    def assign(self, number: Number, value: float) -> None:
        at = self.place.number + self.placed.type.at(number)
        rules.assign(self.w, self.placed.number, at, rules.checked(self.w, float(value)))
        self.changed()


class ChanceHandle:
    """A distribution."""

    def __init__(self, handle: Handle, chance: Distribution) -> None:
        kind = handle.placed.type
        self._w = handle.w
        self._d = handle.place.draw + kind.at(chance)
        self._at = handle.place.number + kind.draw_at(kind.chances[kind.at(chance)])

    def draw(self) -> float:
        return rules.draw(self._w, self._d, self._at)


class TimerHandle:
    """A timer."""

    def __init__(self, handle: Handle, timer: Timer) -> None:
        self._w, self._k = handle.w, handle.place.slot + handle.placed.type.at(timer)
        self._changed = handle.changed
        self._name, self._drawn = f"{handle.placed.name}.{timer.name}", timer.chance is not None

    def start(self, after: float | None = None) -> None:
        w, k = self._w, self._k
        if after is None and not self._drawn:
            raise Misspelt(f"{self._name} has no distribution", "start it with a time")
        rules.start(w, k, rules.draw(w, w.slot_draw[k], w.slot_draw_at[k]) if after is None else float(after))
        self._changed()

    def stop(self) -> None:
        rules.stop(self._w, self._k)
        self._changed()

    @property
    def running(self) -> bool:
        return rules.running(self._w, self._k)


class PortHandle:
    """A port; the methods of each sort of thing."""

    def __init__(self, handle: Handle, port: Port) -> None:
        self._w, self._p = handle.w, handle.place.port + handle.placed.type.at(port)
        self._e = handle.placed.ports[port.name]
        self._changed = handle.changed

    @property
    def connected(self) -> bool:
        return True


class FreeHandle:
    """A port that leads nowhere: to use it is a fault."""

    connected = False

    def __init__(self, handle: Handle, port: Port) -> None:
        vars(self)["at"] = handle.w, handle.place.port + handle.placed.type.at(port)

    def __getattr__(self, name: str) -> object:
        rules.tied(*vars(self)["at"])
        raise Stopped

    def __setattr__(self, name: str, value: object) -> None:
        rules.tied(*vars(self)["at"])
        raise Stopped


class BufferHandle(PortHandle):
    """Parts, or a queue of numbers."""

    @property
    def level(self) -> float:
        return self._w.amount[self._e]

    @property
    def space(self) -> float:
        return self._w.ceiling[self._e] - self._w.amount[self._e]

    @property
    def first(self) -> float:
        return rules.front(self._w, self._e)

    def put(self, n: float) -> None:
        rules.put(self._w, self._e, float(n))
        self._changed()

    def take(self, n: float) -> None:
        rules.take(self._w, self._e, float(n))
        self._changed()

    def push(self, x: float) -> None:
        rules.push(self._w, self._e, float(x))
        self._changed()

    def pop(self) -> float:
        x = rules.pop(self._w, self._e)
        self._changed()
        return x


class LevelHandle(PortHandle):
    """A level, and what this port contributes."""

    @property
    def level(self) -> float:
        return levels.level(self._w, self._e)

    @property
    def space(self) -> float:
        return self._w.ceiling[self._e] - levels.level(self._w, self._e)

    @property
    def flow(self) -> float:
        return self._w.flow[self._p]

    @flow.setter
    def flow(self, q: float) -> None:
        levels.give(self._w, self._p, float(q))
        self._changed()

    def put(self, x: float) -> None:
        levels.pour(self._w, self._e, float(x))
        self._changed()

    def take(self, x: float) -> None:
        levels.drain(self._w, self._e, float(x))
        self._changed()


class ResourceHandle(PortHandle):
    """Units that are lent."""

    def __init__(self, handle: Handle, port: Port) -> None:
        super().__init__(handle, port)
        granted = handle.placed.type.timed(port)
        self._item = handle.placed.number * TRACE_BASE + (granted.number if granted else 0)
        self._name = f"{handle.placed.name}.{port.name}"

    @property
    def free(self) -> float:
        return float(self._w.free[self._e])

    @property
    def capacity(self) -> float:
        return float(self._w.capacity[self._e])

    @capacity.setter
    def capacity(self, units: float) -> None:
        rules.staff(self._w, self._e, float(units))
        self._changed()

    def request(self) -> None:
        if not self._item & (TRACE_BASE - 1):
            raise Misspelt(f"{self._name}.request() has no handler", "write one with @on(the port)")
        rules.request(self._w, self._e, self._item)
        self._changed()

    def release(self) -> None:
        rules.release(self._w, self._e)
        self._changed()


class SignalHandle(PortHandle):
    """A number that others see."""

    @property
    def value(self) -> float:
        return self._w.amount[self._e]

    @value.setter
    def value(self, x: float) -> None:
        rules.signal(self._w, self._e, rules.checked(self._w, float(x)))
        self._changed()


class TransferHandle:
    """A flow from level to level."""

    def __init__(self, handle: Handle, link: Transfer) -> None:
        self._w, self._x, self._changed = handle.w, handle.place.transfer + link.index, handle.changed
        self._ports = [handle.place.port + handle.placed.type.at(port) for port in (link.src, link.dst)]

    @property
    def rate(self) -> float:
        return self._w.wish[self._x]

    @rate.setter
    def rate(self, q: float) -> None:
        self._tied()
        levels.transfer(self._w, self._x, float(q))
        self._changed()

    @property
    def flow(self) -> float:
        self._tied()
        return loop.read(self._w, loop.FLOW, self._x, self._w.now)

    def _tied(self) -> None:
        if not all(rules.tied(self._w, p) for p in self._ports):
            raise Stopped


PORTS: dict[type, type[PortHandle]] = {
    Buffer: BufferHandle, Resource: ResourceHandle, Level: LevelHandle, Signal: SignalHandle,
}  # fmt: skip


def instances(assembly: Assembly, changed: Callable[[], None]) -> list[Component]:
    """One object of each component's class, tied to the world."""
    return [
        _instance(Handle(assembly.world, p, assembly.places[p.number], changed)) for p in assembly.layout.components
    ]


def _instance(handle: Handle) -> Component:
    kind = handle.placed.type
    component = kind.cls()
    component.handle = handle
    ties = vars(component)
    for timer in kind.timers:
        ties[timer.name] = TimerHandle(handle, timer)
    for chance in kind.chances:
        ties[chance.name] = ChanceHandle(handle, chance)
    for port in kind.ports:
        ties[port.name] = (PORTS[port.to] if handle.placed.ports[port.name] >= 0 else FreeHandle)(handle, port)
    for link in kind.transfers:
        ties[link.name] = TransferHandle(handle, link)
    return component
