"""The twin as an OPC UA address space: which nodes there are and how they refer to each other; pure, knows no library.

Interfaces become ObjectTypes, twins objects, points variables, relationships references. Sources: OPC UA Part 3
(address space model), Part 5 (information model), Part 8 (data access).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum as Choice

from twin.interface import Field, Interface, kind_of
from twin.plant import Plant, Twin
from twin.points import Point
from twin.schema import Enum, Primitive
from twin.words import Words, in_english

# Numbers of nodes in OPC UA's own namespace (Part 6, annex A).
OBJECTS, BASE_OBJECT_TYPE, FOLDER_TYPE = 85, 58, 61
BASE_VARIABLE, PROPERTY, BASE_ANALOG, ANALOG_ITEM, ANALOG_UNIT = 63, 68, 15318, 2368, 17497
ENUMERATION, NON_HIERARCHICAL = 29, 32
ORGANIZES, HAS_COMPONENT, HAS_PROPERTY, HAS_SUBTYPE, HAS_MODELLING_RULE = 35, 47, 46, 45, 37
MANDATORY, OPTIONAL = 78, 80
BOOLEAN, INT32, INT64, DOUBLE, STRING = 1, 6, 8, 11, 12
RANGE, EU_INFORMATION, LOCALIZED_TEXT, ENUM_VALUE, ARGUMENT, VARIANT = 884, 887, 21, 7594, 296, 24
_INTEGERS = {
    "byte": 2, "short": 4, "integer": INT32, "long": INT64,
    "unsignedByte": 3, "unsignedShort": 5, "unsignedInteger": 7, "unsignedLong": 9,
}  # fmt: skip

PLANT = "/"
"""Of the object that holds all twins; no twin can be called so."""
FOLLOW, COMMAND = "/FollowCommand", "Command"
Id = str | int
"""A text of our namespace, or a number of OPC UA's own."""


class Kind(Choice):
    """Node classes, by the number that Part 3, 8.29 gives them."""

    OBJECT = 1
    VARIABLE = 2
    METHOD = 4
    OBJECT_TYPE = 8
    REFERENCE_TYPE = 32
    DATA_TYPE = 64


