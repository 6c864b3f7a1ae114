"""All points of a plant as columns, so that a million fit in a fraction of a gigabyte; must not know their values."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self, overload
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from twin.schema import Schema

CHUNK = 10_000  # points as Python objects at a time: some 4 MB
FEW = 8  # points that are made cell by cell: so many take as long as making them by columns does
_WORDS = ("twin", "property", "type", "unit", "device")  # few distinct words: kept once, referred to by number
_TEXTS = ("name", "address")
_NUMBERS = ("scale", "offset", "low", "high", "deadband")
_FLAGS = ("writable", "audit")


class _NoPandas:
    """An import of pandas finds none."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def _pass_pandas_by() -> None:
    """pyarrow looks for pandas when it first makes an array of a list, and keeps it: half a second and 50 MB of every
    process, for nothing that is used here. `to_pandas` looks again, and works as ever.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


_pass_pandas_by()


@dataclass(frozen=True, slots=True)
class Point:
    """One property or telemetry value of one twin, and its binding to a device.

    Attributes:
        id: dense id, the row in the point table.
        name: `twin.property`.
        type: `double`, `integer`, `boolean`, `string`, `enum` or `object`.
        unit: symbol of the value's unit in the twin, "" when it has none.
        device: id of the device, "" for points that Twinloop computes itself (link states).
        address: the device's own words for it; its protocol parses them.
        scale, offset: twin value = wire value * scale + offset (unit conversion folded in).
        low, high: the range outside which a reading is not believed.
        writable: whether commands may target it.
        audit: whether each of its changes becomes a ledger entry.
        deadband: in `unit`; changes of the value up to it are not worth a record of their own; 0 records all.
        schema: what its values look like, for `enum`, `object` and texts of a set form.
    """

    id: int
    name: str
    twin: str
    property: str
    type: str
    unit: str
    device: str
    address: str
    scale: float = 1.0
    offset: float = 0.0
    low: float = float("-inf")
    high: float = float("inf")
    writable: bool = False
    audit: bool = False
    deadband: float = 0.0
    schema: Schema | None = None


class Points:
    """Rows of points; the row is the point's id. A retired point keeps its row, and nothing else finds it any more.

    Iterating gives the points that are not retired, `len` counts them, `size` counts the rows.
    """

    def __init__(
        self,
        columns: Mapping[str, pa.Array],
        schemas: Mapping[int, Schema],
        retired: NDArray[np.bool_],
        hashes: NDArray[np.uint32] | None = None,
    ) -> None:
        """`hashes`: of the names, shape (size,), where they are known already."""
        self._columns = columns
        self._schemas = schemas
        self.retired = retired
        if hashes is None:
            hashes = np.concatenate([np.empty(0, np.uint32), *map(_hashes, _chunks(columns["name"]))])
        self._by_hash = np.argsort(hashes).astype(np.int32)
        self._hashes = hashes[self._by_hash]

    @classmethod
    def of(cls, points: Iterable[Point]) -> Self:
        """From points with ids 0, 1, 2, …; consumed bit by bit."""
        columns = {name: _column(name) for name in (*_TEXTS, *_WORDS, *_NUMBERS, *_FLAGS)}
        schemas: dict[int, Schema] = {}
        rest = iter(points)
        while some := list(islice(rest, CHUNK)):
            for name, column in columns.items():
                column.extend([getattr(p, name) for p in some])
            schemas |= {p.id: p.schema for p in some if p.schema is not None}
        made = {name: columns.pop(name).array() for name in list(columns)}
        return cls(made, schemas, np.zeros(len(made["name"]), np.bool_))

    @property
    def size(self) -> int:
        return len(self.retired)

    def __len__(self) -> int:
        return int(np.count_nonzero(~self.retired))

    def __iter__(self) -> Iterator[Point]:
        current = np.flatnonzero(~self.retired)
        for start in range(0, len(current), CHUNK):
            yield from self._some(current[start : start + CHUNK])

    def __getitem__(self, identity: int) -> Point:
        """The point with that id, retired or not."""
        return self._some(np.array([identity]))[0]

    def column(self, name: str) -> pa.Array:
        """One attribute of every row, shape (size,)."""
        return self._columns[name]

    def numbers(self, name: str) -> NDArray[np.float64]:
        numbers: NDArray[np.float64] = self._columns[name].dictionary_decode().to_numpy()
        return numbers

    def where(self, name: str, word: str) -> NDArray[np.int32]:
        """Ids of the points whose twin, property, type, unit or device is `word`, ascending; retired ones left out."""
        column = self._columns[name]
        at = column.dictionary.index(word).as_py()
        found: NDArray[np.bool_] = column.indices.to_numpy() == at
        return np.flatnonzero(found & ~self.retired).astype(np.int32)

    def among(self, name: str, words: Collection[str]) -> NDArray[np.int32]:
        """As `where`, of any of the words."""
        column = self._columns[name]
        chosen = pc.is_in(column.dictionary, pa.array(list(words), pa.string())).to_numpy(zero_copy_only=False)
        found: NDArray[np.bool_] = chosen[column.indices.to_numpy()] if len(chosen) else np.zeros(0, np.bool_)
        return np.flatnonzero(found & ~self.retired).astype(np.int32)

    def flagged(self, name: str) -> NDArray[np.bool_]:
        flags: NDArray[np.bool_] = self._columns[name].to_numpy(zero_copy_only=False)
        return flags

    def some(self, ids: NDArray[np.int32]) -> list[Point]:
        return self._some(ids)

    @property
    def current(self) -> Selection:
        """All that are not retired."""
        return self.selection(np.flatnonzero(~self.retired).astype(np.int32))

    def selection(self, ids: NDArray[np.int32]) -> Selection:
        return Selection(self, ids, ids)

    def id_of(self, name: str) -> int | None:
        """The id of the point of that name, None when there is none."""
        wanted = _hash(name)
        row = int(np.searchsorted(self._hashes, wanted))
        while row < self.size and self._hashes[row] == wanted:
            identity = int(self._by_hash[row])
            if not self.retired[identity] and self._columns["name"][identity].as_py() == name:
                return identity
            row += 1
        return None

    def changed(self, added: Iterable[Point], retired: Iterable[int]) -> Points:
        """These rows and the added points after them, whose ids go on from `size`."""
        more = Points.of(added)
        gone = np.concatenate([self.retired, more.retired])
        gone[list(retired)] = True
        if not more.size:
            return Points(self._columns, self._schemas, gone, self._row_hashes())
        columns = {name: _joined([column, more.column(name)]) for name, column in self._columns.items()}
        hashes = np.concatenate([self._row_hashes(), more._row_hashes()])
        return Points(columns, {**self._schemas, **more._schemas}, gone, hashes)

    def _row_hashes(self) -> NDArray[np.uint32]:
        """Of the names, in order of rows."""
        hashes = np.empty(self.size, np.uint32)
        hashes[self._by_hash] = self._hashes
        return hashes

    def _some(self, ids: NDArray[Any]) -> list[Point]:
        if len(ids) <= FEW:
            return [self._one(int(i)) for i in ids]
        rows = pa.array(ids)
        cells = {name: _plain(column.take(rows)) for name, column in self._columns.items()}
        names = list(cells)
        return [
            Point(id=int(i), schema=self._schemas.get(int(i)), **dict(zip(names, row, strict=True)))
            for i, row in zip(ids, zip(*cells.values(), strict=True), strict=True)
        ]

    def _one(self, identity: int) -> Point:
        cells = {name: column[identity].as_py() for name, column in self._columns.items()}
        return Point(id=identity, schema=self._schemas.get(identity), **cells)


class Selection(Sequence[Point]):
    """Some points, such as those of one device, as columns; a Point is made only when one is asked for.

    Attributes:
        ids: their dense ids, shape (n,).
    """

    def __init__(self, points: Points, rows: NDArray[np.int32], ids: NDArray[np.int32]) -> None:
        """`rows`: where they stand in `points`, shape (n,)."""
        self.ids = ids
        self._points = points
        self._rows = rows

    @classmethod
    def of(cls, points: Iterable[Point]) -> Selection:
        """A selection as it is; any other points in their order, whatever their ids."""
        if isinstance(points, Selection):
            return points
        listed = list(points)
        ids = np.array([p.id for p in listed], np.int32)
        rows = np.arange(len(listed), dtype=np.int32)
        return cls(Points.of(replace(p, id=row) for row, p in enumerate(listed)), rows, ids)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """`scale`, `offset`, `low`, `high` or `deadband` of each, shape (n,)."""
        taken: NDArray[np.float64] = self._taken(name).to_numpy(zero_copy_only=False)
        return taken

    def words(self, name: str) -> list[str]:
        """`name`, `address`, `twin`, `property`, `type`, `unit` or `device` of each."""
        texts: list[str] = self._taken(name).to_pylist()
        return texts

    def flagged(self, name: str) -> NDArray[np.bool_]:
        """`writable` or `audit` of each, shape (n,)."""
        flags: NDArray[np.bool_] = self._taken(name).to_numpy(zero_copy_only=False)
        return flags

    def take(self, places: NDArray[Any]) -> Selection:
        """Those at the given places, in the given order."""
        return Selection(self._points, self._rows[places], self.ids[places])

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> Point: ...

    @overload
    def __getitem__(self, place: slice) -> Selection: ...

    def __getitem__(self, place: int | slice) -> Point | Selection:
        if isinstance(place, slice):
            return Selection(self._points, self._rows[place], self.ids[place])
        (found,) = self._points.some(self._rows[[place]])
        return replace(found, id=int(self.ids[place]))

    def __iter__(self) -> Iterator[Point]:
        for start in range(0, len(self), CHUNK):
            some = self._points.some(self._rows[start : start + CHUNK])
            for point, identity in zip(some, self.ids[start : start + CHUNK].tolist(), strict=True):
                yield point if point.id == identity else replace(point, id=identity)

    def _taken(self, name: str) -> pa.Array:
        taken = self._points.column(name).take(pa.array(self._rows))
        return taken.dictionary_decode() if isinstance(taken, pa.DictionaryArray) else taken


class ByName(Mapping[str, Point]):
    """Points by name, without a dictionary of a million names."""

    def __init__(self, points: Points) -> None:
        self._points = points

    def __getitem__(self, name: str) -> Point:
        found = self._points.id_of(name)
        if found is None:
            raise KeyError(name)
        return self._points[found]

    def __iter__(self) -> Iterator[str]:
        return (p.name for p in self._points)

    def __len__(self) -> int:
        return len(self._points)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._points.id_of(name) is not None


def _hash(name: str) -> int:
    """The same in every process, unlike `hash`."""
    return crc32(name.encode())


def _hashes(names: pa.Array) -> NDArray[np.uint32]:
    return np.fromiter(map(_hash, names.to_pylist()), np.uint32, len(names))


def _chunks(column: pa.Array) -> Iterator[pa.Array]:
    return (column.slice(start, CHUNK) for start in range(0, len(column), CHUNK))


def _plain(column: pa.Array) -> list[Any]:
    """As `to_pylist`, ten times as fast."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    values: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return values


