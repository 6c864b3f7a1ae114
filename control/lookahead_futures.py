"""Forecasts that wait for their future: keeps some of them, scores each when what it forecast has come; makes none.

How a forecast fared is decided in lookahead_score.py.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np

from control.live import LiveTwin
from control.lookahead import Forecast
from control.lookahead_score import Score, score, unscored
from control.lookahead_store import LookaheadStore
from control.observed import Track
from control.sight import read_tracks
from protocols.link import Clock
from twin.errors import TwinloopError

SCORED_PER_HORIZON = 96  # forecasts kept to be scored: more of them overlap so far that they say the same
PENDING_MAX = 2 * SCORED_PER_HORIZON  # waiting for their horizon; a clock that runs slowly makes more of them
SCORES_AT_ONCE = 4  # in one look: each reads some ten tracks of history
AGE_MIN_S = 3600.0  # a plant's clock may run as slowly as half of ours; one that stands ends the wait
log = logging.getLogger("twinloop.lookahead")


class Futures:
    """Overflow: `forecasts_overflow` gives up the oldest forecast that waits for its score (PENDING_MAX)."""

    def __init__(
        self, live: LiveTwin, store: LookaheadStore, clock: Clock, on_disk: Callable[..., Awaitable[Any]]
    ) -> None:
        self._live, self._store, self._clock, self._on_disk = live, store, clock, on_disk
        self._pending: dict[str, Forecast] = {}  # without their fans
        self._stored_s: float | None = None  # plant time of the newest forecast that was stored

    @property
    def waiting(self) -> int:
        return len(self._pending)

    async def restore(self, stored: Iterable[Forecast]) -> None:
        """What a stop left behind, oldest first."""
        for made in stored:
            await self._await(made)

    async def take(self, made: Forecast) -> None:
        """Durably, unless another one was kept only just before."""
        since_s = None if self._stored_s is None else made.clock_s - self._stored_s
        if since_s is None or not 0 <= since_s < made.horizon_s / SCORED_PER_HORIZON:
            await self._on_disk(self._store.save, made)
            await self._await(made)

    async def settle_due(self, clock_s: float | None, now: int) -> None:
        """Scores some of those whose future has come.

        Args:
            clock_s: the plant's own time; None while it cannot be read.
        """
        for made in [made for made in self._pending.values() if due(made, clock_s, now)][:SCORES_AT_ONCE]:
            await self._score(made.id, made, now)

    async def _await(self, made: Forecast) -> None:
        while len(self._pending) >= PENDING_MAX:
            oldest = next(iter(self._pending.values()))
            why = f"forecasts_overflow: {PENDING_MAX} newer ones wait for their horizon"
            await self._settle(unscored(oldest, why, self._clock()))
        self._pending[made.id] = replace(made, fans={}, drawn={})
        self._stored_s = made.clock_s

    async def _score(self, identity: str, made: Forecast, now: int) -> None:
        try:
            await asyncio.wrap_future(self._live.history.flush())
            kept = await self._on_disk(self._store.of, identity)
            found = None if kept is None else await asyncio.to_thread(self._scored, kept, now)
        except (TwinloopError, duckdb.Error, sqlite3.Error) as error:
            log.error("the forecast %s has no score: %s", identity, error)
            found = unscored(made, f"it could not be compared: {error}", now)
        if found is None:
            self._pending.pop(identity, None)  # taken out of the store meanwhile
        else:
            await self._settle(found)

    def _scored(self, made: Forecast, now: int) -> Score:
        """On a thread."""
        clock = self._live.plant.clock
        names = sorted({*made.held, *made.fans, *([clock] if clock else [])})
        tracks = read_tracks(self._live.history.store, names, made.made_at, now)
        if clock:
            return score(made, tracks[clock], tracks, now)
        # Without a clock the plant was heard whenever anything of it was.
        heard = np.unique(np.concatenate([t.time for t in tracks.values()] or [np.empty(0, np.int64)]))
        return score(made, Track(heard, heard / 1e9, np.ones(len(heard), np.bool_)), tracks, now)

    async def _settle(self, found: Score) -> None:
        await self._on_disk(self._store.settle, found)
        self._pending.pop(found.forecast, None)


def due(made: Forecast, clock_s: float | None, now: int) -> bool:
    """Whether its last sample time is past, the plant's clock was set back, or it stands for far too long."""
    if (now - made.made_at) / 1e9 > max(AGE_MIN_S, 2 * made.horizon_s):
        return True
    return clock_s is not None and not made.clock_s <= clock_s < made.clock_s + made.times_s[-1]
