"""Trained models at work on the twin: for each row [[learned]] a sample of its twins at each moment, the answers as readings.

On the event loop; models compute in a thread. Must not know models or tasks: what is said of a sample is service.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from control import plant_data
from control.live import LiveTwin
from control.places import MODELS
from control.questions import Question
from control.service import FAULTS, Said, Service, State
from ml.registry import Registry
from protocols.link import Clock
from twin import quality
from twin.errors import TwinloopError
from twin.learned import Learned
from twin.query import Answer
from twin.readings import Readings

LATE_SAMPLES, LATE_LEAST_S = 3, 5.0  # without a new answer after which the last ones are no longer good
AT_ONCE = 10_000  # readings that the table takes before others get a turn: some ms
PAST_CELLS_MAX = (
    2_000_000  # values asked of history to fill a model's memory: some seconds; larger fleets fill as they go
)
PAST_TIMEOUT_S = 60.0
NS = 1_000_000_000
Ask = Callable[[Question], Awaitable[Answer]]
log = logging.getLogger("twinloop.models")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a row fares; NaN where nothing is known. `held`: a share."""

    state: State = State.NO_MODEL
    why: str = "no sample yet"
    model: str = ""
    known: int = 0
    took_ms: float = math.nan
    skipped: int = 0
    error: float = math.nan
    held: float = math.nan
    drifted: tuple[str, ...] = ()


@dataclass(slots=True)
class _Work:
    """One row at work.

    Attributes:
        inputs: point ids of the twins' columns, shape (D, C).
        answers: ids of the answers, shape (D, A). said: what the row's own points say now.
        skipped: samples that were due while the one before was being answered.
        newest: the last sample, ns.
    """

    row: Learned
    service: Service
    inputs: NDArray[np.int32]
    answers: NDArray[np.int32]
    said: dict[str, float | str] = field(default_factory=dict)
    skipped: int = 0
    newest: int = 0
    texts: dict[int, str] = field(default_factory=dict)  # of the text answers, by place
    doubted: bool = False  # the last answers were: all texts are told again
    standing: Standing = Standing()


