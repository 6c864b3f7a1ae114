"""Alarms at work: hears every change of the twin, keeps each step durably, tells everybody, hands rules what they owe.

Decides nothing: what an alarm may do is in twin/alarms.py, when it comes in twin/alarm_book.py. Runs on the event loop.
An alarm is told even while the disk fails: what cannot be kept is told at once and kept as soon as it can be.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from control.alarm_audit import AlarmLetters
from control.alarm_read import AlarmReader
from control.alarm_record import as_record
from control.alarm_store import AlarmStore, Delivery, Taken, Wanted
from control.alarm_triggers import Triggers
from control.evidence import Evidence
from control.live import LiveTwin
from control.outbox import Outbox
from protocols.link import Clock
from twin.alarm import AlarmPlan, Definition
from twin.alarm_book import AlarmBook, Change
from twin.alarm_rollup import Rollup, rollup
from twin.alarm_statistics import WINDOW_NS, FloodWatch, Statistics, statistics
from twin.alarms import Said, State, Step
from twin.errors import Conflict, LimitExceeded, TwinloopError, Unavailable

TICK_S = 0.1  # how exact a delay is: what an eye sees at once
COMMIT_MAX = 1_000  # steps of one commit: some 15 ms
EVENT_MAX = 100  # steps of one event: 60 kB, so that a flood of 20,000 stays far from the feed's 8,192 events
RETRY_S = 1.0
QUEUE_MAX = 200_000  # steps that wait for a disk: every alarm of the largest plant once; the oldest go first
PRUNE_EVERY_S = 3600.0
WATCH_EVERY_S = 60.0  # so much of a watch may be missing from the figures after a crash
VERB_MAX = 5_000  # alarms of one call: a whole flood
DAY_NS = 86_400 * 1_000_000_000
T = TypeVar("T")
log = logging.getLogger("twinloop.alarms")


@dataclass(slots=True)
class _Waiting:
    """A step on its way to the disk. `told`: everybody has heard of it."""

    taken: Taken
    change: Change | None
    deliveries: tuple[Delivery, ...]
    gone: str = ""
    told: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a verb on one alarm: its state then, and why not, None where it was done."""

    definition: Definition
    state: State
    problem: TwinloopError | None = None


