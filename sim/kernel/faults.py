"""What a run says when a component did what cannot be: the words for the numbers in `World.fault`."""

from __future__ import annotations

from collections.abc import Mapping

from sim.kernel import rules
from sim.kernel.assembly import Assembly
from sim.kernel.world import World
from twin.errors import Refused


class Fault(Refused):
    """A component did what cannot be; the run stopped. The message names component, handler and rule."""


WORDS: Mapping[int, tuple[str, str]] = {
    rules.NEGATIVE_TIME: ("started {slot} with a time that is negative or no number", "give 0 or more"),
    rules.OVERTAKEN: ("took more from {entity} than there is", "ask for its level first"),
    rules.OVERFILLED: ("put more into {entity} than fits", "ask for its space first"),
    rules.QUEUE_FULL: ("woke more components at one moment than can be", "look for a loop between them"),
    rules.WAIT_FULL: ("asked {entity} for more units than can wait", "ask once, and release"),
    rules.RULES_WITHOUT_END: (f"fired {rules.RULES_MAX} rules at one moment", "a rule must make its own guard false"),
    rules.STANDING_STILL: ("stood still: a million events and no time passed", "something must take time"),
    rules.FLOWS_UNSETTLED: ("left flows through {entity} that do not settle", "look for a circle of transfers"),
    rules.BAD_NUMBER: ("computed something that is no finite number", "look for a division by 0"),
    rules.NEGATIVE_RATE: ("set a negative rate or speed", "turn a Transfer round instead; speeds are 0 or more"),
    rules.TOO_MANY_EVENTS: ("ran past the limit of events", "shorten the horizon or slow the plant down"),
    rules.RELEASED_TWICE: ("released more units of {entity} than it has", "release once for each loan"),
}
ENTITY_FAULTS = frozenset(number for number, (words, _) in WORDS.items() if "{entity}" in words)


def fault_of(assembly: Assembly, w: World) -> Fault:
    """The fault of a world that stopped."""
    return fault(assembly, w.fault, w.fault_at, w.fault_component, w.fault_handler, w.now)


def fault(assembly: Assembly, number: int, at: int, c: int, h: int, now: float) -> Fault:
    """What went wrong, in words: who, in which handler, when."""
    layout = assembly.layout
    words, hint = WORDS[number]
    entity = layout.entities[at].name if number in ENTITY_FAULTS else ""
    placed = layout.components[c]
    name = next((f".{x.name}" for x in placed.type.handlers if x.number == h), "")
    slot = f"{placed.name}.{_timer(assembly, at)}" if number == rules.NEGATIVE_TIME else ""
    said = words.format(entity=entity, slot=slot)
    return Fault(f"{placed.name} ({placed.type.name}{name}) {said}, at {now:g} {layout.time_unit}", hint)


def _timer(assembly: Assembly, k: int) -> str:
    c = assembly.world.slot_component[k]
    placed = assembly.layout.components[c]
    return placed.type.timers[k - assembly.places[c].slot].name
