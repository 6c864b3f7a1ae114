"""What a device said at the last search, kept beside the plant as a sheet; pure, must not know plants or devices.

With it a later search can tell what the device changed from what people changed.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

from protocols.discovery import Found, FoundValue, Path, path_text, text_path
from twin.errors import BadRequest
from twin.schema import Enum

FOLDER = "discovered"
COLUMNS = ("thing", "name", "address", "type", "unit", "scale", "access", "low", "high", "values", "note")
NOT_READ = "-"  # the type of what no point can carry


@dataclass(frozen=True, slots=True)
class Said:
    """One value, as texts: `values` are those of an enum, `note` why it is no point, or what to do about it."""

    thing: str
    name: str
    address: str
    type: str
    unit: str = ""
    scale: str = ""
    access: str = ""
    low: str = ""
    high: str = ""
    values: str = ""
    note: str = ""

    @property
    def path(self) -> str:
        return f"{self.thing}/{self.name}" if self.thing else self.name

    @property
    def thing_path(self) -> Path:
        return text_path(self.thing)

    @property
    def is_read(self) -> bool:
        return self.type != NOT_READ


def said(found: Found) -> dict[str, Said]:
    """Of everything found, by address."""
    spoken = {s.address: Said(path_text(s.path[:-1]), path_text(s.path[-1:]), s.address, NOT_READ, note=s.reason)
              for s in found.skipped}  # fmt: skip
    return spoken | {v.address: _of_value(v) for v in found.values}


def _of_value(value: FoundValue) -> Said:
    return Said(
        path_text(value.thing), path_text(value.name), value.address, value.type, value.unit, number(value.scale, 1.0),
        "rw" if value.writable else "r", number(value.low), number(value.high), _values(value), value.note,
    )  # fmt: skip


def _values(value: FoundValue) -> str:
    if not isinstance(value.schema, Enum):
        return ""
    return ";".join(f"{v.value}={v.name}" for v in value.schema.values)


def number(value: float, default: float = math.nan) -> str:
    """The shortest text that is this number; "" for the default and for what is not finite."""
    if not math.isfinite(value) or value == default:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def read(text: str, file: str) -> dict[str, Said]:
    """By address.

    Raises:
        BadRequest: it is not a sheet of ours.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if set(rows.fieldnames or ()) != set(COLUMNS):
        raise BadRequest(f"{file} is not what `twinloop discover` wrote", "restore it, or remove it to start anew")
    found: dict[str, Said] = {}
    for row in rows:
        if None in row or None in row.values():
            raise BadRequest(f"{file}:{rows.line_num}: cells are missing or too many", "restore it, or remove it")
        found[row["address"]] = Said(**row)
    return found


def write(rows: Iterable[Said]) -> str:
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a lone CR would end a row
    plain.writerow(COLUMNS)
    for row in rows:
        cells = [getattr(row, column) for column in COLUMNS]
        (plain if all(map(str.isprintable, cells)) else quoted).writerow(cells)
    return text.getvalue()
