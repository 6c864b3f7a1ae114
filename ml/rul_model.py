"""A model of remaining life as it is served: features in, life with its interval out; must not know files or training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.features import FeatureSet, State
from ml.intervals import excess, margin
from ml.model_file import ModelFile
from ml.records import DataSet
from ml.rul_network import LifeNetwork, Shape
from ml.rul_ridge import LifeRidge
from ml.scaling import Scaler
from twin.errors import BadRequest

Array = NDArray[np.float64]
TASK, RIDGE, NETWORK = "rul", "rul_ridge", "rul_network"
GROUP_MIN = 30  # devices behind a margin of its own: fewer leave its 90 % to a handful
GROUPS_MAX = 3
FAR = 10.0  # spreads; a feature farther off counts as this far
BEYOND = 0.25  # of the range of training, outside of which an input is out of range


@dataclass(frozen=True, slots=True)
class Lives:
    """Remaining life of N devices or moments, in the unit of the records' times; NaN where too little is known.

    Attributes:
        life, low, high: shape (N,); from 0 to the cap.
        sure: whether the inputs lie where the training's lay; where not, the interval promises nothing.
    """

    life: Array
    low: Array
    high: Array
    sure: NDArray[np.bool_]

    def last(self) -> Lives:
        """The newest one alone."""
        return Lives(self.life[-1:], self.low[-1:], self.high[-1:], self.sure[-1:])


@dataclass(frozen=True, slots=True)
class Margins:
    """How far intervals are widened, by the life that is told.

    Attributes:
        edges: between the groups, rising, shape (G - 1,). width: of each group, shape (G,); below 0 it narrows.
    """

    edges: Array
    width: Array

    def of(self, life: Array) -> Array:
        """(N,) -> (N,)."""
        return self.width[np.searchsorted(self.edges, life, side="right")]


def fit_margins(told: Array, truth: Array, level: float, closer: float = 1.0) -> Margins:
    """Margins from devices that the model did not see.

    Every run counts once, however long: one moment of each, drawn as the others' are, in many draws whose mean is taken.

    Args:
        told: life, low and high, shape (3, R, D): D draws of R runs. truth: shape (R, D).
        closer: how much closer to the truth the model that is served lies than what was told here, as `averaging` says.
    """
    life, low, high = told
    groups = int(np.clip(len(life) // GROUP_MIN, 1, GROUPS_MAX))
    edges = np.quantile(life, np.arange(1, groups) / groups)
    group = np.searchsorted(edges, life, side="right")  # (R, D)
    middle = (low + high) / 2
    outside = excess(low, high, middle + closer * (truth - middle))  # (R, D)
    width = np.array(
        [np.mean([margin(outside[group[:, d] == g, d], level) for d in range(life.shape[1])]) for g in range(groups)]
    )
    return Margins(edges, width)


def averaging(apart: Array, truth: Array, members: int) -> float:
    """How much closer to the truth the mean of all members lies than the mean of those that did not see a device.

    Networks differ by chance; the mean of more of them has less of it. Where a device is held out only few can be asked,
    in service all: margins from the few would be too wide. Perrone and Cooper 1993: the variance goes with their number.

    Args:
        apart: life told by each network that did not see the device, shape (K, R, D). truth: shape (R, D).

    Returns:
        Ratio of the root mean square errors, 1 where a single network cannot tell.
    """
    asked = len(apart)
    if asked < 2:
        return 1.0
    saved = apart.var(axis=0, ddof=1).mean() * (1 / asked - 1 / members)
    error = ((apart.mean(axis=0) - truth) ** 2).mean()
    return float(np.sqrt(max(0.0, 1.0 - saved / error))) if error > 0 else 1.0


@dataclass(frozen=True, slots=True)
class LifeModel:
    """What is asked for a remaining life.

    Attributes:
        features: what it looks at. inputs: makes features comparable. low, high: range of each in training, (F,).
        plain: the ridge, always there. network: beside it where it won.
        statistics: how many features come before the last `window` samples themselves; the ridge takes those only.
        cap: a longer life than this is told as this. units: of the features' columns, where they are known.
    """

    features: FeatureSet
    inputs: Scaler
    low: Array
    high: Array
    plain: LifeRidge
    network: LifeNetwork | None
    margins: Margins
    statistics: int
    window: int
    cap: float
    units: tuple[str, ...] = ()

    def told(self, features: Array) -> Lives:
        """(N, F) -> N lives."""
        known = self._known(features)
        life, low, high = np.where(known, self.widened(self.raw(self.ready(features))), np.nan)
        span = BEYOND * (self.high - self.low)
        inside = (features >= self.low - span) & (features <= self.high + span) | np.isnan(features)
        return Lives(life, low, high, known & inside.all(axis=1))

    def of(self, data: DataSet) -> list[Lives]:
        """At every sample of every record.

        Raises:
            BadRequest: a column is missing, or has another unit than in training.
        """
        data = data.having(self.features.columns)
        for name, given, known in zip(data.columns, data.units, self.units, strict=False):
            if given and known and given != known:
                raise BadRequest(f"{name} is in {given}, the model learned it in {known}", "convert it, or train anew")
        return [self.told(self.features.of(record)) for record in data.records]

    def start(self, devices: int) -> State:
        """What devices remember: `told(state.step(…))` is their life after one sample more."""
        return self.features.start(devices)

    def ready(self, features: Array) -> NDArray[np.float32]:
        """Features as the models take them: (N, F) -> (N, F)."""
        return ready(features, self.inputs, self.statistics, self.window)

    def raw(self, inputs: NDArray[np.float32]) -> Array:
        """Life, low and high before any margin: (N, F) -> (3, N)."""
        if self.network is None:
            life = self.plain.told(inputs[:, : self.statistics]) * self.cap
            return np.clip(np.stack([life, life, life]), 0.0, self.cap)
        return of_quantiles(self.network.told(inputs), self.cap)

    def widened(self, raw: Array) -> Array:
        """By the margins, but never so narrow that the life lies outside, nor beyond 0 and the cap. (3, ...) -> (3, ...)."""
        life, low, high = raw
        wide = self.margins.of(life)
        told: Array = np.stack([life, np.minimum(low - wide, life), np.maximum(high + wide, life)])
        return told.clip(0.0, self.cap)

    def _known(self, features: Array) -> NDArray[np.bool_]:
        """Whether each column had a value within the longest window, (N,)."""
        rows = self.features.rows
        longest = max(row.length for row in rows if row.kind == "mean")
        places = [k for k, row in enumerate(rows) if row.kind == "mean" and row.length == longest]
        return np.asarray(np.isfinite(features[:, places]).all(axis=1))

    def settings(self) -> dict[str, Any]:
        """For a manifest."""
        shape = None if self.network is None else asdict(self.network.shape)
        members = 0 if self.network is None else len(self.network.members)
        return {
            "features": self.features.to_plain(), "statistics": self.statistics, "window": self.window,
            "cap": self.cap, "shape": shape, "members": members,
        }  # fmt: skip

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        own = {"range.low": self.low, "range.high": self.high}
        own |= {"margins.edges": self.margins.edges, "margins.width": self.margins.width}
        network = {} if self.network is None else self.network.tensors()
        inputs = {f"inputs.{name}": tensor for name, tensor in self.inputs.tensors().items()}
        return {**own, **self.features.scaler.tensors(), **inputs, **self.plain.tensors(), **network}

    @classmethod
    def from_file(cls, file: ModelFile) -> Self:
        """
        Raises:
            BadRequest: it is a model of something else.
        """
        kept, tensors = file.manifest.settings, file.tensors
        if file.manifest.task != TASK:
            raise BadRequest(f"a model of {file.manifest.task}, not of remaining life", "train one with train rul")
        inputs = {n.removeprefix("inputs."): t for n, t in tensors.items() if n.startswith("inputs.")}
        features = FeatureSet.from_plain(kept["features"], Scaler.from_tensors(tensors))
        network = None
        if kept["members"]:
            network = LifeNetwork.from_tensors(Shape(**kept["shape"]), int(kept["members"]), tensors)
        return cls(
            features, Scaler.from_tensors(inputs), tensors["range.low"], tensors["range.high"],
            LifeRidge.from_tensors(tensors), network, Margins(tensors["margins.edges"], tensors["margins.width"]),
            int(kept["statistics"]), int(kept["window"]), float(kept["cap"]), file.manifest.units,
        )  # fmt: skip


def of_quantiles(quantiles: Array, cap: float) -> Array:
    """Life, the lowest and the highest quantile: (..., Q) as shares of the cap -> (3, ...)."""
    told = np.stack([quantiles.mean(axis=-1), quantiles[..., 0], quantiles[..., -1]])
    return np.clip(told * cap, 0.0, cap)


def ready(features: Array, inputs: Scaler, statistics: int, window: int) -> NDArray[np.float32]:
    """Comparable features, 0 (the mean) where one is unknown; samples unknown are as their neighbours. (N, F) -> (N, F)."""
    scaled = np.clip(inputs.scaled(features), -FAR, FAR)
    if window:
        samples = scaled[:, statistics:].reshape(len(scaled), window, -1)  # (N, W, C), a view
        for order in (range(1, window), range(window - 2, -1, -1)):  # from the older one, else from the newer
            for w in order:
                np.copyto(samples[:, w], samples[:, w - order.step], where=np.isnan(samples[:, w]))
    return np.nan_to_num(scaled).astype(np.float32)
