"""Losses of rival models on the same held-out data, unit by unit, so that they can be told apart; must not judge.

A unit is a device or a block of time longer than errors remember. Who tells nothing about a unit is charged for it: as
much as the plainest guess would have cost. Rivals that answer different questions are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ml import anomaly, forecast, rul_model, rul_runs
from ml.model_file import ModelFile
from ml.records import DataSet
from ml.windows import windows
from twin.errors import BadRequest

STRIDES = 4  # windows in the length of a horizon
Array = NDArray[np.float64]
Losses = Mapping[str, float]
Value = TypeVar("Value")


def forecasts(models: Sequence[ModelFile], data: DataSet) -> list[Losses]:
    """Mean squared error over all columns, each in spreads of these data, block by block of each device.

    Raises:
        BadRequest: other columns or another horizon, or records that are too short.
    """
    _alike("columns", [sorted(m.manifest.columns) for m in models])
    horizon = _alike("horizons", [int(m.manifest.settings["horizon"]) for m in models])
    longest = max(int(m.manifest.settings["lookback"]) for m in models)
    columns = models[0].manifest.columns
    data = data.having(columns)
    usual, spread = np.nanmean(data.stacked(), axis=0), np.nanstd(data.stacked(), axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    found: list[dict[str, float]] = [{} for _ in models]
    for record in data.records:
        some = windows(record.values, longest, horizon)
        places = np.arange(0, len(some.seen), max(1, horizon // STRIDES))
        block = (some.origin[places] - longest + 1) // (longest + horizon)
        for losses, model in zip(found, models, strict=True):
            made, order = forecast.model_of(model), [columns.index(c) for c in model.manifest.columns]
            seen = some.seen[places, longest - int(model.manifest.settings["lookback"]) :][:, :, order]
            told = np.empty((len(places), horizon, len(columns)))
            told[:, :, order] = made.forecast(seen).mean
            gap = np.where(np.isfinite(told), told - some.ahead[places], some.ahead[places] - usual)
            squared = (gap / spread) ** 2  # (N, H, C)
            for b in np.unique(block):
                losses[f"{record.device} block {b + 1}"] = _mean(squared[block == b])
    return list(found)


def lives(models: Sequence[ModelFile], data: DataSet) -> list[Losses]:
    """Mean squared error of remaining life, run by run to failure; lives beyond the smallest cap count as that."""
    made = [rul_model.LifeModel.from_file(m) for m in models]
    cap = min(m.cap for m in made)
    truth = [np.minimum(rul_runs.life_left(r), cap) for r in data.records]
    found: list[Losses] = []
    for model in made:
        told = [np.minimum(np.where(np.isfinite(each.life), each.life, cap), cap) for each in model.of(data)]
        errors = [float(np.mean((a - b) ** 2)) for a, b in zip(told, truth, strict=True)]
        found.append(_by_device(data, errors))
    return found


def alarms(models: Sequence[ModelFile], data: DataSet, label: str) -> list[Losses]:
    """Half the share of good samples flagged and half that of anomalous ones missed, record by record.

    Raises:
        BadRequest: there is no label.
    """
    place = data.column(label)
    truth = [r.values[:, place] > 0.5 for r in data.records]
    found: list[Losses] = []
    for model in models:
        flags = [v.flagged for v in anomaly.scored(model, data)]
        errors = [_wrong(f, t) for f, t in zip(flags, truth, strict=True)]
        found.append(_by_device(data, errors))
    return found


def _wrong(flags: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    shares = [float(np.mean(flags[~truth]))] if (~truth).any() else []
    shares += [float(np.mean(~flags[truth]))] if truth.any() else []
    return float(np.mean(shares)) if shares else float("nan")


def _by_device(data: DataSet, errors: Sequence[float]) -> Losses:
    """Runs of one device count once."""
    grouped: dict[str, list[float]] = {}
    for record, error in zip(data.records, errors, strict=True):
        grouped.setdefault(record.device, []).append(error)
    return {device: _mean(np.array(each)) for device, each in grouped.items()}


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _alike(what: str, values: Sequence[Value]) -> Value:
    if any(v != values[0] for v in values):
        raise BadRequest(f"rivals with other {what}: {', '.join(map(str, values))}", "train one for the same question")
    return values[0]
