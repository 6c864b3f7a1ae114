"""Nodes of an OPC UA server as they were browsed and read -> what was found; pure, imports no OPC UA library.

Sources: OPC UA Part 3 (node classes, attributes), Part 5 (standard nodes), Part 6, 5.1.2 (built-in types), Part 8
(data access), Part 3, 8.39-8.43 (enumerations).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocols.discovery import Found, FoundThing, FoundValue, Path, Skipped, distinct
from protocols.opcua import codec
from protocols.said_units import unit_of_code, unit_of_text
from twin.interface import NAME
from twin.schema import Enum, EnumValue, Primitive, Schema, point_type

OBJECTS = "i=85"
OBJECT_CLASS, VARIABLE_CLASS = 1, 2
PROPERTY_TYPE = "i=68"  # a Property has no children (Part 3, 5.6.2)
GENERIC_TYPES = frozenset({"", "i=58", "i=61"})  # BaseObjectType and FolderType say nothing of what a thing is
CURRENT_READ, CURRENT_WRITE = 1, 2  # bits of AccessLevel, Part 3, 8.57
ENUM_VALUES_MAX = 1000  # named values of one enumeration
DETAILS = frozenset({"EURange", "InstrumentRange", "EngineeringUnits", "EnumStrings", "EnumValues"})
"""Properties of a variable that are read, because they say how to read the variable; they never become points."""
STANDARD_DETAILS = DETAILS | {
    "Definition", "ValuePrecision", "TrueState", "FalseState", "ValueAsText", "AxisScaleType",
    "LocalTime", "AllowNulls", "NodeVersion", "Icon", "NamingRule", "DefaultInstanceBrowseName", "OptionSetValues",
    "OptionSetLength", "HasHistoricalConfiguration", "HA Configuration", "Title", "MaxStringLength", "MaxArrayLength",
    "MaxCharacters", "MaxByteStringLength", "DictionaryFragment", "InputArguments", "OutputArguments",
}  # fmt: skip

# Built-in types by the number of their node in namespace 0. A UInt32 fits DTDL's long, a UInt64 as far as doubles do;
# times, GUIDs, names and the like come as texts.
_SCHEMA_OF_BUILT_IN: Mapping[int, Primitive] = {
    1: Primitive("boolean"),
    **dict.fromkeys((2, 3, 4, 5, 6), Primitive("integer")),
    **dict.fromkeys((7, 8, 9), Primitive("long")),
    10: Primitive("float"),
    11: Primitive("double"),
    12: Primitive("string"),
    13: Primitive("dateTime"),
    **dict.fromkeys((14, 16, 17, 18, 20, 21), Primitive("string")),
    19: Primitive("long"),
}
_NAME_OF_BUILT_IN = {
    **dict.fromkeys((2, 3, 4, 5, 6, 7, 8, 9), "an integer"), 1: "Boolean", 10: "Float", 11: "Double", 12: "String",
    15: "ByteString", 22: "Structure", 23: "DataValue", 24: "any type", 25: "DiagnosticInfo",
}  # fmt: skip
ABSTRACT = frozenset({"i=24", "i=26", "i=27", "i=28"})  # any, Number, Integer, UInteger: only the value tells
ENUMERATION = "i=29"
DURATION = "i=290"  # Part 3, 8.13: ms
BUILT_IN_MAX = 29
INTEGER_MAX = 2**31 - 1  # of an enum's value in DTDL


@dataclass(slots=True)
class Node:
    """One node below the root, with what was read of it.

    Attributes:
        identity: NodeId as text.
        parent: identity of the node through which it was first reached.
        is_property: reached by HasProperty or a subtype of it.
        data_type: NodeId as text; `built_in` is the number of the built-in type that it comes down to.
        seen: (built-in type, whether it is an array) of the value, where the attributes left that open.
        details: what its Properties of namespace 0 say, by their names.
    """

    identity: str
    parent: str
    namespace: int
    name: str
    node_class: int
    type_definition: str
    display: str = ""
    is_property: bool = False
    description: str = ""
    data_type: str = ""
    value_rank: int = -1
    access: int = 0
    refused: str = ""
    seen: tuple[int, bool] | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_variable(self) -> bool:
        return self.node_class == VARIABLE_CLASS

    @property
    def is_detail(self) -> bool:
        """Whether it only says how to read the variable that it belongs to."""
        known = STANDARD_DETAILS if self.namespace == 0 else DETAILS  # makers put these into namespaces of their own
        return self.is_variable and self.is_property and self.name in known

    @property
    def is_open(self) -> bool:
        """Whether its value must be looked at to know what it is."""
        return self.data_type in ABSTRACT or self.value_rank in (-2, -3)


@dataclass(frozen=True, slots=True)
class DataType:
    """A data type as far as it is needed: the built-in type it comes down to, and the names of an enumeration."""

    name: str
    built_in: int
    values: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TypeNode:
    """An ObjectType."""

    name: str
    namespace: int


@dataclass(frozen=True, slots=True)
class Browsed:
    """The whole of what one server said. `nodes` in the order in which they were reached, parents first."""

    root: Path
    nodes: Mapping[str, Node]
    types: Mapping[str, TypeNode]
    data_types: Mapping[str, DataType]
    scope: Path = ()
    complete: bool = True
    remarks: tuple[str, ...] = ()


def found(browsed: Browsed) -> Found:
    """Objects become things and variables values; a variable inside a variable keeps both names."""
    return _Reading(browsed).found()


class _Reading:
    def __init__(self, browsed: Browsed) -> None:
        self._browsed = browsed
        self._taken: set[Path] = set()
        self._paths: dict[str, Path] = {}
        self._things: dict[Path, FoundThing] = {}
        self._values: list[FoundValue] = []
        self._skipped: list[Skipped] = []

    def found(self) -> Found:
        for node in self._browsed.nodes.values():
            if not node.is_detail:
                parent = self._paths.get(node.parent, self._browsed.root)
                path = distinct((*parent, _readable(node.name, node.identity)), node.identity, self._taken)
                self._paths[node.identity] = path
                self._take(node, path)
        return Found(
            self._with_parents(),
            tuple(self._values),
            tuple(self._skipped),
            self._browsed.scope,
            self._browsed.complete,
            self._browsed.remarks,
        )

    def _take(self, node: Node, path: Path) -> None:
        if not node.is_variable:
            kind = self._browsed.types.get(node.type_definition)
            self._things[path] = FoundThing(
                path,
                "" if kind is None or node.type_definition in GENERIC_TYPES else kind.name,
                "" if kind is None else f"{kind.namespace}:{kind.name}",
                node.display,
                node.description,
            )
            return
        thing = self._thing_of(path)
        reason = self._misfit(node)
        if reason:
            self._skipped.append(Skipped(path, node.identity, reason))
            return
        self._values.append(self._value(node, thing, path[len(thing) :]))

    def _thing_of(self, path: Path) -> Path:
        """The nearest object around a variable."""
        around = path[:-1]
        while around and around not in self._things and len(around) > len(self._browsed.root):
            around = around[:-1]
        return around

    def _with_parents(self) -> tuple[FoundThing, ...]:
        """Objects that hold a value somewhere inside; empty ones say nothing of the plant."""
        needed: set[Path] = set()
        for value in self._values:
            for length in range(len(value.thing), 0, -1):
                if value.thing[:length] in needed:
                    break
                needed.add(value.thing[:length])
        around = [FoundThing(p) for p in sorted(needed - self._things.keys())]
        return (*around, *(t for p, t in self._things.items() if p in needed))

    def _misfit(self, node: Node) -> str:
        """Why no point can carry the node's value; "" when one can."""
        if node.refused:
            return f"the server answers {node.refused}"
        if not node.access & CURRENT_READ:
            return "its value cannot be read"
        is_array = node.value_rank >= 0 or (node.seen is not None and node.seen[1])
        kind = self._data_type(node)
        if is_array:
            return f"an array of {kind.name}; bind it by hand as an object"
        if node.is_open and node.seen is None:
            return f"{kind.name}, and without a value that tells more"
        if kind.built_in not in _SCHEMA_OF_BUILT_IN and not self._names(node, kind):
            return f"of type {kind.name}"
        try:
            codec.check_address(node.identity, "double", False)
        except ValueError as error:
            return str(error)
        if node.identity != node.identity.strip() or not node.identity.isprintable():
            return "its NodeId has characters that a sheet does not keep"
        return ""

    def _data_type(self, node: Node) -> DataType:
        kind = self._browsed.data_types.get(node.data_type)
        if node.seen is not None and (kind is None or node.data_type in ABSTRACT):
            return DataType(_NAME_OF_BUILT_IN.get(node.seen[0], f"built-in type {node.seen[0]}"), node.seen[0])
        return kind or DataType(node.data_type, 0)

    def _names(self, node: Node, kind: DataType) -> tuple[tuple[int, str], ...]:
        """The named values of an enumeration, or of a MultiStateDiscreteType (Part 8, 5.3.3)."""
        own = named_values(node.details.get("EnumValues")) or named_values(node.details.get("EnumStrings"))
        return own or kind.values

    def _schema(self, node: Node) -> Schema:
        kind = self._data_type(node)
        plain = _SCHEMA_OF_BUILT_IN.get(kind.built_in, Primitive("integer"))
        if plain.name in ("integer", "long") and (values := self._names(node, kind)):
            return enum_of(values) or plain
        return plain

    def _value(self, node: Node, thing: Path, name: Path) -> FoundValue:
        schema = self._schema(node)
        is_number = point_type(schema) in ("double", "integer")
        unit, scale, note = self._unit(node) if is_number else ("", 1.0, "")
        is_text = point_type(schema) == "string"
        writable = bool(node.access & CURRENT_WRITE)
        low, high = self._range(node, scale, writable) if is_number else (-math.inf, math.inf)
        if writable and is_text:
            note = "it can be written, but commands carry no texts"
        return FoundValue(
            thing, name, node.identity, schema, unit, scale, low, high, writable and not is_text,
            node.display, node.description, note,
        )  # fmt: skip

    def _range(self, node: Node, scale: float, writable: bool) -> tuple[float, float]:
        """What the instrument can say, else what may be commanded.

        EURange is where a value normally lies (Part 8, 5.6.3.2): a measurement beyond it is news, not a mistake.
        """
        details = node.details
        said = details.get("InstrumentRange") or (details.get("EURange") if writable else None)
        return _span(said, scale)

    def _unit(self, node: Node) -> tuple[str, float, str]:
        """(symbol, factor, what a person should know)."""
        said = node.details.get("EngineeringUnits")
        if said is None:
            return ("ms", 1.0, "") if node.data_type == DURATION else ("", 1.0, "")
        unit_id, display = said
        found = unit_of_code(unit_id) or unit_of_text(display)
        if found is None:
            return "", 1.0, f"its unit {display or unit_id} is not one of ours"
        return (*found, "")


