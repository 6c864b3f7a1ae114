"""What people call things in a layout, and where those lie: targets of interventions, figures, trajectories; pure.

M3.cycle.mean   a parameter of a distribution      P1.rate      a number            M5.health    a state
crew.capacity   units of a resource                B1.capacity  of a buffer, tank   T1.level     what it holds
demand          a signal                           P1.switch_off                    a command
M3.fail        a timer, to fire now
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sim.kernel.assembly import Assembly
from sim.kernel.interpreter import Act
from sim.kernel.loop import (
    ADDED,
    AMOUNT,
    AREA,
    COMMAND,
    COUNT,
    EXPIRE,
    FIRST,
    FLOW,
    LENT,
    MODE,
    NUMBER,
    SET_AMOUNT,
    SET_CAPACITY,
    SET_CEILING,
    SET_NUMBER,
    SET_SIGNAL,
    SET_STATE,
    SHORT,
    SPENT,
    SPILT,
    USED,
)
from sim.layout import UNLIMITED, Entity, Placed
from sim.spec import POSITIVE, UNITS_MAX, Distribution, Level, Misspelt, Param, Resource, Signal
from twin.nearest import nearest


@dataclass(frozen=True, slots=True)
class Target:
    """What an intervention sets.

    Attributes:
        values: of a state, its names; empty otherwise.
        least, most: the smallest and largest number it takes; `positive`: the smallest not quite.
    """

    kind: int
    component: int
    index: int
    values: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    positive: bool = False

    def problem(self, value: float) -> str:
        """What is wrong with a value, "" for nothing."""
        if self.least <= value <= self.most and not (self.positive and value == 0):
            return ""
        if math.isfinite(self.most):
            return f"give {self.least:g} … {self.most:g}"
        return "give more than 0" if self.positive else f"give {self.least:g} or more"

    @property
    def runs(self) -> bool:
        """Whether it is run, a command or a timer that fires now, and takes no value."""
        return self.kind in (COMMAND, EXPIRE)


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure that can be read; `mean`: it is divided by the time of the run."""

    kind: int
    index: int
    mean: bool = False


