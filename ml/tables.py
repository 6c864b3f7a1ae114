"""Data sets from CSV and Parquet files; must not know models.

A folder is read file by file, each one a record of its own. Compressed files (.csv.gz) are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml.records import DataSet, Record
from twin.errors import BadRequest, LimitExceeded, NotFound
from twin.nearest import nearest

ROWS_MAX = 20_000_000  # times 20 columns: 3 GB; more is trained on in parts
FILES_MAX = 10_000
SUFFIXES = (".csv", ".csv.gz", ".parquet", ".txt")
NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT",
           "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Roles:
    """Which column of a file is what.

    Attributes:
        time: when, a moment or a number; rows follow each other one a second when empty.
        device: whose row it is; a file is one device when empty.
        columns: the values; every other number when empty.
        leave: columns that are neither, labels say.
    """

    time: str = ""
    device: str = ""
    columns: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()


def read(path: Path, roles: Roles) -> DataSet:
    """The records in a file or in a folder of files, in the order of their names.

    Raises:
        NotFound: there is no such file. BadRequest: a column is missing or no number, or times do not rise; the message
        names file, column and row. LimitExceeded: more than ROWS_MAX rows.
    """
    files = _files(path)
    tables = [_Table(file, roles) for file in files]
    wanted = roles.columns or tables[0].values
    if not wanted:
        raise BadRequest(f"{files[0]} has no column of numbers", "a header line, then one row a sample")
    records: list[Record] = []
    for table in tables:
        records.extend(table.records(wanted, alone=len(files) == 1))
        rows = sum(map(len, records))
        if rows > ROWS_MAX:
            raise LimitExceeded(f"{path} has more than {ROWS_MAX:,} rows", "give it in parts")
    return DataSet(tuple(wanted), tuple(records))


def read_column(path: Path) -> NDArray[np.float64]:
    """A file of one number a line, without a header: labels of the records, in their order."""
    if not path.is_file():
        raise NotFound(f"no file {path}")
    try:
        return np.loadtxt(path, ndmin=1)
    except ValueError as error:
        raise BadRequest(f"{path}: {error}", "one number a line") from None


class _Table:
    """One file as columns."""

    def __init__(self, file: Path, roles: Roles) -> None:
        self.file, self.roles = file, roles
        try:
            with duckdb.connect() as con:
                found = con.read_parquet(str(file)) if file.suffix == ".parquet" else con.read_csv(str(file))
                self.types = dict(zip(found.columns, (str(t) for t in found.types), strict=True))
                self.rows: pa.Table = found.limit(ROWS_MAX + 1).to_arrow_table()
        except duckdb.Error as error:
            raise BadRequest(
                f"{file} cannot be read: {str(error).splitlines()[0]}", "CSV with a header, or Parquet"
            ) from None
        for name in filter(None, (roles.time, roles.device, *roles.columns, *roles.leave)):
            if name not in self.types:
                raise BadRequest(f"{file} has no column {name!r}", nearest(name, self.types))

    @property
    def values(self) -> tuple[str, ...]:
        """Every number that has no other role."""
        other = {self.roles.time, self.roles.device, *self.roles.leave}
        return tuple(n for n, kind in self.types.items() if n not in other and kind.startswith(NUMERIC))

    def records(self, columns: Sequence[str], alone: bool) -> list[Record]:
        values = np.column_stack([self._numbers(name) for name in columns])
        time_s = self._times()
        if not self.roles.device:
            name = self.file.stem if alone else f"{self.file.parent.name}/{self.file.stem}"
            return [self._record(name, np.arange(len(values)), time_s, values)]
        devices = np.array(self.rows[self.roles.device].to_pylist(), dtype=object)
        found = dict.fromkeys(devices)
        return [self._record(str(d), np.flatnonzero(devices == d), time_s, values) for d in found]

    def _record(
        self, device: str, rows: NDArray[np.intp], time_s: NDArray[np.float64], values: NDArray[np.float64]
    ) -> Record:
        times = time_s[rows]
        back = np.flatnonzero(~(np.diff(times) > 0))
        if len(back):
            raise BadRequest(
                f"{self.file}, row {rows[back[0] + 1] + 2}: {self.roles.time} of {device} does not rise",
                "sort the rows, and keep one a moment",
            )
        return Record(device, times, values[rows])

    def _times(self) -> NDArray[np.float64]:
        name = self.roles.time
        if not name:
            return np.arange(self.rows.num_rows, dtype=np.float64)
        kind = self.types[name]
        if kind.startswith(("TIMESTAMP", "DATE")):
            moments = self.rows[name].cast(pa.timestamp("ns")).to_numpy()
            times: NDArray[np.float64] = moments.astype("datetime64[ns]").astype(np.int64) / 1e9
            return times
        return self._numbers(name)

    def _numbers(self, name: str) -> NDArray[np.float64]:
        if name not in self.types:
            raise BadRequest(f"{self.file} has no column {name!r}", nearest(name, self.types))
        if not self.types[name].startswith(NUMERIC):
            raise BadRequest(f"{self.file}: {name} is {self.types[name]}, no number", self._first_text(name))
        found: NDArray[np.float64] = self.rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.where(np.isfinite(found), found, np.nan)

    def _first_text(self, name: str) -> str:
        for row, text in enumerate(self.rows[name].to_pylist()):
            try:
                float(text)
            except (TypeError, ValueError):
                return f"row {row + 2} says {text!r}"
        return "leave it out"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotFound(f"no file or folder {path}")
    files = sorted(
        (f for f in path.rglob("*") if f.name.endswith(SUFFIXES)), key=lambda f: (f.parent, _natural(f.stem))
    )
    if not 1 <= len(files) <= FILES_MAX:
        raise BadRequest(f"{path} holds {len(files)} files to read", f"1 … {FILES_MAX} of {', '.join(SUFFIXES)}")
    return files


def _natural(stem: str) -> tuple[int, str]:
    """2 before 10."""
    return (int(stem), "") if stem.isdecimal() else (0, stem)
