"""The [model] table of kind "layout", checked against the plant and its layout: every mistake with its place and fix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sim.kernel.assembly import assemble
from sim.kernel.chance import EXPONENTIAL
from sim.kernel.loop import AMOUNT, FLOW, LENT, NUMBER
from sim.kernel.names import Names
from sim.layout import Layout, Placed
from sim.layout_file import SHOWS, LayoutFile, load
from sim.layout_model import ELSE, SOURCE_TIME, STATIONARY, LayoutModel, Setting, Tie, Unmeasured
from sim.layout_words import (
    DISTRIBUTIONS,
    distribution,
    filled,
    is_number,
    limited,
    meaning,
    parameters_of,
    probabilities,
    some,
    value_words,
    values_hint,
)
from sim.resume import resume_of
from sim.spec import Buffer, Distribution, Level, Misspelt, Opaque, Resource, Signal, Timer
from twin.errors import BadRequest
from twin.plant import Plant, nearest
from twin.points import Point
from twin.units import UNITS, conversion

KEYS = frozenset(
    {"kind", "layout", "parameters", "stale_after_s", "outputs", "given", "read", "set", "unmeasured"}
)  # fmt: skip
ROW_KEYS: Mapping[str, frozenset[str]] = {
    "read": frozenset({"for", "point", "state", "field", "queue", "timer", "figure", "map", "age", "factor", "sd"}),
    "set": frozenset({"for", "point", "target", "map", "factor"}),
    "unmeasured": frozenset({"for", "state", "field", "queue", "timer", "like", "last"}),
}
KINDS = ("state", "field", "queue", "timer", "figure")
ROWS_MAX = 100_000  # ten for each component of the largest layout
SHOWN = (AMOUNT, NUMBER, LENT, FLOW)  # figures that mean something at any moment


def read_layout_model(plant: Plant) -> LayoutModel:
    """The plant's model.

    Raises:
        BadRequest: the [model] table or the layout file has mistakes; all of them are listed.
    """
    model, mistakes = parse_layout_model(plant)
    if model is None:
        raise BadRequest(f"the model of {plant.id} has {len(mistakes)} mistake(s)\n" + "\n".join(mistakes))
    return model


def parse_layout_model(plant: Plant) -> tuple[LayoutModel | None, list[str]]:
    """The model and no mistakes, or None and every mistake."""
    table, mistakes = plant.model, []
    for key in sorted(table.keys() - KEYS):
        mistakes.append(f"model.{key} is unknown; {nearest(key, KEYS) or 'take it away'}")
    parameters = parameters_of(table.get("parameters", {}), mistakes)
    try:
        file = load(Path(plant.folder), str(table.get("layout", "")))
        layout = file.layout(parameters)
        names = Names(assemble(layout))
    except (BadRequest, Misspelt) as wrong:
        return None, [*mistakes, f"model.layout: {wrong}"]
    sheet = _Sheet(plant, names, mistakes)
    sheet.read(table)
    _check_known(sheet, table)
    stale = limited(table, "stale_after_s", "model", 0.1, 86_400.0, mistakes)
    if plant.clock is None:
        mistakes.append("plant.clock is missing; name the point that tells the plant's time")
    outputs = _outputs(table.get("outputs", []), sheet)
    if mistakes:
        return None, mistakes
    return LayoutModel(
        file=file.path, parameters=parameters, layout=layout, hash=_hash(table, file, layout), clock=plant.clock or "",
        stale_after_s=stale, outputs=outputs, ties=tuple(sheet.ties), reads=sheet.followed(), sets=sheet.sets,
        unmeasured=tuple(sheet.unmeasured), shows=getattr(file.module, SHOWS, None),
    ), []  # fmt: skip


@dataclass(slots=True)
class _Sheet:
    """The rows as parsed and where their mistakes go."""

    plant: Plant
    names: Names
    mistakes: list[str]
    ties: list[Tie] = field(default_factory=list)
    sets: dict[str, Setting] = field(default_factory=dict)
    unmeasured: list[Unmeasured] = field(default_factory=list)

    def read(self, table: Mapping[str, Any]) -> None:
        for place, row in self._rows(table, "read"):
            self._tie(place, row)
        for place, row in self._rows(table, "set"):
            self._setting(place, row)
        for place, row in self._rows(table, "unmeasured"):
            self._unknown(place, row)
        seen: set[tuple[str, str]] = set()
        for tie in self.ties:
            if tie.kind != "figure" and (tie.kind, tie.target) in seen:
                self.wrong("model", f"{tie.target} is told twice", "keep one of the rows")
            seen.add((tie.kind, tie.target))
        for unknown in self.unmeasured:
            if (unknown.kind, unknown.target) in seen and unknown.kind != "queue":
                self.wrong("model", f"{unknown.target} is read and drawn, or drawn twice", "keep one of the rows")
            seen.add((unknown.kind, unknown.target))

    def wrong(self, place: str, what: str, fix: str = "") -> None:
        self.mistakes.append(f"{place}: {what}" + (f"; {fix}" if fix else ""))

    def followed(self) -> dict[str, Tie]:
        """By point, the rows of which the layout has a figure at any moment."""
        known = self.names.readings
        return {
            t.point: t
            for t in self.ties
            if t.target in known and (t.shown or (known[t.target].kind in SHOWN and not t.map))
        }

    def _rows(self, table: Mapping[str, Any], section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each row, once for each name in its `for`, the star in its texts replaced by it."""
        rows = table.get(section, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or len(rows) > ROWS_MAX:
            self.wrong(f"model.{section}", f"{rows!r}", f"write rows, [[model.{section}]]")
            return
        for number, row in enumerate(rows, 1):
            place = f"model.{section} {number}"
            for key in sorted(row.keys() - ROW_KEYS[section]):
                self.wrong(place, f"{key!r} is unknown", nearest(key, ROW_KEYS[section]) or "take it away")
            each = row.get("for", [""])
            if not isinstance(each, list) or not all(isinstance(name, str) for name in each):
                self.wrong(place, f"for is {each!r}", 'write for = ["filler", "packer"]')
                continue
            for name in each:
                yield (f"{place} ({name})" if name else place), filled(row, name)

    def _tie(self, place: str, row: Mapping[str, Any]) -> None:
        kind = self._kind(place, row, KINDS)
        point = self._point(place, row.get("point"))
        if kind is None or point is None:
            return
        target = str(row[kind])
        factor = limited(row, "factor", place, -1e12, 1e12, self.mistakes, 1.0)
        sd = limited(row, "sd", place, 0.0, 1e12, self.mistakes, 0.0)
        if kind == "state":
            self._state(place, row, point, target)
        elif kind == "figure" and "map" in row:
            self._shown(place, row, point, target)
        elif self._target(place, kind, target):
            if factor == 0.0 or (point.type not in ("double", "integer", "boolean", "enum")):
                self.wrong(place, f"{point.name} is no number", "read a number, and give a factor other than 0")
            elif sd and (kind != "field" or self._counted(target)):
                self.wrong(place, f"sd of {target}", "only levels, signals and numbers of a component are uncertain")
            elif kind == "timer" and "factor" not in row:
                if (given := self._time(place, point)) is not None:
                    self.ties.append(Tie(point.name, target, kind, given))
            else:
                self.ties.append(Tie(point.name, target, kind, factor, sd=sd * abs(factor)))

    def _state(self, place: str, row: Mapping[str, Any], point: Point, target: str) -> None:
        if not self._target(place, "state", target):
            return
        words, values = row.get("map"), self.names.modes[target]
        if not isinstance(words, dict) or not words:
            self.wrong(place, f"map is {words!r}", f'write map = {{ "value" = "{values[0]}" }}')
            return
        made: dict[float | str, str] = {}
        for said, value in words.items():
            meant = ELSE if said == ELSE else meaning(point, said)
            if meant is None:
                self.wrong(place, f"{point.name} is never {said!r}", values_hint(point))
            elif value not in values:
                self.wrong(place, f"{target} is never {value!r}", f"one of {', '.join(values)}")
            else:
                made[meant] = value
        age, factor = str(row.get("age", "")), 1.0
        if age == SOURCE_TIME:
            factor = 1.0 / self.names.assembly.layout.unit_s
        elif age:
            told = self._point(place, age)
            given = None if told is None else self._time(place, told)
            factor = 1.0 if given is None else given
        self.ties.append(Tie(point.name, target, "state", map=made, age=age, age_factor=factor))

    def _shown(self, place: str, row: Mapping[str, Any], point: Point, target: str) -> None:
        """What the point shows in each value of a state: for what-ifs to follow, not to start from."""
        if not self._target(place, "state", target):
            return
        words, values = row["map"], self.names.modes[target]
        if not isinstance(words, dict):
            self.wrong(place, f"map is {words!r}", f'write map = {{ {values[-1]} = true, "*" = false }}')
            return
        made = {}
        for value, said in words.items():
            word = str(said).lower() if isinstance(said, bool) else str(said)
            number = meaning(point, word)
            if value != ELSE and value not in values:
                self.wrong(place, f"{target} is never {value!r}", f"one of {', '.join(values)}")
            elif not isinstance(number, float):
                self.wrong(place, f"{point.name} is never {said!r}", values_hint(point))
            else:
                made[value] = number
        silent = [value for value in values if value not in made and ELSE not in made]
        if silent:
            self.wrong(place, f"map says nothing of {', '.join(silent)}", f'add them, or "{ELSE}" for all others')
            return
        shown = tuple(made[value] if value in made else made[ELSE] for value in values)
        self.ties.append(Tie(point.name, target, "figure", shown=shown))

    def _setting(self, place: str, row: Mapping[str, Any]) -> None:
        point = self._point(place, row.get("point"))
        if point is None:
            return
        if not point.writable:
            self.wrong(place, f"{point.name} is not writable", "give it access rw")
        if point.name in self.sets:
            self.wrong(place, f"{point.name} is set twice", "keep one of the rows")
        factor = limited(row, "factor", place, -1e12, 1e12, self.mistakes, 1.0)
        if "map" not in row:
            target = str(row.get("target", ""))
            if self._settable(place, target) and self.names.targets[target].values:
                self.wrong(place, f"{target} is a state", 'write map = { on = "…=…" }')
            self.sets[point.name] = Setting(point.name, target, factor)
            return
        words = row["map"] if isinstance(row["map"], dict) else {}
        made: dict[float, tuple[str, float | str]] = {}
        for said, what in words.items():
            meant = meaning(point, said)
            target, equals, value = (part.strip() for part in str(what).partition("="))
            if not isinstance(meant, float):
                self.wrong(place, f"{point.name} is never {said!r}", values_hint(point))
            elif self._settable(place, target):
                self._value(place, target, value, bool(equals), made, meant)
        if not words:
            self.wrong(place, f"map is {row['map']!r}", 'write map = { true = "filler.start", false = "filler.stop" }')
        self.sets[point.name] = Setting(point.name, "", 1.0, made, value_words(point))

    def _value(
        self,
        place: str,
        target: str,
        value: str,
        equals: bool,
        made: dict[float, tuple[str, float | str]],
        meant: float,
    ) -> None:
        """One entry of the map of a setting: a command, or `target=value`."""
        known = self.names.targets[target]
        if known.runs and not equals:
            made[meant] = (target, 0.0)
        elif known.values and value in known.values:
            made[meant] = (target, value)
        elif not known.values and not known.runs and is_number(value):
            made[meant] = (target, float(value))
        else:
            wanted = "a command" if known.runs else f"{target}={known.values[0] if known.values else 'number'}"
            self.wrong(place, f"{target}={value}", f"write {wanted}")

    def _unknown(self, place: str, row: Mapping[str, Any]) -> None:
        kind = self._kind(place, row, KINDS[:-1])
        if kind is None:
            return
        target, like = str(row[kind]), row.get("like")
        if not self._target(place, kind, target):
            return
        if kind == "timer" and like == STATIONARY:
            self.unmeasured.append(Unmeasured(target, kind, STATIONARY))
        elif kind == "state":
            values = self.names.modes[target]
            likely = probabilities(like)
            if likely is None or not likely.keys() <= set(values):
                self.wrong(place, f"like is {like!r}", f"probabilities that sum to 1, of {', '.join(values)}")
            else:
                self.unmeasured.append(Unmeasured(target, kind, likely))
        elif (drawn := distribution(like)) is not None:
            last = int(limited(row, "last", place, 0, 1e6, self.mistakes)) if "last" in row else None
            self.unmeasured.append(Unmeasured(target, kind, drawn, last))
        else:
            hint = "like = { uniform = [0, 5] }" + (f' or "{STATIONARY}"' if kind == "timer" else "")
            self.wrong(place, f"like is {like!r}", f"write {hint}; known: {', '.join(DISTRIBUTIONS)}")

    # --- names -------------------------------------------------------------------------------------------------------

    def _kind(self, place: str, row: Mapping[str, Any], kinds: Iterable[str]) -> str | None:
        found = [kind for kind in kinds if kind in row]
        if len(found) == 1 and isinstance(row[found[0]], str):
            return found[0]
        self.wrong(place, f"it tells {' and '.join(found) or 'nothing'}", f"one of {', '.join(kinds)}, as text")
        return None

    def _point(self, place: str, name: object) -> Point | None:
        found = self.plant.point_of_name.get(name) if isinstance(name, str) else None
        if found is None:
            hint = nearest(name, list(self.plant.point_of_name)) if isinstance(name, str) else ""
            self.wrong(place, f"{name!r} is no point", hint or 'write point = "twin.property"')
        return found

    def _time(self, place: str, point: Point) -> float | None:
        """The layout's units of time in one of the point's."""
        try:
            return conversion(UNITS[point.unit], UNITS["s"])[0] / self.names.assembly.layout.unit_s
        except (ValueError, KeyError):
            self.wrong(place, f"{point.name} is in {point.unit!r}", "an age needs a unit of time")
            return None

    def _target(self, place: str, kind: str, name: str) -> bool:
        known = self.of_kind(kind)
        if name in known:
            return True
        self.wrong(place, f"the layout has no {kind} {name!r}", nearest(name, known) or some(known))
        return False

    def _settable(self, place: str, name: str) -> bool:
        if name in self.names.targets:
            return True
        known = list(self.names.targets)
        self.wrong(place, f"nothing that can be set is called {name!r}", nearest(name, known) or some(known))
        return False

    def _counted(self, target: str) -> bool:
        """Whether it counts whole things."""
        name = target.rpartition(".")[0]
        return any(e.name == name and e.kind in (Buffer, Resource) for e in self.names.assembly.layout.entities)

    def of_kind(self, kind: str) -> list[str]:
        """The names of all that a row of that kind may tell."""
        names, layout = self.names, self.names.assembly.layout
        if kind == "state":
            return list(names.modes)
        if kind == "field":
            return [n for n, t in names.targets.items() if not t.runs and not t.values]
        if kind == "queue":
            return [e.name for e in layout.entities if e.size]
        if kind == "figure":
            return [n for n, r in names.readings.items() if r.kind in SHOWN]
        return [f"{c.name}.{t.name}" for c in layout.components for t in c.type.timers]


def _check_known(sheet: _Sheet, table: Mapping[str, Any]) -> None:
    """Everything that a start needs is read, drawn, or given."""
    given = table.get("given", [])
    if not isinstance(given, list) or not all(isinstance(g, str) for g in given):
        sheet.wrong("model.given", f"{given!r}", 'write a list of names: given = ["supply"]')
        given = []
    told = {(t.kind, t.target) for t in sheet.ties} | {(u.kind, u.target) for u in sheet.unmeasured}
    unused = set(given)
    layout = sheet.names.assembly.layout

    def needs(kind: str, target: str, name: str) -> None:
        patterns = [g for g in given if fnmatchcase(name, g)]
        unused.difference_update(patterns)
        if (kind, target) not in told and not patterns:
            fix = f'[[model.read]] with {kind} = "{target}", [[model.unmeasured]], or given = ["{name}"]'
            sheet.wrong("model", f"nothing tells {target}", f"add {fix}")

    for name, values in sheet.names.modes.items():
        if len(values) > 1:
            needs("state", name, name)
    for e in layout.entities:
        if e.size:
            needs("queue", e.name, e.name)
            if ("queue", e.name) in {(t.kind, t.target) for t in sheet.ties} and not any(
                u.kind == "queue" and u.target == e.name for u in sheet.unmeasured
            ):
                sheet.wrong("model", f"nothing tells what is in {e.name}", "[[model.unmeasured]] with queue and like")
        elif e.kind in (Buffer, Level):
            needs("field", f"{e.name}.level", e.name)
        elif e.kind is Signal:
            needs("field", e.name, e.name)
    for component in layout.components:
        _check_timers(sheet, component, told)
    for pattern in sorted(unused):
        sheet.wrong("model.given", f"{pattern!r} is nothing that a start needs", "take it away")


def _check_timers(sheet: _Sheet, component: Placed, told: set[tuple[str, str]]) -> None:
    """Of each timer it is known when it runs, and how long it has been running."""
    resume, kind = resume_of(component.type.cls), component.type
    going = {g.timer.name: g for g in resume.going}
    aged = {t.target for t in sheet.ties if t.kind == "state" and t.age}
    if any(not handler.trigger.anew for handler in kind.of("process")):
        sheet.wrong(
            "model", f"{component.name} is a SimPy process, whose state nobody can tell",
            "write it with timers, or so that it can begin anew: @process_anew",
        )  # fmt: skip
    begun = kind.cls.begins_with if issubclass(kind.cls, Opaque) else frozenset()
    for timer in kind.timers:
        name = f"{component.name}.{timer.name}"
        if timer.name in begun:
            continue
        if timer.name not in going:
            if resume.then is None:
                sheet.wrong("model", f"nothing says when {name} runs", f"resume = Resume(…) in class {kind.name}")
            continue
        rule = going[timer.name]
        if timer.chance is None:
            sheet.wrong("model", f"{name} has no distribution", f"start it in `then` of class {kind.name}'s resume")
        elif not (
            _forgets(component, timer) or ("timer", name) in told
            or (rule.aged and rule.while_ is not None and f"{component.name}.{rule.while_.state.name}" in aged)
        ):  # fmt: skip
            fix = f'[[model.read]] or [[model.unmeasured]] with timer = "{name}" (like = "{STATIONARY}")'
            sheet.wrong(
                "model", f"nothing tells for how long {name} has been running", f"add {fix}, or the age of its state"
            )


def _forgets(component: Placed, timer: Timer) -> bool:
    """Whether what remains does not depend on the age."""
    assert timer.chance is not None
    given = component.values.get(timer.chance.name, timer.chance)
    return isinstance(given, Distribution) and given.kind == EXPONENTIAL


def _outputs(names: object, sheet: _Sheet) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        sheet.wrong("model.outputs", f"{names!r}", 'write a list of points: outputs = ["…"]')
        return ()
    known = sheet.followed()
    for name in names:
        if name not in known:
            sheet.wrong("model.outputs", f"{name!r} is read by no row as a number", nearest(name, known) or some(known))
    return tuple(names)


def _hash(table: Mapping[str, Any], file: LayoutFile, layout: Layout) -> str:
    foreign = [kind.cls.fingerprint() for kind in layout.types if issubclass(kind.cls, Opaque)]
    return hashlib.sha256(json.dumps([table, file.hash, *foreign], sort_keys=True, default=str).encode()).hexdigest()
