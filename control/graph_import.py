"""A graph file against the running graph: what would change, what is wrong or refused, and the edit that does it; pure.

Must not know disks, the event loop or HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from control.graph_change import Change, worked_out
from control.graph_view import is_kept
from twin.difference import Difference, Parts, difference
from twin.edit import (
    BY_FOLDER,
    AddInterface,
    AddRelationship,
    AddTwin,
    ChangeTwin,
    Edit,
    RemoveRelationship,
    RemoveTwin,
)
from twin.errors import BadGraph, Flaw, Mistake, Notice, Refused, TwinloopError
from twin.graphfile import Graph, GraphTwin, graph_of
from twin.graphread import read_graph
from twin.plant import Plant, Relationship, Twin

SHOWN = 100  # of each kind of change, mistake and notice in an answer; the counts are whole
FILE = "graph.json"


@dataclass(frozen=True, slots=True)
class Planned:
    """What a file would do; `change` is None while something is wrong or refused."""

    difference: Difference | None
    change: Change | None
    mistakes: tuple[Mistake | Flaw, ...]
    refused: tuple[Flaw, ...]
    notices: tuple[Notice, ...]

    def error(self) -> TwinloopError | None:
        """Why it cannot be done."""
        if self.mistakes:
            return BadGraph(self.mistakes)
        if self.refused:
            first = self.refused[0]
            more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
            return Refused(f"{first.message}{more}", first.fix)
        return None

    def to_json(self) -> dict[str, Any]:
        """Counts, and the first SHOWN of each kind."""
        found = self.difference
        return {
            "counts": {} if found is None else {
                name: {"added": len(p.added), "removed": len(p.removed), "changed": len(p.changed)}
                for name, p in _parts(found)
            },
            "difference": {} if found is None else {name: _first(p) for name, p in _parts(found)},
            "mistakes": [str(m) for m in self.mistakes[:SHOWN]],
            "refused": [str(f) for f in self.refused[:SHOWN]],
            "notices": [str(n) for n in self.notices[:SHOWN]],
            "totals": {
                "mistakes": len(self.mistakes), "refused": len(self.refused), "notices": len(self.notices)
            },
            "applies": self.change is not None,
        }  # fmt: skip


def planned(
    plant: Plant, values: Mapping[str, Any], text: str, replaces: bool, step: Callable[[float], None] = lambda _: None
) -> Planned:
    """What a graph file comes to.

    Args:
        values: point name -> value, as `graph_view.values` gives it.
        replaces: twins and relationships that the API made and the file does not hold go.
        step: told how far it is, 0 … 1; may raise to end the work.
    """
    read = read_graph(text, FILE, plant.interfaces)
    step(0.4)
    if read.graph is None:
        return Planned(None, None, read.mistakes, (), read.notices)
    current = graph_of(plant, values)
    wanted, notices = _wanted(plant, current, read.graph, replaces)
    step(0.6)
    found = difference(current, wanted)
    step(0.8)
    refused = tuple(_refused(plant, found))
    change = _change(plant, wanted, found)
    return Planned(found, None if refused else change, (), refused, (*read.notices, *notices))


def checked(plant: Plant, plan: Planned) -> Planned:
    """The plan with what only carrying it out would have said: circles of parts, too many relationships, limits."""
    if plan.change is None:
        return plan
    try:
        worked_out(plant, plan.change)
    except BadGraph as error:
        return replace(plan, change=None, mistakes=error.mistakes)
    except TwinloopError as error:
        return replace(plan, change=None, mistakes=(Flaw("", error.message, error.hint, type(error)),))
    return plan


def _wanted(plant: Plant, current: Graph, said: Graph, replaces: bool) -> tuple[Graph, list[Notice]]:
    """The graph that shall be: what the file does not say stays, but what `replaces` takes away."""
    notices: list[Notice] = []
    added = plant.added
    bound = {p.name for p in plant.points if not is_kept(plant, p)}
    told: list[str] = []
    twins: dict[str, GraphTwin] = {}
    for identity, twin in said.twins.items():
        theirs = [name for name in twin.properties if f"{identity}.{name}" in bound]
        if theirs:
            told += [f"{identity}.{name}" for name in theirs]
            twin = replace(twin, properties={n: v for n, v in twin.properties.items() if n not in theirs})
        twins[identity] = twin
    if told:
        what = f"values of {', '.join(told[:3])}{' …' if len(told) > 3 else ''} ({len(told)})"
        notices.append(Notice(FILE, 1, what, "devices report them; they are left out"))
    carrying = [r for r in said.relationships.values() if r.properties]
    if carrying:
        what = f"properties of {len(carrying)} relationships, of {' '.join(carrying[0].key)} first"
        notices.append(Notice(FILE, 1, what, "relationships carry none here; they are left out"))
    relationships = {key: replace(r, properties={}) for key, r in said.relationships.items()}
    stay = {i: t for i, t in current.twins.items() if not (replaces and i in added.twins)}
    ours = {(r.source, r.name, r.target) for r in added.relationships}
    kept = {
        key: r
        for key, r in current.relationships.items()
        if not (replaces and key in ours) and {r.source, r.target} <= stay.keys() | twins.keys()
    }
    return Graph({**stay, **twins}, {**kept, **relationships}, {**current.models, **said.models}), notices


def _refused(plant: Plant, found: Difference) -> list[Flaw]:
    flaws: list[Flaw] = []
    for changed in found.twins.changed:
        ours = changed.id in plant.added.twins
        for change in changed.changes:
            if change.path == "interface":
                flaws.append(Flaw(changed.id, f"{changed.id} is of {change.before}, which stays", "give it another id"))
            elif change.path in ("name", "at") and not ours:
                message = f"{change.path} of {changed.id} is {change.before!r} by the plant folder"
                flaws.append(Flaw(changed.id, message, BY_FOLDER, Refused))
    for changed in found.models.changed:
        message = f"Interface {changed.id} is there already and says something else"
        flaws.append(Flaw(changed.id, message, "publish it with the next version number", Refused))
    return flaws


def _change(plant: Plant, wanted: Graph, found: Difference) -> Change:
    values: dict[str, Any] = {}
    edits: list[Edit] = [AddInterface(wanted.models[i], i) for i in found.models.added]
    new, old = wanted.relationships.keys(), {(r.source, r.name, r.target) for r in plant.relationships}
    edits += [
        RemoveRelationship(r, " ".join((r.source, r.name, r.target)))
        for r in plant.relationships
        if (r.source, r.name, r.target) not in new and {r.source, r.target} <= wanted.twins.keys()
    ]
    edits += [RemoveTwin(i, i) for i in found.twins.removed]
    for identity in found.twins.added:
        twin = wanted.twins[identity]
        edits.append(AddTwin(Twin(identity, twin.interface, twin.name or identity, twin.at), identity))
        values |= {f"{identity}.{name}": value for name, value in twin.properties.items()}
    for changed in found.twins.changed:
        twin, now = wanted.twins[changed.id], plant.twin_of_id[changed.id]
        after = replace(now, name=twin.name or now.name, at=twin.at or now.at)
        if after != now:
            edits.append(ChangeTwin(after, changed.id))
        said = (c.path.removeprefix("properties.") for c in changed.changes if c.path.startswith("properties."))
        values |= {f"{changed.id}.{name}": twin.properties[name] for name in said}
    edits += [AddRelationship(Relationship(*key), " ".join(key)) for key in new if key not in old]
    return Change(tuple(edits), values)


def _parts(found: Difference) -> tuple[tuple[str, Parts], ...]:
    return ("twins", found.twins), ("relationships", found.relationships), ("models", found.models)


def _first(parts: Parts) -> dict[str, Any]:
    return Parts(parts.added[:SHOWN], parts.removed[:SHOWN], parts.changed[:SHOWN]).to_json()
