"""How the server itself fares, as it travels; must not know how it is gathered. Times are ms since 1970."""

from __future__ import annotations

import msgspec

from control.api.wire import BackupRun


class QueueInfo(msgspec.Struct, frozen=True):
    """Something bounded that waits. `lost`: how many did not fit since the start."""

    name: str
    waiting: int
    most: int
    lost: int


class TierInfo(msgspec.Struct, frozen=True):
    """A tier of history: raw, 1s, 1min or 1h. `kept_s` is null where it is kept for ever."""

    name: str
    kept_s: float | None


class OperationsInfo(msgspec.Struct, frozen=True):
    """GET /api/v1/operations.

    `fault`: why /readyz would say no, "" while all is well; `counts`: readings and what became of them since the start;
    `clients`: WebSockets open now; `loop_worst_s`: the longest that the event loop was away, `loop_stalls`: how often over
    10 ms; `sizes`: bytes of the parts of the data folder; `free_bytes`: what its disk has left; `backup`: the newest one since
    the start.
    """

    version: str
    started: float
    now: float
    fault: str
    clients: int
    loop_stalls: int
    loop_worst_s: float
    counts: dict[str, int]
    queues: list[QueueInfo]
    sizes: dict[str, int]
    free_bytes: int
    tiers: list[TierInfo]
    backup: BackupRun | None
