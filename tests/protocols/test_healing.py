"""How a link heals: states told once, the log told once, waits that grow."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

import pytest

from protocols.healing import Broken, heal
from protocols.link import Backoff, LinkState
from tests.protocols.protocol_bench import RecordingSink, until


async def test_a_break_and_its_heal_are_told_once_each(caplog: pytest.LogCaptureFixture) -> None:
    sink, tries = RecordingSink(), 0

    async def session(online: Callable[[], None]) -> None:
        nonlocal tries
        tries += 1
        if tries in (2, 3):
            raise Broken("no route")
        online()
        if tries == 1:
            raise Broken("cable cut")
        await asyncio.sleep(3600)

    caplog.set_level(logging.INFO, "twinloop.link")
    task = asyncio.create_task(heal("d1", sink, random.Random(1), session))
    await until(lambda: tries == 4 and sink.online, "the link is up again")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    offline, online = LinkState.OFFLINE, LinkState.ONLINE
    # Offline twice: the second time with another reason.
    assert sink.states == [LinkState.CONNECTING, online, offline, offline, online, LinkState.STOPPED]
    assert [record.message for record in caplog.records] == [
        "link to d1 is down: cable cut",
        "link to d1 is still down: no route",
        "link to d1 is up again",
    ]
    assert sink.metrics == {"reconnects": 1}


async def test_a_library_that_cancels_itself_breaks_the_session_and_not_the_link() -> None:
    sink, tries = RecordingSink(), 0

    async def session(online: Callable[[], None]) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncio.CancelledError("nobody asked for this")
        online()
        await asyncio.sleep(3600)

    task = asyncio.create_task(heal("d1", sink, random.Random(1), session))
    await until(lambda: sink.online, "the link is up")
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)


def test_waits_double_up_to_a_limit_and_never_twice_the_same() -> None:
    backoff = Backoff(random.Random(3), first_s=1.0, max_s=8.0)
    waits = [backoff.next_s() for _ in range(6)]
    steps = (1, 2, 4, 8, 8, 8)
    assert all(step / 2 <= wait <= step for wait, step in zip(waits, steps, strict=True))
    assert len(set(waits)) == 6
    backoff.reset()
    assert backoff.next_s() <= 1.0
