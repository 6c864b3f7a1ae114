"""Anomaly detection: detectors trained on good data, a limit that is set before anything is scored, and how they are judged.

Good data are the first rows of each record, or all. Detectors are fitted on the earlier part of them; the later part says
how far good data wander from there, and gives the limit. Then they are fitted again on all of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.anomaly_pca import Pca
from ml.anomaly_planted import planted
from ml.anomaly_residual import Residual, Shape
from ml.anomaly_statistic import Statistic
from ml.anomaly_watch import Verdicts, Watch
from ml.contest import Verdict, judge
from ml.intervals import margin
from ml.model_file import CODE, Manifest, ModelFile
from ml.records import DataSet, constant, split_time
from ml.scaling import CONDITIONS_MAX, fit_scaler
from ml.scores import flagged, ranked, volume
from ml.training import Course
from ml.trial import Seed, Trial
from twin.errors import BadRequest
from twin.nearest import nearest

CHAMPION = "pca"
COLUMNS_MAX = 256  # a covariance of more needs more good data than there ever are
WEIGHTS_MAX = 30_000_000  # of all devices' forecasts together: 240 MB
NAMED_MAX = 10  # devices that a protocol names
GOOD_MIN = 120  # rows of each record: 75 to fit, 45 to see how good data wander
CONTEST = 0.4  # of the good rows, at their end, into which anomalies are planted
Array = NDArray[np.float64]
Part = Pca | Residual


@dataclass(frozen=True, slots=True)
class AnomalyOptions:
    """
    Attributes:
        kind: pca (the champion), ridge (forecast residuals), both (their mean), all three in closed form; network (both,
            the forecast with a small network).
        label: column that says what was anomalous (over 0.5); never learnt from. A data set need not have it.
        good_rows: of each record, from its start, taken as good, 120 or more; 0: all.
        false_alarms: share of held-out good samples over the limit, 0.0001 … 0.5.
        memory: samples of the exponentially weighted mean, 1 … 10,000; longer sees smaller shifts, later.
        window: samples a forecast is made of, 1 … 100.
        fleet_rows: rows of a device's own that the fleet's forecast counts for, 1 … 1,000,000: the more, the more alike
            devices are taken to be.
        gap: usual steps of time without a sample after which the memory begins anew, 2 … 1,000,000.
        settings: columns that tell the operating condition. conditions: how many there are, 1 … 24.
        hidden: width of the network, 1 … 1024.
        held: share of the good rows, at their end, that the limit is made of, 0.1 … 0.6.
        buffer: samples beside an event in which alarms still count for something in VUS-PR, 0 … 1000.
        development: devices on which settings were chosen; the trial tells its figures without them, too.
    """

    kind: str = "both"
    label: str = "anomaly"
    good_rows: int = 400
    false_alarms: float = 0.05
    memory: int = 60
    window: int = 8
    fleet_rows: int = 300
    gap: int = 120
    settings: tuple[str, ...] = ()
    conditions: int = 1
    hidden: int = 32
    held: float = 0.375
    buffer: int = 100
    development: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadRequest(f"no anomaly detector {self.kind!r}", nearest(self.kind, KINDS))
        for name, low, high in BOUNDS:
            if not low <= getattr(self, name) <= high:
                raise BadRequest(f"{name} = {getattr(self, name)}", f"{low} … {high}")
        if (self.conditions > 1) != bool(self.settings):
            raise BadRequest(f"{self.conditions} conditions told by {len(self.settings)} columns", "both, or none")
        if 0 < self.good_rows < GOOD_MIN:
            raise BadRequest(f"good_rows = {self.good_rows}", f"{GOOD_MIN} or more, or 0 for all")


BOUNDS = (
    ("good_rows", 0, 100_000_000), ("false_alarms", 0.0001, 0.5), ("memory", 1, 10_000), ("window", 1, 100),
    ("fleet_rows", 1, 1_000_000), ("gap", 2, 1_000_000), ("conditions", 1, CONDITIONS_MAX),
    ("hidden", 1, 1024), ("held", 0.1, 0.6), ("buffer", 0, 1000),
)  # fmt: skip

KINDS = ("pca", "ridge", "both", "network")


def train(data: DataSet, options: AnomalyOptions, seed: int, course: Course) -> ModelFile:
    """A detector with its limit, from good data alone.

    Raises:
        BadRequest: too few good rows, a column that tells nothing, or too many columns. Cancelled.
    """
    good = _good(data, options)
    found = _fitted(good, options, seed, course)
    lists = {"development": list(options.development), "settings": list(options.settings)}
    settings = {**asdict(options), **lists, "devices": list(good.devices), "step_s": good.step_s}
    metrics = {"held_out_false_alarms": options.false_alarms, "limit": found.limit}
    manifest = Manifest(
        options.kind, "anomaly", settings, good.columns, good.units, good.hash(), "", CODE, seed, metrics
    )
    return ModelFile(manifest, found.tensors())


def detector(model: ModelFile) -> Watch:
    """
    Raises:
        BadRequest: the model is none for anomalies.
    """
    if model.manifest.task != "anomaly" or model.manifest.kind not in KINDS:
        raise BadRequest(f"a {model.manifest.kind} for {model.manifest.task} finds no anomalies", "train anomaly")
    return Watch.from_tensors(model.manifest.settings["devices"], model.tensors)


def scored(model: ModelFile, data: DataSet) -> tuple[Verdicts, ...]:
    """The verdicts on each record, sample by sample.

    Raises:
        BadRequest: a column that the model needs is missing.
    """
    found, told = detector(model), data.having(model.manifest.columns)
    for name, trained, given in zip(told.columns, model.manifest.units, told.units, strict=False):
        if trained and given and trained != given:
            raise BadRequest(f"{name} is in {given}, the model knows it in {trained}", "convert it")
    return tuple(found.verdicts(r.device, r.values, r.time_s) for r in told.records)


def evaluate(data: DataSet, options: AnomalyOptions, seeds: Sequence[int], course: Course) -> Trial:
    """Detectors trained on the first rows of each record and judged on all the others.

    Raises:
        BadRequest: there is no label, or no row after the good ones. Cancelled.
    """
    if options.label not in data.columns:
        raise BadRequest(
            f"no column {options.label!r} says what was anomalous",
            nearest(options.label, data.columns) or "name it by its label; without labels, train and score only",
        )
    if not options.good_rows:
        raise BadRequest("good_rows = 0 leaves nothing to judge on", "say how many rows of each record are good")
    data, without = _labelled(data, options)
    truth = _truth(data, options)
    floor = judged(
        train(data, replace(options, kind=CHAMPION), 0, course.part(0.0, 0.1, CHAMPION)), data, truth, options
    )
    found: list[Seed] = []
    for k, seed in enumerate(seeds):
        started = time.perf_counter()
        here = course.part(0.1 + 0.9 * k / len(seeds), 0.1 + 0.9 * (k + 1) / len(seeds), f"seed {seed}")
        figures, raw = judged(train(data, options, seed, here), data, truth, options)
        found.append(Seed(seed, figures, time.perf_counter() - started, raw))
    everything = np.concatenate(truth)
    told = {**floor[0], "f1 of flagging everything": flagged(np.ones(len(everything), bool), everything).f1}
    return Trial("anomaly", options.kind, "", _protocol(data, options, without), found, told, CHAMPION)


def contest(data: DataSet, champion: AnomalyOptions, challenger: AnomalyOptions, seed: int, course: Course) -> Verdict:
    """Whether the challenger ranks planted anomalies better, device by device, in good rows that neither was fitted on.

    Raises:
        BadRequest: too few good rows or devices. Cancelled.
    """
    good = _good(data, champion)
    early, late = split_time(good, CONTEST)
    rng = np.random.default_rng(seed)
    made = [planted(r.values, rng) for r in late.records]
    losses: list[Array] = []
    for k, options in enumerate((champion, challenger)):
        found = _fitted(early, options, seed, course.part(k / 2, (k + 1) / 2, options.kind))
        whole = [np.concatenate([r.values, v]) for r, (v, _) in zip(early.records, made, strict=True)]
        ranks = [
            _area(found.verdicts(e.device, v).score[len(e) :], t)
            for e, v, (_, t) in zip(early.records, whole, made, strict=True)
        ]
        losses.append(1.0 - np.array(ranks))
    return judge(losses[0], losses[1])


def judged(
    model: ModelFile, data: DataSet, truth: Sequence[NDArray[np.bool_]], options: AnomalyOptions
) -> tuple[dict[str, float], dict[str, Any]]:
    """Figures over the samples after the good rows, and what they were made of, by device. No verdict counts as good."""
    late = [(v.score[options.good_rows :], v.flagged[options.good_rows :]) for v in scored(model, data)]
    rows = [
        {"device": record.device, **_counts(*v, t, options.buffer)}
        for record, v, t in zip(data.records, late, truth, strict=True)
    ]
    figures = _figures(rows)
    unseen = [row for row in rows if row["device"] not in options.development]
    if options.development and unseen:
        figures |= {f"{name} (unseen)": value for name, value in _figures(unseen).items()}
    return figures, {"records": rows, "limit": float(model.manifest.metrics["limit"])}


def _counts(score: Array, flags: NDArray[np.bool_], truth: NDArray[np.bool_], buffer: int) -> dict[str, float]:
    return {
        "hit": int((flags & truth).sum()), "wrong": int((flags & ~truth).sum()),
        "missed": int((~flags & truth).sum()), "quiet": int((~flags & ~truth).sum()),
        "area": _area(score, truth), "vus_pr": volume(_ranking(score), truth, buffer),
    }  # fmt: skip


def _ranking(score: Array) -> Array:
    """No verdict ranks below every verdict: it was not flagged."""
    return np.where(np.isfinite(score), score, -np.inf)


def _area(score: Array, truth: NDArray[np.bool_]) -> float:
    return ranked(_ranking(score), truth)


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    hit, wrong, missed, quiet = (sum(r[name] for r in rows) for name in ("hit", "wrong", "missed", "quiet"))
    areas, volumes = [r["area"] for r in rows], [r["vus_pr"] for r in rows]
    return {
        "f1": _share(2 * hit, 2 * hit + wrong + missed), "false_alarms": _share(wrong, wrong + quiet),
        "missed": _share(missed, hit + missed), "file_area": _mean(areas), "vus_pr": _mean(volumes),
    }  # fmt: skip


def _share(part: int, whole: int) -> float:
    """NaN of nothing: no anomaly at all is not one that was found."""
    return part / whole if whole else float("nan")


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")


def _good(data: DataSet, options: AnomalyOptions) -> DataSet:
    """What is learnt from, checked."""
    bare = data.having([name for name in data.columns if name != options.label])
    if not 1 <= len(bare.columns) <= COLUMNS_MAX:
        raise BadRequest(f"{len(bare.columns)} columns of numbers", f"1 … {COLUMNS_MAX}, beside the label")
    if not bare.records:
        raise BadRequest("no record at all", "give at least one")
    good = replace(bare, records=tuple(r.between(0, options.good_rows or len(r)) for r in bare.records))
    for record in good.records:
        known = int(np.isfinite(record.values).any(axis=1).sum())
        if known < GOOD_MIN:
            raise BadRequest(
                f"{record.device}: {known} good rows with a value", f"{GOOD_MIN} or more; or leave the device out"
            )
    still = constant(good)
    if still:
        raise BadRequest(f"{', '.join(still)}: no value, or always the same", f"--leave {','.join(still)}")
    return good


def _fitted(good: DataSet, options: AnomalyOptions, seed: int, course: Course) -> Watch:
    gap_s = options.gap * float(np.median(np.concatenate([np.diff(r.time_s) for r in good.records])))
    conditions = fit_scaler(good, options.settings, options.conditions, seed) if options.settings else None
    if conditions is not None:
        good = replace(good, records=tuple(replace(r, values=conditions.scaled(r.values)) for r in good.records))
    early, _ = split_time(good, options.held)
    columns = len(good.columns)
    bare = Statistic(np.ones(columns), np.zeros((columns, 0)), 1.0, 2.0 / (options.memory + 1))
    first = _parts(early, options, bare, seed, course.part(0.0, 0.5, "the earlier part of the good rows"))
    statistics: dict[str, Statistic] = {}
    scores: list[Array] = []
    for name, part in first.items():
        levels = np.concatenate([
            bare.smoothed(part.deviations(r.device, r.values))[len(e) :]
            for r, e in zip(good.records, early.records, strict=True)
        ])  # fmt: skip
        statistics[name] = Statistic.fit(levels, bare.pace)
        scores.append(statistics[name].judged(levels).score)
    score = np.mean(scores, axis=0)
    score = score[np.isfinite(score)]
    limit = float(margin(score, 1.0 - options.false_alarms))
    if not np.isfinite(limit):
        raise BadRequest(
            f"{len(score)} held-out samples cannot promise {options.false_alarms} false alarms",
            "more good rows, or more false alarms",
        )
    parts = _parts(good, options, bare, seed, course.part(0.5, 1.0, "all good rows"))
    return Watch({name: part.judging(statistics[name]) for name, part in parts.items()}, limit, gap_s, conditions)


def _parts(good: DataSet, options: AnomalyOptions, bare: Statistic, seed: int, course: Course) -> dict[str, Part]:
    """What a kind is made of, fitted, not yet knowing how good data wander."""
    course.at(0.0, options.kind)
    parts: dict[str, Part] = {}
    if options.kind != "ridge":
        parts["pca"] = Pca.fit(good, bare)
    if options.kind != "pca":
        inputs = options.window * len(good.columns)
        if (len(good.devices) + 1) * (inputs + 1) * len(good.columns) > WEIGHTS_MAX:
            raise BadRequest(
                f"{len(good.devices)} devices with a window of {options.window} × {len(good.columns)} columns each",
                "a shorter window, fewer columns or kind pca",
            )
        shape = Shape(options.window, options.hidden if options.kind == "network" else 0, options.fleet_rows)
        parts["residual"] = Residual.fit(good, shape, seed, course, bare)
    return parts


def _labelled(data: DataSet, options: AnomalyOptions) -> tuple[DataSet, tuple[str, ...]]:
    """The records that have a label at all, and the names of the others.

    Raises:
        BadRequest: there is none.
    """
    place = data.column(options.label)
    some = tuple(r for r in data.records if np.isfinite(r.values[:, place]).any())
    if not some:
        raise BadRequest(f"{options.label} is empty in every record", "0 or 1 in each row")
    return replace(data, records=some), tuple(r.device for r in data.records if r not in some)


def _truth(data: DataSet, options: AnomalyOptions) -> list[NDArray[np.bool_]]:
    place = data.column(options.label)
    short = [r.device for r in data.records if len(r) <= options.good_rows]
    if short:
        raise BadRequest(
            f"{short[0]} has no row after the first {options.good_rows}", "fewer good_rows, or leave the device out"
        )
    for record in data.records:
        unknown = np.flatnonzero(~np.isfinite(record.values[options.good_rows :, place]))
        if len(unknown):
            raise BadRequest(
                f"{record.device}, row {options.good_rows + unknown[0] + 1}: {options.label} is empty",
                "0 or 1 in each row",
            )
    return [r.values[options.good_rows :, place] > 0.5 for r in data.records]


def _protocol(data: DataSet, options: AnomalyOptions, without: Sequence[str]) -> str:
    words = (
        f"{len(data.records)} records; the first {options.good_rows} rows of each are the training part, labels unseen; "
        f"one model for all, scaled per record; the limit is preset: {options.false_alarms:.0%} of the last "
        f"{options.held:.0%} of the training rows, held out from the fit, lie over it. All other rows are scored sample by "
        f"sample, nothing point-adjusted; f1, false_alarms and missed over all scored rows together, file_area and vus_pr "
        f"(buffers up to {options.buffer}) as the mean over records."
    )
    if without:
        words += (
            f" Left out, for they have no label: {', '.join(without[:NAMED_MAX])}{', …' * (len(without) > NAMED_MAX)}."
        )
    if options.development:
        words += (
            f" Settings were chosen on {', '.join(options.development)}; figures named (unseen) leave these out, "
            "the others count them."
        )
    return words
