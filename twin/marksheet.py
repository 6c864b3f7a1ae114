"""Reads the rows [[mark]] of plant.toml; says every mistake. Must not know what is drawn with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin.interface import Field, Interface
from twin.mark import MarkRule, Shape
from twin.nearest import nearest
from twin.rules import Setting
from twin.schema import Enum
from twin.sheet import Sheet

MARK: Mapping[str, Setting] = {
    "point": Setting(str, None, 'the property that twins of this Interface show: "level"'),
    "shape": Setting(str, None, "their sign", choices=tuple(s.value for s in Shape)),
    "on": Setting(list, None, 'values in which the sign is filled: ["Execute"]'),
    "words": Setting(list, None, 'what false and what true is called: ["stopped", "running"]'),
}


def read_marks(sheet: Sheet, interfaces: Mapping[str, Interface]) -> Mapping[str, MarkRule]:
    """By Interface; a plant needs none."""
    found: dict[str, MarkRule] = {}
    for index, row in sheet.rows("mark"):
        name = row["interface"]
        interface = interfaces.get(name)
        if interface is None:
            sheet.mistake(
                "mark", index, "interface", f"unknown Interface {name}", nearest(name, interfaces) or "name one"
            )
            continue
        if name in found:
            sheet.mistake("mark", index, "interface", f"{name} has two marks", "keep one")
        asked = sheet.settings("a mark", "mark", index, row, MARK)
        declared = _declared(sheet, index, interface, asked["point"])
        found[name] = MarkRule(
            name,
            asked["point"],
            None if asked["shape"] is None else Shape(asked["shape"]),
            _on(sheet, index, declared, asked),
            _words(sheet, index, declared, asked),
        )
    return found


def _declared(sheet: Sheet, index: int, interface: Interface, point: str | None) -> Field | None:
    if point is not None and point not in interface.fields:
        fix = nearest(point, interface.fields) or f"one of {', '.join(interface.fields)}"
        sheet.mistake("mark", index, "point", f"{interface.id} has no property {point!r}", fix)
    return interface.fields.get(point or "")


def _on(sheet: Sheet, index: int, declared: Field | None, asked: Mapping[str, Any]) -> tuple[float, ...] | None:
    if asked["on"] is None or (declared is None and asked["point"] is not None):
        return None
    if declared is None or not isinstance(declared.schema, Enum):
        sheet.mistake("mark", index, "on", "on needs a point that is an enum", "name it, or leave on out")
        return None
    codes: list[float] = []
    for said in asked["on"]:
        at = declared.schema.index_of(said)
        if at is None:
            known = [v.name for v in declared.schema.values]
            sheet.mistake(
                "mark", index, "on", f"{declared.name} is never {said!r}", nearest(said, known) or ", ".join(known)
            )
        else:
            codes.append(float(declared.schema.code(at)))
    return tuple(codes)


def _words(sheet: Sheet, index: int, declared: Field | None, asked: Mapping[str, Any]) -> tuple[str, str] | None:
    words = asked["words"]
    if words is None or (declared is None and asked["point"] is not None):
        return None
    if declared is None or declared.type != "boolean":
        sheet.mistake("mark", index, "words", "words need a point that is a boolean", "name it, or leave words out")
        return None
    if len(words) != 2 or not all(words):
        sheet.mistake("mark", index, "words", f"words = {list(words)!r}", 'give two: words = ["stopped", "running"]')
        return None
    return words[0], words[1]
