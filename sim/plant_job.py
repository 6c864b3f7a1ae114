"""From a plant, its state and a question to a job that can answer it: the checks of the model's kind; runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sim.beginning import Beginning, Shown
from sim.components.library import kernel_types
from sim.engine import ENERGY, WaterJob
from sim.job import Job
from sim.kpi import needed
from sim.layout_drafts import commands
from sim.layout_job import layout_job
from sim.layout_rows import read_layout_model
from sim.live import start, start_points
from sim.model import Model, read_model
from sim.question import Question
from sim.scenario import BASELINE, Intervention, Scenario, Verb
from sim.start import needed_points, start_state
from twin.columns import Snapshot
from twin.errors import BadRequest
from twin.nearest import nearest
from twin.plant import Plant
from twin.points import Point
from twin.schema import Enum
from twin.table import PointTable

HORIZON_MAX_S = 7 * 86_400.0  # beliefs of what comes to a plant say nothing useful past a week


def plant_job(
    plant: Plant,
    snapshot: Snapshot,
    scenarios: Sequence[Scenario],
    asked: Question,
    *,
    outputs: Sequence[str] | None,
    horizon_s: float,
    sample_every_s: float,
    seed: int,
    backend: str = "auto",
) -> Job:
    """
    Args:
        outputs: the model's own when None; what the question's figures and limits need is added.
        backend: as `sim.backend.choose` takes it, where the model is a layout.

    Raises:
        BadRequest: an unknown point or figure, a value out of range.
        Refused: the snapshot is not good enough to start from.
    """
    if not 0 < horizon_s <= HORIZON_MAX_S:
        raise BadRequest(f"horizon of {horizon_s:g} s", f"a positive time, at most {HORIZON_MAX_S:g} s")
    if plant.model.get("kind") == "layout":
        return _of_layout(plant, snapshot, scenarios, asked, outputs, horizon_s, sample_every_s, seed, backend)
    model = read_model(plant)
    start = start_state(plant, model, snapshot)
    followed = [*(model.outputs if outputs is None else outputs), *(x.point for x in asked.limits)]
    for name in followed:
        if name not in model.reads:
            raise BadRequest(f"the model does not tell {name!r}", nearest(name, model.reads))
    followed += needed(asked.named, (ENERGY,), tuple(model.reads)).outputs
    if horizon_s < model.step_s:
        raise BadRequest(f"horizon of {horizon_s:g} s", f"at least a step of the model, {model.step_s} s")
    outputs = tuple(dict.fromkeys(followed))
    job = WaterJob(
        model, start, (BASELINE, *scenarios), outputs, horizon_s, sample_every_s, seed, plant.id,
        {name: plant.point(name).unit for name in outputs},
        _base(plant, needed_points(plant, model), snapshot),
    )  # fmt: skip
    for scenario in job.scenarios:
        _check_scenario(plant, job, model, scenario)
    return job


def _of_layout(
    plant: Plant, snapshot: Snapshot, scenarios: Sequence[Scenario], asked: Question, outputs: Sequence[str] | None,
    horizon_s: float, sample_every_s: float, seed: int, backend: str,
) -> Job:  # fmt: skip
    model = read_layout_model(plant)
    begun = start(plant, model, snapshot, kernel_types(model.layout))
    scenarios = [_coded(plant, scenario) for scenario in scenarios]
    reads = {name: Shown(tie.target, 1 / tie.factor, tie.shown) for name, tie in model.reads.items()}
    begin = Beginning(
        plant.id, begun.hash, partial(begun.sample, seed), begun.taken_at, begun.clock_s, reads, model.sets, begun.settings
    )  # fmt: skip
    for scenario in scenarios:
        for step, told in zip(scenario.interventions, commands(scenario, model.sets, begun.settings), strict=True):
            if told is not None and told[0] == step.point:  # by its layout's name one may ask for more than there is
                _check_range(plant.point(told[0]), told[1], f"scenario {scenario.name!r}: {step.point}")
    return layout_job(
        model.layout, scenarios, horizon_s=horizon_s, seed=seed, sample_every_s=sample_every_s,
        outputs=model.outputs if outputs is None else outputs, kpis=asked.named, limits=asked.limits, begin=begin,
        model_hash=model.hash, units={name: plant.point(name).unit for name in reads}, backend=backend,
        base=_base(plant, start_points(plant, model), snapshot),
    )  # fmt: skip


def _coded(plant: Plant, scenario: Scenario) -> Scenario:
    """Names of the values of an enum as the codes that its point takes."""
    return replace(scenario, interventions=tuple(_coded_step(plant, scenario, s) for s in scenario.interventions))


def _coded_step(plant: Plant, scenario: Scenario, step: Intervention) -> Intervention:
    point = plant.point_of_name.get(step.point)
    if point is None or not isinstance(point.schema, Enum) or not isinstance(step.value, str):
        return step
    index = point.schema.index_of(step.value)
    if index is None:
        known = [value.name for value in point.schema.values]
        hint = nearest(step.value, known) or f"one of {', '.join(known)}"
        raise BadRequest(f"scenario {scenario.name!r}: {step.point} is never {step.value!r}", hint)
    return replace(step, value=float(point.schema.code(index)))


def snapshot_of_base(plant: Plant, base: Mapping[str, Any]) -> Snapshot:
    """The part of a snapshot that a result carries, as a snapshot.

    Raises:
        BadRequest: it is another plant's.
    """
    if base["plant"] != plant.id:
        raise BadRequest(f"the result is of plant {base['plant']!r}, this is {plant.id!r}", "name its own folder")
    columns = PointTable.sized(len(plant.points)).columns
    for name, (value, quality, source_time, received_time, text) in base["rows"].items():
        row = plant.point(name).id
        columns.value[row], columns.quality[row] = math.nan if value is None else value, quality
        columns.source_time[row], columns.received_time[row] = source_time, received_time
        if text:
            columns.text[row] = text
    return Snapshot(0, 0, int(base["taken_at"]), columns)


def _base(plant: Plant, points: Sequence[Point], snapshot: Snapshot) -> dict[str, Any]:
    """The rows that the start is made of."""
    c = snapshot.columns
    rows = {
        p.name: [
            float(c.value[p.id]), int(c.quality[p.id]), int(c.source_time[p.id]), int(c.received_time[p.id]),
            c.text.get(p.id, ""),
        ]
        for p in points
    }  # fmt: skip
    return {"plant": plant.id, "taken_at": snapshot.taken_at, "rows": rows}


def _check_scenario(plant: Plant, job: WaterJob, model: Model, scenario: Scenario) -> None:
    settable = model.sets
    for step in scenario.interventions:
        place = f"scenario {scenario.name!r}: {step.point}"
        if step.point not in settable:
            hint = nearest(step.point, settable) or f"one of {', '.join(settable)}"
            raise BadRequest(f"{place} cannot be set", hint)
        if step.verb is not Verb.SET:
            raise BadRequest(f"{place} can only be set", f"write {step.point}=value")
        if step.value is None:
            if step.point not in job.start.settings:
                raise BadRequest(f"{place} cannot be put back: its value is not measured", "leave `for` out")
            continue
        point = plant.point(step.point)
        if isinstance(step.value, str):
            raise BadRequest(f"{place}: {step.value!r} is no value", "write a number or one of on, off, open, closed")
        _check_range(point, step.value, place)
        if not 0 <= step.at_s < job.horizon_s:
            raise BadRequest(f"{place} is set outside the horizon of {job.horizon_s:g} s", "look further ahead")


def _check_range(point: Point, value: float, place: str) -> None:
    if point.type == "boolean" and value not in (0.0, 1.0):
        raise BadRequest(f"{place}={value:g}", "take on or off")
    if not point.low <= value <= point.high:
        raise BadRequest(f"{place}={value:g}", f"take {point.low:g} … {point.high:g}")
