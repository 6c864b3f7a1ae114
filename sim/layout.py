"""A plant to simulate, put together from components and what they share; must not know how it is run.

line = Layout("bottling", time_unit="min")
filled = line.buffer("filled", 20)
line.add(Machine, "filler", inp=line.buffer("empty", 100, level=100), out=filled, cycle=Exponential(1.0))
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sim.component_type import component_type
from sim.spec import (
    ITEMS_MAX,
    UNITS_MAX,
    Buffer,
    Component,
    ComponentType,
    Distribution,
    Field,
    Items,
    Level,
    Misspelt,
    Number,
    Opaque,
    Param,
    Port,
    Resource,
    Signal,
    State,
    Transfer,
    finite,
)
from twin.nearest import nearest

COMPONENTS_MAX = 10_000  # a plant of that size in one model wants to be cut into units first
UNLIMITED = 1e15  # parts or content: more than any plant makes, and still exact
TIME_UNITS: Mapping[str, float] = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Entity:
    """Something shared, by its number in the layout."""

    number: int
    name: str
    kind: type
    capacity: float
    level: float
    floor: float = 0.0
    items: tuple[float, ...] = ()
    size: int = 0  # most numbers in its queue; 0: it only counts


@dataclass(frozen=True, slots=True)
class Placed:
    """A component in its place, by its number in the layout.

    Attributes:
        ports: entity numbers by port name; -1 for one that stays free.
        values: what differs from the class: numbers, distributions and states by field name.
    """

    number: int
    name: str
    type: ComponentType
    ports: Mapping[str, int]
    values: Mapping[str, float | Distribution | str]


@dataclass(slots=True)
class Layout:
    """Components, and what they share. Names are unique; numbers count from 0 in the order of adding."""

    name: str = "layout"
    time_unit: str = "s"
    entities: list[Entity] = field(default_factory=list)
    components: list[Placed] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _inside: dict[str, set[str]] = field(default_factory=dict)  # M1 -> what stands behind it in names with a point

    def __post_init__(self) -> None:
        if self.time_unit not in TIME_UNITS:
            raise Misspelt(f"time_unit {self.time_unit!r}", f"one of {', '.join(TIME_UNITS)}")

    @property
    def unit_s(self) -> float:
        """Seconds in a unit of the layout's time."""
        return TIME_UNITS[self.time_unit]

    def buffer(self, name: str, capacity: float = UNLIMITED, level: float = 0.0, *, items: int = 0) -> Entity:
        """Parts, counted; with `items`, a queue of numbers, at most so many."""
        self._foreign(name)
        _check_finite(name, capacity=capacity, level=level, items=items)
        if not 0 <= level <= capacity:
            raise Misspelt(f"buffer {name}: level {level:g} of {capacity:g}", "0 <= level <= capacity")
        if not 0 <= items <= ITEMS_MAX or items != int(items):
            raise Misspelt(f"buffer {name} holds {items} numbers", f"a whole number from 0 to {ITEMS_MAX}")
        if items and level:
            raise Misspelt(f"buffer {name} begins with {level:g} numbers", "begin empty, and push them")
        return self._entity(name, Buffer, min(capacity, items) if items else capacity, level, size=items)

    def resource(self, name: str, capacity: int) -> Entity:
        """Units that are lent."""
        self._foreign(name)
        _check_finite(name, capacity=capacity)
        if not 0 <= capacity <= UNITS_MAX or capacity != int(capacity):
            raise Misspelt(f"resource {name}: capacity {capacity:g}", f"a whole number from 0 to {UNITS_MAX}")
        return self._entity(name, Resource, capacity, 0.0)

    def tank(self, name: str, level: float, capacity: float, floor: float = 0.0) -> Entity:
        """A level with limits: an empty one gives only what comes in, a full one spills; both are counted."""
        self._foreign(name)
        _check_finite(name, level=level, capacity=capacity, floor=floor)
        if not floor <= level <= capacity:
            raise Misspelt(f"tank {name}: level {level:g}", f"{floor:g} <= level <= {capacity:g}")
        return self._entity(name, Level, capacity, level, floor)

    def level(self, name: str, level: float) -> Entity:
        """A level without limits: a temperature, a position."""
        self._foreign(name)
        _check_finite(name, level=level)
        return self._entity(name, Level, UNLIMITED, level, -UNLIMITED)

    def signal(self, name: str, value: float = 0.0) -> Entity:
        """A number that one sets and others see."""
        self._foreign(name)
        _check_finite(name, value=value)
        return self._entity(name, Signal, UNLIMITED, value, -UNLIMITED)

    def add(
        self, cls: type[Component], name: str, **fields: Entity | float | str | Distribution | Sequence[float]
    ) -> Placed:
        """A component of that class; `fields` connect its ports and set its numbers, distributions and first states.

        Raises:
            Misspelt: a port is not connected, or a field is unknown or of another kind.
        """
        if not (isinstance(cls, type) and issubclass(cls, Component)):
            raise Misspelt(f"{name}: {cls!r} is no component", "give a class that inherits from Component")
        kind = component_type(cls)
        for given in fields:
            if given not in kind.fields:
                known = [n for n, f in kind.fields.items() if not isinstance(f, Transfer)]
                hint = nearest(given, known) or f"it has {', '.join(known)}"
                raise Misspelt(f"{name}: {kind.name} has no field {given!r}", hint)
        if len(self.components) >= COMPONENTS_MAX:
            raise Misspelt(f"{name} is component {COMPONENTS_MAX + 1}", f"at most {COMPONENTS_MAX}")
        if issubclass(cls, Opaque):
            cls.check(name)
        wired = {p.name for p in kind.ports}
        values = {n: checked_value(f"{name}.{n}", kind.fields[n], v) for n, v in fields.items() if n not in wired}
        self._new_name(name)
        own = {*kind.fields, *(h.name for h in kind.handlers)}
        for inner in sorted(own & self._inside.get(name, set())):
            raise Misspelt(f"{name}.{inner} is there already", f"it is the {inner} of {name}: choose another name")
        ports = {p.name: self._connect(name, kind, p, fields.get(p.name)) for p in kind.ports}
        placed = Placed(len(self.components), name, kind, ports, values)
        self.components.append(placed)
        return placed

    def entity(self, name: str) -> Entity:
        """By its name.

        Raises:
            Misspelt: there is none.
        """
        for each in self.entities:
            if each.name == name:
                return each
        raise Misspelt(f"nothing shared is called {name!r}", nearest(name, [e.name for e in self.entities]))

    def component(self, name: str) -> Placed:
        """By its name.

        Raises:
            Misspelt: there is none.
        """
        for each in self.components:
            if each.name == name:
                return each
        raise Misspelt(f"no component is called {name!r}", nearest(name, [c.name for c in self.components]))

    @property
    def types(self) -> tuple[ComponentType, ...]:
        """Those in use, in an order that does not depend on the plant."""
        found = {id(c.type): c.type for c in self.components}
        return tuple(sorted(found.values(), key=lambda t: (t.cls.__module__, t.cls.__qualname__)))

    def _entity(
        self, name: str, kind: type, capacity: float, level: float, floor: float = 0.0, size: int = 0,
        items: tuple[float, ...] = (),
    ) -> Entity:  # fmt: skip
        self._new_name(name)
        entity = Entity(len(self.entities), name, kind, float(capacity), float(level), float(floor), items, size)
        self.entities.append(entity)
        return entity

    def _connect(self, name: str, kind: ComponentType, port: Port, to: object) -> int:
        place = f"{name}.{port.name}"
        if isinstance(port, Items):
            if to is not None and (isinstance(to, str) or not isinstance(to, Iterable)):
                raise Misspelt(
                    f"{place} = {to!r}", "it is the component's own queue: give the numbers in it, or nothing"
                )
            numbers = tuple(float(x) for x in to or ())
            if not all(map(math.isfinite, numbers)):
                raise Misspelt(f"{place} begins with {numbers}", "give finite numbers")
            if len(numbers) > port.size:
                raise Misspelt(f"{place} begins with {len(numbers)} numbers", f"at most {port.size}")
            return self._entity(place, Buffer, port.size, len(numbers), size=port.size, items=numbers).number
        if to is None:
            if port.optional:
                return -1
            raise Misspelt(f"{place} is not connected", f"add(…, {port.name}=…) with a {port.to.__name__}")
        if not isinstance(to, Entity) or to.kind is not port.to or self.entities[to.number] is not to:
            found = to.kind.__name__ if isinstance(to, Entity) else repr(to)
            raise Misspelt(f"{place} is connected to {found}", f"connect a {port.to.__name__} of this layout")
        return to.number

    def _foreign(self, name: str) -> None:
        """A name with a point that a component has for something of its own would hide that."""
        outer, _, inner = name.rpartition(".")
        for placed in self.components if outer in self._names else ():
            if placed.name == outer and (
                inner in placed.type.fields or any(h.name == inner for h in placed.type.handlers)
            ):
                raise Misspelt(f"{name!r} is there already", f"it is the {inner} of {outer}: choose another name")

    def _new_name(self, name: str) -> None:
        if not all(part.isidentifier() for part in name.split(".")):
            raise Misspelt(f"name {name!r}", "letters, digits and _, no digit first")
        if name in self._names:
            raise Misspelt(f"{name!r} is there already", "choose another name")
        self._names.add(name)
        parts = name.split(".")
        for end in range(1, len(parts)):
            self._inside.setdefault(".".join(parts[:end]), set()).add(parts[end])


def _check_finite(name: str, **given: object) -> None:
    for key, number in given.items():
        if not finite(number):
            raise Misspelt(f"{name}: {key} {number!r}", "give a finite number")


def checked_value(place: str, known: Field, value: object) -> float | Distribution | str:
    hint = ""
    if isinstance(known, Number):
        if not finite(value):
            hint = "a finite number"
        elif isinstance(known, Param) and not known.low <= float(value) <= known.high:
            hint = f"{known.low:g} … {known.high:g}"
        else:
            return float(value)
    elif isinstance(known, Distribution):
        if isinstance(value, Distribution):
            return value
        hint = "a distribution"
    elif isinstance(known, State):
        if value in known.values:
            return str(value)
        hint = f"one of {known.values}"
    raise Misspelt(f"{place} = {value!r}", hint)


def stream_name(*names: str) -> tuple[int, int]:
    """Two words that name a stream: 64 bits of BLAKE2s over component and purpose."""
    digest = hashlib.blake2s("/".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
