"""The map of the served Modbus device: every mistake has its line and its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.modbus.address import parse_address
from protocols.modbus.map import Aspect, Row, check_map, read_map
from twin.points import Point
from twin.schema import Enum, EnumValue

POINTS = {
    p.name: p
    for p in (
        Point(0, "tank.level", "tank", "level", "double", "m", "plc", ""),
        Point(1, "pump.run", "pump", "run", "boolean", "", "plc", "", writable=True),
        Point(2, "pump.mode", "pump", "mode", "enum", "", "plc", "", schema=Enum("integer", (EnumValue("off", 0),))),
        Point(3, "pump.name", "pump", "name", "string", "", "plc", ""),
        Point(4, "pump.data", "pump", "data", "object", "", "plc", ""),
    )
}
RIGHT = """point,address,scale,offset
# levels in millimetres
tank.level,holding:0:uint16,0.001,
tank.level:good,discrete:0,,
tank.level:quality,input:0:uint32,,
pump.run,coil:0,,
pump.run,holding:1:bit3,,
pump.mode,holding:2,,
pump.name,input:10:string8,,
:heartbeat,input:20,,
"""
SETTINGS = {"map": "map.csv", "bad": "exception"}


def wrong(folder: Path, text: str, **settings: object) -> list[str]:
    (folder / "map.csv").write_text(text)
    return [str(m) for m in check_map(folder, {**SETTINGS, **settings}, POINTS)]


def test_a_right_map_is_read_as_it_is_meant(tmp_path: Path) -> None:
    assert wrong(tmp_path, RIGHT) == []
    rows = [row for _, row in read_map(tmp_path / "map.csv")[0]]
    assert rows[0] == Row("tank.level", Aspect.VALUE, parse_address("holding:0:uint16"), 0.001)
    assert [r.aspect for r in rows[1:3]] == [Aspect.GOOD, Aspect.QUALITY]
    assert rows[-1] == Row("", Aspect.HEARTBEAT, parse_address("input:20"))


MISTAKES = [
    ("tank.levle,holding:0", "map.csv:2: 'tank.levle' is no point; did you mean tank.level?"),
    ("tank.level,holding:x", "map.csv:2: 'holding:x' is not a Modbus address"),
    ("tank.level,coil:0", "map.csv:2: 'coil:0' is one bit, the point is double"),
    (
        "tank.level,holding:0:int16:sf=1",
        "map.csv:2: 'holding:0:int16:sf=1': a served value has its scale in the column",
    ),
    ("tank.level:old,holding:0", "map.csv:2: 'tank.level:old': write point, point:good, point:quality or :heartbeat"),
    ("pump.data,holding:0", "map.csv:2: 'holding:0:uint16': Modbus carries no structured points"),
    ("pump.name,holding:0", "map.csv:2: 'holding:0:uint16': the point is text"),
    ("tank.level:quality,holding:0:uint16", "map.csv:2: a status code has 32 bits; use uint32"),
    (":heartbeat,coil:0", "map.csv:2: the heartbeat counts; give it a register"),
    ("tank.level,holding:0\ntank.level:good,holding:0:bit1", "map.csv:3: cell 0 is that of line 2, too; move one"),
]


@pytest.mark.parametrize(("rows", "said"), MISTAKES)
def test_a_mistake_names_line_and_fix(tmp_path: Path, rows: str, said: str) -> None:
    (found,) = wrong(tmp_path, f"point,address\n{rows}\n")
    assert found.startswith(said)


def test_a_scale_is_a_number_other_than_nothing(tmp_path: Path) -> None:
    for scale in ("0", "nan", "x"):
        (found,) = wrong(tmp_path, f"point,address,scale\ntank.level,holding:0,{scale}\n")
        assert found.startswith("map.csv:2:")
    (found,) = wrong(tmp_path, "point,address,scale\npump.run,coil:0,2\n")
    assert "pump.run is boolean and has no scale" in found


def test_a_map_that_is_not_there_or_has_other_columns_is_told(tmp_path: Path) -> None:
    assert "none is named" in str(check_map(tmp_path, {**SETTINGS, "map": None}, POINTS)[0])
    assert "No such file" in str(check_map(tmp_path, {**SETTINGS, "map": "gone.csv"}, POINTS)[0])
    assert "columns point, register" in wrong(tmp_path, "point,register\n")[0]
    (tmp_path / "map.csv").write_bytes(b"point,address\n\xff")
    assert "not UTF-8" in str(check_map(tmp_path, SETTINGS, POINTS)[0])


def test_a_sentinel_needs_a_type_that_has_one(tmp_path: Path) -> None:
    found = wrong(tmp_path, "point,address\npump.run,coil:0\ntank.level,holding:0:float32\n", bad="sentinel")
    assert len(found) == 1
    assert "bit has no value that means" in found[0]
