"""Random streams: what one component draws depends on nobody else."""

from __future__ import annotations

import numpy as np
import pytest

from sim.streams import stream

GOLDEN = [0.9929205307675633, 0.6424193557006772, 0.9920702474409558]


def test_a_stream_gives_the_same_draws_today_and_in_years() -> None:
    draws = stream(42, "demand.walk", 7).random(3)
    assert draws.tolist() == GOLDEN


def test_drawing_from_one_stream_leaves_the_others_alone() -> None:
    alone = stream(1, "tank_1", 5).standard_normal(10)
    stream(1, "tank_2", 5).standard_normal(1000)
    stream(1, "tank_1", 4).standard_normal(1000)
    assert np.array_equal(stream(1, "tank_1", 5).standard_normal(10), alone)


@pytest.mark.parametrize(("seed", "name", "replication"), [(2, "a", 0), (1, "b", 0), (1, "a", 1)])
def test_another_seed_name_or_replication_is_another_stream(seed: int, name: str, replication: int) -> None:
    one, other = stream(1, "a", 0).standard_normal(20_000), stream(seed, name, replication).standard_normal(20_000)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03  # four standard errors


def test_replications_draw_a_normal_distribution_across_them() -> None:
    firsts = np.array([stream(3, "x", r).standard_normal() for r in range(4000)])
    assert abs(firsts.mean()) < 0.07 and abs(firsts.std() - 1) < 0.05


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_does_not_fit_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        stream(seed, "a")
