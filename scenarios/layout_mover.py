"""Moves the devices of a plant whose model is a layout: the layout itself, live on SimPy; must not know any one plant."""

from __future__ import annotations

import queue
from collections.abc import Mapping

import numpy as np

from scenarios.mover import Measured
from sim.glance import Glance
from sim.kernel.assembly import assemble
from sim.kernel.interpreter import Interpreter
from sim.kernel.names import Names
from sim.layout_model import ELSE, Setting, Tie
from sim.layout_rows import read_layout_model
from twin.plant import Plant
from twin.points import Point
from twin.quality import GOOD

START_S = 6 * 3600.0  # the plant's own time at the start: the early shift begins
EVENTS_MAX = 2**62  # a fleet runs for weeks


class LayoutMover:
    """See scenarios.mover.Mover. The same seed and commands give the same readings.

    What a device shows comes from the model's rows read backwards, and from `shows` of the layout file where it says
    more. Settings that nothing shows keep what they were told.

    Args:
        start_s: the plant's own time at the start, seconds since midnight of its day 0.
    """

    def __init__(self, plant: Plant, seed: int, start_s: float | None = None) -> None:
        self._plant, self.model = plant, read_layout_model(plant)
        assembly = assemble(self.model.layout, seed=seed)
        self._names = Names(assembly)
        self.run = Interpreter(assembly, events_max=EVENTS_MAX)
        self.run.run(0.0)
        self._glance = Glance(self.run, self._names)
        self._start_s = START_S if start_s is None else start_s
        self._commands: queue.SimpleQueue[tuple[Setting, float]] = queue.SimpleQueue()
        self._settings: dict[int, float] = {}
        self._untold: set[int] = set()  # points whose command has not reached the layout yet: theirs is not shown back
        self._shown: dict[int, float] = {}
        self._text: dict[int, str] = {}
        self._show()
        for name, setting in self.model.sets.items():
            self._settings.setdefault(plant.point(name).id, self._as_built(setting))

    def advance(self, elapsed_s: float) -> Measured:
        now = self.run.world.now
        while not self._commands.empty():
            setting, value = self._commands.get()
            self._untold.discard(self._plant.point(setting.point).id)
            for act in setting.acts(self._names, now, value):
                self.run.plan(act)
        self.run.run(max(now, elapsed_s / self.model.layout.unit_s))
        self._show()
        ids = np.fromiter(self._shown, np.int32, len(self._shown))
        values = np.fromiter(self._shown.values(), np.float64, len(self._shown))
        return Measured(ids, values, np.full(len(ids), GOOD, np.uint32), dict(self._text))

    def command(self, point: Point, value: float) -> bool:
        setting = self.model.sets.get(point.name)
        low, high = (0.0, 1.0) if point.type == "boolean" else (point.low, point.high)
        if setting is None or not low <= value <= high or (setting.map is not None and value not in setting.map):
            return False
        if point.type == "integer" and value != int(value):
            return False
        self._untold.add(point.id)
        self._settings[point.id] = value
        self._commands.put((setting, value))
        return True

    def settings(self) -> Mapping[int, float]:
        return dict(self._settings)

    def _show(self) -> None:
        """What the instruments read now."""
        plant = self._plant
        clock = plant.point(self.model.clock)
        shown: dict[str, float | str] = {clock.name: self._start_s + self._glance.now * self.model.layout.unit_s}
        for tie in self.model.ties:
            shown |= self._backwards(tie)
        if self.model.shows is not None:
            shown |= self.model.shows(self._glance)
        for name, value in shown.items():
            point = plant.point(name)
            if isinstance(value, str):
                self._shown[point.id], self._text[point.id] = np.nan, value
            else:
                self._shown[point.id] = value
                if point.writable and point.id not in self._untold:
                    self._settings[point.id] = value

    def _backwards(self, tie: Tie) -> dict[str, float | str]:
        """What a row's points show, as far as one value only means this state."""
        glance = self._glance
        match tie.kind:
            case "state":
                state = glance.state(tie.target)
                said = [value for value, meant in (tie.map or {}).items() if meant == state and value != ELSE]
                found: dict[str, float | str] = {tie.point: said[0]} if said else {}
                if tie.age in self._plant.point_of_name:
                    found[tie.age] = glance.since(tie.target) / tie.age_factor
                return found
            case "timer":
                return {tie.point: glance.age(tie.target) / tie.factor}
            case "figure" if tie.shown:
                states = self._names.modes[tie.target]
                return {tie.point: tie.shown[states.index(glance.state(tie.target))]}
            case "queue":
                return {tie.point: glance.number(f"{tie.target}.level") / tie.factor}
        return {tie.point: glance.number(tie.target) / tie.factor}

    def _as_built(self, setting: Setting) -> float:
        """What a setting was before anybody touched it, when nothing shows it."""
        if setting.map:
            return next(iter(setting.map))
        return self._glance.number(setting.target) / setting.factor
