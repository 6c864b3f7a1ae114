"""Reads a plant for the command line: with the rules of all protocols, its model checked too; must not serve anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from protocols.catalog import PROTOCOLS
from protocols.faces import FACES
from sim.model import model_mistakes
from twin.errors import BadPlant, Mistake
from twin.places import TomlLines
from twin.plant import Plant
from twin.plantfile import PLANT_FILE, load_plant

RULES = {name: entry.rules for name, entry in PROTOCOLS.items()}
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
    for index, stop in enumerate(plant.controls.stops):
        for name, value in stop.sets:
            point = plant.point(name)
            if wrong := RULES[plant.device_of_id[point.device].protocol].misfit(point, value):
                line = lines.of("stop", index, "set")
                found.append(Mistake(PLANT_FILE, line, f"{name} cannot be {value:g}: {wrong}", "choose another value"))
    if found:
        raise BadPlant(found)
    return plant
