"""What a plant file asks of commands: rows become policies, interlocks, gaps and stops, or mistakes with line and fix."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.twin import machine
from tests.twin.plants import PLANT, POINTS, RULES, TANK, interface, write
from twin.controls import NO_CONTROLS, Stop
from twin.controlsheet import GUARDS_MAX, INTERLOCK, PACING, POLICY, SETS_MAX
from twin.errors import BadPlant
from twin.expression import parse
from twin.learnedsheet import LEARNED
from twin.plant import Plant
from twin.plantfile import load_plant
from twin.points import Point
from twin.policy import FREE, Policy, Preflight
from twin.quality import GOOD
from twin.readings import Readings
from twin.sheet import TABLES
from twin.table import PointTable

NOW = 1_800_000_000 * 10**9
GUIDE = Path(__file__).parents[2] / "docs/plant.md"
MORE_TWINS = """
[[twin]]
id = "tank_b"
interface = "dtmi:test:BigTank;1"
"""
MORE_POINTS = """tank.rate,plc,a4,double,%,,rw,no,0,100
tank_b.valve,plc,a5,boolean,,,rw,no,,
tank_b.valve_open,plc,a6,boolean,,,r,no,,
tank_b.rate,plc,a7,double,%,,rw,no,0,100
tank_b.spare.fault,plc,a8,boolean,,,r,no,,
tank.spare.fault,plc,a9,boolean,,,r,no,,
tank.spare.reset,plc,a10,boolean,,,rw,no,,
"""
SPARE = interface(
    "Spare",
    [
        {"@type": "Telemetry", "name": "fault", "schema": "boolean"},
        {"@type": "Property", "name": "reset", "schema": "boolean", "writable": True},
    ],
)
RATED = TANK.replace(
    '"name": "valve",',
    '"name": "rate", "schema": "double", "unit": "percent", "writable": true},\n'
    '{"@type": "Component", "name": "spare", "schema": "dtmi:test:Spare;1"},\n{"@type": "Property", "name": "valve",',
)
BIG = interface("BigTank", [], extends="dtmi:test:Tank;1")
MODEL = '[model]\nkind = "x"\n'


def folder(path: Path, rows: str) -> Path:
    return write(path, PLANT + MORE_TWINS + rows, POINTS + MORE_POINTS, Tank=RATED, BigTank=BIG, Spare=SPARE)


def load(path: Path, rows: str) -> Plant:
    return load_plant(folder(path, rows), RULES)


def mistakes(path: Path, rows: str) -> list[str]:
    with pytest.raises(BadPlant) as caught:
        load_plant(folder(path, rows), RULES)
    return [str(m) for m in caught.value.mistakes]


def table(plant: Plant, **values: float) -> PointTable:
    """The named points of twin `tank`, `tank_b` … (with __ for a dot) as just read."""
    made = PointTable.sized(plant.points.size)
    ids = [plant.point(name.replace("__", ".")).id for name in values]
    made.apply(Readings.of(ids, list(values.values()), NOW, GOOD))
    return made


# --- interlocks ------------------------------------------------------------------------------------------------------

DRY = """
[[interlock]]
id = "dry"
points = ["*.valve"]
require = "tank.level > 1.2 m and not this.spare.fault"
when = "value == on"
message = "nothing to let out"
"""


def test_an_interlock_guards_every_point_that_its_patterns_match_with_that_points_own_twin(tmp_path: Path) -> None:
    plant = load(tmp_path, DRY)
    (row,) = plant.controls.interlocks
    assert (row.id, row.points, row.max_age_s, row.emergency) == ("dry", ("tank.valve", "tank_b.valve"), 10.0, True)
    now = table(plant, tank__level=2.0, tank__spare__fault=0.0, tank_b__spare__fault=1.0).columns
    judge = plant.controls.judge
    assert judge(plant.point("tank.valve"), 1.0, now, NOW).allowed
    refused = judge(plant.point("tank_b.valve"), 1.0, now, NOW)
    assert refused.detail == (
        "interlock dry: not this.spare.fault does not hold: tank_b.spare.fault is on (nothing to let out)"
    )
    assert judge(plant.point("tank_b.valve"), 0.0, now, NOW).allowed
    assert judge(plant.point("tank_b.rate"), 50.0, now, NOW).allowed


def test_several_interlocks_of_a_point_all_judge(tmp_path: Path) -> None:
    rows = (
        DRY + '[[interlock]]\nid = "link"\ntwins = ["tank"]\nrequire = "plc.online"\nemergency = false\nmax_age_s = 2\n'
    )
    plant = load(tmp_path, rows)
    assert [i.points for i in plant.controls.interlocks][1] == ("tank.valve", "tank.rate", "tank.spare.reset")
    found = plant.controls.judge(plant.point("tank.valve"), 1.0, table(plant).columns, NOW)
    assert found.detail.count("interlock ") == 2
    calm = plant.controls.judge(plant.point("tank.rate"), 1.0, table(plant).columns, NOW, emergency=True)
    assert calm.allowed


def test_points_twins_and_interface_narrow_each_other(tmp_path: Path) -> None:
    rows = '[[interlock]]\nid = "x"\npoints = ["*.rate"]\ntwins = ["tank*"]\ninterface = "dtmi:test:BigTank;1"\nrequire = "on"\n'
    assert load(tmp_path, rows).controls.interlocks[0].points == ("tank_b.rate",)


def test_an_interlock_that_does_not_speak_of_its_target_is_read_once_for_all(tmp_path: Path) -> None:
    plant = load(tmp_path, '[[interlock]]\nid = "x"\npoints = ["*"]\nrequire = "tank.level > 1 m"\n')
    held = [g for guards in plant.controls.guards.values() for g in guards]
    assert len(held) == 5
    assert len({id(g.require) for g in held}) == 1


# --- policies --------------------------------------------------------------------------------------------------------


def test_a_later_policy_replaces_single_keys_of_earlier_ones(tmp_path: Path) -> None:
    rows = (
        '[[policy]]\ninterface = "dtmi:test:Tank;1"\nselect = true\nevery_s = 10\n'
        '[[policy]]\npoints = ["tank_b.*"]\nselect = false\napprovals = 1\napprover = "engineer"\n'
        '[[policy]]\npoints = ["*.rate"]\nstep_max = 20\nslew_per_s = 0.5\n'
    )
    plant = load(tmp_path, rows)
    of = {p.name: plant.controls.policy(p) for p in plant.points}
    assert of["tank.valve"] == Policy(select=True, every_s=10.0)
    assert of["tank_b.valve"] == Policy(every_s=10.0, approvals=1, approver="engineer")
    assert of["tank_b.rate"] == Policy(every_s=10.0, approvals=1, approver="engineer", step_max=20.0, slew_per_s=0.5)
    assert of["tank.level"] is FREE


def test_every_key_of_a_policy_reaches_the_policy(tmp_path: Path) -> None:
    rows = (
        '[[policy]]\npoints = ["tank.rate"]\nselect = true\nselect_timeout_s = 20\napprovals = 2\napprover = "admin"\n'
        'approval_timeout_s = 60\nevery_s = 3\nstep_max = 4\nslew_per_s = 5\npreflight = "refuse"\nhorizon = "2h"\n'
        'limits = ["tank.level<1", "tank.level > 9.5"]\nrisk_max = 0.1\n'
    )
    plant = load(tmp_path, rows + MODEL)
    policy = plant.controls.policy(plant.point("tank.rate"))
    assert policy == Policy(
        True, 20.0, 2, "admin", 60.0, 3.0, 4.0, 5.0, Preflight.REFUSE, 7200.0, ("tank.level<1", "tank.level > 9.5"), 0.1
    )
    unsaid = [f.name for f in fields(Policy) if getattr(policy, f.name) == getattr(FREE, f.name)]
    assert unsaid == [], "the row above says every key"


def test_points_of_one_policy_share_it(tmp_path: Path) -> None:
    plant = load(tmp_path, '[[policy]]\npoints = ["*"]\nselect = true\n')
    assert len({id(p) for p in plant.controls.policies.values()}) == 1
    assert len(plant.controls.policies) == 5


# --- pacing and stops ------------------------------------------------------------------------------------------------


def test_a_device_is_paced_by_the_last_row_that_names_it(tmp_path: Path) -> None:
    plant = load(tmp_path, '[[pacing]]\ndevices = ["*"]\ngap_s = 1\n[[pacing]]\ndevices = ["plc"]\ngap_s = 0.05\n')
    assert plant.controls.gap_s("plc") == 0.05
    assert plant.controls.gap_s("other") == 0.0


@pytest.mark.parametrize(
    "said", ['{ "tank.valve" = 0, "tank.rate" = 12.5 }', "{ tank.valve = false, tank.rate = 12.5 }"]
)
def test_a_stop_sets_its_points_in_order(tmp_path: Path, said: str) -> None:
    plant = load(tmp_path, f'[[stop]]\nid = "all"\nname = "All shut"\nset = {said}\n')
    assert plant.controls.stops == (Stop("all", "All shut", (("tank.valve", 0.0), ("tank.rate", 12.5))),)


def test_a_stop_names_the_value_of_an_enum(tmp_path: Path) -> None:
    rows = '[[stop]]\nid = "quiet"\nset = { "pump.mode" = "auto" }\n'
    plant = load_plant(machine.write_machine(tmp_path, machine.PLANT + rows), RULES)
    assert plant.controls.stops == (Stop("quiet", "quiet", (("pump.mode", 4.0),)),)


def test_a_limit_takes_numbers_and_yes_or_no_but_no_words(tmp_path: Path) -> None:
    ahead = MODEL + '[lookahead]\nlimits = ["{}"]\ncounters = ["tank.rate"]\n'
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    plant = load(tmp_path / "one", ahead.format("tank_b.valve_open>0"))
    assert plant.lookahead is not None
    assert (plant.lookahead.limits, plant.lookahead.counters) == (("tank_b.valve_open>0",), ("tank.rate",))
    with pytest.raises(BadPlant, match=r"pump.mode is of type enum; limit points that are numbers, or on and off"):
        load_plant(machine.write_machine(tmp_path, machine.PLANT + ahead.format("pump.mode<1")), RULES)
    with pytest.raises(BadPlant, match=r"'tank.rat' is no point.*did you mean tank.rate"):
        load(tmp_path / "two", ahead.format("tank.level<1").replace("tank.rate", "tank.rat"))


def test_a_plant_that_asks_for_nothing_lets_every_command_through(tmp_path: Path) -> None:
    plant = load(tmp_path, "")
    assert plant.controls == NO_CONTROLS
    point = plant.point("tank.valve")
    assert plant.controls.judge(point, 1.0, table(plant).columns, NOW).allowed
    assert (plant.controls.policy(point), plant.controls.gap_s("plc")) == (FREE, 0.0)
    assert math.isinf(FREE.step_max)


# --- mistakes --------------------------------------------------------------------------------------------------------

LOCK = '[[interlock]]\nid = "x"\npoints = ["tank.valve"]\nrequire = "plc.online"\n'
RULE = '[[policy]]\npoints = ["tank.rate"]\n'
HALT = '[[stop]]\nid = "x"\nset = { '
MISTAKES = [
    (
        LOCK.replace("plc.online", "plc.onlin"),
        "require",
        "require: column 1: 'plc.onlin' is no point; did you mean plc",
    ),
    (LOCK + 'when = "value > 3"\n', "when", "when: column 1: value (on or off) > 3 (a number); compare with on or off"),
    (
        LOCK.replace("plc.online", "this.spair.fault"),
        "require",
        "'tank.spair.fault' is no point; did you mean tank.spare",
    ),
    (
        LOCK.replace("plc.online", "tank.level > 1"),
        "require",
        "column 14: 1 has no unit, tank.level is in m; write 1 m",
    ),
    (LOCK.replace("plc.online", "(plc.online"), "require", "require: column 1: this bracket is not closed; add )"),
    (LOCK.replace('points = ["tank.valve"]\n', ""), "[[interlock]]", "interlock without points; add points = "),
    (LOCK.replace("tank.valve", "tank.valv"), "points =", "'tank.valv' is no point; did you mean tank.valve"),
    (LOCK.replace("tank.valve", "tank.level"), "points =", "tank.level is not writable; give it access rw"),
    (LOCK.replace("tank.valve", "*.level"), "points =", "'*.level' matches no point that can be commanded"),
    (LOCK.replace("tank.valve", "tank valve"), "points =", "'tank valve' is no pattern; use names, with *"),
    (LOCK.replace('["tank.valve"]', "[]"), "points =", "points = []; give a list of texts"),
    (LOCK.replace('["tank.valve"]', "[1]"), "points =", "points = [1]; give a list of texts"),
    (LOCK.replace('["tank.valve"]', '"tank.valve"'), "points =", "is not a list; write points as a list"),
    (LOCK.replace('points = ["tank.valve"]', 'twins = ["site"]'), "twins =", "site is not writable; give one of its"),
    (LOCK.replace('points = ["tank.valve"]', 'twins = ["tnk"]'), "twins =", "'tnk' is no twin; did you mean tank"),
    (LOCK.replace('points = ["tank.valve"]', 'interface = "dtmi:test:Tnk;1"'), "interface =", "unknown Interface"),
    (
        LOCK.replace('points = ["tank.valve"]', 'interface = "dtmi:test:Site;1"'),
        "interface =",
        "about no writable point",
    ),
    (LOCK + "max_age_s = 0\n", "max_age_s", "max_age_s = 0 is outside 0.1 … 86400; seconds after which"),
    (LOCK + 'emergency = "no"\n', "emergency", "emergency = 'no' is not a bool; true: it holds"),
    (LOCK + "max_aeg_s = 5\n", "max_aeg_s", "an interlock has no setting 'max_aeg_s'; did you mean max_age_s"),
    (LOCK + f'message = "{"x" * 201}"\n', "message", "the message has 201 characters; at most 200"),
    (LOCK + LOCK, 'id = "x"', "interlock 'x' is declared twice; rename one"),
    (LOCK.replace('"x"', '"x y"'), 'id = "x y"', "interlock id 'x y'; use letters, digits"),
    ('[[interlock]]\nid = "x"\npoints = ["tank.valve"]\n', "[[interlock]]", "interlock without require; add require"),
    (RULE, "[[policy]]", "a policy that asks for nothing; one of select"),
    (RULE + 'approver = "boss"\n', "approver", "approver = 'boss'; one of operator, supervisor, engineer, admin"),
    (RULE + "approvals = 9\n", "approvals", "approvals = 9 is outside 0 … 5; how many other people"),
    (RULE + "approvals = 1.5\n", "approvals", "approvals = 1.5 is not a int; how many other people"),
    (RULE + "risk_max = 2\n", "risk_max", "risk_max = 2 is outside 0 … 1; probability"),
    (RULE + "step_max = 0\n", "step_max", "step_max = 0 is outside 1e-09 … inf"),
    (
        RULE.replace("tank.rate", "tank.*") + "step_max = 3\n",
        "step_max",
        "step_max on tank.valve, which is of type boolean",
    ),
    (RULE + 'preflight = "warn"\n', "preflight", "the plant has no [model] to predict with; add [model]"),
    (RULE + 'preflight = "maybe"\n', "preflight", "preflight = 'maybe'; one of off, warn, refuse"),
    (RULE + 'horizon = "2 h"\n', "horizon", "horizon: '2 h' is no duration; write 90s"),
    (RULE + 'horizon = "30d"\n', "horizon", "horizon = '30d'; take 1m … 7d"),
    (
        RULE + 'limits = ["tank.level below 1"]\n',
        "limits",
        "limit 'tank.level below 1' is not understood; write point<value",
    ),
    (
        RULE + 'limits = ["tank.levl<1"]\n',
        "limits",
        "limit 'tank.levl<1': 'tank.levl' is no point; did you mean tank.level",
    ),
    (RULE + "selct = true\n", "selct", "a policy has no setting 'selct'; did you mean select"),
    ('[[pacing]]\ndevices = ["plk"]\ngap_s = 1\n', "devices", "'plk' is no device; did you mean plc"),
    ('[[pacing]]\ndevices = ["x*"]\ngap_s = 1\n', "devices", "'x*' matches no device"),
    ('[[pacing]]\ndevices = ["plc"]\n', "[[pacing]]", "pacing without gap_s; add gap_s"),
    ('[[pacing]]\ndevices = ["plc"]\ngap_s = -1\n', "gap_s", "gap_s = -1 is outside 0 … 3600; least seconds"),
    (HALT + "}\n", "set =", "stop x sets 0 points; give 1 …"),
    (HALT + '"tank.vlave" = 0 }\n', "set =", "'tank.vlave' is no point; did you mean tank.valve"),
    (HALT + '"tank.level" = 0 }\n', "set =", "tank.level is not writable; commands need access rw"),
    (HALT + '"tank.valve" = 3 }\n', "set =", "tank.valve is boolean, got 3; give 0 or 1"),
    (HALT + '"tank.rate" = 300 }\n', "set =", "300 % is outside 0 … 100 of tank.rate; stay inside"),
    (HALT + '"tank.rate" = "low" }\n', "set =", "str 'low' is no value of tank.rate; give a number"),
    (HALT + '"tank.rate" = true }\n', "set =", "bool 'True' is no value of tank.rate; give a number"),
    (HALT + '"tank.rate" = nan }\n', "set =", "value nan is not a finite number"),
    (HALT + '"tank.valve" = 0 }\ncolour = "red"\n', "colour", "stop has an unknown key 'colour'; one of id, name, set"),
    ('[[stop]]\nid = "x"\nset = 3\n', "set =", "set = 3 is not a table such as"),
    ('[stop]\nid = "x"\n', "[stop]", "[stop] stands alone; write it as [[stop]]"),
]


@pytest.mark.parametrize(("rows", "near", "said"), MISTAKES)
def test_a_mistake_names_line_and_fix(tmp_path: Path, rows: str, near: str, said: str) -> None:
    found = mistakes(tmp_path, rows)
    assert any(said in m for m in found), found
    text = (tmp_path / "plant.toml").read_text()
    lines = [
        n for n, line in enumerate(text.splitlines(), 1) if near in line and n > len((PLANT + MORE_TWINS).splitlines())
    ]
    assert any(m.startswith(f"plant.toml:{lines[-1]}: ") and said in m for m in found), (lines, found)


VALUES = st.sampled_from(
    ["0", "-1", "1e308", "nan", "inf", "9" * 400, "true", '"x"', '""', "[]", "[1]", '["tank.*"]', '["*"]', '["tank"]', "{}",
     "{ a = 1 }", '{ "tank.valve" = 1 }', "{ tank.rate = nan }", "[[1]]", '[{ a = 1 }]', "1979-05-27", '"this.rate > 1 %"',
     '"value == on"', '"2h"', '"warn"', '["tank.level<1"]', '"dtmi:test:Tank;1"', '"dtmi:test:Spare;1"']
)  # fmt: skip
TABLE_KEYS = {
    "interlock": [*TABLES["interlock"], *INTERLOCK],
    "policy": [*TABLES["policy"], *POLICY],
    "pacing": [*TABLES["pacing"], *PACING],
    "stop": [*TABLES["stop"]],
    "learned": [*TABLES["learned"], *LEARNED],
}
ROWS = st.sampled_from(sorted(TABLE_KEYS)).flatmap(
    lambda t: st.dictionaries(st.sampled_from([*TABLE_KEYS[t], "other"]), VALUES, max_size=8).map(lambda row: (t, row))
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_no_row_however_wrong_breaks_the_loader(tmp_path: Path, rows: list[tuple[str, dict[str, str]]]) -> None:
    text = "".join(f"[[{t}]]\n" + "".join(f"{k} = {v}\n" for k, v in row.items()) for t, row in rows)
    try:
        plant = load(tmp_path, text + MODEL)
    except BadPlant as error:
        assert all(m.fix and m.line for m in error.mistakes)
    else:
        for point in plant.points:
            plant.controls.judge(point, 1.0, table(plant).columns, NOW)


def test_a_sheet_with_mistakes_of_its_own_says_them_beside_the_interlocks(tmp_path: Path) -> None:
    spoiled = MORE_POINTS.replace("tank.rate,plc,a4,double,%", "tank.rate,plc,a4,doubel,furlong")
    plant = PLANT + MORE_TWINS + LOCK.replace("plc.online", "tank.rate > 1 % and tank.spare.fault")
    write(tmp_path, plant, POINTS + spoiled, Tank=RATED, BigTank=BIG, Spare=SPARE)
    with pytest.raises(BadPlant) as caught:
        load_plant(tmp_path, RULES)
    assert any("doubel" in m.message for m in caught.value.mistakes)


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    rows = LOCK.replace("plc.online", "plc.onlin") + RULE + "risk_max = 2\n" + HALT + '"tank.valve" = 3 }\n'
    assert len(mistakes(tmp_path, rows)) == 3


def test_what_is_wrong_for_a_hundred_targets_is_said_once(tmp_path: Path) -> None:
    rows = '[[interlock]]\nid = "x"\npoints = ["*"]\nrequire = "tank.levl > 1 m"\n'
    assert len(mistakes(tmp_path, rows)) == 1


def test_there_is_an_end_to_interlocks_of_a_point_and_points_of_a_stop(tmp_path: Path) -> None:
    many = "".join(LOCK.replace('"x"', f'"x{n}"') for n in range(GUARDS_MAX + 1))
    assert f"tank.valve has more than {GUARDS_MAX} interlocks" in mistakes(tmp_path, many)[0]
    sets = ", ".join(f'"tank.valve{n}" = 0' for n in range(SETS_MAX + 1))
    assert any(f"sets {SETS_MAX + 1} points" in m for m in mistakes(tmp_path, HALT + sets + " }\n"))


def test_every_key_of_these_tables_is_in_the_guide() -> None:
    text = GUIDE.read_text("utf-8")
    keys = {k for t in ("interlock", "policy", "pacing", "stop") for k in TABLES[t]} | {*INTERLOCK, *POLICY, *PACING}
    assert sorted(k for k in keys if f"`{k}`" not in text) == []


def test_the_guides_rows_and_conditions_are_right_ones(tmp_path: Path) -> None:
    text = GUIDE.read_text("utf-8")
    guide = text[text.index("## Interlocks") : text.index("## Look-ahead")]
    rows = [b for b in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL) if "plc_*" not in b]
    assert len(rows) == 3
    shipped = (GUIDE.parents[1] / "scenarios/water/plant.toml").read_text("utf-8")
    assert [r for r in rows if r not in shipped] == [], "the guide shows rows of the water plant"
    table = guide[guide.index("| example |") : guide.index("**Units are checked**")]
    examples = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(examples) == 6
    names = {n for e in examples for n in re.findall(r"[a-z]\w*\.\w+", e) if not n.startswith("this.")}
    units = {"tank": "m", "pipe": "L/s", "pump_335.flow": "L/s", "pump_335.speed": "%"}
    points = {}
    for row, name in enumerate(sorted(names | {"pump_335.speed"})):
        twin, property_ = name.split(".")
        unit = units.get(name) or units.get(twin.split("_")[0], "")
        kind = "double" if unit else "string" if name == "plc.state" else "boolean"
        points[name] = Point(row, name, twin, property_, kind, unit, "plc", "a")
    for example in examples:
        parse(example, points, target=points["pump_335.speed"])