class Alarms:
    """Owned by the event loop.

    Args:
        ahead: by limit of the look-ahead whether it is predicted to be passed; None where nobody can tell.
    """

    def __init__(
        self, live: LiveTwin, store: AlarmStore, evidence: Evidence, clock: Clock,
        ahead: Callable[[], Mapping[str, bool | None]] = dict,
    ) -> None:  # fmt: skip
        self._live, self._store, self._clock, self._ahead = live, store, clock, ahead
        self.plan: AlarmPlan = live.plant.alarms
        begun = self._begun = clock()
        store.watched(begun, begun)
        kept = store.states()
        own = {d.point: live.plant.point(d.point) for d in self.plan.definitions}
        self.unit_of = {name: point.unit for name, point in own.items()}
        points = {name: point.id for name, point in own.items()} | {
            d.condition.other: live.plant.point(d.condition.other).id
            for d in self.plan.definitions
            if d.condition.other
        }
        self.book = AlarmBook(self.plan, points, len(live.table), begun, kept)
        self._n = store.newest()
        self._queue: deque[_Waiting] = deque()
        self._answers: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._flood = FloodWatch(self.plan.settings.operators)
        for time in store.rung_since(begun - WINDOW_NS):
            self._flood.rung(time)
        self.triggers = Triggers(self.plan.rules, store, begun)
        self.lost = 0
        self._failure = ""
        self._wake = asyncio.Event()
        self.owes = asyncio.Event()  # rules have something to do
        self._disk = ThreadPoolExecutor(1, "alarms")
        self._reader = AlarmReader.beside(store.path)
        self._reading = ThreadPoolExecutor(1, "alarm-reads")  # no step waits until somebody has read a long history
        self._audit = Outbox(AlarmLetters(store, evidence, self.on_disk))
        for identity in kept.keys() - self.plan.row_of.keys():
            self._gone(identity, kept[identity], begun)
        self._take(self.book.begin(live.table.columns, begun))  # before any reading: what was active is unsure
        live.on_changed = self.changed

    # --- what callers ask --------------------------------------------------------------------------------------------

    @property
    def rate_10min(self) -> int:
        """How many rang within the last ten minutes."""
        return self._flood.count

    @property
    def newest(self) -> int:
        """Number of the newest step that was taken."""
        return self._n

    @property
    def flooded(self) -> bool:
        return self._flood.on

    @property
    def waiting(self) -> int:
        """Steps that are not on disk yet."""
        return len(self._queue)

    async def say(self, rows: Sequence[int], said_of: Callable[[int], Said]) -> list[Outcome]:
        """Each takes a step if it may; answered once what they took is durable.

        Raises:
            LimitExceeded: more than VERB_MAX at once. Unavailable: it is done, but could not be recorded yet.
        """
        if len(rows) > VERB_MAX:
            raise LimitExceeded(f"{len(rows)} alarms at once", f"at most {VERB_MAX}: narrow what is meant")
        outcomes: list[Outcome] = []
        for row in rows:
            problem: TwinloopError | None = None
            try:
                self._take(self.book.say(row, said_of(row)))
            except TwinloopError as error:
                problem = error
            outcomes.append(Outcome(self.plan.definitions[row], self.book.state(row), problem))
        if any(o.problem is None for o in outcomes):
            await self._durable()
        return outcomes

    def said(self, step: Step, by: str, reason: str, **more: Any) -> Said:
        return Said(step, self._clock(), by, reason, **more)

    async def history(self, wanted: Wanted) -> list[Taken]:
        """Newest first, with all that happened before it was asked; but for what a failing disk does not keep."""
        if self._queue and wanted.before is None:
            with suppress(Unavailable):
                await self._durable()
        return await self._read(self._reader.steps, wanted)

    async def statistics(self, start: int, end: int) -> Statistics:
        found = await self._read(self._reader.happenings, start, end)
        watches = [*await self._read(self._reader.watches, start, end), (self._begun, self._clock())]
        active = [
            (self.plan.definitions[row].id, s.active_at or start)
            for row, s in self.book.retained.items()
            if s.active and s.told
        ]
        return await asyncio.to_thread(statistics, found, start, end, self.plan.settings.operators, active, watches)

    async def rename(self, person: str, name: str) -> None:
        """An erased person: in what stands, in what waits for the disk, and on it."""
        self.book.rename(person, name)
        for waiting in self._queue:
            waiting.taken = replace(waiting.taken, by=name if waiting.taken.by == person else waiting.taken.by)
            if waiting.change is not None and waiting.change.state.acked_by == person:
                waiting.change = replace(waiting.change, state=replace(waiting.change.state, acked_by=name))
        # While nobody reads: what somebody still sees stays in the file.
        await self._read(lambda: self._disk.submit(self._store.rename, person, name).result())

    async def check_settled(self, person: str) -> None:
        """
        Raises:
            Conflict: something that the person did is not yet in the ledger.
        """
        if any(waiting.taken.by == person for waiting in self._queue):
            raise Conflict(f"steps of alarms by {person!r} wait for the disk", "try again in a second")
        await self.on_disk(self._store.check_settled, person)

    async def rollup(self) -> list[Rollup]:
        """Of one moment; counted on a thread."""
        retained, blind = dict(self.book.retained), self.book.conditions.blind.copy()
        return await asyncio.to_thread(rollup, self._live.plant, self.plan.definitions, retained, blind)

    # --- at work -----------------------------------------------------------------------------------------------------

    def changed(self, ids: NDArray[np.int32]) -> None:
        """Called by the twin with every batch that changed something: nothing is lost between two looks."""
        self._take(self.book.changed(ids, self._live.table.columns, self._clock()))

    async def run(self) -> None:
        """Until cancelled; then what waits is kept."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._audit.run())
                tasks.create_task(self._prune_for_ever())
                tasks.create_task(self._watch_for_ever())
                tasks.create_task(self._tick_for_ever())
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._keep_all()
        finally:
            self._reading.shutdown(wait=True, cancel_futures=True)
            self._reader.close()
            self._disk.shutdown(wait=True)  # first: what was being kept is kept
            try:
                while batch := self._batch():
                    self._save(batch)
                    for _ in batch:
                        self._queue.popleft()
                self._store.watched(self._begun, self._clock())
            except sqlite3.Error as error:
                log.error("%d steps of alarms were not kept: %s", len(self._queue), error)

    async def _tick_for_ever(self) -> None:
        while True:
            now, columns = self._clock(), self._live.table.columns
            self._take(self.book.predicted(self._ahead(), columns, now))
            self._take(self.book.tick(columns, now))
            if self._flood.over(now) is not None:
                self._tell_flood(now)
            await asyncio.sleep(TICK_S)

    async def _watch_for_ever(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            with suppress(sqlite3.Error):  # a failing disk is told with the next step
                await self.on_disk(self._store.watched, self._begun, self._clock())

    async def _prune_for_ever(self) -> None:
        while True:
            before = self._clock() - int(self.plan.settings.keep_days * DAY_NS)
            pruned = 0
            try:
                pruned = await self.on_disk(self._store.prune, before)
            except sqlite3.Error as error:
                log.error("old steps of alarms stay: %s", error)
            await asyncio.sleep(TICK_S if pruned else PRUNE_EVERY_S)

    def _take(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._n += 1
            taken = _taken(self._n, change)
            deliveries = tuple(self.triggers.hear(taken, change))
            self._queue.append(_Waiting(taken, change, deliveries))
            if change.rings:
                if self._flood.over(change.said.time) is not None:
                    self._tell_flood(change.said.time)
                if self._flood.rung(change.said.time):
                    self._tell_flood(change.said.time)
        while len(self._queue) > QUEUE_MAX:
            self.lost += 1
            self._queue.popleft()
        if self._queue:
            self._wake.set()

    def _tell_flood(self, now: int) -> None:
        """A flood began, or ended: a step of all alarms."""
        self._n += 1
        word = "flood" if self._flood.on else "flood_over"
        reason = f"{self._flood.count} in ten minutes"
        taken = Taken(self._n, now, "", "", "", "high", word, False, "", reason, None, None, 0)
        self._queue.append(_Waiting(taken, None, ()))
        self._live.feed.announce("alarm_flood", now, {"on": self._flood.on, "count": self._flood.count, "n": self._n})
        log.warning("alarm %s: %s", word, reason)
        self._wake.set()

    def _gone(self, identity: str, state: State, now: int) -> None:
        self._n += 1
        taken = Taken(
            self._n, now, identity, identity.rpartition(":")[0], "", "low", Step.GONE.value, False, "",
            "the plant has no such alarm any more", None, None, state.occurrence,
        )  # fmt: skip
        self._queue.append(_Waiting(taken, None, (), identity))
        self._wake.set()

    # --- to the disk, and to everybody -------------------------------------------------------------------------------

    def _batch(self) -> list[_Waiting]:
        return [self._queue[i] for i in range(min(COMMIT_MAX, len(self._queue)))]

    async def _keep_all(self) -> None:
        while self._queue:
            batch = self._batch()
            try:
                await self.on_disk(self._save, batch)
            except sqlite3.Error as error:
                self._say(str(error))
                self._tell([w for w in self._queue if not w.told])
                await asyncio.sleep(RETRY_S)
                continue
            self._say("")
            last = batch[-1].taken.n
            while (
                self._queue and self._queue[0].taken.n <= last
            ):  # by number: the oldest may have been dropped meanwhile
                self._queue.popleft()
            self._tell([w for w in batch if not w.told])
            self._audit.wake()
            if any(w.deliveries for w in batch):
                self.owes.set()
            while self._answers and self._answers[0][0] <= last:
                answer = self._answers.popleft()[1]
                if not answer.done():
                    answer.set_result(None)

    def _save(self, batch: Sequence[_Waiting]) -> None:
        states: dict[str, State | None] = {w.taken.alarm: w.change.state for w in batch if w.change is not None}
        states |= {w.gone: None for w in batch if w.gone}
        self._store.save(states, [w.taken for w in batch], [d for w in batch for d in w.deliveries])

    def _tell(self, steps: Sequence[_Waiting]) -> None:
        told = [w for w in steps if w.change is not None]
        for start in range(0, len(told), EVENT_MAX):
            part = told[start : start + EVENT_MAX]
            body = {"changes": [_as_event(w, self.unit_of) for w in part]}
            self._live.feed.announce("alarm", part[-1].taken.time, body)
        for waiting in steps:
            waiting.told = True

    def _say(self, failure: str) -> None:
        """Once when the disk fails, once when it works again; whoever waits is told."""
        if failure:
            if not self._failure:
                log.error("steps of alarms cannot be kept, trying again: %s", failure)
            while self._answers:
                answer = self._answers.popleft()[1]
                if not answer.done():
                    answer.set_exception(
                        Unavailable(
                            "it is done, but could not be recorded yet", "it is kept as soon as the disk takes it"
                        )
                    )
        elif self._failure:
            log.info("steps of alarms are kept again")
        self._failure = failure

    async def _durable(self) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers.append((self._n, answer))
        self._wake.set()
        await answer

    async def on_disk(self, work: Callable[..., T], *asked: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *asked)

    async def _read(self, work: Callable[..., T], *asked: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, work, *asked)


def _taken(n: int, change: Change) -> Taken:
    definition, said, state = change.definition, change.said, change.state
    value = said.value if said.step in (Step.ACTIVE, Step.CLEARED) else None
    until = state.until if said.step is Step.SHELVED else None
    return Taken(
        n, said.time, definition.id, definition.point, definition.twin, definition.priority.value, said.step.value,
        change.rings, said.by, said.reason, value, until, state.occurrence,
    )  # fmt: skip


def _as_event(waiting: _Waiting, unit_of: Mapping[str, str]) -> dict[str, Any]:
    """As the console gets it (wire_alarm.AlarmChange)."""
    assert waiting.change is not None
    taken, change = waiting.taken, waiting.change
    return {
        "n": taken.n, "step": taken.step, "time": taken.time / 1e6, "by": taken.by, "reason": taken.reason,
        "rings": taken.rings, "alarm": as_record(change.definition, change.state, unit_of[change.definition.point]),
    }  # fmt: skip
