"""Reads what plant.toml asks of commands (interlocks, policies, pacing, stops) into Controls; says every mistake.

Must not know commands or the simulation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from twin import expression
from twin import expression_syntax as syntax
from twin.controls import Controls, Stop
from twin.errors import BadRequest
from twin.expression import Expression
from twin.guard import Guard
from twin.interface import NAME, Interface
from twin.interlock import Interlock
from twin.limitsheet import check_limits
from twin.models import is_a
from twin.nearest import nearest
from twin.plant import Device, Twin
from twin.points import Point
from twin.policy import FREE, Policy, Preflight
from twin.role import APPROVERS
from twin.rules import Setting
from twin.setpoint import number_of, said_complaint
from twin.sheet import Sheet
from twin.when import parse_duration_s

GUARDS_MAX = 50  # interlocks of one point: judging them at every send takes half a millisecond
SETS_MAX = 1_000  # points of one stop: each is a command that no limit of the queue holds back
MESSAGE_MAX = 200  # characters: a line, in every refusal
DAY_S = 86_400.0
HORIZON_MAX_S = 7 * DAY_S  # as far as the simulation looks
LEAST = 1e-9  # a change of nothing, ever, is no policy: leave the access r

INTERLOCK: Mapping[str, Setting] = {
    "max_age_s": Setting(float, 10.0, "seconds after which what was received counts as not known", 0.1, DAY_S),
    "emergency": Setting(bool, True, "true: it holds for emergencies too; false: they pass it over"),
}
POLICY: Mapping[str, Setting] = {
    "select": Setting(bool, FREE.select, "true: commands select the point before they operate it"),
    "select_timeout_s": Setting(float, FREE.select_timeout_s, "seconds for which a selection reserves", 1, 3600),
    "approvals": Setting(int, FREE.approvals, "how many other people must approve, as a whole number", 0, 5),
    "approver": Setting(str, FREE.approver, "the role that approves", choices=APPROVERS),
    "approval_timeout_s": Setting(float, FREE.approval_timeout_s, "seconds to wait for approvals", 1, 30 * DAY_S),
    "every_s": Setting(float, FREE.every_s, "least seconds between two commands", 0, DAY_S),
    "step_max": Setting(float, FREE.step_max, "largest difference from the reported value, above 0", LEAST),
    "slew_per_s": Setting(float, FREE.slew_per_s, "largest change a second, above 0", LEAST),
    "preflight": Setting(str, str(FREE.preflight), "what a bad prediction does", choices=tuple(map(str, Preflight))),
    "horizon": Setting(str, "1h", "how far to predict, such as 2h"),
    "limits": Setting(list, FREE.limits, 'conditions that should not come to hold: ["tank_1.level<1"]'),
    "risk_max": Setting(float, FREE.risk_max, "probability from 0 to 1", 0, 1),
}
PACING: Mapping[str, Setting] = {
    "gap_s": Setting(float, 0.0, "least seconds between two writes to the device", 0, 3600),
}
_OF_NUMBERS = ("step_max", "slew_per_s")
_PATTERN = re.compile(r"[\w.*]+", re.ASCII)


@dataclass(frozen=True)
class Ground:
    """What rows may name. `points` holds Twinloop's own too."""

    points: Mapping[str, Point]
    twins: Mapping[str, Twin]
    interfaces: Mapping[str, Interface]
    devices: Mapping[str, Device]

    @cached_property
    def writable(self) -> Mapping[str, Point]:
        return {p.name: p for p in self.points.values() if p.writable}


def read_controls(sheet: Sheet, ground: Ground) -> Controls:
    """What is wrong goes to the sheet's mistakes."""
    interlocks, guards = _interlocks(sheet, ground)
    return Controls(interlocks, _stops(sheet, ground), _policies(sheet, ground), guards, _gaps(sheet, ground))


# --- which points a row is about -------------------------------------------------------------------------------------


def _targets(sheet: Sheet, ground: Ground, table: str, index: int, row: Mapping[str, Any]) -> list[Point]:
    """The writable points that `points`, `twins` and `interface` of a row name together; none: that is said."""
    if not row.keys() & {"points", "twins", "interface"}:
        fix = 'add points = ["…"], twins = ["…"] or interface = "…"'
        sheet.mistake(table, index, "", f"{table} without points", fix)
        return []
    before = len(sheet.mistakes.found)
    chosen = list(ground.writable.values())
    if "points" in row:
        names = _matched(sheet, table, index, row, "points", ground.points, ground.writable)
        chosen = [p for p in chosen if p.name in names]
    if "twins" in row:
        twins = _matched(sheet, table, index, row, "twins", ground.twins, {p.twin for p in chosen})
        chosen = [p for p in chosen if p.twin in twins]
    interface = row.get("interface")
    if isinstance(interface, str):
        if interface not in ground.interfaces:
            fix = nearest(interface, ground.interfaces) or "name an Interface of this plant"
            sheet.mistake(table, index, "interface", f"unknown Interface {interface}", fix)
        chosen = [p for p in chosen if is_a(ground.twins[p.twin].interface, interface, ground.interfaces)]
    if not chosen and len(sheet.mistakes.found) == before:
        key = next(k for k in ("points", "twins", "interface") if k in row)
        sheet.mistake(table, index, key, f"{table} {index + 1} is about no writable point", "commands need access rw")
    return chosen


