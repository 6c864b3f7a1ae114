"""New trainings when drift or time calls for them: one at a time, each in a process of its own, followed and stoppable.

Must not train, and decides only when: what a training does is retrainer.py. A model that wins becomes a shadow; who goes
on from there is decided by people (`twinloop models promote`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from control.authors import AUTOMATIC
from control.inference import Inference
from control.places import MODELS
from ml.registry import Registry
from ml.stages import Stage
from protocols.link import Clock
from twin.errors import Conflict, NotFound, Refused, TwinloopError
from twin.learned import Learned, Retraining, When
from twin.nearest import nearest

LOOK_EVERY_S = 5.0
LAST_S = 3_600.0  # of one training; each of ours takes minutes
STOP_S = 5.0  # that a process gets to end by itself
LINE_MAX = 64_000
COMMAND = (sys.executable, "-m", "control.retrainer")
NS = 1e9
log = logging.getLogger("twinloop.models")


class Course(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Progress(msgspec.Struct, frozen=True):
    """One line of the process: how far it is and with what; `model` and an empty `wrong` at the end."""

    share: float
    words: str
    model: str = ""
    wrong: str = ""


class Order(msgspec.Struct, frozen=True):
    """What the process is told, on its standard input. Times in ns since 1970."""

    data: str
    row: Learned
    begin: int
    split: int
    end: int
    why: str
    by: str = AUTOMATIC


@dataclass(slots=True)
class Training:
    """One retraining of a row."""

    row: str
    why: str
    by: str
    begun: int
    course: Course = Course.RUNNING
    share: float = 0.0
    words: str = "waiting"
    model: str = ""
    ended: int = 0
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)


def due(asked: Retraining, last_ns: int, now_ns: int, drifted: tuple[str, ...]) -> str:
    """Why it is time for a new training; "" while it is not.

    Args:
        last_ns: when the last one ended, however it ended; or when the server started.
    """
    age_s = (now_ns - last_ns) / NS
    if age_s < asked.every_s:
        return ""
    if asked.when is When.TIME:
        return f"{asked.every_s:g} s after the last one"
    if asked.when is When.DRIFT and drifted:
        return f"drift of {', '.join(drifted)}"
    return ""


class Retrainings:
    """Owned by the event loop. `newest` has the last training of each row that had one."""

    def __init__(self, inference: Inference, data: Path, clock: Clock) -> None:
        self._inference, self._data, self._clock = inference, data, clock
        self._registry = Registry(data / MODELS)
        self.newest: dict[str, Training] = {}
        self._wanted: dict[str, str] = {}  # row -> why, in the order of asking; one of each row at most
        self._called = asyncio.Event()
        self._begun = clock()

    # --- what callers ask --------------------------------------------------------------------------------------------

    def ask(self, row: str, why: str, by: str = AUTOMATIC) -> Training:
        """A training of this row as soon as no other runs, for whom it was asked.

        Raises:
            NotFound: there is no such row. Conflict: one waits or runs already. Refused: history holds no truth for its task.
        """
        if self._known(row).task == "rul":
            raise Refused("remaining life is learned from runs to failure", "twinloop train rul on such runs")
        before = self.newest.get(row)
        if before is not None and before.course is Course.RUNNING:
            raise Conflict(f"a training of {row} runs or waits already", "wait, or cancel it")
        self._wanted[row] = why
        self.newest[row] = Training(row, why, by, self._clock())
        self._called.set()
        return self.newest[row]

    async def cancel(self, row: str) -> Training:
        """
        Raises:
            NotFound: there is no such row. Conflict: nothing to cancel.
        """
        self._known(row)
        found = self.newest.get(row)
        if found is None or found.course is not Course.RUNNING:
            raise Conflict(f"no training of {row} runs", "see `twinloop models serving`")
        self._wanted.pop(row, None)  # it waits, or its process is stopped
        self._end(found, Course.CANCELLED, "nothing was changed")
        if found.process is not None:
            await _stop(found.process)
        return found

    # --- persons (control/erasing.py) --------------------------------------------------------------------------------

    async def check_settled(self, person: str) -> None:
        """
        Raises:
            Conflict: a training that the person asked for is not over.
        """
        for found in self.newest.values():
            if found.by == person and found.course is Course.RUNNING:
                raise Conflict(f"a training of {found.row} for {person!r} runs or waits", "wait, or cancel it")

    async def rename(self, person: str, name: str) -> None:
        """Of trainings that are over; what they made keeps its author in the registry."""
        for found in self.newest.values():
            if found.by == person:
                found.by = name

    # --- at work -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            while True:
                self._look()
                if self._wanted:
                    row = next(iter(self._wanted))
                    del self._wanted[row]
                    await self._train(self.newest[row])
                    continue
                self._called.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._called.wait(), LOOK_EVERY_S)
        finally:
            for training in self.newest.values():
                if training.process is not None:
                    await _stop(training.process)

    def _look(self) -> None:
        """What the rules call for."""
        for row in self._inference.rows():
            before = self.newest.get(row.id)
            if row.retraining.when is When.NEVER or (before is not None and before.course is Course.RUNNING):
                continue
            last = before.ended if before is not None else max(self._begun, self._last(row))
            if why := due(row.retraining, last, self._clock(), self._inference.drifted(row.id)):
                self.ask(row.id, why)

    def _last(self, row: Learned) -> int:
        """When this row's newest model was trained; 0 for never."""
        try:
            record = self._registry.record()
        except TwinloopError:
            return 0  # the inference says what is wrong with it
        trained = [p.time_ns for p in record if p.scope == row.id and any(m.stage is Stage.TRAINED for m in p.moves)]
        return max(trained, default=0)

    async def _train(self, training: Training) -> None:
        row = self._known(training.row)
        now, asked = self._clock(), row.retraining
        order = Order(
            str(self._data),
            row,
            now - int(asked.learn_s * NS),
            now - int(asked.hold_s * NS),
            now,
            training.why,
            training.by,
        )
        log.info("[[learned]] %s: a new training: %s", row.id, training.why)
        try:
            process = await asyncio.create_subprocess_exec(
                *COMMAND, limit=LINE_MAX,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            self._end(training, Course.FAILED, f"no process for it: {error.strerror}")
            return
        training.process = process
        try:
            if training.course is not Course.RUNNING:
                return  # cancelled while its process began
            async with asyncio.timeout(LAST_S):
                await self._follow(training, process, msgspec.json.encode(order))
        except TimeoutError:
            self._end(training, Course.FAILED, f"it took more than {LAST_S / 60:g} minutes")
        except (msgspec.MsgspecError, ValueError) as error:  # a line that is none of ours, or too long a one
            self._end(training, Course.FAILED, f"its process said what nobody understands: {error}")
        finally:
            await _stop(process)
            training.process = None
        log.info("[[learned]] %s: %s: %s", row.id, training.course, training.words)

    async def _follow(self, training: Training, process: asyncio.subprocess.Process, order: bytes) -> None:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(order)
        process.stdin.close()
        async for line in process.stdout:
            said = msgspec.json.decode(line, type=Progress)
            if training.course is not Course.RUNNING:
                return
            training.share, training.words, training.model = said.share, said.words, said.model
            self._inference.tell_training(training.row, 100 * said.share, said.words)
            if said.wrong:
                self._end(training, Course.FAILED, said.wrong)
            elif said.model:
                self._end(training, Course.DONE, said.words)
        code = await process.wait()
        if training.course is Course.RUNNING:
            self._end(training, Course.FAILED, f"its process ended with {code}")

    def _end(self, training: Training, course: Course, words: str) -> None:
        training.course, training.words, training.ended = course, words, self._clock()
        self._inference.tell_training(training.row, 0.0 if course is not Course.DONE else 100.0, f"{course}: {words}")

    def _known(self, row: str) -> Learned:
        rows: Mapping[str, Learned] = {r.id: r for r in self._inference.rows()}
        if row not in rows:
            raise NotFound(
                f"the plant has no [[learned]] {row!r}", nearest(row, rows) or "see `twinloop models serving`"
            )
        return rows[row]


async def _stop(process: asyncio.subprocess.Process) -> Any:
    """End it, first by asking."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
