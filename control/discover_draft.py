"""What a device offers -> twins, Interfaces and rows that a plant does not have yet; pure, must not know files.

Every object is a twin, and what lies in it is `contains`: DTDL's Components nest only one level deep, devices do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from control.discover_names import family, marked, named, plain, stem
from protocols.discovery import Found, FoundThing, FoundValue, Path, path_text
from twin.dtdl_rules import DESCRIPTION_MAX, DISPLAY_MAX
from twin.interface import Field, Interface, RelationshipRule
from twin.schema import Schema, point_type
from twin.units import UNITS, conversion
from twin.words import DEFAULT_LANGUAGE, LocalText, Words

CONTAINS = "contains"
NAMESPACE = "discovered"
NAME_FIELDS_MAX = 2  # values after which an Interface without a better name is called


@dataclass(frozen=True, slots=True)
class Known:
    """What the plant has already.

    Attributes:
        twins: id -> id of its Interface.
        twin_of: twins of things that were found before.
        points: names of points.
        taken: ids that no new twin may have.
    """

    twins: Mapping[str, str] = field(default_factory=dict)
    twin_of: Mapping[Path, str] = field(default_factory=dict)
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    contains: frozenset[tuple[str, str]] = frozenset()
    points: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NewTwin:
    """A twin to write down; `name` is what is shown."""

    id: str
    interface: str
    name: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line of points.csv. `value` is what the device says of it."""

    point: str
    twin: str
    field: str
    value: FoundValue
    unit: str
    low: float
    high: float

    @property
    def access(self) -> str:
        return "rw" if self.value.writable else "r"


