"""The running graph: carries edits out, one after the other, so that each is durable, recorded and seen at once.

What may be edited is decided in twin/edit.py and control/graph_change.py. Runs on the event loop; must not know HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from control import graph_view
from control.evidence import GRAPH, Evidence
from control.graph_change import Change, Worked, patched, readings_of, worked_out
from control.graph_store import GraphStore, KeptReadings, rows
from control.live import LiveTwin
from ledger.errors import LedgerError
from protocols.link import Clock
from twin.digest import SeriesRows
from twin.edit import AddRelationship, AddTwin, RemoveRelationship, RemoveTwin, SetAside
from twin.errors import PreconditionFailed, Unavailable
from twin.history import History
from twin.plant import Plant, Relationship, Twin
from twin.readings import Readings

SLICE = 5_000  # readings handed to the twin at once: a few milliseconds of the event loop
LEDGER_WAIT_S = 5.0
LINES_KEPT, LINE_MAX = 100, 200  # of an edit's changes in its ledger entry, which holds 65,535 bytes
T = TypeVar("T")
ANY = "*"
log = logging.getLogger("twinloop.graph")


class LiveGraph:
    """Edits take turns; each is on disk before anybody sees it, and in history and ledger before it is answered."""

    def __init__(
        self, live: LiveTwin, store: GraphStore, evidence: Evidence, clock: Clock, set_aside: Sequence[SetAside] = ()
    ) -> None:
        self.set_aside = tuple(set_aside)
        self._live, self._store, self._evidence, self._clock = live, store, evidence, clock
        self._turn = asyncio.Lock()
        self._disk = ThreadPoolExecutor(1, "graph")
        for aside in self.set_aside:
            log.warning("an addition of the API no longer fits the plant: %s (%s)", aside.message, aside.fix)

    @property
    def plant(self) -> Plant:
        return self._live.plant

    def close(self) -> None:
        self._disk.shutdown()

    # --- what callers ask --------------------------------------------------------------------------------------------

    async def create(self, twin: Twin, values: Mapping[str, Any], author: str) -> None:
        """
        Raises:
            BadGraph, BadRequest, NotFound, Conflict, Refused: it does not fit; all that is wrong is said.
        """
        named = {f"{twin.id}.{name}": value for name, value in values.items()}
        await self.apply(lambda: _ready(Change((AddTwin(twin),), named, "properties")), author)

    async def patch(self, twin_id: str, patch: Any, expected: Collection[str] | None, author: str) -> None:
        """A JSON merge patch of `name`, `at` and `properties`.

        Args:
            expected: ETags, one of which the twin must have; None for whatever it is.

        Raises:
            PreconditionFailed: the twin has another ETag. Others as for `create`.
        """

        async def make() -> Change:
            self._check(twin_id, expected)
            return patched(self.plant, self._live.table.columns, twin_id, patch)

        await self.apply(make, author)

    async def delete(self, twin_id: str, expected: Collection[str] | None, author: str) -> None:
        """The twin and every relationship that starts or ends at it. Errors as for `patch`."""

        async def make() -> Change:
            self._check(twin_id, expected)
            return Change((RemoveTwin(twin_id),))

        await self.apply(make, author)

    async def link(self, relationship: Relationship, expected: Collection[str] | None, author: str) -> bool:
        """False when it was there already. `expected` are ETags of its source."""

        async def make() -> Change:
            self._check(relationship.source, expected)
            return Change((AddRelationship(relationship),))

        return await self.apply(make, author)

    async def unlink(self, relationship: Relationship, expected: Collection[str] | None, author: str) -> None:
        async def make() -> Change:
            self._check(relationship.source, expected)
            return Change((RemoveRelationship(relationship),))

        await self.apply(make, author)

    def _check(self, twin_id: str, expected: Collection[str] | None) -> None:
        now = graph_view.etag(self.plant, self._live.table.columns, twin_id)
        if expected is not None and ANY not in expected and now not in expected:
            raise PreconditionFailed(
                f"twin {twin_id} has changed; its ETag is {now}", "read it again, then decide anew"
            )

    # --- the work ----------------------------------------------------------------------------------------------------

    async def apply(self, make: Callable[[], Awaitable[Change]], author: str) -> bool:
        """One edit, all or nothing; False when it changes nothing. `make` sees the graph as it is when its turn comes.

        Raises:
            Unavailable: it could not be kept or recorded; nothing was done. And whatever `make` and the edit raise.
        """
        async with self._turn:
            failure = self._evidence.writer.failure
            if failure is not None:
                raise Unavailable(f"nothing can be recorded: {failure}", "no edit is taken until it can")
            change = await make()
            before = self.plant
            work = await asyncio.to_thread(_worked_out, before, change)
            if not work.lines:
                return False
            return await asyncio.shield(self._carry_out(before, work, author))

    async def _carry_out(self, before: Plant, work: Worked, author: str) -> bool:
        now = self._clock()
        batch = await asyncio.to_thread(readings_of, work, self._live.table.columns, now)  # kept values wait for us
        names = work.plant.points.column("name").slice(before.points.size).to_pylist()
        history = self._live.history
        series = await asyncio.wrap_future(history.between(lambda: history.store.series_of(names)))
        body = {"author": author, "count": len(work.lines), "sha256": work.digest,
                "changes": [line[:LINE_MAX] for line in work.lines[:LINES_KEPT]]}  # fmt: skip
        changes_plant = work.plant is not before
        number = await self._on_disk(lambda: self._save(before, work, batch, now, body))
        # Seen from here on: nothing is awaited between the plant and the first of its values. Those who follow the feed
        # hear of the plant first.
        if changes_plant:
            self._live.adopt(work.plant, series)
            self._live.feed.announce("plant", now, {"revision": number})
        for start in range(0, len(batch), SLICE):
            self._live.readings(batch.take(np.arange(start, min(start + SLICE, len(batch)))))
            if start + SLICE < len(batch):
                await asyncio.sleep(0)
        await self.settle()
        return True

    def _save(self, before: Plant, work: Worked, batch: Readings, now: int, body: dict[str, Any]) -> int:
        change = None if work.plant is before else rows(before, work.plant)
        try:
            return self._store.save(change, now, body, _kept(work.plant, batch))
        except sqlite3.Error as error:
            raise Unavailable(f"graph.sqlite takes nothing: {error}", "see whether the disk is full") from None

    async def settle(self) -> None:
        """What waits goes to history and ledger; what cannot waits on, at the latest until the next start."""
        history = self._live.history
        await asyncio.wrap_future(history.flush())
        if history.failure is not None:
            log.error("edits of the graph wait for history: %s", history.failure)
            return
        done: list[int] = []
        try:
            for edit in await self._on_disk(self._store.waiting):
                body: dict[str, Any] = {"edit": edit.n, **edit.body}
                await self._evidence.record(GRAPH, body, edit.time_ns)
                done.append(edit.n)
        except (LedgerError, sqlite3.Error) as error:
            log.error("edits of the graph wait for the ledger: %s", error)
        try:
            await self._on_disk(lambda: self._store.settled(done))
        except sqlite3.Error as error:  # the next start finds them again, and that the ledger has them
            log.error("graph.sqlite does not forget what is settled: %s", error)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


def _worked_out(plant: Plant, change: Change) -> Worked:
    """With what readers will ask of the new plant: made here, it costs the event loop nothing."""
    work = worked_out(plant, change)
    graph_view.prepare(work.plant)
    return work


async def _ready(change: Change) -> Change:
    return change


def _kept(plant: Plant, batch: Readings) -> KeptReadings:
    points = plant.points.column("name").take(batch.point)
    return KeptReadings(
        points.to_pylist(), batch.value.astype("<f8").tobytes(), batch.quality.astype("<u4").tobytes(),
        batch.source_time.astype("<i8").tobytes(), dict(batch.text),
    )  # fmt: skip


def recover(store: GraphStore, history: History, evidence: Evidence) -> None:
    """After a crash: values of edits that were answered, or about to be, are in history before anything is read."""
    last = next((int(str(e.body["edit"])) for _, e in evidence.entries(1, GRAPH)), 0)
    for edit in store.waiting():
        kept = edit.readings
        count = len(kept.names)
        if count:
            series = history.between(lambda names=kept.names: history.store.series_of(names)).result()  # type: ignore[misc]
            times = np.frombuffer(kept.source_time, "<i8").astype(np.int64)
            history.append(
                SeriesRows(
                    series, np.frombuffer(kept.value, "<f8").astype(np.float64),
                    np.frombuffer(kept.quality, "<u4").astype(np.uint32), times,
                    np.full(count, edit.time_ns, np.int64), np.zeros(count, np.bool_), kept.text,
                )
            ).result()  # fmt: skip
        if edit.n > last:
            evidence.record(GRAPH, {"edit": edit.n, **edit.body}, edit.time_ns, wait_s=LEDGER_WAIT_S).result()  # type: ignore[dict-item]
        store.settled([edit.n])
