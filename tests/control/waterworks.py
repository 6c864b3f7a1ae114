"""A water network as the runtime's tests need it: EPANET's truth, read by perfect links on a clock that goes when told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from control.command import Command, Priority, Status, Transition
from control.evidence import Evidence
from control.live import LiveTwin
from control.plants import read_plant
from control.prediction_store import PredictionStore
from control.preflight import Preflight
from protocols.link import LinkState
from scenarios.water.fleet import WaterMover
from sim.runner import Runner
from twin.errors import NotFound
from twin.history import History
from twin.plant import Plant
from twin.readings import Readings
from twin.store import Store

WATER = Path(__file__).parents[2] / "scenarios" / "water"
SPEED = 60.0  # plant seconds a second of the clock that the twin is given
NOW = 1_700_000_000_000_000_000
RUN_IN_S = 1800.0


@dataclass
class Works:
    """The twin of a plant whose truth is EPANET, read by perfect links on a clock that goes when told."""

    plant: Plant
    mover: WaterMover
    live: LiveTwin
    evidence: Evidence
    store: PredictionStore
    runner: Runner
    commands: dict[str, Command] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def now(self) -> int:
        return NOW + int(self.elapsed_s / SPEED * 1e9)

    def clock(self) -> int:
        return self.now

    def go(self, plant_s: float) -> None:
        """Let the plant live; everything is read once a second."""
        end = self.elapsed_s + plant_s
        while self.elapsed_s < end:
            self.elapsed_s = min(end, self.elapsed_s + SPEED)
            measured, settings = self.mover.advance(self.elapsed_s), self.mover.settings()
            self.live.readings(Readings.of(measured.ids, measured.value, self.now, measured.quality))
            self.live.readings(Readings.of(list(settings), list(settings.values()), self.now))

    def command(
        self, point: str = "pump_335.status", value: float = 0.0, identity: str = "c1", **more: object
    ) -> Command:
        first = Transition(Status.DRAFT, self.now, "submitted; being predicted")
        made = Command(identity, identity, "anna", point, value, Priority.OPERATOR, 0, "", Status.DRAFT, (first,))
        self.commands[identity] = replace(made, **more)  # type: ignore[arg-type]
        return self.commands[identity]

    def send(self, identity: str = "c1") -> None:
        """Into the plant, and confirmed."""
        command = self.commands[identity]
        assert self.mover.command(self.plant.point(command.point), command.value)
        self.end(identity, Status.SENT, Status.CONFIRMED)

    def end(self, identity: str, *steps: Status) -> None:
        command = self.commands[identity]
        walked = tuple(Transition(s, self.now, s.value) for s in steps)
        self.commands[identity] = replace(command, status=steps[-1], transitions=(*command.transitions, *walked))

    async def find(self, identity: str) -> Command:
        if identity not in self.commands:
            raise NotFound(f"no command {identity!r}")
        return self.commands[identity]

    def preflight(self) -> Preflight:
        return Preflight(self.live, self.runner, self.store, self.evidence, self.clock)

    @asynccontextmanager
    async def scoring(self, preflight: Preflight | None = None) -> AsyncIterator[Preflight]:
        """A preflight at work."""
        made = preflight or self.preflight()
        task = asyncio.create_task(made.run(self.find))
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def entries(self, kind: str) -> list[object]:
        return [e.body["id"] for _, e in self.evidence.entries(1000, kind)]


@asynccontextmanager
async def works(data: Path) -> AsyncIterator[Works]:
    plant = read_plant(WATER, {})
    store = PredictionStore(data / "predictions.sqlite")
    with Store(data / "history.duckdb") as history_store:
        evidence = Evidence(data / "ledger", "test", lambda: NOW)
        history = History(history_store, plant.points.column("name").to_pylist(), evidence.record_batch)
        made: Works
        live = LiveTwin(plant, 1, history, lambda: made.now)
        made = Works(plant, WaterMover(plant, 3), live, evidence, store, Runner(0))
        live.states = dict.fromkeys(live.states, LinkState.ONLINE)
        made.go(RUN_IN_S)
        try:
            yield made
        finally:
            await asyncio.to_thread(history.close)
            await asyncio.to_thread(evidence.close)
            store.close()
