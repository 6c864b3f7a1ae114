"""Reads the rows [[alarm]] and the table [alarms] of plant.toml into an AlarmPlan; says every mistake. Knows no state.

A row of an id that stood before adds to it, or is an exception: what it does not name is as it was there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twin import expression
from twin import expression_syntax as syntax
from twin.alarm import NO_ALARMS, AlarmPlan, Condition, Definition, Kind, Priority, Settings, Terms
from twin.controlsheet import Ground
from twin.errors import BadRequest
from twin.expression import Expression
from twin.interface import NAME
from twin.lookahead import Lookahead
from twin.models import is_a
from twin.nearest import nearest
from twin.points import Point
from twin.rules import Setting
from twin.setpoint import number_of
from twin.sheet import Sheet
from twin.when import parse_duration_s

ALARMS_MAX = 200_000  # of a plant: 40 MB, and more than any plant has people for
TEXT_MAX = 300  # characters of a message: two lines of a list
NUMBERS = ("double", "integer")
DAY_S = 86_400.0
SPANS: Mapping[str, tuple[float, float, str]] = {
    "on_delay": (0.0, DAY_S, "0s … 1d"),
    "off_delay": (0.0, DAY_S, "0s … 1d"),
    "stale": (1.0, 30 * DAY_S, "1s … 30d"),
    "window": (0.1, DAY_S, "0.1s … 1d"),
    "shelve_max": (60.0, 30 * DAY_S, "1m … 30d"),
    "shelve_operator": (60.0, 30 * DAY_S, "1m … 30d"),
    "keep": (DAY_S, 3650 * DAY_S, "1d … 3650d"),
}
LIMITS: Mapping[str, tuple[Kind, int]] = {
    "hihi": (Kind.LIMIT, 1),
    "hi": (Kind.LIMIT, 1),
    "lo": (Kind.LIMIT, -1),
    "lolo": (Kind.LIMIT, -1),
    "rise": (Kind.RATE, 1),
    "fall": (Kind.RATE, -1),
    "rate": (Kind.RATE, 0),
    "deviation": (Kind.DEVIATION, 0),
}
"""Conditions with a number: the kind, and to which side."""
SEVERITIES: Mapping[str, int] = {"bad": 2, "not_good": 1}
STATES = ("is", "is_not")
CONDITIONS = (*LIMITS, *STATES, "stale", "quality", "when", "predicted")
"""A row names one of them."""
ALARM: Mapping[str, Setting] = {
    **{
        key: Setting(float, None, f"a number in the point's unit: {key} = 3.5")
        for key, (kind, _) in LIMITS.items()
        if kind is Kind.LIMIT
    },
    **{
        key: Setting(float, None, f"the point's unit a second, above 0: {key} = 0.2", 1e-12)
        for key, (kind, _) in LIMITS.items()
        if kind is Kind.RATE
    },
    "deviation": Setting(float, None, "how far from `from`, in the point's unit, above 0", 1e-12),
    "from": Setting(str, None, 'a point, or this.property: from = "this.setpoint"'),
    "setpoint": Setting(float, None, "a number that deviation is measured from"),
    "side": Setting(str, "both", "where a deviation counts", choices=("both", "above", "below")),
    "stale": Setting(str, None, "for how long nobody said it, such as 30s"),
    "quality": Setting(str, None, "from which quality on", choices=tuple(SEVERITIES)),
    "when": Setting(str, None, 'an expression that is wrong when it holds: "pump_1.running and tank_1.level < 1 m"'),
    "predicted": Setting(list, None, 'limits of [lookahead]: ["tank_1.level<1"], or ["*"]'),
    "deadband": Setting(float, 0.0, "how far behind the limit it is over, in the point's unit", 0),
    "on_delay": Setting(str, None, "how long the condition must hold, such as 5s"),
    "off_delay": Setting(str, "0s", "how long it must be over, such as 10s"),
    "window": Setting(str, "1s", "between two looks at a rate, such as 10s"),
    "priority": Setting(str, "low", "how soon somebody must act", choices=tuple(Priority)),
    "ack": Setting(bool, True, "true: somebody must acknowledge it; false where the priority is journal"),
    "confirm": Setting(bool, False, "true: after that somebody must confirm that it is settled"),
    "latch": Setting(bool, False, "true: it stays until somebody resets it"),
    "shelve_max": Setting(str, "24h", "longest time on a shelf, such as 8h"),
    "group": Setting(str, "", "of which the first to come is marked; * is the twin's id: trip_*"),
    "message": Setting(str, "", "one line for people"),
    "cause": Setting(str, "", "why it mostly comes"),
    "consequence": Setting(str, "", "what happens if nobody acts"),
    "response": Setting(str, "", "what to do"),
    "suppress_when": Setting(str, "", 'an expression while which nobody is told: "not this.running"'),
    "except": Setting(list, (), 'twins left out: ["tank_3"]'),
    "off": Setting(bool, False, "true, in an exception: no such alarm for these points"),
}
SETTINGS: Mapping[str, Setting] = {
    "operators": Setting(int, 1, "people who share the alarms, a whole number", 1, 100),
    "shelve_operator": Setting(str, "8h", "longest shelf that an operator may choose, such as 8h"),
    "keep": Setting(str, "400d", "how long transitions stay in alarms.sqlite, such as 400d"),
}
QUIET_DELAY = "10s"  # of stale, quality and predicted, where the row says none: a start must not ring for every point
_PATTERN = re.compile(r"[\w.*]+", re.ASCII)


def read_alarms(sheet: Sheet, ground: Ground, ahead: Lookahead | None) -> AlarmPlan:
    """A plant needs none. What is wrong goes to the sheet's mistakes."""
    reading = _Reading(sheet, ground, tuple(ahead.limits) if ahead else ())
    rows: dict[str, dict[str, dict[str, Any]]] = {}  # id of the row -> point or limit -> what is asked
    for index, row in sheet.rows("alarm"):
        reading.take(index, row, rows)
    definitions: list[Definition] = []
    for identity, asked in rows.items():
        definitions += [d for place, keys in asked.items() if (d := reading.definition(identity, place, keys))]
        if len(definitions) > ALARMS_MAX:
            sheet.mistake("alarm", 0, "id", f"more than {ALARMS_MAX} alarms", "narrow the patterns")
            break
    return AlarmPlan(tuple(definitions), (), _settings(sheet))


