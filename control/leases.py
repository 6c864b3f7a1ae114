"""What callers ask of leases, carried out through the command runtime so that all of it is durable when they hear of it.

Runs on the event loop; must not know HTTP. A heartbeat touches no disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from control.command_store import CommandStore
from control.lease import Lease, LeaseRequest
from control.runtime import CommandRuntime
from protocols.link import Clock
from twin.errors import Conflict, NotFound


class Leases:
    """One per server."""

    def __init__(self, commands: CommandRuntime, store: CommandStore, clock: Clock, new_id: Callable[[], str]) -> None:
        self._commands, self._store = commands, store
        self._clock, self._new_id = clock, new_id
        self._taking = asyncio.Lock()  # two with one key: the second meets what the first has recorded

    async def take(self, request: LeaseRequest, holder: str) -> Lease:
        """The lease for this key: a new one, recorded durably, or the one taken with it before.

        Raises:
            BadRequest, OutOfRange, NotFound, Refused: it can never be held so.
            Conflict: the key was used for another lease. Reserved: somebody as urgent holds or has selected a point.
            LimitExceeded: too many are held. Unavailable: it could not be recorded.
        """
        async with self._taking:
            before = await self._commands.on_disk(self._store.leases.by_key, holder, request.key)
            identity = self._new_id()
            return await self._commands.perform(
                lambda now: self._commands.leasing.take(request, holder, identity, self._commands.plant, before, now)
            )

    async def beat(self, identity: str, by: str) -> Lease:
        """The holder is there.

        Raises:
            NotFound: there never was such a lease. Conflict: it has ended. NotPermitted: it is somebody else's.
        """
        await self._check_held(identity)
        return self._commands.leasing.book.beat(identity, by, self._clock())

    async def release(self, identity: str, by: str, *, others: bool = False, revert: bool = False) -> Lease:
        """
        Raises:
            NotFound: there never was such a lease. Conflict: it has ended.
            NotPermitted: it is somebody else's, and `by` may not release those of `others`.
        """
        await self._check_held(identity)
        return await self._commands.perform(
            lambda now: self._commands.leasing.release(identity, by, now, others=others, revert=revert)
        )

    async def get(self, identity: str) -> Lease:
        """
        Raises:
            NotFound.
        """
        held = self._commands.leasing.book.get(identity)
        found = held or await self._commands.on_disk(self._store.leases.by_id, identity)
        if found is None:
            raise NotFound(f"no lease {identity!r}", "`twinloop lease list` shows them")
        return found

    def held(self) -> tuple[Lease, ...]:
        """Those that are held, oldest first."""
        return self._commands.leasing.book.active

    async def newest(self, limit: int) -> list[Lease]:
        """Newest first, whatever became of them."""
        book = self._commands.leasing.book
        return [book.get(x.id) or x for x in await self._commands.on_disk(self._store.leases.newest, limit)]

    async def _check_held(self, identity: str) -> None:
        if self._commands.leasing.book.get(identity) is None:
            found = await self.get(identity)
            raise Conflict(f"lease {identity} is {found.status}: {found.steps[-1].detail}", "take a new one")
