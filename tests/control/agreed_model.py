"""Leases and groups in the dispatcher's model test: what may never be of them, whatever breaks and wherever it crashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from control.authors import GROUP_AUTHOR, LEASE_AUTHOR
from control.command import Command, Priority, Status
from control.dispatcher import Dispatcher
from control.gate import unasked
from control.group import TOOK_EFFECT, Group, GroupRequest, GroupStatus, MemberRequest, group_of
from control.group import TRANSITIONS as GROUP_STEPS
from control.grouping import Grouping
from control.lease import TRANSITIONS as LEASE_STEPS
from control.lease import Lease, LeaseRequest, LeaseStatus
from control.leasing import Leasing
from control.orders import Orders
from protocols.link import Verdict, WriteOutcome
from tests.control.command_happenings import STEPS
from tests.control.command_model import PEOPLE, Crash, Model
from tests.control.command_yard import SECOND, hold
from twin.plant import Plant
from twin.points import Points
from twin.policy import Policy

CLASSES = tuple(p for p in Priority if p is not Priority.EMERGENCY)


def run(seed: int, steps: int = 130) -> AgreedModel:
    """A whole run.

    Raises:
        Wrong: something was that may never be.
    """
    model = AgreedModel(seed, steps=steps)
    model.run(AGREED_STEPS)
    return model


class AgreedModel(Model):
    """A model in which people also hold points and command several at once."""

    def __init__(self, seed: int, dispatcher: type[Dispatcher] = Dispatcher, steps: int = 130) -> None:
        super().__init__(seed, dispatcher, steps)
        points = sorted(self.yard.points.values(), key=lambda p: p.id)
        self.plant = Plant("yard", "Yard", "", {}, (), (), (), Points.of(tuple(points)), (), None, {})
        self.leases: dict[str, Lease] = {}  # as on disk
        self.groups: dict[str, Group] = {}
        self.beats: dict[str, int] = {}  # lease -> when its holder was last heard, or the server came back
        self.released: set[str] = set()  # with their reverts
        self.asked: dict[tuple[str, str], LeaseRequest | GroupRequest] = {}
        self.agreed: dict[tuple[str, str], str] = {}  # key -> id, once it was acknowledged
        self._around()

    def _around(self) -> None:
        self.leasing, self.grouping = Leasing(self.desk, self._identity), Grouping(self.desk, self._identity)

    def _identity(self) -> str:
        self._numbers += 1
        return f"x{self._numbers:06d}"

    # --- the runtime's part ------------------------------------------------------------------------------------------

    def _lose_memory(self) -> None:
        super()._lose_memory()
        self._around()

    def _begin(self) -> None:
        store = self.disk.store
        left = store.leases.unfinished()
        self.leasing.book.restore(left, self.now)
        self.beats.update({lease.id: self.now for lease in left})
        self._teams = [store.team(group) for group in store.groups.unfinished()]
        super()._begin()

    def _follow(self, orders: Orders) -> None:
        teams, self._teams = getattr(self, "_teams", []), []
        if teams:
            self.grouping.begin(teams, orders, self.now)
        orders.add(self.leasing.tick(self.now))
        self.grouping.follow(orders, self.now)

    def _keep(self, orders: Orders) -> None:
        leases = list(orders.leases.values())
        groups = [team.group for team in orders.groups.values()]
        for new in leases:
            _grown(self.leases.get(new.id), new, LEASE_STEPS)
        for group in groups:
            _grown(self.groups.get(group.id), group, GROUP_STEPS)
        commands = list(orders.kept.values())
        self.disk.store.save((), (), leases, groups)
        self.disk.save(commands)
        self.leases.update({x.id: x for x in leases})
        self.groups.update({g.id: g for g in groups})
        for lease in leases:
            self._ended_well(lease, commands)
        for command in commands:
            identity = group_of(command)
            hold(not identity or identity in self.groups, "a member without its group", command)
        held = Counter(point for x in self.leases.values() if not x.final for point in x.targets)
        hold(all(n == 1 for n in held.values()), "a point is held twice", held)

    def _ended_well(self, lease: Lease, commands: list[Command]) -> None:
        """Its reverts are in the commit of its end, and only then."""
        if lease.status is LeaseStatus.EXPIRED:
            silent_s = (self.now - self.beats[lease.id]) / SECOND
            hold(silent_s >= lease.ttl_s, "expired although its holder was heard", lease, silent_s)
        reverts = sorted((c.point, c.value) for c in commands if c.author == f"{LEASE_AUTHOR}{lease.id}")
        due = lease.status is LeaseStatus.EXPIRED or (lease.final and lease.id in self.released)
        hold(reverts == (sorted(lease.revert) if due else []), "its reverts are not with its end", lease, reverts)

    def _asked(self, command: Command) -> Policy:
        policy = super()._asked(command)
        return unasked(policy) if _own(command) else policy

    def _may_be_sent(self, command: Command) -> None:
        super()._may_be_sent(command)
        in_way = [
            x
            for x in self.leases.values()
            if not x.final and command.point in x.targets and x.holder != command.author and not _own(command)
        ]
        hold(in_way == [], "sent to a point that somebody else holds", command, in_way)
        if command.terms.group:
            self._its_turn(command)

    def _its_turn(self, command: Command) -> None:
        group = self.groups[command.terms.group]
        stopped = group.status is not GroupStatus.RUNNING and group.steps[-1].time < self.now
        hold(not stopped, "sent although its group had stopped", command, group)
        members = [c for c in self.disk.held.values() if c.terms.group == group.id]
        waiting = [c for c in members if c.status in (Status.AWAITING_APPROVAL, Status.DRAFT)]
        hold(waiting == [], "sent although an approval of its group is missing", command, waiting)
        if group.order == "sequence":
            before = [c for c in members if c.terms.step < command.terms.step and c.status is not Status.CONFIRMED]
            hold(before == [], "sent before the step before it was confirmed", command, before)

    # --- people ------------------------------------------------------------------------------------------------------

    def _agree(self, key: tuple[str, str], act: Callable[[int], tuple[Lease | Group, Orders]]) -> None:
        """Take a lease or submit a group, new or again: one key gives one of them for ever."""
        found: list[str] = []

        def event(now: int) -> Orders:
            made, orders = act(now)
            found.append(made.id)
            return orders

        kept = self.take((event, None))
        if found and kept:
            first = self.agreed.setdefault(key, found[0])
            hold(first == found[0], "another answer for the same key", key, first, found)

    def take_lease(self, key: tuple[str, str]) -> None:
        asked = self.asked[key]
        assert isinstance(asked, LeaseRequest)
        before = self.disk.store.leases.by_key(*key)
        identity = self._identity()

        def act(now: int) -> tuple[Lease, Orders]:
            lease, orders = self.leasing.take(asked, key[0], identity, self.plant, before, now)
            if before is None:
                self.beats[lease.id] = now
            return lease, orders

        self._agree(key, act)

    def submit_group(self, key: tuple[str, str]) -> None:
        asked = self.asked[key]
        assert isinstance(asked, GroupRequest)
        found = self.disk.store.groups.by_key(*key)
        before = None if found is None else self.disk.store.team(found)
        identity = self._identity()

        def act(now: int) -> tuple[Group, Orders]:
            team, orders = self.grouping.submit(asked, key[0], identity, before, now)
            return team.group, orders

        self._agree(key, act)

    def _untrue(self, command: Command) -> str:
        """What goes back may find the point there already: then it need not have acted."""
        problem = super()._untrue(command)
        in_doubt = any(t.status is Status.UNKNOWN for t in command.transitions)
        return "" if _own(command) and in_doubt and problem == "confirmed without an effect" else problem

    # --- the end -----------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        super().heal()
        while self.leasing.book.active:  # nobody is heard any more
            due = self.leasing.next_time()
            assert due is not None
            self.now = max(self.now + 1, due)
            self.take()
            super().heal()

    def judge(self) -> None:
        super().judge()
        store = self.disk.store
        hold(
            {x.id: x.steps for x in store.leases.newest(10**6)} == {i: x.steps for i, x in self.leases.items()},
            "leases",
        )
        hold({g.id: g for g in store.groups.newest(10**6)} == self.groups, "the disk has other groups")
        hold(all(x.final for x in (*self.leases.values(), *self.groups.values())), "a lease or group without an end")
        known = {*self.leases, *self.groups}
        hold(set(self.agreed.values()) <= known, "an acknowledged lease or group is lost")
        for group in self.groups.values():
            self._judge_group(group)

    def _judge_group(self, group: Group) -> None:
        members = {c.terms.step: c for c in self.disk.held.values() if c.terms.group == group.id}
        undos = {
            int(c.key.split(":")[1]): c for c in self.disk.held.values() if c.author == f"{GROUP_AUTHOR}{group.id}"
        }
        status = group.status
        if status is GroupStatus.REFUSED:
            hold(not members and not undos, "a refused group has commands", group)
            return
        hold(sorted(members) == list(range(len(group.members))), "a group has lost a member", group, members)
        took = {n for n, c in members.items() if c.status in TOOK_EFFECT and group.members[n].undo is not None}
        if status is GroupStatus.CONFIRMED:
            hold(all(c.status is Status.CONFIRMED for c in members.values()), "confirmed without a member", group)
            hold(not undos, "confirmed and undone", group, undos)
            return
        hold(set(undos) == took, "what took effect and what was undone differ", group, took, undos)
        well = all(c.status is Status.CONFIRMED for c in undos.values())
        hold(well == (status is not GroupStatus.FAILED), "its compensations say another end", group, undos)


def _grown(old: Lease | Group | None, new: Lease | Group, steps: Mapping[object, frozenset[object]]) -> None:  # type: ignore[type-arg]
    told = old.steps if old is not None else ()
    hold(new.steps[: len(told)] == told, "the past was changed", old, new)
    for before, after in zip(new.steps, new.steps[1:], strict=False):
        hold(after.status in steps[type(new.status)(before.status)], "no such step", before, after)


def _own(command: Command) -> bool:
    return command.author.startswith((LEASE_AUTHOR, GROUP_AUTHOR))


# --- what can happen -------------------------------------------------------------------------------------------------


def _take(model: AgreedModel) -> None:
    chance = model.chance
    points = chance.sample(list(model.yard.points), chance.randint(1, 3))
    values = {p: _near(model, p) for p in points if chance.random() < 0.5}
    key = chance.choice(PEOPLE), model._identity()
    priority = chance.choice(CLASSES)
    model.asked[key] = LeaseRequest(key[1], tuple(points), chance.choice([1.0, 3.0, 20.0]), priority, values)
    model.take_lease(key)


def _near(model: AgreedModel, point: str) -> float:
    """A value that no other command has, near enough for every step."""
    model._numbers += 1
    return model.yard.registers[point] // 1 + 0.5 + model._numbers / 10_000


def _group(model: AgreedModel) -> None:
    chance = model.chance
    points = chance.sample(list(model.yard.points), chance.randint(1, 4))
    undos = [chance.choice([None, "previous", _near(model, p)]) for p in points]
    members = tuple(
        MemberRequest(p, _near(model, p), undo)  # type: ignore[arg-type]
        for p, undo in zip(points, undos, strict=True)
    )
    key = chance.choice(PEOPLE), model._identity()
    model.asked[key] = GroupRequest(
        key[1], members, chance.choice(["sequence", "together"]), chance.choice(CLASSES),
        chance.choice([0.5, 5.0, 100.0]),
    )  # fmt: skip
    model.submit_group(key)


def _again(model: AgreedModel) -> None:
    if model.asked:
        key = model.chance.choice(list(model.asked))
        again = model.take_lease if isinstance(model.asked[key], LeaseRequest) else model.submit_group
        again(key)


def _beat(model: AgreedModel) -> None:
    for lease in model.leasing.book.active:
        if model.chance.random() < 0.7:
            model.leasing.book.beat(lease.id, lease.holder, model.now)
            model.beats[lease.id] = model.now


def _release(model: AgreedModel) -> None:
    if model.leasing.book.active:
        lease = model.chance.choice(model.leasing.book.active)
        revert = model.chance.random() < 0.5
        if revert:
            model.released.add(lease.id)

        def act(now: int) -> Orders:
            return model.leasing.release(lease.id, lease.holder, now, others=False, revert=revert)[1]

        try:
            model.take((act, None))
        except Crash:
            if not model.leases[lease.id].final:
                model.released.discard(lease.id)
            raise
        if not model.leases[lease.id].final:
            model.released.discard(lease.id)  # the disk was full


def _cancel_group(model: AgreedModel) -> None:
    if model.grouping.open:
        group = model.chance.choice(model.grouping.open).group
        model.take((lambda now: model.grouping.cancel(group.id, "uwe", "", now)[1], None))


def _cancelled_as_it_is_answered(model: AgreedModel) -> None:
    """A group is cancelled in the commit in which a device's answer is taken."""
    flight = next((f for f in model.flights if f.acted and f.command.terms.group), None)
    if flight is None or model.grouping.get(flight.command.terms.group) is None:
        return
    model.flights.remove(flight)
    identity, group = flight.command.id, flight.command.terms.group
    verdict = Verdict(WriteOutcome.ACCEPTED, "")
    model.take(
        (lambda now: model.grouping.cancel(group, "uwe", "", now)[1], None),
        (lambda now: model.desk.answered(identity, verdict, now), None),
    )


AGREED_STEPS: Mapping[str, tuple[float, Callable[[Model], None]]] = {
    **STEPS,
    "lease": (4, _take),
    "group": (5, _group),
    "agreed again": (2, _again),
    "beat": (4, _beat),
    "release": (1, _release),
    "cancel group": (0.7, _cancel_group),
    "cancelled as it is answered": (1, _cancelled_as_it_is_answered),
}
