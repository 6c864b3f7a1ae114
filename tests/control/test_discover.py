"""From a search to a plant folder: it loads as it is, stays what people made of it, and says what changed."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from control import discover as search
from control.discover import Outcome
from protocols.catalog import PROTOCOLS
from protocols.discovery import Found, FoundThing, FoundValue, Skipped
from tests.protocols.protocol_bench import device
from twin.errors import Conflict, NotFound, Refused
from twin.plant import Device, Plant
from twin.plantfile import load_plant
from twin.schema import Enum, EnumValue, Primitive, Schema

DOUBLE, INTEGER, TEXT, TRUTH = (Primitive(n) for n in ("double", "long", "string", "boolean"))
PLC = replace(device("opcua", "opc.tcp://127.0.0.1:4840/"), id="plc")
MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 1)))


def value(thing: str, name: str, schema: Any = DOUBLE, **more: Any) -> FoundValue:
    path = tuple(thing.split("/")) if thing else ()
    address = more.pop("address", f"ns=2;s={'.'.join((*path, name))}")
    return FoundValue(path, (name,), address, schema, **more)


def offered(*values: FoundValue, kinds: dict[str, str] | None = None, **more: Any) -> Found:
    """A device with these values, and the things around them; `kinds` are the types of some."""
    paths = dict.fromkeys(v.thing[:n] for v in values for n in range(1, len(v.thing) + 1))
    things = (FoundThing(p, kind := (kinds or {}).get("/".join(p), ""), kind) for p in paths)
    return Found(tuple(things), values, **more)


PUMPS = offered(
    value("Line/Pump 1", "Speed", unit="rpm", writable=True, low=0.0, high=3000.0),
    value("Line/Pump 1", "Running", TRUTH),
    value("Line/Pump 2", "Speed", unit="rpm", writable=True, low=0.0, high=3000.0),
    value("Line/Pump 2", "Running", TRUTH),
    value("Line/Tank", "Level", unit="m"),
    value("Line/Tank", "Mode", MODE, writable=True),
    value("Line/Tank", "Note", TEXT),
    skipped=(Skipped(("Line", "Tank", "Profile"), "ns=2;s=profile", 'an array of "Double"'),),
)


def written(folder: Path, found: Found, source: Device = PLC, update: bool = True, prune: bool = False) -> Outcome:
    target, outcome = search.compare(folder, source, found, prune)
    return search.write_out(target, outcome) if update or target.plant is None else outcome


def loaded(folder: Path) -> Plant:
    return load_plant(folder, {name: e.rules for name, e in PROTOCOLS.items()})


def rows(folder: Path) -> dict[str, dict[str, str]]:
    lines = [line for line in (folder / "points.csv").read_text().splitlines() if not line.startswith("#")]
    return {row["point"]: row for row in csv.DictReader(lines)}


def replaced(found: Found, address: str, **change: Any) -> Found:
    values = tuple(replace(v, **change) if v.address == address else v for v in found.values)
    return replace(found, values=values)


def without(found: Found, *addresses: str) -> Found:
    return replace(found, values=tuple(v for v in found.values if v.address not in addresses))


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


# --- a new plant -----------------------------------------------------------------------------------------------------


def test_a_found_device_becomes_a_plant_that_loads_as_it_is(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS)
    plant = loaded(tmp_path / "site")
    assert plant.notices == ()
    assert [t.id for t in plant.twins] == ["Line", "Line_Pump_1", "Line_Pump_2", "Line_Tank", "plc"]
    assert plant.twin("Line_Pump_1").name == "Line/Pump 1"
    speed = plant.point("Line_Pump_1.Speed")
    assert (speed.address, speed.type, speed.unit, speed.writable) == (
        "ns=2;s=Line.Pump 1.Speed",
        "double",
        "rpm",
        True,
    )
    assert (speed.low, speed.high) == (0.0, 3000.0)
    mode = plant.point("Line_Tank.Mode")
    assert mode.type == "enum" and mode.schema == MODE and mode.writable
    assert {(r.source, r.name, r.target) for r in plant.relationships} == {
        ("Line", "contains", t) for t in ("Line_Pump_1", "Line_Pump_2", "Line_Tank")
    }


def test_things_that_differ_by_a_number_only_are_of_one_interface(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS)
    plant = loaded(tmp_path / "site")
    assert plant.twin("Line_Pump_1").interface == plant.twin("Line_Pump_2").interface == "dtmi:discovered:plc:Pump;1"
    assert plant.twin("Line_Tank").interface == "dtmi:discovered:plc:Tank;1"


def test_things_of_one_type_are_of_one_interface_with_the_values_of_all(tmp_path: Path) -> None:
    found = offered(
        value("A", "x"), value("B", "x"), value("B", "y", unit="bar"), value("C", "x", TEXT),
        kinds=dict.fromkeys("ABC", "Motor Type"),
    )  # fmt: skip
    written(tmp_path / "site", found)
    plant = loaded(tmp_path / "site")
    assert plant.twin("A").interface == plant.twin("B").interface == "dtmi:discovered:plc:Motor_Type;1"
    assert set(plant.interfaces["dtmi:discovered:plc:Motor_Type;1"].fields) == {"x", "y"}
    # What contradicts the others gets an Interface of its own.
    assert plant.twin("C").interface == "dtmi:discovered:plc:Motor_Type_2;1"


def test_what_is_not_read_stands_in_the_sheet_as_a_comment(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS)
    last = (tmp_path / "site/points.csv").read_text().splitlines()[-1]
    assert last == "# not read: ns=2;s=profile Line/Tank/Profile: an array of 'Double'"


def test_values_without_a_thing_belong_to_the_device(tmp_path: Path) -> None:
    written(tmp_path / "site", offered(value("", "tank_1.level"), value("", "plc")))
    assert {p.name for p in loaded(tmp_path / "site").points if p.device} == {
        "plc_values.tank_1_level", "plc_values.plc"
    }  # fmt: skip


def test_a_password_stays_with_its_owner(tmp_path: Path) -> None:
    source = replace(PLC, endpoint="opc.tcp://anna:secret@127.0.0.1:4840/")
    outcome = written(tmp_path / "site", PUMPS, source)
    assert (tmp_path / "site/plant.toml").stat().st_mode & 0o077 == 0
    assert "secret" not in json.dumps(search.as_document(outcome, tmp_path))


def test_only_settings_that_were_given_are_written(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS, replace(PLC, settings=dict(PLC.settings) | {"timeout_s": 9.0}))
    text = (tmp_path / "site/plant.toml").read_text()
    assert "timeout_s = 9.0" in text and "queue_size" not in text


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(Refused, match=r"holds no plant\.toml"):
        written(tmp_path, PUMPS)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_a_plant_that_would_have_mistakes_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, outcome = search.compare(tmp_path / "site", PLC, PUMPS, False)
    monkeypatch.setattr(search, "cells_of", lambda row, device: {"point": "nonsense"})
    with pytest.raises(Refused, match="nothing was written"):
        search.write_out(target, outcome)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_offers_nothing_makes_no_plant(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="offers nothing"):
        written(tmp_path / "site", offered())
    assert list(tmp_path.iterdir()) == []


# --- the second time -------------------------------------------------------------------------------------------------


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_nothing_differs_when_nothing_changed(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS)
    before = everything(tmp_path / "site")
    outcome = written(tmp_path / "site", PUMPS)
    assert outcome.difference.is_empty and not outcome.written
    assert everything(tmp_path / "site") == before


CHANGED = replaced(
    without(
        offered(*PUMPS.values, value("Line/Pump 2", "Flow", unit="m3/h"), value("Line/Pump 3", "Speed", unit="rpm")),
        "ns=2;s=Line.Tank.Note",
    ),
    "ns=2;s=Line.Tank.Level",
    unit="mm",
    writable=True,
)


def test_a_difference_is_said_and_not_written_unless_asked_for(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS)
    before = everything(tmp_path / "site")
    change = written(tmp_path / "site", CHANGED, update=False).difference
    assert change.added == ("ns=2;s=Line.Pump 2.Flow", "ns=2;s=Line.Pump 3.Speed")
    assert [(g.point, g.path) for g in change.gone] == [("Line_Tank.Note", "Line/Tank/Note")]
    assert {(c.point, c.what, c.before, c.after) for c in change.changed} == {
        ("Line_Tank.Level", "unit", "m", "mm"), ("Line_Tank.Level", "access", "r", "rw")
    }  # fmt: skip
    assert everything(tmp_path / "site") == before


def test_an_update_takes_over_what_the_device_changed(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS)
    written(tmp_path / "site", CHANGED)
    plant = loaded(tmp_path / "site")
    assert plant.point("Line_Pump_2.Flow").unit == "m3/h"
    assert plant.twin("Line_Pump_3").interface == plant.twin("Line_Pump_2").interface
    level = plant.point("Line_Tank.Level")
    assert (level.unit, level.scale, level.writable) == ("m", 0.001, True)
    assert "Line_Tank.Note" in plant.point_of_name  # gone, but never removed unasked
    again = written(tmp_path / "site", CHANGED)
    assert not again.difference.added and not again.difference.changed
    assert [g.point for g in again.difference.gone] == ["Line_Tank.Note"]


def test_pruning_removes_what_is_gone_with_twins_that_it_leaves_empty(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS)
    less = without(PUMPS, *(v.address for v in PUMPS.values if "Pump 1" in v.address))
    written(tmp_path / "site", less, prune=True)
    plant = loaded(tmp_path / "site")
    assert "Line_Pump_1" not in plant.twin_of_id and not any("Pump_1" in p for p in plant.point_of_name)
    assert "Line_Pump_2" in plant.twin_of_id
    assert written(tmp_path / "site", less).difference.is_empty


def test_what_people_changed_stays(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    edit(site / "points.csv", "Line_Tank.Level,plc,ns=2;s=Line.Tank.Level,double,m,,r,,,",
         "# calibrated 2026-11-02\nbasin.Level,plc,ns=2;s=Line.Tank.Level,double,m,0.01,r,yes,0,6")  # fmt: skip
    edit(site / "points.csv", "Line_Tank.", "basin.")
    edit(site / "plant.toml", 'id = "Line_Tank"\n', 'id = "basin"\n')
    edit(site / "plant.toml", 'name = "Line/Tank"', 'name = "The basin"  # as the crew calls it')
    edit(site / "plant.toml", 'target = "Line_Tank"', 'target = "basin"')
    found = replaced(
        offered(*PUMPS.values, value("Line/Tank", "Inflow", unit="L/s")), "ns=2;s=Line.Tank.Level", scale=10.0
    )
    outcome = written(site, found)
    assert [(c.what, c.kept) for c in outcome.difference.changed] == [("scale", "kept: edited by hand")]
    row = rows(site)["basin.Level"]
    assert (row["scale"], row["audit"], row["high"]) == ("0.01", "yes", "6")
    assert "# calibrated 2026-11-02\n" in (site / "points.csv").read_text()
    assert "# as the crew calls it" in (site / "plant.toml").read_text()
    plant = loaded(site)
    assert plant.point("basin.Inflow").unit == "L/s"  # what is new goes where people put the rest
    assert "Line_Tank" not in plant.twin_of_id


def test_what_people_put_into_another_whole_stays_there(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    line = loaded(site).twin("Line").interface
    edit(site / "plant.toml", 'source = "Line"\nname = "contains"\ntarget = "Line_Tank"',
         'source = "Hall"\nname = "contains"\ntarget = "Line_Tank"')  # fmt: skip
    with (site / "plant.toml").open("a") as file:
        file.write(f'\n[[twin]]\nid = "Hall"\ninterface = "{line}"\n')
    written(site, offered(*PUMPS.values, value("Line/Tank", "Inflow", unit="L/s")))
    plant = loaded(site)
    assert plant.point("Line_Tank.Inflow").unit == "L/s"
    assert [r.source for r in plant.relationships if r.target == "Line_Tank"] == ["Hall"]


def test_a_row_that_people_removed_does_not_come_back(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    lines = (site / "points.csv").read_text().splitlines(keepends=True)
    (site / "points.csv").write_text("".join(line for line in lines if not line.startswith("Line_Tank.Note")))
    outcome = written(site, PUMPS)
    assert outcome.difference.left_out == ("ns=2;s=Line.Tank.Note",) and outcome.difference.added == ()
    assert "Line_Tank.Note" not in rows(site)


def test_nodes_that_were_numbered_anew_keep_their_points(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    moved = replace(PUMPS, values=tuple(replace(v, address=v.address.replace("ns=2", "ns=3")) for v in PUMPS.values))
    change = written(site, moved).difference
    assert not change.added and not change.gone and {c.what for c in change.changed} == {"address"}
    assert all(row["address"].startswith("ns=3") for row in rows(site).values())
    assert len(rows(site)) == len(PUMPS.values)


def test_a_type_that_all_twins_change_is_declared_anew(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    found = PUMPS
    for pump in (1, 2):
        found = replaced(found, f"ns=2;s=Line.Pump {pump}.Running", schema=MODE)
    written(site, found)
    assert loaded(site).point("Line_Pump_1.Running").schema == MODE
    # One alone would contradict the other: it is said, and left to people.
    one = replaced(found, "ns=2;s=Line.Pump 1.Running", schema=DOUBLE)
    (change,) = [c for c in written(site, one).difference.changed if c.what == "type"]
    assert change.kept.startswith("kept: other points") and loaded(site).point("Line_Pump_1.Running").type == "enum"


def test_new_names_of_an_enumeration_are_taken_over(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    more = Enum("integer", (*MODE.values, EnumValue("manual", 2)))
    written(site, replaced(PUMPS, "ns=2;s=Line.Tank.Mode", schema=more))
    assert loaded(site).point("Line_Tank.Mode").schema == more


def test_what_was_not_looked_at_is_not_gone(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    part = replace(PUMPS, values=PUMPS.values[:2])
    assert written(site, replace(part, complete=False)).difference.is_empty
    assert written(site, replace(part, scope=("Line", "Pump 1"))).difference.is_empty
    assert written(site, PUMPS).difference.is_empty


def test_a_second_device_joins_the_plant_of_the_first(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    written(site, PUMPS, replace(PLC, id="other", endpoint="opc.tcp://127.0.0.2:4840/"))
    plant = loaded(site)
    assert {d.id for d in plant.devices} == {"plc", "other"}
    assert len([p for p in plant.points if p.device == "other"]) == len(PUMPS.values)
    assert written(site, PUMPS).difference.is_empty


def test_another_device_of_the_same_id_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "site", PUMPS)
    with pytest.raises(Conflict, match=r"127\.0\.0\.1:4840"):
        written(tmp_path / "site", PUMPS, replace(PLC, endpoint="opc.tcp://127.0.0.2:4840/"))


def test_a_plant_written_by_hand_is_only_added_to(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, PUMPS)
    (site / "discovered/plc.csv").unlink()
    before = rows(site)
    outcome = written(site, replaced(CHANGED, "ns=2;s=Line.Pump 1.Running", schema=DOUBLE))
    assert [g.point for g in outcome.difference.gone] == ["Line_Tank.Note"]
    assert {c.kept for c in outcome.difference.changed} == {"kept: edited by hand"}
    after = rows(site)
    assert {p: after[p] for p in before} == before and set(after) - set(before) == {
        "Line_Pump_2.Flow",
        "Line_Pump_3.Speed",
    }


def test_a_spreadsheets_line_ends_columns_and_byte_order_mark_stay(tmp_path: Path) -> None:
    site = tmp_path / "site"
    written(site, without(PUMPS, *(v.address for v in PUMPS.values if v.low == 0.0)))
    text = (site / "points.csv").read_text().replace(",audit,low,high", ",audit").replace(",,,\n", ",\n")
    (site / "points.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    written(site, PUMPS)
    after = (site / "points.csv").read_bytes()
    assert after.startswith(b"\xef\xbb\xbfpoint,") and after.count(b"\r\n") == after.count(b"\n")
    assert loaded(site).point("Line_Pump_1.Speed").high == 3000.0


# --- whatever a device says ------------------------------------------------------------------------------------------

NAMES = st.text(min_size=1, max_size=6)
SCHEMAS: st.SearchStrategy[Schema] = st.sampled_from([DOUBLE, INTEGER, TEXT, TRUTH, MODE])


@st.composite
def devices(draw: st.DrawFn) -> Found:
    """Things of any names, some of them typed, with values that may contradict each other."""
    values: dict[tuple[str, ...], FoundValue] = {}
    for number in range(draw(st.integers(0, 12))):
        path = tuple(draw(st.lists(NAMES, max_size=3)))
        name = (draw(NAMES),)
        if (*path, *name) in values:
            continue
        schema = draw(SCHEMAS)
        is_number = schema in (DOUBLE, INTEGER)
        values[(*path, *name)] = FoundValue(
            path, name, f"ns=2;i={number}", schema, draw(st.sampled_from(["", "m", "mm", "degC"])) if is_number else "",
            draw(st.sampled_from([1.0, 0.1])) if is_number else 1.0, writable=draw(st.booleans()) and schema != TEXT,
            display=draw(NAMES), description=draw(st.text(max_size=20)), note=draw(st.text(max_size=10)),
        )  # fmt: skip
    kinds = draw(st.sampled_from(["", "Motor", "Mötor"]))
    paths = dict.fromkeys(v.thing[:n] for v in values.values() for n in range(1, len(v.thing) + 1))
    things = tuple(FoundThing(p, kinds if len(p) == 1 else "", kinds) for p in paths)
    return Found(things, tuple(values.values()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(devices(), devices())
def test_whatever_a_device_says_the_plant_loads_and_a_search_settles(
    tmp_path_factory: pytest.TempPathFactory, first: Found, second: Found
) -> None:
    folder = tmp_path_factory.mktemp("any") / "site"
    assume(first.values)
    for found in (first, second, first):
        written(folder, found)
        assert {p.address for p in loaded(folder).points if p.device} >= {v.address for v in found.values}
        again = written(folder, found)
        assert not again.difference.added
        assert all(c.kept for c in again.difference.changed), again.difference
