"""Ranking and selection on normal means that are known: right as often as stated, and with fewer runs than all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.ranking import Sample, allocation, kn, ocba
from sim.runner import Cancelled
from sim.selection import Ranked, select
from sim.streams import stream
from sim.whatif import Runner, Scenario, compare
from tests.sim.layouts import line10
from twin.errors import BadRequest


def normal(means: Sequence[float], sds: Sequence[float], seed: int, shared: float = 0.0) -> Sample:
    """Normal options; `shared` is the variance that all options have in common in a replication."""

    def draws(name: str, first: int, count: int) -> NDArray[np.float64]:
        return np.array([stream(seed, name, r).standard_normal() for r in range(first, first + count)])

    def sample(options: Sequence[int], first: int, count: int) -> NDArray[np.float64]:
        common = np.sqrt(shared) * draws("common", first, count) if shared else 0.0
        return np.stack([means[i] + sds[i] * draws(f"{i}", first, count) + common for i in options])

    return sample


def test_kn_selects_the_best_at_least_as_often_as_stated() -> None:
    means = [0.0] * 7 + [1.0]  # the hardest case: all others just at the indifference
    runs = [kn(normal(means, [2.0] * 8, seed), 8, 1.0, confidence=0.9, batch=16) for seed in range(120)]
    right = np.mean([r.best == 7 for r in runs])
    assert right >= 0.9 - 2 * np.sqrt(0.09 / 120)
    assert all(r.resolved for r in runs)


def test_kn_drops_what_is_clearly_worse_early() -> None:
    found = kn(normal([0.4, -10.0, -10.0, -10.0, 0.5], [1.0] * 5, 3), 5, 0.2)
    assert found.best in (0, 4) and max(found.counts[1:4]) == 32 < found.counts[4]


def test_kn_needs_fewer_replications_with_common_chance() -> None:
    means, sds = [0.0, 0.1, 0.2, 0.5], [0.5] * 4
    alone = kn(normal(means, [np.sqrt(0.25 + 9)] * 4, 1), 4, 0.3)
    paired = kn(normal(means, sds, 1, shared=9.0), 4, 0.3)
    assert paired.best == alone.best == 3
    assert sum(alone.counts) > 5 * sum(paired.counts)


def test_kn_says_when_its_limit_ended_it() -> None:
    assert not kn(normal([0.0, 0.001], [5.0, 5.0], 1), 2, 0.001, most=64).resolved


def test_ocba_gives_the_published_allocation() -> None:
    # Two rivals at distance 1 and 2 with equal variances: 4 to 1, and sqrt(4² + 1) for the best.
    shares = allocation(np.array([3.0, 2.0, 1.0]), np.ones(3), 100.0)
    assert shares[1] / shares[2] == pytest.approx(4.0)
    assert shares[0] / shares[2] == pytest.approx(np.sqrt(17.0))
    assert shares.sum() == pytest.approx(100.0)


def test_ocba_is_right_more_often_than_equal_shares_of_the_same_budget() -> None:
    means, sds = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5], [2.0] * 8
    budget, right, equal = 8 * 32 + 640, 0, 0
    for seed in range(100):
        sample = normal(means, sds, seed)
        right += ocba(sample, 8, budget=budget, confidence=0.9999).best == 7
        equal += int(sample(range(8), 0, budget // 8).mean(axis=1).argmax()) == 7
    assert right >= 85 and right > equal


def test_ocba_ends_when_it_is_sure() -> None:
    found = ocba(normal([0.0, 5.0], [1.0, 1.0], 1), 2, budget=10_000)
    assert found.best == 1 and sum(found.counts) == 64 and found.resolved


@pytest.mark.parametrize("method", ["kn", "ocba"])
def test_the_best_of_six_crews_and_speeds_is_found(method: str) -> None:
    options = [Scenario(f"M{i} faster").set(f"M{i}.speed", 1.3) for i in range(1, 5)]
    options.append(Scenario("crew +1").add("crew.capacity", 1))
    runner = Runner(2)
    found = select(
        line10(machines=4, crew=1), options, goal="max parts", horizon="4h", delta=2.0, method=method, runner=runner,
        backend="kernel", budget=6_000,
    )  # fmt: skip
    runner.close()
    assert found.names[0] == "baseline" and found.best in {
        "crew +1",
        "M1 faster",
        "M2 faster",
        "M3 faster",
        "M4 faster",
    }
    assert found.selection.means[found.selection.best] > found.selection.means[0] + 2


@pytest.mark.parametrize(
    ("options", "delta", "confidence"), [(1, 1.0, 0.9), (3, 0.0, 0.9), (3, 1.0, 1.0), (3, 1.0, 0.3)]
)
def test_a_selection_that_makes_no_sense_is_refused(options: int, delta: float, confidence: float) -> None:
    with pytest.raises(BadRequest):
        kn(normal([0.0] * 3, [1.0] * 3, 1), options, delta, confidence=confidence)


def ranked(runner: Runner, *, delta: float = 2.0, method: str = "kn", **more: Any) -> Ranked:
    options: list[Scenario | str] = [
        Scenario("slower").set("M1.speed", 0.5),
        Scenario("crew +1").add("crew.capacity", 1),
        "M2.speed=1.3",
    ]
    return select(
        line10(machines=4, crew=1), options, goal="max parts", horizon="4h", delta=delta, method=method, runner=runner,
        backend="kernel", **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner(2)
    yield made
    made.close()


@pytest.mark.parametrize(("method", "budget"), [("kn", 4096), ("ocba", 800)])
def test_progress_never_goes_back_and_never_passes_what_is_planned(runner: Runner, method: str, budget: int) -> None:
    heard: list[tuple[int, int]] = []
    found = ranked(runner, method=method, budget=budget, progress=lambda done, planned: heard.append((done, planned)))
    shares = [done / planned for done, planned in heard]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] <= 1
    assert all(planned >= sum(found.selection.counts) for _, planned in heard[-1:])


def test_a_ranking_that_is_cancelled_ends_at_the_next_block(runner: Runner) -> None:
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        ranked(runner, delta=0.001, cancel=cancel, progress=lambda *_: cancel.set())


def test_a_ranking_as_json_has_the_best_first_and_what_it_came_from(runner: Runner) -> None:
    told = ranked(runner).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["options"][0]["name"] == told["best"] and told["options"][-1]["name"] == "slower"
    assert not told["options"][-1]["survived"] and told["backend"] == "kernel" and len(told["state_hash"]) == 64
    assert sum(o["replications"] for o in told["options"]) == told["replications"]


def test_of_a_layout_nothing_of_a_plan_is_a_command(runner: Runner) -> None:
    plan = ranked(runner).plan
    assert plan.scenario != "baseline" and plan.drafts == () and len(plan.by_hand) == 1


@pytest.mark.parametrize(
    ("options", "delta", "why"), [(["M1.speed=0.5"], 2.0, "left as it is"), (["M1.speed=1.0"], 5.0, "left as it is")]
)
def test_a_plan_does_nothing_where_the_base_is_as_good(
    runner: Runner, options: list[str], delta: float, why: str
) -> None:
    found = select(
        line10(machines=3), options, goal="max parts", horizon="4h", delta=delta, runner=runner, backend="kernel"
    )
    assert found.plan.scenario == "baseline" and not found.plan.by_hand
    assert found.selection.best != 0 or why in found.plan.reason


def test_more_than_eight_are_told_to_be_ranked(runner: Runner) -> None:
    with pytest.raises(BadRequest, match="9 scenarios") as caught:
        compare(line10(machines=2), [f"M1.speed=1.{n}" for n in range(9)], horizon="1h", runner=runner)
    assert "whatif rank" in caught.value.hint
