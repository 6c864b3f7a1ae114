"""Milliseconds for a filter over a million live points joined with a two-hop walk over 100,000 twins.

From the consistent copy of the columns to Python rows. The peer is the same join in bare DuckDB over Arrow views of the
columns, with nothing made consistent, checked or bounded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from tests.bench import line, seconds
from tests.twin.large_plant import RELATIONSHIPS, TWINS, large_plant
from twin import query
from twin.feed import Feed
from twin.moment import Mirror
from twin.readings import Readings
from twin.store import Store
from twin.table import PointTable

OURS = """SELECT p.name, p.value FROM points p JOIN downstream_of('twin_500', hops := 2) d ON d.id = p.twin
WHERE p.value > 0.5 ORDER BY p.name"""
BARE = """SELECT p.name, p.value FROM points p WHERE p.twin IN (
  SELECT target FROM relationships WHERE source = 'twin_500' UNION
  SELECT b.target FROM relationships a JOIN relationships b ON b.source = a.target WHERE a.source = 'twin_500')
AND p.value > 0.5 ORDER BY p.name"""
CHANGES = 10_000  # between two questions


def main() -> None:
    plant = large_plant()
    chance = np.random.default_rng(1)
    size = plant.points.size
    table, feed, mirror = PointTable.sized(size), Feed(size, 1), Mirror()
    feed.advance(table.apply(Readings.of(np.arange(size), chance.random(size), 1)).advanced)
    plant_tables = query.PlantTables(plant)
    seq = iter(range(2, 10**9))

    def change() -> None:
        some = chance.choice(size, CHANGES, replace=False)
        feed.advance(table.apply(Readings.of(some, chance.random(CHANGES), next(seq))).advanced)

    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "history.duckdb") as store:
        queries = query.Queries(store)

        def ask() -> list[tuple[object, ...]]:
            moment = mirror.take(table, feed, {})
            try:
                tables = {**plant_tables.tables, "point_rows": moment.table(plant.points)}
                return queries.run(tables, OURS, 1000, plant_tables.reach).rows
            finally:
                mirror.give_back(moment)

        def after_change() -> None:
            change()
            ask()

        bare = duckdb.connect(":memory:", config={"threads": "2"})
        views = {"name": plant.points.column("name"), "twin": plant.points.column("twin"), "value": table.columns.value}
        bare.register("points", pa.table(views))
        bare.register("relationships", plant_tables.tables["relationships"])
        assert ask() == bare.execute(BARE).fetchall(), "both must find the same rows"
        changing = seconds(change, 15)
        ours, floor = seconds(after_change, 15) - changing, seconds(lambda: bare.execute(BARE).fetchall(), 15)
        detail = {
            "points": size,
            "twins": TWINS,
            "relationships": RELATIONSHIPS,
            "rows": len(ask()),
            "changed": CHANGES,
        }
        line("query_live", round(ours * 1e3, 1), "ms", round(floor * 1e3, 1), detail)


if __name__ == "__main__":
    main()
