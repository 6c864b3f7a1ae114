"""The rows of one history batch as a bundle carries them, and their digest, recomputed with the standard library alone.

The columns are those of the Arrow batch, as Arrow keeps them: little-endian, one after the other, without gaps. Must not
know DuckDB, logs or proofs. Source of the digest: docs/history.md, versions 1 and 2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = {"series": "<i", "value": "<d", "quality": "<I", "source_time": "<q", "received_time": "<q", "noticed": "<B"}
_FIELDS = {"version", "series", "columns", "text"}
ROWS_MAX = 1_000_000  # 33 MB of columns; the server's own batches are a tenth of that at most


class RowsError(ValueError):
    """The rows are not of the form that a bundle carries."""


@dataclass(frozen=True)
class Reading:
    """One row. `quality` is an OPC UA status code; `value` is None for a text and for no value."""

    row: int
    point: str
    value: float | None
    text: str | None
    quality: int
    source_time_ns: int
    received_time_ns: int


@dataclass(frozen=True)
class BatchRows:
    """Columns as bytes, names of series by id, and the texts of the rows that have one, in order of rows."""

    version: int
    names: Mapping[int, str]
    columns: Mapping[str, bytes]
    texts: tuple[tuple[int, str], ...]

    def __len__(self) -> int:
        return len(self.columns["series"]) // 4

    def digest(self, batch: int) -> str:
        """SHA-256 (hex) of the rows as batch number `batch`."""
        used = sorted(self.names)
        hashed = hashlib.sha256()
        series: object = {str(number): self.names[number] for number in used}
        if self.version == 2:
            hashed.update(struct.pack(f"<{len(used)}i", *used))
            hashed.update(b"".join(hashlib.sha256(self.names[number].encode()).digest() for number in used))
            series = len(used)
        hashed.update(_json({"v": self.version, "batch": batch, "rows": len(self), "series": series}) + b"\n")
        for name in COLUMNS:
            hashed.update(self.columns[name])  # `noticed` is empty in version 1
        said = dict(self.texts)
        hashed.update(_json(self.texts if self.version == 2 else [said.get(row) for row in range(len(self))]))
        return hashed.hexdigest()

    def reading(self, point: str, source_time_ns: int) -> Reading | None:
        """The last row of this point and source time; None where there is none."""
        wanted = [number for number, name in self.names.items() if name == point]
        ids, times = self._unpacked("series"), self._unpacked("source_time")
        for row in range(len(self) - 1, -1, -1):
            if ids[row] in wanted and times[row] == source_time_ns:
                value = self._unpacked("value")[row]
                return Reading(
                    row, point, None if value != value else value, dict(self.texts).get(row),
                    self._unpacked("quality")[row], source_time_ns, self._unpacked("received_time")[row],
                )  # fmt: skip
        return None

    def as_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "series": {str(number): name for number, name in self.names.items()},
            "columns": {name: base64.b64encode(self.columns[name]).decode("ascii") for name in COLUMNS},
            "text": [[row, text] for row, text in self.texts],
        }

    def _unpacked(self, column: str) -> Sequence[Any]:
        kind = COLUMNS[column]
        return struct.unpack(f"<{len(self.columns[column]) // struct.calcsize(kind)}{kind[1]}", self.columns[column])


def parse_rows(value: object) -> BatchRows:
    """The rows in a bundle's field `data`. Raises RowsError naming the field."""
    if not isinstance(value, dict) or set(value) != _FIELDS:
        raise RowsError(f"expected an object with the fields {', '.join(sorted(_FIELDS))}")
    if type(value["version"]) is not int or value["version"] not in (1, 2):
        raise RowsError("version is neither 1 nor 2")
    made = BatchRows(value["version"], _names(value["series"]), _columns(value["columns"]), _texts(value["text"]))
    if len(made) > ROWS_MAX:
        raise RowsError(f"{len(made)} rows, the limit is {ROWS_MAX}")
    for name, kind in COLUMNS.items():
        rows = 0 if name == "noticed" and made.version == 1 else len(made)
        if len(made.columns[name]) != rows * struct.calcsize(kind):
            raise RowsError(f"column {name} does not have {rows} rows")
    if set(made._unpacked("series")) != set(made.names):
        raise RowsError("series names others than the column series has")
    rows_of_texts = [row for row, _ in made.texts]
    if rows_of_texts != sorted(set(rows_of_texts)) or any(not 0 <= row < len(made) for row in rows_of_texts):
        raise RowsError("text: its rows are not in order, or not there")
    return made


def _names(value: object) -> dict[int, str]:
    if not isinstance(value, dict):
        raise RowsError("series is no object of ids and names")
    found: dict[int, str] = {}
    for number, name in value.items():
        if not isinstance(number, str) or not (number.isascii() and number.isdigit()) or len(number) > 10:
            raise RowsError("series: an id is no number")
        if not isinstance(name, str) or not _is_text(name) or int(number) >= 2**31 or str(int(number)) != number:
            raise RowsError(f"series: {number} has no name")
        found[int(number)] = name
    return found


def _columns(value: object) -> dict[str, bytes]:
    if not isinstance(value, dict) or set(value) != set(COLUMNS):
        raise RowsError(f"columns are not {', '.join(COLUMNS)}")
    found: dict[str, bytes] = {}
    for name, text in value.items():
        try:
            data = base64.b64decode(text, validate=True) if isinstance(text, str) else None
        except (binascii.Error, ValueError):
            data = None
        if data is None or base64.b64encode(data).decode("ascii") != text:
            raise RowsError(f"column {name} is not base64")
        found[name] = data
    return found


def _texts(value: object) -> tuple[tuple[int, str], ...]:
    if not isinstance(value, list):
        raise RowsError("text is no list")
    found: list[tuple[int, str]] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) is not int or not isinstance(pair[1], str):
            raise RowsError("text: expected pairs of a row and a text")
        found.append((pair[0], pair[1]))
    return tuple(found)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
