"""What a device was found to offer: things, their values, and what cannot be read; pure, must not know any protocol.

A protocol's `discover.py` finds it; whoever writes a plant from it (control/discover_draft.py) knows no protocol.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from twin.schema import Schema, point_type

Path = tuple[str, ...]
"""Names from the device's root inwards, in the device's own words."""


@dataclass(frozen=True, slots=True)
class FoundThing:
    """Something that has values or parts: an object, a branch of topics, a block of registers.

    Attributes:
        path: its place; () is the device itself.
        kind: name of its type in the device's words, "" when it has none of its own.
        kind_id: what tells types of one name apart.
    """

    path: Path
    kind: str = ""
    kind_id: str = ""
    display: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class FoundValue:
    """One value that a point can be bound to.

    Attributes:
        thing: path of the thing that it belongs to.
        name: its own name there; several parts for a value inside another.
        address: in the words of a plant.
        unit, scale: wire × scale is in `unit`, a symbol of twin.units; "" for none.
        low, high: what the device itself says of its range, in `unit`; infinite where it says nothing.
        note: what a person has to know or do about it.
    """

    thing: Path
    name: Path
    address: str
    schema: Schema
    unit: str = ""
    scale: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    writable: bool = False
    display: str = ""
    description: str = ""
    note: str = ""

    @property
    def path(self) -> Path:
        return self.thing + self.name

    @property
    def type(self) -> str:
        return point_type(self.schema)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is there and that no point can carry, and why."""

    path: Path
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that one device offers.

    Attributes:
        scope: only what lies below this path was looked at.
        complete: False when a limit ended the search: what is missing may still be there.
        remarks: what people should know of the search as a whole, in words.
        settings: device settings that the search showed to be needed.
        also: addresses that are there, and were not worth a point.
    """

    things: tuple[FoundThing, ...]
    values: tuple[FoundValue, ...]
    skipped: tuple[Skipped, ...] = ()
    scope: Path = ()
    complete: bool = True
    remarks: tuple[str, ...] = ()
    settings: dict[str, bool | int | float | str] = field(default_factory=dict)
    also: frozenset[str] = frozenset()


Told = Callable[[int, str], None]
"""Progress: how many nodes, registers or messages were seen so far, and what is being done."""


def path_text(path: Path) -> str:
    """One text for a path; a `/` inside a name becomes `~1`, as in a JSON pointer (RFC 6901)."""
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def text_path(text: str) -> Path:
    """The inverse of `path_text`."""
    return tuple(p.replace("~1", "/").replace("~0", "~") for p in text.split("/")) if text else ()


def without_password(endpoint: str) -> str:
    """An endpoint as it may be shown."""
    parts = urlsplit(endpoint)
    if parts.password is None:
        return endpoint
    return parts._replace(netloc=f"{parts.username}:…@{parts.netloc.rpartition('@')[2]}").geturl()


def distinct(path: Path, identity: str, taken: set[Path]) -> Path:
    """The path, its last name marked with the identity when another has the same path; the result is taken."""
    if path in taken:
        path = (*path[:-1], f"{path[-1]} [{identity}]")
    taken.add(path)
    return path
