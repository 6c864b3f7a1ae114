"""Where a what-if of a layout starts: from a snapshot of the twin to a state for each replication; must not run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.kernel.assembly import Assembly, assemble
from sim.kernel.names import Names
from sim.kernel.world import Packed, pack
from sim.layout import Layout
from sim.layout_model import SOURCE_TIME, LayoutModel, Tie
from sim.settling import Settler, Told
from sim.spec import Buffer, ComponentType
from sim.told import NUMBERS, flaws, refuse, rows_hash
from sim.unknown import Chance
from twin.columns import Snapshot
from twin.plant import Plant
from twin.points import Point

FRESH = 2  # how a kernel begins from such a state: what remains of timers is drawn, given their ages


@dataclass(frozen=True, slots=True)
class LayoutStart:
    """The plant at one moment, as its layout sees it.

    Attributes:
        taken_at: when the snapshot was taken, ns since 1970 UTC.
        clock_s: the plant's own time.
        settings: settable point -> its value in the twin's unit, to which an intervention returns.
        hash: SHA-256 over the snapshot rows used (value, quality, source time).
    """

    layout: Layout
    taken_at: int
    clock_s: float
    settings: Mapping[str, float]
    hash: str
    settler: Settler

    @property
    def unit_s(self) -> float:
        """Seconds in a unit of the layout's time."""
        return self.layout.unit_s

    def sample(self, seed: int, replication: int) -> Packed:
        """The state at the start of one replication, to be run with `fresh` = FRESH; its time is 0.

        What is measured is the same in all of them; what is not is drawn from its distribution, from named streams.
        """
        return self.settler.settle(Chance(seed, replication), seed)


def start(
    plant: Plant, model: LayoutModel, snapshot: Snapshot, types: Sequence[ComponentType] | None = None
) -> LayoutStart:
    """The state to start from.

    Args:
        types: what the kernel was made for; the layout's own when None.

    Raises:
        Refused: a point that is needed was never read, is not good, is stale, or says what cannot be; all are listed.
    """
    needed = start_points(plant, model)
    refuse(flaws(needed, model.stale_after_s, snapshot))
    assembly = assemble(model.layout, types=types)
    names = Names(assembly)
    told, wrong = _told(plant, model, snapshot, assembly, names)
    refuse(wrong)
    return LayoutStart(
        layout=model.layout,
        taken_at=snapshot.taken_at,
        clock_s=float(snapshot.columns.value[plant.point(model.clock).id]),
        settings={
            name: float(snapshot.columns.value[plant.point(name).id]) for name in _settings(plant, model, snapshot)
        },
        hash=rows_hash(needed, snapshot),
        settler=Settler(assembly, names, pack(assembly.world), told, model.unmeasured),
    )


def start_points(plant: Plant, model: LayoutModel) -> list[Point]:
    """The points that a start is made of, in the order of their ids."""
    ties = [t for t in model.ties if t.kind != "figure"]
    names = {model.clock, *(t.point for t in ties), *(t.age for t in ties if t.age not in ("", SOURCE_TIME))}
    return sorted((plant.point(name) for name in names), key=lambda p: p.id)


def _settings(plant: Plant, model: LayoutModel, snapshot: Snapshot) -> list[str]:
    """The settable points whose value is known."""
    points = [plant.point(name) for name in model.sets]
    return [p.name for p in points if not flaws([p], model.stale_after_s, snapshot)]


def _told(
    plant: Plant, model: LayoutModel, snapshot: Snapshot, assembly: Assembly, names: Names
) -> tuple[Told, list[str]]:
    """What the points say, in the layout's words and units, and what of it cannot be."""
    told, wrong = Told(), []
    values: NDArray[np.float64] = snapshot.columns.value
    for tie in model.ties:
        point = plant.point(tie.point)
        if tie.kind == "state":
            said = float(values[point.id]) if point.type in NUMBERS else snapshot.columns.text[point.id]
            state = tie.state(said)
            if state is None:
                shown = snapshot.columns.text.get(point.id, f"{said}")
                wrong.append(f"{point.name} is {shown}, of which the map of {tie.target} says nothing")
                continue
            told.states[tie.target] = state
            if tie.age:
                told.ages[tie.target] = max(0.0, _age(plant, tie, snapshot))
        elif tie.kind != "figure":
            number = float(values[point.id]) * tie.factor
            if why := _impossible(assembly, names, tie, number):
                wrong.append(f"{point.name} is {values[point.id]:g}: {why}")
            elif tie.kind == "field":
                told.fields[tie.target] = (number, tie.sd)
            elif tie.kind == "queue":
                told.queues[tie.target] = round(number)
            else:
                told.timers[tie.target] = number
    return told, wrong


def _age(plant: Plant, tie: Tie, snapshot: Snapshot) -> float:
    """For how long the state has been what it is, in the layout's unit."""
    if tie.age == SOURCE_TIME:
        return (snapshot.taken_at - int(snapshot.columns.source_time[plant.point(tie.point).id])) / 1e9 * tie.age_factor
    return float(snapshot.columns.value[plant.point(tie.age).id]) * tie.age_factor


def _impossible(assembly: Assembly, names: Names, tie: Tie, number: float) -> str:
    """Why the layout cannot be so."""
    if tie.kind == "timer":
        return "" if number >= 0 else "an age is 0 or more"
    if tie.kind == "queue":
        size = assembly.layout.entity(tie.target).size
        return "" if -0.5 <= number < size + 0.5 else f"{tie.target} holds 0 … {size}"
    owner, _, what = tie.target.rpartition(".")
    entity = next((e for e in assembly.layout.entities if e.name == owner), None)
    if entity is not None and what == "level" and entity.kind is Buffer:
        if not -0.5 <= number < entity.capacity + 0.5:
            return f"{owner} holds 0 … {entity.capacity:g}"
    elif entity is not None and what == "capacity" and number < 0:
        return f"{tie.target} is 0 or more"
    return ""
