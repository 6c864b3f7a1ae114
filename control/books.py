"""What a server keeps on disk, opened in one order and closed in the opposite one; must not know who writes into it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from control.alarm_store import AlarmStore
from control.backup import Backups
from control.command_store import CommandStore
from control.evidence import Evidence
from control.graph import recover
from control.graph_store import GRAPH_FILE, GraphStore
from control.lookahead_store import LookaheadStore
from control.places import ALARMS_FILE, COMMANDS_FILE, HISTORY_FILE, INDEX, LEDGER, LOOKAHEAD_FILE, PREDICTIONS_FILE
from control.prediction_store import PredictionStore
from protocols.link import Clock
from twin.edit import SetAside, fitting
from twin.history import History
from twin.plant import Plant
from twin.readings import Readings
from twin.store import Store
from twin.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Books:
    """Open files.

    Attributes:
        plant: as its folder says, and what the API added to it.
        set_aside: additions of the API that no longer fit the plant.
    """

    plant: Plant
    set_aside: Sequence[SetAside]
    store: Store
    evidence: Evidence
    graph: GraphStore
    history: History
    commands: CommandStore
    backups: Backups
    predictions: PredictionStore
    lookaheads: LookaheadStore
    alarms: AlarmStore

    def newest(self, clock: Clock) -> Readings | None:
        """The values that history ends with."""
        current = self.plant.points.current
        ids = dict(zip(current.words("name"), current.ids.tolist(), strict=True))
        return self.store.latest(ids, clock())

    def heard_until(self, clock: Clock) -> int:
        """When history last took anything; now when that is not known."""
        newest = self.store.last_received()
        return clock() if newest is None else min(newest, clock())


def open_books(data: Path, plant: Plant, clock: Clock, closing: contextlib.ExitStack) -> Books:
    """All of them, with what a crash left undone made good: the ledger of history's batches, history of the edits."""
    store = Store(data / HISTORY_FILE, beside=data / INDEX)
    closing.callback(store.close)
    evidence = Evidence(data / LEDGER, plant.id, clock, plant.chain, store)
    closing.callback(evidence.close)
    evidence.catch_up(store)
    graph = GraphStore(data / GRAPH_FILE)
    closing.callback(graph.close)
    upkeep = Upkeep(plant.retention, clock, evidence.record_retention)
    fitted, set_aside = fitting(plant, graph.additions())
    history = History(store, fitted.points.column("name").to_pylist(), evidence.record_batch, upkeep)
    closing.callback(history.close)
    recover(graph, history, evidence)
    commands = CommandStore(data / COMMANDS_FILE)
    closing.callback(commands.close)
    backups = Backups(data, history, evidence)
    closing.callback(backups.close)
    predictions = PredictionStore(data / PREDICTIONS_FILE)
    closing.callback(predictions.close)
    lookaheads = LookaheadStore(data / LOOKAHEAD_FILE)
    closing.callback(lookaheads.close)
    alarms = AlarmStore(data / ALARMS_FILE)
    closing.callback(alarms.close)
    return Books(fitted, set_aside, store, evidence, graph, history, commands, backups, predictions, lookaheads, alarms)
