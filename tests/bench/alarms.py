"""One tick of 1,000 changed points of 10,000 with 20,000 alarms, against one bare numpy comparison of as many limits."""

from __future__ import annotations

import numpy as np

from tests.bench import line, seconds
from twin.alarm import AlarmPlan, Condition, Definition, Kind, Priority
from twin.alarm_book import AlarmBook
from twin.columns import Columns

POINTS, CHANGED, TICKS, COME = 10_000, 1_000, 50, 10
S = 1_000_000_000


def plan() -> AlarmPlan:
    """A high limit with a dead band and a delay, and a rate, of every point."""
    high = Condition(Kind.LIMIT, "hi", 1, 10.0, 1.0)
    rise = Condition(Kind.RATE, "rise", 1, 1e9, window_s=1.0)
    rows = (("high", high, 0.0), ("rise", rise, 1.0))
    return AlarmPlan(
        tuple(
            Definition(f"t{n}.p:{row}", row, f"t{n}.p", f"t{n}", Priority.LOW, condition, on_delay_s=delay_s)
            for row, condition, delay_s in rows
            for n in range(POINTS)
        )
    )


def main() -> None:
    """Of the thousand that change, ten come or go in every tick."""
    chance = np.random.default_rng(1)
    book = AlarmBook(plan(), {f"t{n}.p": n for n in range(POINTS)}, POINTS, 0, {})
    columns = Columns.empty(POINTS)
    columns.value[:], columns.quality[:] = 5.0, 0
    columns.source_time[:] = columns.received_time[:] = 0
    book.begin(columns, 0)
    batches = [np.sort(chance.choice(POINTS, CHANGED, replace=False)).astype(np.int32) for _ in range(TICKS)]
    now, steps = 0, 0

    def ours() -> None:
        nonlocal now, steps
        for ids in batches:
            now += S // 10
            columns.value[ids] = 5.0
            columns.value[ids[:COME]] = 11.0
            columns.received_time[ids] = columns.source_time[ids] = now
            steps += len(book.changed(ids, columns, now)) + len(book.tick(columns, now))

    limits = np.full(POINTS, 10.0)
    rates = np.full(POINTS, 1e9)

    def floor() -> None:
        for ids in batches:
            columns.value[ids] = 5.0
            columns.value[ids[:COME]] = 11.0
            columns.received_time[ids] = columns.source_time[ids] = now
            value = columns.value[ids]
            good = columns.quality[ids] >> np.uint32(30) == 0
            np.flatnonzero((value > limits[ids]) & good)
            np.flatnonzero((value > rates[ids]) & good)

    took, bare = seconds(ours) / TICKS * 1e3, seconds(floor) / TICKS * 1e3
    detail: dict[str, object] = {"alarms": 2 * POINTS, "changed": CHANGED, "steps": steps, "bar_ms": 2.0}
    line("alarms", round(took, 3), "ms/tick", round(bare, 3), detail)


if __name__ == "__main__":
    main()
