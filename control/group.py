"""Several commands as one: all of them, or those that took effect are compensated; pure: no clock, no I/O.

Nothing of how far a group is lives in the group: `next_steps` reads it off the members, so a restart goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import msgspec

from control.admission import KEY_MAX, REASON_MAX
from control.authors import GROUP_AUTHOR
from control.command import UNSENT, Command, Priority, Status
from control.life import Step
from control.request import Request
from ledger.entry import JSON
from twin.errors import BadRequest, Conflict, Refused

MEMBERS_MAX = 100  # what a person can oversee, and one commit can hold without making others wait
UNDO_DEADLINE_S = 600.0  # a link that broke heals in minutes; later a person has to look before anything moves
UNDO_KEY = "undo:"


class GroupStatus(StrEnum):
    """Where a group stands."""

    RUNNING = "RUNNING"
    COMPENSATING = "COMPENSATING"  # a member did not come about; what took effect is being undone
    CANCELLING = "CANCELLING"  # somebody cancelled it; what took effect is being undone
    CONFIRMED = "CONFIRMED"  # every member was
    COMPENSATED = "COMPENSATED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"  # a compensation did not come about either: a person has to look
    REFUSED = "REFUSED"  # an interlock forbade it at submission; it never began


TRANSITIONS: Mapping[GroupStatus, frozenset[GroupStatus]] = {
    GroupStatus.RUNNING: frozenset({GroupStatus.CONFIRMED, GroupStatus.COMPENSATING, GroupStatus.CANCELLING}),
    GroupStatus.COMPENSATING: frozenset({GroupStatus.COMPENSATED, GroupStatus.FAILED}),
    GroupStatus.CANCELLING: frozenset({GroupStatus.CANCELLED, GroupStatus.FAILED}),
    GroupStatus.CONFIRMED: frozenset(),
    GroupStatus.COMPENSATED: frozenset(),
    GroupStatus.CANCELLED: frozenset(),
    GroupStatus.FAILED: frozenset(),
    GroupStatus.REFUSED: frozenset(),
}
TOOK_EFFECT = frozenset({Status.CONFIRMED, Status.FAILED})
"""The device took these members: they are undone. A refused one did nothing, a superseded one is another's by now."""


class MemberRequest(msgspec.Struct, frozen=True):
    """One command of a group. `compensation`: what undoes it, "previous" for what the point reports now, null nothing."""

    point: str
    value: float
    compensation: float | Literal["previous"] | None = None


class GroupRequest(msgspec.Struct, frozen=True):
    """A group as asked for.

    Attributes:
        key: idempotency key, the author's own.
        order: `sequence` sends a member when the one before is CONFIRMED, `together` all at once.
        deadline_s: how long each member may wait to be sent, once it is its turn.
    """

    key: str
    members: tuple[MemberRequest, ...]
    order: Literal["sequence", "together"] = "sequence"
    priority: Priority = Priority.OPERATOR
    deadline_s: float = 30.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One step of a group; `undo` is the value that compensates it, None: nothing does."""

    point: str
    value: float
    undo: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group and all that happened to it; `asked` is the request as canonical JSON."""

    id: str
    key: str
    author: str
    members: tuple[Member, ...]
    order: Literal["sequence", "together"]
    priority: Priority
    deadline_s: float
    reason: str
    asked: str
    steps: tuple[Step, ...]

    @property
    def status(self) -> GroupStatus:
        return GroupStatus(self.steps[-1].status)

    @property
    def final(self) -> bool:
        return not TRANSITIONS[self.status]


@dataclass(slots=True)
class Team:
    """A group with its commands as they are now: members and compensations by step."""

    group: Group
    members: dict[int, Command]
    undos: dict[int, Command]

    def next(self) -> Next:
        return next_steps(self.group, self.in_order, self.undos)

    @property
    def in_order(self) -> list[Command]:
        return [self.members[n] for n in sorted(self.members)]

    def note(self, command: Command) -> None:
        """One of its commands changed."""
        if command.author.startswith(GROUP_AUTHOR):
            self.undos[int(command.key.removeprefix(UNDO_KEY))] = command
        else:
            self.members[command.terms.step] = command


def group_of(command: Command) -> str:
    """The id of the group that the command belongs to or compensates, "" for none."""
    if command.author.startswith(GROUP_AUTHOR):
        return command.author.removeprefix(GROUP_AUTHOR)
    return command.terms.group


