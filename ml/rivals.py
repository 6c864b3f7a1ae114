"""Losses of rival models on the same held-out data, unit by unit, so that they can be told apart; must not judge.

A unit is a device or a block of time longer than errors remember. Who tells nothing about a unit is charged for it: as
much as the plainest guess would have cost. Rivals that answer different questions are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ml import anomaly, anomaly_planted, dynamics_model, dynamics_runs, forecast_model, rul_model, rul_runs
from ml.model_file import ModelFile
from ml.records import DataSet, constant
from ml.windows import windows
from twin.errors import BadRequest

PLANTED_ROWS = 600  # a block of good data with one anomaly in it: ten memories of a detector
STRIDES = 4  # windows in the length of a horizon
Array = NDArray[np.float64]
Losses = Mapping[str, float]
Value = TypeVar("Value")


def forecasts(models: Sequence[ModelFile], data: DataSet) -> list[Losses]:
    """Mean squared error over all columns, each in spreads of these data, block by block of each device.

    Raises:
        BadRequest: other columns or another horizon, a column that never moves, or records that are too short.
    """
    _alike("columns", [sorted(m.manifest.columns) for m in models])
    horizon = _alike("horizons", [int(m.manifest.settings["horizon"]) for m in models])
    longest = max(int(m.manifest.settings["lookback"]) for m in models)
    columns = models[0].manifest.columns
    data = data.having(columns)
    if still := constant(data):
        raise BadRequest(f"{', '.join(still)}: no value, or always the same", "nothing can be told apart on these data")
    usual, spread = np.nanmean(data.stacked(), axis=0), np.nanstd(data.stacked(), axis=0)
    found: list[dict[str, float]] = [{} for _ in models]
    for record in data.records:
        some = windows(record.values, longest, horizon)
        places = np.arange(0, len(some.seen), max(1, horizon // STRIDES))
        block = (some.origin[places] - longest + 1) // (longest + horizon)
        for losses, model in zip(found, models, strict=True):
            made, order = forecast_model.model_of(model), [columns.index(c) for c in model.manifest.columns]
            told = np.empty((len(places), horizon, len(columns)))
            told[:, :, order] = made.forecast_at(record.values[:, order], some.origin[places]).mean
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


def planted(models: Sequence[ModelFile], data: DataSet) -> list[Losses]:
    """As `alarms`, of good data without a label: anomalies are planted into blocks of each record, the same for all models.

    Raises:
        BadRequest: other columns.
    """
    columns = _alike("columns", [tuple(sorted(m.manifest.columns)) for m in models])
    data = data.having(columns)
    chance = np.random.default_rng(int(data.hash()[:8], 16))
    records, truth, names = [], [], []
    for record in data.records:
        for n, first in enumerate(range(0, len(record) - PLANTED_ROWS + 1, PLANTED_ROWS)):
            part = record.between(first, first + PLANTED_ROWS)
            values, where = anomaly_planted.planted(part.values, chance)
            records.append(replace(part, values=values))
            truth.append(where)
            names.append(f"{record.device} block {n + 1}")
    blocks = replace(data, records=tuple(records))
    found: list[Losses] = []
    for model in models:
        flags = [v.flagged for v in anomaly.scored(model, blocks)]
        found.append({name: _wrong(f, t) for name, f, t in zip(names, flags, truth, strict=True)})
    return found


def dynamics(models: Sequence[ModelFile], data: DataSet) -> list[Losses]:
    """Root mean squared error of free runs over all outputs, each in spreads of these data, block by block of each device.

    A block is as long as the longer horizon; what stands before it, but no later measurement, tells where a run begins.

    Raises:
        BadRequest: other inputs or outputs, or records that are too short.
    """
    made = [dynamics_model.DynamicsModel.from_file(m) for m in models]
    form = made[0].dynamics.step.form
    _alike("inputs", [sorted(m.dynamics.step.form.inputs) for m in made])
    _alike("outputs", [sorted(m.dynamics.step.form.outputs) for m in made])
    before, horizon = max(m.lookback for m in made), max(int(m.manifest.settings["horizon"]) for m in models)
    _, gap = dynamics_runs.step_of(data, 0.0)
    runs = dynamics_runs.stretches(data, form.inputs, form.outputs, gap, before + horizon)
    pieces = [
        r.between(k, k + before + horizon) for r in runs for k in range(0, len(r) - before - horizon + 1, horizon)
    ]
    if not pieces:
        raise BadRequest(f"no record has {before + horizon} rows without a gap", "give longer ones")
    spread = np.nanstd(np.concatenate([r.outputs for r in runs]), axis=0)  # (O,)
    found: list[Losses] = []
    for model in made:
        own = model.dynamics.step.form
        u, y = [form.inputs.index(n) for n in own.inputs], [form.outputs.index(n) for n in own.outputs]
        inputs, outputs = np.stack([p.inputs for p in pieces])[..., u], np.stack([p.outputs for p in pieces])[..., y]
        skipped = before - model.lookback
        told = model.rollout(inputs[:, skipped:], outputs[:, skipped:]).mean[:, model.lookback :]  # (N, H, O)
        truth = outputs[:, before:]
        squared = (np.where(np.isfinite(told), told - truth, spread[y]) / spread[y]) ** 2
        names = [f"{piece.device} block {k + 1}" for k, piece in enumerate(pieces)]
        found.append({name: float(np.sqrt(_mean(each))) for name, each in zip(names, squared, strict=True)})
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
