"""What may be taken and what may be sent at a moment: interlocks, pace, steps, selections, leases; pure.

Must not know how a command came so far, nor what happens to one that is held back.
"""

from __future__ import annotations

from dataclasses import replace

from control.admission import admitted
from control.authors import is_own
from control.board import Board, Timer
from control.command import UNSENT, Command, Priority, Status
from control.lease import LeaseBook, reserved, yields
from control.orders import Ground, Orders
from control.pace import SECOND, Sent, changed_since, earliest, too_far
from control.queue import OF_POINT_MAX, QUEUE_MAX
from control.request import Request
from twin.errors import LimitExceeded, NotPermitted, OutOfRange, PreconditionFailed, Reserved
from twin.interlock import ALLOWED, Judgement, Ruling
from twin.points import Point
from twin.policy import FREE, Policy, Preflight


class Gate:
    """Looks at the plant, the board and the leases. Times are ns since 1970 UTC."""

    def __init__(self, ground: Ground, board: Board) -> None:
        self.leases = LeaseBook()
        self._ground, self._board = ground, board
        self._last: dict[str, Sent] = {}  # by point

    def sent(self, point: str, now: int, value: float) -> None:
        """Something was sent to it: its pace begins anew."""
        self._last[point] = now, value

    def last_sent(self, point: str) -> int | None:
        """When something was last sent to it, by whomever."""
        last = self._last.get(point)
        return None if last is None else last[0]

    def admit(self, request: Request, author: str, identity: str, point: Point, policy: Policy, now: int) -> Command:
        """The command that a request becomes.

        Raises:
            BadRequest, OutOfRange, Expired, Refused: it can never work so.
        """
        command = admitted(request, author, identity, point, policy, now)
        if wrong := self._ground.misfit(point, command.value):
            raise OutOfRange(
                f"{point.name} cannot be {command.value:g}: {wrong}", "give a value that its device can hold"
            )
        return command

    def check(self, command: Command, point: Point, now: int) -> None:
        """Refuse at once, and without a record, what cannot be taken now.

        Raises:
            BadRequest, PreconditionFailed, OutOfRange, Reserved, LimitExceeded, NotPermitted.
        """
        if command.priority is Priority.EMERGENCY:
            self._check_emergency(command, point)
            return
        if command.terms.when:
            self._ground.condition(command, now)  # one that cannot be read is told at once
        policy = self._ground.policy(point)
        if changed := changed_since(command, point, self._ground):
            raise PreconditionFailed(changed, "look again")
        if not command.terms.scheduled and (step := too_far(command, point, policy, self._ground)):
            raise OutOfRange(step, "go in smaller steps, and only from a good value")
        lease = self.leases.against(point.name, command.author)
        if lease is not None and not yields(lease, command.priority):
            raise reserved(lease, point.name, now)
        if other := self.selected_by_other(point.name, command.author):
            hint = f"wait for command {other.id} to end or to expire"
            raise Reserved(f"{other.author} has selected {point.name}", hint)
        own = (c for c in self._board.of_point(point.name) if c.terms.select and c.status in UNSENT)
        if command.terms.select and (held := next(own, None)) is not None:
            raise Reserved(f"you have selected {point.name} already", f"operate or cancel command {held.id}")
        if self._board.line(point.device).open >= QUEUE_MAX:
            raise LimitExceeded(f"{QUEUE_MAX} commands of device {point.device} are open", "wait or cancel some")
        if len(self._board.of_point(point.name)) >= OF_POINT_MAX:
            raise LimitExceeded(f"{OF_POINT_MAX} commands of point {point.name} are open", "wait or cancel some")
        wait_s = (self.earliest(command, point) - now) / SECOND
        if wait_s > command.terms.deadline_s and not command.terms.scheduled:
            hint = f"give it a deadline of more than {wait_s:.1f} s, or a smaller step"
            raise LimitExceeded(f"the pace of {point.name} lets this go in {wait_s:.1f} s only", hint)

    def _check_emergency(self, command: Command, point: Point) -> None:
        """The class is no way around a policy: what it passes over must be what the plant calls a stop.

        Raises:
            NotPermitted.
        """
        if self._ground.policy(point) != FREE and not self._ground.is_stop(command):
            what = f"a policy holds for {point.name}: as an emergency it may only be set to what a [[stop]] sets"
            raise NotPermitted(what, "send it in another class, or declare the stop in plant.toml")

    def selected_by_other(self, point: str, author: str) -> Command | None:
        """The open selection that keeps the author from the point."""
        others = self._board.of_point(point)
        return next((c for c in others if c.terms.select and c.status in UNSENT and c.author != author), None)

    def judge(self, command: Command, now: int) -> Judgement:
        """Interlocks, the largest step, the revision: when it is released, and again when it is sent."""
        judgement = self._ground.judge(command, now)
        if command.priority is Priority.EMERGENCY or not judgement.allowed or is_own(command.author):
            return judgement
        point = self._ground.point(command.point)
        against = changed_since(command, point, self._ground) or too_far(
            command, point, self._ground.policy(point), self._ground
        )
        return _held(judgement, against) if against else judgement

    def judge_now(self, command: Command, now: int, orders: Orders) -> Judgement:
        """As it is sent: a selection or lease since it was submitted holds it back; it preempts a lease if it may."""
        judgement = self.judge(command, now)
        other = self.selected_by_other(command.point, command.author)
        if other is not None and judgement.allowed and command.priority >= other.priority:
            return _held(judgement, f"command {other.id} has selected {command.point}")
        lease = self.leases.against(command.point, command.author)
        if lease is None or not judgement.allowed:
            return judgement
        if not yields(lease, command.priority):
            return _held(judgement, f"lease {lease.id} holds {command.point}")
        why = f"command {command.id} is {command.priority.name.lower()}"
        orders.leases[lease.id] = self.leases.preempt(lease, now, why, command.author)
        return judgement

    def may_go(self, command: Command, now: int) -> bool:
        """By what was sent to its point before; a time before which it may not is set as its device's next turn."""
        if command.priority is Priority.EMERGENCY:
            return True
        if self.unsettled(command):
            return False
        point = self._ground.point(command.point)
        free_at = self.earliest(command, point)
        if free_at <= now:
            return True
        line = self._board.line(point.device)
        if not now < line.wake_at <= free_at:
            line.wake_at = free_at
            self._board.at(free_at, Timer.DEVICE, point.device)
        return False

    def unsettled(self, command: Command) -> bool:
        """Whether it is not known what the last write to its point did."""
        return any(other.status is Status.UNKNOWN for other in self._board.of_point(command.point))

    def earliest(self, command: Command, point: Point) -> int:
        """When the point's pace lets it go, ns since 1970."""
        if command.priority is Priority.EMERGENCY:
            return 0
        return earliest(command.value, self._last.get(command.point), self._ground.policy(point))

    # --- of leases and groups ----------------------------------------------------------------------------------------

    def check_own(self, request: Request, author: str, now: int) -> Policy:
        """The point's policy.

        Raises:
            BadRequest, OutOfRange, NotFound, Refused: it can never work so.
        """
        point = self._ground.point(request.point)
        policy = self._ground.policy(point)
        self.admit(request, author, "", point, unasked(policy), now)
        return policy

    def check_member(self, request: Request, author: str, now: int, *, later: bool) -> Judgement:
        """Whether it may be one; `later`: only what does not depend on where the plant is by then.

        Raises:
            As submit.
        """
        point = self._ground.point(request.point)
        command = self.admit(request, author, "", point, self._ground.policy(point), now)
        if later:
            command = replace(command, terms=replace(command.terms, group="later"))
        self.check(command, point, now)
        return ALLOWED if later else self._ground.judge(command, now)

    def reported(self, point: str) -> float | None:
        """What the plant says of it; None: nothing good.

        Raises:
            NotFound: the plant has none of that name.
        """
        return self._ground.reported(self._ground.point(point))


def _held(judgement: Judgement, against: str) -> Judgement:
    """Not by an interlock. What is said is recorded: it names commands and leases, not persons."""
    verdicts = (*judgement.verdicts, Ruling("policy", False, against))
    return replace(judgement, allowed=False, detail=against, verdicts=verdicts)


def unasked(policy: Policy) -> Policy:
    """Nobody is asked again: no selection, no approval, no prediction."""
    return replace(policy, select=False, approvals=0, preflight=Preflight.OFF)
