"""Interfaces: what the twins of one type have and may do, as frozen values; must not know documents or plants.

Source: Digital Twins Definition Language v3, "Interface" and what it contains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from twin.schema import Member, Primitive, Schema
from twin.words import NO_WORDS, Words

NAME = re.compile(r"^[A-Za-z](?:\w*[A-Za-z0-9])?$", re.ASCII)
NO_SCHEMA = Primitive("string")


@dataclass(frozen=True, slots=True)
class Field:
    """A Property or Telemetry.

    Attributes:
        name: dotted behind a Component's name once components are folded in: `front.zoom`.
        kind: `Property` or `Telemetry`.
        type: how the twin keeps it: `double`, `integer`, `boolean`, `string`, `enum` or `object`.
        unit: symbol, "" for none.
        semantic: semantic types, such as `Temperature`.
        component: name of the Component it comes from, "" for the Interface's own.
    """

    name: str
    kind: str
    type: str
    unit: str
    writable: bool
    schema: Schema = NO_SCHEMA
    semantic: tuple[str, ...] = ()
    component: str = ""
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True)
class RelationshipRule:
    """A Relationship: the Interface its targets must be of, None for any; how many; what each one carries."""

    name: str
    target: str | None
    least: int | None = None
    most: int | None = None
    properties: tuple[Field, ...] = ()
    writable: bool = False
    semantic: tuple[str, ...] = ()
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True)
class CommandRule:
    """A Command and what goes in and comes out; kept and exported, Twinloop calls none."""

    name: str
    request: Member | None = None
    response: Member | None = None
    semantic: tuple[str, ...] = ()
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True)
class Component:
    """An Interface that is part of another by value."""

    name: str
    interface: str
    semantic: tuple[str, ...] = ()
    words: Words = NO_WORDS


@dataclass(frozen=True, slots=True)
class Interface:
    """A type of twin.

    Attributes:
        name: shown.
        fields, relationships, components, commands: with what it inherits, and fields of components under dotted
            names, once `read_models` has joined it to others.
        schemas: complex schemas that its contents name by id.
        contexts: of the language extensions it uses, but that of units, which follows from its contents.
        own: names it declares itself, in its author's order.
        version, file, line: of the document it was read from.
    """

    id: str
    name: str
    extends: tuple[str, ...]
    fields: Mapping[str, Field]
    relationships: Mapping[str, RelationshipRule]
    file: str = field(default="", compare=False)
    components: Mapping[str, Component] = field(default_factory=dict)
    commands: Mapping[str, CommandRule] = field(default_factory=dict)
    schemas: tuple[Schema, ...] = ()
    semantic: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    words: Words = NO_WORDS
    version: int = field(default=3, compare=False)
    line: int = field(default=1, compare=False)

    @property
    def kind(self) -> str:
        """Last segment of the id: `Tank` of `dtmi:twinloop:water:Tank;1`."""
        return kind_of(self.id)


def kind_of(dtmi: str) -> str:
    return dtmi.rsplit(":", 1)[-1].split(";")[0]