@dataclass(frozen=True, slots=True)
class Next:
    """What is to be done for a group now; after it is done, it is asked again.

    Attributes:
        to, detail: the status it reaches and why; None: it stays.
        queue: members whose turn it is.
        cancel: members that are no longer to be sent.
        undo: steps whose compensation is to be commanded.
    """

    to: GroupStatus | None = None
    detail: str = ""
    queue: tuple[Command, ...] = ()
    cancel: tuple[Command, ...] = ()
    undo: tuple[int, ...] = ()


WAIT = Next()


def body(request: GroupRequest) -> str:
    """Canonical JSON of all but the key."""
    return msgspec.json.encode(msgspec.structs.replace(request, key=""), order="sorted").decode()


def admitted(
    request: GroupRequest, author: str, identity: str, reported: Callable[[str], float | None], now: int
) -> Group:
    """The group that a request becomes, RUNNING; its members are checked as commands, by `requests`.

    Args:
        reported: what a point reports now, None when that is not good.

    Raises:
        BadRequest: it can never work so.
        Refused: it is to go back to a value that nobody knows.
    """
    if not 0 < len(request.key) <= KEY_MAX:
        raise BadRequest(f"the key has {len(request.key)} characters", f"give 1 … {KEY_MAX}")
    if len(request.reason) > REASON_MAX:
        raise BadRequest(f"the reason has {len(request.reason)} characters", f"at most {REASON_MAX}")
    if not 0 < len(request.members) <= MEMBERS_MAX:
        raise BadRequest(f"a group of {len(request.members)} members", f"give 1 … {MEMBERS_MAX}")
    if request.priority is Priority.EMERGENCY:
        raise BadRequest("a group of class emergency", "an emergency stop waits for nothing: use a [[stop]]")
    points = [m.point for m in request.members]
    if request.order == "together" and len(set(points)) < len(points):
        twice = next(p for p in points if points.count(p) > 1)
        raise BadRequest(f"{twice} is commanded twice together", "take order sequence, or name it once")
    members = tuple(Member(m.point, m.value, _undo(m, reported)) for m in request.members)
    first = Step(GroupStatus.RUNNING, now, f"{len(members)} commands in {request.order}", author)
    return Group(
        identity, request.key, author, members, request.order, request.priority, request.deadline_s, request.reason,
        body(request), (first,),
    )  # fmt: skip


def _undo(member: MemberRequest, reported: Callable[[str], float | None]) -> float | None:
    if member.compensation != "previous":
        return member.compensation
    before = reported(member.point)
    if before is None:
        raise Refused(f"{member.point} reports no good value to go back to", "declare the value that compensates it")
    return before


def requests(group: Group) -> tuple[Request, ...]:
    """The members as commands; the author is the group's. The same keys each time, so that each is sent once."""
    return tuple(
        Request(f"group:{group.id}/{n}", m.point, m.value, group.priority, group.deadline_s, group.reason)
        for n, m in enumerate(group.members)
    )


def author_of_undos(group: Group) -> str:
    return f"{GROUP_AUTHOR}{group.id}"


def undo_request(group: Group, step: int) -> Request:
    """What compensates a step, if anything does; the same key each time, so that it happens once.

    Raises:
        Conflict: nothing compensates it.
    """
    member = group.members[step]
    if member.undo is None:
        raise Conflict(f"nothing compensates {named(group, step)} of group {group.id}")
    why = f"compensates {named(group, step)} of group {group.id}"
    return Request(f"{UNDO_KEY}{step}", member.point, member.undo, Priority.SAFETY, UNDO_DEADLINE_S, why)


def named(group: Group, step: int) -> str:
    """As people count: from one."""
    return f"step {step + 1} ({group.members[step].point})"


def moved(group: Group, status: GroupStatus, now: int, detail: str, by: str = "") -> Group:
    """The group one step further.

    Raises:
        Conflict: the table does not allow that step.
    """
    if status not in TRANSITIONS[group.status]:
        why = group.steps[-1].detail
        raise Conflict(f"group {group.id} is {group.status} and cannot become {status}: {why}", "see its steps")
    return replace(group, steps=(*group.steps, Step(status, now, detail, by)))


def next_steps(group: Group, members: Sequence[Command], undos: Mapping[int, Command]) -> Next:
    """
    Args:
        members: its commands in order of steps.
        undos: the compensations commanded so far, by step.
    """
    if group.final:
        return WAIT
    if group.status is not GroupStatus.RUNNING:
        return _undoing(group, members, undos)
    broken = next((c for c in members if c.final and c.status is not Status.CONFIRMED), None)
    if broken is not None:
        detail = f"{named(group, broken.terms.step)} is {broken.status}: {broken.transitions[-1].detail}"
        return Next(GroupStatus.COMPENSATING, detail, cancel=_unsent(members))
    if all(c.status is Status.CONFIRMED for c in members):
        return Next(GroupStatus.CONFIRMED, f"all {len(members)} are")
    return Next(queue=_whose_turn(group, members))


