"""One clock for all clients: whoever is due at the same tick goes on in the same moment; must not know what they send."""

from __future__ import annotations

import asyncio

from protocols.link import Clock

TICKS_PER_S = 20
TICK_S = 1 / TICKS_PER_S


class Pulse:
    """Ticks while somebody waits for one. `now` is the time of the newest, in ns since 1970 UTC."""

    def __init__(self, clock: Clock) -> None:
        self.tick = 0
        self.now = clock()
        self._clock = clock
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._wanted = asyncio.Event()

    async def next(self, every: int) -> int:
        """The number of the next tick that `every` divides: those who ask for as many wait for the same ones."""
        due = (self.tick // every + 1) * every
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(due, []).append(turn)
        self._wanted.set()
        await turn
        return due

    async def run(self) -> None:
        """Until cancelled. Ticks that come late are not made up for."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if not self._waiting:
                self._wanted.clear()
                await self._wanted.wait()
            due = max(due + TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())
            self.tick += 1
            self.now = self._clock()
            for turn in self._waiting.pop(self.tick, ()):
                if not turn.done():  # its client has gone meanwhile
                    turn.set_result(None)
