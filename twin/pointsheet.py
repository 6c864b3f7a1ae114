"""Reads points.csv, one row a binding, checking each cell; must not know any protocol but through its rules."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twin.interface import Field, Interface
from twin.places import Mistakes
from twin.plant import Device, Twin, nearest
from twin.points import Point
from twin.rules import ProtocolRules
from twin.schema import PRIMITIVES, Primitive, Schema, point_type
from twin.units import SPELLINGS, UNITS, conversion

NEEDED = ("point", "device", "address", "type", "unit", "scale", "access", "audit")
OPTIONAL = ("low", "high", "deadband")
TYPES = ("double", "integer", "boolean", "string", "enum", "object")
NUMBERS = ("double", "integer")
ACCESS = {"r": False, "rw": True}
PLAIN = frozenset(s for s in map(Primitive, PRIMITIVES) if point_type(s) != "string" and s.name != "decimal") | {
    Primitive("string")
}
AUDIT = {"no": False, "yes": True, "": False}


@dataclass(slots=True)
class _Row:
    """One line of the sheet and where its mistakes go."""

    cells: dict[str, str]
    file: str
    line: int
    mistakes: Mistakes

    def mistake(self, message: str, fix: str) -> None:
        self.mistakes.add(self.file, self.line, message, fix)

    def number(self, key: str, default: float) -> float:
        text = self.cells.get(key, "")
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.mistake(f"{key} {text!r} is not a number", f"write {key} as a finite number or leave it empty")
            return default
        return value


def read_points(
    folder: Path,
    name: str,
    twins: Mapping[str, Twin],
    interfaces: Mapping[str, Interface],
    devices: Mapping[str, Device],
    protocols: Mapping[str, ProtocolRules],
    mistakes: Mistakes,
) -> list[Point]:
    """Every usable row as a Point with ids from 0; what is wrong goes to `mistakes`."""
    path = folder / name
    if not path.is_file():
        mistakes.add(name, 1, "the file is missing", f"write it with the columns {', '.join(NEEDED)}")
        return []
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        mistakes.add(name, 1, f"not UTF-8: {error.reason} at byte {error.start}", "export it as CSV UTF-8")
        return []
    reader = csv.reader(text.splitlines())
    header = [c.strip().lower() for c in next(reader, [])]
    missing = [c for c in NEEDED if c not in header]
    if missing:
        separator = " (columns are separated by commas)" if len(header) == 1 and ";" in header[0] else ""
        mistakes.add(name, 1, f"column {', '.join(missing)} is missing{separator}", "add it to the first line")
        return []
    for extra in set(header) - set(NEEDED) - set(OPTIONAL):
        mistakes.add(name, 1, f"unknown column {extra!r}", nearest(extra, [*NEEDED, *OPTIONAL]) or "remove it")
    points: list[Point] = []
    first_line: dict[str, int] = {}
    bound: dict[tuple[str, str], int] = {}
    for cells in reader:
        if not any(c.strip() for c in cells) or cells[0].lstrip().startswith("#"):
            continue
        line = reader.line_num
        row = _Row({k: v.strip() for k, v in zip(header, cells, strict=False)}, name, line, mistakes)
        if len(cells) != len(header):
            row.mistake(f"{len(cells)} cells, the first line has {len(header)}", "quote cells that contain commas")
            continue
        point = _point(row, len(points), twins, interfaces, devices, protocols)
        if point is None:
            continue
        if point.name in first_line:
            row.mistake(f"duplicate point {point.name}", f"line {first_line[point.name]} has it already")
            continue
        first_line[point.name] = line
        if (point.device, point.address) in bound and point.writable:
            row.mistake(f"{point.address} is bound twice", f"line {bound[point.device, point.address]} has it already")
        bound[point.device, point.address] = line
        points.append(point)
    return points


def _point(
    row: _Row,
    identity: int,
    twins: Mapping[str, Twin],
    interfaces: Mapping[str, Interface],
    devices: Mapping[str, Device],
    protocols: Mapping[str, ProtocolRules],
) -> Point | None:
    cells, name = row.cells, row.cells["point"]
    twin_id, dot, property_name = name.partition(".")
    twin = twins.get(twin_id)
    if not dot or not property_name:
        row.mistake(f"point {name!r} has no property", "write it as twin.property")
        return None
    if twin is None:
        row.mistake(f"unknown twin {twin_id!r}", nearest(twin_id, twins) or "declare it in plant.toml")
        return None
    interface = interfaces.get(twin.interface)
    field = interface.fields.get(property_name) if interface else None
    if interface is not None and field is None:
        fix = nearest(property_name, list(interface.fields)) or f"declare it in {interface.file}"
        row.mistake(f"{interface.kind} has no Property or Telemetry {property_name!r}", fix)
    writable = _choice(row, "access", ACCESS)
    audit = _choice(row, "audit", AUDIT)
    _check_type(row, field)
    if writable and field is not None and not (field.kind == "Property" and field.writable):
        row.mistake(
            f"{name} is written, but its Interface does not allow it", 'make it a Property with "writable": true'
        )
    if writable and cells["type"] in ("string", "object"):
        what = "text" if cells["type"] == "string" else "structured"
        row.mistake(f"{name} is {what}, and commands carry numbers", "give it access r")
    scale, offset, unit = _scaling(row, field)
    _check_binding(row, devices, protocols, writable)
    low, high = row.number("low", -math.inf), row.number("high", math.inf)
    if low > high:
        row.mistake(f"low {low:g} is above high {high:g}", "swap them")
    kind = cells["type"]
    return Point(
        identity, name, twin_id, property_name, kind, unit, cells["device"], cells["address"],
        scale, offset, low, high, writable, audit, _deadband(row, low, high), value_schema(field),
    )  # fmt: skip


def value_schema(field: Field | None) -> Schema | None:
    """Of values that are more than a number, a truth or any text."""
    return None if field is None or field.schema in PLAIN else field.schema


def _deadband(row: _Row, low: float, high: float) -> float:
    """Absolute, in the Interface's unit; 0 when there is none."""
    text = row.cells.get("deadband", "")
    if not text:
        return 0.0
    share = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0) or (share and value > 100):
        row.mistake(f"deadband {text!r}", "write a number in the Interface's unit, 0 or more, or a share such as 1%")
    elif row.cells["type"] not in NUMBERS:
        row.mistake(f"a deadband for a point of type {row.cells['type']}", "leave it empty; only numbers have one")
    elif share and not math.isfinite(high - low):
        row.mistake(f"deadband {text} of an open range", "give low and high, or write the deadband as a number")
    else:
        return (high - low) * value / 100 if share else value
    return 0.0


