"""A running layout looked at by name, as its instruments would: states, since when, numbers, ages; changes nothing."""

from __future__ import annotations

from sim.kernel import loop, rules
from sim.kernel.interpreter import Interpreter
from sim.kernel.loop import SET_CAPACITY, SET_CEILING
from sim.kernel.names import Names
from sim.kernel.world import NEVER


class Glance:
    """What can be seen of a run, at its present moment; times in the layout's unit."""

    def __init__(self, run: Interpreter, names: Names) -> None:
        self._run, self._names = run, names

    @property
    def now(self) -> float:
        return self._run.world.now

    def state(self, name: str) -> str:
        """`filler.work`."""
        at = self._names.reading(name).index
        return self._names.modes[name][self._run.world.mode[at]]

    def since(self, name: str) -> float:
        """For how long a state has been what it is."""
        return self.now - self._run.world.entered[self._names.reading(name).index]

    def number(self, name: str) -> float:
        """`filler.made`, `table.level`, `crew.busy`, `filler.speed`, `crew.capacity`."""
        target = self._names.targets.get(name)
        if target is not None and target.kind == SET_CAPACITY:
            return float(self._run.world.capacity[target.index])
        if target is not None and target.kind == SET_CEILING:
            return self._run.world.ceiling[target.index]
        reading = self._names.reading(name)
        return loop.read(self._run.world, reading.kind, reading.index, self.now)

    def age(self, name: str) -> float:
        """Work that a timer has done; 0 while it does not run."""
        owner, _, timer = name.rpartition(".")
        placed = self._names.assembly.layout.component(owner)
        field = next(t for t in placed.type.timers if t.name == timer)
        w, k = self._run.world, self._names.assembly.slot(placed, field)
        if not rules.running(w, k):
            return 0.0
        left = (w.due[k] - w.now) * rules.speed(w, k) if w.due[k] < NEVER else w.left[k]
        return max(0.0, w.whole[k] - left)
