"""A plant's model of whatever kind, for those who ask both alike: its start, its clock, its instruments' noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from sim import live, start
from sim.layout_model import LayoutModel
from sim.layout_rows import read_layout_model
from sim.model import Model, read_model
from twin.plant import Plant
from twin.points import Point

PlantModel: TypeAlias = Model | LayoutModel
LAYOUT_STEP_S = (
    60.0  # a layout has events, not steps: a line of ten machines some twenty a minute, done in microseconds
)


def read_plant_model(plant: Plant) -> PlantModel:
    """
    Raises:
        BadRequest: the [model] table has mistakes; all of them are listed.
    """
    return read_layout_model(plant) if plant.model.get("kind") == "layout" else read_model(plant)


def step_s(model: PlantModel) -> float:
    """The step of its simulation, of the plant's time."""
    return model.step_s if isinstance(model, Model) else LAYOUT_STEP_S


def noise(model: PlantModel) -> Mapping[str, float]:
    """Standard deviation of each point's instrument, in the point's unit, where the model states one."""
    if isinstance(model, Model):
        return {name: channel.sd for name, channel in model.starts.items()}
    return {tie.point: tie.sd / abs(tie.factor) for tie in model.ties if tie.sd > 0}


def start_points(plant: Plant, model: PlantModel) -> list[Point]:
    """The points that a start is made of, in the order of their ids."""
    return start.needed_points(plant, model) if isinstance(model, Model) else live.start_points(plant, model)
