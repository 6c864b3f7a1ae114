"""Where the replications of a layout start: fresh, or from the state of a plant; plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.kernel.world import Packed

if TYPE_CHECKING:  # a layout's first answer does not wait for what only a plant needs
    from sim.layout_model import Setting

States = Callable[[int], Packed]
"""Replication -> the state it starts from."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a point of the plant shows of a layout.

    Attributes:
        reading: point = that figure * factor.
        states: where the figure is a state: what the point shows for each of its numbers; empty otherwise.
    """

    reading: str
    factor: float = 1.0
    states: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the replications start: fresh, or from the state of a plant.

    Attributes:
        states: a state for each replication; the layout's own when None.
        hash: of what the states were made of.
        reads: point of the plant -> what it shows.
        sets: points that interventions may set.
        settings: their values at the start, in the plant's units, to be put back.
    """

    plant: str
    hash: str
    states: States | None = None
    taken_at: int = 0
    clock_s: float = 0.0
    reads: Mapping[str, Shown] = field(default_factory=dict)
    sets: Mapping[str, Setting] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)
