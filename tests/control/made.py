"""Commands as tests need them, without a dispatcher."""

from __future__ import annotations

from control.command import Command, Priority, Status, Transition


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
    first = Transition(Status.QUEUED, now, "submitted", author)
    return Command(identity, key, author, point, value, priority, deadline, reason, Status.QUEUED, (first,))
