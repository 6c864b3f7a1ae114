"""Every statement in docs/query.md runs as it is printed, on the plant it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from control.plants import RULES
from control.questions import command_table
from twin.columns import Columns
from twin.moment import Moment
from twin.plantfile import load_plant
from twin.query import PlantTables, Queries
from twin.statement import Call
from twin.store import Store

GUIDE = Path("docs/query.md").read_text()
STATEMENTS = [
    s.strip() for block in re.findall(r"```sql\n(.*?)```", GUIDE, re.S) for s in block.split(";\n") if s.strip()
]


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: s.splitlines()[0][:60])
def test_the_statement_runs(tmp_path: Path, statement: str) -> None:
    plant = load_plant(Path("scenarios/water"), RULES)
    tables = PlantTables(plant)
    points = Moment(0, Columns.empty(plant.points.size)).table(plant.points)

    def resolve(call: Call) -> pa.Table:
        return points if call.name in ("at", "branch") else tables.reach(call)

    with Store(tmp_path / "history.duckdb") as store:
        rows = {**tables.tables, "point_rows": points, "commands": command_table([])}
        assert Queries(store).run(rows, statement, 10, resolve).columns


def test_the_guide_names_every_column_of_every_table() -> None:
    plant = load_plant(Path("scenarios/water"), RULES)
    points = Moment(0, Columns.empty(plant.points.size)).table(plant.points)
    named = {*points.column_names, *PlantTables(plant).tables["twins"].column_names, *command_table([]).column_names}
    assert [name for name in named if not re.search(rf"\b{name}\b", GUIDE)] == []
