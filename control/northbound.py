"""Shows the twin to other programs: one thread a `[[serve]]`, fed with coalesced state, asking for commands.

A thread with a standard event loop of its own: encoding for many clients must not keep the server's loop, and
asyncua's server does not live on uvloop (docs/decisions/0006). Must not know any protocol.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from control.accounts import Accounts
from control.command import Command, Priority
from control.evidence import Evidence
from control.identity import Caller
from control.live import LiveTwin
from control.permissions import permit
from control.request import Request
from control.runtime import CommandRuntime
from control.sign_in import Refusals
from protocols.faces import FACES
from protocols.link import Clock
from protocols.served import Asked, CommandState, Face, Figures, Guest, Shown, States
from twin.columns import NEVER
from twin.errors import BadRequest, Denied, LimitExceeded, Throttled, Unavailable
from twin.past import Past, Span
from twin.plant import Plant, Serving
from twin.plantfile import SERVING_PROPERTIES
from twin.readings import Readings
from twin.role import Act, Role
from twin.store import Store

HANDOVER_S = 0.05  # twenty hand-overs a second: finer than what SCADA asks for, and one wake-up each
BEAT_S = 1.0
FIGURES_S = 1.0
START_S = 60.0  # an address space of 50,000 points on a busy machine
STOP_S = 5.0
ASKING_MAX = 200  # questions of one face under way, and as many commands followed; more are told to come later
FOLLOW_EVERY_S = 0.1
FOLLOW_MAX_S = 3600.0
PAGE_MAX = 10_000  # readings of one page of history: some 50 ms of DuckDB
_PRIORITIES = {p.name.lower(): p for p in Priority}
T = TypeVar("T")
log = logging.getLogger("twinloop.northbound")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a face's questions are put to; all but `store` live on the server's loop."""

    live: LiveTwin
    store: Store
    commands: CommandRuntime
    accounts: Accounts
    evidence: Evidence
    clock: Clock
    new_id: Callable[[], str]


