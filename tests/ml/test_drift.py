"""Drift: known shifts are found, none is found where nothing moved, and every verdict names its source."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.drift import LIMIT, SLACK, Drift, Inputs, PageHinkley, coverage, false_alarm_every, independent
from ml.records import DataSet, Record
from twin.errors import BadRequest


def data(values: np.ndarray, name: str = "flow") -> DataSet:
    return DataSet((name,), (Record("p", np.arange(len(values), dtype=float), values.reshape(-1, 1)),))


def verdicts(before: np.ndarray, after: np.ndarray) -> dict[str, Drift]:
    return {d.kind: d for d in Inputs.of(data(before)).compare(data(after))}


def walk(rng: np.random.Generator, n: int, r: float) -> np.ndarray:
    """A first-order autoregression of spread 1."""
    out = rng.normal(size=n)
    for k in range(1, n):
        out[k] = r * out[k - 1] + math.sqrt(1 - r * r) * out[k]
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([200, 1000, 5000]), st.sampled_from([0.0, 0.9, 0.98]))
def test_a_column_that_did_not_move_does_not_drift(seed: int, n: int, r: float) -> None:
    rng = np.random.default_rng(seed)
    found = verdicts(walk(rng, 10_000, r), walk(rng, n, r))
    assert not any(d.drifted for d in found.values()), found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.0, 5.0), st.sampled_from([-1.0, 1.0]), st.floats(1e-3, 1e3))
def test_a_shift_of_a_deviation_and_more_is_found_in_any_unit(
    seed: int, shift: float, sign: float, unit: float
) -> None:
    rng = np.random.default_rng(seed)
    found = verdicts(unit * rng.normal(size=5000), unit * (rng.normal(size=500) + sign * shift))
    assert found["psi"].drifted and found["ks"].drifted


def test_psi_and_ks_of_known_distributions_are_what_theory_says() -> None:
    rng = np.random.default_rng(3)
    found = verdicts(rng.normal(size=200_000), rng.normal(size=200_000) + 1.0)
    assert found["ks"].figure == pytest.approx(2 * 0.5 * (1 + math.erf(0.5 / math.sqrt(2))) - 1, abs=0.01)
    assert found["psi"].figure == pytest.approx(0.95, abs=0.06)  # over tenths; the limit of ever finer classes is 1
    assert verdicts(rng.uniform(size=9000), rng.uniform(size=9000))["ks"].figure < 0.03


def test_a_change_of_unit_is_found_and_so_is_a_sensor_that_falls_silent() -> None:
    rng = np.random.default_rng(4)
    bar = 5 + rng.normal(size=2000)
    assert all(d.drifted for d in verdicts(bar, bar[:300] * 100).values())
    silent = bar[:300].copy()
    silent[100:] = np.nan
    found = verdicts(bar, silent)
    assert found["psi"].drifted and "67%" in found["psi"].why and not found["ks"].drifted
    gone = verdicts(bar, np.full(300, np.nan))
    assert gone["psi"].drifted and math.isnan(gone["ks"].figure) and not gone["ks"].drifted


def test_a_spread_that_grows_a_constant_that_moves_and_two_levels_are_found() -> None:
    rng = np.random.default_rng(5)
    assert any(d.drifted for d in verdicts(rng.normal(size=5000), 3 * rng.normal(size=500)).values())
    assert any(d.drifted for d in verdicts(np.zeros(500), np.ones(500)).values())
    assert not any(d.drifted for d in verdicts(np.zeros(500), np.zeros(500)).values())
    valve = (rng.random(5000) < 0.5).astype(float)
    assert not any(d.drifted for d in verdicts(valve, valve[:500]).values())
    assert all(d.drifted for d in verdicts(valve, np.ones(500)).values())


def test_few_samples_tell_nothing_and_say_so() -> None:
    rng = np.random.default_rng(6)
    found = verdicts(rng.normal(size=5000), rng.normal(size=10) + 9)
    assert not any(d.drifted for d in found.values()) and "tell nothing" in found["psi"].why
    assert all(d.source for d in found.values())


def test_the_table_lives_in_the_models_file() -> None:
    rng = np.random.default_rng(7)
    table = Inputs.of(data(rng.normal(size=500)))
    back = Inputs.from_tensors(("flow",), table.tensors())
    now = data(rng.normal(size=300) + 2)
    assert back.compare(now) == table.compare(now)
    with pytest.raises(BadRequest, match="no table"):
        Inputs.from_tensors(("flow",), {})
    with pytest.raises(BadRequest, match="no column 'flow'"):
        table.compare(data(rng.normal(size=50), "flw"))


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_samples_that_follow_each_other_count_less(r: float) -> None:
    n = independent(walk(np.random.default_rng(8), 50_000, r))
    assert n == pytest.approx(50_000 * (1 - r) / (1 + r), rel=0.15)


def test_errors_that_grow_are_found_and_steady_ones_seldom() -> None:
    rng = np.random.default_rng(9)
    start = PageHinkley.of(rng.normal(size=5000))
    assert start.mean == pytest.approx(0.798, abs=0.03)

    def first(errors: np.ndarray) -> int:
        test = start
        for k, error in enumerate(errors):
            test = test.after(float(error))
            if test.verdict.drifted:
                return k + 1
        return 0

    # Sizes of normal errors lean to one side, so false alarms come more often than of normal sizes: held to a tenth.
    assert sum(first(rng.normal(size=5000)) > 0 for _ in range(20)) <= 1
    grown = [first(2.5 * rng.normal(size=400)) for _ in range(20)]
    assert min(grown) > 0 and max(grown) < 60
    assert not start.after(1e12).verdict.drifted  # one bad sample
    assert start.after(float("nan")) == start
    with pytest.raises(BadRequest):
        PageHinkley.of(np.zeros(100))


def test_the_false_alarm_rate_of_pages_test_is_that_of_the_tables() -> None:
    assert false_alarm_every(0.5, 4.0) == pytest.approx(336, rel=0.02)  # Montgomery, table 9.3, one-sided: 335
    assert false_alarm_every(0.5, 5.0) == pytest.approx(930, rel=0.02)
    assert false_alarm_every(SLACK, LIMIT) > 1e5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([100, 1000]))
def test_intervals_that_hold_as_promised_do_not_drift_and_others_do(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    assert not coverage(rng.random(n) < 0.9, 0.9, 1e-7).drifted
    assert coverage(rng.random(1000) < 0.75, 0.9).drifted and coverage(np.ones(1000, bool), 0.9).drifted
    assert "tell nothing" in coverage(np.zeros(5, bool), 0.9).why
