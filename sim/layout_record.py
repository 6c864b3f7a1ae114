"""A layout as plain values and back, and the hash of all that it does; must not know how it is run."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sim import spec
from sim.component_type import component_type
from sim.kernel.reach import reached
from sim.kernel.syntax import class_text
from sim.layout import Entity, Layout, Placed, checked_value
from sim.spec import ITEMS_MAX, UNITS_MAX, Component, ComponentType, Distribution, Misspelt, Opaque, Resource, finite
from sim.travel import is_found, is_own_file

RECORDED = "give what record() wrote, unchanged"
KINDS: Mapping[str, type] = {kind.__name__: kind for kind in spec.SHARED}
DISTRIBUTIONS: Mapping[str, type[Distribution]] = {d.__name__: d for d in Distribution.__subclasses__()}


def record(layout: Layout) -> dict[str, Any]:
    """Plain values that any JSON encoder takes; numbers come back bit for bit."""
    return {
        "name": layout.name,
        "time_unit": layout.time_unit,
        "shared": [
            [e.name, e.kind.__name__, e.capacity, e.level, e.floor, list(e.items), e.size] for e in layout.entities
        ],
        "components": [
            {
                "name": c.name,
                "type": f"{c.type.cls.__module__}:{c.type.cls.__qualname__}",
                "ports": dict(c.ports),
                "values": {n: _plain(v) for n, v in c.values.items()},
            }
            for c in layout.components
        ],
    }


def restored(content: Mapping[str, Any]) -> Layout:
    """The layout of a record. The modules of its components are imported: they are code.

    Raises:
        Misspelt: a component's class is not to be found any more, or the record is none; the message names the place.
    """
    try:
        layout = Layout(content["name"], content["time_unit"])
        shared, components = list(content["shared"]), list(content["components"])
    except (KeyError, TypeError) as wrong:
        raise Misspelt(f"this is no record of a layout: {wrong!r}", RECORDED) from None
    owned = {f"{each['name']}." for each in components if isinstance(each, Mapping) and "name" in each}
    for number, row in enumerate(shared):
        with _place(f"shared.{number}"):
            _entity(layout, row, own=str(row[0]).rpartition(".")[0] + "." in owned)
    for number, each in enumerate(components):
        with _place(f"components.{number}"):
            _component(layout, each)
    return layout


@contextmanager
def _place(place: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as wrong:
        raise Misspelt(f"layout record, {place}: {wrong!r}", RECORDED) from None


def _entity(layout: Layout, row: Any, *, own: bool) -> None:
    name, kind, capacity, level, floor, items, size = row
    if kind not in KINDS or not all(finite(x) for x in (capacity, level, floor, *items)):
        raise ValueError(row)
    if not isinstance(size, int) or not 0 <= size <= ITEMS_MAX or len(items) > size or not floor <= level <= capacity:
        raise ValueError(row)
    if KINDS[kind] is Resource and capacity > UNITS_MAX:
        raise ValueError(row)
    if not own:
        layout._new_name(name)
    layout.entities.append(
        Entity(
            len(layout.entities),
            str(name),
            KINDS[kind],
            float(capacity),
            float(level),
            float(floor),
            tuple(items),
            size,
        )
    )


def _component(layout: Layout, each: Mapping[str, Any]) -> None:
    kind = component_type(_class(each["type"]))
    values = {n: checked_value(f"{each['name']}.{n}", kind.fields[n], _value(v)) for n, v in each["values"].items()}
    ports = dict(each["ports"])
    for port in kind.ports:
        at = ports[port.name]
        if not isinstance(at, int) or not (-1 if port.optional else 0) <= at < len(layout.entities):
            raise Misspelt(f"{each['name']}.{port.name} is connected to {at!r}", RECORDED)
        if at >= 0 and layout.entities[at].kind is not port.to:
            raise Misspelt(f"{each['name']}.{port.name} is connected to {layout.entities[at].name}", RECORDED)
    layout._new_name(each["name"])
    layout.components.append(Placed(len(layout.components), each["name"], kind, ports, values))


def layout_hash(layout: Layout) -> str:
    """SHA-256 over topology, numbers, the text of every component class and all it reaches, and the files of foreign models."""
    digest = hashlib.sha256(json.dumps(record(layout), sort_keys=True).encode())
    for kind in layout.types:
        digest.update(type_text(kind).encode())
        digest.update(reached(kind).encode())
        if issubclass(kind.cls, Opaque):
            digest.update(kind.cls.fingerprint().encode())
    return digest.hexdigest()


def type_text(kind: ComponentType) -> str:
    """The source of the class and of those it inherits from; the code itself where no source is kept."""
    return "\n".join(_text(cls) for cls in kind.cls.__mro__ if issubclass(cls, Component) and cls is not Component)


def importable(layout: Layout) -> str:
    """Why another process could not find a component's class; "" when it can."""
    for kind in layout.types:
        module, name = kind.cls.__module__, kind.cls.__qualname__
        found = is_found(module) or is_own_file(module)
        if not found or getattr(sys.modules.get(module), name, None) is not kind.cls:
            return f"{name} is in no module that other processes find: they cannot help"
    return ""


def _text(cls: type) -> str:
    try:
        return class_text(cls)
    except (OSError, TypeError):
        functions = [f for f in vars(cls).values() if inspect.isfunction(f)]
        return "".join(f"{f.__qualname__}{f.__code__.co_code.hex()}{f.__code__.co_consts!r}" for f in functions)


def _class(place: str) -> type[Component]:
    module, _, name = str(place).partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        raise Misspelt(f"component class {place} is not there", "run it where the layout's modules are") from None
    if not (isinstance(found, type) and issubclass(found, Component)):
        raise Misspelt(f"{place} is no component class", RECORDED)
    return found


def _plain(value: float | str | Distribution) -> Any:
    return {type(value).__name__: list(value.numbers)} if isinstance(value, Distribution) else value


def _value(value: Any) -> float | str | Distribution:
    if isinstance(value, Mapping):
        ((kind, numbers),) = value.items()
        return DISTRIBUTIONS[kind](*numbers)
    return value if isinstance(value, str) else float(value)
