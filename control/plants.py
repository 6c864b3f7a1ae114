"""Reads a plant for the command line: with the rules of all protocols, its model checked too; must not serve anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from protocols.catalog import PROTOCOLS
from protocols.faces import FACES
from sim.model import model_mistakes
from sim.plant_model import read_plant_model
from sim.scenario import parse_limit
from twin.alarm import Priority
from twin.alarm_statistics import priority_check
from twin.errors import BadPlant, Mistake, Notice
from twin.places import TomlLines
from twin.plant import Plant, nearest
from twin.plantfile import PLANT_FILE, load_plant

RULES = {name: entry.rules for name, entry in PROTOCOLS.items()}
PRIORITIES_FROM = 20  # alarms: of fewer, parts say little
PRIORITIES_TIMES = 2.0  # what is advised is `about`
FACE_RULES = {name: entry.rules for name, entry in FACES.items()}


def read_plant(folder: Path, endpoints: Mapping[str, str], serve: Mapping[str, str] | None = None) -> Plant:
    """The plant with its model checked too; `serve` as for load_plant.

    Raises:
        NotFound, BadPlant.
    """
    plant = load_plant(folder, RULES, endpoints, FACE_RULES, serve)
    mistakes = model_mistakes(plant) if plant.model else []
    lines = TomlLines((folder / PLANT_FILE).read_text("utf-8"))
    found = [Mistake(PLANT_FILE, lines.of("model"), text, "see [model] in docs/plant.md") for text in mistakes]
    if not mistakes and plant.lookahead is not None:
        found += _unseen_limits(plant, plant.lookahead.limits, lines)
    for index, stop in enumerate(plant.controls.stops):
        for name, value in stop.sets:
            point = plant.point(name)
            if wrong := RULES[plant.device_of_id[point.device].protocol].misfit(point, value):
                line = lines.of("stop", index, "set")
                found.append(Mistake(PLANT_FILE, line, f"{name} cannot be {value:g}: {wrong}", "choose another value"))
    if found:
        raise BadPlant(found)
    return replace(plant, notices=(*plant.notices, *_interpreted(plant, lines), *_priorities(plant, lines)))


def _interpreted(plant: Plant, lines: TomlLines) -> Iterator[Notice]:
    """That the what-ifs of a layout do without the kernel, and why."""
    if plant.model.get("kind") != "layout":
        return
    from sim.backend import interpreted
    from sim.layout_rows import parse_layout_model

    model, _ = parse_layout_model(plant)
    reason = "" if model is None else interpreted(model.layout)
    if reason:
        yield Notice(
            PLANT_FILE, lines.of("model"), reason, "the kernel is not used: what-ifs run on SimPy, much slower"
        )


def _priorities(plant: Plant, lines: TomlLines) -> Iterator[Notice]:
    """That far more alarms are urgent than anybody can take for urgent."""
    if len(plant.alarms.definitions) < PRIORITIES_FROM:
        return
    for priority, (count, part, wanted) in priority_check(d.priority for d in plant.alarms.definitions).items():
        if priority is not Priority.LOW and part > PRIORITIES_TIMES * wanted:
            what = f"{part:.0%} of the alarms ({count}) are of priority {priority}"
            meaning = f"EEMUA 191 and ISA-18.2 advise about {wanted:.0%}: what is always urgent soon is not"
            yield Notice(PLANT_FILE, lines.of("alarm", 0, "priority"), what, meaning)


def _unseen_limits(plant: Plant, limits: Iterable[str], lines: TomlLines) -> list[Mistake]:
    """Limits of points that the model does not tell: nobody could look ahead at them."""
    told = read_plant_model(plant).reads
    points = [(text, parse_limit(text).point) for text in limits]
    return [
        Mistake(
            PLANT_FILE,
            lines.of("lookahead", 0, "limits"),
            f"limit {text!r}: the model does not tell {point}",
            nearest(point, told) or "add it to `reads` of a [[model.element]], or take the limit away",
        )
        for text, point in points
        if point not in told
    ]
