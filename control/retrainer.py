"""The process of one retraining: reads a row's history, trains on its older part, holds a contest on its newest.

Told what to do on standard input, says how far it is on standard output, one JSON line a step. Nothing of it can hold up
the server: it is another process, and it gives way to everybody (nice).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from control import learning, offline, plant_data
from control.places import MODELS
from control.retraining import Order, Progress
from ml.model_file import ModelFile
from ml.records import DataSet, Record
from ml.registry import AUTOMATIC, Registry
from ml.training import Course
from twin.errors import TwinloopError
from twin.learned import Learned

NICE = 10
READ, TRAINED, JUDGED = 0.2, 0.9, 0.98  # shares of the whole at which each part ends
SAY_EVERY_S = 0.5
HORIZONS = 4  # horizons of a first forecast that it looks back
NS = 1e9


def main() -> None:
    os.nice(NICE)
    torch.set_num_threads(1)  # the other cores are the plant's
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        model, words = run(order, _Said())
    except TwinloopError as error:
        _say(Progress(0.0, "", wrong=f"{error}; {error.hint}" if error.hint else str(error)))
        return
    _say(Progress(1.0, words, model=model))


def run(order: Order, told: Any) -> tuple[str, str]:
    """The new model's hash, and what became of it.

    Raises:
        BadRequest: too little history, or it tells nothing. Unavailable: neither server nor history.
    """
    registry, row = Registry(Path(order.data) / MODELS), order.row
    best = registry.champion(row.task, row.id)
    champion = registry.read(best.model) if best else None
    data = history(order, told)
    learnt, held = _split(data, order.split / NS)
    course = Course(lambda share, words: told(READ + share * (TRAINED - READ), words or "training"))
    given = learning.Material(learnt, source="history")
    made = learning.train(row.task, given, options(row, champion), _seed(order.end), course, best.model if best else "")
    now = time.time_ns()
    registry.add(made, row.id, order.by, order.why, now)
    told(TRAINED, "contest with the champion")
    if best is None:
        return made.hash, f"{made.hash[:12]} is trained and waits: twinloop models promote {made.hash[:8]}"
    try:
        contest = learning.contest(registry, made.hash, learning.Material(held, source="history"))
        registry.promote(made.hash, contest, AUTOMATIC, order.why, time.time_ns())
    except TwinloopError as error:
        return made.hash, f"{made.hash[:12]} stays behind: {error}"
    told(JUDGED, "shadow")
    return made.hash, f"{made.hash[:12]} is a shadow: {contest.verdict.reason if contest else ''}"


def history(order: Order, told: Any) -> DataSet:
    """All twins of the row on its grid."""
    row, step_ns = order.row, round(order.row.every_s * NS)
    grid = np.arange(-(-order.begin // step_ns) * step_ns, order.end, step_ns, dtype=np.int64)
    names = [f"{t}.{c}" for t in row.twins for c in row.columns]

    def ask(sql: str) -> dict[str, Any]:
        return offline.ask(Path(order.data), sql, plant_data.POINTS_MAX)

    found = plant_data.series(ask, names, grid, row.every_s, lambda share, words: told(READ * share, words))
    each = found.reshape(len(grid), len(row.twins), len(row.columns))
    heard = np.isfinite(each).any(axis=(1, 2))
    begin = int(heard.argmax()) if heard.any() else 0  # of what was before the plant was first heard nothing is known
    records = tuple(Record(t, grid[begin:] / NS, each[begin:, k]) for k, t in enumerate(row.twins))
    return DataSet(row.columns, records, row.units)


def options(row: Learned, champion: ModelFile | None) -> Any:
    """Those of the champion; of a first model what the row needs."""
    kind = learning.options(row.task, ())
    if champion is not None:
        known = {f.name for f in fields(kind)}
        kept = {k: v for k, v in champion.manifest.settings.items() if k in known}
        return replace(kind, **{k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()})
    if row.task != "forecast":
        return kind
    horizon = round(row.ahead_s[-1] / row.every_s)
    # One sample at a time: a network over windows costs a fleet a hundred times as much.
    return replace(kind, horizon=horizon, lookback=max(96, min(2_000, HORIZONS * horizon)), network="recurrent")


def _split(data: DataSet, at_s: float) -> tuple[DataSet, DataSet]:
    """Before and after that moment."""
    cut = [int(np.searchsorted(r.time_s, at_s)) for r in data.records]
    before = tuple(r.between(0, k) for r, k in zip(data.records, cut, strict=True))
    after = tuple(r.between(k, len(r)) for r, k in zip(data.records, cut, strict=True))
    return replace(data, records=before), replace(data, records=after)


def _seed(moment_ns: int) -> int:
    return moment_ns // 10**9 % 2**31


class _Said:
    """Says progress, not more often than somebody reads it."""

    def __init__(self) -> None:
        self._last_s = 0.0

    def __call__(self, share: float, words: str) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= SAY_EVERY_S:
            self._last_s = now_s
            _say(Progress(share, words))


def _say(progress: Progress) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
