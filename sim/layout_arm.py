"""A scenario of a layout made ready: names and values looked at, what holds from the start set; must not know who runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sim.beginning import Beginning
from sim.kernel.assembly import Assembly
from sim.kernel.interpreter import Act
from sim.kernel.loop import ADDED, COMMAND, SET_AMOUNT, SET_CAPACITY, SET_CEILING, SET_NUMBER, SET_SIGNAL
from sim.kernel.names import Names, Target
from sim.kernel.world import Packed, World, pack
from sim.layout import Layout
from sim.scenario import Intervention, Scenario, Verb, state_of
from twin.errors import BadRequest
from twin.nearest import nearest

HELD = {
    SET_NUMBER: "number", SET_CAPACITY: "capacity", SET_SIGNAL: "amount", SET_CEILING: "ceiling", SET_AMOUNT: "amount",
}  # fmt: skip
"""Kind of intervention -> the column of the world that it sets."""
NAMED_MAX = 8  # names in a hint: one line of a terminal
FIXED = (SET_NUMBER, SET_CAPACITY, SET_CEILING)
"""Those that nothing but an intervention changes, as a rule: what they will be is known before the run."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A scenario made ready: what is set before the first event is in `packed`, the rest are acts."""

    assembly: Assembly
    packed: Packed
    acts: Sequence[Act]


@dataclass(slots=True)
class Preparation:
    """One scenario on its way to an arm.

    Attributes:
        first: the world as the first replication starts.
        held: what was set so far, by name.
    """

    layout: Layout
    begin: Beginning
    scenario: Scenario
    horizon_s: float
    names: Names
    first: World
    held: dict[str, float] = field(default_factory=dict)

    def arm(self) -> Arm:
        """Used up by it.

        Raises:
            BadRequest: a name or a value cannot be.
        """
        world, acts = self.names.assembly.world, []
        for _, steps in groupby(self.scenario.interventions, key=lambda step: step.at_s):
            for step in steps:
                for act in self._acts(step):
                    # From nothing, what holds from the start holds for the first draws too.
                    if act.at > 0 or self.begin.states is not None or not _preset(world, act):
                        acts.append(act)
            self._check_laws()
        return Arm(self.names.assembly, pack(world), acts)

    def _check_laws(self) -> None:
        """Distributions of which parameters were set must still be some."""
        for law, kind in dict.fromkeys(self.names.laws[name] for name in self.held if name in self.names.laws):
            keys = [f"{law}.{key}" for key in kind.keys]
            numbers = tuple(self._number(key) for key in keys)
            problem = kind.problem(numbers)
            if problem:
                told = f"{kind.__name__}({', '.join(f'{x:g}' for x in numbers)})"
                raise BadRequest(f"scenario {self.scenario.name!r}: {law} would be {told}", problem)

    def _number(self, key: str) -> float:
        return self.held.get(key, float(self.first.number[self.names.targets[key].index]))

    def _acts(self, step: Intervention) -> Sequence[Act]:
        """What an intervention does."""
        place = f"scenario {self.scenario.name!r}: {step.point}"
        if step.ends and step.at_s >= self.horizon_s:
            return ()
        if not 0 <= step.at_s < self.horizon_s:
            raise BadRequest(f"{place} is set outside the horizon of {self.horizon_s:g} s", "look further ahead")
        setting = self.begin.sets.get(step.point)
        if setting is None:
            return (self._act(place, step),)
        if isinstance(step.value, str) or step.verb is Verb.RUN or (step.verb is Verb.ADD and setting.map is not None):
            raise BadRequest(f"{place} can only be set to a number", f"write {step.point}=value")
        value = self.begin.settings.get(step.point) if step.value is None else step.value
        if step.verb is Verb.ADD and value is not None:
            before = self.held.get(step.point, self.begin.settings.get(step.point))
            value = None if before is None else before + value
        if value is None:
            what = "added to" if step.verb is Verb.ADD else "put back"
            raise BadRequest(f"{place} cannot be {what}: its value is not measured", f"write {step.point}=value")
        self.held[step.point] = value
        return setting.acts(self.names, step.at_s / self.layout.unit_s, value)

    def _act(self, place: str, step: Intervention) -> Act:
        names, held, name, at = self.names, self.held, step.point, step.at_s / self.layout.unit_s
        target = names.targets.get(name)
        if target is None:
            raise BadRequest(*self._unknown(step))
        if (step.verb is Verb.RUN) is not target.runs:
            fix = f"write run {step.point}" if target.runs else f"write {step.point}=value"
            kind = "no command" if not target.runs else "a command" if target.kind == COMMAND else "a timer"
            raise BadRequest(f"{place} is {kind}", fix)
        if step.verb is Verb.RUN:
            return names.act(at, name)
        first = held.get(name)
        if first is None and (step.verb is Verb.ADD or step.value is None):
            first = _held(self.first, target, place)
        if step.verb is Verb.ADD and first is not None:
            held[name] = first + float(step.value or 0.0)
            if target.kind in FIXED and target.problem(held[name]):
                raise BadRequest(f"{place} would be {held[name]:g}, it is {first:g} before", target.problem(held[name]))
            return names.act(at, name, float(step.value or 0.0), more=True)
        value = _held(self.first, target, place) if step.value is None else step.value
        value = state_of(value, target.values) if target.values else value
        if isinstance(value, float):
            held[name] = value
        return names.act(at, name, value)

    def _unknown(self, step: Intervention) -> tuple[str, str]:
        """What is wrong with a name that nothing has, and what may be meant."""
        name = step.point
        if step.verb is Verb.RUN:
            commands = [n for n, t in self.names.targets.items() if t.kind == COMMAND]
            return f"no command is called {name!r}", _meant(name, commands, commands)
        known = [*self.begin.sets, *(n for n, t in self.names.targets.items() if not t.runs)]
        # Points first: whoever works with the plant knows those.
        return f"nothing that can be set is called {name!r}", _meant(name, known, [*self.begin.sets] or known)


def _meant(name: str, known: Sequence[str], shown: Sequence[str]) -> str:
    """The nearest names; where none is near, those of the same twin, else the first few."""
    found = nearest(name, known)
    if found or not shown:
        return found or "there is none"
    same = [n for n in shown if n.partition(".")[0] == name.partition(".")[0]] or shown
    return f"{'such as' if len(same) > NAMED_MAX else 'there is'} {', '.join(same[:NAMED_MAX])}"


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
