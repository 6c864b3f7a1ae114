"""The look-ahead at work: simulates from the live state again and again, follows what it predicted, scores what it said.

Decides nothing: what a forecast says and which alarms stand is in lookahead.py, how it fared in lookahead_score.py.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

import duckdb
import msgspec
import numpy as np

from control.errors import words
from control.evidence import Evidence
from control.live import LiveTwin
from control.lookahead import Forecast
from control.lookahead_alarms import Alarm, Alarms, Quiet, Shelf, Status, sentence
from control.lookahead_audit import LookaheadLetters
from control.lookahead_futures import Futures
from control.lookahead_ground import Ground
from control.lookahead_look import Look, Made
from control.lookahead_score import Score, Summary, summary
from control.lookahead_store import LookaheadStore
from control.outbox import Outbox
from protocols.link import Clock
from sim.runner import Cancelled, Runner
from sim.scenario import Limit, parse_limit
from twin.errors import BadRequest, NotFound, TwinloopError, Unavailable
from twin.lookahead import Lookahead
from twin.nearest import nearest
from twin.quality import is_good

LOOK_EVERY_S = 0.5  # how soon a limit that is passed, or a forecast that has come due, is seen
YIELD_POLL_S = 0.1  # how soon it makes way for what people ask
AGAIN_S = 5.0  # after a turn without a forecast: the state may be known again, people's what-ifs may be over
SOON_S = 2.0  # at least from one turn to one that a change calls for: as often as a plant may ask for
SOON_TURNS = 4  # and so many times what the last one took: settings that never rest leave the workers to others
# A look that costs no more, on threads beside what people ask, makes nobody wait. By its last turn that had the threads
# for itself; a kernel's look takes a tenth of a second, one in worker processes some seconds.
LIGHT_S = 0.5
LIGHT_MAX_S = 2.0  # that even such a look goes on beside what people ask
TIMEOUT_S = 120.0  # of one forecast: past it the workers are busy with something else, or a model is far too slow
STALE_TURNS = 3  # a forecast older than so many turns is not of now
SUMMARY_MAX = 2_000  # newest scores and alarms that the track record is made of
SHELVED_MAX_S = 86_400.0  # a day: what nobody wants to hear of for longer is no limit of the plant
T = TypeVar("T")
log = logging.getLogger("twinloop.lookahead")


class State(StrEnum):
    OFF = "off"  # the plant asks for none
    WAITING = "waiting"  # no forecast yet
    CURRENT = "current"
    STALE = "stale"  # the newest forecast is not of now


@dataclass(slots=True)
class Turns:
    """What became of the turns since the start; those that were not made are counted, never queued.

    Attributes:
        yielded: people's what-ifs or commands' predictions had the workers, and the look is not light.
        late: the turn before was not ready.
        refused: the plant's state was not known well enough, or the model does not fit.
        failed: a component's or another fault of the simulation, or no answer in TIMEOUT_S.
    """

    made: int = 0
    yielded: int = 0
    late: int = 0
    refused: int = 0
    failed: int = 0


class Lookout:
    """Owned by the event loop; one simulation at a time, in a thread of its own, on the workers that everybody shares.

    Args:
        busy: why the simulation's workers are people's now; "" when they are free.
    """

    def __init__(
        self, live: LiveTwin, runner: Runner, store: LookaheadStore, evidence: Evidence, clock: Clock,
        new_id: Callable[[], str], busy: Callable[[], str],
    ) -> None:  # fmt: skip
        self._live, self._store, self._clock = live, store, clock
        self._new_id, self._busy = new_id, busy
        self.asked = live.plant.lookahead
        self.turns = Turns()
        self.forecast: Forecast | None = None
        self._why = ""  # there is no newer forecast; "" when the last turn made one
        self._refused = False
        self._ground: Ground | None = None  # of the newest forecast
        self._broken = ""  # why it can no longer be true
        self._called = asyncio.Event()  # for a turn before its time
        self._light = False
        limits = [parse_limit(x) for x in (self.asked.limits if self.asked else ())]
        self._limits: tuple[Limit, ...] = tuple({str(limit): limit for limit in limits}.values())
        asked = self.asked or Lookahead()
        self._alarms = Alarms(asked, self._limits, (), new_id)
        self._look = Look(asked, self._limits, runner, new_id)
        self._shelves: dict[str, Shelf] = {}
        self._said = State.OFF
        self._begun = clock()
        self._cancel = threading.Event()
        self._thread = ThreadPoolExecutor(1, "lookahead")
        self._disk = ThreadPoolExecutor(1, "forecasts")
        self._audit = Outbox(LookaheadLetters(store, evidence, self._on_disk))
        self._futures = Futures(live, store, clock, self._on_disk)

    # --- what callers ask --------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        if self.asked is None:
            return State.OFF
        if self.forecast is None:
            return State.WAITING
        age_s = (self._clock() - self.forecast.made_at) / 1e9
        old = age_s > STALE_TURNS * max(self.asked.every_s, self.forecast.took_s) + AGAIN_S
        return State.STALE if old or self._refused or self._broken else State.CURRENT

    @property
    def why(self) -> str:
        """Why there is no newer forecast, or the newest no longer holds; "" while it does."""
        if self._refused or not self._broken:
            return self._why
        return f"{self._broken}; {self._why}" if self._why else self._broken

    @property
    def since(self) -> int:
        """Of the newest forecast, or of the start: there is none after it."""
        return self.forecast.made_at if self.forecast else self._begun

    @property
    def standing(self) -> list[Alarm]:
        """Predicted alarms, the soonest first."""
        return self._alarms.standing

    @property
    def limits(self) -> list[str]:
        return [str(limit) for limit in self._limits]

    @property
    def passed_now(self) -> list[str]:
        return self._alarms.passed_now

    @property
    def quiet(self) -> list[Quiet]:
        return self._alarms.quiet

    @property
    def shelves(self) -> list[Shelf]:
        return list(self._shelves.values())

    async def alarms(self, limit: int) -> list[Alarm]:
        """Predicted alarms and what became of them, newest first."""
        return await self._on_disk(self._store.alarms, limit)

    async def scores(self, limit: int) -> list[Score]:
        """Newest first."""
        return await self._on_disk(self._store.scores, limit)

    async def summary(self) -> Summary:
        """The track record over the newest SUMMARY_MAX scores and alarms."""
        scores, alarms = await self.scores(SUMMARY_MAX), await self.alarms(SUMMARY_MAX)
        return await asyncio.to_thread(summary, self._futures.waiting, scores, alarms)

    async def shelve(self, limit: str, for_s: float, by: str, reason: str) -> Shelf:
        """Nobody is told of predicted alarms of this limit for so long; they are predicted and scored all the same.

        Raises:
            NotFound: the look-ahead has no such limit. BadRequest: for no time, or for too long.
        """
        known = self._known(limit)
        if not 0 < for_s <= SHELVED_MAX_S:
            raise BadRequest(f"for_s {for_s:g}", f"give seconds in (0, {SHELVED_MAX_S:g}]")
        now = self._clock()
        shelf = Shelf(known, now + int(for_s * 1e9), by, reason)
        body = {"step": "shelved", "limit": known, "by": by, "reason": reason, "until_ns": shelf.until}
        await self._on_disk(self._store.shelve, shelf, (now, _text(body)))
        self._shelves[known] = shelf
        self._tell("shelf")
        return shelf

    async def rename(self, person: str, name: str) -> None:
        """An erased person: of shelves that stand, and on the disk."""
        await self._on_disk(self._store.rename, person, name)
        self._shelves = {k: replace(s, by=name) if s.by == person else s for k, s in self._shelves.items()}

    async def check_settled(self, person: str) -> None:
        """
        Raises:
            Conflict: something that the person did is not yet in the ledger.
        """
        await self._on_disk(self._store.check_settled, person)

    async def unshelve(self, limit: str, by: str) -> None:
        """
        Raises:
            NotFound: no such limit is shelved.
        """
        known = self._known(limit)
        if known not in self._shelves:
            raise NotFound(f"{known} is not shelved", f"shelved: {', '.join(self._shelves) or 'nothing'}")
        await self._leave_shelf(known, by)

    def _known(self, text: str) -> str:
        """The limit as it is called, however it was written."""
        names, limit = self.limits, str(parse_limit(text))
        if limit not in names:
            raise NotFound(
                f"the look-ahead has no limit {limit}", nearest(limit, names) or f"one of {', '.join(names)}"
            )
        return limit

    # --- at work -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take up what a stop left behind, then look ahead, follow and score until cancelled."""
        asked = self.asked
        if asked is None:
            return
        try:
            standing = await self._on_disk(self._store.standing)
            self._alarms = Alarms(asked, self._limits, standing, self._new_id)
            for alarm in standing:
                if alarm.limit not in self.limits:
                    why = "the plant has no such limit any more"
                    await self._keep(replace(alarm, status=Status.LAPSED, ended_at=self._clock(), detail=why))
            self._shelves = {s.limit: s for s in await self._on_disk(self._store.shelves)}
            await self._futures.restore(await self._on_disk(self._store.waiting))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._audit.run())
                tasks.create_task(self._follow())
                await self._look_for_ever(asked)
        finally:
            self._cancel.set()
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._disk.shutdown(wait=True)

    async def _look_for_ever(self, asked: Lookahead) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            await self._turn()
            took_s = loop.time() - begun
            missed = int(took_s / asked.every_s)
            self.turns.late += missed
            next_s = (missed + 1) * asked.every_s - took_s
            await self._pause(next_s if self._why == "" else min(next_s, AGAIN_S), SOON_TURNS * took_s)

    async def _pause(self, longest_s: float, least_s: float) -> None:
        """Until the next turn: before its time when the newest forecast can no longer be true."""
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(longest_s):
                await self._called.wait()
        except TimeoutError:
            return
        self._called.clear()
        waited_s = asyncio.get_running_loop().time() - begun
        await asyncio.sleep(min(longest_s, max(SOON_S, least_s)) - waited_s)

    async def _turn(self) -> None:
        why, refused = "" if self._light else self._busy(), False
        if why:
            self.turns.yielded += 1
        else:
            try:
                alone = not self._busy()
                made = await self._simulated()
                if alone and not self._busy():
                    self._light = made.on_threads and made.forecast.took_s <= LIGHT_S
                await self._take(made)
                self.turns.made += 1
            except Cancelled:
                self.turns.yielded += 1
                why = self._busy() or "it made way for what people asked"
            except TwinloopError as error:
                fault = isinstance(error, Unavailable)
                self.turns.failed += fault
                self.turns.refused += not fault
                why, refused = ": ".join(part for part in words(error) if part), True
            except (duckdb.Error, sqlite3.Error) as error:
                self.turns.failed += 1
                log.error("the look-ahead could not be kept: %s", error)
                why, refused = f"it could not be kept: {error}", True
        # Said once when it begins and once when it ends; before the first forecast the plant is only being read in.
        if refused and not self._refused and self.forecast is not None:
            log.warning("no forecast: %s", why)
        if self._refused and not why and self.turns.made > 1:
            log.info("the look-ahead works again")
        self._why = why
        self._refused = refused or (self._refused and why != "")
        self._tell("turn")

    async def _simulated(self) -> Made:
        """
        Raises:
            Cancelled: people asked for the workers. TwinloopError: there is no forecast; it says why.
        """
        loop = asyncio.get_running_loop()
        cancel = self._cancel = threading.Event()
        # What the limits read at the start of the look is known before it: else one kept again only just is taken as passed.
        heard, plant, snapshot = self._heard(), self._live.plant, self._live.snapshot()
        for alarm in heard:
            await self._keep(alarm)
        work = loop.run_in_executor(self._thread, self._look.make, plant, snapshot, cancel)
        work.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody waits for it after a stop
        begun = loop.time()
        end = begun + TIMEOUT_S
        while not (await asyncio.wait({work}, timeout=YIELD_POLL_S))[0]:
            light = self._light and loop.time() - begun <= LIGHT_MAX_S
            if (self._busy() and not light) or loop.time() > end:
                cancel.set()
        (found,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(found, Made):
            return found
        if isinstance(found, Cancelled) and loop.time() > end:
            raise Unavailable(f"no forecast within {TIMEOUT_S:g} s", "look less far, or with fewer replications")
        if isinstance(found, TwinloopError | Cancelled):
            raise found
        # A model's own fault must not end the server that watches the plant.
        log.error("the look-ahead failed", exc_info=found)
        raise Unavailable("something went wrong inside the simulation", "the server's log has the details")

    async def _take(self, made: Made) -> None:
        await self._futures.take(made.forecast)
        self.forecast, self._ground, self._broken = made.forecast, made.ground, ""
        self._called.clear()
        self._check_ground()
        for alarm in self._alarms.look(made.forecast, self._clock()):
            await self._keep(alarm)

    # --- following ---------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            now, clock_s = self._clock(), self._clock_s()
            for alarm in self._heard():
                await self._keep(alarm)
            for shelf in [s for s in self._shelves.values() if s.until <= now]:
                await self._leave_shelf(shelf.limit, "")
            self._check_ground()
            if self.state is not self._said:
                self._said = self.state
                self._tell("state")
            await self._futures.settle_due(clock_s, now)
            await asyncio.sleep(LOOK_EVERY_S)

    def _check_ground(self) -> None:
        """Calls for a turn when the newest forecast can no longer be true."""
        if self._ground is None or self._broken:
            return
        self._broken = self._ground.broken(self._live.table.columns, self._clock())
        if self._broken:
            log.info("the forecast no longer holds: %s", self._broken)
            self._called.set()

    def _heard(self) -> list[Alarm]:
        """What became of predicted alarms, by the readings of now."""
        clock_s = self._clock_s()
        return [] if clock_s is None else self._alarms.read(self._read(), clock_s, self._clock())

    def _read(self) -> dict[str, float]:
        """What the points of the limits read, where that is good."""
        columns, points, found = self._live.table.columns, self._live.plant.point_of_name, dict[str, float]()
        for limit in self._limits:
            point = points.get(limit.point)
            if point is not None and is_good(int(columns.quality[point.id])) and np.isfinite(columns.value[point.id]):
                found[limit.point] = float(columns.value[point.id])
        return found

    def _clock_s(self) -> float | None:
        """The plant's own time; None while it cannot be read."""
        return self._live.clock_s() if self._live.plant.clock else self._clock() / 1e9

    async def _keep(self, alarm: Alarm) -> None:
        """Durably; the ledger and everybody hear of it when it is predicted and when it ends, not of new words."""
        news = alarm.is_news
        time = alarm.ended_at or self._clock()
        await self._on_disk(self._store.keep, alarm, (time, _text(_step(alarm))) if news else None)
        if news:
            shelved = alarm.limit in self._shelves
            log.info("predicted alarm %s: %s%s", alarm.status, sentence(alarm), " (shelved)" if shelved else "")
            self._audit.wake()
            self._live.feed.announce("predicted_alarm", time, {**alarm_body(alarm), "shelved": shelved})

    async def _leave_shelf(self, limit: str, by: str) -> None:
        body = {"step": "unshelved", "limit": limit, "by": by, "reason": "" if by else "its time was over"}
        await self._on_disk(self._store.unshelve, limit, (self._clock(), _text(body)))
        self._shelves.pop(limit, None)
        self._tell("shelf")

    def _tell(self, what: str) -> None:
        self._audit.wake()
        made = self.forecast
        body = {
            "what": what, "state": self.state.value, "why": self.why, "made_at": made.made_at / 1e6 if made else None,
            "predicted": len([a for a in self.standing if a.limit not in self._shelves]),
        }  # fmt: skip
        self._live.feed.announce("lookahead", self._clock(), body)

    async def _on_disk(self, work: Callable[..., T], *asked: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *asked)


def _step(alarm: Alarm) -> dict[str, Any]:
    """What the ledger keeps of it."""
    said = alarm.first if alarm.status is Status.PREDICTED else alarm.last
    return {
        "step": alarm.status.value, "id": alarm.id, "limit": alarm.limit, "probability": said.probability,
        "early_s": said.early_s, "at_s": said.at_s, "late_s": said.late_s, "clock_s": said.clock_s,
        "ended_clock_s": alarm.ended_clock_s, "detail": alarm.detail,
    }  # fmt: skip


def _text(body: dict[str, Any]) -> str:
    return msgspec.json.encode(body, order="sorted").decode()


def alarm_body(alarm: Alarm) -> dict[str, Any]:
    """As API and console show it (wire_lookahead.PredictedAlarm); times in ms since 1970."""
    body: dict[str, Any] = msgspec.to_builtins(alarm)
    for key in ("first", "last"):
        body[key]["made_at"] /= 1e6
    body["ended_at"] = None if alarm.ended_at is None else alarm.ended_at / 1e6
    body |= {"lead_s": alarm.lead_s, "error_s": alarm.error_s, "inside": alarm.inside, "said": sentence(alarm)}
    return body


def forecast_body(made: Forecast) -> dict[str, Any]:
    """As API and console show it (wire_lookahead.ForecastRecord)."""
    body: dict[str, Any] = msgspec.to_builtins(made)
    del body["held"], body["noise"]
    body["made_at"] = made.made_at / 1e6
    return body