class Inference:
    """Owned by the event loop.

    Args:
        ask: the server's own SQL, which fills models' memories from history.
    """

    def __init__(self, live: LiveTwin, data: Path, ask: Ask, clock: Clock) -> None:
        self._live, self._ask, self._clock = live, ask, clock
        self._loop = asyncio.get_running_loop()
        self.registry = Registry(data / MODELS)
        self.works: Mapping[str, _Work] = {row.id: self._work(row, self.registry) for row in live.plant.learned}
        # One thread for all rows: models share two cores with everything else.
        self._thread = ThreadPoolExecutor(1, "inference")

    def rows(self) -> tuple[Learned, ...]:
        return tuple(work.row for work in self.works.values())

    def standings(self) -> list[tuple[Learned, Standing]]:
        return [(work.row, work.standing) for work in self.works.values()]

    def drifted(self, row: str) -> tuple[str, ...]:
        """What is no longer as it was when the row's champion was trained."""
        return self.works[row].standing.drifted

    def tell_training(self, row: str, percent: float, words: str) -> None:
        """How far a retraining is, as points."""
        self._say(self.works[row], training=percent, trained=words)

    async def run(self) -> None:
        try:
            # Matrices of a sample are small, and a second thread of BLAS waits for a core that others have.
            with threadpool_limits(limits=1, user_api="blas") if self.works else contextlib.nullcontext():
                await self._serve_all()
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _serve_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for work in self.works.values():
                tasks.create_task(self._serve(work))

    async def _serve(self, work: _Work) -> None:
        """A sample at each multiple of the row's step; those that come due while one is being answered are left out."""
        self._say(work, training=0.0, trained="none since the start")
        step_ns = round(work.row.every_s * NS)
        while True:
            now = self._clock()
            moment = (now // step_ns + 1) * step_ns
            if work.newest and moment > work.newest + step_ns:
                work.skipped += (moment - work.newest) // step_ns - 1
            await asyncio.sleep((moment - now) / NS)
            if moment <= work.newest:
                continue  # the clock was set back: models go on where they were
            work.newest = moment
            await self._sample(work, moment)

    async def _sample(self, work: _Work, moment: int) -> None:
        columns, begun = self._live.table.columns, self._loop.time()
        good = quality.good_mask(columns.quality[work.inputs])
        values = np.where(good, columns.value[work.inputs], np.nan)
        asked = self._loop.run_in_executor(self._thread, work.service.sample, moment, values)
        try:
            patience_s = max(LATE_LEAST_S, LATE_SAMPLES * work.row.every_s)
            done, _ = await asyncio.wait([asked], timeout=patience_s)
            if not done:
                self._doubt(work, State.LATE, f"a sample takes more than {patience_s:g} s")
            said = await asked
        except FAULTS as error:
            # A model's fault is not the server's: its answers are no longer good, the next sample tries again.
            log.exception("[[learned]] %s: sample failed", work.row.id)
            self._doubt(work, State.FAILED, str(error))
            return
        await self._tell(work, said, moment)
        self._own(work, said, 1e3 * (self._loop.time() - begun))

    # --- what is told ------------------------------------------------------------------------------------------------

    async def _tell(self, work: _Work, said: Said, moment: int) -> None:
        """Answers as readings, taken by the table in parts."""
        work.texts |= said.texts
        due = work.texts if work.doubted else said.texts
        work.doubted = False
        texts = np.isin(np.arange(work.answers.size), list(due))
        numbers = np.tile([a.type != "string" for a in work.row.answers], len(work.answers))
        rows = np.flatnonzero(numbers | texts)
        ids, values, codes = work.answers.ravel()[rows], said.values.ravel()[rows], said.codes.ravel()[rows]
        for first in range(0, len(rows), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            text = {k: due[int(r)] for k, r in enumerate(rows[some]) if texts[r]} if due else {}
            self._live.readings(Readings.of(ids[some], values[some], self._clock(), codes[some], moment, text))
            await asyncio.sleep(0)

    def _own(self, work: _Work, said: Said, took_ms: float) -> None:
        known, stands = int(np.isfinite(said.values[:, 0]).sum()), said.standing
        work.standing = Standing(
            said.state, said.why, said.model, known, took_ms, work.skipped, stands.error, stands.held, stands.drifted
        )
        self._say(
            work,
            state=f"{said.state}: {said.why}" if said.why else str(said.state),
            model=said.model, known=float(known), took=round(took_ms, 1), skipped=float(work.skipped),
            error=stands.error, held=100 * stands.held, drift=", ".join(stands.drifted),
        )  # fmt: skip

    def _doubt(self, work: _Work, state: State, why: str) -> None:
        """No new answers: what was good is so no longer."""
        ids, work.doubted = work.answers.ravel(), True
        codes = self._live.table.columns.quality[ids]
        self._live.requalify(ids[quality.good_mask(codes)], quality.UNCERTAIN_LAST_USABLE)
        work.standing = replace(work.standing, state=state, why=why, skipped=work.skipped)
        self._say(work, state=f"{state}: {why}", skipped=float(work.skipped))

    def _say(self, work: _Work, **words: float | str) -> None:
        """The row's own points, those that changed."""
        now, first = self._clock(), work.row.first + work.answers.size
        place = {name: first + k for k, (name, _, _) in enumerate(work.row.own)}
        for name, word in words.items():
            if name not in place or work.said.get(name) == word or (isinstance(word, float) and math.isnan(word)):
                continue
            work.said[name] = word
            text = {0: word} if isinstance(word, str) else {}
            self._live.readings(Readings.of([place[name]], [math.nan if text else word], now, text=text))  # type: ignore[list-item]

    # --- history -----------------------------------------------------------------------------------------------------

    def _work(self, row: Learned, registry: Registry) -> _Work:
        known = self._live.plant.point_of_name
        inputs = np.array([[known[f"{t}.{c}"].id for c in row.columns] for t in row.twins], np.int32)
        answers = row.first + np.arange(len(row.twins) * len(row.answers), dtype=np.int32)
        service = Service(row, registry, lambda samples, before_ns: self._past(row, samples, before_ns))
        return _Work(row, service, inputs, answers.reshape(len(row.twins), -1))

    def _past(self, row: Learned, samples: int, before_ns: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """From history, in the inference thread; nothing where there is none, or too much of it."""
        names = [f"{t}.{c}" for t in row.twins for c in row.columns]
        shape = len(row.twins), len(row.columns)
        step_ns = round(row.every_s * NS)
        grid = np.arange(before_ns - samples * step_ns, before_ns, step_ns, dtype=np.int64)
        if grid.size * len(names) > PAST_CELLS_MAX:
            return grid[:0], np.empty((0, *shape))
        try:
            found = plant_data.series(self._answers, names, grid, row.every_s, lambda share, word: None)
        except (TwinloopError, TimeoutError) as error:
            log.warning("[[learned]] %s: history does not fill its memory: %s", row.id, error)
            return grid[:0], np.empty((0, *shape))
        heard = np.isfinite(found).any(axis=1)
        begin = int(heard.argmax()) if heard.any() else len(grid)
        return grid[begin:], found[begin:].reshape(-1, *shape)

    def _answers(self, sql: str) -> dict[str, Any]:
        asked = asyncio.run_coroutine_threadsafe(_asked(self._ask, sql), self._loop)
        return {"rows": asked.result(PAST_TIMEOUT_S).rows}


async def _asked(ask: Ask, sql: str) -> Answer:
    return await ask(Question(sql, plant_data.POINTS_MAX))
