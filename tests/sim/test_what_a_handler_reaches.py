"""What a handler reaches outside its class is part of its model: numbers of modules and classes, and functions."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sim.answers import Answers
from sim.component_type import component_type
from sim.layout import Layout
from sim.layout_record import layout_hash
from sim.runner import Runner
from sim.whatif import compare
from tests.sim.test_handler_arithmetic import module_of

TEXT = """from helping import further
from sim.spec import Component, Var, command, at_start, Timer, on, Constant, Hazard

LIM = 10
WORDS = {"a": [1, len]}

def twice(x):
    return x * 2

class Reaching(Component):
    K = 3
    x = Var(0)
    each = Constant(1.0)
    t = Hazard(each)

    @on(t)
    def tick(self):
        self.x = twice(LIM) + self.K
        self.t.start()

class Calling(Reaching):
    @on(Reaching.t)
    def tick(self):
        self.x = further(1.0)
        self.y = WORDS
        self.t.start()
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(
        sys.modules, "helping", module_of(tmp_path / "helping.py", "def further(x):\n    return x + 1\n")
    )
    made = module_of(tmp_path / "reaching.py", TEXT)
    monkeypatch.setitem(sys.modules, "reaching", made)
    return made


def plant(written: ModuleType, name: str = "Reaching") -> Layout:
    layout = Layout("reach")
    layout.add(getattr(written, name), "R")
    return layout


def told(layout: Layout, answers: Answers, backend: str) -> tuple[float, str]:
    found = compare(
        layout, [], horizon=5.5, kpis=["R.x"], replications=2, backend=backend, answers=answers, runner=Runner(0)
    )
    return found.baseline.kpis["R.x"].mean, found.model_hash


@pytest.mark.parametrize("backend", ["kernel", "simpy"])
def test_a_changed_constant_is_another_model_and_another_answer(written: ModuleType, backend: str) -> None:
    answers = Answers()
    first, one = told(plant(written), answers, backend)
    written.LIM = 100  # type: ignore[attr-defined]
    second, two = told(plant(written), answers, backend)
    written.Reaching.K = 4
    third, three = told(plant(written), answers, backend)
    assert (first, second, third) == (23.0, 203.0, 204.0)
    assert len({one, two, three}) == 3
    assert answers.hits == 0


def test_a_changed_function_is_another_model(written: ModuleType, tmp_path: Path) -> None:
    before = layout_hash(plant(written, "Calling"))
    assert before == layout_hash(plant(written, "Calling"))
    other = module_of(tmp_path / "helping2.py", "def further(x):\n    return x + 2\n")
    written.further = other.further  # type: ignore[attr-defined]
    assert layout_hash(plant(written, "Calling")) != before


def test_constants_travel_with_their_type(written: ModuleType) -> None:
    written.LIM = 7  # type: ignore[attr-defined]
    written.Reaching.K = 5
    sent = pickle.dumps(component_type(written.Reaching))
    written.LIM, written.Reaching.K = 10, 3  # type: ignore[attr-defined]
    pickle.loads(sent)
    assert (written.LIM, written.Reaching.K) == (7, 5)
