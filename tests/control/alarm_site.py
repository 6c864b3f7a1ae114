"""Alarms of some points at work in this process, without devices: what the points say comes from the test."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from control.alarm_audit import check_alarm_steps, read_alarm_steps
from control.alarm_rules import AlarmRules, Start, Submit
from control.alarm_store import AlarmStore, Taken, Wanted
from control.alarms import Alarms
from control.evidence import Evidence
from control.live import LiveTwin
from twin.alarm import AlarmPlan, Condition, Definition, Kind, Priority, Rule, Settings
from twin.history import History
from twin.plant import Plant, Twin
from twin.points import Point, Points
from twin.readings import Readings
from twin.store import Store

HIGH = Condition(Kind.LIMIT, "hi", 1, 10.0)


def high(n: int, priority: Priority = Priority.LOW) -> Definition:
    return Definition(f"t{n}.level:high", "high", f"t{n}.level", f"t{n}", priority, HIGH)


def plant(size: int, rules: Sequence[Rule] = (), settings: Settings = Settings()) -> Plant:  # noqa: B008
    """`size` tanks, each with one high alarm."""
    points = Points.of(Point(n, f"t{n}.level", f"t{n}", "level", "double", "m", "plc", f"a{n}") for n in range(size))
    twins = tuple(Twin(f"t{n}", "dtmi:x:Tank;1", "", None) for n in range(size))
    alarms = AlarmPlan(tuple(high(n) for n in range(size)), tuple(rules), settings)
    return Plant("tanks", "Tanks", "", {}, (), twins, (), points, (), None, {}, alarms=alarms)


@dataclass
class AlarmSite:
    """What is at work."""

    live: LiveTwin
    alarms: Alarms
    store: AlarmStore
    evidence: Evidence
    rules: AlarmRules
    data: Path

    def say(self, value: float, *tanks: int, code: int = 0) -> None:
        now = time.time_ns()
        self.live.readings(Readings.of(np.array(tanks, np.int32), np.full(len(tanks), value), now, code))

    async def steps(self, limit: int = 5_000) -> list[Taken]:
        """Oldest first."""
        return (await self.alarms.history(Wanted(limit=limit)))[::-1]

    async def words(self) -> list[str]:
        return [f"{s.alarm.split('.')[0]} {s.step}" for s in await self.steps() if s.alarm]

    def told(self) -> list[dict[str, object]]:
        """Every change that was announced, in order."""
        return [c for e in self.live.feed.events_since(0) if e.kind == "alarm" for c in e.body["changes"]]


async def nothing(*_: object) -> object:
    return "nothing"


@asynccontextmanager
async def alarm_site(
    data: Path, described: Plant, submit: Submit = nothing, start: Start = nothing, *, good: bool = True
) -> AsyncIterator[AlarmSite]:
    """Everything stops at the end. `good`: every tank says 1 m before anybody looks."""
    data.mkdir(parents=True, exist_ok=True)
    with (
        Store(data / "history.duckdb") as history_store,
        contextlib.closing(AlarmStore(data / "alarms.sqlite")) as store,
    ):
        evidence = Evidence(data / "ledger", "tanks", time.time_ns)
        history = History(history_store, [p.name for p in described.points], evidence.record_batch)
        live = LiveTwin(described, 1, history, time.time_ns)
        alarms = Alarms(live, store, evidence, time.time_ns)
        rules = AlarmRules(alarms, store, described.id, submit, start, time.time_ns)
        site = AlarmSite(live, alarms, store, evidence, rules, data)
        if good:
            site.say(1.0, *range(len(described.points)))
        tasks = [asyncio.create_task(work) for work in (alarms.run(), rules.run())]
        try:
            yield site
        finally:
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(history.close)
            await asyncio.to_thread(evidence.close)


def problems(data: Path) -> list[dict[str, str]]:
    """What an auditor finds in the files of a stopped site."""
    evidence = Evidence(data / "ledger", "tanks", time.time_ns)
    try:
        entries = dict(evidence.entries(evidence.log.size))
    finally:
        evidence.close()
    return check_alarm_steps(read_alarm_steps(data / "alarms.sqlite"), entries)
