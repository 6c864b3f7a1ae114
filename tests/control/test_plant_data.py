"""A plant's history as training data: held values, gaps where nothing good was known, one device a twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control import offline, plant_data
from control.places import HISTORY_FILE
from control.plant_data import Asked, read
from ml.records import DataSet
from twin.digest import SeriesRows
from twin.errors import BadRequest, NotFound, WrongUnit
from twin.quality import BAD_TIMEOUT, GOOD
from twin.store import Store

S = 1_000_000_000
START = 1_800_000_000 * S
Said = tuple[float, float, int]  # second, value, quality


def a_history(
    folder: Path, said: Mapping[str, Sequence[Said]], noticed: Mapping[str, Sequence[float]] | None = None
) -> Path:
    """The data folder of a stopped server. `noticed`: seconds at which the quality of a point fell by itself."""
    with Store(folder / HISTORY_FILE) as store:
        names = list(said)
        series = dict(zip(names, store.series_of(names).tolist(), strict=True))
        rows = [(series[n], v, q, START + int(t * S), START + int(t * S), False) for n in names for t, v, q in said[n]]
        for name, moments in (noticed or {}).items():
            held = said[name][0]
            rows += [
                (series[name], held[1], BAD_TIMEOUT, START + int(held[0] * S), START + int(t * S), True)
                for t in moments
            ]
        rows.sort(key=lambda r: r[4])
        columns = list(zip(*rows, strict=True))
        kinds = (np.int32, np.float64, np.uint32, np.int64, np.int64, np.bool_)
        con = store.cursor()
        store.append(con, 0, SeriesRows(*(np.array(c, k) for c, k in zip(columns, kinds, strict=True))))
        con.close()
    return folder


def pumps(count: int = 3, seconds: int = 60) -> dict[str, list[Said]]:
    return {
        f"pump_{k}.{prop}": [(t, 100 * k + t + shift, GOOD) for t in range(0, seconds, 2)]
        for k in range(count)
        for prop, shift in (("flow", 0.0), ("power", 0.5))
    }


def asked(twins: str = "pump_*", columns: tuple[str, ...] = (), every_s: float = 1.0, interface: str = "") -> Asked:
    return Asked(twins, interface, columns, every_s)


def read_quietly(folder: Path, what: Asked) -> DataSet:
    return read(folder, what, lambda share, words: None)


def test_each_twin_is_a_device_and_a_value_stands_until_the_next(tmp_path: Path) -> None:
    data = read_quietly(a_history(tmp_path, {**pumps(), "tank_1.level": [(0, 3.0, GOOD)]}), asked())
    assert data.columns == ("flow", "power") and data.devices == ("pump_0", "pump_1", "pump_2")
    record = data.records[1]
    assert record.time_s[0] == START / S and len(record) == 59
    assert record.values[:4].tolist() == [[100.0, 100.5], [100.0, 100.5], [102.0, 102.5], [102.0, 102.5]]


def test_twins_that_have_a_column_in_several_units_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped server's files know no units: they are told here as a running one tells them."""
    real = offline.ask

    def with_units(folder: Path, sql: str, most: int) -> dict[str, Any]:
        found: dict[str, Any] = real(folder, sql, most)
        if "FROM points" in sql:
            units = {"flow": "m3/h", "power": "kW"}
            found["rows"] = [
                [n, t, p, "l/s" if (t, p) == ("pump_1", "flow") else units[p], *more]
                for n, t, p, _, *more in found["rows"]
            ]
        return found

    monkeypatch.setattr(offline, "ask", with_units)
    folder = a_history(tmp_path, pumps())
    with pytest.raises(WrongUnit, match="flow is in m3/h of pump_0, in l/s of pump_1"):
        read_quietly(folder, asked())
    assert read_quietly(folder, asked(columns=("power",))).units == ("kW",)
    assert read_quietly(folder, asked("pump_1")).units == ("l/s", "kW")


def test_what_was_not_good_is_no_value(tmp_path: Path) -> None:
    said = {"pump_0.flow": [(0, 1.0, GOOD), (3, 2.0, BAD_TIMEOUT), (5, 3.0, GOOD), (9, 9.0, GOOD)]}
    data = read_quietly(a_history(tmp_path, said), asked())
    assert np.array_equal(data.records[0].values[:, 0], [1, 1, 1, np.nan, np.nan, 3, 3, 3, 3, 9], equal_nan=True)


def test_a_fall_of_quality_counts_from_when_it_was_noticed(tmp_path: Path) -> None:
    said = {"pump_0.flow": [(0, 1.0, GOOD), (6, 2.0, GOOD)]}
    data = read_quietly(a_history(tmp_path, said, {"pump_0.flow": [4]}), asked())
    assert np.array_equal(data.records[0].values[:, 0], [1, 1, 1, 1, np.nan, np.nan, 2], equal_nan=True)


def test_no_value_stands_while_the_server_was_off(tmp_path: Path) -> None:
    said = {"pump_0.flow": [(0, 1.0, GOOD), (1, 2.0, GOOD), (500, 3.0, GOOD)]}
    values = read_quietly(a_history(tmp_path, said), asked(every_s=10.0)).records[0].values[:, 0]
    assert values[:11].tolist() == [1.0, *[2.0] * 10] and np.isnan(values[12:50]).all() and values[50] == 3.0


def test_many_parts_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_history(tmp_path, pumps())
    whole = read_quietly(folder, asked())
    monkeypatch.setattr(plant_data, "CELLS_AT_ONCE", 50)
    assert read_quietly(folder, asked()).hash() == whole.hash()


def test_columns_that_only_some_twins_have_are_left_unless_named(tmp_path: Path) -> None:
    folder = a_history(tmp_path, {**pumps(2), "pump_0.heat": [(0, 60.0, GOOD)]})
    assert read_quietly(folder, asked()).columns == ("flow", "power")
    named = read_quietly(folder, asked(columns=("heat", "flow")))
    assert named.columns == ("heat", "flow") and np.isnan(named.records[1].values[:, 0]).all()


def test_a_mistake_names_what_there_is(tmp_path: Path) -> None:
    folder = a_history(tmp_path, pumps(1))
    with pytest.raises(NotFound, match="valve"):
        read_quietly(folder, asked("valve_*"))
    with pytest.raises(BadRequest, match=r"flw.*flow"):
        read_quietly(folder, asked(columns=("flw",)))
    with pytest.raises(BadRequest, match="every"):
        read_quietly(folder, asked(every_s=0))
    with pytest.raises(BadRequest, match="running server"):
        read_quietly(folder, asked(interface="Pump"))
    with pytest.raises(BadRequest, match="no history in that time"):
        read_quietly(folder, Asked("pump_*", "", (), 1.0, START + 10**6 * S, 0))
