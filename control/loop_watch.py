"""How late the event loop comes back. Must not know what it was busy with."""

from __future__ import annotations

import asyncio
import time

TICK_S = 0.05
STALL_S = 0.01
"""The event loop should never be away for longer; `twinloop_loop_stalls_total` says how often it was."""


class LoopWatch:
    """Measures how late the event loop comes back to a short sleep."""

    def __init__(self) -> None:
        self.stalls = 0
        self.worst_s = 0.0

    async def run(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(TICK_S)
            late_s = time.perf_counter() - begun - TICK_S
            self.worst_s = max(self.worst_s, late_s)
            self.stalls += late_s > STALL_S
