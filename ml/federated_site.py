"""Federated training as a site sees it: its own data, and what it gives of them for a step: sums, never rows; no sockets."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml import forecast, forecast_model, forecaster, rivals
from ml.contest import UNITS_MIN, Verdict, blocks, judge
from ml.federated import CLASSES, Plan, Step, clipped, flat, norm_counts, packed, scaler_of, shapes, weight_of
from ml.forecast import WINDOWS_MIN, ForecastOptions
from ml.forecast_model import COVERED, LEVELS
from ml.forecaster import Forecaster
from ml.intervals import excess, margin
from ml.model_file import CODE, ModelFile
from ml.records import DataSet, constant
from ml.ridge import Ridge, Sums
from ml.ridge import loss as ridge_loss
from ml.scaling import Scaler
from ml.training import Course
from ml.windows import Windows, parts, windows
from twin.errors import BadRequest, WrongUnit

VALUES_MIN = 200  # good values of a column below which a site gives nothing: a mean over few rows tells the rows
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Own:
    """What a site makes of the common model.

    Attributes:
        model: the common one with intervals fitted to this site. simple: the site's own simple model.
        verdict: of the paired test on what the site held out; `None` where it has too little for one.
        losses: mean over the blocks, (simple, common); a mean squared error in spreads of the site's data.
    """

    model: ModelFile
    simple: ModelFile
    verdict: Verdict | None
    losses: tuple[float, float]
    options: ForecastOptions

    @property
    def better(self) -> bool:
        return self.verdict is not None and self.verdict.better

    @property
    def reason(self) -> str:
        return self.verdict.reason if self.verdict is not None else "too little was held out for a contest"


class Site:
    """One site's data and the numbers that it gives of them.

    Raises:
        BadRequest: too few rows, or a column is missing. WrongUnit: a column is in another unit than the plan's.
    """

    def __init__(self, plan: Plan, data: DataSet) -> None:
        self.plan, self.data = plan, _fitting(plan, data)
        self._cuts = parts(self.data, plan.options.shares)
        self.windows = sum(max(0, a - plan.options.lookback - plan.options.horizon + 1) for a, _ in self._cuts)
        if self.windows < WINDOWS_MIN:
            raise BadRequest(
                f"{self.windows} windows to learn from",
                f"a site with fewer than {WINDOWS_MIN} gives nothing: more rows",
            )
        counts = np.isfinite(self._rows()).sum(axis=0)
        few = [f"{n} ({k} values)" for n, k in zip(plan.columns, counts, strict=True) if k < VALUES_MIN]
        still = constant(self.data)
        if few or still:
            raise BadRequest(
                f"too little of {', '.join(few)}" if few else f"{', '.join(still)} never moves here",
                f"a site gives nothing from fewer than {VALUES_MIN} good values a column, or from a still one",
            )
        self._scaled_by = ""
        self._learnt: list[Windows] = []
        self._held: tuple[Windows, Windows] | None = None
        self._last: tuple[str, dict[str, Array], float] = ("", {}, math.nan)

    def part(self, step: Step, sites: int, chance: np.random.Generator, course: Course) -> tuple[Array, float]:
        """Numbers for a step, all in a row, and the loss of the model so far on what was held out (0 before there is one).

        Args:
            sites: how many take part: they share in the noise. chance: of the noise.

        Raises:
            Cancelled: the course was.
        """
        key = _key(step)
        if self._last[0] != key:  # a step that is asked again, because a site is gone, costs nothing
            self._last = (key, *self._made(step, course))
        _, found, loss = self._last
        if "update" in found:
            weight = float(found["weight"][0])
            cut = weight * clipped(found["update"], step.clip)
            spread = self.plan.noise * step.clip / math.sqrt(sites)
            found = {**found, "update": cut + chance.normal(0.0, spread, len(cut)) if spread else cut}
        return packed(shapes(self.plan, step.kind), found), loss

    def _made(self, step: Step, course: Course) -> tuple[dict[str, Array], float]:
        course.at(0.0, step.kind)
        match step.kind:
            case "mean":
                return self._mean(), 0.0
            case "spread":
                return self._spread(step), 0.0
        self._scale(step)
        match step.kind:
            case "ridge":
                sums = Sums.of(
                    self._learnt, len(self.plan.columns), self.plan.options.lookback, self.plan.options.horizon
                )
                return {"xx": sums.xx, "xy": sums.xy, "count": np.array([sums.count])}, 0.0
            case "penalty" | "pull":
                return self._tried(step), 0.0
            case "errors":
                return self._errors(step), 0.0
            case "contest":
                return self._contest(step), 0.0
        net = _network(step)
        loss = forecaster.loss(net, [self._chosen_by])
        return ({} if step.kind == "score" else self._update(step, net, course)), loss

    # --- sums --------------------------------------------------------------------------------------------------------

    def _rows(self) -> Array:
        """Of the part to learn from."""
        return np.concatenate([r.values[:a] for r, (a, _) in zip(self.data.records, self._cuts, strict=True)])

    def _mean(self) -> dict[str, Array]:
        rows = self._rows()
        return {"count": np.isfinite(rows).sum(axis=0).astype(float), "sum": np.nansum(rows, axis=0)}

    def _spread(self, step: Step) -> dict[str, Array]:
        return {"squares": np.nansum((self._rows() - step.tensors["mean"]) ** 2, axis=0)}

    def _tried(self, step: Step) -> dict[str, Array]:
        known = int(np.isfinite(self._chosen_by.ahead).sum())
        made, count = [Ridge(weights) for weights in step.tensors["candidates"]], 0
        told = [ridge_loss(model, [self._chosen_by]) for model in made]
        if known:
            ahead = made[0].forecast(self._chosen_by.seen)
            count = int((np.isfinite(ahead) & np.isfinite(self._chosen_by.ahead)).sum())
        squares = [loss * count if count else 0.0 for loss in told]
        return {"squares": np.array(squares), "count": np.array([count])}

    # --- network -----------------------------------------------------------------------------------------------------

    def _update(self, step: Step, net: Forecaster, course: Course) -> dict[str, Array]:
        before = flat(net.state_dict())
        # Each round another draw of windows, the same one when it is asked again.
        forecaster.further(net, self._learnt, self.plan.steps, self.plan.seed * 100_003 + step.n, course)
        update = flat(net.state_dict()) - before
        counted = norm_counts(float(np.linalg.norm(update)))
        weight = np.array([weight_of(self.plan, self.windows)])
        return {"weight": weight, "norms": counted, "update": update}

    def _contest(self, step: Step) -> dict[str, Array]:
        held = self._judged_by
        length = min(self.plan.options.lookback + self.plan.options.horizon, len(held.seen) // UNITS_MIN)
        told = Ridge(step.tensors["ridge"]).forecast(held.seen), _network(step).forecast(held.seen)[0]
        known = np.isfinite(held.ahead).any(axis=(1, 2))
        plain, net = (np.nanmean((mean - held.ahead)[known] ** 2, axis=(1, 2)) for mean in told)
        gain = blocks(plain - net, length) if length else np.empty(0)
        gain = gain[np.isfinite(gain)]
        return {name: np.array([v]) for name, v in
                (("units", len(gain)), ("gain", gain.sum()), ("squares", (gain**2).sum()))}  # fmt: skip

    def _errors(self, step: Step) -> dict[str, Array]:
        held = self._held_all
        errors = held.ahead - Ridge(step.tensors["ridge"]).forecast(held.seen)  # (N, H, C)
        quantiles = np.nan_to_num(np.nanquantile(errors, LEVELS, axis=0).transpose(1, 2, 0))  # (H, C, Q)
        weight = weight_of(self.plan, self.windows)
        rows = np.clip(self._known_scale.scaled(self._rows()), CLASSES[0], CLASSES[-1])
        reach = np.stack([np.histogram(column[np.isfinite(column)], CLASSES)[0] for column in rows.T])  # (C, K)
        return {"weight": np.array([weight]), "quantiles": weight * quantiles, "reach": reach.astype(float)}

    # --- data --------------------------------------------------------------------------------------------------------

    def _scale(self, step: Step) -> None:
        scaler = self._scaler(step.tensors["mean"], step.tensors["deviation"])
        key = _key(Step("", 0, {"mean": scaler.mean, "deviation": scaler.deviation}))
        if key == self._scaled_by:
            return
        o, records = self.plan.options, self.data.records
        scaled = [scaler.scaled(r.values) for r in records]
        self._learnt = [windows(v[:a], o.lookback, o.horizon) for v, (a, _) in zip(scaled, self._cuts, strict=True)]
        halves = [(a, (a + b) // 2, b) for a, b in self._cuts]
        self._held = (
            self._joined([v[max(0, a - o.lookback) : m] for v, (a, m, _) in zip(scaled, halves, strict=True)]),
            self._joined([v[max(0, m - o.lookback) : b] for v, (_, m, b) in zip(scaled, halves, strict=True)]),
        )
        if not all(len(half.seen) for half in self._held):
            raise BadRequest("too little is held out to choose and to judge by", "more rows, or a larger second share")
        self._scaled_by, self._known_scale = key, scaler

    def _joined(self, values: Sequence[Array]) -> Windows:
        """All windows of these parts of records; their futures lie within the part."""
        o = self.plan.options
        found = [windows(v, o.lookback, o.horizon) for v in values]
        return Windows(*(np.concatenate([getattr(w, name) for w in found]) for name in ("seen", "ahead", "origin")))

    def _scaler(self, mean: Array, deviation: Array) -> Scaler:
        """That of all sites together, or of what this site learns from."""
        if self.plan.scaling == "common":
            return scaler_of(mean, deviation)
        rows = self._rows()
        return scaler_of(np.nanmean(rows, axis=0), np.nanstd(rows, axis=0))

    @property
    def _chosen_by(self) -> Windows:
        assert self._held is not None
        return self._held[0]

    @property
    def _judged_by(self) -> Windows:
        assert self._held is not None
        return self._held[1]

    @property
    def _held_all(self) -> Windows:
        return Windows(*(np.concatenate([getattr(w, n) for w in (self._chosen_by, self._judged_by)])
                         for n in ("seen", "ahead", "origin")))  # fmt: skip

    # --- result ------------------------------------------------------------------------------------------------------

    def own(self, common: ModelFile, course: Course) -> Own:
        """The common model against the site's own simple one, and with intervals that hold here."""
        simple = forecast.train(
            self.data, dataclasses.replace(self.plan.options, network="none"), self.plan.seed, course.part(0.0, 0.5)
        )
        course.at(0.5, "contest")
        model = forecast_model.model_of(common)
        scale = {"mean": model.scaler.mean[0], "deviation": model.scaler.deviation[0]}
        self._scale(Step("", 0, scale))
        model = dataclasses.replace(model, scaler=self._scaler(**scale))
        verdict, losses = self._judged(simple, ModelFile(common.manifest, model.tensors()))
        held = self._held_all
        _, quantiles = model.bare(held.seen)
        margins = margin(excess(quantiles[..., 0], quantiles[..., -1], held.ahead), COVERED)  # (H, C)
        rows = model.scaler.scaled(self._rows())
        fitted = dataclasses.replace(
            model, margins=np.where(np.isfinite(margins), margins, 0.0),
            range=np.stack([np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)]),
        )  # fmt: skip
        told = {"site_loss": losses[1], "own_simple_loss": losses[0],
                "site_contest": verdict.reason if verdict else "too little was held out for a contest"}  # fmt: skip
        manifest = dataclasses.replace(
            common.manifest, units=self.data.units or common.manifest.units, data_hash=self.data.hash(), code=CODE,
            metrics={**common.manifest.metrics, **told}, parent=common.hash,
        )  # fmt: skip
        return Own(ModelFile(manifest, fitted.tensors()), simple, verdict, losses, self.plan.options)

    def _judged(self, simple: ModelFile, common: ModelFile) -> tuple[Verdict | None, tuple[float, float]]:
        """On the second half of what was held out, which no weights were chosen by; block by block."""
        o, records = self.plan.options, []
        for record, (a, b) in zip(self.data.records, self._cuts, strict=True):
            records.append(record.between(max(0, (a + b) // 2 - o.lookback), b))
        first, second = rivals.forecasts([simple, common], dataclasses.replace(self.data, records=tuple(records)))
        units = [u for u in first if np.isfinite(first[u]) and np.isfinite(second[u])]
        pairs = np.array([(first[u], second[u]) for u in units]).reshape(-1, 2)
        if not len(pairs):
            return None, (math.nan, math.nan)
        losses = float(pairs[:, 0].mean()), float(pairs[:, 1].mean())
        return (judge(pairs[:, 0], pairs[:, 1]) if len(pairs) >= UNITS_MIN else None), losses


def _fitting(plan: Plan, data: DataSet) -> DataSet:
    known = dict(zip(plan.columns, plan.units, strict=False))
    for name, unit in zip(data.columns, data.units, strict=False):
        if unit and known.get(name) and known[name] != unit:
            raise WrongUnit(f"{name} is in {unit}, the federation has it in {known[name]}", "convert it")
    some = data.having(plan.columns)
    rows = plan.options.rows
    if not rows:
        return some
    return dataclasses.replace(some, records=tuple(r.between(0, rows) for r in some.records))


def _network(step: Step) -> Forecaster:
    return Forecaster.from_tensors(
        {n: np.array(t, np.float32) for n, t in step.tensors.items() if n.startswith("net.")}, LEVELS
    )


def _key(step: Step) -> str:
    digest = hashlib.sha256(f"{step.kind} {step.n}".encode())
    for name in sorted(step.tensors):
        digest.update(name.encode() + np.ascontiguousarray(step.tensors[name]).tobytes())
    return digest.hexdigest()
