"""How models in service fare: forecasts held against what came, rivals against each other, errors and intervals against drift.

Must not know where values come from. Only forecasts are scored: of a remaining life or an anomaly the truth comes with no
later sample.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ledger import files
from ml import drift
from ml.drift import Inputs, PageHinkley
from ml.model_file import ModelFile
from ml.reckoning import Reckoning
from ml.records import DataSet, Record
from ml.registry import Registry
from ml.stages import Life, Stage, Watch
from twin.errors import BadRequest, Conflict
from twin.learned import Learned

LEVEL = 0.9  # of the intervals
BLOCK_MIN = 10  # samples in a block; at least twice as long as a forecast reaches, which is how long errors remember
USUAL = 30  # blocks from which it is learned how large errors of a champion usually are
HELD_MAX = 400  # newest intervals that coverage is judged by, one a block
PLAINEST = 1.0  # what the mean of the training data would cost as a forecast, in their variances
PAIRS_MAX = 1_000  # blocks after which a champion is no longer held against the one before it
DEVICES_KEPT, ROWS_KEPT = 16, 1_000  # samples that inputs are compared by
LOOK_EVERY = 200  # samples between two looks at the inputs
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standing:
    """Of the champion.

    Attributes:
        error: mean squared error of the forecasts that came due in the last block, in variances of its training data; NaN
            for none. held: share of their intervals that held.
        drifted: what is no longer as in training: columns, `errors`, `coverage`.
    """

    error: float = math.nan
    held: float = math.nan
    drifted: tuple[str, ...] = ()


@dataclass(slots=True)
class Score:
    row: Learned
    registry: Registry
    standing: Standing = Standing()
    _lives: dict[str, Life] = field(default_factory=dict)
    _champion: str = ""
    _size: Array | None = None  # of each column, that errors are measured in; None: nothing to measure by
    _inputs: Inputs | None = None
    _reckonings: dict[str, Reckoning] = field(default_factory=dict)
    _watches: dict[str, Watch] = field(default_factory=dict)
    _block: dict[str, list[float]] = field(default_factory=dict)  # losses of the samples of this block, by model
    _joined: dict[str, int] = field(default_factory=dict)  # sample at which a model was first asked
    _newest_held: NDArray[np.float32] = field(
        default_factory=lambda: np.empty((0, 0, 0), np.float32)
    )  # champion's, (A, C, D)
    _held: list[float] = field(default_factory=list)  # of the champion in this block
    _usual: list[float] = field(default_factory=list)
    _errors: PageHinkley | None = None
    _intervals: deque[bool] = field(default_factory=lambda: deque(maxlen=HELD_MAX))
    _recent: deque[Array] = field(default_factory=lambda: deque(maxlen=ROWS_KEPT))
    _drifted: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by test
    _samples: int = 0
    _blocks: int = 0

    def now(self, champion: ModelFile | None, lives: Sequence[Life]) -> None:
        """Who is in service from now on; what is known of those that were stays."""
        self._lives = {x.model: x for x in lives}
        self._reckonings = {m: r for m, r in self._reckonings.items() if m in self._lives}
        if champion is None or champion.hash != self._champion:
            self._champion = champion.hash if champion else ""
            self._reckonings, self._joined, self._block, self._held, self._usual = {}, {}, {}, [], []
            self._errors, self._drifted, self._samples = None, {}, 0
            self._intervals.clear()
            self._recent.clear()
            self.standing = Standing()
            self._inputs, self._size = _measure(champion, self.row)
        kept = _kept(self._path)
        self._watches = {m: kept.get(f"{self._champion} {m}", Watch()) for m in self._rivals()}

    def after(self, values: Array, told: Mapping[str, Array], time_ns: int) -> bool:
        """One sample: the truth of earlier forecasts, and what each model says now, in the order of the row's answers.

        Args:
            values: shape (D, C). told: of each model, shape (D, A).

        Returns:
            Whether others are in service now: one was rolled back, or is no longer held against its successor.
        """
        self._samples += 1
        self._recent.append(values[:DEVICES_KEPT].copy())
        if self._samples % LOOK_EVERY == 0:
            self._compare()
        if self._size is None or not self.row.ahead_s:
            return False
        self._settle(values, told)
        if len(self._block.get(self._champion, ())) < self._block_samples:
            return False
        return self._end_block(time_ns)

    # --- forecasts ---------------------------------------------------------------------------------------------------

    @property
    def _reach(self) -> int:
        """Samples ahead."""
        return round(self.row.ahead_s[-1] / self.row.every_s)

    @property
    def _block_samples(self) -> int:
        return max(BLOCK_MIN, 2 * self._reach)

    def is_settled(self, champion: str, before: str) -> bool:
        """Whether a champion was held against the one before it for long enough."""
        watch = _kept(self._path).get(f"{champion} {before}")
        return watch is not None and watch.pairs >= PAIRS_MAX

    def _settle(self, values: Array, told: Mapping[str, Array]) -> None:
        """What was told of this sample, and what is told now. Who was silent where another spoke pays as for a plain guess."""
        losses = {model: self._due(model, values, said) for model, said in told.items()}
        here = {m: loss for m, loss in losses.items() if self._samples - self._joined[m] >= self._reach}
        known = np.any([np.isfinite(loss) for loss in here.values()], axis=0) if here else np.zeros(0, np.bool_)
        if known.any():
            for model, loss in here.items():
                mean = float(np.where(np.isfinite(loss), loss, PLAINEST)[known].mean())
                self._block.setdefault(model, []).append(mean)
        if self._champion in told:
            self._take_held()

    def _due(self, model: str, values: Array, said: Array) -> Array:
        """Losses of a model's forecasts of this sample, (D,), NaN where none came due; and it remembers what is said now."""
        row, at = self.row, np.arange(len(values))
        places = [row.columns.index(c) for c in row.tell]
        steps = [round(a / row.every_s) for a in row.ahead_s]
        assert self._size is not None
        size = self._size[places]
        if model not in self._reckonings:
            self._reckonings[model] = Reckoning(len(places), steps, len(values), LEVEL)
            self._reckonings[model].count[:] = self._samples  # forecasts of all models come due together
            self._joined[model] = self._samples
        reckoning = self._reckonings[model]
        settled, held = reckoning.settle(np.asarray((values[:, places] / size).T, np.float32), at)
        each = said[:, :-1].reshape(len(values), len(places), len(steps), 3) / size[:, None, None]  # (D, C, A, 3)
        mean, low, high = (np.asarray(each[..., k].transpose(2, 1, 0), np.float32) for k in range(3))
        reckoning.told(mean, low, high, at)
        if model == self._champion:
            self._newest_held = held
        return settled.squared

    def _take_held(self) -> None:
        """Coverage is judged by one interval a block, of another device each time: they hardly know each other."""
        held = self._newest_held  # (A, C, D)
        known = np.isfinite(held)
        if not known.any():
            return
        self._held.append(float(held[known].mean()))
        due = len(self._block.get(self._champion, ())) == self._block_samples
        one = held[:, :, self._blocks % held.shape[2]].ravel()
        one = one[np.isfinite(one)]
        if due and len(one):
            self._intervals.append(bool(one[0]))

    def _end_block(self, time_ns: int) -> bool:
        whole = len(self._block[self._champion])  # who came in the middle of the block is judged by the next one
        losses = {m: float(np.mean(rows)) for m, rows in self._block.items() if len(rows) == whole}
        error = losses[self._champion]
        held = float(np.mean(self._held)) if self._held else math.nan
        self._block, self._held = {}, []
        self._blocks += 1
        self._look_at_errors(error)
        self.standing = Standing(error, held, self._all_drifted())
        others = False
        for model in self._rivals():
            if model in losses and model in self._watches:
                others |= self._judge(model, losses, time_ns)
        if self._watches:
            _keep(self._path, {f"{self._champion} {m}": w for m, w in self._watches.items()})
        return others

    def _rivals(self) -> list[str]:
        return [m for m in self._lives if m != self._champion]

    def _judge(self, model: str, losses: Mapping[str, float], time_ns: int) -> bool:
        """A shadow or canary against the champion; the champion against the one before it."""
        before = self._lives[model].stage is Stage.RETIRED
        old, new = (model, self._champion) if before else (self._champion, model)
        self._watches[model] = watch = self._watches[model].after(losses[old], losses[new])
        try:
            return self.registry.settle(new, watch, time_ns) is not None or (before and watch.pairs >= PAIRS_MAX)
        except (BadRequest, Conflict):
            return False  # somebody else moved it in the meantime: the record is read again soon

    # --- drift -------------------------------------------------------------------------------------------------------

    def _look_at_errors(self, error: float) -> None:
        """Page–Hinkley against what was usual in the first blocks in service; coverage against what was promised."""
        if self._errors is None:
            self._usual.append(error)
            if len(self._usual) == USUAL and np.std(self._usual) > 0:
                self._errors = PageHinkley.of(np.array(self._usual))
        else:
            self._errors = self._errors.after(error)
            self._drifted["errors"] = ("errors",) if self._errors.verdict.drifted else ()
        verdict = drift.coverage(np.array(self._intervals, bool), LEVEL)
        self._drifted["coverage"] = ("coverage",) if verdict.drifted and verdict.figure < LEVEL else ()

    def _compare(self) -> None:
        """Inputs against those of training."""
        if self._inputs is None:
            return
        kept = np.array(self._recent)  # (T, D, C)
        time_s = np.arange(len(kept), dtype=np.float64)
        records = tuple(Record(self.row.twins[d], time_s, kept[:, d]) for d in range(kept.shape[1]))
        found = self._inputs.compare(DataSet(self.row.columns, records))
        self._drifted["inputs"] = tuple(dict.fromkeys(d.what for d in found if d.drifted))
        self.standing = Standing(self.standing.error, self.standing.held, self._all_drifted())

    def _all_drifted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for names in self._drifted.values() for name in names))

    @property
    def _path(self) -> Path:
        return self.registry.folder / f"watch-{self.row.id}.json"


def _measure(champion: ModelFile | None, row: Learned) -> tuple[Inputs | None, Array | None]:
    """The distribution of the champion's inputs, and the spread of each of the row's columns in it."""
    if champion is None:
        return None, None
    try:
        inputs = Inputs.from_tensors(champion.manifest.columns, champion.tensors)
    except BadRequest:
        return None, None  # a model from before there was a table
    spread = dict(zip(inputs.columns, np.nanstd(inputs.quantiles, axis=1), strict=True))
    sizes = np.array([spread.get(c, math.nan) for c in row.columns])
    return inputs, np.where(sizes > 0, sizes, 1.0)


def _kept(path: Path) -> dict[str, Watch]:
    """What sequential tests know, over restarts; one that cannot be read begins anew."""
    try:
        rows = json.loads(path.read_text())
        return {key: Watch(w["false_alarm"], w["pairs"], tuple(w["logs"])) for key, w in rows.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _keep(path: Path, watches: Mapping[str, Watch]) -> None:
    files.replace(path, json.dumps({key: asdict(w) for key, w in watches.items()}).encode())
