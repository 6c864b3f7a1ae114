"""What a face is told: the newest state of every shown point, however slow it is, and never more than one batch waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control.accounts import Accounts
from control.live import LiveTwin
from control.northbound import ASKING_MAX, Northbound, Sources, Station, View
from protocols.served import Asked, Guest, States
from tests.control.plants import until
from tests.control.served_plant import works
from twin.errors import BadRequest, Denied, LimitExceeded, NotPermitted, Unavailable
from twin.history import History
from twin.plant import Plant, Serving, Twin
from twin.points import Point, Points
from twin.readings import Readings
from twin.role import Role
from twin.store import Store

POINTS = 2_000
OPERATOR = Guest("test:op", Role.OPERATOR)


def plant(points: int = POINTS) -> Plant:
    rows = [Point(i, f"t{i % 50}.v{i}", f"t{i % 50}", f"v{i}", "double", "", "", "") for i in range(points)]
    twins = tuple(Twin(f"t{n}", "dtmi:x:T;1", f"t{n}", None) for n in range(50))
    return Plant("big", "Big", "", {}, (), twins, (), Points.of(rows), (), None, {})


@asynccontextmanager
async def view(folder: Path, *patterns: str) -> AsyncIterator[tuple[LiveTwin, View]]:
    described = plant()
    with Store(folder / "history.duckdb") as store:
        history = History(store, [p.name for p in described.points], lambda _: None)
        live = LiveTwin(described, 1, history, time.time_ns)
        sources = Sources(live, store, None, Accounts(folder, time.time_ns), None, time.time_ns, str)  # type: ignore[arg-type]
        serving = Serving("s", "opcua", "", {"points": patterns or ("*",)})
        made = View(sources, serving, asyncio.get_running_loop())
        giving = asyncio.create_task(_give(made))
        try:
            yield live, made
        finally:
            giving.cancel()
            await asyncio.gather(giving, return_exceptions=True)
            history.close()


async def _give(made: View) -> None:
    while True:
        made.hand_over()
        await asyncio.sleep(0.002)


async def test_the_newest_state_of_every_point_arrives_however_slow_the_face_is(tmp_path: Path) -> None:
    chance = random.Random(5)
    async with view(tmp_path) as (live, made):
        told: dict[int, float] = {}
        batches = 0

        async def follow() -> None:
            nonlocal batches
            async for states in made.states():
                batches += 1
                told.update(zip(states.point.tolist(), states.value.tolist(), strict=True))
                await asyncio.sleep(chance.choice((0, 0.001, 0.03)))

        following = asyncio.create_task(follow())
        for n in range(2_000):  # as fast as they come: some hundred thousand changes a second
            ids = np.array(sorted(chance.sample(range(POINTS), 20)), np.int32)
            live.readings(Readings.of(ids, np.full(20, float(n)), time.time_ns()))
            if n % 10 == 0:
                await asyncio.sleep(0)
        final = live.table.columns.value
        await until(lambda: told, lambda t: all(t.get(i) == v for i, v in enumerate(final.tolist()) if v == v))
        assert batches < 2_000
        assert made.figures.dropped == 40_000 - _given(live, made)
        following.cancel()


def _given(live: LiveTwin, made: View) -> int:
    return int(live.table.columns.revision.sum()) - made.figures.dropped


async def test_only_the_chosen_points_are_told(tmp_path: Path) -> None:
    async with view(tmp_path, "t1.*", "*.v7") as (live, made):
        live.readings(Readings.of(np.arange(POINTS), np.zeros(POINTS), time.time_ns()))
        states = await anext(aiter(made.states()))
        names = {live.plant.points[i].name for i in states.point.tolist()}
        assert names == {f"t1.v{i}" for i in range(1, POINTS, 50)} | {"t7.v7"}


async def test_a_new_follower_starts_with_everything_and_silence_has_a_sign_of_life(tmp_path: Path) -> None:
    async with view(tmp_path) as (live, made):
        live.readings(Readings.of([3], [1.5], time.time_ns()))
        for _ in range(2):
            found: list[States] = []
            async for states in made.states():
                found.append(states)
                if len(found) == 2:
                    break
            assert found[0].point.tolist() == [3]
            assert len(found[1]) == 0, "nothing is new, but the twin lives"


async def test_who_asks_too_much_at_once_is_told_so(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        serving = Serving("s", "opcua", "", {"points": ("*",)})
        sources = Sources(
            plant.live, plant.live.history.store, plant.commands, plant.accounts, plant.evidence, time.time_ns, _ids()
        )
        made = View(sources, serving, asyncio.get_running_loop())
        asked = [made.command(Asked("pump.speed", float(n % 100)), OPERATOR) for n in range(ASKING_MAX + 5)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(a, LimitExceeded) for a in answers) == 5
        with pytest.raises(BadRequest, match="priority 'hurry'"):
            await made.command(Asked("pump.speed", 1.0, priority="hurry"), OPERATOR)
        with pytest.raises(NotPermitted):
            await made.command(Asked("pump.speed", 1.0), Guest("test:someone", Role.VIEWER))
        with pytest.raises(NotPermitted):
            await made.command(Asked("pump.speed", 1.0), Guest("test:someone", Role.AUDITOR))
        for role in (Role.SUPERVISOR, Role.ENGINEER, Role.ADMIN):
            assert (await made.command(Asked("pump.speed", 1.0), Guest("test:someone", role))).id
        # The account decides, not what the guest was when he came.
        with pytest.raises(NotPermitted):
            await made.command(Asked("pump.speed", 1.0), Guest("test:otto", Role.OPERATOR, "otto"))
        with pytest.raises(Denied):
            await made.command(Asked("pump.speed", 1.0), Guest("test:gone", Role.OPERATOR, "gone"))


def _ids() -> Any:
    numbers = iter(range(10**6))
    return lambda: f"id-{next(numbers)}"


async def test_two_servings_of_one_port_keep_the_server_from_starting(tmp_path: Path) -> None:
    async with works(tmp_path, serve={"opcua": "opc.tcp://127.0.0.1:0/x"}) as plant:
        taken = plant.endpoints["opcua"]
        settings = plant.plant.servings[0].settings
        sources = Sources(
            plant.live, plant.live.history.store, plant.commands, plant.accounts, plant.evidence, time.time_ns, str
        )
        again = Northbound([Serving("again", "opcua", taken, settings)], sources, None)
        with pytest.raises(Unavailable, match="cannot serve again at"):
            await again.start()
        assert isinstance(again.stations[0], Station)
        again.stations[0]._thread.join(5)
        assert not again.stations[0]._thread.is_alive()