def _matched(
    sheet: Sheet, table: str, index: int, row: Mapping[str, Any], key: str, known: Iterable[str], usable: Iterable[str]
) -> set[str]:
    """The usable names that the patterns of a list match; a name that is not known, or not usable, is a mistake."""
    names, kind = set(usable), {"points": "point", "twins": "twin", "devices": "device"}[key]
    found: set[str] = set()
    for text in sheet.texts(table, index, row, key):
        if not _PATTERN.fullmatch(text):
            sheet.mistake(table, index, key, f"{text!r} is no pattern", "use names, with * for any characters")
        elif "*" in text:
            form = re.compile(re.escape(text).replace(r"\*", ".*"))
            matching = {n for n in names if form.fullmatch(n)}
            if not matching:
                what = "no device" if key == "devices" else f"no {kind} that can be commanded"
                sheet.mistake(table, index, key, f"{text!r} matches {what}", nearest(text, names) or "mend it")
            found |= matching
        elif text in names:
            found.add(text)
        elif text in known:
            fix = "give it access rw" if key == "points" else "give one of its points access rw"
            sheet.mistake(table, index, key, f"{text} is not writable", fix)
        else:
            sheet.mistake(table, index, key, f"{text!r} is no {kind}", nearest(text, known) or f"name a {kind}")
    return found


# --- interlocks ------------------------------------------------------------------------------------------------------


def _interlocks(sheet: Sheet, ground: Ground) -> tuple[tuple[Interlock, ...], dict[int, tuple[Guard, ...]]]:
    rows: dict[str, Interlock] = {}
    guards: dict[int, tuple[Guard, ...]] = {}
    for index, row in sheet.rows("interlock"):
        identity = _new_id(sheet, "interlock", index, row, rows)
        settings = sheet.settings("an interlock", "interlock", index, row, INTERLOCK)
        targets = _targets(sheet, ground, "interlock", index, row)
        interlock = Interlock(
            identity, row["require"], str(row.get("when", "")), settings["max_age_s"], str(row.get("message", "")),
            settings["emergency"], tuple(p.name for p in targets),
        )  # fmt: skip
        rows.setdefault(identity, interlock)
        if len(interlock.message) > MESSAGE_MAX:
            what = f"the message has {len(interlock.message)} characters"
            sheet.mistake("interlock", index, "message", what, f"at most {MESSAGE_MAX}")
        require = _binder(sheet, ground, index, "require", interlock.require)
        when = _binder(sheet, ground, index, "when", interlock.when) if interlock.when else None
        for target in targets:
            needed, applies = require(target), when(target) if when else None
            if needed is None or (when and applies is None):
                break  # the same is wrong with all of them
            guards[target.id] = (*guards.get(target.id, ()), Guard(interlock, needed, applies))
            if len(guards[target.id]) > GUARDS_MAX:
                what = f"{target.name} has more than {GUARDS_MAX} interlocks"
                sheet.mistake("interlock", index, "points", what, "join some of them with and")
                break
    return tuple(rows.values()), guards


Binder = Callable[[Point], Expression | None]


def _binder(sheet: Sheet, ground: Ground, index: int, key: str, text: str) -> Binder:
    """Looks an expression up for one target after the other; once for all where it does not speak of the target."""

    def complain(error: BadRequest) -> None:
        sheet.mistake("interlock", index, key, f"{key}: {error.message}", error.hint)

    try:
        tree = syntax.read(text)
        shared = None if expression.speaks_of_target(tree) else expression.typed(text, tree, ground.points, None)
    except BadRequest as error:
        complain(error)
        return lambda _: None

    def bound(target: Point) -> Expression | None:
        try:
            return shared or expression.typed(text, tree, ground.points, target)
        except BadRequest as error:
            complain(error)
            return None

    return bound


def _new_id(sheet: Sheet, table: str, index: int, row: Mapping[str, Any], taken: Mapping[str, Any]) -> str:
    identity = str(row["id"])
    if not NAME.match(identity):
        sheet.mistake(table, index, "id", f"{table} id {identity!r}", "use letters, digits and _, letter first")
    if identity in taken:
        sheet.mistake(table, index, "id", f"{table} {identity!r} is declared twice", "rename one of them")
    return identity


