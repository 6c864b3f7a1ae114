"""Pre-flight: asks the model what a command does before it is sent, and scores what it said once the plant has shown it.

Decides nothing: what is simulated and what it means stands in prediction.py, how it fared in score.py.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import duckdb
import msgspec

from control.command import Command, Status
from control.evidence import Evidence
from control.live import LiveTwin
from control.observed import Held
from control.outbox import Outbox
from control.prediction import Prediction, prediction_of, question, unpredicted, verdict
from control.prediction_audit import PredictionLetters
from control.prediction_store import Kept, PredictionStore
from control.score import Score, Summary, score, summary, unscored
from control.sight import held, read_tracks, values
from protocols.link import Clock
from sim.plant_model import PlantModel, noise, read_plant_model
from sim.runner import Runner
from sim.scenario import parse_limit
from sim.whatif import Now, compare
from twin.columns import Snapshot
from twin.errors import LimitExceeded, NotFound, Refused, TwinloopError, Unavailable
from twin.interlock import Judgement
from twin.plant import Plant
from twin.points import Point
from twin.policy import Policy
from twin.quality import is_good

TIMEOUT_S = 30.0  # from asking to the answer: a prediction takes one second, two what-ifs beside it make it five
WAITING_MAX = 16  # predictions asked for and not answered: beyond it the last would not come within TIMEOUT_S
DRY_WAITING_MAX = 4  # of these, where nothing is to be sent: curiosity must not keep commands from being predicted
PENDING_MAX = 1_000  # predictions waiting for their horizon; each is some kilobytes of memory without its fans
AGAIN_S = 0.5  # between two looks whether the plant has been read
LOOK_EVERY_S = 1.0  # how soon a prediction that has come due is scored
CLOCK_LOOK_NS = 60 * 1_000_000_000  # over which the rate of the plant's clock is measured
AGE_MIN_S = 3600.0  # a plant's clock may run as slowly as half of ours; one that stands ends the wait
SUMMARY_MAX = 1_000  # newest scores that the track record is made of
T = TypeVar("T")
Find = Callable[[str], Awaitable[Command]]
log = logging.getLogger("twinloop.preflight")


class Preflight:
    """One prediction at a time, on all simulation workers; whoever asks meanwhile waits in line.

    Overflows: `preflight_full` refuses to predict (WAITING_MAX); `predictions_overflow` gives up the oldest prediction
    that waits for its score (PENDING_MAX).
    """

    def __init__(
        self, live: LiveTwin, runner: Runner, store: PredictionStore, evidence: Evidence, clock: Clock
    ) -> None:
        self._live, self._runner, self._store, self._clock = live, runner, store, clock
        self._pending: dict[str, Prediction] = {}
        self._shown: set[str] = set()  # pending predictions whose command the plant has shown
        self._asked: set[threading.Event] = set()  # each cancels one
        self._thread = ThreadPoolExecutor(1, "preflight")
        self._disk = ThreadPoolExecutor(1, "predictions")
        self._audit = Outbox(PredictionLetters(store, evidence, self._on_disk))

    @property
    def busy(self) -> bool:
        """Whether somebody waits for a prediction."""
        return bool(self._asked)

    # --- what callers ask --------------------------------------------------------------------------------------------

    async def predict(self, command: Command, policy: Policy, kept: bool = True) -> Prediction:
        """What the plant does with the command and without it; durable before it is returned, unless not `kept`.

        Raises:
            Refused: the model cannot set the point, or the plant's state is not known well enough.
            Unavailable: there is no answer within TIMEOUT_S. LimitExceeded: too many wait, or it acts too far ahead.
            BadRequest: the plant's model or the policy's limits do not fit it.
        """
        most = WAITING_MAX if kept else DRY_WAITING_MAX
        if len(self._asked) >= most:
            raise LimitExceeded(f"{most} commands wait for their prediction", "send it again in some seconds")
        cancel = threading.Event()
        self._asked.add(cancel)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.wrap_future(self._live.history.flush())
                made = await self._simulated(command, policy, cancel)
        except TimeoutError:
            raise Unavailable(f"no prediction within {TIMEOUT_S:g} s", "cancel what-ifs, or send it again") from None
        finally:
            cancel.set()
            self._asked.discard(cancel)
        if kept:
            await self._on_disk(self._store.save, made)
            await self._await_score(made)
            self._live.feed.announce("prediction", made.made_at, {"command": made.command})
        return made

    async def judge(self, command: Command, policy: Policy, again: Callable[[], bool] = lambda: False) -> Judgement:
        """What the policy makes of the command's prediction, or of there being none.

        Args:
            again: whether to wait for a state that one can start from, when the present one is not.
        """
        while True:
            try:
                return verdict(await self.predict(command, policy), policy)
            except TwinloopError as error:
                if isinstance(error, Refused) and again():
                    await asyncio.sleep(AGAIN_S)
                    continue
                log.warning("command %s was not predicted: %s", command.id, error)
                return unpredicted(error, policy)

    async def of(self, command_id: str) -> Kept | None:
        """The prediction of a command, and its score once there is one."""
        return await self._on_disk(self._store.of, command_id)

    async def newest(self, limit: int) -> list[Kept]:
        return await self._on_disk(self._store.newest, limit)

    async def summary(self) -> Summary:
        """The track record over the newest SUMMARY_MAX scores."""
        made, waiting = await self._on_disk(self._store.counts)
        return summary(made, waiting, await self._on_disk(self._store.scores, SUMMARY_MAX))

    # --- predicting --------------------------------------------------------------------------------------------------

    async def _simulated(self, command: Command, policy: Policy, cancel: threading.Event) -> Prediction:
        """A model's own fault must not end the server that watches the plant: it is logged, and there is no answer."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._simulate, command, policy, cancel)
        (found,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(found, Prediction):
            return found
        if isinstance(found, TwinloopError):
            raise found
        log.error("the prediction of command %s failed", command.id, exc_info=found)
        raise Unavailable("something went wrong inside the simulation", "the server's log has the details")

    def _simulate(self, command: Command, policy: Policy, cancel: threading.Event) -> Prediction:
        """On a thread."""
        plant, snapshot = self._live.plant, self._live.snapshot()
        model = read_plant_model(plant)
        at_s, assumed = self._acts(command, policy, model, snapshot)
        asked = question(command.id, command.point, command.value, at_s, assumed, policy, model)
        limits = tuple(parse_limit(text) for text in policy.limits)
        result = compare(
            Now(plant, snapshot), [asked.scenario], horizon=asked.horizon_s, every=asked.sample_every_s, seed=asked.seed,
            replications=asked.replications, limits=limits, runner=self._runner, cancel=cancel,
        )  # fmt: skip
        outputs = list(result.units)
        return prediction_of(
            command.id, asked, result, limits, held(plant, list(model.sets), snapshot), values(plant, outputs, snapshot),
            {name: sd for name, sd in noise(model).items() if name in outputs},
        )  # fmt: skip

    def _acts(self, command: Command, policy: Policy, model: PlantModel, snapshot: Snapshot) -> tuple[float, str]:
        """When the command acts, in s of plant time after the snapshot, and what of that is only assumed."""
        terms = command.terms
        clock = self._live.plant.point(model.clock)
        if terms.at_plant_s is not None:
            return max(0.0, terms.at_plant_s - float(snapshot.columns.value[clock.id])), ""
        if terms.at is not None:
            return max(0.0, (terms.at - snapshot.taken_at) / 1e9) * self._clock_rate(clock, snapshot.taken_at), ""
        if terms.when:
            return 0.0, f"as if {terms.when} held now"
        if terms.group:
            return 0.0, "as if it were its turn in the group now"
        waits = policy.approvals > 0 or terms.approvals > 0
        return 0.0, "as if it were approved now" if waits else ""

    def _clock_rate(self, clock: Point, now: int) -> float:
        """Seconds of the plant's clock a second; 1 where the last minute does not tell."""
        told = read_tracks(self._live.history.store, [clock.name], now - CLOCK_LOOK_NS, now)[clock.name]
        time, value = told.time[told.good], told.value[told.good]
        if len(time) < 2 or time[-1] <= time[0] or value[-1] <= value[0]:
            return 1.0
        return float((value[-1] - value[0]) / ((time[-1] - time[0]) / 1e9))

    # --- scoring -----------------------------------------------------------------------------------------------------

    async def run(self, find: Find) -> None:
        """Take up what a stop left behind, then score whatever comes due until cancelled.

        Args:
            find: a command by its id, as it is now.
        """
        try:
            for made in await self._on_disk(self._store.waiting):
                await self._await_score(made)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._audit.run())
                while True:
                    await self._score_due(find)
                    await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for cancel in self._asked:
                cancel.set()
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._disk.shutdown(wait=True)

    async def _await_score(self, made: Prediction) -> None:
        while len(self._pending) >= PENDING_MAX:
            oldest = next(iter(self._pending.values()))
            why = f"predictions_overflow: {PENDING_MAX} newer ones wait for their horizon"
            await self._settle(unscored(oldest, why, self._clock()))
        self._pending[made.command] = replace(made, fans={}, without={})
        self._audit.wake()

    async def _score_due(self, find: Find) -> None:
        due = [made for made in self._pending.values() if self._due(made)]
        for made in due:
            try:
                await self._score(made, await find(made.command))
            except NotFound:
                await self._settle(unscored(made, "its command was never recorded", self._clock()))
            except (TwinloopError, duckdb.Error, sqlite3.Error) as error:
                log.error("the prediction of command %s has no score: %s", made.command, error)
                await self._settle(unscored(made, f"it could not be compared: {error}", self._clock()))

    def _due(self, made: Prediction) -> bool:
        """Its last sample time is past, or the plant was told something that it had not foreseen."""
        plant, columns = self._live.plant, self._live.table.columns
        age_s = (self._clock() - made.made_at) / 1e9
        if age_s > max(AGE_MIN_S, 2 * made.horizon_s):
            return True
        clock = plant.point_of_name.get(plant.clock or "")
        if clock is None:
            return True
        if is_good(int(columns.quality[clock.id])):
            told_s = float(columns.value[clock.id])
            if told_s >= made.clock_s + made.times_s[-1] or told_s < made.clock_s:
                return True
        return any(self._is_other(made, plant, name, held) for name, held in made.held.items())

    def _is_other(self, made: Prediction, plant: Plant, name: str, held: Held) -> bool:
        point, columns = plant.point_of_name.get(name), self._live.table.columns
        if point is None:
            return True
        if not is_good(int(columns.quality[point.id])):
            return False
        value = float(columns.value[point.id])
        if name == made.point and abs(value - made.value) <= held.tolerance:
            self._shown.add(made.command)
            return False
        return abs(value - held.value) > held.tolerance or (name == made.point and made.command in self._shown)

    async def _score(self, made: Prediction, command: Command) -> None:
        """Nothing is said before the command has ended, for what it did is not known before."""
        now = self._clock()
        sent = [t.time for t in command.transitions if t.status is Status.SENT]
        if not command.final:
            return
        if not sent:
            await self._settle(unscored(made, f"the command was not sent: {command.status}", now))
        elif command.status in (Status.FAILED, Status.REFUSED):
            await self._settle(unscored(made, f"the plant did not do it: {command.transitions[-1].detail}", now))
        else:
            await asyncio.wrap_future(self._live.history.flush())
            kept = await self._on_disk(self._store.of, made.command)
            if kept is None:
                self._pending.pop(made.command, None)  # taken out of the store meanwhile
            else:
                names = {*made.held, *kept[0].fans, self._live.plant.clock or ""}
                tracks = await asyncio.to_thread(
                    read_tracks, self._live.history.store, sorted(names), made.made_at, now
                )
                await self._settle(score(kept[0], sent[-1], tracks[self._live.plant.clock or ""], tracks, now))

    async def _settle(self, found: Score) -> None:
        await self._on_disk(self._store.settle, found)
        self._pending.pop(found.command, None)
        self._shown.discard(found.command)
        self._audit.wake()
        self._live.feed.announce("prediction", found.scored_at, {"command": found.command})

    async def _on_disk(self, work: Callable[..., T], *values: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *values)


def as_body(kept: Kept, whole: bool = True) -> dict[str, Any]:
    """A prediction and its score as API and console show them (wire.PredictionRecord); times in ms since 1970."""
    made, scored = kept
    body: dict[str, Any] = msgspec.to_builtins(made)
    del body["held"], body["started"], body["noise"]
    body["made_at"] = made.made_at / 1e6
    if not whole:
        body |= {"fans": {}, "without": {}, "times_s": []}
    body["score"] = None if scored is None else score_body(scored)
    return body


def score_body(scored: Score) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(scored)
    del body["command"]
    body["scored_at"] = scored.scored_at / 1e6
    body["coverage"] = scored.coverage
    return body
