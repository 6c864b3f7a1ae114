"""A model as small as one can be, with the contract of every task's file: the mean of what it saw, or the last value."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ml.model_file import Manifest, ModelFile
from ml.records import DataSet, Record
from ml.scores import coverage, mae, mse
from ml.training import Course
from ml.trial import Seed, Trial
from twin.errors import BadRequest


@dataclass(frozen=True, slots=True)
class StandInOptions:
    """How a stand-in learns.

    Attributes:
        kind: `mean` or `last`.
        horizon: steps ahead, 1 … 1000.
        steps: of its training.
    """

    kind: str = "mean"
    horizon: int = 1
    steps: int = 4
    rate: float = 0.1


def train(data: DataSet, options: StandInOptions, seed: int, course: Course) -> ModelFile:
    if data.rows < 10:
        raise BadRequest(f"{data.rows} rows are too few", "give at least 10")
    for step in range(options.steps):
        course.at(step / options.steps, f"step {step + 1}")
    mean = np.nanmean(data.stacked(), axis=0)  # (C,)
    spread = np.nanstd(data.stacked(), axis=0)
    manifest = Manifest(
        options.kind, "forecast", asdict(options), data.columns, data.units, data.hash(), "", "0.1.0", seed,
        {"rows": data.rows},
    )  # fmt: skip
    course.at(1.0, "done")
    return ModelFile(manifest, {"mean": mean, "spread": spread})


def losses(model: ModelFile, data: DataSet) -> dict[str, float]:
    """Mean squared error of the next value, a device."""
    found: dict[str, list[float]] = {}
    for record in data.having(model.manifest.columns).records:
        found.setdefault(record.device, []).append(mse(_told(model, record.values), record.values[1:]))
    return {device: float(np.mean(each)) for device, each in found.items()}


def _told(model: ModelFile, values: np.ndarray) -> np.ndarray:
    if model.manifest.kind == "last":
        return values[:-1]
    return np.broadcast_to(model.tensors["mean"], values[1:].shape)


def evaluate(data: DataSet, options: StandInOptions, seeds: Sequence[int], course: Course) -> Trial:
    made = []
    for k, seed in enumerate(seeds):
        part = course.part(k / len(seeds), (k + 1) / len(seeds), f"seed {seed}")
        started = time.perf_counter()
        model = train(data, options, seed, part)
        told = np.concatenate([_told(model, r.values) for r in data.records])
        truth = np.concatenate([r.values[1:] for r in data.records])
        jitter = np.random.default_rng(seed).normal(0, 0.01, told.shape)
        half = 1.645 * model.tensors["spread"]
        figures = {
            "mse": mse(told + jitter, truth), "mae": mae(told, truth), "coverage": coverage(told - half, told + half, truth)
        }  # fmt: skip
        raw = {
            "device": [r.device for r in data.records for _ in r.values[1:]],
            "truth": truth[:, 0].tolist(), "told": (told + jitter)[:, 0].tolist(),
            "low": (told - half)[:, 0].tolist(), "high": (told + half)[:, 0].tolist(),
        }  # fmt: skip
        made.append(Seed(seed, figures, time.perf_counter() - started, raw))
    floor = {"mse": float(np.nanvar(data.stacked()))}
    return Trial("forecast", options.kind, "made", "all rows, one step ahead", made, floor, "mean")


def a_walk(devices: int = 8, rows: int = 200, seed: int = 1) -> DataSet:
    """Walks: the last value is the best forecast of the next."""
    rng = np.random.default_rng(seed)
    records = (
        Record(f"pump_{k}", np.arange(rows, dtype=float), rng.normal(size=(rows, 2)).cumsum(axis=0))
        for k in range(devices)
    )
    return DataSet(("flow", "heat"), tuple(records), ("m3/h", "degC"))
