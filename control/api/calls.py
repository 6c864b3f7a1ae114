"""The calls of one WebSocket client: bounded, each answered with its `ref`; must not know what a call means."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from control.api import wire
from control.api.command_verbs import Verb, typed
from control.api.part import Parts
from control.api.problem import error_body
from control.api.scope import permit_scope
from control.api.verbs import VERB_OF_NAME
from control.errors import INTERNAL, codes
from control.identity import Caller
from control.permissions import permit
from control.texts import check_texts
from twin.errors import BadRequest, LimitExceeded, TwinloopError
from twin.nearest import nearest

CALLS_MAX = 32  # of one client at once, and as many urgent ones beside them; a person has one, a program's batch some
Send = Callable[[wire.Answer | wire.Problem], Awaitable[None]]
log = logging.getLogger("twinloop.ws")


class Calls:
    """Takes calls at once, answers each when it is done: a slow one keeps no other waiting."""

    def __init__(self, parts: Parts, caller: Caller, send: Send) -> None:
        self._parts, self._caller, self._send = parts, caller, send
        self._under_way = {False: 0, True: 0}
        # Refusals for want of room need room, too: a client that does not listen to them stops being heard.
        self._taken: asyncio.Queue[tuple[wire.Ask, TwinloopError | None]] = asyncio.Queue(4 * CALLS_MAX)

    def take(self, asked: wire.Ask, refusal: TwinloopError | None = None) -> None:
        """
        Args:
            refusal: what is answered instead of doing it.

        Raises:
            BadRequest: the client goes on asking, and takes no answers.
        """
        try:
            self._taken.put_nowait((asked, refusal))
        except asyncio.QueueFull:
            raise BadRequest(f"{4 * CALLS_MAX} calls wait", "read the answers before you ask more") from None

    async def run(self) -> None:
        """Until cancelled; calls under way are cancelled with it: what they asked for may have been done."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                asked, refusal = await self._taken.get()
                if refusal is not None:
                    await self._send(_problem(asked, refusal))
                    continue
                verb = VERB_OF_NAME.get(asked.verb)
                urgent = verb is not None and _urgent(verb, asked)
                if self._under_way[urgent] >= CALLS_MAX:
                    error = LimitExceeded(f"{CALLS_MAX} calls are under way", "wait for an answer")
                    await self._send(_problem(asked, error))
                    continue
                self._under_way[urgent] += 1
                tasks.create_task(self._call(asked, verb, urgent))

    async def _call(self, asked: wire.Ask, verb: Verb | None, urgent: bool) -> None:
        """Under way until the client has taken the answer: one that reads none holds no more than these."""
        try:
            await self._send(await self._answer(asked, verb))
        finally:
            self._under_way[urgent] -= 1

    async def _answer(self, asked: wire.Ask, verb: Verb | None) -> wire.Answer | wire.Problem:
        try:
            if verb is None:
                hint = nearest(asked.verb, VERB_OF_NAME) or f"one of {', '.join(VERB_OF_NAME)}"
                raise BadRequest(f"verb {asked.verb[:40]!r}", hint)
            if not isinstance(asked.body, dict):
                raise BadRequest("the body of a call is no map", "send its fields by name")
            caller = self._parts.identity.now(self._caller)  # the role may have been taken away since the ticket
            permit(caller, verb.act)
            check_texts(asked.body)
            await permit_scope(self._parts, caller, verb.name, asked.body)
            return wire.Answer(asked.ref, await verb.handler(self._parts, caller, typed(verb, asked.body)))
        except Exception as error:  # the edge, as in http.py: every type has its code, and the client goes on
            if codes(error) is INTERNAL:
                log.error("call %s failed", asked.verb[:40], exc_info=error)
            return _problem(asked, error)


def _urgent(verb: Verb, asked: wire.Ask) -> bool:
    """Stops and emergency commands have room of their own."""
    said = asked.body.get("priority") if isinstance(asked.body, dict) else None
    return verb.urgent or said == "emergency"


def _problem(asked: wire.Ask, error: Exception) -> wire.Problem:
    said: Any = error_body(error)
    return wire.Problem(said.code, said.message, said.hint, said.mistakes, said.command, asked.ref)
