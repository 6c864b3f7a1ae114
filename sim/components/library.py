"""The shipped components as one set, for which one kernel is compiled at set-up; must not run anything.

A plant of shipped components needs no compiler of its own: the kernel of all of them is within a tenth of the speed of
one made for its types only (measured).
"""

from __future__ import annotations

from sim.component_type import component_type
from sim.components.fluid import Battery, Demand, Heater, Pipe, Pump, Valve
from sim.components.line import Batch, Conveyor, Machine, Sink, Source
from sim.layout import Layout
from sim.spec import Component, ComponentType

SHIPPED: tuple[type[Component], ...] = (
    Batch, Battery, Conveyor, Demand, Heater, Machine, Pipe, Pump, Sink, Source, Valve,
)  # fmt: skip
LIBRARY: tuple[ComponentType, ...] = tuple(component_type(cls) for cls in SHIPPED)


def kernel_types(layout: Layout) -> tuple[ComponentType, ...]:
    """The types of the kernel that runs a layout: all shipped ones, or the layout's own when it has others."""
    return LIBRARY if all(kind in LIBRARY for kind in layout.types) else layout.types
