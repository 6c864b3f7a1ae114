"""Carries out what the dispatcher orders: makes it durable, sends, reads back, tells, audits; decides nothing.

One task takes events, one commit keeps whatever they changed, and only then does a byte leave. Runs on the event loop;
must not know HTTP or the console.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from control import group, lease
from control.auditor import Auditor
from control.command import UNDESIRED, Command, Priority, Status
from control.command_record import as_body
from control.command_store import CommandStore, Wanted
from control.dispatcher import Dispatcher
from control.evidence import Evidence
from control.ground import LiveGround
from control.grouping import Grouping
from control.leasing import Leasing
from control.live import LiveTwin
from control.logs import correlation
from control.orders import Orders
from control.prediction import Prediction, unpredicted, verdict
from control.preflight import Preflight
from control.request import Request
from protocols.link import Clock, Link, LinkState
from twin.errors import Conflict, Interlocked, LimitExceeded, NotFound, TwinloopError, Unavailable
from twin.interlock import Judgement, Sight
from twin.plant import Plant
from twin.points import Point
from twin.quality import is_good

WRITE_TIMEOUT_S = 3.0  # a PLC answers in milliseconds; beyond this the write is UNKNOWN
READ_TIMEOUT_S = 2.0
RECORD_RETRY_S = 2.0  # a full disk is not emptied sooner
PACE_NS = 24 * 3600 * 1_000_000_000  # how long a restart remembers the pace of a point: no command may wait longer
INBOX_MAX = 20_000  # events not yet taken: all open commands of two devices at once
TAKEN_MAX = 100  # events of one commit: some 10 ms of work, so that an emergency behind them waits no longer
PREDICTING_NS = 15 * 1_000_000_000  # of a draft's minute: what is left for the prediction once the state is good
T = TypeVar("T")
Act = Callable[[int], Orders]
"""An event for the dispatcher, given the time (ns since 1970)."""
log = logging.getLogger("twinloop.commands")


@dataclass(slots=True)
class _Event:
    """`answer` is resolved once what the event changed is durable; `key` (author, key) of a submission."""

    act: Act
    answer: asyncio.Future[Command | None] | None = None
    key: tuple[str, str] | None = None


class CommandRuntime:
    """Owns every unfinished command."""

    def __init__(
        self,
        live: LiveTwin,
        links: Mapping[str, Link],
        store: CommandStore,
        evidence: Evidence,
        clock: Clock,
        new_id: Callable[[], str],
        preflight: Preflight | None = None,
    ) -> None:
        self.desired: dict[int, float] = {}
        self._live, self._links, self._store, self._evidence = live, links, store, evidence
        self._clock, self._new_id, self._preflight = clock, new_id, preflight
        self._ground = LiveGround(live)
        self._open_desk()
        self._audit = Auditor(evidence, store, self._device_of)
        self._before: dict[tuple[str, str], Command] = {}  # of the keys in the batch at hand
        self._inbox: deque[_Event] = deque()
        self._urgent: deque[_Event] = deque()
        self._wake = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, "commands")
        self._tasks: asyncio.TaskGroup | None = None
        self._taken_up_at = 0  # when the open commands were last taken from the disk
        self._lost = False  # the desk is ahead of what could be recorded

    def _open_desk(self) -> None:
        """Nothing is open yet: `_take_up` reads it from the disk."""
        self._desk = Dispatcher(self._ground)
        self.leasing = Leasing(self._desk, self._new_id)
        self.grouping = Grouping(self._desk, self._new_id)

    @property
    def plant(self) -> Plant:
        """As it is now: edits replace it."""
        return self._live.plant

    @property
    def waiting(self) -> int:
        """Events that are not taken yet; at most INBOX_MAX."""
        return len(self._inbox) + len(self._urgent)

    def open(self) -> list[Command]:
        """Those that have not ended."""
        return list(self._desk.open.values())

    # --- what callers ask --------------------------------------------------------------------------------------------

    async def submit(self, request: Request, author: str) -> Command:
        """The command for this key: a new one, recorded durably, or the one submitted with it before.

        Raises:
            BadRequest, OutOfRange, Expired, NotFound, Refused: it can never work so.
            Interlocked: the plant forbids it now; the refusal is recorded under `command`.
            Conflict: the key was used for another request. Reserved: somebody else holds the point.
            PreconditionFailed: the point changed since the author looked.
            LimitExceeded: the device's queue is full (emergencies always fit).
            Unavailable: it could not be recorded, or could not be audited (emergencies need no ledger).
        """
        emergency = request.priority is Priority.EMERGENCY
        if not emergency:
            self._check_audit()
        identity, key = self._new_id(), (author, request.key)

        def act(now: int) -> Orders:
            return self._desk.submit(request, author, identity, self._before.get(key), now)

        command = await self._ask(act, key, urgent=emergency)
        if command.status is Status.REFUSED and len(command.transitions) <= 2 and not _answered(command):
            raise Interlocked(command.transitions[-1].detail, f"recorded as command {command.id}", command.id)
        return command

    def _check_audit(self) -> None:
        failure = self._evidence.writer.failure
        if failure is not None:
            raise Unavailable(f"nothing can be audited: {failure}", "no command is taken until it can")

    async def check(self, request: Request, author: str) -> tuple[Command, Judgement]:
        """A dry run: what `submit` would make of it now. Nothing is recorded.

        Raises:
            As submit; a violated interlock is in the judgement.
        """
        return self._desk.check(request, author, self._clock())

    async def check_predicted(self, request: Request, author: str) -> tuple[Command, Judgement, Prediction]:
        """As `check`, with what the model says of it, also where the policy does not ask; nothing is kept of that.

        Raises:
            As submit and Preflight.predict.
        """
        command, judgement = await self.check(request, author)
        policy = self._ground.policy(self.plant.point(command.point))
        if self._preflight is None:
            raise _no_simulation()
        made = await self._preflight.predict(command, policy, kept=False)
        found = verdict(made, policy)
        if judgement.allowed:
            judgement = Judgement(found.allowed, found.detail, judgement.seen, found.verdicts)
        return command, judgement, made

    async def operate(self, identity: str, by: str) -> Command:
        """Send what was selected on its way.

        Raises:
            NotFound, Conflict, NotPermitted.
        """
        return await self._change(identity, lambda now: self._desk.operate(identity, by, now))

    async def approve(self, identity: str, by: str, reason: str = "") -> Command:
        """The role was checked by the caller (control.permissions).

        Raises:
            NotFound, Conflict: it awaits no approval. NotPermitted: by its author, or for the second time.
        """
        return await self._change(identity, lambda now: self._desk.approve(identity, by, reason, now))

    async def reject(self, identity: str, by: str, reason: str = "") -> Command:
        """
        Raises:
            NotFound, Conflict: it awaits no approval.
        """
        return await self._change(identity, lambda now: self._desk.reject(identity, by, reason, now))

    async def cancel(self, identity: str, by: str, reason: str = "") -> Command:
        """
        Raises:
            NotFound: no command has that id.
            Conflict: it was sent already, or has ended.
        """
        return await self._change(identity, lambda now: self._desk.cancel(identity, by, reason, now))

    async def settle(self, identity: str, by: str, to: Status, reason: str) -> Command:
        """A person says how an UNKNOWN command ended.

        Raises:
            NotFound, Conflict: it is not UNKNOWN.
        """
        return await self._change(identity, lambda now: self._desk.settle(identity, by, to, reason, now))

    async def get(self, identity: str) -> Command:
        found = self._desk.open.get(identity) or await self.on_disk(self._store.by_id, identity)
        if found is None:
            raise NotFound(f"no command {identity!r}")
        return found

    async def newest(self, limit: int) -> list[Command]:
        return await self.on_disk(self._store.newest, limit)

    async def page(self, wanted: Wanted) -> tuple[list[Command], str | None]:
        """As on disk, the newest first, and the cursor of the next page."""
        return await self.on_disk(self._store.page, wanted)

    async def rename(self, person: str, name: str) -> None:
        """An erased person, whose commands, leases and groups have all ended."""
        await self.on_disk(self._store.rename, person, name)

    async def check_settled(self, person: str) -> None:
        """
        Raises:
            Conflict: something of the person's is under way, or not yet in the ledger.
        """
        await self.on_disk(self._store.check_settled, person)

    def waits_for(self, identity: str) -> str:
        """What an unsent command waits for, in words; "" for others."""
        return self._desk.waits_for(identity, self._clock())

    def link_changed(self, device_id: str) -> None:
        """A link came up or went down."""
        online = self._live.states[device_id] is LinkState.ONLINE
        self._tell(lambda now: self._desk.link(device_id, online, now))

    # --- the work ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Settle what a stop left behind, then carry out orders until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._audit.begin(self.on_disk)
                self._tasks.create_task(self._audit.run(self.on_disk))
                while True:
                    await self._begin()
                    while not self._lost:
                        await self._until_something()
                        await self._take()
                    await asyncio.sleep(RECORD_RETRY_S)
        finally:
            self._disk.shutdown(wait=True)

    async def _begin(self) -> None:
        """As after a crash: the disk says what is open."""
        self._open_desk()
        self._lost = False
        try:
            await self._take_up()
        except sqlite3.Error as error:
            self._forget(error)

    async def _take_up(self) -> None:
        self._taken_up_at = self._clock()
        for command in await self.on_disk(self._store.last_desired):
            self._want(command)
        left = await self.on_disk(self._store.unfinished)
        sent = await self.on_disk(self._store.last_sent, self._clock() - PACE_NS)
        teams = [await self.on_disk(self._store.team, g) for g in await self.on_disk(self._store.groups.unfinished)]
        self.leasing.book.restore(await self.on_disk(self._store.leases.unfinished), self._clock())
        orders = self._desk.begin(left, sent, self._clock())
        self.grouping.begin(teams, orders, self._clock())
        for device, state in self._live.states.items():
            orders.add(self._desk.link(device, state is LinkState.ONLINE, self._clock()))
        self.grouping.follow(orders, self._clock())  # links that stayed online while the disk was away let members go
        await self._carry_out(orders)

    async def _until_something(self) -> None:
        """Until an event came, or something is due."""
        if self._inbox or self._urgent:
            return
        self._wake.clear()
        due = min((t for t in (self._desk.next_time(), self.leasing.next_time()) if t is not None), default=None)
        wait_s = None if due is None else max(0.0, (due - self._clock()) / 1e9)
        if wait_s == 0.0:
            await asyncio.sleep(0)
            return
        timer = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _take(self) -> None:
        """Some events, one commit, then what they order."""
        events = self._next_events()
        await self._look_up([e.key for e in events if e.key is not None])
        orders, answers = Orders(), list[tuple[asyncio.Future[Command | None], Command | None]]()
        now = self._clock()
        for event in events:
            try:
                found = event.act(now)
            except TwinloopError as error:  # the caller's fault: nobody else's business
                if event.answer is not None and not event.answer.done():
                    event.answer.set_exception(error)
                continue
            orders.add(found)
            if event.answer is not None:
                answers.append((event.answer, found.answer))
        self._before = {}
        orders.add(self._desk.tick(now))
        orders.add(self.leasing.tick(now))
        self.grouping.follow(orders, now)
        kept = await self._carry_out(orders)
        for future, command in answers:
            if future.done():
                continue
            if kept:
                # As it is after the batch: what was open when its key was repeated may have ended.
                future.set_result(command if command is None else orders.kept.get(command.id, command))
            else:
                future.set_exception(Unavailable("it could not be recorded; nothing was done", "see the server's log"))

    async def _look_up(self, keys: list[tuple[str, str]]) -> None:
        """What the keys were used for, open or not: an open command may end before the event is taken."""
        opened = {key: c for key in keys if (c := self._desk.by_key(*key)) is not None}
        others = [key for key in keys if key not in opened]
        self._before = (await self.on_disk(self._store.by_keys, others) if others else {}) | opened

    def _next_events(self) -> list[_Event]:
        """Urgent ones alone, so that nothing else makes their commit longer; then the others. Of one key only the first, so
        that the second meets what became of it.
        """
        events: list[_Event] = []
        keys: set[tuple[str, str]] = set()
        for waiting in (self._urgent, self._inbox):
            while waiting and len(events) < TAKEN_MAX and waiting[0].key not in keys:
                event = waiting.popleft()
                if event.key is not None:
                    keys.add(event.key)
                events.append(event)
            if events:
                break
        return events

    async def _carry_out(self, orders: Orders) -> bool:
        """False: it could not be recorded, so nothing was done and all stands as it does on disk."""
        for identity in orders.looks:
            self._start(self._look(identity))
        kept, leases = list(orders.kept.values()), list(orders.leases.values())
        groups = [team.group for team in orders.groups.values()]
        if kept or leases or groups:
            marks = self._audit.marks()
            try:
                await self.on_disk(self._store.save, kept, marks, leases, groups)
            except sqlite3.Error as error:
                self._audit.put_back(marks)
                self._forget(error)
                return False
            for command in kept:
                self._want(command)
            self._announce(orders)
            self._audit.take([*kept, *leases, *groups])
        for identity in orders.writes:
            self._start(self._write(self._desk.open[identity]))
        for identity in orders.predictions:
            self._start(self._predict(self._desk.open[identity]))
        return True

    def _announce(self, orders: Orders) -> None:
        announce = self._live.feed.announce
        for command in orders.kept.values():
            announce("command", command.transitions[-1].time, as_body(command))
            _say(command)
        for held in orders.leases.values():
            announce("lease", held.steps[-1].time, lease.as_body(held))
        for team in orders.groups.values():
            announce("group", team.group.steps[-1].time, group.as_body(team))

    def _forget(self, error: sqlite3.Error) -> None:
        """What could not be recorded has not happened: as after a crash, the disk is right."""
        log.error("commands cannot be recorded, trying again: %s", error)
        self._lost = True

    def _start(self, work: Coroutine[None, None, None]) -> None:
        assert self._tasks is not None
        self._tasks.create_task(work)

    async def _write(self, command: Command) -> None:
        correlation.set(command.id)
        point = self._ground.point(command.point)
        verdict = await self._links[point.device].write(point, command.value, WRITE_TIMEOUT_S)
        self._tell(lambda now: self._desk.answered(command.id, verdict, now))

    async def _predict(self, command: Command) -> None:
        """Its pre-flight. What a stop cut off is asked for again, from the plant's state then."""
        correlation.set(command.id)
        policy = self._ground.policy(self.plant.point(command.point))
        if self._preflight is None:
            judgement = unpredicted(_no_simulation(), policy)
        else:
            judgement = await self._preflight.judge(command, policy, lambda: self._may_wait(command))
        self._tell(lambda now: self._desk.predicted(command.id, judgement, now))

    def _may_wait(self, command: Command) -> bool:
        """Whether a draft of before the start waits for the plant's first readings: it has its time anew."""
        mine = self._desk.open.get(command.id)
        if mine is None or mine.status is not Status.DRAFT:
            return False
        return mine.transitions[-1].time < self._taken_up_at and self._clock() < mine.deadline - PREDICTING_NS

    async def _look(self, identity: str) -> None:
        """Read the feedback once."""
        command = self._desk.open.get(identity)
        if command is None:
            return
        sent_at = max((t.time for t in command.transitions if t.status in (Status.SENT, Status.UNKNOWN)), default=0)
        sight = await self._observe(self._ground.point(self._ground.feedback(command).feedback), sent_at)
        value, seen = (None, ()) if sight is None else (sight.value, (sight,))
        self._tell(lambda now: self._desk.observed(identity, value, seen, now))

    async def _observe(self, point: Point, after: int) -> Sight | None:
        """What the process shows now; for protocols that cannot be asked, the newest good reading since `after`."""
        if self._live.states.get(point.device) is not LinkState.ONLINE:
            return None
        batch = await self._links[point.device].read(point, READ_TIMEOUT_S)
        if batch is not None:
            rows = zip(batch.point, batch.value, batch.quality, strict=True)
            fresh = [
                Sight(point.name, float(v), None, int(q), 0.0) for p, v, q in rows if p == point.id and is_good(int(q))
            ]
            return fresh[-1] if fresh else None
        columns = self._live.table.columns
        if columns.source_time[point.id] > after and is_good(int(columns.quality[point.id])):
            age_s = (self._clock() - int(columns.received_time[point.id])) / 1e9
            return Sight(point.name, float(columns.value[point.id]), None, int(columns.quality[point.id]), age_s)
        return None

    # --- events ------------------------------------------------------------------------------------------------------

    def _tell(self, act: Act) -> None:
        """Something happened; it is never dropped."""
        self._inbox.append(_Event(act))
        self._wake.set()

    async def _ask(self, act: Act, key: tuple[str, str] | None = None, *, urgent: bool = False) -> Command:
        command = await self._put(act, key, urgent=urgent)
        assert command is not None
        return command

    async def _put(self, act: Act, key: tuple[str, str] | None = None, *, urgent: bool = False) -> Command | None:
        if len(self._inbox) >= INBOX_MAX and not urgent:
            raise LimitExceeded(f"{INBOX_MAX} events wait to be taken", "ask again later")
        answer: asyncio.Future[Command | None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._inbox).append(_Event(act, answer, key))
        self._wake.set()
        return await answer

    async def perform(self, act: Callable[[int], tuple[T, Orders]]) -> T:
        """What the act answers with, once all that it changed is durable.

        Raises:
            As the act. LimitExceeded: too much waits. Unavailable: it could not be recorded, or not audited.
        """
        self._check_audit()
        answers: list[T] = []

        def event(now: int) -> Orders:
            answer, orders = act(now)
            answers.append(answer)
            return orders

        await self._put(event)
        return answers[0]

    async def _change(self, identity: str, act: Act) -> Command:
        """
        Raises:
            NotFound: no command has that id. Conflict: it has ended.
        """
        if identity not in self._desk.open:
            raise Conflict(f"command {identity} is {(await self.get(identity)).status}", "it has ended")
        return await self._ask(act)

    def _want(self, command: Command) -> None:
        """What the twin desires: the value of the newest command that was let into the queue."""
        if not any(t.status is Status.QUEUED for t in command.transitions):
            return
        try:
            point = self._ground.point(command.point)
        except NotFound:  # the plant was edited
            return
        if command.status not in UNDESIRED and command.status is not Status.SUPERSEDED:
            self.desired[point.id] = command.value
        elif self.desired.get(point.id) == command.value and command.status in UNDESIRED:
            del self.desired[point.id]

    def _device_of(self, point: str) -> str:
        known = self.plant.point_of_name.get(point)
        return known.device if known is not None else ""

    async def on_disk(self, work: Callable[..., T], *values: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *values)


def _say(command: Command) -> None:
    """In the log: its end for everybody, each step for who looks closely."""
    level = logging.INFO if command.final else logging.DEBUG
    if log.isEnabledFor(level):
        last = command.transitions[-1]
        said = f"{command.point} = {command.value:g} by {command.author}: {last.status} {last.detail}"
        log.log(level, "%s", said.rstrip(), extra={"correlation": command.id})


def _no_simulation() -> Unavailable:
    return Unavailable("this server runs no simulations", "start it with `twinloop up`")


def _answered(command: Command) -> bool:
    """Whether it was refused by the device, or by a person, not by us."""
    return any(t.status is Status.SENT for t in command.transitions) or command.transitions[-1].by != ""
