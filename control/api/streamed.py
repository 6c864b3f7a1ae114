"""A long answer goes on only while its caller may have it; must not know what is in it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable

import anyio
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from twin.errors import TwinloopError

CHECK_S = 0.5  # as a socket's (ws.py)
log = logging.getLogger("twinloop.http")


class Streamed(Response):
    """What it wraps, broken off without an end once `check` raises: nobody takes a part for the whole."""

    def __init__(self, answer: StreamingResponse, check: Callable[[], object], check_s: float = CHECK_S) -> None:
        self._answer, self._check, self._check_s = answer, check, check_s
        self.status_code, self.background = answer.status_code, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failed: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, tasks.cancel_scope, scope["path"])
            try:
                await self._answer(scope, receive, send)
            except Exception as error:
                failed = error
            tasks.cancel_scope.cancel()
        await self._close()
        if failed is not None:
            raise failed

    async def _watch(self, answering: anyio.CancelScope, path: str) -> None:
        """A scope's cancellation waits for the thread that makes the next part; a task's would leave it behind."""
        while True:
            await anyio.sleep(self._check_s)
            try:
                self._check()
            except TwinloopError as error:
                log.warning("%s is broken off: %s", path, error.message)
                answering.cancel()

    async def _close(self) -> None:
        """What makes the answer lets go of what it holds now, not when somebody collects it."""
        made = self._answer.body_iterator
        if isinstance(made, AsyncGenerator):
            await made.aclose()
