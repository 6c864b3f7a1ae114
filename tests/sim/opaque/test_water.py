"""EPANET as a component: the same levels as the water what-ifs' own engine, the same future after a fork."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sim.engine import Replication, _network
from sim.job import sample_times_s
from sim.kernel.assembly import assemble
from sim.kernel.faults import Fault
from sim.kernel.interpreter import Interpreter
from sim.kernel.names import Names
from sim.layout import Layout
from sim.model import Model
from sim.opaque.component import Stepped, Ties
from sim.opaque.water import Epanet
from sim.scenario import Scenario, parse_scenario
from sim.spec import Component, Constant, Items, Misspelt, Param, Port, Signal, Timer, at_start, on
from tests.sim.opaque.plants import Step, run, told
from tests.sim.test_experiment import a_job
from twin.columns import Snapshot
from twin.errors import BadRequest
from twin.plant import Plant

NETWORK = Path(__file__).parents[3] / "scenarios" / "water" / "net3.inp"
HOUR_S = 3600.0


class Player(Component):
    """Plays a record: another value every `hold`."""

    hold = Constant(300.0)
    record = Items(1000)
    out = Port(Signal)
    next = Timer(hold)

    @at_start
    def begin(self) -> None:
        self.next.start(0.0)

    @on(next)
    def play(self) -> None:
        if self.record.level >= 1:
            self.out.value = self.record.pop()
            self.next.start()


class Pumps(Stepped):
    """The river's pump of Net3, and a tank."""

    model = Epanet(str(NETWORK), powered=("335",))
    step = Constant(300.0)
    running, demand = Port(Signal), Port(Signal)
    level, flow, energy = Port(Signal), Port(Signal), Port(Signal)
    clock, first = Param(6 * HOUR_S), Param(5.0)
    ties = Ties(
        reads={"link.335.status": running, "demand": demand},
        writes={"node.1.level": level, "link.335.flow": flow, "energy": energy},
        begins={"clock": clock, "node.1.level": first},
    )


def pumps(cls: type[Stepped] = Pumps) -> Layout:
    plant = Layout("net3")
    signals = {name: plant.signal(name, 1.0) for name in ("running", "demand")}
    signals |= {name: plant.signal(name) for name in ("level", "flow", "energy")}
    plant.add(cls, "net", **signals)
    return plant


ALL = ("level", "flow", "energy")


def net3(replication: Replication, model: Model, links: Sequence[str], outputs: Sequence[str]) -> Layout:
    """The water plant's own model as a layout: its demand is a record, its points are signals."""
    fields: dict[str, object] = {"step": Constant(float(model.step_s)), "demand": Port(Signal)}
    reads, writes, begins = {"demand": fields["demand"]}, {}, {}
    for link in links:
        for quantity in ("status", "speed"):
            reads[f"link.{link}.{quantity}"] = fields[f"{quantity}_{link}"] = Port(Signal)
    for number, name in enumerate(outputs):
        channel = model.reads[name]
        writes[f"{channel.element}.{channel.id}.{channel.quantity}"] = fields[f"out_{number}"] = Port(Signal)
    for tank, level_m in replication._levels_m.items():
        begins[f"node.{tank}.level"] = fields[f"first_{tank}"] = Param(level_m)
    begins["clock"] = fields["clock"] = Param(replication._job.start.clock_s)
    fields["model"] = Epanet(model.network, model.step_s, model.energy)
    fields["ties"] = Ties(reads, writes, begins)
    cls = type("Net3", (Stepped,), fields)
    plant = Layout("net3")
    held = replication._job.start.links
    ports = {"demand": plant.signal("demand", 1.0)}
    for link in links:
        ports[f"status_{link}"] = plant.signal(f"status_{link}", float(held[link].open))
        ports[f"speed_{link}"] = plant.signal(f"speed_{link}", held[link].speed)
    ports |= {f"out_{n}": plant.signal(f"out_{n}") for n in range(len(outputs))}
    plant.add(Player, "customers", record=replication._multipliers.tolist(), out=ports["demand"],
              hold=Constant(float(model.step_s)))  # fmt: skip
    plant.add(cls, "net", **ports)
    return plant


BASE = Scenario("baseline")
TRIP = parse_scenario("pump_335.status=off at 26m for 41m; pump_335.speed=80 at 121m", "trip")
AT_A_STEP = parse_scenario("pump_335.status=off at 25m for 40m; pump_335.speed=80 at 2h", "trip at a step")


