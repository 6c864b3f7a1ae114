"""Carries commands through their life: records, sends, reads back; every decision is made in command.py and queue.py.

Runs on the event loop. Must not know HTTP or the console.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from control import queue
from control.command import (
    UNDESIRED,
    Command,
    Priority,
    Status,
    answered,
    moved,
    recovered,
    same_body,
    submitted,
    supersedes,
)
from control.command_store import CommandStore, Unaudited
from control.evidence import Evidence
from control.live import LiveTwin
from ledger.errors import LedgerError
from protocols.link import Clock, Link, LinkState, WriteOutcome
from twin.errors import BadRequest, Conflict, LimitExceeded, NotFound, Refused, Unavailable
from twin.plant import Feedback, Plant
from twin.points import Point
from twin.quality import is_good
from twin.schema import Enum, offer

WRITE_TIMEOUT_S = 3.0  # a PLC answers in milliseconds; beyond this the write is UNKNOWN
READ_TIMEOUT_S = 2.0
READ_BACK_EVERY_S = 0.2
NOT_SENT_WAIT_S = 0.5  # a link that says "not sent" is about to report itself offline
DEADLINE_MAX_S = 24 * 3600.0
KEY_MAX = 200  # characters
REASON_MAX = 1_000  # characters
AUDIT_BATCH = 500  # transitions handed to the ledger at once
AUDIT_RETRY_S = 1.0
DEFAULT_WITHIN_S = 10.0
T = TypeVar("T")
log = logging.getLogger("twinloop.commands")


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks for, as parsed at the edge."""

    key: str
    point: str
    value: float
    priority: Priority
    deadline_s: float
    reason: str


