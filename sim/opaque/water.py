"""EPANET as a part of a layout: a network file whose tanks, pumps, valves and demand are variables of one component.

Variables: `node.ID.level|head|pressure|inflow|demand`, `link.ID.flow|status|speed|power`, `energy` (kWh since the start),
`demand` (the multiplier of every customer's), `clock` (s since midnight, where it begins). m, L/s, kW; whole seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sim.epanet import QUANTITIES, Hydraulics, LinkInput, network_ids
from sim.opaque.replay import Replayed
from sim.opaque.stepper import StepFailed, Stepper, Variables, Wanted
from twin.errors import BadRequest

EARLY_S = 1e-6  # a moment that arithmetic put just before a whole second is that second
IDLE_MAX = 4  # opened networks of one file that wait for the next replication: opening takes longer than a run
ON = 0.5  # a status at or above it is open


@dataclass(frozen=True, slots=True)
class Epanet:
    """A network file.

    Attributes:
        network: path of the .inp, in LPS, without controls.
        step_s: longest hydraulic step.
        powered: links whose electrical energy is added up.
    """

    network: str
    step_s: int = 300
    powered: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"EPANET with {Path(self.network).name}"

    @property
    def exact(self) -> bool:
        return True

    @property
    def direct(self) -> bool:
        return True  # flows follow pumps and valves at once

    def hash(self) -> str:
        told = f"{self.step_s} {self.powered}".encode()
        return hashlib.sha256(Path(self.network).read_bytes() + told).hexdigest()

    def variables(self) -> Variables:
        mistakes: list[str] = []
        ids = network_ids(Path(self.network), mistakes, "Epanet.network")
        if mistakes:
            raise BadRequest("; ".join(mistakes))
        written = {f"{e}.{i}.{q}" for e, quantities in QUANTITIES.items() for i in ids[e] for q in quantities}
        told = {f"link.{i}.{q}" for i in ids["link"] for q in ("status", "speed")}
        levels = {f"node.{i}.level" for i in ids["node"]}
        return Variables(frozenset({"demand", *told}), frozenset({"energy", *written}), frozenset({"clock", *levels}))

    def open(self, wanted: Wanted, replication: int) -> Stepper:
        return Replayed(self.title, Network(self, wanted))


@lru_cache(maxsize=8)  # network files in use at once
def _idle(model: Epanet) -> list[Hydraulics]:
    """Opened networks of a file that nobody uses; a run depends on nothing that ran before it."""
    return []


class Network:
    """One opened network; `Replayed` forks it: EPANET does not give away the flows from which it would go on."""

    def __init__(self, model: Epanet, wanted: Wanted) -> None:
        self._idle = _idle(model)
        try:
            self._water = self._idle.pop()
        except IndexError:
            self._water = Hydraulics(Path(model.network), model.step_s, model.powered)
        self._reads, self._begins = wanted.reads, wanted.begins
        self._links = sorted({_parts(name)[1] for name in wanted.reads if name.startswith("link.")})
        written = enumerate(wanted.writes)
        self._gauges = self._water.gauges({place: _parts(name) for place, name in written if name != "energy"})
        self._energy_at = [i for i, name in enumerate(wanted.writes) if name == "energy"]
        self._outputs = [0.0] * len(wanted.writes)
        self._held: dict[str, LinkInput] = {}
        self._began_s = 0.0

    def begin(self, at_s: float, starts: Sequence[float]) -> None:
        told = dict(zip(self._begins, starts, strict=True))
        levels_m = {_parts(name)[1]: x for name, x in told.items() if name != "clock"}
        for tank in levels_m:
            if tank not in self._water.tanks:
                raise StepFailed(f"node {tank} is no tank and has no level to begin with", "name tanks only")
        self._began_s, self._held = at_s, {}
        # Every tank is told: one that a run before this set would keep that level.
        self._water.start(told.get("clock", 0.0), self._water.file_levels_m | levels_m, {})

    def hold(self, inputs: Sequence[float]) -> None:
        told = dict(zip(self._reads, inputs, strict=True))
        for link in self._links:
            wanted = LinkInput(told.get(f"link.{link}.status", 1.0) >= ON, told.get(f"link.{link}.speed", 1.0))
            if self._held.get(link) != wanted:
                self._held[link] = wanted
                self._water.set_link(link, wanted)
        if "demand" in told:
            self._water.set_demand_multiplier(told["demand"])

    def advance(self, to_s: float) -> None:
        self._water.advance(to_s - self._began_s + EARLY_S)

    def outputs(self) -> Sequence[float]:
        self._water.solve()
        for gauge in self._gauges:
            numbers = self._water.read(gauge.element, gauge.indexes, gauge.code)
            for place, number in zip(gauge.places, numbers, strict=True):
                self._outputs[place] = float(number)
        for place in self._energy_at:
            self._outputs[place] = self._water.energy_kwh
        return list(self._outputs)

    def close(self) -> None:
        if len(self._idle) < IDLE_MAX:
            self._idle.append(self._water)
        else:
            self._water.close()


def _parts(name: str) -> tuple[str, str, str]:
    """Element, id and quantity of `link.335.flow`; an id may hold dots."""
    element, _, rest = name.partition(".")
    identity, _, quantity = rest.rpartition(".")
    return element, identity, quantity
