"""Remaining life of many devices, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.model_file import ModelFile
from ml.rul_model import LifeModel
from ml.told import Array, Kind, Output, Places, Told, no_reasons

EWM_REACH = 3  # lengths of an exponential mean that hold 95 % of its weight


class LifeFollower:
    """A row of `serving.FOLLOWERS`."""

    def __init__(self, file: ModelFile, devices: Sequence[str], ahead: Sequence[int]) -> None:
        self._model = LifeModel.from_file(file)
        self._state = self._model.start(len(devices))
        features = self._model.features
        means = [EWM_REACH * row.length for row in features.rows if row.kind == "ewm"]
        self.reach = max(features.reach, *means) if means else features.reach
        unit = "s" if any(file.manifest.units) else ""  # files tell no units, a plant's times are seconds
        level = float(file.manifest.settings["options"]["level"])
        self.outputs = (
            Output("life", unit, Kind.MEAN),
            Output("life_low", unit, Kind.LOW, level=level),
            Output("life_high", unit, Kind.HIGH, level=level),
        )

    def step(self, time_s: Array, values: Array, at: Places) -> Told:
        lives = self._model.told(self._state.step(time_s, values, at))
        told = np.column_stack([lives.life, lives.low, lives.high])  # (N, 3)
        return Told(told, np.isfinite(told) & lives.sure[:, None], no_reasons(len(at)))

    def forget(self, at: Places) -> None:
        self._state.time_s[at] = np.nan  # its next sample begins afresh