@dataclass(frozen=True, slots=True)
class Span:
    """EURange."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Unit:
    """EngineeringUnits, by the twin's symbol."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Names:
    """EnumStrings or, where codes do not count from 0, EnumValues: (code, name, text) of each."""

    values: tuple[tuple[int, str, str], ...]

    @property
    def counted(self) -> bool:
        return [code for code, _, _ in self.values] == list(range(len(self.values)))


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a method; `type` is a built-in one."""

    name: str
    type: int
    text: str


Constant = Span | Unit | Names | tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One node, and the reference that leads to it.

    Attributes:
        name: browse name; `standard` puts it into OPC UA's own namespace, where properties such as EURange are.
        parent, by: from where, and by which type of reference.
        type: of an object or a variable.
        data: data type of a variable.
        constant: value of a property; a variable without one is a point.
        point: dense id, -1 for none.
        rule: modelling rule of an instance declaration, 0 for none.
    """

    id: str
    kind: Kind
    name: str
    parent: Id
    by: int
    type: Id = 0
    display: str = ""
    text: str = ""
    data: Id = 0
    constant: Constant | None = None
    point: int = -1
    writable: bool = False
    rule: int = 0
    standard: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference between two nodes that both exist; `by` is a type of reference."""

    source: str
    by: Id
    target: str


@dataclass(slots=True)
class Space:
    """Nodes by id, parents before children, and what lies across."""

    nodes: dict[str, Node] = field(default_factory=dict)
    references: set[Reference] = field(default_factory=set)

    def add(self, node: Node) -> None:
        self.nodes.setdefault(node.id, node)


IN_COMMAND = (
    Argument("Property", STRING, "Name of a writable property of this twin"),
    Argument("Value", VARIANT, "In the property's data type"),
    Argument("Reason", STRING, "Why; kept in the record"),
    Argument("Priority", STRING, "emergency, safety, operator, schedule or optimiser; empty for operator"),
    Argument("DeadlineS", DOUBLE, "Seconds after which it must not be sent any more; 0 for 30"),
    Argument("WaitS", DOUBLE, "Seconds to wait for its end; 0 answers once it is queued"),
)
IN_FOLLOW = (
    Argument("CommandId", STRING, "As Command gave it"),
    Argument("WaitS", DOUBLE, "Seconds to wait for its end"),
)
OUT_STATE = (
    Argument("CommandId", STRING, "To follow it"),
    Argument("Status", STRING, "QUEUED, SENT, ACKNOWLEDGED, CONFIRMED, FAILED …"),
    Argument("Final", BOOLEAN, "Whether it has ended"),
    Argument("Detail", STRING, "Why it stands there"),
)


def space_of(plant: Plant, points: Iterable[Point]) -> Space:
    """The address space for these points and the twins that have them."""
    space = Space()
    of_twin: dict[str, list[Point]] = {}
    for point in points:
        of_twin.setdefault(point.twin, []).append(point)
    space.add(Node(PLANT, Kind.OBJECT, plant.id, OBJECTS, ORGANIZES, FOLDER_TYPE, plant.name, "Twins of this plant"))
    _method(space, FOLLOW, "FollowCommand", PLANT, IN_FOLLOW, OUT_STATE, 0)
    types = _Types(space, plant)
    for twin_id, mine in of_twin.items():
        twin = plant.twin_of_id[twin_id]
        _twin(space, types, twin, types.of(twin.interface, mine), mine)
    for relationship in plant.relationships:
        if relationship.source in of_twin and relationship.target in of_twin:
            kind = f"/relationship/{relationship.name}"
            space.add(Node(kind, Kind.REFERENCE_TYPE, relationship.name, NON_HIERARCHICAL, HAS_SUBTYPE))
            space.references.add(Reference(relationship.source, kind, relationship.target))
    return space


class _Types:
    """ObjectTypes, made when a twin needs them; DTDL's first `extends` is the supertype, OPC UA knows only one."""

    def __init__(self, space: Space, plant: Plant) -> None:
        self._space, self._interfaces = space, plant.interfaces
        self._made: dict[str, Interface] = {}

    def of(self, interface_id: str, points: Iterable[Point]) -> Interface:
        """The Interface, or one read from the points where Twinloop itself made the twin."""
        known = self._made.get(interface_id) or self._interfaces.get(interface_id)
        if known is None:
            fields = {p.property: Field(p.property, "Telemetry", p.type, p.unit, False) for p in points}
            known = Interface(interface_id, kind_of(interface_id), (), fields, {})
        self._make(known)
        return known

    def data_type(self, interface: Interface, point: Point) -> Id:
        """Of a variable: an enumeration where the Interface lists values."""
        name = point.property
        if isinstance(point.schema, Enum):
            listed = f"{self._owner(interface, name)}/{name.rpartition('.')[2]}/Values"
            return listed if listed in self._space.nodes else INT32
        known = interface.fields.get(name)
        return built_in(point, None if known is None else known.schema)

    def _make(self, interface: Interface) -> None:
        if interface.id in self._made:
            return
        self._made[interface.id] = interface
        parent = self._parent(interface)
        if parent is not None:
            self._make(parent)
        self._space.add(
            Node(interface.id, Kind.OBJECT_TYPE, kind_of(interface.id), parent.id if parent else BASE_OBJECT_TYPE,
                 HAS_SUBTYPE, 0, interface.name, in_english(interface.words.description, ""))
        )  # fmt: skip
        inherited = parent.components if parent else {}
        for component in interface.components.values():
            inner = self._interfaces.get(component.interface)
            if inner is None or component.name in inherited:
                continue
            self._make(inner)
            self._space.add(
                Node(f"{interface.id}/{component.name}", Kind.OBJECT, component.name, interface.id, HAS_COMPONENT,
                     inner.id, in_english(component.words.display, component.name), rule=OPTIONAL)
            )  # fmt: skip
        for name, known in interface.fields.items():
            if not known.component and (parent is None or name not in parent.fields):
                self._field(interface, name, known)
        if any(f.writable for f in interface.fields.values()):
            _method(self._space, f"{interface.id}/{COMMAND}", COMMAND, interface.id, IN_COMMAND, OUT_STATE, OPTIONAL)

    def _field(self, interface: Interface, name: str, known: Field) -> None:
        place = f"{interface.id}/{name}"
        data: Id = built_in(Point(-1, name, "", name, known.type, known.unit, "", ""), known.schema)
        if isinstance(known.schema, Enum):
            data = f"{place}/Values"
            kind = kind_of(interface.id)
            self._space.add(Node(data, Kind.DATA_TYPE, f"{kind}_{name}", ENUMERATION, HAS_SUBTYPE))
            names = _names(known.schema)
            word = "EnumStrings" if names.counted else "EnumValues"
            listed = LOCALIZED_TEXT if names.counted else ENUM_VALUE
            self._space.add(_property(data, word, listed, names))
        analog = known.type in ("double", "integer")
        self._space.add(
            Node(place, Kind.VARIABLE, name, interface.id, HAS_COMPONENT, BASE_ANALOG if analog else BASE_VARIABLE,
                 *_words(known.words, name), data, writable=known.writable, rule=OPTIONAL)
        )  # fmt: skip
        if known.unit:
            self._space.add(_property(place, "EngineeringUnits", EU_INFORMATION, Unit(known.unit)))

    def _parent(self, interface: Interface) -> Interface | None:
        return next((self._interfaces[i] for i in interface.extends if i in self._interfaces), None)

    def _owner(self, interface: Interface, name: str) -> str:
        """The Interface whose type declares the field: the furthest supertype that has it."""
        component, _, inner = name.rpartition(".")
        if component and component in interface.components:
            found = self._interfaces[interface.components[component].interface]
            return self._owner(found, inner)
        parent = self._parent(interface)
        return self._owner(parent, name) if parent is not None and name in parent.fields else interface.id


