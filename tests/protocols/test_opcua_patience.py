"""The time limit of asyncua's calls: it stays a time-out whatever a library makes of the cancellation."""

from __future__ import annotations

import asyncio

import pytest

from protocols.opcua.patience import within


class TooLateResult(asyncio.CancelledError):
    """As wait_for2 raises it when the answer comes together with the limit."""


async def slow_library() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise TooLateResult from None


async def test_a_limit_is_a_time_out_even_when_a_library_renames_the_cancellation() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.01):
            await slow_library()
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def waits() -> None:
        async with within(60.0):
            await slow_library()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_within_the_limit_nothing_happens() -> None:
    async with within(60.0):
        await asyncio.sleep(0)
