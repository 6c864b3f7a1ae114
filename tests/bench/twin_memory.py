"""Resident megabytes of the twin of a large plant: plant, graph, values, feed, and one query answered."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tests.bench import line
from tests.twin.large_plant import RELATIONSHIPS, TWINS, large_plant
from twin import query
from twin.feed import Feed
from twin.moment import Mirror
from twin.readings import Readings
from twin.store import Store
from twin.table import PointTable

BAR_MB = 600


def main() -> None:
    before = resident_mb()
    plant = large_plant()
    size = plant.points.size
    table, feed, mirror = PointTable.sized(size, plant.points.numbers("deadband")), Feed(size, 1), Mirror()
    feed.advance(table.apply(Readings.of(np.arange(size), np.random.default_rng(1).random(size), 1)).advanced)
    tables = query.PlantTables(plant)
    held = resident_mb()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "history.duckdb") as store:
        moment = mirror.take(table, feed, {})
        rows = {**tables.tables, "point_rows": moment.table(plant.points)}
        sql = "SELECT count(*) FROM points p JOIN downstream_of('twin_500', hops := 3) d ON d.id = p.twin"
        query.Queries(store).run(rows, sql, 1, tables.reach)
        queried = resident_mb()
    detail = {"points": size, "twins": TWINS, "relationships": RELATIONSHIPS, "libraries": before, "before_query": held}
    line("twin_memory", queried, "MB", BAR_MB, detail)


def resident_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 1_000_000


if __name__ == "__main__":
    main()
