"""Data sets from files: real CSV and Parquet, devices by column or by file, and what is wrong with a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.tables import Roles, read, read_column
from twin.errors import BadRequest, NotFound

TABLE = "engine,cycle,speed,heat,note\nb,1,9.5,200,ok\nb,2,9.25,,ok\na,1,8,210,old\na,2,7.5,211,old\n"
ENGINES = Roles(time="cycle", device="engine")


def test_rows_become_records_of_their_devices_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    data = read(tmp_path / "t.csv", ENGINES)
    assert data.columns == ("speed", "heat") and data.devices == ("b", "a")
    assert np.array_equal(data.records[0].values, [[9.5, 200.0], [9.25, np.nan]], equal_nan=True)


def test_compressed_files_and_parquet_say_the_same(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write(TABLE)
    whole = read(tmp_path / "t.csv.gz", ENGINES)
    columns = {"engine": ["b", "b", "a", "a"], "cycle": [1, 2, 1, 2], "speed": [9.5, 9.25, 8.0, 7.5],
               "heat": [200.0, None, 210.0, 211.0]}  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", ENGINES).hash() == whole.hash()


def test_a_folder_holds_a_record_a_file_and_2_comes_before_10(tmp_path: Path) -> None:
    for name in ("10", "2", "1"):
        (tmp_path / f"{name}.csv").write_text(f"when;x\n2026-01-01 00:00:0{name[0]};{name}\n2026-01-01 00:00:09;5\n")
    data = read(tmp_path, Roles(time="when"))
    assert [r.device.rpartition("/")[2] for r in data.records] == ["1", "2", "10"]
    assert data.records[1].time_s.tolist() == [1767225602.0, 1767225609.0]


@pytest.mark.parametrize("name", ["b[1].csv", "b*.csv", "b?.csv"])
def test_a_name_of_a_file_is_no_pattern(tmp_path: Path, name: str) -> None:
    (tmp_path / "b1.csv").write_text("x\n1\n2\n")
    (tmp_path / name).write_text("x\n7\n8\n")
    assert read(tmp_path / name, Roles()).stacked().tolist() == [[7.0], [8.0]]


@pytest.mark.parametrize(
    ("text", "roles", "said"),
    [
        (TABLE, Roles(time="cylce"), "no column 'cylce'.*cycle"),
        (TABLE, Roles(columns=("note",)), "note is VARCHAR, no number .*row 2 says 'ok'"),
        (TABLE, Roles(time="cycle"), "row 4: cycle of t does not rise"),
        ("a,b\nx,y\nz,w\n", Roles(), "no column of numbers"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, text: str, roles: Roles, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(BadRequest, match=said):
        read(tmp_path / "t.csv", roles)


def test_no_file_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read(tmp_path / "t.csv", Roles())
    with pytest.raises(BadRequest, match="0 files"):
        read(tmp_path, Roles())


def test_labels_are_a_number_a_line(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("112\n98\n")
    assert read_column(tmp_path / "l.txt").tolist() == [112.0, 98.0]
    (tmp_path / "l.txt").write_text("112\nlong\n")
    with pytest.raises(BadRequest, match="long"):
        read_column(tmp_path / "l.txt")