@dataclass(frozen=True, slots=True)
class Growth:
    """What an Interface of the plant needs besides what it has."""

    fields: tuple[Field, ...] = ()
    writable: tuple[str, ...] = ()
    contains: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be added to a plant."""

    twins: tuple[NewTwin, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    growth: Mapping[str, Growth] = field(default_factory=dict)
    contains: tuple[tuple[str, str], ...] = ()
    rows: tuple[Row, ...] = ()
    remarks: tuple[str, ...] = ()


def draft(device: str, found: Found, wanted: Sequence[FoundValue], known: Known) -> Draft:
    """Everything that `wanted`, some of the values found, need besides what is known."""
    return _Drafting(device, found, wanted, known).draft()


@dataclass(slots=True)
class _Shape:
    """An Interface that is being made, or grown."""

    id: str
    title: str = ""
    description: str = ""
    known: Interface | None = None
    fields: dict[str, Field] = field(default_factory=dict)
    name_of: dict[Path, str] = field(default_factory=dict)
    added: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)  # fields that become writable
    contains: bool = False

    def takes(self, values: Sequence[FoundValue]) -> bool:
        """Whether nothing in it contradicts the values."""
        names = ((self.name_of.get(v.name) or plain("_".join(v.name)), v) for v in values)
        return all(name not in self.fields or _same(self.fields[name], v) for name, v in names)

    def add(self, values: Sequence[FoundValue], busy: Set[str] = frozenset()) -> dict[Path, str]:
        """Field names of the values of one twin, in which `busy` names are bound to something else already."""
        new = {path_text(v.name): v for v in values if v.name not in self.name_of}
        texts = named((key, "_".join(v.name)) for key, v in new.items())
        for key, value in new.items():
            name = texts[key]
            there = self.fields.get(name)
            if name == CONTAINS or (there is not None and not (self.known is not None and _same(there, value))):
                name = marked(name, key)
            self.name_of[value.name] = name
        names = {v.name: self.name_of[v.name] for v in values}
        for value in values:
            if names[value.name] in busy:
                names[value.name] = marked(names[value.name], path_text(value.name))
            self._declare(names[value.name], value)
        return names

    def _declare(self, name: str, value: FoundValue) -> None:
        if name not in self.fields:
            self.fields[name] = _field(name, value)
            self.added.add(name)
        elif value.writable and not self.fields[name].writable:
            self.fields[name] = replace(self.fields[name], writable=True)
            self.opened.add(name)

    def interface(self) -> Interface:
        rules = {CONTAINS: RelationshipRule(CONTAINS, None)} if self.contains else {}
        words = Words(_local(self.title, DISPLAY_MAX), _local(self.description, DESCRIPTION_MAX))
        own = (*self.fields, *rules)
        return Interface(self.id, self.title, (), self.fields, rules, own=own, words=words)

    def growth(self) -> Growth:
        known = self.known
        wants_parts = self.contains and (known is None or CONTAINS not in known.relationships)
        fields = tuple(f for n, f in self.fields.items() if n in self.added)
        return Growth(fields, tuple(sorted(self.opened - self.added)), wants_parts)


class _Drafting:
    def __init__(self, device: str, found: Found, wanted: Sequence[FoundValue], known: Known) -> None:
        self._device = device
        self._known = known
        self._values: dict[Path, list[FoundValue]] = {}
        for value in wanted:
            self._values.setdefault(value.thing, []).append(value)
        self._things = self._needed(found)
        self._shape_of: dict[Path, _Shape] = {}
        self._shapes: dict[str, _Shape] = {}
        self._names: dict[Path, dict[Path, str]] = {}  # of each thing's values
        self._remarks: list[str] = []

    def draft(self) -> Draft:
        new = [t for t in self._things.values() if t.path not in self._known.twin_of]
        ids = self._twin_ids(new)
        for path, twin in self._known.twin_of.items():
            if path in self._things:
                self._grow(path, twin)
        for group in self._groups(new):
            self._make(group)
        contains = self._contained(ids)
        made = [s for s in self._shapes.values() if s.known is None]
        grown = {s.id: s.growth() for s in self._shapes.values() if s.known is not None}
        return Draft(
            tuple(NewTwin(ids[t.path], self._shape_of[t.path].id, self._title(t)) for t in new),
            tuple(s.interface() for s in made),
            {i: g for i, g in grown.items() if g != Growth()},
            contains,
            tuple(self._row(v, ids[p], self._shape_of[p]) for p, values in self._values.items() for v in values),
            tuple(self._remarks),
        )

    def _needed(self, found: Found) -> dict[Path, FoundThing]:
        """Things that hold a wanted value, and those around them."""
        things = {t.path: t for t in found.things}
        needed: dict[Path, FoundThing] = {}
        for path in self._values:
            for length in range(1 if path else 0, len(path) + 1):
                part = path[:length]
                if part == path or part in things:
                    needed.setdefault(part, things.get(part, FoundThing(part)))
        order = {path: place for place, path in enumerate(things)}
        return {p: needed[p] for p in sorted(needed, key=lambda p: (order.get(p, -1), p))}

    def _twin_ids(self, new: Sequence[FoundThing]) -> dict[Path, str]:
        texts = ((path_text(t.path), "_".join(t.path) or f"{self._device}_values") for t in new)
        ids = named(texts, {*self._known.taken, self._device})
        return {t.path: ids[path_text(t.path)] for t in new} | dict(self._known.twin_of)

    def _title(self, thing: FoundThing) -> str:
        return "/".join(thing.path) or self._device

    # --- Interfaces --------------------------------------------------------------------------------------------------

    def _grow(self, path: Path, twin: str) -> None:
        identity = self._known.twins[twin]
        shape = self._shapes.get(identity) or self._grown(identity)
        busy = {p.partition(".")[2] for p in self._known.points if p.partition(".")[0] == twin}
        self._names[path] = shape.add(self._values.get(path, []), busy)
        self._shape_of[path] = shape

    def _grown(self, identity: str) -> _Shape:
        known = self._known.interfaces[identity]
        shape = _Shape(identity, known=known, fields=dict(known.fields))
        self._shapes[identity] = shape
        return shape

    def _groups(self, new: Sequence[FoundThing]) -> list[list[FoundThing]]:
        """Things of one type of the device, else of one structure and of names that differ by a number only."""
        groups: dict[tuple[object, ...], list[FoundThing]] = {}
        for thing in new:
            if thing.kind:
                key: tuple[object, ...] = (thing.kind_id, thing.kind)
            else:
                values = self._values.get(thing.path, [])
                structure = frozenset((v.name, v.schema, UNITS[v.unit].dimension) for v in values)
                key = (structure, stem(thing.path[-1]) if thing.path and values else "")
            groups.setdefault(key, []).append(thing)
        return list(groups.values())

    def _make(self, group: Sequence[FoundThing]) -> None:
        """One Interface for the group, or several where things of one type contradict each other."""
        title = group[0].kind or self._family(group)
        variants: list[_Shape] = []
        for thing in group:
            values = self._values.get(thing.path, [])
            shape = next((s for s in variants if s.takes(values)), None)
            if shape is None:
                shape = self._new_shape(title, thing, values, variants)
                variants.append(shape)
            self._names[thing.path] = shape.add(values)
            self._shape_of[thing.path] = shape

    def _family(self, group: Sequence[FoundThing]) -> str:
        names = [t.path[-1] if t.path else "Values" for t in group]
        values = self._values.get(group[0].path, [])
        if not values:
            return "Folder"
        return family(names) or "_".join(["Thing", *sorted(plain("_".join(v.name)) for v in values)[:NAME_FIELDS_MAX]])

    def _new_shape(
        self, title: str, thing: FoundThing, values: Sequence[FoundValue], variants: Sequence[_Shape]
    ) -> _Shape:
        name = plain(title)
        identity = f"dtmi:{NAMESPACE}:{self._device}:{name};1"
        if identity in self._known.interfaces:
            grown = self._shapes.get(identity) or self._grown(identity)
            if grown not in variants and grown.takes(values):
                return grown
        count = 1
        while identity in self._shapes or identity in self._known.interfaces:
            count += 1
            identity = f"dtmi:{NAMESPACE}:{self._device}:{name}_{count};1"
        shape = _Shape(identity, title, thing.description if thing.kind else "")
        self._shapes[identity] = shape
        return shape

    # --- relationships and rows --------------------------------------------------------------------------------------

    def _contained(self, ids: Mapping[Path, str]) -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        placed = {
            part for _, part in self._known.contains
        }  # a twin is a part of one other: it stays where people put it
        for path in self._things:
            parent = next((path[:n] for n in range(len(path) - 1, 0, -1) if path[:n] in self._things), None)
            if parent is None or ids[path] in placed:
                continue
            shape = self._shape_of[parent]
            rule = None if shape.known is None else shape.known.relationships.get(CONTAINS)
            if rule is not None and (rule.target is not None or rule.most is not None):
                self._remarks.append(f"{ids[path]} lies in {ids[parent]}, whose Interface limits what it contains")
                continue
            shape.contains = True
            found.append((ids[parent], ids[path]))
        return tuple(found)

    def _row(self, value: FoundValue, twin: str, shape: _Shape) -> Row:
        name = self._names[value.thing][value.name]
        unit = value.unit if value.type in ("double", "integer") else ""
        low, high = range_in(value, shape.fields[name].unit)
        return Row(f"{twin}.{name}", twin, name, value, unit, low, high)


def range_in(value: FoundValue, unit: str) -> tuple[float, float]:
    """The device's range in an Interface's unit."""
    if UNITS[value.unit].dimension != UNITS[unit].dimension:
        return -math.inf, math.inf
    scale, offset = conversion(UNITS[value.unit], UNITS[unit])
    return value.low * scale + offset, value.high * scale + offset


def _same(there: Field, value: FoundValue) -> bool:
    """Whether a point of this value fits a field."""
    same_type = there.type == value.type or (there.type == "double" and value.type == "integer")
    if not same_type or (value.type == "enum" and there.schema != value.schema):
        return False
    return UNITS[there.unit].dimension == UNITS[value.unit].dimension


def _field(name: str, value: FoundValue) -> Field:
    display = value.display or "/".join(value.name)
    description = "" if value.description in (display, value.name[-1]) else value.description
    words = Words(_local("" if display == name else display, DISPLAY_MAX), _local(description, DESCRIPTION_MAX))
    return interface_field(name, value.schema, value.unit, value.writable, words)


def interface_field(name: str, schema: Schema, unit: str, writable: bool, words: Words) -> Field:
    """A Property; a unit that DTDL has no name for is left to the rows."""
    type_ = point_type(schema)
    shown = unit if type_ in ("double", "integer") and UNITS[unit].dtdl else ""
    return Field(name, "Property", type_, shown, writable, schema, words=words)


def _local(text: str, limit: int) -> LocalText:
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return ((DEFAULT_LANGUAGE, cut),) if cut.strip() else ()
