"""Records of devices: equal columns, splits by device and by time, columns that tell nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.records import DataSet, Record, constant, even, split_devices, split_time
from twin.errors import BadRequest


def a_fleet(devices: int = 10, rows: int = 20) -> DataSet:
    rng = np.random.default_rng(1)
    records = (Record(f"pump_{k}", np.arange(rows, dtype=float), rng.normal(size=(rows, 3))) for k in range(devices))
    return DataSet(("flow", "power", "heat"), tuple(records))


def test_a_split_takes_whole_devices_and_loses_none() -> None:
    data = a_fleet()
    rest, held = split_devices(data, 0.3, seed=4)
    assert len(held.devices) == 3 and not set(held.devices) & set(rest.devices)
    assert set(held.devices) | set(rest.devices) == set(data.devices)
    assert split_devices(data, 0.3, seed=4)[1].devices == held.devices
    with pytest.raises(BadRequest, match="one device"):
        split_devices(a_fleet(1), 0.3, seed=4)


def test_a_split_by_time_keeps_the_newest_apart() -> None:
    early, late = split_time(a_fleet(2), 0.25)
    assert [len(r) for r in early.records] == [15, 15] and late.records[0].time_s[0] == 15.0


def test_a_column_that_never_moves_or_was_never_measured_tells_nothing() -> None:
    data = a_fleet()
    for record in data.records:
        record.values[:, 1] = 4.0
        record.values[:, 2] = np.nan
    assert constant(data) == ("power", "heat")


def test_the_hash_knows_every_bit_and_every_name() -> None:
    data = a_fleet()
    hashes = {data.hash(), data.having(("power", "flow", "heat")).hash(), data.of(data.devices[1:]).hash()}
    other = a_fleet()
    assert other.hash() == data.hash()
    other.records[3].values[5, 1] = np.nextafter(other.records[3].values[5, 1], 9.0)
    assert len({*hashes, other.hash()}) == 4


def test_a_missing_column_is_named_with_the_nearest() -> None:
    with pytest.raises(BadRequest, match=r"powr.*power"):
        a_fleet().having(("flow", "powr"))


def test_samples_that_did_not_come_are_missing_and_a_long_silence_ends_a_record() -> None:
    time_s = np.concatenate([np.arange(0.0, 100.0), np.arange(103.0, 200.0), np.arange(500.0, 600.0)])
    data = DataSet(("flow",), (Record("pump", time_s, time_s[:, None]),))
    made = even(data, 10)
    assert [len(r) for r in made.records] == [200, 100] and made.devices == ("pump",)
    assert np.isnan(made.records[0].values[100:103, 0]).all() and made.records[0].values[103, 0] == 103.0
    assert made.records[1].time_s[0] == 500.0
    assert even(replace(data, records=data.records[:0]), 10).records == ()
    irregular = Record("pump", np.cumsum(np.random.default_rng(1).uniform(0.1, 9.0, 100)), np.zeros((100, 1)))
    assert even(DataSet(("flow",), (irregular,)), 10).records == (irregular,)
