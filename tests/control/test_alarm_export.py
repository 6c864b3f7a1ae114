"""Alarms as CSV: page after page off the event loop, and few exports at a time."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from control.alarm_store import Taken, Wanted
from control.api import alarm_routes, exporting
from control.api.part import Parts
from control.api.route import Call
from control.identity import Caller
from twin.errors import LimitExceeded


def step(n: int) -> Taken:
    return Taken(n, n, "t0.level:high", "t0.level", "t0", "high", "active", True, "", "=1+1", 11.0, None, n)


class Steps:
    """Alarms that have taken so many steps."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pages: list[int] = []

    async def history(self, wanted: Wanted) -> list[Taken]:
        newest = self.count if wanted.before is None else wanted.before - 1
        self.pages.append(min(newest, wanted.limit))
        return [step(n) for n in range(newest, newest - self.pages[-1], -1)]


def parts_of(steps: Steps) -> Parts:
    return cast(Parts, SimpleNamespace(alarms=steps, clock=lambda: 0))


CALL = Call(cast(Caller, None), {}, {}, None)


async def text(response: Any) -> str:
    return "".join([page async for page in response.body_iterator])


async def test_an_export_is_made_in_pages_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    made = alarm_routes._csv

    def watched(rows: Any) -> str:
        threads.append(threading.get_ident())
        return made(rows)

    monkeypatch.setattr(alarm_routes, "_csv", watched)
    steps = Steps(2 * alarm_routes.EXPORT_PAGE + 5)
    lines = (await text(await alarm_routes.export(parts_of(steps), CALL))).splitlines()
    assert lines[0].startswith("time_utc,n,time,alarm") and len(lines) == 1 + steps.count
    assert [int(line.split(",")[1]) for line in lines[1:]] == list(range(steps.count, 0, -1))
    assert lines[1].split(",")[10] == "'=1+1"
    assert max(steps.pages) <= 1_000
    assert threading.get_ident() not in threads[1:]  # the first is the head


async def test_few_exports_run_at_a_time_and_one_that_is_broken_off_makes_room() -> None:
    running = [await alarm_routes.export(parts_of(Steps(5)), CALL) for _ in range(exporting.EXPORTS_MAX)]
    with pytest.raises(LimitExceeded, match="exports are running"):
        await alarm_routes.export(parts_of(Steps(5)), CALL)
    begun: Any = running[0].body_iterator
    await anext(begun)
    await begun.aclose()
    del begun, running
    for _ in range(5):  # what nobody holds any more is ended by the loop
        await asyncio.sleep(0)
    for _ in range(exporting.EXPORTS_MAX):
        assert await text(await alarm_routes.export(parts_of(Steps(0)), CALL))
