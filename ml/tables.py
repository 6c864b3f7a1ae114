"""Data sets from CSV and Parquet files; must not know models.

A folder is read file by file, each one a record of its own. Compressed files (.csv.gz) are taken as they are. What is
wrong is refused with its place: a column that is left out because of one text in it would be missed by nobody.
"""

from __future__ import annotations

import glob
import gzip
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
MOSTLY = 0.5  # share of numbers from which a column of text is one of numbers with mistakes in it
LARGEST = 1e100  # no meter tells more; its square must still be a number
MISSING = ("", "NA", "N/A", "#N/A", "n/a", "NaN", "nan", "NAN", "null", "NULL", "None", "none", "-", "?",
           "inf", "-inf", "+inf", "Inf", "-Inf", "INF", "-INF", "Infinity", "-Infinity")  # fmt: skip
NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT",
           "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Roles:
    """Which column of a file is what.

    Attributes:
        time: when, a moment or a number; rows follow each other one a second when empty.
        device: whose row it is; a file is one device when empty.
        columns: the values; every other number when empty.
        leave: columns that are neither.
        label: a value that a file of a folder need not have; there it is NaN.
    """

    time: str = ""
    device: str = ""
    columns: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        given = Counter(filter(None, (self.time, self.device, *self.leave, self.label)))
        given.update(n for n in self.columns if n != self.label)
        for name, count in given.items():
            if count > 1:
                raise BadRequest(f"column {name!r} is named {count} times", "time, device, value, label or left out")


def read(path: Path, roles: Roles, told: Callable[[str], None] = lambda words: None) -> DataSet:
    """The records in a file or in a folder of files, in the order of their names.

    Args:
        told: what was left out, in words.

    Raises:
        NotFound: there is no such file. BadRequest: a column is missing or no number, or times do not rise; the message
        names file, column and row. LimitExceeded: more than ROWS_MAX rows.
    """
    tables = _tables(path, roles, told)
    wanted = roles.columns or tables[0].values
    if roles.label:
        if not any(roles.label in table.types for table in tables):
            raise BadRequest(f"{path} has no column {roles.label!r}", nearest(roles.label, tables[0].types))
        wanted = wanted if roles.label in wanted else (*wanted, roles.label)
    if not wanted:
        raise BadRequest(f"{tables[0].file} has no column of numbers", "a header line, then one row a sample")
    names = _names(path, [table.file for table in tables])
    records: list[Record] = []
    rows = 0
    for table, name in zip(tables, names, strict=True):
        records.extend(table.records(wanted, name))
        rows += table.rows.num_rows
        if rows > ROWS_MAX:
            raise LimitExceeded(f"{path} has more than {ROWS_MAX:,} rows", "give it in parts")
    return DataSet(tuple(wanted), tuple(records))


def _tables(path: Path, roles: Roles, told: Callable[[str], None]) -> list[_Table]:
    """The files as columns; a note (.txt) that lies in the folder is no table and is left out.

    Raises:
        BadRequest: none is a table, one cannot be read, or a column of a role is in none, or missing where it must be.
    """
    files, found = _files(path), []
    for file in files:
        try:
            table = _Table(file, roles)
        except BadRequest:
            if len(files) == 1 or file.suffix != ".txt":
                raise
            told(f"{file} is left out: no table with these columns")
            continue
        found.append(table)
    if not found:
        raise BadRequest(f"{path} holds no table with these columns", "CSV with a header, or Parquet")
    for name in roles.leave:
        if not any(name in table.types for table in found):
            raise BadRequest(f"{path} has no column {name!r}", nearest(name, found[0].types))
    return found


def read_column(path: Path) -> NDArray[np.float64]:
    """A file of one number a line, without a header: labels of the records, in their order."""
    if not path.is_file():
        raise NotFound(f"no file {path}")
    try:
        found = np.loadtxt(path, ndmin=1)
    except ValueError as error:
        raise BadRequest(f"{path}: {error}", "one number a line") from None
    none = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if found.ndim != 1 or len(none):
        where = f"row {none[0] + 1} says {found.ravel()[none[0]]:g}" if found.ndim == 1 else f"{found.shape[1]} columns"
        raise BadRequest(f"{path}: {where}", "one number a line, 0 or more")
    return found


