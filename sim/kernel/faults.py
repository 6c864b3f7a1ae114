"""What a run says when a component did what cannot be: the words for the numbers in `World.fault`."""

from __future__ import annotations

from collections.abc import Mapping

from sim.kernel import rules
from sim.kernel.assembly import Assembly
from sim.kernel.source import source
from sim.kernel.world import World
from sim.spec import Misspelt
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
    rules.STANDING_STILL: (
        "was the last of too many steps at one moment: no time passes",
        "something must take time: look at times of 0, and at components that wake each other",
    ),
    rules.FLOWS_UNSETTLED: ("left flows through {entity} that do not settle", "look for a circle of transfers"),
    rules.BAD_NUMBER: (
        "computed something that is no finite number", "look for a division by 0, or the root of a negative number",
    ),
    rules.NEGATIVE_RATE: ("set {transfer} to a negative rate", "turn the Transfer round instead"),
    rules.TOO_MANY_EVENTS: (
        "ran past the limit of {limit} events", "shorten the horizon, slow the plant down, or ask with more events_max",
    ),
    rules.NOT_HELD: ("released a unit of {entity} that it does not have", "release once for each loan"),
    rules.RELEASED_TWICE: ("released more units of {entity} than it has", "release once for each loan"),
    rules.BROKEN_UNITS: ("let {entity} have units that are none", "a whole number, 0 or more"),
    rules.NEGATIVE_SPEED: ("let {slot} run at a negative speed", "speeds are 0 or more"),
    rules.NEGATIVE_AMOUNT: ("put or took a negative amount at {entity}", "take instead of putting a negative amount"),
    rules.UNCONNECTED: ("used {port}, which is not connected", "ask connected first, or connect it"),
    rules.NUMBERS_ONLY: ("counted parts in {entity}, which is a queue of numbers", "push(x) and pop() them"),
    rules.TURNS_WITHOUT_END: (
        f"began a loop of more than {rules.TURNS_MAX} turns", "a handler runs at every event: let it loop less",
    ),
}  # fmt: skip


def fault_of(assembly: Assembly, w: World) -> Fault:
    """The fault of a world that stopped."""
    return fault(assembly, w.fault, w.fault_at, w.fault_component, w.fault_handler, w.now)


def fault(assembly: Assembly, number: int, at: int, c: int, h: int, now: float) -> Fault:
    """What went wrong, in words: who, in which handler, when.

    Args:
        c, h: component and handler, 0 for its rules; -1 and a kind for an intervention.
    """
    words, hint = WORDS[number]
    said = words.format_map(_Places(assembly, at))
    return Fault(f"{_who(assembly, c, h)} {said}, at {now:g} {assembly.layout.time_unit}", hint)


def broken(assembly: Assembly, w: World, error: Exception) -> Fault:
    """A handler of which Python itself says that it is wrong."""
    said = f"failed: {type(error).__name__}: {error}"
    return Fault(f"{_who(assembly, w.fault_component, w.fault_handler)} {said}, at {w.now:g}", "mend the handler")


def _who(assembly: Assembly, c: int, h: int) -> str:
    """Component, handler and its place in a file."""
    if c < 0:
        return "an intervention, or the state it began from,"
    placed = assembly.layout.components[c]
    handler = next((x for x in placed.type.handlers if x.number == h), None)
    if handler is None:
        return f"{placed.name} ({placed.type.name}, a guard of its rules)"
    name = f"{placed.type.name}.{handler.name}"
    try:
        text = source(handler.function)
    except Misspelt:  # written where no file is
        return f"{placed.name} ({name})"
    return f"{placed.name} ({name}, {text.place(text.tree)})"


class _Places(dict[str, str]):
    """The name of what a fault concerns, looked up as one thing or another."""

    def __init__(self, assembly: Assembly, at: int) -> None:
        super().__init__()
        self._assembly, self._at = assembly, at

    def __missing__(self, key: str) -> str:
        layout, places, at = self._assembly.layout, self._assembly.places, self._at
        if key == "limit":
            return f"{at:,}"
        if key == "entity":
            return layout.entities[at].name
        for placed, place in zip(layout.components, places, strict=True):
            base, fields = {
                "slot": (place.slot, placed.type.timers),
                "transfer": (place.transfer, placed.type.transfers),
                "port": (place.port, placed.type.ports),
            }[key]
            if base <= at < base + len(fields):
                return f"{placed.name}.{fields[at - base].name}"
        return key
