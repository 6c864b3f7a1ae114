"""Alarms counted up the parts of a plant: how many of each kind, and the worst, of every twin with all it is made of; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.alarm import PRIORITIES, RANK, Definition, Priority
from twin.alarms import State
from twin.plant import Plant

COUNTED = (*(p.value for p in PRIORITIES), "unacked", "shelved", "suppressed", "out_of_service", "blind")
"""Columns: active and told by priority; told and not acknowledged, active or not; and what is not told, by why.

`blind`: nobody can tell whether the condition holds, told or not.
"""
WORST = ("normal", "unacked_cleared", "acked_active", "unacked_active")
"""From good to bad; of alarms that are told."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """Of one twin and all its parts. `worst`: one of WORST; `priority`: the highest one of those that are told."""

    twin: str
    counts: Mapping[str, int]
    worst: str
    priority: Priority | None


def rollup(
    plant: Plant, definitions: Sequence[Definition], retained: Mapping[int, State], blind: NDArray[np.bool_]
) -> list[Rollup]:
    """Of every twin that has something to say, in the plant's order.

    Args:
        retained: states by row of `definitions`, of those that are not normal. blind: shape (A,).
    """
    place = plant.graph.row_of
    counts = np.zeros((len(plant.twins), len(COUNTED)), np.int64)  # (T, C)
    worst = np.zeros((len(plant.twins), 2), np.int64)  # (T, state and rank)
    for row, state in retained.items():
        at = place.get(definitions[row].twin)
        if at is None:
            continue
        for name in _columns(definitions[row], state):
            counts[at, COUNTED.index(name)] += 1
        if state.told and state.owed and definitions[row].priority is not Priority.JOURNAL:
            worst[at] = np.maximum(worst[at], (_worst(state), RANK[definitions[row].priority]))
    where = np.array([place.get(definitions[row].twin, -1) for row in np.flatnonzero(blind).tolist()], np.int64)
    counts[:, COUNTED.index("blind")] += np.bincount(where[where >= 0], minlength=len(plant.twins))
    for parts, wholes in plant.graph.upwards:
        np.add.at(counts, wholes, counts[parts])
        np.maximum.at(worst, wholes, worst[parts])
    priority = {rank: p for p, rank in RANK.items()}
    return [
        Rollup(
            plant.twins[n].id, dict(zip(COUNTED, counts[n].tolist(), strict=True)), WORST[worst[n, 0]],
            priority.get(int(worst[n, 1])),
        )
        for n in np.flatnonzero(counts.any(1)).tolist()
    ]  # fmt: skip


def _columns(definition: Definition, state: State) -> list[str]:
    """Where an alarm that is not normal is counted."""
    if state.told:
        active = [definition.priority.value] if state.active or state.latched else []
        return [*active, "unacked"] if not state.acked else active
    if state.out_of_service:
        return ["out_of_service"]
    return ["suppressed"] if state.suppressed or state.designed else ["shelved"]


def _worst(state: State) -> int:
    if state.active or state.latched:
        return 2 if state.acked else 3
    return 1
