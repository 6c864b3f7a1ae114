"""Where a what-if starts: the state of the plant as a snapshot of the twin tells it; must not know EPANET or processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.epanet import LinkInput
from sim.model import Channel, Model, twin_units
from sim.told import flaws, refuse, rows_hash
from twin.columns import Snapshot
from twin.plant import Plant
from twin.points import Point


@dataclass(frozen=True, slots=True)
class StartState:
    """The measured state of the plant at one moment, in the model's units.

    Attributes:
        taken_at: when the snapshot was taken, ns since 1970 UTC.
        clock_s: the plant's own time.
        levels_m: tank -> (level, standard deviation of its measurement).
        links: link -> what it was told or doing.
        demand_l_s: what the customers draw, by mass balance over the metered flows.
        settings: settable point -> its value in the twin's unit, to which an intervention returns.
        hash: SHA-256 over the snapshot rows used (value, quality, source time).
    """

    taken_at: int
    clock_s: float
    levels_m: Mapping[str, tuple[float, float]]
    links: Mapping[str, LinkInput]
    demand_l_s: float
    settings: Mapping[str, float]
    hash: str


def start_state(plant: Plant, model: Model, snapshot: Snapshot) -> StartState:
    """The state to start from.

    Raises:
        Refused: a point that is needed was never read, is not good or is stale; all of them are listed.
    """
    needed = needed_points(plant, model)
    refuse(flaws(needed, model.stale_after_s, snapshot))
    value = {point.name: float(snapshot.columns.value[point.id]) for point in needed}
    metered = {*model.demand.supply, *model.demand.storage}
    flow = {p.name: value[p.name] / (twin_units(p, "flow") or 1.0) for p in needed if p.name in metered}
    inputs = {(c.id, c.quantity): value[c.point] / c.factor for c in model.starts.values()}
    return StartState(
        taken_at=snapshot.taken_at,
        clock_s=value[model.clock],
        levels_m={
            c.id: (value[c.point] / c.factor, c.sd / c.factor) for c in model.starts.values() if c.element == "node"
        },
        links=_links(model, inputs),
        demand_l_s=sum(flow[p] for p in model.demand.supply) - sum(flow[p] for p in model.demand.storage),
        settings={c.point: _held(c, inputs) for c in model.sets.values() if (c.id, c.quantity) in inputs},
        hash=rows_hash(needed, snapshot),
    )


def needed_points(plant: Plant, model: Model) -> list[Point]:
    """The points that a start state is made of, in the order of their ids."""
    names = {model.clock, *model.starts, *model.demand.supply, *model.demand.storage}
    return sorted((plant.point(name) for name in names), key=lambda p: p.id)


def _links(model: Model, inputs: Mapping[tuple[str, str], float]) -> dict[str, LinkInput]:
    names = {c.id for c in model.starts.values() if c.element == "link"}
    return {
        name: LinkInput(inputs.get((name, "status"), 1.0) >= 0.5, inputs.get((name, "speed"), 1.0))
        for name in sorted(names)
    }


def _held(channel: Channel, inputs: Mapping[tuple[str, str], float]) -> float:
    return inputs[channel.id, channel.quantity] * channel.factor
