"""Whether readings are good enough to start from, and the hash of those used; must not know models or simulation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from twin import quality
from twin.columns import Snapshot
from twin.errors import Refused
from twin.points import Point

NUMBERS = frozenset({"double", "integer", "boolean", "enum"})


def flaws(points: Iterable[Point], stale_after_s: float, snapshot: Snapshot) -> list[str]:
    """Why each point that cannot be used cannot."""
    return [flaw for flaw in (_flaw(point, stale_after_s, snapshot) for point in points) if flaw]


def _flaw(point: Point, stale_after_s: float, snapshot: Snapshot) -> str:
    columns = snapshot.columns
    code = int(columns.quality[point.id])
    if not quality.is_good(code):
        return f"{point.name} is {quality.name(code)}"
    known = np.isfinite(columns.value[point.id]) if point.type in NUMBERS else point.id in columns.text
    if not known:
        return f"{point.name} has no value"
    age_s = (snapshot.taken_at - int(columns.received_time[point.id])) / 1e9
    if age_s > stale_after_s:
        return f"{point.name} is {age_s:.0f} s old (at most {stale_after_s:g} s)"
    return ""


def refuse(wrong: Sequence[str]) -> None:
    """
    Raises:
        Refused: something is wrong; all of it is listed.
    """
    if wrong:
        raise Refused(
            f"the plant's state is not known well enough to start: {'; '.join(wrong)}",
            "wait until these points are live and good",
        )


def rows_hash(points: Sequence[Point], snapshot: Snapshot) -> str:
    """SHA-256 over names and rows (value, quality, source time), in this order, little endian on any machine."""
    rows = np.array([p.id for p in points], np.intp)
    columns = snapshot.columns
    digest = hashlib.sha256("\n".join(p.name for p in points).encode())
    digest.update(columns.value[rows].astype("<f8").tobytes())
    digest.update(columns.quality[rows].astype("<u4").tobytes())
    digest.update(columns.source_time[rows].astype("<i8").tobytes())
    for point in points:
        if point.type not in NUMBERS:
            digest.update(columns.text.get(point.id, "").encode() + b"\0")
    return digest.hexdigest()
