"""The life of a command as one table, and what each event makes of it; pure: no clock, no queue, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from protocols.link import Verdict, WriteOutcome
from twin.errors import Conflict


class Status(StrEnum):
    """Where a command stands. UNKNOWN: bytes may have left, no answer came; read back before anything else."""

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


# SENT → QUEUED only for a write that provably did not leave.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.SENT, Status.EXPIRED, Status.CANCELLED, Status.SUPERSEDED}),
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
# What the twin no longer desires once a command ended so.
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
    """One step of a life: the status reached, when (ns since 1970 UTC), and why in words."""

    status: Status
    time: int
    detail: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command and all that happened to it. `deadline` (ns) is the last moment at which it may be sent."""

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

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def submitted_at(self) -> int:
        return self.transitions[0].time


def submitted(
    identity: str,
    key: str,
    author: str,
    point: str,
    value: float,
    priority: Priority,
    deadline: int,
    reason: str,
    now: int,
) -> Command:
    """A new command, QUEUED."""
    first = Transition(Status.QUEUED, now, "submitted")
    return Command(identity, key, author, point, value, priority, deadline, reason, Status.QUEUED, (first,))


def moved(command: Command, status: Status, now: int, detail: str, observed: float | None = None) -> Command:
    """The command one step further.

    Raises:
        Conflict: the table does not allow that step.
    """
    if status not in TRANSITIONS[command.status]:
        raise Conflict(
            f"command {command.id} is {command.status} and cannot become {status}",
            "only a queued command can be cancelled" if status is Status.CANCELLED else "",
        )
    return replace(
        command,
        status=status,
        transitions=(*command.transitions, Transition(status, now, detail)),
        observed=command.observed if observed is None else observed,
    )


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
    """After a restart: a command that was being sent may have reached the device."""
    if command.status is Status.SENT:
        return moved(command, Status.UNKNOWN, now, "the server stopped while the answer was awaited; reading back")
    return command


def supersedes(newer: Command, older: Command) -> bool:
    """Whether a queued command loses its purpose when a newer one for the same point is submitted."""
    return (
        older.point == newer.point
        and older.id != newer.id
        and older.status is Status.QUEUED
        and older.priority >= newer.priority
    )


def same_body(a: Command, b: Command) -> bool:
    """Whether two commands with one key ask for the same thing; deadlines are relative to submission and not compared."""
    return (a.point, a.value, a.priority, a.reason) == (b.point, b.value, b.priority, b.reason)