def _settings(sheet: Sheet) -> Settings:
    table = sheet.document.get("alarms")
    if not isinstance(table, dict):
        return NO_ALARMS.settings  # left out, or said by check_tables
    asked = sheet.settings("alarms", "alarms", 0, table, SETTINGS)
    spans = [span_s(sheet, "alarms", 0, key, str(asked[key])) for key in ("shelve_operator", "keep")]
    return Settings(asked["operators"], spans[0], spans[1] / DAY_S)


@dataclass
class _Reading:
    """`limits`: of the look-ahead. `heads`: what the first row of each id says."""

    sheet: Sheet
    ground: Ground
    limits: tuple[str, ...]
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, index: int, row: Mapping[str, Any], rows: dict[str, dict[str, dict[str, Any]]]) -> None:
        """Lay the row over those of its id before it."""
        identity, before = row["id"], len(self.sheet.mistakes.found)
        if not NAME.match(identity):
            self._wrong(index, "id", f"alarm id {identity!r}", "use letters, digits and _, letter first")
        keys = {k: v for k, v in row.items() if k not in STATES}
        asked = self.sheet.settings("an alarm", "alarm", index, keys, ALARM)
        said = {k: asked[k] for k in ALARM if k in row and k != "except"}
        said |= {k: row[k] for k in STATES if k in row}
        named = [k for k in CONDITIONS if k in row]
        if len(named) > 1:
            self._wrong(
                index, named[1], f"{named[0]} and {named[1]} in one row", "give each a row with an id of its own"
            )
        known = rows.setdefault(identity, {})
        if identity not in self.heads and not named:
            self._wrong(index, "", f"alarm {identity} without a condition", f"one of {', '.join(CONDITIONS)}")
        self._check_texts(index, row)
        for key in SPANS.keys() & said.keys():
            span_s(self.sheet, "alarm", index, key, str(said[key]))
        if len(self.sheet.mistakes.found) > before:
            return
        ahead = "predicted" in row or "predicted" in self.heads.get(identity, ())
        places = self._limits(index, asked["predicted"] or ("*",)) if ahead else self._points(index, row, asked)
        head = self.heads.setdefault(identity, said)
        if named and named[0] not in head:
            self._wrong(index, named[0], f"{identity} has another condition above", "give it an id of its own")
            return
        for place in places:
            known[place] = {**known.get(place, head), **said, "at": index}

    def definition(self, identity: str, place: str, asked: Mapping[str, Any]) -> Definition | None:
        """The alarm of one point, or of one limit of the look-ahead; None where it is off or wrong."""
        index = asked["at"]
        if asked.get("off", False):
            return None
        ahead = place if "predicted" in asked else ""
        point = self.ground.points.get(re.split("[<>]", place)[0] if ahead else place)
        condition = Condition(Kind.GIVEN, "predicted", ahead=ahead) if ahead else None
        if point is not None and condition is None:
            condition = self._condition(index, point, asked)
        if point is None or condition is None:
            return None
        suppress = self._expression(index, "suppress_when", asked.get("suppress_when", ""), point)
        of_itself = condition.kind in (Kind.STALE, Kind.QUALITY) or bool(ahead)
        on_delay = asked.get("on_delay") or (QUIET_DELAY if of_itself else "0s")
        return Definition(
            f"{place}:{identity}", identity, point.name, point.twin, Priority(asked.get("priority", "low")), condition,
            Terms(
                asked.get("ack", asked.get("priority") != Priority.JOURNAL), asked.get("confirm", False),
                asked.get("latch", False),
                self._span_s(index, "shelve_max", asked),
            ),
            parse_duration_s(on_delay), self._span_s(index, "off_delay", asked),
            asked.get("group", "").replace("*", point.twin), asked.get("message", ""), asked.get("consequence", ""),
            asked.get("response", ""), suppress, asked.get("cause", ""),
        )  # fmt: skip

    # --- which points ------------------------------------------------------------------------------------------------

    def _points(self, index: int, row: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
        """What `points`, `twins`, `interface` and `property` name together, less `except`."""
        if not row.keys() & {"points", "twins", "interface"}:
            self._wrong(index, "", "alarm without points", 'add points = ["…"], twins = ["…"] or interface = "…"')
            return []
        before = len(self.sheet.mistakes.found)
        points, twins = self.ground.points, self.ground.twins
        chosen: Iterable[str] = points
        if "points" in row:
            chosen = self._matched(index, row, "points", points)
        if "twins" in row:
            named = set(self._matched(index, row, "twins", {p.twin for p in points.values()}))
            chosen = [n for n in chosen if points[n].twin in named]
        if "interface" in row:
            chosen = self._of_interface(index, row["interface"], chosen)
        if "property" in row:
            chosen = [n for n in chosen if points[n].property == row["property"]]
        elif "points" not in row:
            self._wrong(index, "", "alarm without property", 'add property = "…", the one that is watched')
        left_out = set(asked["except"] or ())
        for name in sorted(left_out - twins.keys()):
            self._wrong(index, "except", f"{name!r} is no twin", nearest(str(name), twins) or "name a twin")
        chosen = [n for n in chosen if points[n].twin not in left_out]
        if not chosen and len(self.sheet.mistakes.found) == before:
            key = next(k for k in ("property", "points", "twins", "interface") if k in row)
            self._wrong(index, key, f"alarm {row['id']} is about no point", self._offer(row))
        return chosen if len(self.sheet.mistakes.found) == before else []

    def _offer(self, row: Mapping[str, Any]) -> str:
        known = {p.property for p in self.ground.points.values()}
        return nearest(str(row.get("property", "")), known) or "name points that there are"

    def _matched(self, index: int, row: Mapping[str, Any], key: str, known: Iterable[str]) -> list[str]:
        names, found = dict.fromkeys(known), dict[str, None]()
        for text in self.sheet.texts("alarm", index, row, key):
            if not _PATTERN.fullmatch(text):
                self._wrong(index, key, f"{text!r} is no pattern", "use names, with * for any characters")
                continue
            form = re.compile(re.escape(text).replace(r"\*", ".*"))
            matching = [n for n in names if form.fullmatch(n)] if "*" in text else [text] if text in names else []
            if not matching:
                self._wrong(index, key, f"{text!r} is no {key[:-1]}", nearest(text, names) or f"name a {key[:-1]}")
            found |= dict.fromkeys(matching)
        return list(found)

    def _of_interface(self, index: int, interface: str, chosen: Iterable[str]) -> list[str]:
        known, points, twins = self.ground.interfaces, self.ground.points, self.ground.twins
        if interface not in known:
            fix = nearest(interface, known) or "name an Interface of this plant"
            self._wrong(index, "interface", f"unknown Interface {interface}", fix)
            return []
        of = {i for i in known if is_a(i, interface, known)}
        return [n for n in chosen if (twin := twins.get(points[n].twin)) is not None and twin.interface in of]

    def _limits(self, index: int, texts: Iterable[str]) -> list[str]:
        """As the look-ahead calls them."""
        known = {_plain(limit): limit for limit in self.limits}
        found: list[str] = []
        if not known:
            self._wrong(index, "predicted", "the plant looks ahead at no limit", "add [lookahead] with limits")
            return []
        for text in texts:
            if text == "*":
                found += list(known)
            elif _plain(text) in known:
                found.append(_plain(text))
            else:
                fix = nearest(_plain(text), known) or f"one of {', '.join(known)}"
                self._wrong(index, "predicted", f"the look-ahead has no limit {text!r}", fix)
        return list(dict.fromkeys(found))

    # --- conditions --------------------------------------------------------------------------------------------------

    def _condition(self, index: int, point: Point, asked: Mapping[str, Any]) -> Condition | None:
        word = next(k for k in CONDITIONS if k in asked)
        kind = LIMITS[word][0] if word in LIMITS else None
        if kind is not None and point.type not in NUMBERS:
            what = f"{word} of {point.name}, which is of type {point.type}"
            self._wrong(index, word, what, "limits are for numbers; use is = … for states")
            return None
        if kind is Kind.DEVIATION:
            return self._deviation(index, point, asked)
        if kind is not None:
            sign, window_s = LIMITS[word][1], self._span_s(index, "window", asked)
            return Condition(kind, word, sign, float(asked[word]), float(asked.get("deadband", 0.0)), window_s)
        if word in STATES:
            return self._state(index, point, word, asked[word])
        if word == "stale":
            return Condition(Kind.STALE, word, limit=self._span_s(index, word, asked))
        if word == "quality":
            return Condition(Kind.QUALITY, word, limit=float(SEVERITIES[asked[word]]))
        found = self._expression(index, word, asked[word], point)
        return None if found is None else Condition(Kind.GIVEN, word, expression=found)

    def _deviation(self, index: int, point: Point, asked: Mapping[str, Any]) -> Condition | None:
        sign = {"both": 0, "above": 1, "below": -1}[asked.get("side", "both")]
        numbers = float(asked["deviation"]), float(asked.get("deadband", 0.0))
        if ("from" in asked) == ("setpoint" in asked):
            self._wrong(index, "deviation", "deviation from what?", 'add from = "…", a point, or setpoint = a number')
            return None
        if "setpoint" in asked:
            return Condition(Kind.DEVIATION, "deviation", sign, *numbers, reference=float(asked["setpoint"]))
        name = re.sub(r"^this\.", f"{point.twin}.", asked["from"])
        other = self.ground.points.get(name)
        if other is None or other.type not in NUMBERS:
            what = f"{name!r} is no point" if other is None else f"{name} is of type {other.type}"
            self._wrong(index, "from", what, nearest(name, self.ground.points) or "name a point that is a number")
            return None
        if other.unit != point.unit:
            what = f"{point.name} is in {point.unit or 'no unit'}, {name} in {other.unit or 'none'}"
            self._wrong(index, "from", what, "give both the same unit in points.csv")
            return None
        return Condition(Kind.DEVIATION, "deviation", sign, *numbers, other=name)

    def _state(self, index: int, point: Point, word: str, said: Any) -> Condition | None:
        values = said if isinstance(said, list) else [said]
        if point.type == "string":
            if not values or not all(isinstance(v, str) for v in values):
                self._wrong(index, word, f"{word} = {said!r} of {point.name}", "give texts")
                return None
            return Condition(Kind.GIVEN, word, texts=tuple(values), negated=word == "is_not")
        codes = [number_of(point, v) for v in values] if point.type != "object" else [None]
        if not codes or None in codes:
            self._wrong(index, word, f"{word} = {said!r} of {point.name}", f"give values that a {point.type} has")
            return None
        told = tuple(c for c in codes if c is not None)
        return Condition(Kind.STATE, word, codes=told, negated=word == "is_not")

    def _expression(self, index: int, key: str, text: str, point: Point) -> Expression | None:
        """Of the alarm's point: `this` is its twin."""
        if not text:
            return None
        try:
            return expression.typed(text, syntax.read(text), self.ground.points, point)
        except BadRequest as error:
            self._wrong(index, key, f"{key}: {error.message}", error.hint)
            return None

    # --- form --------------------------------------------------------------------------------------------------------

    def _check_texts(self, index: int, row: Mapping[str, Any]) -> None:
        for key in ("message", "cause", "consequence", "response"):
            if len(str(row.get(key, ""))) > TEXT_MAX:
                self._wrong(index, key, f"{key} has {len(row[key])} characters", f"at most {TEXT_MAX}")

    def _span_s(self, index: int, key: str, asked: Mapping[str, Any]) -> float:
        return span_s(self.sheet, "alarm", index, key, str(asked.get(key, ALARM[key].default)))

    def _wrong(self, index: int, key: str, message: str, fix: str) -> None:
        self.sheet.mistake("alarm", index, key, message, fix)


def span_s(sheet: Sheet, table: str, index: int, key: str, text: str) -> float:
    """A span within its bounds; what is wrong is said."""
    low, high, form = SPANS[key]
    try:
        found = parse_duration_s(text, key)
    except BadRequest as error:
        sheet.mistake(table, index, key, error.message, error.hint)
        return low
    if not low <= found <= high:
        sheet.mistake(table, index, key, f"{key} = {text!r}", f"take {form}")
    return found


def _plain(limit: str) -> str:
    """As the simulation writes it: `tank_1.level<1`."""
    form = re.fullmatch(r"\s*([\w.]+)\s*([<>])=?\s*(\S+)\s*", limit, re.ASCII)
    try:
        return limit if form is None else f"{form[1]}{form[2]}{float(form[3]):g}"
    except ValueError:
        return limit
