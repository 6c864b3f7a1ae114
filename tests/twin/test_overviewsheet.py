"""[[overview]] of plant.toml: the figures of the overview, and every mistake in it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.twin.plants import PLANT, POINTS, RULES, write
from twin.errors import BadPlant
from twin.overview import Kpi
from twin.plantfile import load_plant


def read(folder: Path, *rows: str) -> tuple[Kpi, ...]:
    text = PLANT + "".join(f"\n[[overview]]\n{row}\n" for row in rows)
    return load_plant(write(folder, text, POINTS), RULES).overview


def test_a_figure_has_a_normal_range_and_a_target_or_only_a_point(tmp_path: Path) -> None:
    assert read(tmp_path, 'point = "tank.level"\nname = "Lake"\nnormal = [2, 8.5]\ntarget = 5') == (
        Kpi("tank.level", "Lake", (2.0, 8.5), 5.0),
    )
    assert read(tmp_path, 'point = "tank.level"') == (Kpi("tank.level"),)
    assert read(tmp_path) == ()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (['point = "tank.lvel"'], "'tank.lvel' is no point"),
        (['point = "tank.valve"'], "tank.valve is boolean"),
        (['point = "tank.level"'] * 2, "tank.level stands there twice"),
        (['point = "tank.level"\nnormal = [8, 2]'], "normal = [8, 2]"),
        (['point = "tank.level"\nnormal = [2]'], "normal = [2]"),
        (['point = "tank.level"\nnormal = [2, true]'], "normal = [2, True]"),
        (['point = "tank.level"\nnormal = 3'], "normal = 3 is not a list"),
        (['point = "tank.level"\nnormal = [2, 800]'], "normal is outside of tank.level's range"),
        (['point = "tank.level"\ntarget = -5'], "target is outside of tank.level's range"),
        (['point = "tank.level"\ntarget = inf'], "target"),
        (['point = "tank.level"\ngoal = 5'], "unknown key 'goal'"),
        (['name = "Lake"'], "overview without point"),
    ],
)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, rows: list[str], said: str) -> None:
    with pytest.raises(BadPlant) as raised:
        read(tmp_path, *rows)
    assert any(said in m.message for m in raised.value.mistakes), raised.value.mistakes
