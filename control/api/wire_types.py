"""Writes the console's TypeScript types from the wire types: `python -m control.api.wire_types > …/wire.ts`; knows no values."""

from __future__ import annotations

import enum
import inspect
import sys
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from control.api import (
    wire,
    wire_access,
    wire_alarm,
    wire_answer,
    wire_command,
    wire_event,
    wire_learned,
    wire_lease,
    wire_lookahead,
    wire_operations,
    wire_past,
    wire_prediction,
    wire_view,
    wire_whatif,
)

HEAD = "// Generated from control/api/wire.py by `python -m control.api.wire_types`. Do not edit.\n"
MODULES = (
    wire, wire_access, wire_command, wire_lease, wire_prediction, wire_lookahead, wire_whatif, wire_alarm, wire_event,
    wire_learned, wire_operations, wire_view, wire_past,
)  # fmt: skip
_NAMES: dict[Any, str] = {
    str: "string",
    float: "number",
    int: "number",
    bool: "boolean",
    bytes: "Uint8Array",
    type(None): "null",
    Any: "unknown",
}


# A run's result is one of four, by its kind.
_SAID: dict[tuple[type[msgspec.Struct], str], str] = {
    (wire_whatif.WhatIfRun, "result"): " | ".join([*(a.__name__ for a in wire_answer.ANSWERS), "null"])
}


def typescript() -> str:
    """The whole file."""
    structs = [s for module in MODULES for s in _messages(module)]
    parts = [HEAD, f'export const SUBPROTOCOL = "{wire.SUBPROTOCOL}";\n']
    parts += [_interface(s) for s in [*structs, *wire_answer.answer_types()]]
    for name in ("ClientMessage", "ServerMessage"):
        members = " | ".join(m.__name__ for m in get_args(getattr(wire, name)))
        parts.append(f"export type {name} = {members};\n")
    return "\n".join(parts)


def _messages(module: types.ModuleType) -> list[type[msgspec.Struct]]:
    """Its own, in the order of the file."""
    found = [s for _, s in inspect.getmembers(module, _is_message) if s.__module__ == module.__name__]
    return sorted(found, key=lambda s: inspect.getsourcelines(s)[1])


def _is_message(member: object) -> bool:
    return inspect.isclass(member) and issubclass(member, msgspec.Struct) and member is not msgspec.Struct


def _interface(struct: type[msgspec.Struct]) -> str:
    lines = []
    config = struct.__struct_config__
    if config.tag is not None:
        lines.append(f"  {config.tag_field}: {config.tag!r};".replace("'", '"'))
    for field in msgspec.structs.fields(struct):
        optional = "" if field.required else "?"
        lines.append(f"  {field.encode_name}{optional}: {_SAID.get((struct, field.name)) or _type(field.type)};")
    doc = struct.__dict__.get("__doc__")
    comment = f"/** {' '.join(doc.split())} */\n" if doc else ""
    return f"{comment}export interface {struct.__name__} {{\n" + "\n".join(lines) + "\n}\n"


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(args[0])
    if origin is list:
        inner = _type(args[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if origin is dict:
        return f"Record<string, {_type(args[1])}>"
    if origin is Literal:
        return " | ".join(f'"{a}"' for a in args)
    if origin in (Union, types.UnionType):
        return " | ".join(_type(a) for a in args)
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return " | ".join(f'"{e.value}"' for e in annotation)
    if annotation in _NAMES:
        return _NAMES[annotation]
    return str(annotation.__name__)


if __name__ == "__main__":
    sys.stdout.write(typescript())
