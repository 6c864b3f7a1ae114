"""A component class taken apart into its type, and checked: what would never run, or other than it reads; runs nothing."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from sim.certain import refuse_certain
from sim.spec import (
    Component,
    ComponentType,
    Distribution,
    Field,
    Handler,
    Level,
    Misspelt,
    Number,
    Port,
    Resource,
    State,
    Timer,
    Transfer,
    Trigger,
)

Sort = TypeVar("Sort", bound=Field)

_TYPES: dict[type, ComponentType] = {}  # one for each class of this process


def component_type(cls: type[Component]) -> ComponentType:
    """The class taken apart and checked, once.

    Raises:
        Misspelt: fields and handlers do not fit together.
    """
    if cls not in _TYPES:
        _TYPES[cls] = _taken_apart(cls)
    return _TYPES[cls]


def _taken_apart(cls: type[Component]) -> ComponentType:
    members = dict(_members(cls))
    fields = {name: value for name, value in members.items() if isinstance(value, Field)}
    marked = [(n, f) for n, f in members.items() if isinstance(getattr(f, "__trigger__", None), Trigger)]
    found = ComponentType(
        cls, fields, _sorted_out(fields, State), _sorted_out(fields, Number), _sorted_out(fields, Distribution),
        _sorted_out(fields, Timer), _sorted_out(fields, Port), _sorted_out(fields, Transfer),
        tuple(Handler(number, name, f.__trigger__, f) for number, (name, f) in enumerate(marked, 1)),
    )  # fmt: skip
    for sort in (found.states, found.numbers, found.chances, found.timers, found.ports, found.transfers):
        for index, each in enumerate(sort):
            if each.index not in (-1, index):
                raise Misspelt(f"{cls.__name__}.{each.name}", "a field belongs to one type; declare it anew in each")
            each.index = index
    _check(found)
    _check_handlers(found)
    refuse_certain(found)
    return found


def _sorted_out(fields: Mapping[str, Field], sort: type[Sort]) -> tuple[Sort, ...]:
    return tuple(v for v in fields.values() if isinstance(v, sort))


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """Of the class and those it inherits from, oldest first; a name declared anew keeps its place."""
    seen: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        seen.update(vars(base))
    yield from seen.items()


def _check(found: ComponentType) -> None:
    for handler in found.handlers:
        place = f"{found.name}.{handler.name}"
        field = handler.trigger.field
        for used in (field, handler.trigger.threshold):
            _check_own(found, used, place)
        if isinstance(field, Port):
            needed = Level if handler.trigger.kind == "crossing" else Resource
            if field.to is not needed:
                raise Misspelt(f"{place} needs a Port({needed.__name__}), {field.name} goes to a {field.to.__name__}")
        if handler.trigger.kind != "process" and len(inspect.signature(handler.function).parameters) != 1:
            raise Misspelt(f"{place} takes more than the component", "write def name(self)")
    for timer in found.timers:
        place, gate = f"{found.name}.{timer.name}", timer.gate
        for part in (timer.chance, timer.speed, None if gate is None else gate.state):
            _check_own(found, part, place)
        if gate is not None and not set(gate.values) <= set(found.states[found.at(gate.state)].values):
            raise Misspelt(f"{place} waits for {', '.join(gate.values)}", f"{gate.state.name} has it not")
    for transfer in found.transfers:
        for port in (transfer.src, transfer.dst):
            _check_own(found, port, f"{found.name}.{transfer.name}")


def _check_handlers(found: ComponentType) -> None:
    """What would never run, or run other than it reads."""
    taken: dict[tuple[str, str], str] = {}
    for handler in found.handlers:
        place, kind, field = f"{found.name}.{handler.name}", handler.trigger.kind, handler.trigger.field
        if inspect.isgeneratorfunction(handler.function) != (kind == "process"):
            fix = "write yield in it" if kind == "process" else "mark it @process, or start a Timer and write @on(it)"
            raise Misspelt(f"{place} {'does not wait' if kind == 'process' else 'waits in the middle'}", fix)
        if field is not None and kind in ("timer", "grant"):
            other = taken.setdefault((kind, field.name), handler.name)
            if other != handler.name:
                raise Misspelt(f"{place} and {other} are both @on({field.name})", "write one handler")
    marked = {name for base in found.cls.__mro__ for name, f in vars(base).items() if hasattr(f, "__trigger__")}
    for name in sorted(marked - {h.name for h in found.handlers}):
        raise Misspelt(f"{found.name}.{name} replaces a handler without a mark", "write @on, @when, … above it again")


def _check_own(found: ComponentType, used: Field | None, place: str) -> None:
    if used is not None and type(found.fields.get(used.name)) is not type(used):
        raise Misspelt(f"{place} uses {used.name or 'a field'} of another type", "declare it in this one")
