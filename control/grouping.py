"""Keeps every open group beside the dispatcher and takes its next steps; pure: events and time in, orders out.

A group follows its commands: whatever changed them, the group goes on in the same orders and so in the same commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from control.command import Command, sent_at
from control.dispatcher import Dispatcher
from control.group import (
    WAIT,
    Group,
    GroupRequest,
    GroupStatus,
    Next,
    Team,
    admitted,
    author_of_undos,
    body,
    group_of,
    moved,
    named,
    requests,
    undo_request,
)
from control.life import Step
from control.orders import Orders
from twin.errors import Conflict, LimitExceeded, NotFound, TwinloopError

GROUPS_MAX = 1_000  # open at once: each is looked at whenever one of its commands changes
ROUNDS_MAX = 10_000  # of one event: every open group comes to its end in ten


class Grouping:
    """The open groups."""

    def __init__(self, desk: Dispatcher, new_id: Callable[[], str]) -> None:
        self._desk, self._new_id = desk, new_id
        self._teams: dict[str, Team] = {}
        self._left: list[str] = []  # groups that wait for the next event to go on

    def get(self, identity: str) -> Team | None:
        """An open group with its commands; None: it has ended, or never was."""
        return self._teams.get(identity)

    @property
    def open(self) -> tuple[Team, ...]:
        """Oldest first."""
        return tuple(self._teams.values())

    def submit(
        self, request: GroupRequest, author: str, identity: str, before: Team | None, now: int
    ) -> tuple[Team, Orders]:
        """`before` is the group that the author submitted with this key, however long ago.

        The group is REFUSED, and no member recorded, where an interlock forbids one of those that would go first.

        Raises:
            As a command's submission, for the first member that it holds for.
            Refused: nobody knows the value to go back to.
        """
        before = before or self._by_key(author, request.key)
        if before is not None:
            if before.group.asked != body(request):
                raise Conflict(f"key {request.key!r} was used for another group", "use a new key")
            return self._teams.get(before.group.id, before), Orders()
        group = admitted(request, author, identity, self._desk.gate.reported, now)
        if len(self._teams) >= GROUPS_MAX:
            raise LimitExceeded(f"{GROUPS_MAX} groups are open", "wait or cancel some")
        orders = Orders()
        refusal = self._refusal(group, now)
        if refusal:
            group = replace(group, steps=(Step(GroupStatus.REFUSED, now, refusal, author),))
            orders.groups[group.id] = Team(group, {}, {})
            return orders.groups[group.id], orders
        for n, asked in enumerate(requests(group)):
            orders.add(self._desk.join(asked, author, self._new_id(), group.id, n, now))
        team = Team(group, {c.terms.step: c for c in orders.kept.values()}, {})
        self._teams[group.id] = orders.groups[group.id] = team
        self.follow(orders, now)
        return team, orders

    def _by_key(self, author: str, key: str) -> Team | None:
        """An open group that is not on disk yet."""
        mine = (t for t in self._teams.values() if (t.group.author, t.group.key) == (author, key))
        return next(mine, None)

    def _refusal(self, group: Group, now: int) -> str:
        """Why it must not begin. In sequence a later step is judged when it is its turn: the steps before it are there
        to make its interlocks hold.
        """
        for n, asked in enumerate(requests(group)):
            later = group.order == "sequence" and n > 0
            judgement = self._desk.gate.check_member(asked, group.author, now, later=later)
            if not judgement.allowed and not later:
                return f"{named(group, n)}: {judgement.detail}"
            undo = group.members[n].undo
            if undo is not None:
                self._desk.gate.check_own(undo_request(group, n), author_of_undos(group), now)
        return ""

    def cancel(self, identity: str, by: str, reason: str, now: int) -> tuple[Team, Orders]:
        """Stop it, and undo what took effect.

        Raises:
            NotFound: no open group has that id. Conflict: it is being undone already.
        """
        team = self._teams.get(identity)
        if team is None:
            raise NotFound(f"no open group {identity!r}", "`twinloop group list` shows them")
        orders = Orders()
        detail = f"cancelled{f': {reason}' if reason else ''}"
        self._reach(team, GroupStatus.CANCELLING, now, detail, orders, by)
        self._go_on([identity], orders, now)
        return team, orders

    def begin(self, teams: Iterable[Team], orders: Orders, now: int) -> None:
        """After a start: open groups as they are on disk; `orders` are what the desk made of its commands."""
        self._teams = {team.group.id: team for team in teams}
        self._note(orders.kept.values())
        self._go_on(list(self._teams), orders, now)

    def follow(self, orders: Orders, now: int) -> None:
        """After any event: the groups whose commands it changed take their next steps, added to the orders."""
        touched = [*self._left, *self._note(orders.kept.values())]
        if touched:
            self._go_on(touched, orders, now)

    def _note(self, commands: Iterable[Command]) -> list[str]:
        touched: dict[str, None] = {}
        for command in commands if self._teams else ():
            identity = group_of(command)
            team = self._teams.get(identity)
            if team is None:
                continue
            team.note(command)
            touched[identity] = None
        return list(touched)

    def _go_on(self, identities: Iterable[str], orders: Orders, now: int) -> None:
        """What one group does may change another's commands (it supersedes them): until all of them wait.

        It ends, because every round moves a command or a group along its table; what is left goes on with the next event.
        """
        waiting = deque(identities)
        for _ in range(ROUNDS_MAX):
            if not waiting:
                break
            identity = waiting.popleft()
            team = self._teams.get(identity)
            found = WAIT if team is None else team.next()
            if team is None or found == WAIT:
                continue
            more = self._do(team, found, now)
            orders.add(more)
            waiting.extend(self._note(more.kept.values()))
            waiting.append(identity)
        self._left = list(waiting)

    def _do(self, team: Team, found: Next, now: int) -> Orders:
        orders = Orders()
        group = team.group
        # Together: one that is refused now keeps the others from being sent at all.
        refused = [c for c in found.queue if not self._desk.gate.judge(c, now).allowed]
        for command in refused or found.queue:
            orders.add(self._desk.turn(command.id, now))
        for command in found.cancel:
            orders.add(self._desk.cancel(command.id, "", f"group {group.id} stopped", now))
        for step in found.undo:
            try:
                against = self._overtaken(team, step)
                author, identity = author_of_undos(group), self._new_id()
                orders.add(self._desk.own(undo_request(group, step), author, identity, now, against))
            except TwinloopError as error:  # the plant was edited meanwhile
                self._reach(
                    team, GroupStatus.FAILED, now, f"{named(group, step)} cannot be compensated: {error}", orders
                )
                return orders
        if found.to is not None:
            self._reach(team, found.to, now, found.detail, orders)
        return orders

    def _overtaken(self, team: Team, step: int) -> str:
        """Why a step must not be undone: going back would undo what somebody else has done since, such as a stop."""
        point = team.members[step].point
        last = self._desk.gate.last_sent(point)
        own = [sent_at(c) for c in (*team.members.values(), *team.undos.values()) if c.point == point]
        if last is None or last in own or last < sent_at(team.members[step]):
            return ""
        return f"somebody else has commanded {point} since"

    def _reach(self, team: Team, status: GroupStatus, now: int, detail: str, orders: Orders, by: str = "") -> None:
        team.group = moved(team.group, status, now, detail, by)
        orders.groups[team.group.id] = team
        if team.group.final:
            del self._teams[team.group.id]
