"""Imports of graph files into the running graph: each a plan, shown or carried out, with progress and a cancel.

Owned by the event loop; files are read and compared on threads. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from control import graph_view
from control.graph import LiveGraph
from control.graph_change import Change
from control.graph_import import Planned, checked, planned
from control.live import LiveTwin
from control.whatif import State
from protocols.link import Clock
from twin.errors import BadRequest, LimitExceeded, NotFound, TwinloopError

BODY_MAX = 64_000_000  # bytes of a graph file: some 100,000 twins with their models
WAIT_MAX = 1_000_000  # bytes of a file that is read within a second: its caller waits for the end
RUNNING_MAX = 1  # edits take turns anyway
RUNS_KEPT = 20  # results of ~100 kB each
log = logging.getLogger("twinloop.graph")


class _Ended(Exception):
    """Somebody cancelled the run."""


@dataclass(slots=True)
class ImportRun:
    """One import. `result` is the plan, and what became of it; a cancel ends it while nothing has been done yet."""

    id: str
    started_at: int
    dry_run: bool
    replaces: bool
    state: State = State.RUNNING
    progress: float = 0.0
    result: dict[str, Any] | None = None
    failure: TwinloopError | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Imports:
    """At most RUNNING_MAX at a time, the newest RUNS_KEPT kept until the server stops."""

    def __init__(self, live: LiveTwin, graph: LiveGraph, clock: Clock, new_id: Callable[[], str]) -> None:
        self._live, self._graph, self._clock, self._new_id = live, graph, clock, new_id
        self._runs: dict[str, ImportRun] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Hold the tasks of all imports until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await asyncio.Event().wait()
        finally:
            for run in self._runs.values():
                run.cancel.set()

    async def start(self, raw: bytes, dry_run: bool, replaces: bool, author: str) -> ImportRun:
        """A run that has ended where the file is small; a large one goes on.

        Raises:
            LimitExceeded: another import is running. Of a small file: whatever is wrong with it.
        """
        if self._tasks is None or any(r.state is State.RUNNING for r in self._runs.values()):
            raise LimitExceeded(f"{RUNNING_MAX} import is running", "wait for it or cancel it")
        run = ImportRun(self._new_id(), self._clock(), dry_run, replaces)
        self._runs[run.id] = run
        while len(self._runs) > RUNS_KEPT:
            del self._runs[next(iter(self._runs))]
        self._tasks.create_task(self._import(run, raw, author))
        if len(raw) <= WAIT_MAX:
            await run.ended.wait()
            if run.failure is not None:
                raise run.failure
        return run

    def get(self, identity: str) -> ImportRun:
        run = self._runs.get(identity)
        if run is None:
            raise NotFound(f"no import {identity!r}", f"the newest {RUNS_KEPT} are kept until the server stops")
        return run

    def cancel(self, identity: str) -> ImportRun:
        """It ends as soon as it looks; once its edit is being carried out, it is done."""
        run = self.get(identity)
        run.cancel.set()
        return run

    async def _import(self, run: ImportRun, raw: bytes, author: str) -> None:
        try:
            if run.dry_run:
                run.result = (await self._plan(run, raw)).to_json()
            else:
                await self._graph.apply(lambda: self._decided(run, raw), author)
            run.state, run.progress = State.DONE, 1.0
        except _Ended:
            run.state = State.CANCELLED
        except TwinloopError as error:
            run.state, run.failure = State.FAILED, error
        except Exception:  # a fault of ours must not end the server that watches the plant
            log.exception("import %s failed", run.id)
            run.state = State.FAILED
            run.failure = TwinloopError("something went wrong inside the import", "the server's log has the details")
        finally:
            run.ended.set()

    async def _decided(self, run: ImportRun, raw: bytes) -> Change:
        plan = await self._plan(run, raw)
        run.result = plan.to_json()
        failure = plan.error()
        if failure is not None:
            raise failure
        assert plan.change is not None
        return plan.change

    async def _plan(self, run: ImportRun, raw: bytes) -> Planned:
        plant, columns = self._live.plant, self._live.table.columns.copy()

        def step(progress: float) -> None:
            run.progress = progress
            if run.cancel.is_set():
                raise _Ended

        def work() -> Planned:
            step(0.0)
            text = _text(raw)
            values = graph_view.values(plant, columns)
            step(0.1)
            plan = planned(plant, values, text, run.replaces, step)
            return checked(plant, plan) if run.dry_run else plan

        return await asyncio.to_thread(work)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"not UTF-8: {error.reason} at byte {error.start}", "save the file as UTF-8") from None
