"""The [model] table of a layout: every mistake is listed, each with its place and the fix."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sim.layout_rows import parse_layout_model, read_layout_model
from sim.live import start
from sim.model import model_mistakes
from tests.sim.line_plant import LINE, MACHINES, MODEL, NOW, line_plant, snapshot
from tests.sim.test_live_start import RUNNING
from twin.errors import BadRequest
from twin.plant import Plant
from twin.points import Point


def rows(*added: dict[str, Any], without: str = "") -> list[dict[str, Any]]:
    """The rows of the model, but for those that tell `without`."""
    kept = [row for row in MODEL["read"] if without not in (row.get("state"), row.get("field"), row.get("timer"))]
    return [*kept, *added]


def test_a_model_without_mistakes_is_read(tmp_path: Path) -> None:
    model = read_layout_model(line_plant(tmp_path))
    assert model.outputs == ("parts.made",)
    assert len(model.ties) == 5 * len(MACHINES) + 4
    assert model.reads["parts.made"].target == "parts.level"
    assert model_mistakes(line_plant(tmp_path)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "layout", "layuot": 1}, "model.layuot is unknown; did you mean layout?"),
        ({"layout": "lien.py"}, "model.layout: there is no file"),
        ({"layout": "../line.py"}, "'../line.py' is not in the plant's folder"),
        ({"parameters": {"crews": 2}}, "line.py takes no parameter 'crews'"),
        ({"parameters": {"crew": "two"}}, "model.parameters is {'crew': 'two'}; write numbers"),
        ({"parameters": {"crew": -1}}, r"model.layout: line.py:9: Misspelt: resource crew: capacity -1"),
        ({"stale_after_s": 0}, "model.stale_after_s is 0; write a number from 0.1"),
        ({"outputs": ["M1.up"]}, "model.outputs: 'M1.up' is read by no row as a number"),
        ({"given": []}, 'model: nothing tells supply.level; add [[model.read]] with field = "supply.level"'),
        ({"given": ["supply", "M9.*"]}, "model.given: 'M9.*' is nothing that a start needs"),
        ({"read": rows(without="*.work")}, "model: nothing tells M2.work"),
        ({"read": rows(without="*.level")}, "model: nothing tells B1.level"),
        ({"read": rows(without="*.job")}, "nothing tells for how long M1.job has been running"),
        ({"read": rows({"point": "B1.level", "field": "B1.level"})}, "B1.level is told twice"),
        ({"read": rows({"point": "B1.lvl", "field": "B1.level"})}, "read 9: 'B1.lvl' is no point; did you mean B1.level or B2"),
        ({"read": rows({"point": "B1.level", "field": "B9.level"})}, "the layout has no field 'B9.level'; did you mean"),
        ({"read": rows({"point": "B1.level"})}, "model.read 9: it tells nothing; one of state, field, queue, timer, figure"),
        ({"read": rows({"point": "B1.level", "field": "B1.level", "sd": 1})}, "only levels, signals and numbers"),
        ({"read": rows({"point": "B1.level", "state": "M1.work", "map": {"x": "idle"}})}, "B1.level is never 'x'; a number"),
        ({"read": rows({"point": "M1.up", "state": "M1.work", "map": {"true": "on"}})}, "M1.work is never 'on'; one of idle"),
        ({"read": rows({"point": "M1.up", "state": "M1.work"})}, "model.read 9: map is None"),
        ({"read": rows({"point": "B1.level", "timer": "M1.job"})}, "B1.level is in ''; an age needs a unit of time"),
        ({"read": rows({"point": "B1.level", "field": "B1.level", "lag": 1})}, "model.read 9: 'lag' is unknown"),
        ({"read": [{"for": "M1"}]}, "model.read 1: for is 'M1'"),
        ({"read": {"point": "x"}}, "model.read: {'point': 'x'}; write rows, [[model.read]]"),
        ({"set": [{"point": "B1.level", "target": "B1.level"}]}, "model.set 1: B1.level is not writable; give it access rw"),
        ({"set": [{"point": "crew.size", "target": "crew.size"}]}, "nothing that can be set is called 'crew.size'"),
        ({"set": [{"point": "crew.size", "target": "M1.health"}]}, "M1.health is a state; write map"),
        ({"set": [{"point": "crew.size", "map": {"1": "M1.health=broken"}}]}, "M1.health=broken; write M1.health=up"),
        ({"set": [{"point": "crew.size", "map": {"one": "M1.health=up"}}]}, "crew.size is never 'one'"),
        ({"unmeasured": [{"timer": "M1.job", "like": "any"}]}, 'like is \'any\'; write like = { uniform = [0, 5] } or "stat'),
        ({"unmeasured": [{"timer": "M1.job", "like": {"uniform": [5, 0]}}]}, "like is {'uniform': [5, 0]}"),
        ({"unmeasured": [{"state": "M1.work", "like": {"idle": 0.5}}]}, "probabilities that sum to 1, of idle, busy"),
        ({"unmeasured": [{"state": "M1.work", "like": {"idle": 1.0}}]}, "M1.work is read and drawn, or drawn twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_fix(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    found = model_mistakes(line_plant(tmp_path, **changes))
    assert [m for m in found if said in m], "\n".join(found)


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    plant = line_plant(tmp_path, outputs=["x"], given=[], read=rows(without="*.work"), set=[{"point": "y"}])
    found = model_mistakes(plant)
    assert len(found) >= 6
    with pytest.raises(BadRequest, match=f"{len(found)} mistake"):
        read_layout_model(plant)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def layout(:\n", "line.py:1: SyntaxError"),
        ("x = 1\n", "line.py defines no function layout"),
        ("def layout():\n    return 3\n", "line.py: layout() returns 3"),
        ("import sys\nsys.exit(3)\n", "line.py:2: SystemExit: 3"),
        ("def layout():\n    raise SystemExit(3)\n", "line.py:2: SystemExit: 3"),
        ("import no_such_thing\n", "line.py:1: ModuleNotFoundError"),
        ("def layout():\n    x = 0\n    return 1 / x\n", "line.py:3: ZeroDivisionError: division by zero"),
        (LINE.replace("inp=ends[i],", ""), "M1.inp is not connected"),
    ],
)
def test_a_layout_file_that_fails_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    found = model_mistakes(line_plant(tmp_path, text))
    assert [m for m in found if said in m], "\n".join(found)


def test_a_component_that_says_nothing_of_how_it_goes_on_is_a_mistake(tmp_path: Path) -> None:
    own = """
