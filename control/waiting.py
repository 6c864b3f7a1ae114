"""What a command waits for, and what is said when it waited in vain: in words; must not know how it goes on."""

from __future__ import annotations

from collections.abc import Mapping

from control.command import Command, Status
from control.queue import Line
from twin.points import Point

EXPIRED: Mapping[Status, str] = {
    Status.DRAFT: "it was not predicted in time",
    Status.SELECTED: "it was not operated in time; the point is free again",
    Status.AWAITING_APPROVAL: "it was not approved in time",
    Status.SCHEDULED: "what it waited for did not come in time",
    Status.QUEUED: "its deadline passed before it could be sent",
}


def waits_for(command: Command) -> str:
    """Of a command that is not queued yet."""
    terms = command.terms
    match command.status:
        case Status.DRAFT:
            return "its prediction"
        case Status.SELECTED:
            return f"{command.author} to operate it"
        case Status.AWAITING_APPROVAL:
            left = terms.approvals - len(command.approvers)
            return f"{left} approval{'s' if left > 1 else ''} by role {terms.approver}"
        case _:
            return terms.when or "its time"


def in_line(command: Command, point: Point, line: Line, unsettled: bool, pace_s: float, now: int) -> str:
    """Of a queued one. `unsettled`: another command for its point is UNKNOWN; `pace_s` until its pace lets it go."""
    if not line.online:
        return f"the link to {point.device}"
    if unsettled:
        return f"an UNKNOWN command for {command.point} to be settled"
    if pace_s > 0:
        return f"its pace: {pace_s:.1f} s"
    return f"{line.before(command.id, now)} before it for {point.device}"
