"""What a plant asks of its look-ahead: how often, how far, when a predicted alarm is raised; frozen values, must not forecast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lookahead:
    """A standing forecast from the live state with nobody commanding anything.

    Attributes:
        every_s: from one to the next, in our time.
        horizon_s: how far it looks, in the plant's time.
        replications: simulated futures of each.
        p_min: probability that a limit is passed within the horizon from which an alarm is predicted.
        p_clear: below it a predicted alarm is taken back; between both it stays what it is.
        off_delay_s: for how long, in the plant's time, a limit that was passed must be kept before it is predicted again.
        limits: conditions that should not come to hold, such as `tank_1.level<3`.
        counters: points that only count up: a forecast of them must beat "it goes on as before", not "it stays".
    """

    every_s: float = 60.0
    horizon_s: float = 4 * 3600.0
    replications: int = 100
    p_min: float = 0.5
    p_clear: float = 0.2
    off_delay_s: float = 300.0
    limits: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
