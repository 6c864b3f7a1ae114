"""Updates a second into a table of a million points, against a bare numpy scatter of value, quality and time."""

from __future__ import annotations

import numpy as np

from tests.bench import line, seconds
from twin.feed import Feed
from twin.readings import Readings
from twin.table import PointTable

POINTS, BATCH, BATCHES = 1_000_000, 10_000, 50


def main() -> None:
    chance = np.random.default_rng(1)
    table, feed = PointTable.sized(POINTS), Feed(POINTS, 1)
    ids = [chance.choice(POINTS, BATCH, replace=False).astype(np.int32) for _ in range(BATCHES)]
    values = [chance.random(BATCH) for _ in range(BATCHES)]
    clock = iter(range(1, 10**9))

    def apply() -> None:
        for point, value in zip(ids, values, strict=True):
            feed.advance(table.apply(Readings.of(point, value, next(clock))).advanced)

    bare = table.columns.copy()

    def scatter() -> None:
        for point, value in zip(ids, values, strict=True):
            bare.value[point], bare.quality[point], bare.source_time[point] = value, 0, next(clock)

    ours, floor = BATCHES * BATCH / seconds(apply), BATCHES * BATCH / seconds(scatter)
    line("twin_apply", round(ours), "updates/s", round(floor), {"points": POINTS, "batch": BATCH})


if __name__ == "__main__":
    main()
