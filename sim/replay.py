"""Runs a result's question again from what the result carries, and says what differs; must not know files or screens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from sim.experiment import answer
from sim.job import Job
from sim.layout_job import layout_job
from sim.layout_record import restored
from sim.plant_job import plant_job, snapshot_of_base
from sim.question import Precision, Question
from sim.result import Goal, Result, Sense
from sim.runner import Runner
from sim.scenario import Intervention, Scenario, Verb, parse_limit
from twin.errors import BadRequest
from twin.plant import Plant

DIFFERENCES_MAX = 20  # values named one by one: more say no more
SHOWN_MAX = 40  # letters of a value
FREE = frozenset({"wall_s", "backend", "why", "versions"})


@dataclass(frozen=True, slots=True)
class Replay:
    """A question asked again.

    Attributes:
        same: everything that the result says, bit for bit; FREE says how it was run.
        differences: by their place; versions may differ where the bits do not.
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
        versions = content["versions"].items()
    except (AttributeError, KeyError, TypeError, ValueError) as missing:
        raise BadRequest(
            f"this is no result of a what-if: {missing!r}", "give a file that whatif --json wrote"
        ) from None
    made = answer(job, asked, runner)
    again = json.loads(json.dumps(made.to_json()))  # enums and tuples as a file has them
    if not all((content.get("kernel_hash"), again["kernel_hash"])):
        again["kernel_hash"] = content.get("kernel_hash")  # SimPy has no kernel, and the same bits
    found = tuple(islice(_differences(content, again), DIFFERENCES_MAX))
    return Replay(made, not found, (*_versions(dict(versions), again["versions"]), *found))


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
    steps = (Intervention(i["at_s"], i["point"], i["value"], Verb(i["verb"]), i["ends"]) for i in each["interventions"])
    return Scenario(each["name"], tuple(steps))


def _differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Every value that is not the same to the last bit, by its place in the result."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            if place or key not in FREE:
                yield from _differences(old.get(key), new.get(key), f"{place}.{key}" if place else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        inner = (_differences(then, now, f"{place}.{n}") for n, (then, now) in enumerate(zip(old, new, strict=True)))
        rows = bool(old) and isinstance(old[0], Mapping)
        yield from islice(chain.from_iterable(inner), None if rows else 1)  # of a curve the first place says enough
    elif old != new or type(old) is not type(new):
        yield f"{place}: {_short(old)} then, {_short(new)} now"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def _versions(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name, 'none')} then, {new.get(name, 'none')} now"
