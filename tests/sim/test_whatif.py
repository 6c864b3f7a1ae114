"""What-ifs of a layout from a script: the same answer on SimPy and the kernel, and whoever computes it."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sim.answers import Answers
from sim.components.library import LIBRARY
from sim.kernel.ensemble import warm
from sim.layout import Layout
from sim.layout_record import layout_hash, record, restored
from sim.question import MEMORY_MAX_BYTES
from sim.result import Result, digest
from sim.runner import Cancelled
from sim.spec import Exponential
from sim.whatif import Precision, Runner, Scenario, compare
from tests.sim.layouts import line10, three_tanks
from twin.errors import BadRequest, LimitExceeded

CREW = Scenario("crew +1").add("crew.capacity", 1)
SLOW = Scenario("slow").at("1h", "M3.cycle.mean", 2.0)
FIGURES = ("parts", "crew.utilisation", "M5.breaks.count", "M5.breaks.first", "M5.health.down", "first(B5.level>7)")


@pytest.fixture(scope="module")
def runners() -> Iterator[dict[str, Runner]]:
    warm(LIBRARY)  # so that no test meets a kernel that is being compiled
    made = {"inline": Runner(0), "one": Runner(1), "two": Runner(2)}
    yield made
    for runner in made.values():
        runner.close()


def found(result: Result) -> Result:
    """All but how long it took and what ran it."""
    return dataclasses.replace(result, wall_s=0.0, backend="", why="", kernel_hash="")


def test_one_more_in_the_crew_gives_the_published_twelve_parts(runners: dict[str, Runner]) -> None:
    result = compare(line10(), [CREW], horizon="8h", kpis=["parts"], replications=1000, runner=runners["two"])
    assert result.baseline.kpis["parts"].mean == pytest.approx(237.2, abs=3.0)  # 237.17 ± 0.39 of 20,000 runs
    gain = result.scenarios[0].differences["parts"]
    assert gain.mean == pytest.approx(12.03, abs=1.4) and gain.half_width < 1.0
    assert result.backend == "kernel" and result.why == ""


@pytest.mark.parametrize("layout", [line10(machines=4), three_tanks()], ids=["line", "tanks"])
def test_simpy_and_the_kernel_give_the_same_result_bit_for_bit(layout: Layout, runners: dict[str, Runner]) -> None:
    options = ["M3.health=down at 30m", "crew.capacity+=1"] if layout.name == "line10" else ["P1.rate=3 at 30m for 1h"]
    follow = ["B2.level", "M2.work"] if layout.name == "line10" else ["T1.level", "T3.level"]
    ask: dict[str, Any] = {"horizon": "3h", "follow": follow, "limits": [f"{follow[0]}<3"], "replications": 12}
    compiled = compare(layout, options, **ask, backend="kernel", runner=runners["two"])
    for name in ("inline", "two"):
        assert found(compare(layout, options, **ask, backend="simpy", runner=runners[name])) == found(compiled)
    assert compiled.scenarios[0].differences[f"{follow[1]}.final"].mean != 0


def test_the_number_of_threads_changes_nothing(runners: dict[str, Runner]) -> None:
    ask: dict[str, Any] = {"horizon": "4h", "kpis": FIGURES, "follow": ["B5.level"], "replications": 200}
    alone = found(compare(line10(), [CREW, SLOW], **ask, runner=runners["one"]))
    assert found(compare(line10(), [CREW, SLOW], **ask, runner=runners["two"])) == alone
    assert found(compare(line10(), [CREW, SLOW], **ask, runner=runners["inline"])) == alone


def test_an_option_that_changes_nothing_differs_by_exactly_nothing(runners: dict[str, Runner]) -> None:
    result = compare(line10(), ["crew.capacity=2 at 1h"], horizon="4h", kpis=FIGURES, runner=runners["two"])
    assert {d.mean for d in result.scenarios[0].differences.values()} == {0.0}


def test_a_parameter_set_from_the_start_is_the_layout_with_that_parameter(runners: dict[str, Runner]) -> None:
    ask: dict[str, Any] = {"horizon": "8h", "kpis": ["parts", "M3.breaks.first"], "runner": runners["two"]}
    option = compare(line10(), ["M3.mttf.mean=20"], **ask).scenarios[0]
    line = line10()
    line.components[2] = dataclasses.replace(line.components[2], values={"mttf": Exponential(20.0)})
    assert compare(line, **ask).baseline.kpis == option.kpis


def test_what_is_put_back_is_what_was_there_at_the_start(runners: dict[str, Runner]) -> None:
    options = ["crew.capacity+=1 at 1h for 1h", "crew.capacity=5 at 1h for 1h", "B5.capacity+=5 at 1h for 1h"]
    follow = ["crew.busy", "M3.cycle.mean"]
    result = compare(
        line10(), [*options, "M3.cycle.mean+=1 for 1h"], horizon="4h", follow=follow, runner=runners["two"]
    )
    assert result.scenarios[3].fans["M3.cycle.mean"][2][:14] == (2.0,) * 13 + (1.0,)
    assert result.scenarios[0].kpis["crew.busy.final"].mean <= 2.0


def test_replications_double_until_the_precision(runners: dict[str, Runner]) -> None:
    ask: dict[str, Any] = {"horizon": "8h", "kpis": ["parts"], "runner": runners["two"], "replications": 32}
    result = compare(line10(), [CREW], **ask, until=Precision("parts", 1.5, 4096))
    assert result.stopped == "half-width" and result.replications in (128, 256, 512)
    assert result.scenarios[0].differences["parts"].half_width <= 1.5
    assert compare(line10(), [CREW], **ask, until=Precision("parts", 0.01, 100)).stopped == "max"


def test_the_best_option_is_told_with_how_sure_that_is(runners: dict[str, Runner]) -> None:
    ask: dict[str, Any] = {"horizon": "8h", "goal": "max parts", "runner": runners["two"], "replications": 200}
    sure = compare(line10(), [CREW, SLOW], **ask)
    assert sure.choice is not None and sure.choice.name == "crew +1" and sure.choice.resolved
    assert sure.best().scenario == "crew +1" and sure.best().by_hand == ("crew.capacity+=1",)
    unsure = compare(line10(), ["M10.speed=1.0001", "M9.speed=1.0001"], **ask)
    assert unsure.choice is not None and not unsure.choice.resolved
    assert unsure.best().scenario == "baseline" and unsure.best().drafts == ()
    worse = compare(line10(), [SLOW], **ask)
    assert worse.best().scenario == "baseline" and "nothing" in worse.best().reason
    with pytest.raises(BadRequest, match="better"):
        compare(line10(), [CREW], horizon="1h", kpis=["parts"], runner=runners["two"]).best()


def test_a_goal_brings_its_figure(runners: dict[str, Runner]) -> None:
    result = compare(
        line10(), [SLOW], horizon="2h", follow=["B2.level"], goal="min B3.level.mean", runner=runners["two"]
    )
    assert list(result.baseline.kpis) == [
        "B2.level.final", "B2.level.min", "B3.level.final", "B3.level.min", "B3.level.mean",
    ]  # fmt: skip
    assert result.best().scenario == "slow"


def test_a_question_asked_twice_is_computed_once(runners: dict[str, Runner]) -> None:
    answers = Answers()
    ask: dict[str, Any] = {"horizon": "1h", "kpis": ["parts"], "runner": runners["two"], "answers": answers}
    first = compare(line10(), [CREW], **ask)
    assert compare(line10(), [CREW], **ask) is first and answers.hits == 1
    assert compare(line10(crew=3), [CREW], **ask) is not first
    assert compare(line10(), [CREW], **ask, seed=2) is not first and answers.hits == 1


def test_a_layout_comes_back_from_its_record(runners: dict[str, Runner]) -> None:
    for layout in (line10(mttr=Exponential(0.1 + 0.2)), three_tanks()):
        again = restored(json.loads(json.dumps(record(layout))))
        assert record(again) == record(layout) and layout_hash(again) == layout_hash(layout)
    assert layout_hash(line10(crew=3)) != layout_hash(line10())


def test_a_result_is_json_and_a_table(runners: dict[str, Runner]) -> None:
    result = compare(line10(), [CREW], horizon="1h", kpis=["parts"], replications=1, runner=runners["two"])
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["digest"] == digest(content) and content["outcomes"][1]["differences"]["parts"]["half_width"] is None
    assert content["versions"]["numpy"] and content["base"]["layout"]["name"] == "line10"
    assert "crew +1" in str(result) and "not resolved" in str(result) and "kernel" in str(result)


def test_a_cancelled_what_if_ends(runners: dict[str, Runner]) -> None:
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        compare(
            line10(), [CREW], horizon="8h", kpis=["parts"], replications=100_000, runner=runners["two"],
            progress=lambda done, planned: cancel.set(), cancel=cancel,
        )  # fmt: skip


def test_samples_that_would_not_fit_the_memory_are_refused(runners: dict[str, Runner]) -> None:
    assert MEMORY_MAX_BYTES == 2**30
    with pytest.raises(LimitExceeded, match="MEMORY_MAX_BYTES"):
        compare(
            line10(), [CREW], horizon="8h", follow=["B1.level"], every="1m", replications=100_000, runner=runners["two"]
        )


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        (["crw.capacity=3"], {}, "nothing that can be set is called 'crw.capacity'"),
        (["M5.health=broken"], {}, "'up', 'down'"),
        (["crew.capacity=-1"], {}, "give 0 or more"),
        (["crew.capacity-=5 at 1h"], {}, "crew.capacity would be -3, it is 2 before"),
        (["crew.capacity-=1; crew.capacity-=2 at 1h"], {}, "crew.capacity would be -1, it is 1 before"),
        (["M5.health+=1"], {}, "state"),
        (["M5.mttf.mean=0"], {}, "give more than 0"),
        ([CREW], {"kpis": "parts"}, "a list"),
        ([CREW], {"seed": 1.5}, "seed 1.5"),
        ([CREW], {"replications": 2.5}, "2.5 replications"),
        ([CREW], {"horizon": None}, "horizon of None"),
        (["crew.capacity=3 at 9h"], {}, "outside the horizon"),
        (["M5.health=down for 1h"], {}, "cannot be put back"),
        (["run crew.capacity"], {}, "no command"),
        ([CREW, CREW], {}, "leave one out"),
        ([CREW], {"kpis": ["prts"]}, "no figure is called 'prts'"),
        ([CREW], {"kpis": ["first(B77.level<3)"]}, "no figure"),
        ([CREW], {"limits": ["B77.level<3"]}, "cannot be followed"),
        ([CREW], {"horizon": "8 hours"}, "no duration"),
        ([CREW], {"horizon": -1}, "horizon"),
        ([CREW], {"goal": "parts"}, "goal"),
        ([CREW], {"confidence": 95}, "confidence"),
        ([CREW], {"backend": "gpu"}, "backend"),
        ([CREW], {"until": Precision("parts", 0.0)}, "precision"),
    ],
)
def test_a_question_that_cannot_be_answered_names_the_place(
    options: list[Any], more: dict[str, Any], message: str, runners: dict[str, Runner]
) -> None:
    ask: dict[str, Any] = {"horizon": "8h", "kpis": ["parts"], "runner": runners["inline"], **more}
    with pytest.raises(BadRequest, match=message.replace("(", r"\(").replace(")", r"\)")):
        compare(line10(), options, **ask)
