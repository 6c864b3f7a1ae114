"""docs/dynamics.md: its blocks run as they are printed but for a shorter training, and every option stands in its table."""

from __future__ import annotations

import linecache
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from ml.dynamics import DynamicsOptions
from sim.kernel.assembly import assemble
from sim.kernel.interpreter import Interpreter
from sim.layout import Layout
from tests.ml.plants_of_tanks import rigs
from twin.dynamics import PHYSICS

GUIDE = (Path(__file__).parents[2] / "docs/dynamics.md").read_text()


def test_the_guide_runs_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = rigs(1, 400, 1).records[0]
    rows = np.column_stack([record.time_s, record.values])
    np.savetxt(tmp_path / "rig.csv", rows, delimiter=",", header="t,u,y", comments="")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "guide"}
    for number, text in enumerate(re.findall(r"```python\n(.*?)```", GUIDE, re.S)):
        quick = text.replace('physics="two_tanks")', 'physics="two_tanks", model="physics", folds=2, horizon=64)')
        file = f"<dynamics.md, block {number}>"
        linecache.cache[file] = len(quick), None, quick.splitlines(keepends=True), file
        exec(compile(quick, file, "exec"), names)
    plant = names["layout"]()  # type: ignore[operator]
    assert isinstance(plant, Layout)
    live = Interpreter(assemble(plant))
    live.run(400.0)
    assert live.world.amount[1] != 5.0 and live.world.amount[2] == 0.0
    live.close()


def test_every_option_and_every_physics_stands_in_the_guide() -> None:
    assert [f.name for f in fields(DynamicsOptions) if f"`{f.name}`" not in GUIDE] == []
    assert [name for name in PHYSICS if f"| `{name}` |" not in GUIDE] == []