def _choice(row: _Row, key: str, choices: Mapping[str, bool]) -> bool:
    text = row.cells[key].lower()
    if text not in choices:
        row.mistake(f"{key} {row.cells[key]!r}", f"one of {', '.join(c for c in choices if c)}")
    return choices.get(text, False)


def _check_type(row: _Row, field: Field | None) -> None:
    kind = row.cells["type"]
    if kind not in TYPES:
        row.mistake(f"type {kind!r}", f"one of {', '.join(TYPES)}")
    elif field is not None and kind != field.type and not (kind == "integer" and field.type == "double"):
        row.mistake(f"type {kind}, but the Interface says {field.type}", f"write {field.type}")


def _scaling(row: _Row, field: Field | None) -> tuple[float, float, str]:
    """(scale, offset, symbol): the row's own scale and the conversion to the Interface's unit, folded."""
    scale = row.number("scale", 1.0)
    if scale == 0:
        row.mistake("scale 0 would make every value 0", "write the factor from wire to unit, or leave it empty")
    symbol = row.cells["unit"]
    unit = SPELLINGS.get(symbol)
    kind = row.cells["type"]
    if kind in ("string", "enum", "object") and (scale != 1 or symbol):
        row.mistake(f"a point of type {kind} with a scale or a unit", "leave both empty; they are for numbers")
    if unit is None:
        row.mistake(
            f"unknown unit {symbol!r}", nearest(symbol, list(UNITS)) or f"one of {', '.join(u for u in UNITS if u)}"
        )
        return scale, 0.0, symbol
    if field is None:
        return scale, 0.0, unit.symbol
    try:
        factor, offset = conversion(unit, UNITS[field.unit])
    except ValueError as error:
        row.mistake(f"bad unit: {error}", f"use a unit of the same dimension as the Interface's {field.unit!r}")
        return scale, 0.0, symbol
    return scale * factor, offset, field.unit


def _check_binding(
    row: _Row, devices: Mapping[str, Device], protocols: Mapping[str, ProtocolRules], writable: bool
) -> None:
    device = devices.get(row.cells["device"])
    if device is None:
        fix = nearest(row.cells["device"], devices) or "declare it in plant.toml"
        row.mistake(f"unknown device {row.cells['device']!r}", fix)
        return
    rules = protocols.get(device.protocol)
    if rules is not None and row.cells["type"] in TYPES:
        try:
            check = rules.check_address if rules.address_check is None else rules.address_check(device.settings)
            check(row.cells["address"], row.cells["type"], writable)
        except ValueError as error:
            row.mistake(f"address {row.cells['address']!r}", str(error))
