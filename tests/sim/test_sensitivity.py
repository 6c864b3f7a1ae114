"""Tornado and split of variance, against what is known of the line and of a design that was made up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from sim.beliefs import parse_beliefs, quantile, spread
from sim.runner import Cancelled
from sim.sensitivity import split_of, tornado, variance_split
from sim.spec import Exponential, Uniform
from sim.whatif import Runner
from tests.sim.layouts import line10
from twin.errors import BadRequest


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner(2)
    yield made
    made.close()


def test_the_parameter_that_matters_most_is_on_top(runner: Runner) -> None:
    beliefs = {"M2.cycle.mean": (0.8, 1.6), "M3.mttr.mean": (7.0, 9.0), "M1.speed": (1.0, 1.0)}
    bars = tornado(
        line10(machines=4), beliefs, "parts", horizon="4h", replications=200, runner=runner, backend="kernel"
    ).bars
    assert [bar.parameter for bar in bars] == ["M2.cycle.mean", "M3.mttr.mean", "M1.speed"]
    assert bars[0].low.mean > 0 > bars[0].high.mean and bars[0].low.resolved and bars[0].high.resolved
    assert (bars[2].low.mean, bars[2].high.mean, bars[2].low.resolved) == (0.0, 0.0, False)


def test_the_split_of_a_made_up_design_is_found() -> None:
    chance = np.random.default_rng(5)
    p, s, r = 60, 40, 30
    y = 3.0 * chance.standard_normal((p, 1, 1)) + 2.0 * chance.standard_normal((1, s, 1))
    y = y + 1.5 * chance.standard_normal((1, s, r)) + 0.5 * chance.standard_normal((p, s, r))
    split = split_of(y)
    assert split.parameters == pytest.approx(9.0, rel=0.4)
    assert split.state == pytest.approx(4.0, rel=0.5)
    assert split.chance == pytest.approx(2.25, rel=0.1)
    assert split.interaction == pytest.approx(0.25, rel=0.05)


def test_an_uncertain_cycle_time_is_told_from_chance(runner: Runner) -> None:
    asked = {"horizon": "4h", "runner": runner, "parameters": 12, "states": 6, "replications": 6, "backend": "kernel"}
    sure = variance_split(line10(machines=4), {"M2.cycle.mean": (1.0, 1.0)}, "parts", **asked)  # type: ignore[arg-type]
    assert (
        sure.parameters == pytest.approx(0.0, abs=1e-9)
        and sure.chance > 0
        and sure.interaction == pytest.approx(0.0, abs=1e-9)
    )
    unsure = variance_split(line10(machines=4), {"M2.cycle.mean": (0.8, 2.4)}, "parts", **asked)  # type: ignore[arg-type]
    assert unsure.parameters > unsure.chance > 0 == unsure.state


def test_draws_of_beliefs_cover_every_stratum() -> None:
    draws = spread({"a": Uniform(0.0, 1.0), "b": (10.0, 18.0)}, 20, 1)
    assert sorted(int(20 * d["a"]) for d in draws) == list(range(20))
    assert min(d["b"] for d in draws) < 10 and max(d["b"] for d in draws) > 18
    assert quantile(Exponential(1.0), 0.5) == pytest.approx(np.log(2))


def test_a_belief_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(BadRequest, match="10 % quantile"):
        quantile((2.0, 1.0), 0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("M1.speed", "is not understood"),
        ("M1.speed=1", "is not understood"),
        ("M1.speed=1..inf", "is not understood"),
        ("M1.speed=a..b", "is not understood"),
        ("=1..2", "is not understood"),
        ("M1.speed=2..1", "2 … 1"),
    ],
)
def test_a_range_that_cannot_be_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        parse_beliefs([text])


def test_ranges_are_read_as_quantiles() -> None:
    assert parse_beliefs(["M1.speed=0.8..1.2", " a_b.c = -1e3 .. 2 "]) == {"M1.speed": (0.8, 1.2), "a_b.c": (-1e3, 2.0)}


def test_a_tornado_tells_its_progress_can_be_cancelled_and_is_json(runner: Runner) -> None:
    heard: list[tuple[int, int]] = []
    asked = {"horizon": "2h", "replications": 64, "runner": runner, "backend": "kernel"}
    beliefs = {"M1.speed": (0.8, 1.2)}
    found = tornado(line10(machines=2), beliefs, "parts", progress=lambda *told: heard.append(told), **asked)  # type: ignore[arg-type]
    assert heard[-1] == (64, 64)
    told = found.to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["kpi"], told["bars"][0]["low_value"], len(told["model_hash"])) == ("parts", 0.8, 64)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        tornado(line10(machines=2), beliefs, "parts", cancel=cancel, **asked)  # type: ignore[arg-type]


def test_a_parameter_that_there_is_not_is_named(runner: Runner) -> None:
    with pytest.raises(BadRequest, match=r"M1\.spede"):
        tornado(line10(machines=2), {"M1.spede": (1.0, 2.0)}, "parts", horizon="1h", runner=runner, backend="kernel")
