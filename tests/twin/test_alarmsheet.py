"""[[alarm]], [[alarm_rule]] and [alarms] of plant.toml: one row for many twins, exceptions, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.plants import read_plant
from tests.control.served_plant import read_plant as read_works
from tests.control.served_plant import write_plant
from twin.alarm import AlarmPlan, Doing, Kind, Priority, Settings
from twin.errors import BadPlant

SHIPPED = Path(__file__).parents[2] / "scenarios"
HIGH = '[[alarm]]\nid = "high"\ninterface = "dtmi:works:Pump;1"\nproperty = "speed"\nhi = 100\n'


def plan(folder: Path, rows: str) -> AlarmPlan:
    return read_works(write_plant(folder, rows)).alarms


def test_one_row_serves_every_twin_of_an_interface_and_a_later_one_is_an_exception(tmp_path: Path) -> None:
    rows = HIGH.replace("speed", "status").replace("hi = 100", 'is = true\npriority = "high"')
    more = '[[alarm]]\nid = "high"\npoints = ["far.*"]\npriority = "low"\non_delay = "5s"\n'
    near, far = plan(tmp_path, rows + more).definitions
    assert (near.id, far.id) == ("pump.status:high", "far.status:high")
    assert (near.priority, far.priority, far.on_delay_s) == (Priority.HIGH, Priority.LOW, 5.0)
    assert near.condition == far.condition and near.condition.codes == (1.0,)


def test_an_exception_takes_away_and_except_leaves_out(tmp_path: Path) -> None:
    rows = HIGH.replace("speed", "status").replace("hi = 100", "is = true")
    off = '[[alarm]]\nid = "high"\ntwins = ["far"]\npoints = ["*.status"]\noff = true\n'
    assert [d.twin for d in plan(tmp_path / "a", rows + off).definitions] == ["pump"]
    assert [d.twin for d in plan(tmp_path / "b", rows + 'except = ["pump"]\n').definitions] == ["far"]


def test_every_condition_is_read(tmp_path: Path) -> None:
    rows = {
        "a": "hihi = 5", "b": "lolo = 1", "c": "rise = 2", "d": "deviation = 3\nsetpoint = 7\nside = 'above'",
        "e": "stale = '30s'", "f": "quality = 'bad'", "g": "when = 'this.level > 2 m'",
    }  # fmt: skip
    text = "".join(f'[[alarm]]\nid = "{i}"\npoints = ["tank.level"]\n{row}\n' for i, row in rows.items())
    text += '[[alarm]]\nid = "h"\npoints = ["pump.mode"]\nis_not = ["auto", "hand"]\n'
    text += '[[alarm]]\nid = "i"\npoints = ["plc.state"]\nis = "offline"\n'
    found = {d.row: d for d in plan(tmp_path, text).definitions}
    kinds = [
        Kind.LIMIT,
        Kind.LIMIT,
        Kind.RATE,
        Kind.DEVIATION,
        Kind.STALE,
        Kind.QUALITY,
        Kind.GIVEN,
        Kind.STATE,
        Kind.GIVEN,
    ]
    assert [d.condition.kind for d in found.values()] == kinds
    assert (found["d"].condition.sign, found["d"].condition.reference) == (1, 7.0)
    assert found["h"].condition.codes == (4.0, 2.0) and found["h"].condition.negated
    assert found["i"].condition.texts == ("offline",)
    assert (found["e"].on_delay_s, found["a"].on_delay_s) == (10.0, 0.0)


def test_rules_and_settings_are_read(tmp_path: Path) -> None:
    rows = HIGH + (
        '[alarms]\noperators = 2\nshelve_operator = "2h"\nkeep = "30d"\n'
        '[[alarm_rule]]\nid = "stop"\nalarms = ["pump.*"]\nset = { pump.status = 0, "far.status" = true }\nper = "10m"\n'
        '[[alarm_rule]]\nid = "call"\nwebhook = "https://duty.example/x"\npriority = ["high"]\non = ["active", "cleared"]\n'
    )
    found = plan(tmp_path, rows)
    assert found.settings == Settings(2, 7200.0, 30.0)
    stop, call = found.rules
    assert (stop.doing, stop.sets, stop.per_s) == (Doing.SET, (("pump.status", 0.0), ("far.status", 1.0)), 600.0)
    assert stop.alarms == {"pump.speed:high"} and call.on == {"active", "cleared"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (HIGH.replace("hi = 100", ""), "without a condition"),
        (HIGH + "lo = 1", "hi and lo in one row"),
        (HIGH.replace('interface = "dtmi:works:Pump;1"', ""), "alarm without points"),
        (HIGH.replace('property = "speed"', ""), "alarm without property"),
        (HIGH.replace("Pump;1", "Pomp;1"), "unknown Interface"),
        (HIGH.replace('"speed"', '"spead"'), "is about no point"),
        (HIGH.replace('"speed"', '"status"'), "of type boolean"),
        (HIGH + 'priority = "urgent"', "priority = 'urgent'"),
        (HIGH + 'on_delay = "soon"', "is no duration"),
        (HIGH + 'on_delay = "2d"', "on_delay = '2d'"),
        (HIGH + "deadband = -1", "deadband"),
        (HIGH + 'except = ["pomp"]', "'pomp' is no twin"),
        (HIGH + 'suppress_when = "not this.runing"', "suppress_when"),
        (HIGH + 'colour = "red"', "no setting 'colour'"),
        (HIGH.replace("hi = 100", "deviation = 3"), "deviation from what?"),
        (HIGH.replace("hi = 100", 'deviation = 3\nfrom = "tank.level"'), "pump.speed is in %"),
        (HIGH.replace("hi = 100", 'predicted = ["*"]'), "looks ahead at no limit"),
        (HIGH + '[[alarm]]\nid = "high"\npoints = ["pump.speed"]\nlo = 3', "another condition above"),
        ('[[alarm]]\nid = "m"\npoints = ["pump.mode"]\nis = "dancing"', "is = 'dancing' of pump.mode"),
        ("[alarms]\noperators = 0", "operators"),
        ('[[alarm_rule]]\nid = "x"\nwebhook = "http://x"', "the plant has no alarm"),
        (HIGH + '[[alarm_rule]]\nid = "x"', "rule x does nothing"),
        (HIGH + '[[alarm_rule]]\nid = "x"\nwebhook = "ftp://x"', "webhook = 'ftp://x'"),
        (HIGH + '[[alarm_rule]]\nid = "x"\nalarms = ["tank.*"]\nwebhook = "http://x"', "'tank.*' is no alarm"),
        (HIGH + '[[alarm_rule]]\nid = "x"\nset = { "tank.level" = 1 }', "tank.level is not writable"),
        (HIGH + '[[alarm_rule]]\nid = "x"\nscenario = ["a=1"]', "no [model]"),
        (HIGH + '[[alarm_rule]]\nid = "x"\non = ["came"]\nwebhook = "http://x"', "on = ['came']"),
    ],
)
def test_every_mistake_is_said_with_its_line_and_its_fix(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(BadPlant) as error:
        plan(tmp_path, rows)
    text = (tmp_path / "plant.toml").read_text().splitlines()
    first = next(n for n, line in enumerate(text, 1) if line.startswith(("[[alarm", "[alarms")))
    assert any(said in m.message and m.line >= first and m.fix for m in error.value.mistakes), error.value


@pytest.mark.parametrize("name", ["water", "bottling"])
def test_the_shipped_plants_have_alarms_of_which_few_are_urgent(name: str) -> None:
    found = read_plant(SHIPPED / name, {})
    assert len(found.alarms.definitions) > 20
    assert not [n for n in found.notices if "priority" in n.what]
    assert all(d.response or d.message for d in found.alarms.definitions)
    assert {d.priority for d in found.alarms.definitions} == {Priority.HIGH, Priority.MEDIUM, Priority.LOW}


def test_a_plant_in_which_everything_is_urgent_is_told_so(tmp_path: Path) -> None:
    for path in (SHIPPED / "water").iterdir():
        (tmp_path / path.name).symlink_to(path.resolve())
    text = (SHIPPED / "water/plant.toml").read_text().replace('priority = "low"', 'priority = "high"')
    (tmp_path / "plant.toml").unlink()
    (tmp_path / "plant.toml").write_text(text)
    (notice,) = [n for n in read_plant(tmp_path, {}).notices if "priority" in n.what]
    assert "of priority high" in notice.what and "5%" in notice.meaning
