"""How far the evidence reaches, level by level, and what is late in it; pure.

Four words that are never mixed: recorded (on disk), checkpointed (under a signed root), witnessed (a configured witness
cosigned that root or a later one), anchored (that root or a later one is on the chain). None of the last three follows
from another. Must not know files, the chain or the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RECORDED, CHECKPOINTED, WITNESSED, ANCHORED = LEVELS = ("recorded", "checkpointed", "witnessed", "anchored")


@dataclass(frozen=True, slots=True)
class Watched:
    """A configured witness.

    Attributes:
        key: its C2SP verifier key.
        size: entries that it has cosigned since the start, as far as is known.
        failure: why it did not cosign the last time; empty when it did.
        failing_s: for how long that goes on.
        conflict: it has cosigned another past of this log: one of the two was forged or put back.
    """

    name: str
    key: str
    url: str
    size: int
    failure: str = ""
    failing_s: float = 0.0
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """In entries; an entry has reached a level when its index is below that number.

    Attributes:
        witnessed_time_s, anchored_time_s: when the newest of them came, by the witness's and the chain's clock.
        failure: why nothing is recorded, or anchored, just now.
        waits_s: age of the oldest entry that is not anchored; 0 when all are.
        alarm: that it waits too long, and why; empty when it does not.
        witnesses: those that are configured.
        witness_alarm: which of them cosign nothing, and why; empty when all do.
    """

    recorded: int
    checkpointed: int
    anchored: int
    anchored_time_s: float | None
    failure: str | None
    waits_s: float = 0.0
    alarm: str = ""
    witnessed: int = 0
    witnessed_time_s: float | None = None
    witnesses: tuple[Watched, ...] = ()
    witness_alarm: str = ""

    def levels(self, index: int) -> list[str]:
        """What that entry has reached, each for itself."""
        return [level for level in LEVELS if index < getattr(self, level)]


def anchor_alarm(waiting: int, waits_s: float, alarm_s: float, why: str) -> str:
    if waits_s <= alarm_s:
        return ""
    return f"{waiting} entries wait for an anchor, the oldest for {waits_s:.0f} s: {why}"


def witness_alarm(witnesses: tuple[Watched, ...], alarm_s: float) -> str:
    """A witness that knows another past is an alarm at once; one that is away, when that goes on."""
    late = [one for one in witnesses if one.conflict or one.failing_s > alarm_s]
    return "; ".join(
        f"witness {one.name} has cosigned nothing for {one.failing_s:.0f} s: {one.failure}" for one in late
    )


def as_body(reach: Reach) -> dict[str, Any]:
    """As events and answers tell it; times in ms since 1970."""
    return {
        "size": reach.recorded,
        "checkpointed": reach.checkpointed,
        "witnessed": reach.witnessed,
        "anchored": reach.anchored,
        "anchor_alarm": reach.alarm,
        "witness_alarm": reach.witness_alarm,
    }
