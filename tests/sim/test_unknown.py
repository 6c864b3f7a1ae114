"""What nobody measures is drawn from named streams: the kernel's own random numbers, and ages as one finds them."""

from __future__ import annotations

import numpy as np
import pytest

from sim.kernel.chance import philox, unit
from sim.layout import stream_name
from sim.spec import Constant, Distribution, Exponential, LogLogistic, LogNormal, Triangular, Uniform, Weibull
from sim.unknown import Chance

LAWS: list[tuple[Distribution, float, float]] = [
    # A lifetime, its mean, and its mean square.
    (Exponential(3.0), 3.0, 18.0),
    (Constant(4.0), 4.0, 16.0),
    (Uniform(1.0, 2.0), 1.5, 7 / 3),
    (Weibull(2.0, 2.0), 2.0 * np.pi**0.5 / 2, 4.0),
    (LogNormal(2.0, 0.5), 2.0 * np.exp(0.125), 4.0 * np.exp(0.5)),
    (Triangular(0.0, 1.0, 2.0), 1.0, 7 / 6),
]


@pytest.mark.parametrize("replication", [0, 1, 255, 256, 100_000, 2**32 - 1])
@pytest.mark.parametrize(("seed", "count"), [(0, 0), (7, 3), (2**64 - 1, 12)])
def test_draws_are_those_of_the_kernels_generator(replication: int, seed: int, count: int) -> None:
    low, high = stream_name("filler.job", "start")
    a, b, _, _ = philox(count, low, replication, high, seed & 0xFFFFFFFF, seed >> 32)
    assert Chance(seed, replication).uniform("filler.job", count) == unit(a, b)


@pytest.mark.parametrize(("like", "mean", "square"), LAWS)
def test_the_mean_age_is_half_the_mean_square_over_the_mean(like: Distribution, mean: float, square: float) -> None:
    ages = np.array([Chance(1, r).age("x", like.law) for r in range(8000)])
    assert ages.mean() == pytest.approx(square / mean / 2, abs=4 * ages.std() / 8000**0.5)


@pytest.mark.parametrize("like", [*(law for law, _, _ in LAWS), LogLogistic(2.0, 3.0)])
def test_an_age_lies_in_the_range_it_is_known_to_lie_in(like: Distribution) -> None:
    ages = [Chance(1, r).age("x", like.law, 0.3, 0.9) for r in range(500)]
    assert 0.3 <= min(ages) < 0.4
    assert 0.8 < max(ages) <= 0.9


def test_each_name_has_a_stream_of_its_own() -> None:
    one, other = (np.array([Chance(1, r).uniform(name) for r in range(4000)]) for name in ("a", "b"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.06
    assert one.mean() == pytest.approx(0.5, abs=0.02)


def test_a_state_is_picked_as_often_as_it_is_likely() -> None:
    picked = [Chance(2, r).pick("m", {"up": 0.9, "down": 0.1}) for r in range(4000)]
    assert picked.count("down") == pytest.approx(400, abs=60)
