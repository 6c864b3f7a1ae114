"""Holds every open command and decides what happens next; pure: events and the time in, orders out. No clock, no I/O.

Each event method changes the state and answers with Orders: what must be durable first, then what to write and to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from control import waiting
from control.board import Board, Timer
from control.command import (
    SEEKING,
    UNSENT,
    Command,
    Priority,
    Status,
    Transition,
    answered,
    moved,
    recovered,
    sent_at,
    supersedes,
)
from control.confirmation import Quest, begun, found
from control.gate import Gate, unasked
from control.orders import Ground, Orders
from control.pace import SECOND
from control.queue import Line
from control.request import Request, body
from control.schedule import next_look, send_by
from protocols.link import Verdict
from twin.errors import (
    Conflict,
    NotFound,
    NotPermitted,
)
from twin.interlock import ALLOWED, Judgement, Sight
from twin.points import Point
from twin.policy import Policy, Preflight

LOOK_EVERY_NS = SECOND // 5
NOT_SENT_WAIT_NS = SECOND // 2  # a link that says "not sent" is about to report itself offline
GROUP_MAX_NS = 24 * 3600 * SECOND  # how long a member of a group may wait for those before it
DRAFT_MAX_NS = 60 * SECOND  # a prediction takes a second; beyond this nobody makes it any more


class Dispatcher:
    """One per server. Every time is ns since 1970 UTC."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._board = Board()
        self.gate = Gate(ground, self._board)
        self._quests: dict[str, Quest] = {}
        self._entered: dict[str, tuple[int, int]] = {}  # when first queued, and the order among those of one moment

    @property
    def open(self) -> Mapping[str, Command]:
        """By id."""
        return self._board.open

    # --- what people ask ---------------------------------------------------------------------------------------------

    def by_key(self, author: str, key: str) -> Command | None:
        """The open command with that key."""
        return self._board.by_key(author, key)

    def submit(self, request: Request, author: str, identity: str, before: Command | None, now: int) -> Orders:
        """`before` is the command that the author submitted with this key, however long ago.

        The answer's status is REFUSED where an interlock forbids it now.

        Raises:
            BadRequest, OutOfRange, Expired, Refused: it can never work so.
            Conflict: the key was used for another request. Reserved: somebody else holds the point.
            PreconditionFailed: the point changed since the author looked.
            LimitExceeded: too many commands of the device are open (emergencies always fit), or the point's pace lets
                it go only after its deadline.
        """
        if before is not None:
            if not _same(before, request):
                raise Conflict(f"key {request.key!r} was used for another command", "use a new key")
            return Orders(self.open.get(before.id, before))
        point = self._ground.point(request.point)
        policy = self._ground.policy(point)
        command = self.gate.admit(request, author, identity, point, policy, now)
        self.gate.check(command, point, now)
        judgement = ALLOWED if command.terms.scheduled else self._ground.judge(command, now)
        return self._begun(command, point, policy, judgement, now)

    def _begun(self, command: Command, point: Point, policy: Policy, judgement: Judgement, now: int) -> Orders:
        """The command as it begins, and as far as it goes at once."""
        orders = Orders()
        self._board.line(point.device).open += 1
        self._hold(command, orders)
        if not judgement.allowed:
            self._move(command, Status.REFUSED, now, judgement.detail, orders, judged=judgement)
        elif policy.preflight is not Preflight.OFF and command.priority is not Priority.EMERGENCY:
            self._draft(command, judgement, now, orders)
        else:
            self._onward(command, now, orders, "submitted", by=command.author, judged=judgement, first=True)
        orders.answer = orders.kept[command.id]
        return orders

    def check(self, request: Request, author: str, now: int) -> tuple[Command, Judgement]:
        """What `submit` would say, without doing it.

        Raises:
            As submit.
        """
        point = self._ground.point(request.point)
        policy = self._ground.policy(point)
        command = self.gate.admit(request, author, "", point, policy, now)
        self.gate.check(command, point, now)
        return command, self._ground.judge(command, now)

    def operate(self, identity: str, by: str, now: int) -> Orders:
        """Send what was selected on its way.

        Raises:
            Conflict: it is not selected. NotPermitted: somebody else selected it.
        """
        command = self._expect(identity, Status.SELECTED, "only a selected command can be operated")
        if by != command.author:
            raise NotPermitted(f"{command.author} selected {command.point}", "only who selected it may operate it")
        orders = Orders()
        self._release(command, now, orders, "operated", by)
        orders.answer = orders.kept[identity]
        return orders

    def approve(self, identity: str, by: str, reason: str, now: int) -> Orders:
        """One more approval; the role was checked by the caller.

        Raises:
            Conflict: it awaits none. NotPermitted: by its author, or for the second time.
        """
        command = self._expect(
            identity, Status.AWAITING_APPROVAL, "only a command that awaits approval can be approved"
        )
        if by == command.author:
            raise NotPermitted(f"{by} asked for it", "somebody else must approve it")
        if by in command.approvers:
            raise NotPermitted(f"{by} has approved it already", "another person must")
        given, needed = len(command.approvers) + 1, command.terms.approvals
        detail = f"approved{f': {reason}' if reason else ''}"
        orders = Orders()
        if given < needed:
            detail = f"{detail} ({given} of {needed})"
            self._move(command, Status.AWAITING_APPROVAL, now, detail, orders, by=by)
        else:
            self._release(command, now, orders, detail, by)
        orders.answer = orders.kept[identity]
        return orders

    def reject(self, identity: str, by: str, reason: str, now: int) -> Orders:
        """
        Raises:
            Conflict: it awaits no approval.
        """
        command = self._expect(
            identity, Status.AWAITING_APPROVAL, "only a command that awaits approval can be rejected"
        )
        orders = Orders()
        self._move(command, Status.REFUSED, now, f"rejected{f': {reason}' if reason else ''}", orders, by=by)
        orders.answer = orders.kept[identity]
        return orders

    def cancel(self, identity: str, by: str, reason: str, now: int) -> Orders:
        """
        Raises:
            Conflict: it was sent, or has ended.
        """
        command = self._get(identity)
        orders = Orders()
        self._move(command, Status.CANCELLED, now, f"cancelled{f': {reason}' if reason else ''}", orders, by=by)
        orders.answer = orders.kept[identity]
        return orders

    def settle(self, identity: str, by: str, to: Status, reason: str, now: int) -> Orders:
        """A person says how an UNKNOWN command ended, because nothing can be read.

        Raises:
            Conflict: it is not UNKNOWN, or the process can be read and will say it itself.
        """
        command = self._expect(identity, Status.UNKNOWN, "only an UNKNOWN command is settled by hand")
        quest = self._quests.get(identity)
        if quest is not None and quest.seen is not None and quest.end is not None:
            left_s = max(0.0, (quest.end - now) / SECOND)
            told = f"{self._ground.feedback(command).feedback} reads {quest.seen:g}"
            raise Conflict(f"{told}: the process itself says within {left_s:.0f} s how {identity} ended", "wait for it")
        orders = Orders()
        self._move(command, to, now, f"settled by hand: {reason}", orders, by=by)
        orders.answer = orders.kept[identity]
        return orders

    def waits_for(self, identity: str, now: int) -> str:
        """What an unsent command waits for, in words; "" for others."""
        command = self.open.get(identity)
        if command is None or command.status not in UNSENT:
            return ""
        if command.status is not Status.QUEUED:
            return waiting.waits_for(command)
        point = self._ground.point(command.point)
        pace_s = (self.gate.earliest(command, point) - now) / SECOND
        return waiting.in_line(
            command, point, self._board.line(point.device), self.gate.unsettled(command), pace_s, now
        )

    # --- what leases and groups ask ----------------------------------------------------------------------------------

    def own(self, request: Request, author: str, identity: str, now: int, against: str = "") -> Orders:
        """What the server itself asks for: a revert, a compensation. It was agreed to when the lease or the group was,
        so it waits for nobody, and no queue is too full for it; interlocks hold for it, too, and what is said `against`.

        Raises:
            BadRequest, OutOfRange, NotFound, Refused: it can never work so.
        """
        point = self._ground.point(request.point)
        policy = unasked(self._ground.policy(point))
        command = self.gate.admit(request, author, identity, point, policy, now)
        judgement = Judgement(False, against) if against else self._ground.judge(command, now)
        return self._begun(command, point, policy, judgement, now)

    def join(self, request: Request, author: str, identity: str, group: str, step: int, now: int) -> Orders:
        """A member of a group, which `Gate.check_member` let pass at this moment: SCHEDULED until it is its `turn`."""
        point = self._ground.point(request.point)
        policy = self._ground.policy(point)
        command = self.gate.admit(request, author, identity, point, policy, now)
        terms = replace(command.terms, group=group, step=step, until=now + GROUP_MAX_NS)
        return self._begun(replace(command, terms=terms), point, policy, ALLOWED, now)

    def turn(self, identity: str, now: int) -> Orders:
        """A SCHEDULED member of a group may go."""
        orders = Orders()
        self._let_go(self._get(identity), ALLOWED, "its turn in the group", now, orders)
        return orders

    # --- what happens ------------------------------------------------------------------------------------------------

    def begin(self, left: Iterable[Command], last: Iterable[Command], now: int) -> Orders:
        """After a start: what a stop left behind, and for every point the command that was sent to it last."""
        for command in last:
            sent = [t.time for t in command.transitions if t.status is Status.SENT]
            if sent:
                self.gate.sent(command.point, sent[-1], command.value)
        orders = Orders()
        for before in left:
            command = recovered(before, now)
            try:
                self._ground.point(command.point)
            except NotFound:
                self._orphan(command, now, orders)
                continue
            self._line_of(command).open += 1
            if command is before:
                self._board.hold(command)
            else:
                self._hold(command, orders)
            self._resume(command, now, orders)
        return orders

    def link(self, device: str, online: bool, now: int) -> Orders:
        line = self._board.line(device)
        line.online, line.held_until = online, 0
        orders = Orders()
        self._dispatch(device, now, orders)
        return orders

    def predicted(self, identity: str, judgement: Judgement, now: int) -> Orders:
        """A prediction is there, or could not be made."""
        orders = Orders()
        command = self.open.get(identity)
        if command is not None and command.status is Status.DRAFT:
            self._release(command, now, orders, judgement.detail or "predicted", "", judgement)
        return orders

    def answered(self, identity: str, verdict: Verdict, now: int) -> Orders:
        """The device's answer to a write."""
        command = self._get(identity)
        device = self._ground.point(command.point).device
        line = self._board.line(device)
        line.writing.discard(identity)
        orders = Orders()
        command = self._keep(answered(command, verdict, now), orders)
        if command.status is Status.QUEUED:
            line.held_until = now + NOT_SENT_WAIT_NS
            self._board.at(line.held_until, Timer.DEVICE, device)
            self._board.at(command.deadline, Timer.DEADLINE, identity)  # it may have passed while it was SENT
            line.enter(command, *self._entered[identity])
        elif command.status is Status.ACKNOWLEDGED and (newer := self._sent_after(command)):
            detail = f"command {newer} was sent before the process confirmed this one"
            self._move(command, Status.SUPERSEDED, now, detail, orders)
        elif command.status in SEEKING:
            self._seek(command, now)
            orders.looks.append(identity)
        self._dispatch(device, now, orders)
        return orders

    def observed(self, identity: str, value: float | None, seen: tuple[Sight, ...], now: int) -> Orders:
        """What the feedback shows; None: it could not be read."""
        orders = Orders()
        command, quest = self.open.get(identity), self._quests.get(identity)
        if command is None or quest is None or command.status not in SEEKING:
            return orders
        finding = found(quest, command, self._ground.feedback(command), value, now)
        if finding is not None:
            observed = quest.seen if finding.to in (Status.CONFIRMED, Status.FAILED) else None
            judged = Judgement(True, seen=seen)
            command = self._move(command, finding.to, now, finding.detail, orders, observed, judged=judged)
        if not command.final:
            self._board.at(now + LOOK_EVERY_NS, Timer.LOOK, identity)
        return orders

    def tick(self, now: int) -> Orders:
        """Everything that has come due."""
        orders = Orders()
        for kind, what in self._board.due(now):
            if kind is Timer.DEVICE:
                self._dispatch(what, now, orders)
                continue
            command = self.open.get(what)
            if command is None:
                continue
            if kind is Timer.LOOK and command.status in SEEKING:
                orders.looks.append(what)
            elif kind is Timer.DUE and command.status is Status.SCHEDULED:
                self._try_due(command, now, orders)
            elif kind is Timer.DEADLINE and command.status in UNSENT and now >= command.deadline:
                self._expire(command, now, orders)
        return orders

    def next_time(self) -> int | None:
        """When `tick` has something to do."""
        return self._board.next_time()

    # --- the way to the queue ----------------------------------------------------------------------------------------

    def _draft(self, command: Command, judgement: Judgement, now: int, orders: Orders) -> None:
        first = Transition(
            Status.DRAFT, now, "submitted; being predicted", command.author, judgement.seen, judgement.verdicts
        )
        self._hold(replace(command, deadline=now + DRAFT_MAX_NS, transitions=(first,)), orders)
        self._board.at(now + DRAFT_MAX_NS, Timer.DEADLINE, command.id)
        orders.predictions.append(command.id)

    def _release(
        self, command: Command, now: int, orders: Orders, detail: str, by: str, judgement: Judgement = ALLOWED
    ) -> None:
        """Onward, if interlocks (and a prediction's judgement) still let it."""
        if judgement.allowed and not command.terms.scheduled:
            now_found = self.gate.judge(command, now)
            seen, verdicts = (*judgement.seen, *now_found.seen), (*judgement.verdicts, *now_found.verdicts)
            judgement = replace(now_found, seen=seen, verdicts=verdicts)
        if judgement.allowed:
            self._onward(command, now, orders, detail, by=by, judged=judgement)
        else:
            self._move(command, Status.REFUSED, now, judgement.detail, orders, by=by, judged=judgement)

    def _onward(
        self,
        command: Command,
        now: int,
        orders: Orders,
        detail: str,
        *,
        by: str = "",
        judged: Judgement = ALLOWED,
        first: bool = False,
    ) -> None:
        """To the next waiting that its terms ask for; at the `first` it begins there."""
        terms, status = command.terms, command.status
        order = (Status.DRAFT, Status.SELECTED, Status.AWAITING_APPROVAL, Status.SCHEDULED)
        passed = order.index(status) if status in order else len(order)
        if terms.select and passed < 1:
            to, deadline = Status.SELECTED, now + int(terms.select_timeout_s * SECOND)
        elif terms.approvals and passed < 2:
            to, deadline = Status.AWAITING_APPROVAL, now + int(terms.approval_timeout_s * SECOND)
        elif terms.scheduled and passed < 3:
            to, deadline = Status.SCHEDULED, terms.until if terms.until is not None else command.deadline
            if terms.at_plant_s is not None:  # how fast the plant's clock runs from now on tells what is late
                judged = replace(judged, seen=(*self._ground.due(command, now).seen, *judged.seen))
        else:
            to, deadline = Status.QUEUED, send_by(command, now)
        if terms.latest is not None:
            deadline = min(deadline, terms.latest)
        if first:
            begun = Transition(to, now, detail, by, judged.seen, judged.verdicts)
            command = replace(command, status=to, deadline=deadline, transitions=(begun,))
            self._hold(command, orders)
        else:
            command = self._move(command, to, now, detail, orders, by=by, judged=judged, deadline=deadline)
        self._board.at(deadline, Timer.DEADLINE, command.id)
        if to is Status.SCHEDULED:
            self._try_due(command, now, orders)
        elif to is Status.QUEUED:
            self._enter(command, now, orders)

    def _try_due(self, command: Command, now: int, orders: Orders) -> None:
        if command.terms.group:
            return  # the group says when it is its turn
        judgement = self._ground.due(command, now)
        if not judgement.allowed:
            again = next_look(command, now)
            if again is not None:
                self._board.at(again, Timer.DUE, command.id)
        elif late := self._ground.late(command, now):
            self._move(command, Status.EXPIRED, now, late, orders, judged=judgement)
        else:
            self._let_go(command, judgement, judgement.detail or "its time has come", now, orders)

    def _let_go(self, command: Command, due: Judgement, detail: str, now: int, orders: Orders) -> None:
        """From SCHEDULED into the queue, if the interlocks let it."""
        interlocks = self.gate.judge(command, now)
        judged = replace(interlocks, seen=(*due.seen, *interlocks.seen))
        if interlocks.allowed:
            self._onward(command, now, orders, detail, judged=judged)
        else:
            self._move(command, Status.REFUSED, now, interlocks.detail, orders, judged=judged)

    def _enter(self, command: Command, now: int, orders: Orders) -> None:
        """Into its device's queue; older commands for the point that are no more urgent lose their purpose."""
        detail = f"command {command.id} for the same point came later"
        for older in self._board.of_point(command.point):
            if supersedes(command, older):
                self._move(older, Status.SUPERSEDED, now, detail, orders)
        self._entered[command.id] = now, self._board.next_number()
        device = self._ground.point(command.point).device
        self._board.line(device).enter(command, *self._entered[command.id])
        self._dispatch(device, now, orders)

    # --- sending -----------------------------------------------------------------------------------------------------

    def _dispatch(self, device: str, now: int, orders: Orders) -> None:
        """Send what may go: one write at a time, emergencies at once."""
        line = self._board.line(device)
        if not line.online or now < line.held_until:
            return
        while True:
            busy = bool(line.writing) or now < line.free_at
            identity = line.next(lambda i: self.gate.may_go(self.open[i], now), now, emergencies_only=busy)
            if identity is None:
                return
            command = self.open[identity]
            if now > command.deadline:
                self._expire(command, now, orders)
                continue
            judgement = self.gate.judge_now(command, now, orders)
            if judgement.allowed:
                self._send(command, line, judgement, now, orders)
            else:
                self._move(command, Status.REFUSED, now, judgement.detail, orders, judged=judgement)

    def _send(self, command: Command, line: Line, judgement: Judgement, now: int, orders: Orders) -> None:
        point = self._ground.point(command.point)
        detail = f"writing {command.value:g} to {point.address}"
        # Recorded before written: a write that the store does not know must be impossible.
        self._move(command, Status.SENT, now, detail, orders, judged=judgement)
        line.writing.add(command.id)
        orders.writes.append(command.id)
        self.gate.sent(point.name, now, command.value)
        gap_ns = int(self._ground.gap_s(point.device) * SECOND)
        if gap_ns:
            line.free_at = now + gap_ns
            self._board.at(line.free_at, Timer.DEVICE, point.device)
        detail = f"command {command.id} was sent before the process confirmed this one"
        for older in self._board.of_point(point.name):
            if older.status is Status.ACKNOWLEDGED:
                self._move(older, Status.SUPERSEDED, now, detail, orders)

    def _sent_after(self, command: Command) -> str:
        """The id of a command for the same point that was sent after this one, "" when there is none."""
        mine = sent_at(command)
        others = self._board.of_point(command.point)
        return next((o.id for o in others if (sent_at(o), o.priority == 0) > (mine, command.priority == 0)), "")

    # --- ends --------------------------------------------------------------------------------------------------------

    def _expire(self, command: Command, now: int, orders: Orders) -> None:
        detail, judged = waiting.EXPIRED[command.status], ALLOWED
        if command.status is Status.SCHEDULED:
            judged = self._ground.due(command, now)
            detail = f"{detail}: {judged.detail}" if judged.detail else detail
        self._move(command, Status.EXPIRED, now, detail, orders, judged=judged)

    def _seek(self, command: Command, now: int) -> None:
        self._quests[command.id] = begun(self._ground.feedback(command), now)

    def _orphan(self, command: Command, now: int, orders: Orders) -> None:
        """The plant no longer has its point: nothing can be sent, nothing read."""
        detail = f"the plant no longer has {command.point}"
        if command.status in UNSENT:
            ended = moved(command, Status.CANCELLED, now, detail)
        else:
            ended = moved(command, Status.FAILED, now, f"{detail}; the command may have taken effect")
        orders.kept[command.id] = ended

    def _resume(self, command: Command, now: int, orders: Orders) -> None:
        """Take up an open command where a stop left it."""
        status = command.status
        if status in SEEKING:
            self._seek(command, now)
            orders.looks.append(command.id)
            return
        if status is Status.DRAFT:
            command = replace(command, deadline=now + DRAFT_MAX_NS)
            self._board.hold(command)
            orders.predictions.append(command.id)
        self._board.at(command.deadline, Timer.DEADLINE, command.id)
        if status is Status.DRAFT:
            return
        if status is Status.SCHEDULED:
            self._board.at(now, Timer.DUE, command.id)
        elif status is Status.QUEUED:
            entered = next(t.time for t in command.transitions if t.status is Status.QUEUED)
            self._entered[command.id] = entered, self._board.next_number()
            self._line_of(command).enter(command, *self._entered[command.id])

    # --- state -------------------------------------------------------------------------------------------------------

    def _move(
        self,
        command: Command,
        to: Status,
        now: int,
        detail: str,
        orders: Orders,
        observed: float | None = None,
        *,
        by: str = "",
        judged: Judgement = ALLOWED,
        deadline: int | None = None,
    ) -> Command:
        """One step along the table."""
        if command.status is Status.UNKNOWN:  # what waited for it may go
            self._board.at(now, Timer.DEVICE, self._ground.point(command.point).device)
        seen, verdicts = judged.seen, judged.verdicts
        step = moved(command, to, now, detail, observed, by=by, seen=seen, verdicts=verdicts, deadline=deadline)
        return self._keep(step, orders)

    def _keep(self, command: Command, orders: Orders) -> Command:
        """As `_hold`, and out of its queue."""
        line = self._line_of(command)
        line.leave(command.id)
        if command.status not in SEEKING:
            self._quests.pop(command.id, None)
        if command.final:
            line.open -= 1
            self._entered.pop(command.id, None)
        self._hold(command, orders)
        return command

    def _hold(self, command: Command, orders: Orders) -> None:
        orders.kept[command.id] = command
        self._board.hold(command)

    def _get(self, identity: str) -> Command:
        """
        Raises:
            Conflict: it has ended.
        """
        found = self.open.get(identity)
        if found is None:
            raise Conflict(f"command {identity} has ended", "see its transitions")
        return found

    def _expect(self, identity: str, status: Status, rule: str) -> Command:
        command = self._get(identity)
        if command.status is not status:
            raise Conflict(f"command {identity} is {command.status}", rule)
        return command

    def _line_of(self, command: Command) -> Line:
        return self._board.line(self._ground.point(command.point).device)


def _same(before: Command, request: Request) -> bool:
    """Commands of an older store carry no text of their request."""
    if before.asked:
        return before.asked == body(request)
    asked = (request.point, request.value, request.priority, request.reason)
    return (before.point, before.value, before.priority, before.reason) == asked
