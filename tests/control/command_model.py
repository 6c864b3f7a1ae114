"""The runtime's part for the dispatcher's model test: commits, links and restarts in virtual time, and what may never be.

Crashes at every boundary of an effect; everything comes from one seed. Must not know what happens when.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from control.command import UNSENT, Command, Priority, Status
from control.dispatcher import Dispatcher
from control.orders import Orders
from control.queue import AGEING_NS
from control.request import Request
from protocols.link import Verdict, WriteOutcome
from tests.control.command_yard import SECOND, YARD, Disk, Wrong, Yard, hold, untrue
from twin.errors import NotFound, TwinloopError
from twin.interlock import Judgement
from twin.policy import Policy, Preflight

HELD_NS = SECOND // 2  # a link that could not send is left alone so long
Act = Callable[[int], Orders]
PEOPLE = ("anna", "otto", "uwe")


class Crash(Exception):
    """The process is gone."""


@dataclass
class Flight:
    """A write that the link has and the device may not have answered."""

    command: Command
    device: str
    acted: bool = False


class Model:
    """One seeded run: `step` by step, with crashes, then `heal`."""

    def __init__(self, seed: int, dispatcher: type[Dispatcher] = Dispatcher, steps: int = 130) -> None:
        self.chance = random.Random(seed)
        self.now = 1_700_000_000 * SECOND
        self.yard, self.disk = Yard(), Disk()
        self.acts: Counter[str] = Counter()  # command -> how often a device did it
        self.flights: list[Flight] = []
        self.looks: list[str] = []
        self.predictions: list[str] = []
        self.told: dict[tuple[str, str], tuple[str, Request]] = {}  # key -> id and request, once it was acknowledged
        self.requests: dict[tuple[str, str], Request] = {}
        self.online: dict[str, bool] = dict.fromkeys(YARD, False)
        self.held: dict[str, int] = {}
        self.freed: dict[str, int] = {}
        self.last_sent: dict[str, tuple[int, float]] = {}  # by point, emergencies too
        self.selected_by: dict[str, str] = {}
        self.done: Counter[str] = Counter()
        self.crashing = 0.012
        self._dispatcher, self._steps = dispatcher, steps
        self._numbers = 0
        self._forgetful = False
        self.desk = dispatcher(self.yard)

    # --- one run -----------------------------------------------------------------------------------------------------

    def run(self, steps: Mapping[str, tuple[float, Callable[[Model], None]]]) -> None:
        self._survive(self._begin)
        for device in YARD:
            if self.chance.random() < 0.8:
                self._survive(self._link, device, True)
        for _ in range(self._steps):
            name = self.chance.choices(list(steps), [often for often, _ in steps.values()])[0]
            self.done[name] += 1
            self._survive(steps[name][1], self)
        self.heal()
        self.judge()
        self.disk.store.close()

    def _survive(self, work: Callable[..., None], *values: object) -> None:
        """A crash loses the dispatcher, what the links have, and every answer; the disk is what it is."""
        while True:
            try:
                work(*values)
                return
            except Crash:
                self.done["crash"] += 1
                self._after_crash()
                work, values = self._begin, ()

    def _after_crash(self) -> None:
        for flight in self.flights:  # its bytes may be on the wire
            if not flight.acted and self.chance.random() < 0.5:
                self._device_acts(flight)
        self.flights.clear()
        self._lose_memory()
        self.online = dict.fromkeys(YARD, False)
        self.now += int(self.chance.uniform(0.3, 3) * SECOND)

    def _lose_memory(self) -> None:
        self.looks.clear()
        self.predictions.clear()
        self.held.clear()
        self.freed.clear()
        self.desk = self._dispatcher(self.yard)

    def _begin(self) -> None:
        left, sent = self.disk.store.unfinished(), self.disk.store.last_sent(0)
        orders = self.desk.begin(left, sent, self.now)
        for device, online in self.online.items():
            orders.add(self.desk.link(device, online, self.now))
        self._follow(orders)
        self._carry_out(orders, [])

    def _follow(self, orders: Orders) -> None:
        """What follows from the orders before they are kept: nothing, where there are only commands."""

    def _keep(self, orders: Orders) -> None:
        """One commit."""
        self.disk.save(orders.kept.values())

    def _asked(self, command: Command) -> Policy:
        return self.yard.policy(self.yard.point(command.point))

    # --- the runtime's part ------------------------------------------------------------------------------------------

    def take(self, *events: tuple[Act, tuple[str, str] | None]) -> list[Command | TwinloopError]:
        """Events of one commit; what each was answered, if the process lived to say so."""
        orders, answers = Orders(), list[Command | TwinloopError]()
        for act, _ in events:
            try:
                found = act(self.now)
            except TwinloopError as error:
                answers.append(error)
                continue
            orders.add(found)
            answers.append(found.answer if found.answer is not None else NotFound("nobody asked"))
        orders.add(self.desk.tick(self.now))
        self._follow(orders)
        named = [(key, a) for (_, key), a in zip(events, answers, strict=True) if key is not None]
        kept = self._carry_out(orders, [(k, a) for k, a in named if isinstance(a, Command)])
        late = [c for c in self.desk.open.values() if kept and c.status in UNSENT and c.deadline < self.now]
        hold(late == [], "a command waits longer than it may", late)
        return answers if kept else []

    def _carry_out(self, orders: Orders, answers: Sequence[tuple[tuple[str, str], Command]]) -> bool:
        self._boundary("before the commit")
        if orders.kept or orders.leases or orders.groups:
            if self.chance.random() < self.crashing:  # the disk is full: nothing has happened
                self._forget()
                return False
            self._keep(orders)
            self._boundary("after the commit")
        self._sent(orders)
        for key, command in answers:
            identity, _ = self.told.setdefault(key, (command.id, self.requests[key]))
            hold(identity == command.id, "two commands for one key", key, identity, command)
        for identity in orders.writes:
            self._write(identity)
            self._boundary("between writes")
        self.looks += orders.looks
        self.predictions += orders.predictions
        self._nobody_starves()
        return True

    def _forget(self) -> None:
        """Links go on; the dispatcher begins again from the disk."""
        self.done["disk full"] += 1
        self._forgetful = True
        self._lose_memory()
        self._begin()

    def _boundary(self, where: str) -> None:
        if self.chance.random() < self.crashing:
            self.done[f"crash {where}"] += 1
            raise Crash

    # --- what may be -------------------------------------------------------------------------------------------------

    def _write(self, identity: str) -> None:
        kept = self.disk.held.get(identity)
        stored = self.disk.store.by_id(identity)
        hold(stored is not None and stored.status is Status.SENT, "written before it was recorded", identity, stored)
        assert kept is not None and stored is not None
        steps = [t.status for t in stored.transitions]
        before = [s for s, after in pairwise(steps) if s is Status.SENT and after is not Status.QUEUED]
        hold(before == [] and self.acts[identity] == 0, "a blind second write", stored)
        self._may_be_sent(stored)
        flight = Flight(stored, self.yard.point(stored.point).device)
        emergency = stored.priority is Priority.EMERGENCY
        under_way = [f for f in self.flights if f.device == flight.device]
        hold(emergency or self._forgetful or not under_way, "two writes at a time", stored, under_way)
        self.flights.append(flight)

    def _may_be_sent(self, command: Command) -> None:
        """By deadline, interlock, approval, selection and pace, at this moment."""
        terms, emergency = command.terms, command.priority is Priority.EMERGENCY
        hold(self.now <= command.deadline, "sent after its deadline", command, self.now)
        hold(terms.latest is None or self.now <= terms.latest, "sent after its last moment", command, self.now)
        hold(
            self.yard.judged.get(command.id) == (self.now, True),
            "its interlocks were not asked when it was sent",
            command,
        )
        if emergency:
            return
        policy = self._asked(command)
        awaited = [after.by for a, after in pairwise(command.transitions) if a.status is Status.AWAITING_APPROVAL]
        hold(len(set(awaited) - {"", command.author}) >= policy.approvals, "not approved by enough others", command)
        steps = [t.status for t in command.transitions]
        hold(not policy.select or Status.SELECTED in steps, "not selected", command)
        hold(policy.preflight is Preflight.OFF or steps[0] is Status.DRAFT, "not predicted", command)
        hold(terms.at is None or self.now >= terms.at, "sent before its time", command)
        others = [c for c in self.disk.held.values() if c.point == command.point and c.id != command.id]
        unknown = [c for c in others if c.status is Status.UNKNOWN]
        chosen = [c for c in others if c.status is Status.SELECTED and c.author != command.author]
        hold(all(c.priority > command.priority for c in chosen), "sent while another has selected", command, chosen)
        hold(unknown == [], "sent while the last write to the point is unknown", command, unknown)

    def _sent(self, orders: Orders) -> None:
        """Pace and order of what is about to be written."""
        for identity in orders.writes:
            command = orders.kept[identity]
            point = self.yard.point(command.point)
            if command.priority is not Priority.EMERGENCY:
                hold(
                    self._paced(command) <= self.now, "too soon after the last", command, self.last_sent.get(point.name)
                )
                hold(self.freed.get(point.device, 0) <= self.now, "too soon after another of the device", command)
                hold(self.now >= self.held.get(point.device, 0), "sent while the link is left alone", command)
                self._nobody_is_passed(command, point.device)
        for identity in orders.writes:
            command = orders.kept[identity]
            point = self.yard.point(command.point)
            self.last_sent[point.name] = self.now, command.value
            self.freed[point.device] = self.now + int(self.yard.gap_s(point.device) * SECOND)

    def _paced(self, command: Command) -> int:
        last, policy = self.last_sent.get(command.point), self.yard.policy(self.yard.point(command.point))
        if last is None:
            return 0
        return last[0] + int(max(policy.every_s, abs(command.value - last[1]) / policy.slew_per_s) * SECOND)

    def _ready(self, device: str) -> list[Command]:
        """Commands of the device that nothing holds back but the commands before them."""
        open_ = [c for c in self.desk.open.values() if self.yard.point(c.point).device == device]
        unknown = {c.point for c in open_ if c.status is Status.UNKNOWN}
        return [
            c
            for c in open_
            if c.status is Status.QUEUED
            and self.now <= c.deadline
            and (c.priority is Priority.EMERGENCY or (c.point not in unknown and self._paced(c) <= self.now))
        ]

    def _nobody_is_passed(self, sent: Command, device: str) -> None:
        def rank(c: Command) -> tuple[int, int]:
            entered = next(t.time for t in c.transitions if t.status is Status.QUEUED)
            aged = max(Priority.SAFETY, c.priority - (self.now - entered) // AGEING_NS)
            return (Priority.EMERGENCY if c.priority is Priority.EMERGENCY else aged), entered

        passed = [c for c in self._ready(device) if rank(c) < rank(sent) and rank(c)[1] < self.now]
        hold(passed == [], "it went before others that were first", sent, passed)

    def _nobody_starves(self) -> None:
        """On a live device that is free, nothing waits that may go; an emergency never does."""
        for device, online in self.online.items():
            if not online or self.now < self.held.get(device, 0):
                continue
            ready = self._ready(device)
            emergencies = [c for c in ready if c.priority is Priority.EMERGENCY]
            hold(emergencies == [], "an emergency waits", emergencies)
            busy = any(f.device == device for f in self.flights) or self.now < self.freed.get(device, 0)
            hold(busy or ready == [], "a command waits for nothing", device, ready)

    # --- devices -----------------------------------------------------------------------------------------------------

    def _device_acts(self, flight: Flight) -> None:
        hold(not flight.acted, "the model is wrong")
        flight.acted = True
        self.acts[flight.command.id] += 1
        self.yard.act(flight.command)

    def _link(self, device: str, online: bool) -> None:
        self.online[device] = online
        self.held.pop(device, None)
        self.take((lambda now: self.desk.link(device, online, now), None))

    def answer(self, flight: Flight, outcome: WriteOutcome) -> None:
        """The link's verdict; of an unknown one the device may act, have acted or never act."""
        self.flights.remove(flight)
        acts = {WriteOutcome.ACCEPTED: 1.0, WriteOutcome.UNKNOWN: 0.5}.get(outcome, 0.0)
        if not flight.acted and self.chance.random() < acts:
            self._device_acts(flight)
        if outcome is WriteOutcome.NOT_SENT and self.disk.held[flight.command.id].status is Status.SENT:
            self.held[flight.device] = self.now + HELD_NS
        identity, verdict = flight.command.id, Verdict(outcome, "so it was")
        self.take((lambda now: self.desk.answered(identity, verdict, now), None))

    def look(self, identity: str, readable: bool) -> None:
        self.looks.remove(identity)
        command = self.disk.held[identity]
        online = self.online[self.yard.point(command.point).device]
        value = self.yard.registers[command.point] if online and readable else None
        self.take((lambda now: self.desk.observed(identity, value, (), now), None))

    def predict(self, identity: str, allowed: bool) -> None:
        self.predictions.remove(identity)
        judgement = Judgement(allowed, "" if allowed else "a limit would be violated")
        self.take((lambda now: self.desk.predicted(identity, judgement, now), None))

    # --- people ------------------------------------------------------------------------------------------------------

    def new_request(self) -> tuple[tuple[str, str], Request]:
        self._numbers += 1
        chance = self.chance
        point = chance.choice(list(self.yard.points))
        author, key = chance.choice(PEOPLE), f"k{self._numbers}"
        policy = self.yard.policy(self.yard.points[point])
        near = self.yard.registers[point] // 1 + 1 if policy.step_max < 100 else 0
        scheduled = chance.random()
        request = Request(
            key=key,
            point=point,
            value=near + self._numbers / 1000,
            priority=chance.choices(list(Priority), (1, 2, 8, 3, 2))[0],
            deadline_s=chance.choice([0.1, 1.0, 5.0, 100.0]),
            latest=self.now + int(chance.uniform(0.1, 20) * SECOND) if chance.random() < 0.1 else None,
            select=policy.select and chance.random() < 0.95,
            revision=self.yard.revisions[point] if chance.random() < 0.1 else None,
            at=self.now + int(chance.uniform(-1, 5) * SECOND) if scheduled < 0.07 else None,
            at_plant_s=self.yard.clock_s + chance.uniform(-1, 5) if 0.07 < scheduled < 0.1 else None,
            when=chance.choice("xyz") if 0.1 < scheduled < 0.16 else "",
            wait_s=chance.choice([6.0, 30.0]),
        )
        self.requests[author, key] = request
        return (author, key), request

    def submit(self, *keys: tuple[str, str]) -> list[Command | TwinloopError]:
        """As the runtime does: what the disk has of these keys is looked up first."""
        before = self.disk.store.by_keys(keys)

        def act(key: tuple[str, str], identity: str) -> Act:
            return lambda now: self.desk.submit(
                self.requests[key], key[0], identity, self.desk.by_key(*key) or before.get(key), now
            )

        self._numbers += len(keys)
        names = [f"c{self._numbers - n:06d}" for n in range(len(keys))]
        return self.take(*((act(key, name), key) for key, name in zip(keys, sorted(names), strict=True)))

    def some_open(self, *statuses: Status) -> Command | None:
        found = [c for c in self.desk.open.values() if c.status in statuses]
        return self.chance.choice(found) if found else None

    def _untrue(self, command: Command) -> str:
        return untrue(command, self.acts[command.id])

    # --- the end -----------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Links come back, nothing crashes, and time passes: everything ends."""
        self.crashing = 0.0
        self.yard.locked.clear()
        for device in YARD:
            self._link(device, True)
        for _ in range(5_000):
            if not self.desk.open:
                return
            if self.flights:
                self.answer(self.flights[0], WriteOutcome.ACCEPTED)
            elif self.looks:
                self.look(self.looks[0], True)
            elif self.predictions:
                self.predict(self.predictions[0], True)
            else:
                due = self.desk.next_time()
                hold(due is not None, "open commands, and nothing to wait for", dict(self.desk.open))
                assert due is not None
                self.now = max(self.now + 1, due)
                self.take()
        raise Wrong("a command never ends", dict(self.desk.open))

    def judge(self) -> None:
        """What was acknowledged is there and true."""
        stored = {c.id: c for c in self.disk.store.newest(10**6)}
        hold(stored == self.disk.held, "the disk has something else")
        for key, (identity, request) in self.told.items():
            command = stored.get(identity)
            hold(command is not None, "an acknowledged command is lost", key, identity)
            assert command is not None
            hold((command.author, command.key) == key and command.value == request.value, "another command", command)
        hold([c for c in stored.values() if not c.final] == [], "a command without an end")
        by_key = Counter((c.author, c.key) for c in stored.values())
        hold(all(n == 1 for n in by_key.values()), "two commands for one key", by_key)
        hold(set(self.acts) <= set(stored), "an effect that nobody recorded")
        for command in stored.values():
            problem = self._untrue(command)
            hold(problem == "", problem, command)