def _whose_turn(group: Group, members: Sequence[Command]) -> tuple[Command, ...]:
    if any(c.status in UNSENT and c.status not in (Status.SCHEDULED, Status.QUEUED) for c in members):
        return ()  # the first goes when nobody's approval is missing: a group that is rejected has moved nothing
    if group.order == "together":
        return tuple(c for c in members if c.status is Status.SCHEDULED)
    current = next(c for c in members if c.status is not Status.CONFIRMED)
    return (current,) if current.status is Status.SCHEDULED else ()


def _unsent(members: Sequence[Command]) -> tuple[Command, ...]:
    return tuple(c for c in members if c.status in UNSENT)


def _undoing(group: Group, members: Sequence[Command], undos: Mapping[int, Command]) -> Next:
    unsent = _unsent(members)
    if unsent:
        return Next(cancel=unsent)
    wanted = _undone_next(group, members, undos)
    if wanted:
        return Next(undo=wanted)
    if not all(c.final for c in (*members, *undos.values())):
        return WAIT
    return _end(group, members, undos)


def _undone_next(group: Group, members: Sequence[Command], undos: Mapping[int, Command]) -> tuple[int, ...]:
    """The last first. In sequence one at a time; together none waits for another, which may be unsettled for long."""
    settled = all(c.final for c in (*members, *undos.values()))
    if group.order == "sequence" and not settled:
        return ()
    left = [n for n, c in enumerate(members) if c.status in TOOK_EFFECT and n not in undos]
    wanted = tuple(n for n in reversed(left) if group.members[n].undo is not None)
    return wanted[:1] if group.order == "sequence" else wanted


def _end(group: Group, members: Sequence[Command], undos: Mapping[int, Command]) -> Next:
    cancelled = group.status is GroupStatus.CANCELLING
    failed = [n for n, c in sorted(undos.items()) if c.status is not Status.CONFIRMED]
    if failed:
        why = "; ".join(f"{named(group, n)} is {undos[n].status}: {undos[n].transitions[-1].detail}" for n in failed)
        return Next(GroupStatus.FAILED, f"not every compensation was confirmed: {why}")
    kept = [n for n, c in enumerate(members) if c.status in TOOK_EFFECT and group.members[n].undo is None]
    said = f"{len(undos)} compensated" if undos else "nothing to compensate"
    if kept:
        said += f"; {', '.join(named(group, n) for n in kept)} stays: no compensation was declared"
    return Next(GroupStatus.CANCELLED if cancelled else GroupStatus.COMPENSATED, said)


def as_entry(group: Group, n: int) -> dict[str, JSON]:
    """Step `n` as the ledger keeps it; each says what it is about, the first all that was asked for."""
    step = group.steps[n]
    entry: dict[str, JSON] = {
        "id": group.id, "n": n, "author": group.author, "key": group.key, "status": str(step.status),
        "detail": step.detail, "by": step.by, "points": [m.point for m in group.members],
    }  # fmt: skip
    if n == 0:
        members: list[JSON] = [{"point": m.point, "value": m.value, "undo": m.undo} for m in group.members]
        entry |= {
            "members": members, "order": group.order, "priority": group.priority.name.lower(),
            "deadline_s": group.deadline_s, "reason": group.reason,
        }  # fmt: skip
    return entry


def as_body(team: Team) -> dict[str, object]:
    """The record as API, events and console show it; times in ms since 1970."""
    group = team.group
    return {
        "id": group.id,
        "key": group.key,
        "author": group.author,
        "status": group.status.value,
        "final": group.final,
        "order": group.order,
        "priority": group.priority.name.lower(),
        "deadline_s": group.deadline_s,
        "reason": group.reason,
        "members": [_member_body(team, n) for n in range(len(group.members))],
        "steps": [s.as_body() for s in group.steps],
    }


def _member_body(team: Team, step: int) -> dict[str, object]:
    """A refused group has no commands."""
    member, command, undo = team.group.members[step], team.members.get(step), team.undos.get(step)
    return {
        "point": member.point,
        "value": member.value,
        "undo": member.undo,
        "command": command.id if command is not None else None,
        "status": command.status.value if command is not None else None,
        "compensation": undo.id if undo is not None else None,
        "compensation_status": undo.status.value if undo is not None else None,
    }
