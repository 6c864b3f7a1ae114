"""Runs a result's question again from what the result carries, and says what differs; must not know files or screens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.experiment import answer
from sim.job import Job
from sim.layout_job import layout_job
from sim.layout_record import restored
from sim.plant_job import plant_job, snapshot_of_base
from sim.question import Precision, Question
from sim.result import Goal, Result, Sense, digest
from sim.runner import Runner
from sim.scenario import Intervention, Scenario, Verb, parse_limit
from twin.errors import BadRequest
from twin.plant import Plant

DIFFERENCES_MAX = 20  # figures named one by one: more say no more
HASHES = ("state_hash", "model_hash", "kernel_hash")


@dataclass(frozen=True, slots=True)
class Replay:
    """A question asked again.

    Attributes:
        same: bit for bit.
        differences: of hashes, versions and figures, in words; versions may differ where the bits do not.
    """

    result: Result
    same: bool
    differences: tuple[str, ...]


def replay(content: Mapping[str, Any], runner: Runner, plant: Plant | None = None, backend: str = "auto") -> Replay:
    """The question of a result, as its `to_json` wrote it, answered again.

    Args:
        plant: where the result started from one.
        backend: as `sim.backend.choose` takes it; both give the same bits.

    Raises:
        BadRequest: it is no result, its plant is not given or is another, or what it needs is not there any more.
    """
    try:
        asked = _asked(content["question"])
        job = _job(content, asked, plant, backend)
    except (KeyError, TypeError, ValueError) as missing:
        raise BadRequest(
            f"this is no result of a what-if: {missing!r}", "give a file that whatif --json wrote"
        ) from None
    made = answer(job, asked, runner)
    again = made.to_json()
    same = digest(again) == digest(content)
    return Replay(made, same, tuple(_differences(content, again, same)))


def is_of_plant(content: Mapping[str, Any]) -> bool:
    """Whether a plant is needed to run it again."""
    return "plant" in content.get("base", {})


def _job(content: Mapping[str, Any], asked: Question, plant: Plant | None, backend: str) -> Job:
    q, base = content["question"], content["base"]
    scenarios = [_scenario(each) for each in q["scenarios"]]
    if not is_of_plant(content):
        return layout_job(
            restored(base["layout"]), scenarios, horizon_s=q["horizon_s"], seed=q["seed"],
            sample_every_s=q["sample_every_s"], outputs=q["outputs"], kpis=asked.named, limits=asked.limits,
            backend=backend,
        )  # fmt: skip
    if plant is None:
        raise BadRequest(f"the result is of plant {base['plant']!r}", "name its folder with --plant")
    return plant_job(
        plant, snapshot_of_base(plant, base), scenarios, asked, outputs=q["outputs"], horizon_s=q["horizon_s"],
        sample_every_s=q["sample_every_s"], seed=q["seed"], backend=backend,
    )  # fmt: skip


def _asked(q: Mapping[str, Any]) -> Question:
    precision = None if q["precision"] is None else Precision(**q["precision"])
    goal = None if q["goal"] is None else Goal(q["goal"][0], Sense(q["goal"][1]))
    limits = tuple(parse_limit(text) for text in q["limits"])
    return Question(q["replications"], precision, tuple(q["kpis"]), limits, goal, q["confidence"])


def _scenario(each: Mapping[str, Any]) -> Scenario:
    steps = (Intervention(i["at_s"], i["point"], i["value"], Verb(i["verb"])) for i in each["interventions"])
    return Scenario(each["name"], tuple(steps))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], same: bool) -> list[str]:
    found = [f"{name}: {old[name][:12]} then, {new[name][:12]} now" for name in HASHES if _differ(old, new, name)]
    versions = {**old["versions"], **new["versions"]}
    for name in versions:
        then, now = old["versions"].get(name, "none"), new["versions"].get(name, "none")
        if then != now:
            found.append(f"{name}: {then} then, {now} now")
    return found if same else [*found, *_figures(old, new)]


def _differ(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> bool:
    """Another backend has no kernel, and the same bits."""
    return old[name] != new[name] and (name != "kernel_hash" or all((old[name], new[name])))


def _figures(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if old["replications"] != new["replications"]:
        return [f"replications: {old['replications']} then, {new['replications']} now"]
    found = []
    for then, now in zip(old["outcomes"], new["outcomes"], strict=True):
        for name, figure in then["kpis"].items():
            mean = now["kpis"].get(name, {"mean": math.nan})["mean"]
            if mean != figure["mean"]:
                found.append(f"{then['name']}, {name}: {figure['mean']!r} then, {mean!r} now")
    return found[:DIFFERENCES_MAX] or ["quantiles, intervals or probabilities over time"]