@dataclass(slots=True)
class Names:
    """All names of a layout.

    Attributes:
        laws: parameter of a distribution -> the distribution's name and kind.
    """

    assembly: Assembly
    targets: dict[str, Target] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    modes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    laws: dict[str, tuple[str, type[Distribution]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entity in self.assembly.layout.entities:
            self._entity(entity)
        for placed in self.assembly.layout.components:
            self._component(placed)

    def act(self, at: float, name: str, value: float | str = 0.0, *, more: bool = False) -> Act:
        """An intervention at a time.

        Args:
            value: a number, or a state's name.
            more: so much more, or less, than there is then.

        Raises:
            Misspelt: nothing is called so, or it does not take that value.
        """
        target = self.targets.get(name)
        if target is None:
            hint = nearest(name, self.targets) or "a number, state, capacity, level, signal or command"
            raise Misspelt(f"nothing that can be set is called {name!r}", hint)
        if not 0 <= at < math.inf:
            raise Misspelt(f"{name} at {at:g}", "a finite time from the start, 0 or more")
        if target.values:
            if more:
                raise Misspelt(f"{name} {value:+}", "a state cannot be added to: say which one comes")
            if value not in target.values:
                raise Misspelt(f"{name} = {value!r}", f"one of {target.values}")
            return Act(at, target.kind, target.component, target.index, float(target.values.index(str(value))))
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise Misspelt(f"{name} = {value!r}", "give a finite number")
        if target.kind == SET_CAPACITY and (value != int(value) or abs(value) > UNITS_MAX):
            raise Misspelt(f"{name} {'+' if more else ''}= {value:g}", f"a whole number of units, at most {UNITS_MAX}")
        if not more and target.problem(value):
            raise Misspelt(f"{name} = {value:g}", target.problem(value))
        kind = target.kind + ADDED if more else target.kind
        return Act(at, kind, target.component, target.index, float(value))

    def reading(self, name: str) -> Reading:
        """A figure.

        Raises:
            Misspelt: nothing is called so.
        """
        found = self.readings.get(name)
        if found is None:
            hint = nearest(name, self.readings) or f"for example {', '.join(list(self.readings)[:5])}"
            raise Misspelt(f"no figure is called {name!r}", hint)
        return found

    def _entity(self, e: Entity) -> None:
        n, name = e.number, e.name
        if e.kind is Resource:
            self.targets[f"{name}.capacity"] = Target(SET_CAPACITY, -1, n, least=0.0)
            self.readings[f"{name}.busy"] = Reading(LENT, n)
            self.readings[f"{name}.utilisation"] = Reading(USED, n)
            return
        if e.kind is Signal:
            self.targets[name] = Target(SET_SIGNAL, -1, n)
            self.readings[name] = Reading(AMOUNT, n)
            self.readings[f"{name}.mean"] = Reading(AREA, n, mean=True)
            return
        self.readings[f"{name}.level"] = self.readings[name] = Reading(AMOUNT, n)
        self.readings[f"{name}.mean"] = Reading(AREA, n, mean=True)
        if abs(e.floor) < UNLIMITED:
            self.targets[f"{name}.capacity"] = Target(SET_CEILING, -1, n, least=e.floor)
        if not e.size:
            self.targets[f"{name}.level"] = Target(SET_AMOUNT, -1, n, least=e.floor)
        if e.kind is Level:
            self.readings[f"{name}.short"] = Reading(SHORT, n)
            self.readings[f"{name}.spilt"] = Reading(SPILT, n)

    def _component(self, placed: Placed) -> None:
        kind, place, c = placed.type, self.assembly.places[placed.number], placed.number
        for number in kind.numbers:
            speed = any(t.speed is not None and t.speed.name == number.name for t in kind.timers)
            low, high = (number.low, number.high) if isinstance(number, Param) else (-math.inf, math.inf)
            target = Target(
                SET_NUMBER, c, place.number + kind.at(number), least=max(low, 0.0) if speed else low, most=high
            )
            self._number(f"{placed.name}.{number.name}", target)
        for chance in kind.chances:
            given, law = placed.values.get(chance.name, chance), f"{placed.name}.{chance.name}"
            assert isinstance(given, Distribution)
            for position, key in enumerate(given.keys):
                at = place.number + kind.draw_at(chance) + position
                self._number(f"{law}.{key}", Target(SET_NUMBER, c, at, least=0.0, positive=key in POSITIVE))
                self.laws[f"{law}.{key}"] = law, type(given)
        for state in kind.states:
            i = place.mode + state.index
            name = f"{placed.name}.{state.name}"
            self.targets[name] = Target(SET_STATE, c, i, state.values)
            self.readings[name] = Reading(MODE, i)
            self.modes[name] = state.values
            for position, value in enumerate(state.values):
                at = self.assembly.world.spent_base[i] + position
                self.readings[f"{name}.{value}"] = Reading(SPENT, at, mean=True)
        for timer in kind.timers:
            if kind.timed(timer) is not None:
                self.targets[f"{placed.name}.{timer.name}"] = Target(EXPIRE, c, self.assembly.slot(placed, timer))
        for handler in kind.handlers:
            if handler.trigger.kind == "command":
                self.targets[f"{placed.name}.{handler.name}"] = Target(COMMAND, c, handler.number)
            self.readings[f"{placed.name}.{handler.name}.count"] = Reading(COUNT, place.count + handler.number)
            self.readings[f"{placed.name}.{handler.name}.first"] = Reading(FIRST, place.count + handler.number)
        for link in kind.transfers:
            if min(placed.ports[link.src.name], placed.ports[link.dst.name]) < 0:
                continue
            self.readings[f"{placed.name}.{link.name}.flow"] = Reading(FLOW, place.transfer + link.index)

    def _number(self, name: str, target: Target) -> None:
        self.targets[name] = target
        self.readings[name] = Reading(NUMBER, target.index)


def trajectory_readings(names: Names) -> Mapping[str, Reading]:
    """The figures that mean something at any moment."""
    return {n: r for n, r in names.readings.items() if r.kind in (AMOUNT, NUMBER, MODE, LENT, FLOW)}
