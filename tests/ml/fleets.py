"""Data sets on disk that tests of learning use where they are there, and small fleets with known truth."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from ml.records import DataSet, Record


def data_folder(name: str) -> Path:
    """The folder of a named data set, or the test is skipped."""
    root = os.environ.get("TWINLOOP_DATA", "")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"TWINLOOP_DATA names no folder with {name}")
    return Path(root) / name


def pumps(devices: int = 6, rows: int = 900, seed: int = 3) -> DataSet:
    """Pumps of different size: flow and power go together, heat wanders slowly by itself, noise says nothing."""
    rng = np.random.default_rng(seed)
    records = []
    for k in range(devices):
        load = _wandering(rng, rows, 0.9)
        size = 10.0 * (k + 1)
        flow = size * (5 + load + rng.normal(0, 0.05, rows))
        power = size * (3 + 0.5 * load + rng.normal(0, 0.05, rows))
        heat = 40 + 2 * _wandering(rng, rows, 0.99)
        values = np.column_stack([flow, power, heat, rng.normal(size=rows)])
        records.append(Record(f"pump_{k}", np.arange(rows, dtype=float), values))
    return DataSet(("flow", "power", "heat", "noise"), tuple(records), ("m3/h", "kW", "°C", ""))


def _wandering(rng: np.random.Generator, rows: int, hold: float) -> NDArray[np.float64]:
    """Of spread 1; keeps the share `hold` of itself from sample to sample."""
    made: NDArray[np.float64] = lfilter([1.0], [1.0, -hold], rng.normal(0, np.sqrt(1 - hold**2), rows))
    return made


def leaking(data: DataSet, first: int, after: int, column: int = 1, spreads: float = 3.0) -> DataSet:
    """The same with an event in one column of each device, and a last column that tells so."""
    records = []
    for record in data.records:
        values = record.values.copy()
        values[first:after, column] += spreads * values[:first, column].std()
        truth = np.zeros(len(values))
        truth[first:after] = 1.0
        records.append(replace(record, values=np.column_stack([values, truth])))
    return DataSet((*data.columns, "anomaly"), tuple(records), (*data.units, "") if data.units else ())


def tanks(devices: int = 8, rows: int = 1200, seed: int = 5, gauges: int = 0) -> DataSet:
    """Tanks that fill until a high mark and drain until a low one: where the level turns no linear form tells.

    Args:
        gauges: further columns that follow level and flow.
    """
    rng, records = np.random.default_rng(seed), []
    mixing = np.random.default_rng(1).normal(size=(2, gauges))
    for k in range(devices):
        values = np.empty((rows, 2))
        level, way, fill, drain = rng.uniform(2, 8), 1.0, rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.3)
        for t in range(rows):
            way = 1.0 if level < 2.0 else -1.0 if level > 8.0 else way
            flow = (fill if way > 0 else -drain) + rng.normal(0, 0.02)
            level += flow
            values[t] = level + rng.normal(0, 0.02), flow
        more = values @ mixing + rng.normal(0, 0.1, (rows, gauges))
        records.append(Record(f"tank_{k}", np.arange(rows, dtype=float), np.concatenate([values, more], axis=1)))
    names = ("level", "flow", *(f"gauge_{k}" for k in range(gauges)))
    return DataSet(names, tuple(records), ("m", "m3/min", *("" for _ in range(gauges))))
