"""What models learn from: records of devices, equal columns, NaN where nothing good was measured; must not know files."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin.errors import BadRequest
from twin.nearest import nearest

EVEN = 0.9  # share of the steps between samples that must be
UNEVEN = 0.1  # of the usual step: a grid that is read late by as much is still even


@dataclass(frozen=True, slots=True)
class Record:
    """One run of one device.

    Attributes:
        device: its name.
        time_s: when, shape (T,), strictly rising; seconds, or cycles where a cycle is what counts.
        values: shape (T, C), float64, NaN where nothing good was measured.
    """

    device: str
    time_s: NDArray[np.float64]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.time_s.shape != self.values.shape[:1]:
            raise ValueError(f"{self.device}: times {self.time_s.shape} beside values {self.values.shape}")

    def __len__(self) -> int:
        return len(self.time_s)

    def between(self, first: int, after: int) -> Record:
        """Rows `first` … `after - 1`."""
        return replace(self, time_s=self.time_s[first:after], values=self.values[first:after])


@dataclass(frozen=True, slots=True)
class DataSet:
    """Records with the same columns.

    Attributes:
        columns: names of the values, in order.
        units: of each column, "" where none is known.
        records: one for each device or run; a device's runs follow each other.
    """

    columns: tuple[str, ...]
    records: tuple[Record, ...]
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wide = [r.device for r in self.records if r.values.shape[1] != len(self.columns)]
        if wide:
            raise ValueError(f"{wide[0]} has not {len(self.columns)} columns")

    @property
    def rows(self) -> int:
        return sum(map(len, self.records))

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(r.device for r in self.records))

    @property
    def step_s(self) -> float:
        """Between samples, where nearly all follow each other evenly; 0 else."""
        steps = np.concatenate([np.diff(r.time_s) for r in self.records]) if self.records else np.empty(0)
        if not len(steps):
            return 0.0
        usual = float(np.median(steps))
        return usual if np.mean(np.abs(steps - usual) <= UNEVEN * usual) >= EVEN else 0.0

    def stacked(self) -> NDArray[np.float64]:
        """All rows one below the other, shape (rows, C)."""
        return np.concatenate([r.values for r in self.records]) if self.records else np.empty((0, len(self.columns)))

    def column(self, name: str) -> int:
        """
        Raises:
            BadRequest: there is none of that name.
        """
        if name not in self.columns:
            raise BadRequest(f"the data have no column {name!r}", nearest(name, self.columns))
        return self.columns.index(name)

    def having(self, columns: Sequence[str]) -> DataSet:
        """Only these columns, in this order: those that a model was trained on.

        Raises:
            BadRequest: one is missing.
        """
        places = [self.column(name) for name in columns]
        units = tuple(self.units[k] for k in places) if self.units else ()
        records = tuple(replace(r, values=r.values[:, places]) for r in self.records)
        return DataSet(tuple(columns), records, units)

    def of(self, devices: Iterable[str]) -> DataSet:
        """Only these devices' records."""
        wanted = set(devices)
        return replace(self, records=tuple(r for r in self.records if r.device in wanted))

    def hash(self) -> str:
        """SHA-256 over names, units, times and values, bit for bit."""
        digest = hashlib.sha256("\0".join([*self.columns, "", *self.units]).encode())
        for record in self.records:
            digest.update(f"\0{record.device}\0{len(record)}\0".encode())
            digest.update(np.ascontiguousarray(record.time_s).tobytes())
            digest.update(np.ascontiguousarray(record.values).tobytes())
        return digest.hexdigest()


def even(data: DataSet, longest: int) -> DataSet:
    """Records on an even grid, where `step_s` knows one: up to `longest` - 1 samples that did not come stand as missing, a
    longer silence ends a record. So is what is served: a model that waits longer begins anew."""
    step_s = data.step_s
    if not step_s:
        return data
    pieces = [piece for record in data.records for piece in _even(record, step_s, longest)]
    return replace(data, records=tuple(pieces))


def _even(record: Record, step_s: float, longest: int) -> list[Record]:
    gone = np.maximum(np.rint(np.diff(record.time_s) / step_s) - 1.0, 0.0)  # (T - 1,) samples that did not come
    if not gone.any():
        return [record]
    ends = [0, *(np.flatnonzero(gone >= longest) + 1).tolist(), len(record)]
    found = []
    for first, after in itertools.pairwise(ends):
        place = np.concatenate([[0], np.cumsum(gone[first : after - 1] + 1)]).astype(np.intp)
        values = np.full((int(place[-1]) + 1, record.values.shape[1]), np.nan)
        values[place] = record.values[first:after]
        found.append(Record(record.device, record.time_s[first] + step_s * np.arange(len(values)), values))
    return found


def split_devices(data: DataSet, share: float, seed: int) -> tuple[DataSet, DataSet]:
    """Whole devices, never rows, to one side or the other: (the rest, `share` of the devices, at least one).

    Raises:
        BadRequest: there are not two devices.
    """
    devices = data.devices
    if len(devices) < 2:
        raise BadRequest("one device cannot be split from itself", "give records of at least two, or split by time")
    held = min(len(devices) - 1, max(1, round(share * len(devices))))
    order = np.random.default_rng(seed).permutation(len(devices))
    out = {devices[k] for k in order[:held]}
    return data.of(set(devices) - out), data.of(out)


def split_time(data: DataSet, share: float) -> tuple[DataSet, DataSet]:
    """Of each record the beginning and its last `share`."""
    cut = [round(len(r) * (1 - share)) for r in data.records]
    early = tuple(r.between(0, k) for r, k in zip(data.records, cut, strict=True))
    late = tuple(r.between(k, len(r)) for r, k in zip(data.records, cut, strict=True))
    return replace(data, records=early), replace(data, records=late)


def constant(data: DataSet) -> tuple[str, ...]:
    """Columns that tell nothing: never measured, or always the same."""
    stacked = data.stacked()
    if not len(stacked):
        return data.columns
    known = np.isfinite(stacked)
    low = np.where(known, stacked, np.inf).min(axis=0)
    high = np.where(known, stacked, -np.inf).max(axis=0)
    return tuple(name for name, a, b in zip(data.columns, low, high, strict=True) if not a < b)
