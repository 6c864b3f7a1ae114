"""A layout as plain values and back, and the hash of all that it does; must not know how it is run."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Mapping
from typing import Any

from sim import spec
from sim.component_type import component_type
from sim.kernel.reach import reached
from sim.kernel.syntax import class_text
from sim.layout import Entity, Layout, Placed
from sim.spec import Component, ComponentType, Distribution, Misspelt, Opaque
from sim.travel import is_found, is_own_file

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
        Misspelt: a component's class is not to be found any more.
    """
    layout = Layout(content["name"], content["time_unit"])
    for number, (name, kind, capacity, level, floor, items, size) in enumerate(content["shared"]):
        layout.entities.append(Entity(number, name, KINDS[kind], capacity, level, floor, tuple(items), size))
        layout._names.add(name)
    for number, each in enumerate(content["components"]):
        values = {n: _value(v) for n, v in each["values"].items()}
        kind = component_type(_class(each["type"]))
        layout.components.append(Placed(number, each["name"], kind, dict(each["ports"]), values))
        layout._names.add(each["name"])
    return layout


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
    module, _, name = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        raise Misspelt(f"component class {place} is not there", "run it where the layout's modules are") from None
    made: type[Component] = found
    return made


def _plain(value: float | str | Distribution) -> Any:
    return {type(value).__name__: list(value.numbers)} if isinstance(value, Distribution) else value


def _value(value: Any) -> float | str | Distribution:
    if isinstance(value, Mapping):
        ((kind, numbers),) = value.items()
        return DISTRIBUTIONS[kind](*numbers)
    return value if isinstance(value, str) else float(value)
