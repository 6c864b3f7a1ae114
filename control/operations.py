"""How the server itself fares: queues and their limits, sizes on disk, health; reads from its parts and changes none."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from control import alarms, queue, runtime, sessions
from control.alarms import Alarms
from control.evidence import Evidence
from control.identity import Identity
from control.live import COUNTED, LiveTwin
from control.loop_watch import LoopWatch
from control.places import HISTORY_FILE, LEDGER
from control.runtime import CommandRuntime
from twin import history
from twin.tiers import TIERS
from twin.trend import RAW

SIZES_KEPT_S = 60.0  # every console asks each two seconds, and a large folder takes longer than that to walk


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something bounded that waits. `lost`: how many did not fit since the start."""

    name: str
    waiting: int
    most: int
    lost: int = 0


@dataclass(slots=True)
class ClientCounts:
    """What the server's clients are, and what became of them. `coalesced`: frames that came with the next one."""

    clients: int = 0
    evicted: int = 0
    coalesced: int = 0
    sent: int = 0


class Operations:
    """Asked on the event loop."""

    def __init__(
        self, data: Path, live: LiveTwin, commands: CommandRuntime, alarms_: Alarms, evidence: Evidence,
        identity: Identity, watch: LoopWatch, started: int, timer: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.started = started
        self.watch = watch
        self.sockets = ClientCounts()
        self._data, self._live, self._commands, self._alarms = data, live, commands, alarms_
        self._evidence, self._identity = evidence, identity
        self._timer, self._walking = timer, asyncio.Lock()
        self._sizes: tuple[float, dict[str, int]] | None = None

    def fault(self) -> str:
        """Why the server is not ready, "" while it is."""
        return self._evidence.reach().failure or self._live.history.failure or ""

    def counts(self) -> dict[str, int]:
        return {name: self._live.counts[name] for name in COUNTED}

    def queues(self) -> list[Waiting]:
        open_ = Counter(self._live.plant.point(c.point).device for c in self._commands.open())
        reach = self._evidence.reach()
        return [
            *(Waiting(f"commands for {d.id}", open_[d.id], queue.QUEUE_MAX) for d in self._live.plant.devices),
            Waiting("steps of commands", self._commands.waiting, runtime.INBOX_MAX),
            Waiting("steps of alarms", self._alarms.waiting, alarms.QUEUE_MAX, self._alarms.lost),
            Waiting("readings for history", self._live.history.waiting, history.QUEUE_ROWS_MAX, self._live.history.overflow),
            Waiting("ledger entries before a checkpoint", reach.recorded - reach.checkpointed, 0),
            Waiting("ledger entries before an anchor", reach.recorded - reach.anchored, 0),
            Waiting("sessions", len(self._identity.sessions.all()), sessions.SESSIONS_MAX),
        ]  # fmt: skip

    def tiers(self) -> list[tuple[str, float | None]]:
        """Each tier of history with the seconds that it is kept, None for ever."""
        kept = self._live.plant.retention
        found = [(RAW, kept.raw), *((t.name, kept.of_tier(t.name)) for t in TIERS)]
        return [(name, None if ns is None else ns / 1e9) for name, ns in found]

    async def sizes(self) -> tuple[dict[str, int], int]:
        """Bytes of history, ledger and the rest, as they were SIZES_KEPT_S ago at most, and what the disk has left."""
        async with self._walking:
            now = self._timer()
            if self._sizes is None or now - self._sizes[0] >= SIZES_KEPT_S:
                self._sizes = now, await asyncio.to_thread(_sizes, self._data)
            found = self._sizes[1]
        return found, (await asyncio.to_thread(shutil.disk_usage, self._data)).free


def _sizes(data: Path) -> dict[str, int]:
    found: Counter[str] = Counter(history=0, ledger=0, other=0)
    for folder, _, names in os.walk(data):
        for name in names:
            path = Path(folder, name)
            part = path.relative_to(data).parts[0]
            kind = "history" if part.startswith(HISTORY_FILE) else "ledger" if part == LEDGER else "other"
            try:
                found[kind] += path.stat().st_size
            except FileNotFoundError:  # files come and go while they are counted
                continue
    return dict(found)