class View:
    """Implements protocols.served.TwinView; made on the server's loop, used on the face's."""

    def __init__(self, sources: Sources, serving: Serving, loop: asyncio.AbstractEventLoop) -> None:
        self.figures = Figures()
        self._sources, self._serving, self._loop = sources, serving.id, loop
        self._refusals = Refusals(sources.accounts, sources.evidence, sources.clock)
        self._plant = sources.live.plant
        self._shown = Shown(serving.settings.get("points", ("*",)))
        # The place of hand-over: filled on the server's loop when empty, emptied on the face's.
        self._waiting: States | None = None
        self._filled = asyncio.Event()
        self._face_loop: asyncio.AbstractEventLoop | None = None
        self._cursor = 0
        self._anew = True
        self._beat = 0.0  # when something must be said again, on the loop's clock
        self._told = np.zeros(0, np.uint64)  # revision last handed over, by point
        self._questions, self._followers = _Turns(), _Turns()

    # --- on the face's loop --------------------------------------------------------------------------------------

    @property
    def plant(self) -> Plant:
        return self._plant

    async def states(self) -> AsyncIterator[States]:
        self._face_loop = asyncio.get_running_loop()
        self._loop.call_soon_threadsafe(self._start_anew)
        while True:
            await self._filled.wait()
            self._filled.clear()
            taken, self._waiting = self._waiting, None
            if taken is not None:
                self._plant = taken.plant
                yield taken

    async def history(self, point: str, span: Span) -> list[Past]:
        if span.most > PAGE_MAX:
            raise LimitExceeded(f"{span.most} readings at once", f"at most {PAGE_MAX}; read page by page")
        history = self._sources.live.history

        def read() -> list[Past]:
            history.flush().result(START_S)  # what was heard until now is part of what was asked
            return self._sources.store.past(point, span)

        with self._questions:
            return await asyncio.to_thread(read)

    async def command(self, asked: Asked, by: Guest) -> CommandState:
        priority = _PRIORITIES.get(asked.priority)
        if priority is None:
            raise BadRequest(f"priority {asked.priority!r}", f"one of {', '.join(_PRIORITIES)}")
        await self._allow(by)
        request = Request(self._sources.new_id(), asked.point, asked.value, priority, asked.deadline_s, asked.reason)
        with self._questions:
            command = await self._ask(self._sources.commands.submit(request, by.author))
        self.figures.writes += 1
        return _state(command)

    async def follow(self, command_id: str, by: Guest, timeout_s: float) -> CommandState:
        if not 0 <= timeout_s <= FOLLOW_MAX_S:
            raise BadRequest(f"a wait of {timeout_s:g} s", f"0 … {FOLLOW_MAX_S:g}")
        with self._followers:
            return await self._ask(self._followed(command_id, timeout_s))

    async def sign_in(self, name: str, password: str, peer: str) -> Role:
        try:
            role = await asyncio.to_thread(self._sources.accounts.sign_in, name, password, peer)
        except Denied as error:
            self.figures.refused += 1
            if not isinstance(error, Throttled):
                self._refusals.note(name, self._serving, peer)
            raise
        self._sources.evidence.record("login", {"user": name, "by": self._serving, "peer": peer})
        return role

    async def _allow(self, by: Guest) -> None:
        """Looked up again: a role may have been taken away since the client signed in."""
        role = await asyncio.to_thread(self._sources.accounts.role, by.account) if by.account else by.role
        permit(Caller(by.author, role), Act.COMMAND)

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        """What a coroutine of the server's loop answers."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self._loop))

    # --- on the server's loop ------------------------------------------------------------------------------------

    async def _followed(self, command_id: str, timeout_s: float) -> CommandState:
        end = self._loop.time() + timeout_s
        while True:
            state = _state(await self._sources.commands.get(command_id))
            left_s = end - self._loop.time()
            if state.final or left_s <= 0:
                return state
            await asyncio.sleep(min(FOLLOW_EVERY_S, left_s))

    def _start_anew(self) -> None:
        self._anew, self._waiting = True, None

    def hand_over(self) -> None:
        """Fill the place if the face has emptied it; what advances meanwhile is in the next."""
        if self._face_loop is None or self._waiting is not None:
            return
        live = self._sources.live
        head, plant = live.feed.seq, live.plant
        ids = self._news(plant)
        if not (len(ids) or self._anew or plant is not self._plant) and self._loop.time() < self._beat:
            self._cursor = head
            return
        self._beat = self._loop.time() + BEAT_S
        columns = live.table.columns
        self._count(ids, columns.revision[ids])
        text = {int(i): columns.text[int(i)] for i in ids if int(i) in columns.text} if columns.text else {}
        self._waiting = States(plant, ids, columns.value[ids], columns.quality[ids], columns.source_time[ids], text)
        self._cursor, self._anew = head, False
        self._face_loop.call_soon_threadsafe(self._filled.set)

    def _news(self, plant: Plant) -> NDArray[np.int32]:
        live = self._sources.live
        if self._anew:
            ids = np.flatnonzero(live.table.columns.source_time != NEVER).astype(np.int32)
        else:
            ids = live.feed.points_since(self._cursor)
        return ids[self._shown.of(plant.points)[ids]] if len(ids) else ids

    def _count(self, ids: NDArray[np.int32], revisions: NDArray[np.uint64]) -> None:
        """How many states between were never told."""
        size = len(self._sources.live.table)
        if len(self._told) < size:
            self._told = np.concatenate([self._told, np.zeros(size - len(self._told), np.uint64)])
        if not self._anew:
            changes = (revisions - self._told[ids]).astype(np.int64)  # none where the state was only confirmed
            self.figures.dropped += int(np.maximum(changes - 1, 0).sum())
        self._told[ids] = revisions


class _Turns:
    """At most ASKING_MAX at once."""

    def __init__(self) -> None:
        self._taken = 0

    def __enter__(self) -> None:
        if self._taken >= ASKING_MAX:
            raise LimitExceeded(f"{ASKING_MAX} questions are being answered", "ask again later")
        self._taken += 1

    def __exit__(self, *_: object) -> None:
        self._taken -= 1


class Station:
    """One face in its thread."""

    def __init__(self, serving: Serving, sources: Sources, pki: Path | None) -> None:
        self.serving = serving
        self.view = View(sources, serving, asyncio.get_running_loop())
        self._sources, self._pki = sources, pki
        self._ready: Future[str] = Future()
        self._ended: Future[None] = Future()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name=f"serve {serving.id}", daemon=True)

    async def start(self) -> str:
        """Where it listens.

        Raises:
            Unavailable: it cannot listen there.
        """
        self._thread.start()
        try:
            async with asyncio.timeout(START_S):
                return await asyncio.wrap_future(self._ready)
        except OSError as error:
            where = self.serving.endpoint.rsplit("@", 1)[-1]
            reason = error.strerror or str(error)
            raise Unavailable(f"cannot serve {self.serving.id} at {where}: {reason}", "choose another") from None

    async def run(self) -> None:
        """Feed it until cancelled; then it stops."""
        try:
            said_s = FIGURES_S
            while not self._ended.done():
                self.view.hand_over()
                if said_s >= FIGURES_S:
                    self._say()
                    said_s = 0.0
                await asyncio.sleep(HANDOVER_S)
                said_s += HANDOVER_S
            self._ended.result()
        finally:
            await self.stop()

    async def stop(self) -> None:
        self._stop()
        await asyncio.to_thread(self._thread.join, STOP_S)
        if self._thread.is_alive():
            log.error("serving %s did not stop in %g s", self.serving.id, STOP_S)

    def _say(self) -> None:
        """Its figures as points of its twin, where they changed."""
        live, figures = self._sources.live, self.view.figures
        columns = live.table.columns
        for name, type_, _ in SERVING_PROPERTIES:
            point, value = live.plant.point_of_name.get(f"{self.serving.id}.{name}"), getattr(figures, name)
            if point is None:
                continue
            text = {0: value} if type_ == "string" else {}
            number = float("nan") if text else float(value)
            held = columns.text.get(point.id) if text else float(columns.value[point.id])
            if columns.quality[point.id] or columns.source_time[point.id] == NEVER or held != value:
                live.readings(Readings.of([point.id], [number], self._sources.clock(), text=text))

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        make = FACES[self.serving.protocol].face
        face: Face = make(self.serving, self.view, self._sources.clock, self._pki)
        await face.start()
        try:
            self._stop = lambda: loop.call_soon_threadsafe(stop.set)
            self._ready.set_result(face.endpoint)
            running = loop.create_task(face.run())
            stopping = loop.create_task(stop.wait())
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            for task in (running, stopping):
                task.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
            if not stop.is_set():
                await running
        finally:
            await face.stop()


class Northbound:
    """Every `[[serve]]` of the plant."""

    def __init__(self, servings: Sequence[Serving], sources: Sources, pki: Path | None) -> None:
        self.stations = [Station(s, sources, pki) for s in servings]
        self.figures = {s.serving.id: s.view.figures for s in self.stations}

    async def start(self) -> dict[str, str]:
        """Endpoints really served, by id.

        Raises:
            Unavailable: one of them cannot listen; none does then.
        """
        served: dict[str, str] = {}
        for station in self.stations:
            try:
                served[station.serving.id] = await station.start()
            except BaseException:
                for begun in self.stations[: len(served)]:
                    await begun.stop()
                raise
        return served

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for station in self.stations:
                tasks.create_task(station.run())


def _state(command: Command) -> CommandState:
    last = command.transitions[-1]
    return CommandState(command.id, command.status.value, command.final, last.detail)
