"""The life of a command as one table, and what each event makes of it; pure: no clock, no queue, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from protocols.link import Verdict, WriteOutcome
from twin.errors import Conflict
from twin.interlock import Ruling, Sight


class Status(StrEnum):
    """Where a command stands. UNKNOWN: bytes may have left, no answer came; read back before anything else."""

    DRAFT = "DRAFT"  # being pre-flighted
    SELECTED = "SELECTED"  # the point is reserved for it; it waits to be operated
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    SCHEDULED = "SCHEDULED"  # waits for its time, its condition or its turn in a group
    QUEUED = "QUEUED"
    SENT = "SENT"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    UNKNOWN = "UNKNOWN"
    CONFIRMED = "CONFIRMED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"
    FAILED = "FAILED"


# SUPERSEDED: by a later command while QUEUED, by an emergency whatever it waits for.
_ENDED_UNSENT = frozenset({Status.REFUSED, Status.EXPIRED, Status.CANCELLED, Status.SUPERSEDED})
# SENT → QUEUED only for a write that provably did not leave. AWAITING_APPROVAL → itself: one of several has approved.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.DRAFT: frozenset({Status.SELECTED, Status.AWAITING_APPROVAL, Status.SCHEDULED, Status.QUEUED})
    | _ENDED_UNSENT,
    Status.SELECTED: frozenset({Status.AWAITING_APPROVAL, Status.SCHEDULED, Status.QUEUED}) | _ENDED_UNSENT,
    Status.AWAITING_APPROVAL: frozenset({Status.AWAITING_APPROVAL, Status.SCHEDULED, Status.QUEUED}) | _ENDED_UNSENT,
    Status.SCHEDULED: frozenset({Status.QUEUED}) | _ENDED_UNSENT,
    Status.QUEUED: frozenset({Status.SENT}) | _ENDED_UNSENT,
    Status.SENT: frozenset({Status.ACKNOWLEDGED, Status.REFUSED, Status.UNKNOWN, Status.QUEUED}),
    Status.ACKNOWLEDGED: frozenset({Status.CONFIRMED, Status.FAILED, Status.UNKNOWN, Status.SUPERSEDED}),
    Status.UNKNOWN: frozenset({Status.CONFIRMED, Status.FAILED}),
    Status.CONFIRMED: frozenset(),
    Status.REFUSED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.SUPERSEDED: frozenset(),
    Status.FAILED: frozenset(),
}
FINAL = frozenset(s for s, following in TRANSITIONS.items() if not following)
UNSENT = frozenset({Status.DRAFT, Status.SELECTED, Status.AWAITING_APPROVAL, Status.SCHEDULED, Status.QUEUED})
"""Nothing of it has left: it can be cancelled, and it expires at its deadline."""
SEEKING = frozenset({Status.ACKNOWLEDGED, Status.UNKNOWN})
"""It is read back until the process tells how it ended."""
# What the twin desires: a command's value once it is queued, until it ended so.
UNDESIRED = frozenset({Status.REFUSED, Status.EXPIRED, Status.CANCELLED, Status.FAILED})


class Priority(IntEnum):
    """Smaller goes first."""

    EMERGENCY = 0
    SAFETY = 1
    OPERATOR = 2
    SCHEDULE = 3
    OPTIMISER = 4


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a life.

    Attributes:
        status: the one reached.
        time: ns since 1970 UTC.
        detail: why, in words.
        by: who did it; "" for the server itself.
        seen: what was looked at for it: the interlocks' points, the feedback.
        verdicts: what interlocks, policy and pre-flight said, of those that were asked.
    """

    status: Status
    time: int
    detail: str
    by: str = ""
    seen: tuple[Sight, ...] = ()
    verdicts: tuple[Ruling, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a command was given at submission, of the request and of the plant's policy, and keeps whatever changes.

    Attributes:
        deadline_s: how long it may stay QUEUED.
        latest: last moment at which it may be sent, whatever it waited for; ns since 1970 UTC, None: no such moment.
        select, select_timeout_s: it reserves its point and waits so long to be operated.
        approvals, approver, approval_timeout_s: how many people of which role must approve, and how long it waits.
        revision: of the point, as the author last saw it; None: does not matter.
        at: not before this moment, ns since 1970 UTC.
        at_plant_s: not before the plant's own clock shows this.
        when: not before this expression over the twin holds.
        until: how long `at` and `when` are waited for, ns since 1970 UTC.
        group, step: the group it is a member of, and its place there.
    """

    deadline_s: float
    latest: int | None = None
    select: bool = False
    select_timeout_s: float = 0.0
    approvals: int = 0
    approver: str = ""
    approval_timeout_s: float = 0.0
    revision: int | None = None
    at: int | None = None
    at_plant_s: float | None = None
    when: str = ""
    until: int | None = None
    group: str = ""
    step: int = 0

    @property
    def scheduled(self) -> bool:
        return self.at is not None or self.at_plant_s is not None or self.when != "" or self.group != ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command and all that happened to it.

    Attributes:
        asked: the request as canonical JSON; equal texts are the same request.
        deadline: last moment of the waiting it is in now, ns since 1970 UTC.
        observed: what the feedback showed at its end.
    """

    id: str
    key: str
    author: str
    point: str
    value: float
    priority: Priority
    deadline: int
    reason: str
    status: Status
    transitions: tuple[Transition, ...]
    observed: float | None = None
    terms: Terms = Terms(30.0)
    asked: str = ""

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def submitted_at(self) -> int:
        return self.transitions[0].time

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who has approved it so far: whoever moved it on, or held it, while it awaited approval."""
        steps = zip(self.transitions, self.transitions[1:], strict=False)
        moves = (b for a, b in steps if a.status is Status.AWAITING_APPROVAL and b.status not in FINAL)
        return tuple(b.by for b in moves if b.by)


def moved(
    command: Command,
    status: Status,
    now: int,
    detail: str,
    observed: float | None = None,
    *,
    by: str = "",
    seen: tuple[Sight, ...] = (),
    verdicts: tuple[Ruling, ...] = (),
    deadline: int | None = None,
) -> Command:
    """The command one step further, with a new deadline where one is given.

    Raises:
        Conflict: the table does not allow that step.
    """
    if status not in TRANSITIONS[command.status]:
        raise Conflict(
            f"command {command.id} is {command.status} and cannot become {status}",
            "only a command that was not sent can be cancelled" if status is Status.CANCELLED else "",
        )
    return replace(
        command,
        status=status,
        transitions=(*command.transitions, Transition(status, now, detail, by, seen, verdicts)),
        observed=command.observed if observed is None else observed,
        deadline=command.deadline if deadline is None else deadline,
    )


def sent_at(command: Command) -> int:
    """When it was last sent, ns since 1970; 0: never."""
    return max((t.time for t in command.transitions if t.status is Status.SENT), default=0)


_STATUS_OF_OUTCOME = {
    WriteOutcome.ACCEPTED: Status.ACKNOWLEDGED,
    WriteOutcome.REFUSED: Status.REFUSED,
    WriteOutcome.NOT_SENT: Status.QUEUED,
    WriteOutcome.UNKNOWN: Status.UNKNOWN,
}


def answered(command: Command, verdict: Verdict, now: int) -> Command:
    """After the device's answer to the write."""
    return moved(command, _STATUS_OF_OUTCOME[verdict.outcome], now, verdict.detail or verdict.outcome.value)


def recovered(command: Command, now: int) -> Command:
    """After a restart: a command that was being sent may have reached the device; a prediction is not taken up again."""
    if command.status is Status.SENT:
        return moved(command, Status.UNKNOWN, now, "the server stopped while the answer was awaited; reading back")
    return command


def supersedes(newer: Command, older: Command) -> bool:
    """Whether an unsent command loses its purpose when a newer one for the same point is queued.

    An emergency ends whatever was to come, planned or waiting: what it stopped must not start again by itself.
    """
    pointless = UNSENT if newer.priority is Priority.EMERGENCY else frozenset({Status.QUEUED})
    return (
        older.point == newer.point
        and older.id != newer.id
        and older.status in pointless
        and older.priority >= newer.priority
    )
