"""The digest of a batch: the program in the guide finds what the store recorded, in every version."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from tests.twin.test_history_states import FIRST_FORMAT_DIGEST, OLD_TABLES, Row, columns
from twin.digest import SeriesNames, digest
from twin.store import Store

GUIDE = (Path(__file__).parents[2] / "docs/evidence.md").read_text()


def test_the_program_in_the_guide_finds_the_recorded_digest(tmp_path: Path) -> None:
    path, program = tmp_path / "history.duckdb", tmp_path / "batch_digest.py"
    program.write_text(
        re.findall(r"^```python\n(\"\"\"python batch_digest.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)[0]
    )
    with duckdb.connect(str(path)) as old:
        old.execute(OLD_TABLES)
    with Store(path) as store:
        store.series_of(["a", "b", "ü"])
        rows = [Row(3, float("nan"), 5, 6, False), Row(1, 2.5, 7, 9, True), Row(3, 1.0, 8, 8, False)]
        recorded = store.append(store.cursor(), 2, columns(rows)).digest
    for batch, expected in ((0, FIRST_FORMAT_DIGEST), (2, recorded)):
        done = subprocess.run(
            [sys.executable, str(program), str(path), str(batch)], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


def test_a_series_without_a_name_has_no_digest() -> None:
    names = SeriesNames({1: "a", 3: "c"})
    for series in (2, 4, -1):
        with pytest.raises(KeyError, match="no name"):
            digest(0, columns([Row(series, 1.0, 1, 1, False)]), names)
    names.add({2: "b"})
    assert digest(0, columns([Row(2, 1.0, 1, 1, False)]), names)


@pytest.mark.parametrize("column", ["series", "value", "quality", "source_time", "received_time", "noticed"])
def test_every_column_counts(column: str) -> None:
    names = SeriesNames({1: "a", 2: "b"})
    rows = columns([Row(1, 1.0, 1, 1, False)])
    before = digest(0, rows, names)
    getattr(rows, column)[0] = {"series": 2, "noticed": True}.get(column, 7)
    assert digest(0, rows, names) != before
    assert digest(1, rows, names) != digest(0, rows, names)
    assert np.array_equal(names.used(np.array([2, 1, 2], np.int32)), [1, 2])
