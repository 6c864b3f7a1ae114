"""Runs one session after another so that a link heals itself; must not know any protocol or what a session does."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from protocols.link import Backoff, LinkState, Sink

log = logging.getLogger("twinloop.link")

# A session that stood this long was a good one: the next failure starts again with the shortest wait. A shorter one
# (a server that takes us in and throws us out) lets the waits go on growing.
STEADY_S = 5.0
REASONS_MAX = 5  # of one outage that are logged, each once: a server that is back may want something else than it did

Session = Callable[[Callable[[], None]], Awaitable[None]]
"""One session: connect, call the given function when it delivers, go on until it breaks."""


class Broken(Exception):
    """The session cannot go on; the message is what an operator reads. The next one waits for `wait_s` at least."""

    def __init__(self, words: str, wait_s: float = 0.0) -> None:
        super().__init__(words)
        self.wait_s = wait_s


async def heal(device_id: str, sink: Sink, chance: random.Random, session: Session) -> None:
    """Keep a session running until cancelled. Tells the sink every change of state, and the log each break and heal."""
    backoff = Backoff(chance)
    state = _State(device_id, sink)
    loop = asyncio.get_running_loop()
    try:
        state.enter(LinkState.CONNECTING, "")
        while True:
            started, wait_s = loop.time(), 0.0
            try:
                await session(state.online)
                detail = "the session ended"
            except Broken as broken:
                detail, wait_s = str(broken), broken.wait_s
            except asyncio.CancelledError:
                if cancellation_wanted():
                    raise
                detail = "a library gave up waiting"
            if state.now is LinkState.ONLINE and loop.time() - started >= STEADY_S:
                backoff.reset()
            state.enter(LinkState.OFFLINE, detail)
            await asyncio.sleep(max(backoff.next_s(), wait_s))
    finally:
        state.enter(LinkState.STOPPED, "")


def cancellation_wanted() -> bool:
    """Whether somebody cancelled this very task. A library may cancel a wait of its own and let that escape: a link must
    not die of it, since nobody would hear of it."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class _State:
    """Where the link stands, told once a change."""

    def __init__(self, device_id: str, sink: Sink) -> None:
        self.now: LinkState | None = None
        self._detail = ""
        self._device_id = device_id
        self._sink = sink
        self._sessions = 0
        self._reasons: set[str] = set()  # of the outage that lasts, as far as they were logged

    def online(self) -> None:
        self._sessions += 1
        if self._sessions > 1:
            self._sink.metric(self._device_id, "reconnects", self._sessions - 1)
        if self._reasons:
            log.info("link to %s is up again", self._device_id)
        self._reasons.clear()
        self.enter(LinkState.ONLINE, "")

    def enter(self, state: LinkState, detail: str) -> None:
        if (state, detail) == (self.now, self._detail):
            return
        self.now, self._detail = state, detail
        if state is LinkState.OFFLINE and detail not in self._reasons and len(self._reasons) < REASONS_MAX:
            said = "link to %s is still down: %s" if self._reasons else "link to %s is down: %s"
            log.warning(said, self._device_id, detail)
            self._reasons.add(detail)
        self._sink.link_state(self._device_id, state, detail)