# --- policies, pacing, stops -----------------------------------------------------------------------------------------


def _policies(sheet: Sheet, ground: Ground) -> dict[int, Policy]:
    """Rows in order: later ones replace single keys of earlier ones."""
    asked: dict[int, dict[str, Any]] = {}
    for index, row in sheet.rows("policy"):
        settings = sheet.settings("a policy", "policy", index, row, POLICY)
        said = {key: settings[key] for key in POLICY if key in row}
        _check_preflight(sheet, ground, index, said)
        targets = _targets(sheet, ground, "policy", index, row)
        for key in _OF_NUMBERS:
            if key in said:
                _check_numbers(sheet, index, key, targets)
        if not said:
            sheet.mistake("policy", index, "", "a policy that asks for nothing", f"one of {', '.join(POLICY)}")
        for target in targets:
            asked.setdefault(target.id, {}).update(said)
    same: dict[str, Policy] = {}  # few policies, many points
    return {point: same.setdefault(repr(sorted(keys.items())), _policy(keys)) for point, keys in asked.items()}


def _policy(keys: Mapping[str, Any]) -> Policy:
    values = {k: v for k, v in keys.items() if k != "horizon"}
    if "preflight" in keys:
        values["preflight"] = Preflight(keys["preflight"])
    if "horizon" in keys:
        values["horizon_s"] = keys["horizon"]
    return Policy(**values)


def _check_preflight(sheet: Sheet, ground: Ground, index: int, said: dict[str, Any]) -> None:
    """Afterwards the horizon is in seconds."""
    if said.get("preflight", "off") != "off" and not sheet.document.get("model"):
        fix = 'add [model], or write preflight = "off"'
        sheet.mistake("policy", index, "preflight", "the plant has no [model] to predict with", fix)
    if "horizon" in said:
        said["horizon"] = _horizon_s(sheet, index, said["horizon"])
    check_limits(sheet, ground.points, "policy", index, said.get("limits", ()))


def _horizon_s(sheet: Sheet, index: int, text: str) -> float:
    try:
        span_s = parse_duration_s(text, "horizon")
    except BadRequest as error:
        sheet.mistake("policy", index, "horizon", error.message, error.hint)
        return FREE.horizon_s
    if not 60.0 <= span_s <= HORIZON_MAX_S:
        sheet.mistake("policy", index, "horizon", f"horizon = {text!r}", "take 1m … 7d")
    return span_s


def _check_numbers(sheet: Sheet, index: int, key: str, targets: Iterable[Point]) -> None:
    other = next((p for p in targets if p.type not in ("double", "integer")), None)
    if other is not None:
        what = f"{key} on {other.name}, which is of type {other.type}"
        sheet.mistake("policy", index, key, what, "keep it to points that are numbers")


def _gaps(sheet: Sheet, ground: Ground) -> dict[str, float]:
    gaps: dict[str, float] = {}
    for index, row in sheet.rows("pacing"):
        settings = sheet.settings("pacing", "pacing", index, row, PACING)
        if "gap_s" not in row:
            sheet.mistake("pacing", index, "", "pacing without gap_s", "add gap_s = …")
        devices = _matched(sheet, "pacing", index, row, "devices", ground.devices, ground.devices)
        gaps |= dict.fromkeys(devices, settings["gap_s"])
    return gaps


def _stops(sheet: Sheet, ground: Ground) -> tuple[Stop, ...]:
    stops: dict[str, Stop] = {}
    for index, row in sheet.rows("stop"):
        identity = _new_id(sheet, "stop", index, row, stops)
        said = dict(dotted(row["set"]))
        if not 0 < len(said) <= SETS_MAX:
            sheet.mistake("stop", index, "set", f"stop {identity} sets {len(said)} points", f"give 1 … {SETS_MAX}")
        sets = [(name, _set_value(sheet, ground, index, name, value)) for name, value in said.items()]
        stops.setdefault(identity, Stop(identity, str(row.get("name", identity)), tuple(sets)))
    return tuple(stops.values())


def dotted(table: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """TOML reads the dots of an unquoted key as tables in one another; its parser bounds the depth."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _set_value(sheet: Sheet, ground: Ground, index: int, name: str, said: Any) -> float:
    point = ground.points.get(name)
    if point is None:
        fix = nearest(name, ground.writable) or "name a writable point"
        sheet.mistake("stop", index, "set", f"{name!r} is no point", fix)
        return 0.0
    wrong = said_complaint(point, said)
    if wrong is not None:
        sheet.mistake("stop", index, "set", *wrong)
    return number_of(point, said) or 0.0
