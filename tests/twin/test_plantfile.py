"""The plant loader: a right plant loads; every mistake is named with file, line and fix, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.twin import machine
from tests.twin.plants import PLANT, POINTS, RULES, SITE, TANK, interface, write
from twin.errors import BadPlant, NotFound
from twin.places import MISTAKES_MAX
from twin.plantfile import load_plant


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(BadPlant) as caught:
        load_plant(folder, RULES)
    return [str(m) for m in caught.value.mistakes]


def test_a_right_plant_loads_with_dense_ids_and_converted_units(tmp_path: Path) -> None:
    plant = load_plant(write(tmp_path), RULES)
    assert [p.id for p in plant.points] == list(range(len(plant.points)))
    level = plant.point("tank.level")
    assert (level.unit, level.scale, level.low, level.high) == ("m", 0.01, 0.0, 10.0)
    assert plant.devices[0].settings == {"poll_s": 0.5}
    assert plant.feedback_of_point["tank.valve"].feedback == "tank.valve_open"


def test_every_device_gets_a_twin_with_the_state_of_its_link(tmp_path: Path) -> None:
    plant = load_plant(write(tmp_path), RULES)
    assert plant.point("plc.state").type == "string"
    assert plant.point("plc.online").device == ""


def test_an_endpoint_can_be_replaced_without_touching_the_file(tmp_path: Path) -> None:
    plant = load_plant(write(tmp_path), RULES, {"plc": "wire://there"})
    assert plant.devices[0].endpoint == "wire://there"
    with pytest.raises(BadPlant, match="unknown device 'nobody'"):
        load_plant(tmp_path, RULES, {"nobody": "wire://x"})


def test_a_folder_without_a_plant_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"plant\.toml"):
        load_plant(tmp_path, RULES)


def line(text: str, part: str, nth: int = 0) -> int:
    hits = [n for n, row in enumerate(text.splitlines(), 1) if part in row]
    return hits[nth]


PLANT_MISTAKES = [
    ('protocol = "wire"', 'protocol = "wired"', "protocol", "unknown protocol 'wired'; one of wire"),
    ('endpoint = "wire://here"', 'endpoint = "http://x"', "endpoint", "endpoint 'http://x'; write it as wire://host"),
    ("poll_s = 0.5", "poll_s = 0.01", "poll_s", "poll_s = 0.01 is outside 0.1 … 60"),
    ("poll_s = 0.5", 'poll_s = "fast"', "poll_s", "poll_s = 'fast' is not a float"),
    ("poll_s = 0.5", "pol_s = 0.5", "pol_s", "wire has no setting 'pol_s'; did you mean poll_s?"),
    ('id = "tank"', 'id = "site"', "site", "twin 'site' is declared twice"),
    ('interface = "dtmi:test:Tank;1"', 'interface = "dtmi:test:Tnak;1"', "Tnak", "did you mean dtmi:test:Tank;1"),
    ("at = [1, 2]", "at = [1]", "at", "give two numbers: at = [x, y]"),
    ('target = "tank"', 'target = "tnak"', "tnak", "target 'tnak' is no twin; did you mean tank?"),
    ('name = "contains"', 'name = "contain"', '"contain"', "Site has no relationship 'contain'"),
    ('point = "tank.valve"', 'point = "tank.level"', "tank.level", "tank.level is not writable"),
    ('clock = "site.clock"', 'clock = "site.clok"', "clok", "clock 'site.clok' is no point; did you mean site.clock?"),
    ('id = "tiny"', 'idd = "tiny"', "idd", "plant has an unknown key 'idd'; did you mean id?"),
]


@pytest.mark.parametrize(("right", "wrong", "near", "said"), PLANT_MISTAKES)
def test_a_mistake_in_the_plant_file_is_named_with_line_and_fix(
    tmp_path: Path, right: str, wrong: str, near: str, said: str
) -> None:
    spoilt = PLANT.replace(right, wrong, 1) if right != 'id = "tank"' else PLANT.replace(right, wrong)
    found = mistakes(write(tmp_path, plant=spoilt))
    wanted = [m for m in found if said in m]
    assert wanted, found
    lines = [n for n, row in enumerate(spoilt.splitlines(), 1) if near in row]
    assert int(wanted[0].split(":")[1]) in lines, wanted


POINT_MISTAKES = [
    ("tank.level,plc", "tnak.level,plc", "unknown twin 'tnak'; did you mean tank?"),
    ("tank.level,plc", "tank.levle,plc", "Tank has no Property or Telemetry 'levle'; did you mean level"),
    ("tank.level,plc", "tank.level,pcl", "unknown device 'pcl'; did you mean plc?"),
    ("plc,a1", "plc,b1", "address 'b1'; write it as a<number>"),
    ("double,cm", "float,cm", "type 'float'; one of double"),
    ("double,cm", "boolean,cm", "type boolean, but the Interface says double"),
    ("double,cm", "double,bar", "'bar' measures pressure, 'm' measures length"),
    ("double,cm", "double,cmm", "unknown unit 'cmm'; did you mean"),
    ("cm,1,r", "cm,one,r", "scale 'one' is not a number"),
    ("cm,1,r", "cm,0,r", "scale 0 would make every value 0"),
    ("cm,1,r", "cm,1,x", "access 'x'; one of r, rw"),
    ("r,no,0,10", "r,maybe,0,10", "audit 'maybe'; one of"),
    ("r,no,0,10", "r,no,10,0", "low 10 is above high 0"),
    ("r,no,0,10", "rw,no,0,10", "tank.level is written, but its Interface does not allow it"),
    ("r,no,0,10", "r,no,0", "9 cells, the first line has 10"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), POINT_MISTAKES)
def test_a_mistake_in_the_points_is_named_with_line_and_fix(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    found = mistakes(write(tmp_path, points=POINTS.replace(right, wrong, 1)))
    wanted = [m for m in found if said in m]
    assert wanted, found
    assert wanted[0].startswith("points.csv:3:"), wanted


def test_a_duplicate_point_names_both_lines(tmp_path: Path) -> None:
    found = mistakes(write(tmp_path, points=POINTS + "tank.level,plc,a9,double,m,,r,no,,\n"))
    assert found == ["points.csv:6: duplicate point tank.level; line 3 has it already"]


def test_parts_that_form_a_circle_are_refused(tmp_path: Path) -> None:
    circle = '\n[[relationship]]\nsource = "tank"\nname = "contains"\ntarget = "site"\n'
    found = mistakes(write(tmp_path, plant=PLANT + circle))
    assert len(found) == 1
    assert "parts form a circle:" in found[0]


def test_a_part_is_in_one_whole_by_whatever_name(tmp_path: Path) -> None:
    twins = "".join(f'\n[[twin]]\nid = "{n}"\ninterface = "dtmi:test:Site;1"\n' for n in ("east", "west"))
    rows = "".join(
        f'\n[[relationship]]\nsource = "{source}"\nname = "contains"\ntarget = "tank"\n' for source in ("east", "west")
    )
    found = mistakes(write(tmp_path, plant=PLANT + twins + rows))
    assert len(found) == 2  # the plant has it in `site`
    assert all("tank is a part of site already; a twin is a part of one other" in m for m in found), found
    assert load_plant(write(tmp_path), RULES).relationships


def test_flows_may_form_a_circle(tmp_path: Path) -> None:
    loop = '\n[[relationship]]\nsource = "tank"\nname = "feeds"\ntarget = "tank"\n'
    assert load_plant(write(tmp_path, plant=PLANT + loop), RULES).relationships[-1].name == "feeds"


def test_a_target_of_the_wrong_interface_is_refused(tmp_path: Path) -> None:
    wrong = '\n[[relationship]]\nsource = "tank"\nname = "feeds"\ntarget = "site"\n'
    found = mistakes(write(tmp_path, plant=PLANT + wrong))
    assert "feeds leads to dtmi:test:Tank;1, but site is dtmi:test:Site;1" in found[0]


INTERFACE_MISTAKES = [
    (TANK.replace("context;3", "context;4"), "not supported: dtmi:dtdl:context;4"),
    (TANK.replace('"schema": "double"', '"schema": "quad"'), "schema quad is not known"),
    (TANK.replace('"metre"', '"meter"'), "unit 'meter' is not known"),
    (TANK.replace("dtmi:test:Tank;1", "tank"), "@id 'tank' is not a DTMI"),
    (TANK.replace('"level"', '"valve"'), "valve is declared twice"),
    (TANK[:-10], "not JSON"),
    (interface("Tank", [], extends="dtmi:test:Gone;1"), "extends unknown Interface dtmi:test:Gone;1"),
    (interface("Tank", [], extends="dtmi:test:Tank;1"), "extends itself"),
    (
        interface("Tank", [{"@type": "Component", "name": "c", "schema": "dtmi:x;1"}]),
        "component c is of unknown Interface dtmi:x;1",
    ),
]


@pytest.mark.parametrize(("text", "said"), INTERFACE_MISTAKES)
def test_a_mistake_in_an_interface_names_its_file(tmp_path: Path, text: str, said: str) -> None:
    found = mistakes(write(tmp_path, Tank=text))
    assert any(m.startswith("interfaces/Tank.json:") and said in m for m in found), found


def test_an_interface_inherits_fields_and_relationships(tmp_path: Path) -> None:
    big = interface("Big", [{"@type": "Telemetry", "name": "lid", "schema": "boolean"}], extends="dtmi:test:Tank;1")
    plant = load_plant(write(tmp_path, PLANT.replace("dtmi:test:Tank;1", "dtmi:test:Big;1"), Big=big), RULES)
    assert set(plant.interfaces["dtmi:test:Big;1"].fields) == {"level", "valve", "valve_open", "lid"}


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    found = mistakes(
        write(
            tmp_path,
            plant=PLANT.replace('protocol = "wire"', 'protocol = "x"').replace('target = "tank"', 'target = "y"'),
            points=POINTS.replace("double,cm", "double,parsec").replace("site.clock,plc", "site.clock,gone"),
            Site=SITE.replace("second", "sec"),
        )
    )
    assert len({m.split(":")[0] for m in found}) == 3
    assert len(found) >= 5


@pytest.mark.parametrize(
    "text", ["", "[plant", "plant = 3", "[[plant]]\nid='x'", "[plant]\nid = 3", "device = 1\n[plant]\nid='x'"]
)
def test_a_plant_file_of_any_shape_gives_mistakes_and_never_a_crash(tmp_path: Path, text: str) -> None:
    assert mistakes(write(tmp_path, plant=text))


@pytest.mark.parametrize("text", ["", "point;device\n", "a,b\n1,2\n", POINTS.replace(",", ";"), "\x00"])
def test_a_point_sheet_of_any_shape_gives_mistakes_and_never_a_crash(tmp_path: Path, text: str) -> None:
    assert mistakes(write(tmp_path, points=text))


def test_every_kind_of_value_has_a_point(tmp_path: Path) -> None:
    plant = machine.machine(tmp_path)
    assert {p.property: p.type for p in plant.points if p.twin == "pump"} == {
        "mode": "enum", "service": "object", "installed": "string", "drive.speed": "double", "drive.starts": "integer"
    }  # fmt: skip
    speed, height, mode = plant.point("pump.drive.speed"), plant.point("tank.height"), plant.point("pump.mode")
    assert (speed.scale, speed.unit, speed.deadband, speed.schema) == (pytest.approx(60.0), "rpm", 30.0, None)
    assert (height.deadband, mode.writable) == (0.01, True)
    assert mode.schema == plant.interfaces["dtmi:test:Pump;1"].fields["mode"].schema


def test_notices_stop_no_plant(tmp_path: Path) -> None:
    assert [n.what for n in machine.machine(tmp_path).notices] == ["properties of relationship feeds"]


VALUE_MISTAKES = [
    ("pump.mode,plc,a1,enum,,,rw", "pump.mode,plc,a1,integer,,,rw", "type integer, but the Interface says enum"),
    ("pump.mode,plc,a1,enum,,,rw", "pump.mode,plc,a1,enum,,2,rw", "a point of type enum with a scale or a unit"),
    ("a2,object,,,r,", "a2,object,,,rw,", "pump.service is structured, and commands carry numbers"),
    ("3000,1%", "3000,-1", "deadband '-1'"),
    ("3000,1%", "3000,101%", "deadband '101%'"),
    ("3000,1%", "3000,few", "deadband 'few'"),
    ("0,3000,1%", "0,,1%", "deadband 1% of an open range; give low and high"),
    ("r,no,,,\ntank.height", "r,no,,,\ntank.heigt", "did you mean height"),
    (
        "tank.full,plc,a7,boolean,,,r,no,,,",
        "tank.full,plc,a7,boolean,,,r,no,,,1",
        "a deadband for a point of type boolean",
    ),
    ("pump.drive.speed", "pump.drive.sped", "did you mean drive.speed"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), VALUE_MISTAKES)
def test_a_mistake_about_values_names_its_fix(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert right in machine.POINTS
    found = mistakes(machine.write_machine(tmp_path, points=machine.POINTS.replace(right, wrong, 1)))
    assert [m for m in found if said in m and m.startswith("points.csv:")], found


def test_more_relationships_than_the_interface_allows_are_refused(tmp_path: Path) -> None:
    more = '\n[[twin]]\nid = "basin"\ninterface = "dtmi:test:Vessel;1"\n'
    more += '\n[[relationship]]\nsource = "pump"\nname = "feeds"\ntarget = "basin"\n'
    found = mistakes(machine.write_machine(tmp_path, plant=machine.PLANT + more))
    assert ["more than 1 relationships 'feeds'" in m for m in found] == [True]


def test_a_thousand_mistakes_are_enough_and_name_the_nearest_of_many_names(tmp_path: Path) -> None:
    twins = "".join(f'[[twin]]\nid = "pump_{n}"\ninterface = "dtmi:test:Tank;1"\n' for n in range(1_500))
    sheet = POINTS + "".join(f"pmup_{n}.level,plc,a{n},double,m,1,r,no,,\n" for n in range(1_500))
    with pytest.raises(BadPlant) as caught:
        load_plant(write(tmp_path, plant=PLANT + twins, points=sheet), RULES)
    assert len(caught.value.mistakes) == MISTAKES_MAX + 1
    assert "did you mean pump_7" in str(caught.value.mistakes[7])
    assert "stopped here" in str(caught.value.mistakes[-1])
