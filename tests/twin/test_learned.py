"""[[learned]] of plant.toml: whose answers become points of which names, and every mistake in a row at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from control.plants import read_plant
from twin.errors import BadPlant
from twin.learned import INTERFACE, OWN, SCORED, Learned, Part, When, span
from twin.plant import Plant

WATER = Path(__file__).parents[2] / "scenarios" / "water"
TANK = 'interface = "dtmi:twinloop:water:Tank;1"\n'
SOON = f"""[[learned]]
id = "soon"
task = "forecast"
{TANK}columns = ["level", "inflow"]
tell = ["level"]
ahead = ["10m", "30s"]
"""


def plant(folder: Path, rows: str) -> Plant:
    made = folder / "plant"
    shutil.copytree(WATER, made)
    with (made / "plant.toml").open("a") as file:
        file.write("\n" + rows)
    return read_plant(made, {})


def mistakes(folder: Path, rows: str) -> list[str]:
    with pytest.raises(BadPlant) as caught:
        plant(folder, rows)
    return [f"{m.message}; {m.fix}" for m in caught.value.mistakes]


def names(made: Plant, row: Learned, twin: str) -> list[str]:
    return [p.property for p in row.points() if p.twin == twin]


def test_a_forecast_gives_its_twins_a_value_and_an_interval_for_each_time_ahead(tmp_path: Path) -> None:
    made = plant(tmp_path, SOON)
    (row,) = made.learned
    assert row.twins == ("tank_1", "tank_2", "tank_3") and row.units == ("m", "L/s") and row.every_s == 10.0
    assert names(made, row, "tank_2") == [
        "soon_level_30s", "soon_level_30s_low", "soon_level_30s_high",
        "soon_level_10min", "soon_level_10min_low", "soon_level_10min_high", "soon_model",
    ]  # fmt: skip
    assert made.point("tank_2.soon_level_10min_low").unit == "m"
    assert made.twin("soon").interface == INTERFACE
    assert [p.property for p in row.points() if p.twin == "soon"] == [name for name, _, _ in (*OWN, *SCORED)]


def test_an_answer_stands_where_its_row_says_it_does(tmp_path: Path) -> None:
    life = f'[[learned]]\nid = "life"\ntask = "rul"\n{TANK}columns = ["level"]\n'
    health = '[[learned]]\nid = "health"\ntask = "anomaly"\ntwins = ["tank_[12]"]\ncolumns = ["level"]\n'
    health += 'retrain = "7d"\nlearn = "60d"\n'
    made = plant(tmp_path, life + health.replace("[12]", "*") + SOON)
    for row in made.learned:
        for point in row.points():
            assert made.points[point.id] == point
    assert made.learned[1].retraining.when is When.TIME
    assert (made.learned[1].retraining.every_s, made.learned[1].retraining.hold_s) == (7 * 86_400.0, 12 * 86_400.0)
    assert [a.part for a in made.learned[1].answers] == [Part.VALUE, Part.FLAG, Part.WHY, Part.MODEL]


def test_nobody_keeps_the_value_of_an_answer(tmp_path: Path) -> None:
    made = plant(tmp_path, SOON)
    row = made.learned[0]
    assert not made.kept_points()[row.first : row.first + row.size].any()


def test_limits_and_interlocks_may_ask_for_an_answer(tmp_path: Path) -> None:
    lock = '[[interlock]]\nid = "soon_dry"\npoints = ["pump_335.status"]\nrequire = "tank_1.soon_level_30s > 1 m"\n'
    made = plant(tmp_path, SOON + lock)
    assert any(i.id == "soon_dry" for i in made.controls.interlocks)


WRONG = [
    ('[[learned]]\ntask = "rul"\n', "learned without id"),
    (SOON.replace('"forecast"', '"forcast"'), "no task 'forcast'; did you mean"),
    (SOON.replace('"soon"', '"tank_1"'), "something is called 'tank_1' already"),
    (SOON.replace('"soon"', '"a b"'), "id 'a b'"),
    (SOON + SOON, "something is called 'soon' already"),
    (SOON.replace("Tank;1", "Tnak;1"), "unknown Interface"),
    (SOON.replace(TANK, ""), "learned about no twin"),
    (SOON.replace(TANK, 'twins = ["tnk_1"]\n'), "'tnk_1' is no such twin"),
    (SOON.replace('"inflow"', '"inflw"'), "tank_1 has no point 'inflw'; did you mean inflow"),
    (SOON.replace('["level"]', '["levl"]'), "'levl' is no column"),
    (SOON.replace('"inflow"', '"level"'), "name each once"),
    (SOON.replace('ahead = ["10m", "30s"]\n', ""), "a forecast of no time"),
    (SOON.replace("30s", "35s"), "35s is no multiple of every = 10 s"),
    (SOON.replace("10m", "20d"), "ahead = '20d' is out of bounds; 10 s … 20000 s"),
    (SOON.replace("forecast", "rul"), "ahead is of forecasts"),
    (SOON + 'every = "10ms"\n', "'10ms' is no duration"),
    (SOON + 'every = "2d"\n', "every = '2d' is out of bounds; 0.1 s … 86400 s"),
    (SOON.replace("forecast", "rul") + 'retrain = "drift"\n', "remaining life is learned from runs to failure"),
    (SOON + 'retrain = "soon"\n', "retrain = 'soon'"),
    (SOON + 'hold = "20d"\n', "hold = '20d'"),
    (SOON + "deadband = -1\n", "deadband = -1 is outside"),
    (SOON + "often = true\n", "a [[learned]] has no setting 'often'"),
    (SOON.replace(TANK, 'twins = ["plc"]\n'), "'plc' is no such twin"),
    (SOON.replace(TANK, 'twins = ["pump_10"]\n').replace('"level", "inflow"', '"mode"'), "pump_10"),
]


@pytest.mark.parametrize(("rows", "said"), WRONG)
def test_a_mistake_in_a_row_is_said_with_its_fix(tmp_path: Path, rows: str, said: str) -> None:
    found = mistakes(tmp_path, rows)
    assert any(said in m.replace("did you mean “", "did you mean ") for m in found), found


@pytest.mark.parametrize(
    ("seconds", "name"), [(0.5, "0_5s"), (30, "30s"), (90, "90s"), (600, "10min"), (3600, "1h"), (172_800, "2d")]
)
def test_a_time_ahead_has_a_short_name(seconds: float, name: str) -> None:
    assert span(seconds) == name