def _joined(arrays: list[pa.Array]) -> pa.Array:
    if any(isinstance(a, pa.DictionaryArray) for a in arrays):
        plain = [a.dictionary_decode() if isinstance(a, pa.DictionaryArray) else a for a in arrays]
        return _narrow(pa.concat_arrays(plain).dictionary_encode())
    return pa.concat_arrays(arrays)


def _narrow(words: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same with the smallest numbers that tell the words apart: most columns have few."""
    count = len(words.dictionary)
    kind = pa.int8() if count < 2**7 else pa.int16() if count < 2**15 else pa.int32()
    return pa.DictionaryArray.from_arrays(words.indices.cast(kind), words.dictionary)


class _Texts:
    """Grows in place: Arrow's own builders, used bit by bit, leave as much unused memory behind as they fill."""

    def __init__(self) -> None:
        self._ends, self._data = array("i", [0]), bytearray()

    def extend(self, texts: list[str]) -> None:
        for text in texts:
            self._data += text.encode()
            self._ends.append(len(self._data))

    def array(self) -> pa.Array:
        buffers = [None, pa.py_buffer(self._ends), pa.py_buffer(self._data)]
        return pa.Array.from_buffers(pa.string(), len(self._ends) - 1, buffers)


class _Words:
    """Few distinct texts or numbers: each kept once, referred to by number."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._numbers, self._codes = dict[Any, int](), array("i")

    def extend(self, words: list[Any]) -> None:
        numbers = self._numbers
        self._codes.extend(numbers.setdefault(word, len(numbers)) for word in words)

    def array(self) -> pa.Array:
        codes = pa.Array.from_buffers(pa.int32(), len(self._codes), [None, pa.py_buffer(self._codes)])
        return _narrow(pa.DictionaryArray.from_arrays(codes, pa.array(list(self._numbers), self._kind)))


class _Flags:
    def __init__(self) -> None:
        self._flags = bytearray()

    def extend(self, flags: list[bool]) -> None:
        self._flags.extend(flags)

    def array(self) -> pa.Array:
        bits = np.packbits(np.frombuffer(self._flags, np.uint8), bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(self._flags), [None, pa.py_buffer(bits.data)])


def _column(name: str) -> _Texts | _Words | _Flags:
    if name in _TEXTS:
        return _Texts()
    return _Flags() if name in _FLAGS else _Words(pa.float64() if name in _NUMBERS else pa.string())
