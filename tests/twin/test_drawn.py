"""What the drawing shows of each twin: what the plant says, else what follows from its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.twin.plants import PLANT, POINTS, RULES, interface, write
from twin.drawn import kind_name, marks, title, value_names
from twin.errors import BadPlant
from twin.mark import Shape
from twin.plant import Plant
from twin.plantfile import load_plant

VALUES = [{"name": "Idle", "enumValue": 4}, {"name": "Execute", "enumValue": 6}]
STATE = {"@type": "Enum", "valueSchema": "integer", "enumValues": VALUES}
PRESS = interface(
    "Press",
    [
        {"@type": "Property", "name": "mode", "schema": STATE, "writable": True},
        {"@type": "Telemetry", "name": "state", "displayName": "State now", "schema": STATE},
        {"@type": "Telemetry", "name": "jammed", "schema": "boolean"},
    ],
    displayName={"de": "Presse", "en": "Forging press"},
)
ROWS = """press.mode,plc,a4,enum,,,rw,no,,
press.state,plc,a5,enum,,,r,no,,
press.jammed,plc,a6,boolean,,,r,no,,
"""
TWIN = '\n[[twin]]\nid = "press"\ninterface = "dtmi:test:Press;1"\nat = [3, 2]\n'


def plant(folder: Path, mark: str = "") -> Plant:
    return load_plant(write(folder, PLANT + TWIN + mark, POINTS + ROWS, Press=PRESS), RULES)


def mark(**keys: str) -> str:
    return '\n[[mark]]\ninterface = "dtmi:test:Press;1"\n' + "".join(f"{k} = {v}\n" for k, v in keys.items())


def test_without_a_word_of_the_plant_the_first_measured_point_is_shown_as_what_it_means(tmp_path: Path) -> None:
    made = plant(tmp_path)
    drawn = marks(made)
    shown = {twin: (m.shape, None if m.point is None else m.point.name) for twin, m in drawn.items()}
    assert shown == {"tank": (Shape.TANK, "tank.level"), "press": (Shape.MACHINE, "press.state")}
    assert drawn["press"].on == (), "nobody said in which state it is on"


def test_what_has_a_place_is_drawn_though_it_is_only_a_part(tmp_path: Path) -> None:
    assert "tank" in marks(plant(tmp_path)) and "site" not in marks(plant(tmp_path))


def test_the_plant_says_point_sign_and_in_which_values_it_is_filled(tmp_path: Path) -> None:
    said = marks(plant(tmp_path, mark(point='"state"', shape='"pump"', on='["Execute"]')))["press"]
    assert (said.shape, said.point and said.point.property, said.on) == (Shape.PUMP, "state", (6.0,))


def test_values_are_called_as_the_model_and_the_plant_call_them(tmp_path: Path) -> None:
    made = plant(tmp_path, mark(point='"jammed"', words='["runs", "jammed"]'))
    named = ("press.state", "press.jammed", "tank.valve", "tank.valve_open")
    names = {p: dict(value_names(made, made.point(p))) for p in named}
    assert names == {
        "press.state": {4.0: "Idle", 6.0: "Execute"},
        "press.jammed": {0.0: "runs", 1.0: "jammed"},
        "tank.valve": {0.0: "off", 1.0: "on"},
        "tank.valve_open": {0.0: "no", 1.0: "yes"},
    }
    assert value_names(made, made.point("tank.level")) == {}
    assert marks(made)["press"].on == (1.0,)
    assert (title(made, made.point("press.state")), title(made, made.point("plc.state"))) == ("State now", "")
    assert (kind_name(made, "dtmi:test:Press;1"), kind_name(made, "dtmi:x:Unheard;1")) == ("Forging press", "Unheard")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"point": '"stat"'}, "dtmi:test:Press;1 has no property 'stat'; did you mean state?"),
        ({"shape": '"star"'}, "shape = 'star'"),
        ({"point": '"state"', "on": '["Exec"]'}, "state is never 'Exec'; did you mean Execute?"),
        ({"point": '"jammed"', "on": '["yes"]'}, "on needs a point that is an enum"),
        ({"point": '"state"', "words": '["a", "b"]'}, "words need a point that is a boolean"),
        ({"point": '"jammed"', "words": '["a"]'}, "words = ['a']"),
        ({"colour": '"red"'}, "a mark has no setting 'colour'"),
    ],
)
def test_a_wrong_mark_is_named_with_its_line_and_fix(tmp_path: Path, row: dict[str, str], said: str) -> None:
    with pytest.raises(BadPlant) as caught:
        plant(tmp_path, mark(**row))
    (mistake,) = caught.value.mistakes
    assert said in str(mistake) and mistake.file == "plant.toml" and mistake.line > PLANT.count("\n")


def test_an_interface_has_one_mark_and_is_one_of_the_plant(tmp_path: Path) -> None:
    with pytest.raises(BadPlant, match="two marks"):
        plant(tmp_path, mark() + mark())
    with pytest.raises(BadPlant, match="unknown Interface"):
        plant(tmp_path, '\n[[mark]]\ninterface = "dtmi:test:Pres;1"\n')
