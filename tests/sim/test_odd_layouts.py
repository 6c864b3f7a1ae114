"""Layouts that nobody would draw: both backends take them alike, to the same end or to the same refusal."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.component_type import component_type
from sim.components.library import SHIPPED
from sim.kernel.assembly import assemble
from sim.kernel.interpreter import Act
from sim.kernel.names import Names
from sim.layout import Entity, Layout
from sim.spec import (
    Buffer,
    Constant,
    Distribution,
    Exponential,
    Items,
    Level,
    LogLogistic,
    LogNormal,
    Misspelt,
    Number,
    Param,
    Resource,
    State,
    Triangular,
    Uniform,
    Weibull,
)
from tests.sim.kernels import outcomes

EXAMPLES = int(os.environ.get("TWINLOOP_ODD_LAYOUTS", "60"))
EVENTS_MAX = 1500
TIMES: Sequence[Distribution] = (
    Constant(0.0), Constant(1.0), Constant(2.5), Exponential(1.0), Exponential(20.0), Uniform(0.0, 0.0), Uniform(0.0, 3.0),
    Triangular(1.0, 1.0, 1.0), Triangular(0.0, 0.0, 2.0), LogNormal(1.0, 0.0), LogNormal(2.0, 1.5), Weibull(2.0, 0.3),
    LogLogistic(1.0, 0.7),
)  # fmt: skip
NUMBERS = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 7.0, 50.0)
MOMENTS = (0.0, 1.0, 2.5, 5.0, 5.0)


def entities(plant: Layout, data: st.DataObject) -> dict[type, list[Entity]]:
    found: dict[type, list[Entity]] = {Buffer: [], Resource: [], Level: []}
    for i in range(data.draw(st.integers(1, 3))):
        capacity = data.draw(st.sampled_from([0.0, 1.0, 2.0, 3.5, 10.0, 1e15]))
        level = min(capacity, data.draw(st.sampled_from([0.0, 1.0, 4.0])))
        found[Buffer].append(plant.buffer(f"B{i}", capacity, level))
    for i in range(data.draw(st.integers(1, 2))):
        found[Resource].append(plant.resource(f"R{i}", data.draw(st.integers(0, 2))))
    for i in range(data.draw(st.integers(1, 4))):
        capacity = data.draw(st.sampled_from([0.0, 1.0, 50.0, 100.0]))
        level = capacity * data.draw(st.sampled_from([0.0, 0.3, 1.0]))
        found[Level].append(plant.tank(f"T{i}", level, capacity))
    found[Level].append(plant.level("open", 20.0))
    return found


@st.composite
def odd_layouts(draw: st.DrawFn) -> Layout:
    data = draw(st.data())
    plant = Layout("odd", "min")
    shared = entities(plant, data)
    for i in range(draw(st.integers(1, 7))):
        cls = draw(st.sampled_from(SHIPPED))
        fields: dict[str, object] = {}
        for name, known in component_type(cls).fields.items():
            if isinstance(known, Items):
                continue
            if hasattr(known, "to"):
                if not known.optional or draw(st.booleans()):
                    fields[name] = draw(st.sampled_from(shared[known.to]))
            elif isinstance(known, Distribution) and draw(st.booleans()):
                fields[name] = draw(st.sampled_from(TIMES))
            elif isinstance(known, Number) and draw(st.integers(0, 3)) == 0:
                fields[name] = draw(
                    st.sampled_from(
                        [x for x in NUMBERS if not isinstance(known, Param) or known.low <= x <= known.high]
                    )
                )
            elif isinstance(known, State) and draw(st.integers(0, 3)) == 0:
                fields[name] = draw(st.sampled_from(known.values))
        plant.add(cls, f"c{i}", **fields)  # type: ignore[arg-type]
    return plant


def odd_acts(plant: Layout, data: st.DataObject) -> list[Act]:
    names = Names(assemble(plant))
    acts = []
    for _ in range(data.draw(st.integers(0, 5))):
        name = data.draw(st.sampled_from(sorted(names.targets)))
        values = names.targets[name].values or NUMBERS
        try:
            acts.append(names.act(data.draw(st.sampled_from(MOMENTS)), name, data.draw(st.sampled_from(values))))
        except Misspelt:
            continue  # refused when it is written, as it should
    return acts


@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 60, suppress_health_check=list(HealthCheck))
@given(odd_layouts(), st.data(), st.integers(0, 2**64 - 1))
def test_an_odd_layout_ends_alike_in_both_backends(plant: Layout, data: st.DataObject, seed: int) -> None:
    acts = odd_acts(plant, data)
    ours, reference = outcomes(plant, 20.0, seed=seed, acts=acts, events_max=EVENTS_MAX)
    assert ours.said == reference.said
    assert ours.trace == reference.trace
    assert ours.numbers == reference.numbers
