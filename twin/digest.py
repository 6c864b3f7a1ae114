"""The digest of one batch of history, in every version that files hold; pure, and computable by a stranger.

Must not know DuckDB: a batch comes as columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

DIGEST_VERSION = 2
_COLUMNS = (
    ("series", "<i4"), ("value", "<f8"), ("quality", "<u4"), ("source_time", "<i8"), ("received_time", "<i8")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """N readings as columns of shape (N,): history's series ids, not point ids.

    Attributes:
        series: ids of the table `series`.
        value: NaN for text and for no value.
        quality: OPC UA status codes.
        source_time, received_time: ns since 1970 UTC.
        noticed: True where the twin itself saw the quality fall; `received_time` is when.
        text: row -> text, for text points only.
    """

    series: NDArray[np.int32]
    value: NDArray[np.float64]
    quality: NDArray[np.uint32]
    source_time: NDArray[np.int64]
    received_time: NDArray[np.int64]
    noticed: NDArray[np.bool_]
    text: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.series)

    @classmethod
    def of_arrow(cls, table: pa.Table) -> Self:
        """From a table with columns of these names; NULL values are NaN, a NULL `noticed` is False."""
        text = table["text"].combine_chunks()
        rows = np.flatnonzero(text.is_valid().to_numpy(zero_copy_only=False))
        said = text.take(pa.array(rows)).to_pylist() if len(rows) else []
        return cls(
            table["series"].to_numpy(),
            np.asarray(table["value"].fill_null(np.nan).to_numpy(), np.float64),
            table["quality"].to_numpy(),
            table["source_time"].to_numpy(),
            table["received_time"].to_numpy(),
            np.asarray(table["noticed"].fill_null(False).to_numpy(), np.bool_),
            dict(zip(rows.tolist(), said, strict=True)),
        )

    def slice(self, start: int, end: int) -> SeriesRows:
        """Rows `start` … `end` - 1, numbered from 0 again."""
        cut = slice(start, end)
        return SeriesRows(
            self.series[cut], self.value[cut], self.quality[cut], self.source_time[cut], self.received_time[cut],
            self.noticed[cut], {r - start: t for r, t in self.text.items() if start <= r < end} if self.text else {},
        )  # fmt: skip


class SeriesNames:
    """Names of series by id, and their hashes as one array, so that a batch of thousands of series is hashed at once."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names: dict[int, str] = {}
        self._hashes: NDArray[np.uint8] = np.zeros((0, 32), np.uint8)
        self._known: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._begun: hashlib._Hash | None = None
        self._begun_with: NDArray[np.int32] = np.empty(0, np.int32)
        self.add(names)

    def add(self, names: Mapping[int, str]) -> None:
        size = max(len(self._hashes), max(names, default=-1) + 1)
        grown, known = np.zeros((size, 32), np.uint8), np.zeros(size, np.bool_)
        grown[: len(self._hashes)], known[: len(self._known)] = self._hashes, self._known
        for number, name in names.items():
            grown[number] = np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint8)
            known[number] = True
        self.names.update(names)
        self._hashes, self._known, self._begun = grown, known, None

    def used(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """The distinct ids, ascending.

        Raises:
            KeyError: one of them has no name.
        """
        if len(series) and not (series.min() >= 0 and series.max() < len(self._known)):
            raise KeyError(f"series {series.min()} … {series.max()}: one of them has no name")
        seen = np.zeros(len(self._known), np.bool_)
        seen[series] = True
        nameless = np.flatnonzero(seen & ~self._known)
        if len(nameless):
            raise KeyError(f"series {nameless[0]} has no name")
        return np.flatnonzero(seen).astype(np.int32)

    def begun(self, used: NDArray[np.int32]) -> hashlib._Hash:
        """A SHA-256 that has taken the ids and the SHA-256 of each one's name. A plant's batches are often alike."""
        if self._begun is None or not np.array_equal(self._begun_with, used):
            self._begun = hashlib.sha256(used.astype("<i4").tobytes())
            self._begun.update(self._hashes[used].tobytes())
            self._begun_with = used
        return self._begun.copy()


def digest(batch: int, rows: SeriesRows, names: SeriesNames, version: int = DIGEST_VERSION) -> str:
    """SHA-256 (hex) of a batch; docs/history.md says over which bytes. The order of rows is the column `row`.

    Raises:
        KeyError: a series of the batch has no name, or nobody knows that version.
    """
    used = names.used(rows.series)
    if version not in (1, 2):
        raise KeyError(f"version {version}")
    hashed = names.begun(used) if version == 2 else hashlib.sha256()
    series = len(used) if version == 2 else {str(s): names.names[s] for s in used.tolist()}
    hashed.update(_json({"v": version, "batch": batch, "rows": len(rows), "series": series}) + b"\n")
    for name, kind in _COLUMNS:
        hashed.update(np.ascontiguousarray(getattr(rows, name), kind).data)
    if version == 2:
        hashed.update(np.ascontiguousarray(rows.noticed, np.uint8).data)
    texts = sorted(rows.text.items()) if version == 2 else [rows.text.get(i) for i in range(len(rows))]
    hashed.update(_json(texts))
    return hashed.hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
