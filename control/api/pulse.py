"""One clock for all clients: whoever is due at the same tick goes on in the same moment; must not know what they send.

Clients are in groups, each with ticks of its own: within a group they share frames, and no burst of sends is so long that
the last ones wait for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from protocols.link import Clock

FRAMES_PER_S = 20
GROUPS = 4
GROUP_MAX = 50  # clients; only more of them make a second group, and so a second frame
TICKS_PER_S = FRAMES_PER_S * GROUPS
TICK_S = 1 / TICKS_PER_S


def step(frames_per_s: int) -> int:
    """Ticks from one frame to the next of who wants at most so many."""
    return -(-FRAMES_PER_S // frames_per_s) * GROUPS


class Pulse:
    """Ticks while somebody waits for one. `now` is the time of the newest, in ns since 1970 UTC.

    Args:
        timer, sleep: in seconds.
    """

    def __init__(
        self, clock: Clock, timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self.now = clock()
        self._tick = 0
        self._begun = 0.0
        self._clock, self._timer, self._sleep = clock, timer, sleep
        self._groups = [0] * GROUPS
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._wanted = asyncio.Event()

    def join(self) -> int:
        """The group of a new client: the first with room, else the smallest."""
        sizes = self._groups
        group = next((g for g, size in enumerate(sizes) if size < GROUP_MAX), sizes.index(min(sizes)))
        self._groups[group] += 1
        return group

    def leave(self, group: int) -> None:
        self._groups[group] -= 1

    async def next(self, every: int, group: int) -> int:
        """The number of the group's next tick, as `every` counts them: who wants as many frames waits for the same."""
        due = ((self._tick - group) // every + 1) * every + group
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(due, []).append(turn)
        self._wanted.set()
        await turn
        return due

    async def run(self) -> None:
        """Until cancelled. Ticks that come late are not made up for."""
        while True:
            if not self._waiting:
                self._wanted.clear()
                await self._wanted.wait()
                self._begun = self._timer() - self._tick * TICK_S
            # Never past the next frame: those who were just woken ask for it only while this sleeps.
            due = min(*self._waiting, self._tick + GROUPS)
            late_s = self._timer() - self._begun - due * TICK_S
            if late_s > 1 / FRAMES_PER_S:
                self._begun += late_s
            await self._sleep(max(0.0, -late_s))
            self._tick = max(self._tick, due)
            self.now = self._clock()
            for turn in self._waiting.pop(due, ()):
                if not turn.done():  # its client has gone meanwhile
                    turn.set_result(None)
