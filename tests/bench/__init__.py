"""Benchmarks: one file each, run by `make bench NAME=file`; each prints one JSON line through `line`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median


def line(name: str, value: float, unit: str, limit: float, detail: dict[str, object]) -> None:
    """`limit` is the floor or the peer measured in the same run; `ratio` is value / limit."""
    found = {
        "name": name,
        "value": value,
        "unit": unit,
        "limit": limit,
        "ratio": round(value / limit, 3),
        "detail": detail,
    }
    print(json.dumps(found), flush=True)


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Median wall time of one call."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return median(took)