def named_values(said: Any) -> tuple[tuple[int, str], ...]:
    """(value, name) of each, from a list of names or of pairs."""
    if not isinstance(said, Sequence) or isinstance(said, str):
        return ()
    pairs = [(i, s) if isinstance(s, str) else s for i, s in enumerate(said)]
    return tuple((int(value), str(name)) for value, name in pairs[:ENUM_VALUES_MAX] if name)


def enum_of(values: Sequence[tuple[int, str]]) -> Enum | None:
    """A DTDL Enum; names that DTDL does not allow are shown as display names. None: its numbers are too large."""
    taken: dict[str, EnumValue] = {}
    numbers: set[int] = set()
    for value, said in values:
        if not -INTEGER_MAX - 1 <= value <= INTEGER_MAX or value in numbers:
            return None
        numbers.add(value)
        plain = "_".join("".join(c if c.isascii() and c.isalnum() else " " for c in said).split())
        name = plain if NAME.match(plain) else f"value_{plain}" if NAME.match(f"value_{plain}") else f"value_{value}"
        if name in taken:
            name = f"{name}_{value}" if value >= 0 else f"{name}_minus_{-value}"
        taken[name] = EnumValue(name, value)
    return Enum("integer", tuple(taken.values())) if len(taken) == len(values) else None


def _span(said: tuple[float, float] | None, scale: float) -> tuple[float, float]:
    """A range as the device says it; one that says nothing (both ends alike, or not numbers) is open."""
    if said is None or not all(map(math.isfinite, said)) or said[0] >= said[1]:
        return -math.inf, math.inf
    return said[0] * scale, said[1] * scale


def _readable(name: str, identity: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in name).strip()
    return text or identity