def _twin(space: Space, types: _Types, twin: Twin, interface: Interface, points: Iterable[Point]) -> None:
    space.add(Node(twin.id, Kind.OBJECT, twin.id, PLANT, ORGANIZES, interface.id, twin.name))
    commanded = False
    for point in points:
        name, parent = point.property, twin.id
        component, _, inner = name.rpartition(".")
        known = interface.fields.get(name)
        if component:
            part = interface.components.get(component)
            parent = f"{twin.id}.{component}"
            type_: Id = part.interface if part is not None and part.interface in space.nodes else BASE_OBJECT_TYPE
            space.add(Node(parent, Kind.OBJECT, component, twin.id, HAS_COMPONENT, type_))
        _variable(space, point, inner or name, parent, types.data_type(interface, point), known)
        commanded = commanded or point.writable
    method = f"{interface.id}/{COMMAND}"
    if commanded and method in space.nodes:
        space.references.add(Reference(twin.id, HAS_COMPONENT, method))


def _variable(space: Space, point: Point, name: str, parent: str, data: Id, known: Field | None) -> None:
    bounded = math.isfinite(point.low) and math.isfinite(point.high) and point.type in ("double", "integer")
    type_ = ANALOG_ITEM if bounded else ANALOG_UNIT if point.unit else BASE_VARIABLE
    display, text = (name, "") if known is None else _words(known.words, name)
    space.add(
        Node(point.name, Kind.VARIABLE, name, parent, HAS_COMPONENT, type_, display, text, data,
             point=point.id, writable=point.writable)
    )  # fmt: skip
    if bounded:
        space.add(_property(point.name, "EURange", RANGE, Span(point.low, point.high)))
    if point.unit:
        space.add(_property(point.name, "EngineeringUnits", EU_INFORMATION, Unit(point.unit)))


def _method(
    space: Space, id_: str, name: str, parent: str, given: tuple[Argument, ...], got: tuple[Argument, ...], rule: int
) -> None:
    space.add(Node(id_, Kind.METHOD, name, parent, HAS_COMPONENT, rule=rule))
    space.add(_property(id_, "InputArguments", ARGUMENT, given))
    space.add(_property(id_, "OutputArguments", ARGUMENT, got))


def _property(parent: str, name: str, data: int, constant: Constant) -> Node:
    return Node(f"{parent}/{name}", Kind.VARIABLE, name, parent, HAS_PROPERTY, PROPERTY, data=data, constant=constant,
                standard=True)  # fmt: skip


def built_in(point: Point, schema: object) -> int:
    """The data type of a point's values. A double also stands for DTDL's float: the twin keeps doubles."""
    if point.type == "boolean":
        return BOOLEAN
    if point.type == "enum":
        return INT32
    if point.type in ("string", "object"):
        return STRING
    if point.type == "integer" and point.scale == 1.0 and float(point.offset).is_integer():
        return _INTEGERS.get(schema.name, INT64) if isinstance(schema, Primitive) else INT64
    return DOUBLE


def _names(enum: Enum) -> Names:
    return Names(tuple((enum.code(i), v.name, in_english(v.words.display, v.name)) for i, v in enumerate(enum.values)))


def _words(words: Words, name: str) -> tuple[str, str]:
    return in_english(words.display, name), in_english(words.description, "")


def changes(old: Space, new: Space) -> tuple[list[str], list[Node], set[Reference], set[Reference]]:
    """(ids to remove, children first; nodes to add, parents first; references to remove; references to add).

    A node that is another than before is removed and added again, with all below it.
    """
    gone = {i for i, n in old.nodes.items() if new.nodes.get(i) != n}
    for identity, node in old.nodes.items():  # parents come first, so one pass takes whole branches
        if node.parent in gone:
            gone.add(identity)
    added = [n for i, n in new.nodes.items() if i in gone or i not in old.nodes]
    fresh = {n.id for n in added}
    lost = {r for r in old.references if r not in new.references or {r.source, r.target, r.by} & gone}
    more = {r for r in new.references if r not in old.references or {r.source, r.target, r.by} & fresh}
    return [i for i in reversed(old.nodes) if i in gone], added, lost, more


def points_by_node(space: Space) -> Mapping[str, int]:
    """Point ids of the variables."""
    return {n.id: n.point for n in space.nodes.values() if n.point >= 0}