@pytest.mark.parametrize("replication", range(3))
@pytest.mark.parametrize(
    ("scenario", "tolerance_m"),
    # Where a command and a demand change meet, EPANET iterates twice: to its own accuracy, not to the last bit.
    [(BASE, 1e-6), (TRIP, 1e-6), (AT_A_STEP, 1e-4)],
    ids=lambda s: getattr(s, "name", ""),
)
def test_a_layout_with_epanet_gives_the_levels_of_the_water_engine(
    plant: Plant, model: Model, morning: Snapshot, scenario: Scenario, tolerance_m: float, replication: int
) -> None:
    job = a_job(plant, model, morning, scenario)
    times_s = sample_times_s(job)
    network = _network(model.network, model.hash, model.step_s, model.energy)
    own = Replication(job, network, scenario, replication, 1.0, times_s)
    links = sorted(job.start.links)
    layout = net3(own, model, links, job.outputs)
    expected = own.run()
    acts: list[Step] = []
    for step in scenario.interventions:
        channel = model.sets[step.point]
        value = job.start.settings[step.point] if step.value is None else float(step.value)
        acts.append((step.at_s, f"{channel.quantity}_{channel.id}", value / channel.factor))
    assembly = assemble(layout)
    names = Names(assembly)
    going = Interpreter(assembly, acts=[names.act(*act) for act in acts])
    readings = [names.reading(f"out_{n}") for n in range(len(job.outputs))]
    watched = np.array([(r.kind, r.index) for r in readings], np.int64)
    # A sample at the moment of a step shows what was before it: look just after.
    found = going.run(job.horizon_s + 1.0, times_s + 0.5, watched)
    going.close()
    factors = np.array([model.reads[name].factor for name in job.outputs])
    # Samples are float32: a relative 6e-8 of them is rounding.
    np.testing.assert_allclose(found * factors, expected, rtol=2e-7, atol=tolerance_m)
    assert float(np.ptp(expected[:, 0])) > 0.01


def test_a_tripped_pump_stops_the_flow_at_that_moment() -> None:
    going = run(pumps(), 1000.0, (700.0, "running", 0.0))
    assert told(going, ("flow",)) == [0.0]
    full = run(pumps(), 1000.0)
    assert told(full, ("flow",))[0] > 300.0
    assert told(going, ("level",)) < told(full, ("level",))
    assert 0 < told(going, ("energy",))[0] < told(full, ("energy",))[0]
    for each in (going, full):
        each.close()


def test_a_forked_run_goes_on_bit_for_bit() -> None:
    plant = pumps()
    live = run(plant, 3 * HOUR_S + 100, (4000.0, "demand", 1.3), (7000.0, "running", 0.0))
    state = live.snapshot()
    live.run(6 * HOUR_S)
    fork = run(plant, 6 * HOUR_S, state=state, fresh=0)
    assert told(fork, ALL) == told(live, ALL)
    started = run(plant, 6 * HOUR_S, (3 * HOUR_S + 200, "running", 1.0), state=state, fresh=0)
    assert told(started, ("level",)) > told(live, ("level",))
    for each in (live, fork, started):
        each.close()


def test_a_network_used_before_begins_as_the_file_says() -> None:
    class Low(Pumps):
        first = Param(1.0)
        ties = Ties(Pumps.ties.reads, Pumps.ties.writes, {"clock": Pumps.clock, "node.1.level": first})

    class AsTheFile(Pumps):
        ties = Ties(Pumps.ties.reads, Pumps.ties.writes, {"clock": Pumps.clock})

    first = run(pumps(AsTheFile), 600.0)
    expected = told(first, ALL)
    first.close()
    low = run(pumps(Low), 600.0)
    assert told(low, ("level",))[0] < 2.0
    low.close()
    again = run(pumps(AsTheFile), 600.0)
    assert told(again, ALL) == expected
    again.close()


def test_names_that_the_network_does_not_have_are_told_when_it_is_placed(tmp_path: Path) -> None:
    class Wrong(Pumps):
        ties = Ties(reads={"link.336.status": Pumps.running})

    with pytest.raises(Misspelt, match=r"net: Wrong reads 'link\.336\.status': EPANET with net3\.inp has no such"):
        pumps(Wrong)

    class Gone(Pumps):
        model = Epanet(str(tmp_path / "gone.inp"))

    with pytest.raises(BadRequest, match=r"Epanet\.network: there is no file .*gone\.inp"):
        pumps(Gone)


def test_a_node_that_is_no_tank_cannot_begin_with_a_level() -> None:
    class Wrong(Pumps):
        ties = Ties(Pumps.ties.reads, Pumps.ties.writes, {"node.10.level": Pumps.first})

    with pytest.raises(Fault, match=r"net \(Wrong, EPANET with net3\.inp\) failed: node 10 is no tank"):
        run(pumps(Wrong), 10.0)
