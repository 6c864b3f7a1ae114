"""Edits of a plant's texts that leave all else as people wrote it, to the byte; pure, must not know files or devices."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control.discover_draft import CONTAINS, Growth
from twin.dtdl_export import export_interface
from twin.dtdl_rules import QUANTITIES
from twin.interface import Field, Interface

NEW_SHEET = ("point", "device", "address", "type", "unit", "scale", "access", "audit", "low", "high")
BYTE_ORDER_MARK = "\ufeff"  # spreadsheets put it before UTF-8
_HEADER = re.compile(r"^\s*\[\[?\s*([\w.\"-]+)\s*\]\]?")


# --- points.csv ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the sheet: its cells by column, and the lines of text from `start` up to `end`."""

    cells: Mapping[str, str]
    start: int
    end: int


@dataclass(slots=True)
class PointSheet:
    """points.csv as text; rows are written anew only where a cell changes."""

    lines: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    rows: dict[str, Line] = field(default_factory=dict)  # by point

    @classmethod
    def of(cls, text: str) -> PointSheet:
        """A sheet that has been read without mistakes."""
        sheet = cls(text.splitlines(keepends=True))
        reader = csv.reader(text.removeprefix(BYTE_ORDER_MARK).splitlines())
        sheet.columns = tuple(c.strip().lower() for c in next(reader, []))
        start = reader.line_num
        for cells in reader:
            line = Line({k: v.strip() for k, v in zip(sheet.columns, cells, strict=False)}, start, reader.line_num)
            start = reader.line_num
            if _is_row(cells):
                sheet.rows[line.cells["point"]] = line
        return sheet

    def edited(
        self,
        changed: Mapping[str, Mapping[str, str]],
        removed: Iterable[str],
        added: Sequence[Mapping[str, str]],
        remarks: Sequence[str],
    ) -> str:
        """The text with cells changed (by point and column), rows removed and added, and remarks behind it all."""
        wanted = {c for row in (*added, *changed.values()) for c, v in row.items() if v}
        missing = [c for c in NEW_SHEET if c in wanted and c not in self.columns]
        if missing:
            return PointSheet.of(self._with_columns(missing)).edited(changed, removed, added, remarks)
        lines = list(self.lines)
        for point, cells in changed.items():
            row = self.rows[point]
            whole = [cells.get(c, row.cells.get(c, "")) for c in self.columns]
            lines[row.start : row.end] = [self._line(whole), *([""] * (row.end - row.start - 1))]
        for point in removed:
            row = self.rows[point]
            lines[row.start : row.end] = [""] * (row.end - row.start)
        text = "".join(lines)
        if text and not text.endswith("\n"):
            text += self._newline
        text += "".join(self._line([row.get(c, "") for c in self.columns]) for row in added)
        return text + "".join(f"{remark_line(r)}{self._newline}" for r in remarks)

    def _with_columns(self, missing: Sequence[str]) -> str:
        """The sheet with empty columns at its end: then every row is written anew; comments stay."""
        made: list[str] = []
        done = 0
        reader = csv.reader("".join(self.lines).splitlines())
        for cells in reader:
            span, done = self.lines[done : reader.line_num], reader.line_num
            more = list(missing) if not made else [""] * len(missing)
            made += [self._line([*cells, *more])] if _is_row(cells) else span
        return "".join(made)

    @property
    def _newline(self) -> str:
        return "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"

    def _line(self, cells: Sequence[str]) -> str:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator=self._newline).writerow(cells)
        return text.getvalue()


def _is_row(cells: Sequence[str]) -> bool:
    return any(c.strip() for c in cells) and not cells[0].lstrip().startswith("#")


def new_sheet() -> str:
    return ",".join(NEW_SHEET) + "\n"


def remark_line(text: str) -> str:
    """A comment of the sheet on one line; a quotation mark at a cell's start would swallow the lines after it."""
    return "# " + " ".join("".join(c if c.isprintable() else " " for c in text.replace('"', "'")).split())


# --- plant.toml ------------------------------------------------------------------------------------------------------


def toml_text(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped and JSON leaves (TOML 1.0, "Basic strings").
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_table(table: str, pairs: Mapping[str, bool | int | float | str]) -> str:
    return f"\n[[{table}]]\n" + "".join(f"{key} = {toml_text(value)}\n" for key, value in pairs.items())


def without_tables(text: str, doomed: Mapping[str, set[int]]) -> str:
    """The text without some entries of its lists of tables, by table and index; comments above an entry go with it."""
    lines = text.splitlines(keepends=True)
    counts: dict[str, int] = {}
    kept: list[str] = []
    above: list[str] = []  # empty lines and comments that belong to what follows
    dropping = False
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            above.append(line)
            continue
        header = _HEADER.match(line)
        if header:
            table = header[1]
            index = counts.get(table, 0)
            counts[table] = index + 1
            dropping = line.lstrip().startswith("[[") and index in doomed.get(table, ())
        if not dropping:
            kept += [*above, line]
        above = []
    return "".join([*kept, *above])


# --- Interfaces ------------------------------------------------------------------------------------------------------


def interface_text(interface: Interface) -> str:
    return json.dumps(export_interface(interface), indent=2, ensure_ascii=False) + "\n"


def grown(text: str, identity: str, growth: Growth, replaced: Sequence[Field] = ()) -> str:
    """A document with contents added to one Interface, Properties made writable, and some declared anew.

    The document is written anew; what it says stays, its spaces do not.
    """
    document = json.loads(text)
    interface = _find(document, identity)
    if interface is None:
        return text
    contents = interface.get("contents", [])
    contents = contents if isinstance(contents, list) else [contents]
    own = {c["name"]: c for c in contents if isinstance(c, dict) and "name" in c}
    for name in growth.writable:
        if name in own:
            own[name]["writable"] = True
    made = export_interface(_carrier(identity, [*growth.fields, *replaced], growth.contains))
    for content in made.get("contents", []):
        there = own.get(content["name"])
        if there is None:
            contents.append(content)
            continue
        there["schema"] = content["schema"]
        there.pop("unit", None)
        if "unit" in content:
            there["unit"] = content["unit"]
    interface["contents"] = contents
    if QUANTITIES in made["@context"]:
        _add_context(interface if "@context" in interface else document, QUANTITIES)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _carrier(identity: str, fields: Sequence[Field], contains: bool) -> Interface:
    """An Interface that only carries contents to be written."""
    from twin.interface import RelationshipRule

    rules = {CONTAINS: RelationshipRule(CONTAINS, None)} if contains else {}
    names = {f.name: f for f in fields}
    return Interface(identity, "", (), names, rules, own=(*names, *rules))


def _find(document: Any, identity: str) -> dict[str, Any] | None:
    """The Interface with an id, wherever in the document; its depth is that of a document that was read before."""
    if isinstance(document, dict):
        if document.get("@id") == identity:
            return document
        document = list(document.values())
    if isinstance(document, list):
        return next((f for part in document if (f := _find(part, identity)) is not None), None)
    return None


def _add_context(holder: Any, context: str) -> None:
    for document in holder if isinstance(holder, list) else [holder]:
        said = document.get("@context")
        listed = said if isinstance(said, list) else [said]
        if said is not None and context not in listed:
            document["@context"] = [*listed, context]