from sim.layout import Layout
from sim.spec import Component, State, Timer, Uniform, process


class Mixer(Component):
    time = Uniform(1.0, 2.0)
    on = State("no", "yes")
    mix = Timer(time)


class Odd(Component):
    @process
    def life(self, env):
        yield env.timeout(1)


def layout():
    plant = Layout("mixing", "min")
    plant.add(Mixer, "mixer")
    plant.add(Odd, "odd")
    return plant
"""
    plant = line_plant(tmp_path, own, read=[], set=[], outputs=[], given=["mixer.on"])
    assert model_mistakes(plant) == [
        "model: nothing says when mixer.mix runs; resume = Resume(…) in class Mixer",
        "model: odd is a SimPy process, whose state nobody can tell; write it with timers, or so that it can begin anew: "
        "@process_anew",
    ]


def test_two_texts_of_one_name_are_two_layouts(tmp_path: Path) -> None:
    one = read_layout_model(line_plant(tmp_path))
    other = read_layout_model(line_plant(tmp_path, LINE.replace("40.0", "50.0")))
    assert one.hash != other.hash
    assert one.layout.components[0].values["mttf"].numbers[0] == 40.0  # type: ignore[union-attr]
    assert other.layout.components[0].values["mttf"].numbers[0] == 50.0  # type: ignore[union-attr]


def test_a_text_of_the_same_moment_and_length_is_not_taken_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    first = line_plant(tmp_path)
    (file,) = tmp_path.rglob("*.py")
    os.utime(file, (1, 1))
    read_layout_model(first)
    second = line_plant(tmp_path, LINE.replace("40.0", "60.0"))
    os.utime(file, (1, 1))
    assert read_layout_model(second).layout.components[0].values["mttf"].numbers[0] == 60.0  # type: ignore[union-attr]
    assert list(tmp_path.rglob("*.pyc")) == [], "nothing is written beside what is the user's"


def test_the_age_of_a_state_may_be_that_of_its_reading(tmp_path: Path) -> None:
    """`since` of a machine that is down: its repair began when it broke down, for the crew was free."""
    text = LINE.replace("crew=people,\n", "\n")
    source = [{**row, "age": "source time"} if row.get("state") == "*.health" else row for row in MODEL["read"]]
    plant = line_plant(tmp_path, text, read=[r for r in source if r.get("timer") != "*.fail"])
    model, mistakes = parse_layout_model(plant)
    assert mistakes == []
    assert model is not None
    taken = snapshot(plant, {**RUNNING}, age_s={"M2.up": 18.0})
    ages = start(plant, model, taken).sample(1, 0).column("age")
    assert [ages[1], ages[4], ages[7]] == pytest.approx([0.0, 0.3, 0.0])
    assert taken.taken_at == NOW


def test_a_text_point_tells_a_state(tmp_path: Path) -> None:
    word = Point(30, "M1.word", "M1", "word", "string", "", "plc", "")
    told = rows(
        *({"point": f"M{i}.work", "state": f"M{i}.work", "map": {"0": "idle", "1": "busy", "2": "blocked"}} for i in (2, 3)),
        {"point": "M1.word", "state": "M1.work", "map": {"running": "busy", "*": "idle"}},
        without="*.work",
    )  # fmt: skip
    plant = line_plant(tmp_path, more=(word,), read=told)
    model = read_layout_model(plant)
    assert [t.state("running") for t in model.ties if t.point == "M1.word"] == ["busy"]
    assert [t.state("off") for t in model.ties if t.point == "M1.word"] == ["idle"]


def test_nothing_but_a_layout_or_a_network_is_a_model(tmp_path: Path) -> None:
    plant: Plant = line_plant(tmp_path, kind="spreadsheet")
    assert model_mistakes(plant) == ['model.kind is \'spreadsheet\'; write kind = "epanet" or "layout"']
