"""What a plant asks of commands on its points: selection, approval, pace, pre-flight; frozen values, must not know commands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Preflight(StrEnum):
    """What a bad prediction does to a command: nothing is predicted, it is warned of, or it is refused."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for the commands on one point.

    Attributes:
        select: it must be selected (reserved) before it is operated.
        select_timeout_s: how long a selection reserves the point.
        approvals: how many other people must approve it.
        approver: the role that an approver needs.
        approval_timeout_s: how long it waits for them.
        every_s: least time between two commands sent to the point.
        step_max: largest difference from the reported value, in the point's unit.
        slew_per_s: largest average rate of change from one command to the next, in the point's unit a second.
        preflight: what a bad prediction does.
        horizon_s: how far it is predicted, in the plant's time.
        limits: conditions that should not come to hold, such as `tank_1.level<3`.
        risk_max: the probability that a limit is violated by the horizon, above which the prediction is bad.
    """

    select: bool = False
    select_timeout_s: float = 30.0
    approvals: int = 0
    approver: str = "supervisor"
    approval_timeout_s: float = 900.0
    every_s: float = 0.0
    step_max: float = math.inf
    slew_per_s: float = math.inf
    preflight: Preflight = Preflight.OFF
    horizon_s: float = 3600.0
    limits: tuple[str, ...] = ()
    risk_max: float = 0.05


FREE = Policy()
"""Of points that no row names."""
