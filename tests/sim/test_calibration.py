"""Parameters found again from what they made: durations with ages, and figures of a line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.calibration import calibrate
from sim.fitting import best_fit, fit
from sim.kernel.chance import inverse
from sim.spec import Distribution, Exponential, LogLogistic, LogNormal, Triangular, Uniform, Weibull
from sim.whatif import Runner, compare
from tests.sim.layouts import line10
from twin.errors import BadRequest

TRUE = (Exponential(8.0), Weibull(60.0, 2.2), LogLogistic(8.0, 3.0), LogNormal(5.0, 0.6))


def history(true: Distribution, count: int, seed: int) -> tuple[list[float], list[float]]:
    """Durations that ended and ages of those that went on when one looked."""
    chance = np.random.default_rng(seed)
    a, b, c = (*true.numbers, 0.0, 0.0)[:3]
    whole = np.array([inverse(true.kind, a, b, c, u) for u in chance.uniform(size=count)])
    looked = chance.uniform(0.2, 2.5, size=count) * np.median(whole)
    return whole[whole <= looked].tolist(), looked[whole > looked].tolist()


@pytest.mark.parametrize("true", TRUE, ids=lambda d: type(d).__name__)
def test_a_distribution_is_found_again_within_its_own_errors(true: Distribution) -> None:
    ended, going = history(true, 2000, 3)
    assert len(going) > 300
    found = fit(type(true), ended, going)
    for key, number, told in zip(true.keys, true.numbers, found.distribution.numbers, strict=True):
        assert abs(told - number) < 3 * found.errors[key] < 0.5 * number
    naive = fit(type(true), ended)  # who forgets what goes on thinks that things last less
    assert naive.distribution.numbers[0] < found.distribution.numbers[0] - 3 * found.errors[true.keys[0]]


def test_standard_errors_are_those_of_repeated_histories() -> None:
    told = [fit(Weibull, *history(Weibull(60.0, 2.2), 200, seed)) for seed in range(60)]
    for position, key in enumerate(Weibull.keys):
        spread = np.std([f.distribution.numbers[position] for f in told], ddof=1)
        assert np.mean([f.errors[key] for f in told]) == pytest.approx(spread, rel=0.3)


def test_the_exponential_has_its_closed_form() -> None:
    found = fit(Exponential, [1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 10.0])
    assert found.distribution.numbers[0] == pytest.approx(30.0 / 5, rel=1e-6)
    assert found.errors["mean"] == pytest.approx(6.0 / math.sqrt(5), rel=1e-3)


@pytest.mark.parametrize("true", [TRUE[1], TRUE[2]], ids=lambda d: type(d).__name__)
def test_the_likeliest_kind_is_the_true_one(true: Distribution) -> None:
    assert type(best_fit(*history(true, 3000, 4))[0].distribution) is type(true)


def test_kinds_with_ends_take_the_extremes_and_claim_no_error() -> None:
    found = fit(Uniform, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.distribution.numbers == (1.0, 5.0) and math.isnan(found.errors["low"])
    assert fit(Triangular, [1.0, 2.0, 2.0, 3.0, 7.0]).distribution.numbers == (1.0, 1.0, 7.0)
    with pytest.raises(BadRequest, match="ages"):
        fit(Uniform, [1.0] * 9, [2.0])


@pytest.mark.parametrize("ended", [[1.0] * 4, [1.0] * 9 + [-1.0], [1.0] * 9 + [math.nan]])
def test_what_is_no_history_is_refused(ended: list[float]) -> None:
    with pytest.raises(BadRequest):
        fit(Weibull, ended)


def test_a_cycle_time_is_found_from_the_parts_that_were_made() -> None:
    runner = Runner(2)
    truth = compare(
        line10(machines=3), ["M2.cycle.mean=1.3"], horizon="8h", kpis=["parts"], replications=2000, seed=99,
        runner=runner, backend="kernel",
    )  # fmt: skip
    seen = truth.scenarios[0].kpis["parts"].mean
    asked = {"horizon": "8h", "runner": runner, "backend": "kernel"}
    found = calibrate(line10(machines=3), "M2.cycle.mean", 0.5, 3.0, "parts", seen, **asked)  # type: ignore[arg-type]
    assert abs(found.value - 1.3) < 4 * found.error < 0.1
    assert found.figure == pytest.approx(seen, abs=1.0)
    with pytest.raises(BadRequest, match="not between"):
        calibrate(line10(machines=3), "M2.cycle.mean", 0.5, 3.0, "parts", 1e6, **asked)  # type: ignore[arg-type]
    runner.close()