class CommandRuntime:
    """Owns every unfinished command. One worker a device, so nothing waits behind another's dead device."""

    def __init__(
        self,
        live: LiveTwin,
        links: Mapping[str, Link],
        store: CommandStore,
        evidence: Evidence,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.desired: dict[int, float] = {}
        self._live, self._links, self._store, self._evidence = live, links, store, evidence
        self._clock, self._new_id = clock, new_id
        self._open: dict[str, Command] = {}
        self._wake = {d.id: asyncio.Event() for d in live.plant.devices}
        self._unaudited = asyncio.Event()
        self._steps = asyncio.Lock()  # one step at a time: a cancel never meets a send half-way
        self._disk = ThreadPoolExecutor(1, "commands")
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def plant(self) -> Plant:
        """As it is now: edits replace it."""
        return self._live.plant

    # --- what callers ask --------------------------------------------------------------------------------------------

    async def submit(self, request: Request, author: str) -> Command:
        """The command for this key: a new one, recorded durably, or the one submitted with it before.

        Raises:
            BadRequest, NotFound, Refused: it can never work so.
            Conflict: the key was used for another request.
            LimitExceeded: the device's queue is full (emergencies always fit).
            Unavailable: the ledger takes nothing, so the command could not be audited.
        """
        point = self._check(request)
        if self._evidence.writer.failure is not None:
            raise Unavailable(
                f"nothing can be audited: {self._evidence.writer.failure}", "no command is taken until it can"
            )
        async with self._steps:
            before = await self._on_disk(self._store.by_key, author, request.key)
            now = self._clock()
            command = submitted(
                self._new_id(), request.key, author, point.name, request.value, request.priority,
                now + int(request.deadline_s * 1e9), request.reason, now,
            )  # fmt: skip
            if before is not None:
                if not same_body(before, command):
                    raise Conflict(f"key {request.key!r} was used for another command", "use a new key")
                return self._open.get(before.id, before)
            waiting = [c for c in self._open.values() if self.plant.point(c.point).device == point.device]
            if len(waiting) >= queue.QUEUE_MAX and request.priority is not Priority.EMERGENCY:
                raise LimitExceeded(f"{queue.QUEUE_MAX} commands wait for device {point.device}", "wait or cancel some")
            detail = f"command {command.id} for the same point came later"
            gone = [moved(c, Status.SUPERSEDED, now, detail) for c in waiting if supersedes(command, c)]
            await self._keep(command, *gone)
        self._wake[point.device].set()
        return command

    async def cancel(self, identity: str) -> Command:
        """
        Raises:
            NotFound: no command has that id.
            Conflict: it was sent already, or has ended.
        """
        if identity not in self._open:
            command = await self.get(identity)
            raise Conflict(f"command {identity} is {command.status}", "only a queued command can be cancelled")
        return await self._step(identity, lambda c: moved(c, Status.CANCELLED, self._clock(), "cancelled"))

    async def get(self, identity: str) -> Command:
        found = self._open.get(identity) or await self._on_disk(self._store.by_id, identity)
        if found is None:
            raise NotFound(f"no command {identity!r}")
        return found

    async def newest(self, limit: int) -> list[Command]:
        return await self._on_disk(self._store.newest, limit)

    # --- the work ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Settle what a stop left behind, then serve every device until cancelled."""
        try:
            for command in await self._on_disk(self._store.last_desired):
                self._want(command)
            async with asyncio.TaskGroup() as self._tasks:
                async with self._steps:
                    left = [recovered(c, self._clock()) for c in await self._on_disk(self._store.unfinished)]
                    await self._keep(*left)
                self._tasks.create_task(self._audit())
                for command in left:
                    if command.status in (Status.ACKNOWLEDGED, Status.UNKNOWN):
                        self._tasks.create_task(self._settle(command))
                for device in self.plant.devices:
                    self._tasks.create_task(self._serve(device.id))
        finally:
            self._disk.shutdown(wait=True)

    def link_changed(self, device_id: str) -> None:
        """A link came up or went down: its worker looks again."""
        self._wake[device_id].set()

    async def _serve(self, device: str) -> None:
        wake = self._wake[device]
        while True:
            wake.clear()
            mine = [c for c in self._open.values() if self.plant.point(c.point).device == device]
            now = self._clock()
            for late in queue.expired(mine, now):
                await self._step_if(
                    late.id, Status.QUEUED, Status.EXPIRED, "its deadline passed before it could be sent"
                )
            online = self._live.states[device] is LinkState.ONLINE
            ready = queue.next_to_send(mine, now) if online else None
            if ready is not None:
                await self._send(ready, device)
                continue
            deadline = queue.next_deadline(mine)
            wait_s = None if deadline is None else max(0.0, (deadline - self._clock()) / 1e9) + 0.001
            await _wait(wake, wait_s)

    async def _send(self, ready: Command, device: str) -> None:
        point = self.plant.point(ready.point)
        # Recorded before written: a write that the store does not know must be impossible.
        sent = await self._step_if(ready.id, Status.QUEUED, Status.SENT, f"writing {ready.value:g} to {point.address}")
        if sent is None:
            return  # cancelled meanwhile
        for older in [c for c in self._open.values() if c.point == point.name and c.id != sent.id]:
            detail = f"command {sent.id} was sent before the process confirmed this one"
            await self._step_if(older.id, Status.ACKNOWLEDGED, Status.SUPERSEDED, detail)
        verdict = await self._links[device].write(point, ready.value, WRITE_TIMEOUT_S)
        command = await self._step(ready.id, lambda c: answered(c, verdict, self._clock()))
        if verdict.outcome is WriteOutcome.NOT_SENT:
            await _wait(self._wake[device], NOT_SENT_WAIT_S)
        elif not command.final and self._tasks is not None:
            self._tasks.create_task(self._settle(command))

    async def _settle(self, command: Command) -> None:
        """Read the process until it shows the value (CONFIRMED) or has had its time (FAILED).

        Without a usable read-back an acknowledged command becomes UNKNOWN, and an unknown one stays so: it is read
        back for as long as it takes, because nothing else may be said of it.
        """
        rule = self._feedback(command)
        sent_at = max(t.time for t in command.transitions if t.status in (Status.SENT, Status.UNKNOWN))
        end: int | None = self._clock() + int(rule.within_s * 1e9)
        seen: float | None = None
        while command.id in self._open and not self._open[command.id].final:
            observed = await self._observe(self.plant.point(rule.feedback), sent_at)
            if observed is not None:
                seen = observed
                if abs(observed - command.value) <= rule.tolerance:
                    detail = f"{rule.feedback} reads {observed:g}"
                    await self._finish(command.id, Status.CONFIRMED, detail, observed)
                    return
            if end is not None and self._clock() >= end:
                if seen is not None:
                    detail = (
                        f"{rule.feedback} still reads {seen:g} after {rule.within_s:g} s, {command.value:g} was wanted"
                    )
                    await self._finish(command.id, Status.FAILED, detail, seen)
                    return
                detail = f"{rule.feedback} could not be read back; the command may have taken effect"
                await self._step_if(command.id, Status.ACKNOWLEDGED, Status.UNKNOWN, detail)
                end = None
            if end is None and observed is not None:
                end = self._clock() + int(rule.within_s * 1e9)  # the device can be read again: it has its time anew
            await asyncio.sleep(READ_BACK_EVERY_S)

    async def _observe(self, point: Point, after: int) -> float | None:
        """What the process shows now; for protocols that cannot be asked, the newest good reading since `after`."""
        if self._live.states.get(point.device) is not LinkState.ONLINE:
            return None
        batch = await self._links[point.device].read(point, READ_TIMEOUT_S)
        if batch is not None:
            fresh = [
                v
                for p, v, q in zip(batch.point, batch.value, batch.quality, strict=True)
                if p == point.id and is_good(int(q))
            ]
            return float(fresh[-1]) if fresh else None
        columns = self._live.table.columns
        if columns.source_time[point.id] > after and is_good(int(columns.quality[point.id])):
            return float(columns.value[point.id])
        return None

    def _feedback(self, command: Command) -> Feedback:
        """The plant's rule for the point, else: the point itself, to a rounding error, in DEFAULT_WITHIN_S."""
        rule = self.plant.feedback_of_point.get(command.point)
        if rule is not None:
            return rule
        point = self.plant.point(command.point)
        step = abs(point.scale) if point.type not in ("boolean", "enum") else 0.0
        tolerance = max(step / 2 if point.type == "integer" else 0.0, 1e-6 * abs(command.value))
        return Feedback(point.name, point.name, tolerance, DEFAULT_WITHIN_S)

    def _check(self, request: Request) -> Point:
        point = self.plant.point(request.point)
        if not point.writable:
            raise Refused(f"{point.name} is not writable", "commands need access rw in points.csv")
        if not 0 < len(request.key) <= KEY_MAX:
            raise BadRequest(f"the key has {len(request.key)} characters", f"give 1 … {KEY_MAX}")
        if len(request.reason) > REASON_MAX:
            raise BadRequest(f"the reason has {len(request.reason)} characters", f"at most {REASON_MAX}")
        if not math.isfinite(request.value):
            raise BadRequest(f"value {request.value} is not a finite number", "give a number")
        if isinstance(point.schema, Enum) and point.schema.index_of(request.value) is None:
            raise BadRequest(f"{request.value:g} is no value of {point.name}", f"one of {offer(point.schema)}")
        if point.type == "boolean" and request.value not in (0.0, 1.0):
            raise BadRequest(f"{point.name} is boolean, got {request.value:g}", "give 0 or 1")
        if point.type == "integer" and point.scale == 1.0 and request.value != int(request.value):
            raise BadRequest(f"{point.name} is an integer, got {request.value:g}", "give a whole number")
        if not point.low <= request.value <= point.high:
            raise BadRequest(
                f"{request.value:g} {point.unit} is outside {point.low:g} … {point.high:g} of {point.name}",
                "stay inside",
            )
        if not 0 < request.deadline_s <= DEADLINE_MAX_S:
            raise BadRequest(f"deadline_s {request.deadline_s:g}", f"give a number in (0, {DEADLINE_MAX_S:g}]")
        return point

    # --- steps -------------------------------------------------------------------------------------------------------

    async def _step(self, identity: str, change: Callable[[Command], Command]) -> Command:
        async with self._steps:
            current = self._open.get(identity)
            if current is None:
                raise Conflict(f"command {identity} has ended", "see its transitions")
            changed = change(current)
            await self._keep(changed)
        self._wake[self.plant.point(changed.point).device].set()
        return changed

    async def _step_if(self, identity: str, status: Status, to: Status, detail: str) -> Command | None:
        """Only when the command is still in `status`."""
        current = self._open.get(identity)
        if current is None or current.status is not status:
            return None
        try:
            return await self._step(identity, lambda c: moved(c, to, self._clock(), detail))
        except Conflict:
            return None  # somebody else's step came first

    async def _finish(self, identity: str, to: Status, detail: str, observed: float) -> None:
        try:
            await self._step(identity, lambda c: moved(c, to, self._clock(), detail, observed))
        except Conflict:
            return  # superseded meanwhile

    async def _keep(self, *commands: Command) -> None:
        """Durable first, then believed and told."""
        await self._on_disk(self._store.save, commands)
        for command in commands:
            if command.final:
                self._open.pop(command.id, None)
            else:
                self._open[command.id] = command
            self._want(command)
            self._live.feed.announce("command", command.transitions[-1].time, as_body(command))
        self._unaudited.set()

    def _want(self, command: Command) -> None:
        point = self.plant.point_of_name.get(command.point)
        if point is None:
            return  # the plant no longer has it
        if command.status not in UNDESIRED and command.status is not Status.SUPERSEDED:
            self.desired[point.id] = command.value
        elif self.desired.get(point.id) == command.value and command.status in UNDESIRED:
            del self.desired[point.id]

    async def _audit(self) -> None:
        """Every transition becomes a ledger entry, in order; the store remembers which have one."""
        await self._forget_audited()
        while True:
            await self._unaudited.wait()
            self._unaudited.clear()
            for_ledger = await self._on_disk(self._store.unaudited)
            for start in range(0, len(for_ledger), AUDIT_BATCH):
                await self._audit_rows(for_ledger[start : start + AUDIT_BATCH])

    async def _audit_rows(self, rows: list[Unaudited]) -> None:
        try:
            futures = [
                self._evidence.record("command", _entry(r.command, r.n), r.command.transitions[r.n].time) for r in rows
            ]
            indexes = await asyncio.gather(*(asyncio.wrap_future(f) for f in futures))
        except LedgerError as error:  # they stay unaudited in the store, which is the outbox
            log.error("%d transitions wait for the ledger: %s", len(rows), error)
            await asyncio.sleep(AUDIT_RETRY_S)
            await self._forget_audited()
            self._unaudited.set()
            return
        done = [(r.command.id, r.n, i) for r, i in zip(rows, indexes, strict=True)]
        await self._on_disk(self._store.audited, done)

    async def _forget_audited(self) -> None:
        """After a crash between ledger and store: entries that exist are not written twice."""
        waiting = {(u.command.id, u.n) for u in await self._on_disk(self._store.unaudited)}
        if waiting:
            entries = await asyncio.to_thread(self._evidence.entries, len(waiting) + self._evidence.log.size)
            found = [
                (str(e.body["id"]), int(str(e.body["n"])), index)
                for index, e in entries
                if e.kind == "command" and (e.body["id"], e.body["n"]) in waiting
            ]
            await self._on_disk(self._store.audited, found)

    async def _on_disk(self, work: Callable[..., T], *values: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *values)


def as_body(command: Command) -> dict[str, object]:
    """The record as API, events and console show it (wire.CommandRecord); times in ms since 1970."""
    return {
        "id": command.id,
        "key": command.key,
        "point": command.point,
        "value": command.value,
        "priority": command.priority.name.lower(),
        "deadline": command.deadline / 1e6,
        "reason": command.reason,
        "author": command.author,
        "status": command.status.value,
        "final": command.final,
        "observed": command.observed,
        "transitions": [
            {"status": t.status.value, "time": t.time / 1e6, "detail": t.detail} for t in command.transitions
        ],
    }


def _entry(command: Command, n: int) -> dict[str, bool | int | float | str | None]:
    """One transition as the ledger keeps it."""
    step = command.transitions[n]
    return {
        "id": command.id, "n": n, "key": command.key, "author": command.author, "point": command.point,
        "value": command.value, "priority": command.priority.name.lower(), "deadline_ns": command.deadline,
        "reason": command.reason, "status": step.status.value, "detail": step.detail,
        "observed": command.observed if step.status in (Status.CONFIRMED, Status.FAILED) else None,
    }  # fmt: skip


async def _wait(event: asyncio.Event, timeout_s: float | None) -> None:
    """Until the event is set or the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
