"""Anomalies of many devices, sample by sample: the score, its flag, and the columns that make it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml.anomaly_statistic import Following, Memory
from ml.anomaly_watch import Verdicts, Watch
from ml.model_file import ModelFile
from ml.told import Array, Kind, Output, Places, Told

REASONS = 3  # columns that are named
MISSING_MAX = 0.5  # share of columns; with fewer a score is unsure
MEMORY_REACH = 1.5  # memories, of an exponential mean, that hold 95 % of its weight


class WatchFollower:
    """A row of `serving.FOLLOWERS`."""

    def __init__(self, file: ModelFile, devices: Sequence[str], ahead: Sequence[int]) -> None:
        settings = file.manifest.settings
        self._watch = Watch.from_tensors(settings["devices"], file.tensors)
        self._states = self._watch.begin(devices)
        self._empty = self._watch.begin(devices)
        self.reach = int(settings["window"]) + int(np.ceil(MEMORY_REACH * int(settings["memory"])))
        self.outputs = (
            Output("score", "", Kind.SCORE, limit=self._watch.limit),
            Output("alarm", "", Kind.FLAG),
        )

    def step(self, time_s: Array, values: Array, at: Places) -> Told:
        if len(at) == len(self._states[0].seen) and (at == np.arange(len(at))).all():
            self._states, verdicts = self._watch.step(self._states, values, time_s)
        else:
            some, verdicts = self._watch.step(tuple(_of(each, at) for each in self._states), values, time_s)
            for each, new in zip(self._states, some, strict=True):
                _put(each, new, at)
        return _told(verdicts)

    def forget(self, at: Places) -> None:
        for each, empty in zip(self._states, self._empty, strict=True):
            _put(each, _of(empty, at), at)


def _told(verdicts: Verdicts) -> Told:
    known = np.isfinite(verdicts.score)
    sure = known & (verdicts.missing.mean(axis=1) <= MISSING_MAX)
    values = np.column_stack([verdicts.score, np.where(known, verdicts.flagged, np.nan)])  # (N, 2)
    most = np.argsort(-verdicts.contribution, axis=1)[:, :REASONS]  # (N, W)
    counts = np.take_along_axis(verdicts.contribution, most, axis=1) > 0
    why = np.where(counts, most, -1).astype(np.int16)
    return Told(values, np.repeat(sure[:, None], 2, axis=1), why)


def _of(state: Following, at: Places) -> Following:
    memory = Memory(state.memory.total[at], state.memory.weight[at])
    window, seen, time_s = state.window[at], state.seen[at], state.time_s[at]
    return replace(state, row=state.row[at], window=window, seen=seen, memory=memory, time_s=time_s)


def _put(state: Following, some: Following, at: Places) -> None:
    state.window[at], state.seen[at], state.time_s[at] = some.window, some.seen, some.time_s
    state.memory.total[at], state.memory.weight[at] = some.memory.total, some.memory.weight
