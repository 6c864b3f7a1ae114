"""Reads the rows [[alarm_rule]] of plant.toml: what is done when an alarm makes a step; says every mistake."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from twin.alarm import Definition, Doing, Priority, Rule
from twin.alarms import Step
from twin.alarmsheet import DAY_S
from twin.controlsheet import Ground, dotted
from twin.errors import BadRequest
from twin.interface import NAME
from twin.nearest import nearest
from twin.rules import Setting
from twin.setpoint import number_of, said_complaint
from twin.sheet import Sheet
from twin.when import parse_duration_s

SETS_MAX = 100  # points that a rule commands: more is a stop, or a group of commands
RULE: Mapping[str, Setting] = {
    "alarms": Setting(list, (), 'alarms by id, * for any characters: ["tank_*.level:high"]'),
    "priority": Setting(list, (), 'priorities: ["high"]', choices=tuple(Priority)),
    "on": Setting(list, ("active",), 'steps of the alarm: ["active", "cleared"]', choices=tuple(Step)),
    "webhook": Setting(str, "", "where a POST goes, http:// or https://"),
    "scenario": Setting(list, (), 'a what-if that is run: ["pump_1.status=off for 4h"]'),
    "horizon": Setting(str, "1h", "how far a scenario looks, such as 4h"),
    "attempts": Setting(int, 10, "how often it is tried, a whole number", 1, 100),
    "backoff": Setting(str, "1s", "before the second attempt, then doubled, such as 1s"),
    "backoff_max": Setting(str, "5m", "longest wait between two attempts, such as 5m"),
    "at_most": Setting(int, 60, "no more than so many in `per`, a whole number", 1, 100_000),
    "per": Setting(str, "1h", "the time that at_most is for, such as 10m"),
    "timeout": Setting(str, "10s", "of one attempt, such as 10s"),
    "silent": Setting(bool, False, "true: it acts also on alarms that are kept from people"),
}
SPANS: Mapping[str, tuple[float, float, str]] = {
    "horizon": (60.0, 7 * DAY_S, "1m … 7d"),
    "backoff": (0.05, DAY_S, "0.05s … 1d"),
    "backoff_max": (0.05, DAY_S, "0.05s … 1d"),
    "per": (1.0, 30 * DAY_S, "1s … 30d"),
    "timeout": (0.1, 3600.0, "0.1s … 1h"),
}
ACTIONS: Mapping[str, Doing] = {"webhook": Doing.WEBHOOK, "set": Doing.SET, "scenario": Doing.SCENARIO}


def read_alarm_rules(sheet: Sheet, ground: Ground, definitions: Sequence[Definition]) -> tuple[Rule, ...]:
    """In the order of the file."""
    found: dict[str, Rule] = {}
    for index, row in sheet.rows("alarm_rule"):
        identity = row["id"]
        if not NAME.match(identity) or identity in found:
            _wrong(sheet, index, "id", f"rule id {identity!r}", "letters, digits and _, letter first; each id once")
        before = len(sheet.mistakes.found)
        asked = sheet.settings("an alarm rule", "alarm_rule", index, row, RULE)
        named = [key for key in ACTIONS if key in row]
        if len(named) != 1:
            what = f"{' and '.join(named)} in one rule" if named else f"rule {identity} does nothing"
            _wrong(sheet, index, "id", what, f"one of {', '.join(ACTIONS)}")
        if not definitions:
            _wrong(sheet, index, "id", "the plant has no alarm", "add [[alarm]]")
        alarms = _alarms(sheet, index, asked["alarms"], [d.id for d in definitions])
        spans = {key: _span_s(sheet, index, key, str(asked[key])) for key in SPANS}
        sets = _sets(sheet, ground, index, dict(dotted(row["set"]))) if isinstance(row.get("set"), dict) else ()
        if "webhook" in row and urlsplit(asked["webhook"]).scheme not in ("http", "https"):
            _wrong(sheet, index, "webhook", f"webhook = {asked['webhook']!r}", "write http://… or https://…")
        if "scenario" in row and not sheet.document.get("model"):
            _wrong(sheet, index, "scenario", "the plant has no [model] to run it with", "add [model]")
        if len(sheet.mistakes.found) > before:
            continue
        found[identity] = Rule(
            identity, ACTIONS[named[0]], frozenset(alarms), frozenset(map(Priority, asked["priority"])),
            frozenset(asked["on"]), asked["webhook"], sets, tuple(asked["scenario"]), spans["horizon"],
            asked["attempts"], spans["backoff"], spans["backoff_max"], asked["at_most"], spans["per"], spans["timeout"],
            asked["silent"],
        )  # fmt: skip
    return tuple(found.values())


def _alarms(sheet: Sheet, index: int, patterns: Iterable[str], known: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for text in patterns:
        form = re.compile(re.escape(text).replace(r"\*", ".*"))
        matching = {n for n in known if form.fullmatch(n)}
        if not matching:
            _wrong(sheet, index, "alarms", f"{text!r} is no alarm", nearest(text, known) or "write point:id")
        found |= matching
    return found


def _sets(sheet: Sheet, ground: Ground, index: int, said: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    if not 0 < len(said) <= SETS_MAX:
        _wrong(sheet, index, "set", f"a rule that sets {len(said)} points", f"give 1 … {SETS_MAX}")
    found: list[tuple[str, float]] = []
    for name, value in said.items():
        point = ground.points.get(name)
        if point is None:
            fix = nearest(name, ground.writable) or "name a writable point"
            _wrong(sheet, index, "set", f"{name!r} is no point", fix)
            continue
        if wrong := said_complaint(point, value):
            _wrong(sheet, index, "set", *wrong)
        found.append((name, number_of(point, value) or 0.0))
    return tuple(found)


def _span_s(sheet: Sheet, index: int, key: str, text: str) -> float:
    low, high, form = SPANS[key]
    try:
        span_s = parse_duration_s(text, key)
    except BadRequest as error:
        _wrong(sheet, index, key, error.message, error.hint)
        return low
    if not low <= span_s <= high:
        _wrong(sheet, index, key, f"{key} = {text!r}", f"take {form}")
    return span_s


def _wrong(sheet: Sheet, index: int, key: str, message: str, fix: str) -> None:
    sheet.mistake("alarm_rule", index, key, message, fix)
