"""What callers ask of groups, carried out through the command runtime so that all of it is durable when they hear of it.

Runs on the event loop; must not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from control.command import Command, Status
from control.command_store import CommandStore
from control.group import GroupRequest, GroupStatus, Team
from control.runtime import CommandRuntime
from twin.errors import Conflict, Interlocked, NotFound


class Groups:
    """One per server."""

    def __init__(self, commands: CommandRuntime, store: CommandStore, new_id: Callable[[], str]) -> None:
        self._commands, self._store, self._new_id = commands, store, new_id
        self._taking = asyncio.Lock()  # two with one key: the second meets what the first has recorded

    async def submit(self, request: GroupRequest, author: str) -> Team:
        """The group for this key: a new one, recorded durably with its members, or the one submitted with it before.

        Raises:
            BadRequest, OutOfRange, NotFound, Refused: it, or one of its members, can never work so.
            Interlocked: an interlock forbids a member that would go at once; the refusal is recorded under `command`.
            Conflict: the key was used for another group. Reserved: somebody else holds a point.
            LimitExceeded: too many are open. Unavailable: it could not be recorded.
        """
        async with self._taking:
            found = await self._commands.on_disk(self._store.groups.by_key, author, request.key)
            before = None if found is None else await self._commands.on_disk(self._store.team, found)
            identity = self._new_id()
            team = await self._commands.perform(
                lambda now: self._commands.grouping.submit(request, author, identity, before, now)
            )
        group = team.group
        if group.status is GroupStatus.REFUSED:
            raise Interlocked(group.steps[-1].detail, f"recorded as group {group.id}", group.id)
        return team

    async def cancel(self, identity: str, by: str, reason: str = "") -> Team:
        """Stop it and undo what took effect.

        Raises:
            NotFound: there never was such a group. Conflict: it has ended, or is being undone already.
        """
        team = await self.get(identity)
        if team.group.final:
            raise Conflict(f"group {identity} is {team.group.status}: {team.group.steps[-1].detail}", "it has ended")
        return await self._commands.perform(lambda now: self._commands.grouping.cancel(identity, by, reason, now))

    async def awaiting(self, identity: str) -> list[Command]:
        """Its members that await approval.

        Raises:
            NotFound. Conflict: none does.
        """
        team = await self.get(identity)
        found = [c for c in team.in_order if c.status is Status.AWAITING_APPROVAL]
        if not found:
            raise Conflict(f"no member of group {identity} awaits approval", "see its members")
        return found

    async def get(self, identity: str) -> Team:
        """
        Raises:
            NotFound.
        """
        team = self._commands.grouping.get(identity)
        if team is not None:
            return team
        group = await self._commands.on_disk(self._store.groups.by_id, identity)
        if group is None:
            raise NotFound(f"no group {identity!r}", "`twinloop group list` shows them")
        return await self._commands.on_disk(self._store.team, group)

    def open(self) -> tuple[Team, ...]:
        """Those that have not ended, oldest first."""
        return self._commands.grouping.open

    async def newest(self, limit: int) -> list[Team]:
        """Newest first, whatever became of them."""
        groups = await self._commands.on_disk(self._store.groups.newest, limit)
        return [await self.get(group.id) for group in groups]
