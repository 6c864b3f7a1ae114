"""A Modbus map: which value of the twin stands in which cells, as read from a CSV of the plant folder.

Must not know sockets or frames.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from protocols.modbus.address import BCD, BIT, BIT_TABLES, TEXT, Address, Table, check_address, parse_address
from twin.errors import Mistake
from twin.nearest import nearest
from twin.points import Point

COLUMNS = ("point", "address", "scale", "offset")
NEEDED = ("point", "address")
ROWS_MAX = 50_000  # of one map: three quarters of a table of registers
HEARTBEAT = ":heartbeat"


class Aspect(StrEnum):
    """What of a point a row serves."""

    VALUE = "value"
    GOOD = "good"
    QUALITY = "quality"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: twin value = cell value * scale + offset, as in points.csv."""

    point: str
    aspect: Aspect
    address: Address
    scale: float = 1.0
    offset: float = 0.0


def read_map(path: Path) -> tuple[list[tuple[int, Row]], list[Mistake]]:
    """(line, row) of every right row, and what is wrong with the others as far as the file alone can tell."""
    rows: list[tuple[int, Row]] = []
    mistakes: list[Mistake] = []
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        return [], [Mistake("", 0, f"map {path.name!r}: {reason}", "name a CSV file of the plant folder")]
    header = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if not set(NEEDED) <= set(header) or not set(header) <= set(COLUMNS):
        return [], [Mistake(path.name, 1, f"columns {', '.join(header) or 'none'}", f"use {', '.join(COLUMNS)}")]
    for line, cells in _cells(lines):
        try:
            rows.append((line, _row(dict(zip(header, cells, strict=False)))))
        except ValueError as error:
            mistakes.append(Mistake(path.name, line, str(error), "mend this row"))
    if len(rows) > ROWS_MAX:
        mistakes.append(Mistake(path.name, 1, f"{len(rows)} rows", f"at most {ROWS_MAX}"))
    return rows, mistakes


def check_map(folder: Path, settings: Mapping[str, Any], points: Mapping[str, Point]) -> list[Mistake]:
    """Everything wrong with the map that the settings name. See twin.rules.ServingRules."""
    if settings["map"] is None:
        return [Mistake("", 0, "modbus serves what a map says, and none is named", 'add map = "FILE.csv"')]
    path = folder / settings["map"]
    rows, mistakes = read_map(path)
    taken: dict[tuple[Table, int, int], int] = {}
    for line, row in rows:
        mistakes += [Mistake(path.name, line, what, fix) for what, fix in _wrong(row, points, settings["bad"])]
        for cell in _places(row.address):
            other = taken.setdefault(cell, line)
            if other != line:
                mistakes.append(Mistake(path.name, line, f"cell {cell[1]} is that of line {other}, too", "move one"))
                break
    return mistakes


def _wrong(row: Row, points: Mapping[str, Point], bad: str) -> Iterator[tuple[str, str]]:
    if row.aspect is Aspect.HEARTBEAT:
        if row.address.kind.code in (BIT, TEXT):
            yield "the heartbeat counts", "give it a register"
        return
    point = points.get(row.point)
    if point is None:
        yield f"{row.point!r} is no point", nearest(row.point, points) or "name a point"
        return
    served = {Aspect.GOOD: "boolean", Aspect.QUALITY: "integer"}.get(row.aspect, point.type)
    scaled = row.scale != 1.0 or row.offset != 0.0
    try:
        # A whole number may stand in any register, a boolean in one that only knows 0 and 1.
        check_address(_words(row.address), "double" if served == "integer" else served, False)
    except ValueError as error:
        yield str(error), "choose another address"
    if scaled and served not in ("double", "integer"):
        yield f"{row.point} is {served} and has no scale", "leave scale and offset out"
    if row.aspect is Aspect.QUALITY and row.address.type not in ("uint32", "int64", "uint64", "float64"):
        yield "a status code has 32 bits", "use uint32"
    if bad == "sentinel" and row.aspect is Aspect.VALUE and row.address.kind.code in (BIT, TEXT, BCD):
        yield f'bad = "sentinel": {row.address.type} has no value that means "none"', 'use bad = "exception"'


def _words(address: Address) -> str:
    """The address without what only a client needs."""
    if address.table in BIT_TABLES:
        return f"{address.table}:{address.start}"
    type_ = f"bit{address.bit}" if address.bit >= 0 else f"{address.type}"
    if address.type == "string":
        type_ = f"string{address.count}"
    return f"{address.table}:{address.start}:{type_}"


def _places(address: Address) -> Iterator[tuple[Table, int, int]]:
    """What it takes up: whole cells, or one bit of a register."""
    if address.bit >= 0:
        yield address.table, address.start, address.bit
        return
    bits = range(16) if address.table not in BIT_TABLES else range(1)
    for cell in range(address.start, address.start + address.count):
        for bit in bits:
            yield address.table, cell, bit


def _cells(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines[1:], 2):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, [cell.strip() for cell in next(csv.reader([line]))]


def _row(cells: Mapping[str, str]) -> Row:
    """
    Raises:
        ValueError: not a row of a map.
    """
    name = cells.get("point", "")
    point, _, word = name.partition(":")
    aspect = Aspect(word) if word in list(Aspect) else Aspect.VALUE
    if word not in (*Aspect, "") or (name != HEARTBEAT and (not point or aspect is Aspect.HEARTBEAT)):
        raise ValueError(f"{name!r}: write point, point:good, point:quality or {HEARTBEAT}")
    address = parse_address(cells.get("address", ""))
    if address.factor >= 0:
        raise ValueError(f"{cells['address']!r}: a served value has its scale in the column scale, not in a register")
    return Row(point, aspect, address, _number(cells, "scale", 1.0), _number(cells, "offset", 0.0))


def _number(cells: Mapping[str, str], name: str, default: float) -> float:
    text = cells.get(name, "")
    if not text:
        return default
    number = float(text)
    if not math.isfinite(number) or (name == "scale" and number == 0.0):
        raise ValueError(f"{name} {text!r}")
    return number
