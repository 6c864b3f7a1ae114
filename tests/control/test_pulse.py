"""The clients' clock: who is due together goes on together, many are spread over groups, nobody waits for one that went."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from control.api.pulse import GROUP_MAX, GROUPS, Pulse, step


@pytest.fixture
async def pulse() -> AsyncIterator[Pulse]:
    made = Pulse(itertools.count().__next__)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()


async def test_those_of_a_group_who_want_as_many_frames_go_on_in_the_same_moment(pulse: Pulse) -> None:
    moments: list[tuple[int, int]] = []

    async def follow() -> None:
        for _ in range(3):
            tick = await pulse.next(step(20), 0)
            moments.append((tick, pulse.now))

    await asyncio.gather(follow(), follow())
    assert len(set(moments)) == 3 and len(moments) == 6


async def test_who_wants_fewer_frames_shares_every_second_or_fourth_of_the_others(pulse: Pulse) -> None:
    fast = {await pulse.next(step(20), 1) for _ in range(8)}
    for frames_per_s in (10, 5):
        tick = await pulse.next(step(frames_per_s), 1)
        assert tick % GROUPS == 1 and tick > max(fast)
    assert (step(20), step(19), step(10), step(7), step(1)) == (4, 8, 8, 12, 80)


class Hand:
    """A timer that only sleeping moves on; who was woken gets its turn meanwhile."""

    def __init__(self) -> None:
        self.time_s = 0.0

    async def sleep(self, seconds: float) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self.time_s += seconds


@pytest.mark.parametrize(("group", "slow_group"), [(0, 0), (0, 2), (3, 1)])
async def test_one_that_wants_few_frames_slows_nobody(group: int, slow_group: int) -> None:
    hand = Hand()
    pulse = Pulse(lambda: 0, lambda: hand.time_s, hand.sleep)
    times_s: dict[int, list[float]] = {20: [], 10: [], 1: []}

    async def follow(frames_per_s: int, of: int) -> None:
        while True:
            await pulse.next(step(frames_per_s), of)
            times_s[frames_per_s].append(hand.time_s)

    running = [
        asyncio.create_task(work) for work in (pulse.run(), follow(20, group), follow(10, group), follow(1, slow_group))
    ]
    while hand.time_s < 10:
        await asyncio.sleep(0)
    for task in running:
        task.cancel()
    for frames_per_s, times in times_s.items():
        gaps = {round(later - earlier, 6) for earlier, later in itertools.pairwise(times)}
        assert gaps == {1 / frames_per_s}


async def test_one_that_goes_while_it_waits_holds_nobody_up(pulse: Pulse) -> None:
    gone = asyncio.create_task(pulse.next(step(20), 0))
    await asyncio.sleep(0)
    gone.cancel()
    assert await pulse.next(step(20), 0) == step(20)


def test_many_are_spread_and_few_are_not() -> None:
    pulse = Pulse(lambda: 0)
    groups = [pulse.join() for _ in range(GROUP_MAX * GROUPS + 8)]
    assert groups[:GROUP_MAX] == [0] * GROUP_MAX
    assert sorted(groups.count(g) for g in range(GROUPS)) == [GROUP_MAX + 2] * GROUPS
    pulse.leave(0)
    assert pulse.join() == 0
