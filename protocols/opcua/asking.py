"""Browse and Read as many questions at a time as the server takes, several on the wire; must not know what for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from asyncua import Client, ua

from protocols.opcua import nodes
from protocols.opcua.channel import TOO_MUCH
from protocols.opcua.failures import FAILURES, status_name, words
from protocols.opcua.patience import within
from twin.errors import DeviceFault, TwinloopError, Unavailable

BROWSE_MAX = 200  # nodes of one Browse where the server states no limit: an answer of some 50 kB
READ_MAX = 1000  # attributes of one Read where it states none: what Siemens controllers take at once
OUTSTANDING = 4  # requests on the wire: the server works on one while others travel
REFERENCES_MAX = 1000  # of one node in one answer; more come by BrowseNext
KEPT_MAX = 1_000_000  # references of one node in all; a server that goes on for ever is stopped there

HAS_SUBTYPE = "i=45"
HIERARCHICAL = "i=33"
SERVER_LIMITS = {"browse": "i=11710", "read": "i=11705"}  # MaxNodesPerBrowse, MaxNodesPerRead; Part 5, 6.3.11
_MASK = ua.BrowseResultMask
_RESULT = int(_MASK.ReferenceTypeId | _MASK.NodeClass | _MASK.BrowseName | _MASK.DisplayName | _MASK.TypeDefinition)
Item = TypeVar("Item")
Answer = TypeVar("Answer")
References = list[Any] | None
"""Of one node; None where the server refuses to tell."""


class Asking:
    """Questions to one session. Answers come in the order of what was asked."""

    def __init__(self, client: Client, timeout_s: float) -> None:
        self._session = client.uaclient.session
        self._timeout_s = timeout_s
        self._size = {"browse": BROWSE_MAX, "read": READ_MAX}
        self._turn = asyncio.Semaphore(OUTSTANDING)

    @property
    def reads_at_once(self) -> int:
        return OUTSTANDING * self._size["read"]

    async def learn_limits(self) -> None:
        answers = await self.read([(node, ua.AttributeIds.Value) for node in SERVER_LIMITS.values()])
        for service, answer in zip(SERVER_LIMITS, answers, strict=True):
            limit = None if answer.Value is None else answer.Value.Value
            if isinstance(limit, int) and limit > 0:
                self._size[service] = min(limit, self._size[service])

    async def children(
        self, identities: Sequence[str], direction: Any = ua.BrowseDirection.Forward, reference: str = HIERARCHICAL
    ) -> list[References]:
        """References of each node."""
        mask = 0 if reference == HAS_SUBTYPE else nodes.OBJECT_CLASS | nodes.VARIABLE_CLASS

        async def ask(part: Sequence[str]) -> list[References]:
            request = ua.BrowseParameters()
            request.RequestedMaxReferencesPerNode = REFERENCES_MAX
            request.NodesToBrowse = [
                ua.BrowseDescription(
                    ua.NodeId.from_string(i), direction, ua.NodeId.from_string(reference), True, mask, _RESULT
                )
                for i in part
            ]
            return await self._completed(await self._session.browse(request))

        found = await self._in_batches("browse", identities, ask)
        # A server has so many continuation points and no more: one node at a time it needs but one.
        for place, identity in enumerate(identities):
            if found[place] is _AGAIN:
                (found[place],) = await self._answered("browse", [identity], ask)
        return [None if references is _AGAIN else references for references in found]

    async def _completed(self, results: Sequence[Any]) -> list[References]:
        """Browse results with what continuation points still hold."""
        found = [_references(result) for result in results]
        waiting = {i: r.ContinuationPoint for i, r in enumerate(results) if r.ContinuationPoint}
        while waiting:
            request = ua.BrowseNextParameters()
            request.ReleaseContinuationPoints = False
            request.ContinuationPoints = list(waiting.values())
            rows, waiting = list(waiting), {}
            for row, result in zip(rows, await self._session.browse_next(request), strict=False):
                kept, more = found[row], _references(result)
                if kept is None or more is None or more is _AGAIN:
                    found[row] = more
                    continue
                kept += more
                if result.ContinuationPoint and len(kept) < KEPT_MAX:
                    waiting[row] = result.ContinuationPoint
        return found

    async def read(self, wanted: Sequence[tuple[str, Any]]) -> list[Any]:
        """DataValues of (node, attribute) pairs."""

        async def ask(part: Sequence[tuple[str, Any]]) -> list[Any]:
            request = ua.ReadParameters()
            request.TimestampsToReturn = ua.TimestampsToReturn.Neither
            request.NodesToRead = [ua.ReadValueId(ua.NodeId.from_string(i), a) for i, a in part]
            return list(await self._session.read(request))

        return await self._in_batches("read", wanted, ask)

    async def _in_batches(
        self, service: str, items: Sequence[Item], ask: Callable[[Sequence[Item]], Awaitable[list[Answer]]]
    ) -> list[Answer]:
        """Answers in the order of the items; what is too much for the server at once is asked in halves."""
        size = self._size[service]

        async def answer(part: Sequence[Item]) -> list[Answer]:
            answers = await self._answered(service, part, ask)
            # Some servers silently answer fewer items than were asked for (node-opcua#281).
            rest = part[len(answers) :]
            middle = (len(rest) + 1) // 2
            for half in (rest[:middle], rest[middle:]):
                if half:
                    answers += await answer(half)
            return answers[: len(part)]

        parts = [items[i : i + size] for i in range(0, len(items), size)]
        try:
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(answer(part)) for part in parts]
        except* TwinloopError as group:
            raise _first(group) from group
        return [one for task in asked for one in task.result()]

    async def _answered(
        self, service: str, part: Sequence[Item], ask: Callable[[Sequence[Item]], Awaitable[list[Answer]]]
    ) -> list[Answer]:
        """One request's answers; [] when it was too much at once.

        Raises:
            DeviceFault, Unavailable: the server refuses even one, or does not answer.
        """
        try:
            async with self._turn, within(self._timeout_s):
                answers = await ask(part)
        except ua.UaStatusCodeError as fault:
            if len(part) == 1 or fault.code not in TOO_MUCH:
                said = status_name(fault.code)
                raise DeviceFault(f"the server answers {said} to a {service}", "its log may say why") from fault
            self._size[service] = min(self._size[service], (len(part) + 1) // 2)
            return []
        except FAILURES as failure:
            raise Unavailable(f"no answer to a {service}: {words(failure)}", "try a longer --timeout") from failure
        if not answers and len(part) == 1:
            raise DeviceFault(f"the server answers nothing to a {service}", "it breaks OPC UA Part 4")
        return answers


_AGAIN: list[Any] = []  # in the place of references: ask for this node once more, alone


def _references(result: Any) -> References:
    if result.StatusCode.value in _NO_ROOM:
        return _AGAIN
    return list(result.References or ()) if result.StatusCode.is_good() else None


_NO_ROOM = frozenset({ua.StatusCodes.BadNoContinuationPoints, ua.StatusCodes.BadContinuationPointInvalid})


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
