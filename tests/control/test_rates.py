"""Token buckets: a burst at once, a rate for ever, and one caller's calls cost no other."""

from __future__ import annotations

from itertools import pairwise

from control.rates import KEPT_MAX, Buckets, Rate

SECOND = 1_000_000_000


def test_a_burst_goes_at_once_and_then_as_many_as_the_rate_says() -> None:
    buckets = Buckets(Rate(2.0, 5.0))
    assert [buckets.take("a", 0) for _ in range(5)] == [0.0] * 5
    assert buckets.take("a", 0) == 0.5
    assert buckets.take("b", 0) == 0.0
    assert buckets.take("a", SECOND // 2) == 0.0
    assert buckets.take("a", SECOND // 2) == 0.5
    assert [buckets.take("a", 100 * SECOND) for _ in range(6)] == [0.0] * 5 + [0.5]


def test_who_goes_on_calling_while_it_waits_does_not_wait_longer() -> None:
    buckets = Buckets(Rate(1.0, 1.0))
    assert buckets.take("a", 0) == 0.0
    waits = [buckets.take("a", n * SECOND // 10) for n in range(1, 10)]
    assert all(a > b for a, b in pairwise(waits))
    assert buckets.take("a", SECOND) == 0.0


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    buckets = Buckets(Rate(1.0, 2.0))
    assert buckets.take("a", 10 * SECOND) == buckets.take("a", 5 * SECOND) == 0.0
    assert buckets.take("a", 5 * SECOND) == buckets.take("a", 10 * SECOND) == 1.0


def test_many_callers_fill_no_memory() -> None:
    buckets = Buckets(Rate(1.0, 1.0))
    for n in range(KEPT_MAX + 100):
        buckets.take(f"peer{n}", 0)
    assert len(buckets._held) == KEPT_MAX
