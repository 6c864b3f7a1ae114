"""Which command of a device goes next: by priority class with ageing, then first come; pure, must not know time's source."""

from __future__ import annotations

from collections.abc import Iterable

from control.command import Command, Priority, Status

QUEUE_MAX = 10_000  # queued commands of one device: beyond it nobody is waiting for an answer any more
AGEING_NS = 60 * 1_000_000_000
"""A command waits at most this long for each class above it; nothing ages into the emergency class."""


def rank(command: Command, now: int) -> tuple[int, int]:
    """Smaller goes first: class after ageing, then time of submission."""
    if command.priority is Priority.EMERGENCY:
        return Priority.EMERGENCY, command.submitted_at
    aged = command.priority - (now - command.submitted_at) // AGEING_NS
    return max(Priority.SAFETY, aged), command.submitted_at


def expired(commands: Iterable[Command], now: int) -> list[Command]:
    """Queued commands that may no longer be sent."""
    return [c for c in commands if c.status is Status.QUEUED and now > c.deadline]


def next_to_send(commands: Iterable[Command], now: int) -> Command | None:
    """The queued command to send now; None when there is none.

    A point with a command in UNKNOWN takes no further one until that is settled, emergencies excepted.
    """
    waiting = list(commands)
    unsettled = {c.point for c in waiting if c.status is Status.UNKNOWN}
    ready = [
        c
        for c in waiting
        if c.status is Status.QUEUED
        and now <= c.deadline
        and (c.point not in unsettled or c.priority is Priority.EMERGENCY)
    ]
    return min(ready, key=lambda c: rank(c, now), default=None)


def next_deadline(commands: Iterable[Command]) -> int | None:
    """When the next queued command expires, ns since 1970."""
    return min((c.deadline for c in commands if c.status is Status.QUEUED), default=None)
