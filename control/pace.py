"""How fast and how far commands on one point may go; pure."""

from __future__ import annotations

import math

from control.command import Command
from control.orders import Ground
from twin.points import Point
from twin.policy import Policy

SECOND = 1_000_000_000
Sent = tuple[int, float]
"""When something was last sent to a point (ns since 1970 UTC), and what."""


def earliest(value: float, last: Sent | None, policy: Policy) -> int:
    """When the point's pace and slew allow this value, ns since 1970; 0: at any time."""
    if last is None:
        return 0
    sent_at, before = last
    wait_s = max(policy.every_s, abs(value - before) / policy.slew_per_s)
    return sent_at + int(wait_s * SECOND) if wait_s else 0


def too_far(command: Command, point: Point, policy: Policy, ground: Ground) -> str:
    """Why the step from what the plant reports is too large, "" when it is not."""
    if policy.step_max == math.inf:
        return ""
    reported = ground.reported(point)
    if reported is None:
        return f"{point.name} is not good, so the step of this command is not known"
    step = abs(command.value - reported)
    if step <= policy.step_max:
        return ""
    return f"a step of {step:g} {point.unit} from {reported:g}; at most {policy.step_max:g} in one command"


def changed_since(command: Command, point: Point, ground: Ground) -> str:
    """Why the point is not what the author saw, "" when it is, or when that does not matter."""
    wanted, now = command.terms.revision, ground.revision(point)
    return "" if wanted is None or wanted == now else f"{point.name} is at revision {now}, not {wanted}"
