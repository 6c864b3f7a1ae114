"""The calls of one WebSocket client: their number is bounded, with the answers that it does not take."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from control.api import wire
from control.api.calls import CALLS_MAX, Calls
from control.api.part import Parts
from control.identity import Caller


async def test_answers_that_are_not_taken_are_bounded() -> None:
    sending: list[wire.Answer | wire.Problem] = []
    taken = asyncio.Event()

    async def send(message: wire.Answer | wire.Problem) -> None:
        sending.append(message)
        await taken.wait()

    calls = Calls(cast(Parts, None), cast(Caller, None), send)
    running = asyncio.create_task(calls.run())
    for ref in range(3 * CALLS_MAX):
        calls.take(wire.Ask(ref, "no such verb", cast(Any, {})))
    for _ in range(10 * CALLS_MAX):
        await asyncio.sleep(0)
    assert len(sending) == CALLS_MAX + 1
    refused = [s for s in sending if cast(wire.Problem, s).code == "limit_exceeded"]
    assert len(refused) == 1  # and the rest waits behind it
    taken.set()
    for _ in range(10 * CALLS_MAX):
        await asyncio.sleep(0)
    assert sorted(cast(int, s.ref) for s in sending) == list(range(3 * CALLS_MAX))
    running.cancel()