class _Table:
    """One file as columns."""

    def __init__(self, file: Path, roles: Roles) -> None:
        self.file, self.roles = file, roles
        try:
            with duckdb.connect() as con:
                name = glob.escape(str(file))  # else b[1].csv were b1.csv
                whole = file.suffix == ".parquet"
                found = con.read_parquet(name) if whole else con.read_csv(name, na_values=list(MISSING))
                self.types = dict(zip(found.columns, (str(t) for t in found.types), strict=True))
                self.numbers = _numbers_in(found, self.types)
                self.rows: pa.Table = found.limit(ROWS_MAX + 1).to_arrow_table()
        except duckdb.Error as error:
            fix = "save it as UTF-8" if "utf-8" in str(error).lower() else "CSV with a header, or Parquet"
            raise BadRequest(f"{file} cannot be read: {str(error).splitlines()[0]}", fix) from None
        if file.suffix != ".parquet":
            self._headed()
        for name in filter(None, (roles.time, roles.device, *roles.columns)):
            if name not in self.types and name != roles.label:
                raise BadRequest(f"{file} has no column {name!r}", nearest(name, self.types))
        if not self.rows.num_rows:
            raise BadRequest(f"{file} has no rows", "a header line, then one row a sample")

    def _headed(self) -> None:
        """
        Raises:
            BadRequest: there is nothing, or no header, or it has a name twice.
        """
        if not self.file.stat().st_size:
            raise BadRequest(f"{self.file} is empty", "a header line, then one row a sample")
        if list(self.types) == [f"column{k}" for k in range(len(self.types))]:
            raise BadRequest(f"{self.file} has no header line", "name the columns in its first line")
        for name in self.types:
            twin = re.fullmatch(r"(.+)_\d+", name)
            if twin and twin[1].lower() in (n.lower() for n in self.types) and name not in _first_line(self.file):
                raise BadRequest(f"{self.file} has the column {twin[1]!r} twice", "give each a name of its own")

    @property
    def values(self) -> tuple[str, ...]:
        """Every number that has no other role.

        Raises:
            BadRequest: a column is of numbers, but for some texts.
        """
        other = {self.roles.time, self.roles.device, *self.roles.leave}
        free = [n for n in self.types if n not in other]
        for name in free:
            if not self._is_number(name) and self.numbers.get(name, 0.0) >= MOSTLY:
                raise BadRequest(f"{self.file}: {name} has texts among its numbers", self._first_text(name))
        return tuple(n for n in free if self._is_number(n))

    def _is_number(self, name: str) -> bool:
        """A column without any value counts as one: it is not known to be anything else."""
        return self.types[name].partition("(")[0] in NUMERIC or bool(self.rows[name].null_count == self.rows.num_rows)

    def records(self, columns: Sequence[str], name: str) -> list[Record]:
        values = np.column_stack([self._numbers(column) for column in columns])
        time_s = self._times()
        if not self.roles.device:
            return [self._record(name, np.arange(len(values)), time_s, values)]
        devices = np.array(self.rows[self.roles.device].to_pylist(), dtype=object)
        nameless = np.flatnonzero([d is None for d in devices])
        if len(nameless):
            raise BadRequest(f"{self.file}, row {nameless[0] + 2}: {self.roles.device} is empty", "name the device")
        found = dict.fromkeys(devices)
        return [self._record(str(d), np.flatnonzero(devices == d), time_s, values) for d in found]

    def _record(
        self, device: str, rows: NDArray[np.intp], time_s: NDArray[np.float64], values: NDArray[np.float64]
    ) -> Record:
        times = time_s[rows]
        never = np.flatnonzero(~np.isfinite(times))
        if len(never):
            raise BadRequest(
                f"{self.file}, row {rows[never[0]] + 2}: {self.roles.time} is empty", "a moment in each row"
            )
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
            moments = self.rows[name].cast(pa.timestamp("us"), safe=False).to_numpy().astype("datetime64[us]")
            return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)
        return self._numbers(name)

    def _numbers(self, name: str) -> NDArray[np.float64]:
        if name == self.roles.label and name not in self.types:
            return np.full(self.rows.num_rows, np.nan)
        if name not in self.types:
            raise BadRequest(f"{self.file} has no column {name!r}", nearest(name, self.types))
        if not self._is_number(name):
            raise BadRequest(f"{self.file}: {name} is {self.types[name]}, no number", self._first_text(name))
        found: NDArray[np.float64] = self.rows[name].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        far = np.flatnonzero(np.isfinite(found) & (np.abs(found) > LARGEST))
        if len(far):
            raise BadRequest(
                f"{self.file}, row {far[0] + 2}: {name} is {found[far[0]]:g}",
                f"no reading is beyond ±{LARGEST:g}: leave it empty",
            )
        return np.where(np.isfinite(found), found, np.nan)

    def _first_text(self, name: str) -> str:
        for row, text in enumerate(self.rows[name].to_pylist()):
            try:
                float(text if text is not None else "nan")
            except (TypeError, ValueError):
                comma = isinstance(text, str) and re.fullmatch(r"[+-]?\d+,\d+", text.strip())
                fix = "write decimal points" if comma else f"mend it, or --leave {name}"
                return f"row {row + 2} says {text!r}: {fix}"
        return f"write them as numbers, or --leave {name}"


def _numbers_in(found: duckdb.DuckDBPyRelation, types: Mapping[str, str]) -> dict[str, float]:
    """Of each column of text the share of its values that are numbers, with a decimal point or comma."""
    texts = [name for name, kind in types.items() if kind == "VARCHAR"]
    if not texts:
        return {}
    quoted = ['"' + name.replace('"', '""') + '"' for name in texts]
    asked = ", ".join(
        f"avg((TRY_CAST(replace({q}, ',', '.') AS DOUBLE) IS NOT NULL)::INT) FILTER ({q} IS NOT NULL)" for q in quoted
    )
    told = found.aggregate(asked).fetchall()[0]
    return {name: float(share or 0.0) for name, share in zip(texts, told, strict=True)}


def _first_line(file: Path) -> str:
    """As it is written: the reader gives names that are twice a number behind."""
    with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8", errors="replace") as lines:
        return str(next((line for line in lines if line.strip()), ""))


def _names(path: Path, files: Sequence[Path]) -> list[str]:
    """What each file's device is called: by its folder too where there are several, by its whole path where two would be one."""
    if path.is_file() or len(files) == 1:
        return [file.stem for file in files]
    names = [f"{file.parent.name}/{file.stem}" for file in files]
    return names if len(set(names)) == len(names) else [str(file.relative_to(path)) for file in files]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotFound(f"no file or folder {path}")
    files = sorted(
        (f for f in path.rglob("*") if f.name.endswith(SUFFIXES) and f.is_file()),
        key=lambda f: (f.parent, _natural(f.stem)),
    )
    if not 1 <= len(files) <= FILES_MAX:
        raise BadRequest(f"{path} holds {len(files)} files to read", f"1 … {FILES_MAX} of {', '.join(SUFFIXES)}")
    return files


def _natural(stem: str) -> tuple[int, str]:
    """2 before 10."""
    return (int(stem), "") if stem.isdecimal() else (0, stem)
