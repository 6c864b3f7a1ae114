"""Decisions that are searched: found where the best is known, seeded, judged on chance that the search never saw."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sim.optimise import optimise, parse_decisions
from sim.runner import Cancelled
from sim.whatif import Runner
from tests.sim.layouts import line10
from twin.errors import BadRequest, Unavailable


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    if not os.environ.get("CI"):
        pytest.importorskip("optuna", reason="the extra optimise is not installed")
    made = Runner(2)
    yield made
    made.close()


def asked(runner: Runner, **more: Any) -> dict[str, Any]:
    return {"goal": "max parts", "horizon": "4h", "replications": 32, "runner": runner, "backend": "kernel", **more}


def test_more_crew_and_larger_buffers_are_found_and_the_same_again(runner: Runner) -> None:
    decisions = {"crew.capacity": (1, 3), "M2.speed": (0.5, 1.5)}
    found = optimise(line10(machines=4), decisions, **asked(runner, trials=30))
    assert found.decisions["crew.capacity"] in (2, 3) and float(found.decisions["M2.speed"]) > 1.2
    assert found.result.choice is not None and found.result.choice.resolved and found.result.seed == 2
    again = optimise(line10(machines=4), decisions, **asked(runner, trials=30))
    assert again.decisions == found.decisions and again.seen == found.seen


def test_decisions_that_pass_a_limit_are_not_taken(runner: Runner) -> None:
    decisions = {"M1.speed": (0.4, 2.0)}
    free = optimise(line10(machines=3), decisions, **asked(runner, trials=15))
    bound = optimise(line10(machines=3), decisions, **asked(runner, trials=15, limits=["B1.level>8"], risk=0.7))
    assert float(bound.decisions["M1.speed"]) < float(free.decisions["M1.speed"])
    with pytest.raises(BadRequest, match="keeps the limits"):
        optimise(line10(machines=3), decisions, **asked(runner, trials=3, limits=["B1.level>-1"]))


def test_without_optuna_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(Unavailable, match="optimise"):
        optimise(line10(machines=2), {"crew.capacity": (1, 2)}, goal="max parts", horizon="1h")


def test_a_search_tells_its_progress_to_the_end_and_can_be_cancelled(runner: Runner) -> None:
    heard: list[tuple[int, int]] = []
    cancel = threading.Event()
    decisions = {"crew.capacity": (1, 3)}
    found = optimise(line10(machines=2), decisions, **asked(runner, trials=4, progress=lambda *t: heard.append(t)))
    assert heard[-1] == (8 * 32, 8 * 32) and heard == sorted(heard)
    told = found.to_json()
    assert told["trials"] == 4 and told["plan"] == told["result"]["plan"]
    with pytest.raises(Cancelled):
        optimise(line10(machines=2), decisions, **asked(runner, cancel=cancel, progress=lambda *_: cancel.set()))


def test_decisions_are_read_as_whole_numbers_or_any() -> None:
    found = parse_decisions(["crew.size=1..3", "M2.speed=0.5..1.5", "x=1..3.0", "y=-2..2"])
    assert found == {"crew.size": (1, 3), "M2.speed": (0.5, 1.5), "x": (1.0, 3.0), "y": (-2, 2)}
    assert isinstance(found["x"][0], float) and isinstance(found["y"][0], int)
    for texts, said in ((["x=3..1"], "from 3 to 1"), (["x=1..2", "x=1..2"], "two ranges"), (["x"], "not understood")):
        with pytest.raises(BadRequest, match=said):
            parse_decisions(texts)
