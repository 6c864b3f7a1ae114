"""Federated training as who coordinates it sees it: which sum is asked next and what becomes of it; no data, no sockets.

A step asks every site for numbers of a fixed shape and goes on with their sum alone. First come the sums of the ridge,
exactly those of the pooled data; then the network by federated averaging from the ridge on (McMahan et al., "Communication-
efficient learning of deep networks from decentralized data", AISTATS 2017); updates are clipped and sites' weights capped
as in McMahan et al., "Learning differentially private recurrent language models", ICLR 2018, and the clip follows the
median norm (Andrew et al., "Differentially private learning with adaptive clipping", NeurIPS 2021).
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ml.contest import Verdict, judged
from ml.forecast import ForecastOptions
from ml.forecast_model import LEVELS, TASK, ForecastModel
from ml.forecaster import Forecaster
from ml.model_file import CODE, Manifest, ModelFile
from ml.ridge import PENALTIES, PULLS, Ridge, Sums
from ml.scaling import STEADY, Scaler
from ml.training import seeded
from twin.errors import BadRequest, Refused

SITES_MIN = 3  # of masked sums: of two sites, each knows the other's part
SITES_MAX = 100
NUMBERS_MAX = 3_000_000  # of a step: 48 MB a message
EDGES: NDArray[np.float64] = 2.0 ** np.arange(-10, 10.25, 0.25)  # of the norms of updates, a fifth apart
CLASSES: NDArray[np.float64] = np.arange(-20, 20.5, 0.5)  # of scaled values, by which sites tell how far theirs reach
SLACK = 1.02  # of a norm: float32 and rounding
Array = NDArray[np.float64]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What all sites train together.

    Attributes:
        columns, units: of every site's data; a unit "" is not known.
        rounds: of the network; 0: the ridge only. steps: batches that a site learns from in a round.
        clip: largest L2 norm of a site's update; 0: the median of the norms in the round before.
        noise: spread of the Gaussian noise in the sum of updates, in clips; the sites share in it.
        scaling: `site`: each site's columns by its own mean and spread, for machines of other sizes at other levels; `common`:
            by those of all sites together, as if the data were pooled.
        windows_max: windows above which a site's weight grows no more.
        secure: sums are masked, so that nobody sees a single site's part.
        sites_min: with fewer there is no step.
    """

    columns: tuple[str, ...]
    units: tuple[str, ...] = ()
    options: ForecastOptions = field(default_factory=ForecastOptions)
    rounds: int = 10
    steps: int = 30
    clip: float = 0.0
    noise: float = 0.0
    windows_max: int = 10_000
    scaling: Literal["site", "common"] = "site"
    seed: int = 1
    secure: bool = True
    sites_min: int = SITES_MIN

    def __post_init__(self) -> None:
        limits = {
            "rounds": (0, 1_000),
            "steps": (1, 10_000),
            "clip": (0, 1e6),
            "noise": (0, 1e3),
            "windows_max": (1, 1e9),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise BadRequest(f"{name} {getattr(self, name)}", f"{low:g} … {high:g}")
        if self.options.network == "recurrent":
            raise BadRequest("sites average the network window only, not recurrent", "network=window or none")
        if self.scaling not in ("site", "common"):
            raise BadRequest(f"scaling {self.scaling!r}", "site or common")
        fewest = SITES_MIN if self.secure else 2
        if not fewest <= self.sites_min <= SITES_MAX:
            why = (
                "of two sites, each would know the other's part; see --open"
                if self.secure
                else "one site has no others"
            )
            raise BadRequest(f"{self.sites_min} sites", f"{fewest} … {SITES_MAX}: {why}")
        if (
            not self.columns
            or len(set(self.columns)) != len(self.columns)
            or len(self.units) not in (0, len(self.columns))
        ):
            raise BadRequest(
                f"columns {self.columns}, units {self.units}", 'name each column once, a unit or "" for each'
            )
        most = max(size(shapes(self, kind)) for kind in KINDS)
        if most > NUMBERS_MAX:
            raise BadRequest(f"{most:,} numbers in a step", f"at most {NUMBERS_MAX:,}: fewer columns, or look less far")

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps([CODE, dataclasses.asdict(self)], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Step:
    """What is asked of every site.

    Attributes:
        n: of the network's rounds, from 1; 0 before. tensors: what it needs for it. clip: of an update.
    """

    kind: str
    n: int
    tensors: Mapping[str, NDArray[Any]]
    clip: float = 0.0


KINDS = ("mean", "spread", "ridge", "penalty", "pull", "norms", "train", "score", "contest", "errors")


def shapes(plan: Plan, kind: str) -> Shapes:
    """Names and shapes of what a site gives."""
    c, rows, horizon = len(plan.columns), plan.options.lookback + 1, plan.options.horizon
    match kind:
        case "mean":
            return {"count": (c,), "sum": (c,)}
        case "spread":
            return {"squares": (c,)}
        case "ridge":
            return {"xx": (c, rows, rows), "xy": (c, rows, horizon), "count": (1,)}
        case "penalty":
            return {"squares": (len(PENALTIES),), "count": (1,)}
        case "pull":
            return {"squares": (len(PULLS),), "count": (1,)}
        case "norms":
            return {"norms": (len(EDGES),)}
        case "train":
            return {"weight": (1,), "norms": (len(EDGES),), "update": (_numbers(plan),)}
        case "contest":
            return {"units": (1,), "gain": (1,), "squares": (1,)}
        case "errors":
            return {"weight": (1,), "quantiles": (horizon, c, len(LEVELS)), "reach": (c, len(CLASSES) - 1)}
        case _:
            return {}  # score: the loss that goes with every part is all


def size(wanted: Shapes) -> int:
    return sum(math.prod(shape) for shape in wanted.values())


def packed(wanted: Shapes, parts: Mapping[str, Array]) -> Array:
    """All numbers in a row."""
    return np.concatenate([np.empty(0), *(np.asarray(parts[name], np.float64).reshape(-1) for name in wanted)])


def unpacked(wanted: Shapes, numbers: Array) -> dict[str, Array]:
    found, begin = {}, 0
    for name, shape in wanted.items():
        found[name] = numbers[begin : begin + math.prod(shape)].reshape(shape)
        begin += math.prod(shape)
    return found


def flat(state: Mapping[str, Any]) -> Array:
    """Weights of a network in a row, by name."""
    return np.concatenate([np.asarray(state[name], np.float64).reshape(-1) for name in sorted(state)])


def restored(numbers: Array, like: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    wanted = {name: tuple(like[name].shape) for name in sorted(like)}
    return {name: part.astype(np.float32) for name, part in unpacked(wanted, numbers).items()}


def clipped(update: Array, clip: float) -> Array:
    """No longer than `clip`."""
    norm = float(np.linalg.norm(update))
    return update if norm <= clip else update * (clip / norm)


def weight_of(plan: Plan, windows: int) -> float:
    """Of a site, in (0, 1]."""
    return min(windows, plan.windows_max) / plan.windows_max


def scaler_of(mean: Array, deviation: Array) -> Scaler:
    return Scaler((), np.zeros((1, 0)), np.ones(0), mean[None], deviation[None])


def _numbers(plan: Plan) -> int:
    rows, horizon = plan.options.lookback + 1, plan.options.horizon
    made = Forecaster(torch.zeros(1, rows, horizon))
    shared = sum(p.numel() for name, p in made.named_parameters() if name not in ("linear", "bias", "embedding.weight"))
    return shared + len(plan.columns) * (rows * horizon + 4)


class Training:
    """Where a federated training stands; every `take` of a step's sum brings it to the next step.

    Args:
        kept: tensors of an earlier one, as `tensors` gave them; `told` as `told` was.
    """

    def __init__(
        self, plan: Plan, kept: Mapping[str, NDArray[Any]] | None = None, told: Mapping[str, Any] | None = None
    ) -> None:
        self.plan = plan
        self._kept: dict[str, NDArray[Any]] = dict(kept or {})
        self.told: dict[str, Any] = {
            "kind": "mean",
            "n": 0,
            "clip": plan.clip,
            "best": None,
            "losses": [],
            **copy.deepcopy(dict(told or {})),
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All that it knows so far."""
        return dict(self._kept)

    @property
    def done(self) -> bool:
        return bool(self.told["kind"] == "done")

    @property
    def share(self) -> float:
        """Of the steps that are behind."""
        order = (*KINDS, "done")
        rounds = self.told["n"] if order.index(self.told["kind"]) <= order.index("train") else self.plan.rounds
        return (order.index(self.told["kind"]) + rounds) / (len(order) - 1 + self.plan.rounds)

    def step(self) -> Step:
        """What is asked next."""
        kind, k = self.told["kind"], self._kept
        scale: dict[str, NDArray[Any]] = {name: t for name, t in k.items() if name in ("mean", "deviation")}
        match kind:
            case "penalty" | "pull":
                return Step(kind, 0, {**scale, "candidates": np.stack([m.weights for m in self._candidates()])})
            case "norms" | "train" | "score" | "contest":
                names = ("ridge",) if kind == "contest" else ()
                net = {name: t for name, t in k.items() if name.startswith("net.")}
                return Step(kind, self.told["n"], {**scale, **net, **{n: k[n] for n in names}}, self.told["clip"])
            case "errors":
                return Step(kind, 0, {**scale, "ridge": k["ridge"]})
            case _:
                return Step(kind, 0, scale)

    def take(self, numbers: Array, losses: Mapping[str, float]) -> str:
        """Go on with the sum of all sites' parts; says what came of it, for people.

        Args:
            losses: of each site on what it held out, before this step.

        Raises:
            BadRequest: the data cannot be learned from. Refused: the sum is none that honest sites make.
        """
        kind = self.told["kind"]
        parts = unpacked(shapes(self.plan, kind), numbers)
        words: str = getattr(self, f"_take_{kind}")(parts, losses)
        return words

    # --- ridge -------------------------------------------------------------------------------------------------------

    def _take_mean(self, parts: Mapping[str, Array], _: Mapping[str, float]) -> str:
        empty = [name for name, count in zip(self.plan.columns, parts["count"], strict=True) if count < 1]
        if empty:
            raise BadRequest(f"{', '.join(empty)}: no site has enough values", "leave the column out")
        self._kept |= {"count": parts["count"], "mean": parts["sum"] / parts["count"]}
        return self._next("spread", f"means of {parts['count'].max():.0f} rows")

    def _take_spread(self, parts: Mapping[str, Array], _: Mapping[str, float]) -> str:
        deviation = np.sqrt(np.maximum(parts["squares"], 0.0) / self._kept["count"])
        still = deviation <= STEADY * np.maximum(1.0, np.abs(self._kept["mean"]))
        if still.any():
            names = ", ".join(n for n, s in zip(self.plan.columns, still, strict=True) if s)
            raise BadRequest(f"{names} never moves at any site", "leave it out")
        self._kept["deviation"] = deviation
        return self._next("ridge", "spreads")

    def _take_ridge(self, parts: Mapping[str, Array], _: Mapping[str, float]) -> str:
        self._kept |= {"xx": parts["xx"], "xy": parts["xy"]}
        self.told["windows"] = round(float(parts["count"][0]))
        return self._next("penalty", f"sums of {self.told['windows']} windows")

    def _take_penalty(self, parts: Mapping[str, Array], _: Mapping[str, float]) -> str:
        self.told["penalty"] = PENALTIES[self._best(parts)]
        return self._next("pull", f"penalty {self.told['penalty']:g}")

    def _take_pull(self, parts: Mapping[str, Array], _: Mapping[str, float]) -> str:
        best = self._best(parts)
        self.told["pull"] = repr(float(PULLS[best]))  # inf is no JSON
        self.told["ridge_mse"] = float(parts["squares"][best] / parts["count"][0])
        self._kept["ridge"] = self._candidates()[best].weights
        for name in ("xx", "xy"):
            del self._kept[name]
        words = f"ridge, held-out error {self.told['ridge_mse']:.4f}"
        if not self.plan.rounds or self.plan.options.network == "none":
            return self._next("errors", words)
        seeded(self.plan.seed)
        net = Forecaster(torch.from_numpy(self._kept["ridge"].astype(np.float32)))
        self._kept |= net.tensors()
        self.told["n"] = 1
        return self._next("train" if self.plan.clip else "norms", words)

    def _best(self, parts: Mapping[str, Array]) -> int:
        return int(np.argmin(parts["squares"]))

    def _candidates(self) -> list[Ridge]:
        sums = Sums(self._kept["xx"], self._kept["xy"])
        if self.told["kind"] == "penalty":
            return [sums.ridge(penalty, np.inf) for penalty in PENALTIES]
        return [sums.ridge(self.told["penalty"], pull) for pull in PULLS]

    # --- network -----------------------------------------------------------------------------------------------------

    def _take_norms(self, parts: Mapping[str, Array], _: Mapping[str, float]) -> str:
        self.told["clip"] = median_norm(parts["norms"])
        return self._next("train", f"updates are clipped to {self.told['clip']:.3g}")

    def _take_train(self, parts: Mapping[str, Array], losses: Mapping[str, float]) -> str:
        n, clip, weight = self.told["n"], self.told["clip"], float(parts["weight"][0])
        self.checked(parts["update"], weight, clip, len(losses))
        words = f"round {n} of {self.plan.rounds}, {self._scored(losses)}"
        net = {name: t for name, t in self._kept.items() if name.startswith("net.")}
        self._kept |= restored(flat(net) + parts["update"] / weight, net)
        if not self.plan.clip:
            self.told["clip"] = median_norm(parts["norms"])
        self.told["n"] = min(n + 1, self.plan.rounds)
        return self._next("train" if n < self.plan.rounds else "score", words)

    def checked(self, update: Array, weight: float, clip: float, sites: int) -> None:
        """
        Raises:
            Refused: the weight or the length is none of updates that were clipped.
        """
        noise = 2 * self.plan.noise * clip * math.sqrt(len(update))  # twice what chance makes of so many numbers
        if not 0 < weight <= sites * SLACK or float(np.linalg.norm(update)) > (weight * clip * SLACK + noise):
            raise Refused("a site's update is longer than the clip", "nobody can tell whose it is: see --open")

    def _scored(self, losses: Mapping[str, float]) -> str:
        """Keep these weights if they are the best so far."""
        mean = float(np.mean(list(losses.values())))
        best = self.told["best"]
        self.told["losses"].append(mean)
        if best is None or mean < best["mean"]:
            self.told["best"] = {"mean": mean, "round": len(self.told["losses"]) - 1, "sites": dict(losses)}
            self._kept |= {f"best.{name[4:]}": t for name, t in self._kept.items() if name.startswith("net.")}
        return f"loss {mean:.4f}"

    def _take_score(self, parts: Mapping[str, Array], losses: Mapping[str, float]) -> str:
        words = self._scored(losses)
        self._kept |= {f"net.{name[5:]}": t for name, t in self._kept.items() if name.startswith("best.")}
        return self._next("contest", f"{words}; the best is that after {self.told['best']['round']} rounds")

    def _take_contest(self, parts: Mapping[str, Array], _: Mapping[str, float]) -> str:
        try:
            verdict = _verdict(*(float(parts[name][0]) for name in ("units", "gain", "squares")))
        except BadRequest as error:
            self.told["contest"], self.told["network"] = f"no contest: {error}", False
        else:
            self.told["contest"], self.told["network"] = verdict.reason, verdict.better
        return self._next("errors", f"network against ridge: {self.told['contest']}")

    def _take_errors(self, parts: Mapping[str, Array], _: Mapping[str, float]) -> str:
        self._kept["errors"] = np.sort(parts["quantiles"] / parts["weight"][0], axis=-1)
        some = parts["reach"] > 0.5  # (C, K)
        last = some.shape[1] - some[:, ::-1].argmax(axis=1)
        self._kept["range"] = np.stack([CLASSES[some.argmax(axis=1)], CLASSES[last]])
        return self._next("done", "quantiles")

    def _next(self, kind: str, words: str) -> str:
        self.told["kind"] = kind
        return words

    # --- result ------------------------------------------------------------------------------------------------------

    def result(self, sites: Sequence[str], step_s: float = 0.0) -> ModelFile:
        """The model that all sites made; each site fits its intervals to itself. See `federated_site.own`."""
        k, plan = self._kept, self.plan
        net = {name: t for name, t in k.items() if name.startswith("net.")} if self.told.get("network") else {}
        network = Forecaster.from_tensors(net, LEVELS) if net else None
        spread = k["errors"]
        model = ForecastModel(
            scaler_of(k["mean"], k["deviation"]),
            Ridge(k["ridge"]),
            network,
            None,
            spread,
            np.zeros(spread.shape[:2]),
            k["range"],
        )
        best = self.told["best"] or {}
        settings = {**dataclasses.asdict(plan.options), "levels": list(LEVELS), "step_s": step_s, "federated": {
            "sites": sorted(sites), "rounds": plan.rounds, "steps": plan.steps, "clip": plan.clip or "median norm",
            "noise": plan.noise, "windows_max": plan.windows_max, "secure": plan.secure,
        }}  # fmt: skip
        metrics = {
            "held_out_mse": self.told["ridge_mse"], "penalty": self.told["penalty"], "pull": self.told["pull"],
            "windows": self.told["windows"], **{n: self.told[n] for n in ("contest", "network") if n in self.told},
            **({"held_out_loss": best["mean"], "round": best["round"], "sites": best["sites"]} if best else {}),
        }  # fmt: skip
        manifest = Manifest(
            "forecaster" if network else "ridge", TASK, json.loads(json.dumps(settings)), plan.columns,
            plan.units or ("",) * len(plan.columns), "", "", CODE, plan.seed, metrics,
        )  # fmt: skip
        return ModelFile(manifest, model.tensors())


def median_norm(counts: Array) -> float:
    """The edge below which at least half of the norms lie."""
    behind = np.cumsum(counts)
    return float(EDGES[int(np.searchsorted(behind, behind[-1] / 2))])


def norm_counts(norm: float) -> Array:
    """One in the place of the first edge that is not below."""
    found = np.zeros(len(EDGES))
    found[min(int(np.searchsorted(EDGES, norm)), len(EDGES) - 1)] = 1.0
    return found


def _verdict(units: float, gain: float, squares: float) -> Verdict:
    count = round(units)
    mean = gain / max(count, 1)
    return judged(mean, math.sqrt(max(0.0, squares - count * mean**2) / max(count - 1, 1)), count)
