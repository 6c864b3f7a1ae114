"""Reads the rows [[learned]] of plant.toml; says every mistake. Must not know models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from twin.controlsheet import Ground
from twin.errors import BadRequest
from twin.interface import NAME
from twin.learned import TASKS, Learned, Retraining, When
from twin.models import is_a
from twin.nearest import nearest
from twin.points import Point
from twin.rules import Setting
from twin.sheet import Sheet
from twin.when import parse_duration_s

ROWS_MAX = 50
POINTS_MAX = 1_000_000  # of all rows together
EVERY_MIN_S, EVERY_MAX_S = 0.1, 86_400.0  # ten times a second a sample of 10,000 twins; a day
AHEAD_STEPS_MAX = 2_000  # as far as a forecast is trained
LEARN_MAX_S = 3650 * 86_400.0
NUMBERS = ("double", "integer", "boolean")
WORDS = {"never": When.NEVER, "drift": When.DRIFT}  # of retrain; else a time

LEARNED: Mapping[str, Setting] = {
    "columns": Setting(list, None, 'properties that the model looks at, in order: ["flow", "pressure"]'),
    "every": Setting(str, "10s", "from one sample to the next, as in training, such as 10s"),
    "tell": Setting(list, None, 'forecast: the columns that are told, ["level"]; all of them without it'),
    "ahead": Setting(list, None, 'forecast: how far ahead, ["1m", "10m"]'),
    "deadband": Setting(float, 0.0, "changes of an answer up to it are not worth a record", 0.0),
    "retrain": Setting(str, "never", "what calls for a new training: never, drift, or a time such as 7d"),
    "learn": Setting(str, "30d", "the history that is learned from, such as 30d"),
    "hold": Setting(str, None, "newest part of it, held out for the contest, such as 6d; a fifth without it"),
}


def read_learned(sheet: Sheet, ground: Ground, first: int) -> tuple[Learned, ...]:
    """
    Args:
        ground: whose twins and points may be learned about. first: id of the first point that the rows may give.
    """
    found: dict[str, Learned] = {}
    answers: dict[str, str] = {}
    for index, row in sheet.rows("learned"):
        made = _row(sheet, ground, index, row, found)
        if made is None:
            continue
        made = replace(made, first=first)
        for point in made.points() if first + made.size <= POINTS_MAX else ():
            if point.name in ground.points or point.name in answers:
                _wrong(sheet, index, "id", f"{point.name} is there already", "give the row another id")
                break
            answers[point.name] = made.id
        if first + made.size > POINTS_MAX:
            _wrong(sheet, index, "twins", f"more than {POINTS_MAX:,} points", "name fewer twins, or tell less")
        found[made.id] = made
        first += made.size
    if len(found) > ROWS_MAX:
        _wrong(sheet, ROWS_MAX, "", f"{len(found)} rows [[learned]]", f"at most {ROWS_MAX}")
    return tuple(found.values())


def _row(
    sheet: Sheet, ground: Ground, index: int, row: Mapping[str, Any], found: Mapping[str, Learned]
) -> Learned | None:
    """None where it is wrong."""
    before = len(sheet.mistakes.found)
    identity, task = row["id"], row["task"]
    if not NAME.match(identity):
        _wrong(sheet, index, "id", f"id {identity!r}", "use letters, digits and _, letter first")
    if identity in found or identity in ground.twins or identity in ground.devices:
        _wrong(sheet, index, "id", f"something is called {identity!r} already", "give the row another id")
    if task not in TASKS:
        _wrong(sheet, index, "task", f"no task {task!r}", nearest(task, TASKS) or f"one of {', '.join(TASKS)}")
    asked = sheet.settings("a [[learned]]", "learned", index, row, LEARNED)
    twins = _twins(sheet, ground, index, row)
    units = _units(sheet, ground, index, twins, asked["columns"])
    every_s = _span_s(sheet, index, "every", str(asked["every"]), EVERY_MIN_S, EVERY_MAX_S)
    tell, ahead_s = _told(sheet, index, task, asked, every_s)
    retraining = _retraining(sheet, index, task, asked, every_s)
    if len(sheet.mistakes.found) > before:
        return None
    return Learned(
        identity, task, tuple(twins), tuple(asked["columns"]), units, every_s, tell, ahead_s, asked["deadband"], retraining
    )  # fmt: skip


def _twins(sheet: Sheet, ground: Ground, index: int, row: Mapping[str, Any]) -> list[str]:
    """In the order of the plant."""
    if not row.keys() & {"twins", "interface"}:
        _wrong(sheet, index, "", "learned about no twin", 'add interface = "…" or twins = ["…"]')
        return []
    before = len(sheet.mistakes.found)
    chosen = list(ground.twins)
    interface = row.get("interface")
    if isinstance(interface, str):
        if interface not in ground.interfaces:
            fix = nearest(interface, ground.interfaces) or "name an Interface of this plant"
            _wrong(sheet, index, "interface", f"unknown Interface {interface}", fix)
            return []
        chosen = [t for t in chosen if is_a(ground.twins[t].interface, interface, ground.interfaces)]
    if "twins" in row:
        texts = sheet.texts("learned", index, row, "twins")
        for text in texts:
            if not any(fnmatchcase(t, text) for t in chosen):
                _wrong(sheet, index, "twins", f"{text!r} is no such twin", nearest(text, chosen) or "name a twin")
        chosen = [t for t in chosen if any(fnmatchcase(t, text) for text in texts)]
    if not chosen and len(sheet.mistakes.found) == before:
        _wrong(sheet, index, "interface", f"no twin is a {interface}", "add one, or remove the row")
    return chosen


def _units(
    sheet: Sheet, ground: Ground, index: int, twins: Sequence[str], columns: Sequence[str] | None
) -> tuple[str, ...]:
    """Of each column, the same for all twins."""
    if not columns or len(set(columns)) < len(columns):
        _wrong(sheet, index, "columns", f"columns = {list(columns or ())}", 'name each once: columns = ["flow"]')
        return ()
    found: list[str] = []
    for column in columns:
        points = [(t, ground.points.get(f"{t}.{column}")) for t in twins]
        missing = [t for t, p in points if p is None]
        there = [p for _, p in points if p is not None]
        if missing:
            known = [p.property for p in ground.points.values() if p.twin == missing[0] and p.type in NUMBERS]
            fix = nearest(column, known) or f"it has {', '.join(known) or 'none'}"
            _wrong(sheet, index, "columns", f"{missing[0]} has no point {column!r}", fix)
            continue
        found.append(_unit(sheet, index, column, there))
    return tuple(found)


def _unit(sheet: Sheet, index: int, column: str, points: Sequence[Point]) -> str:
    for point in points:
        if point.type not in NUMBERS:
            _wrong(sheet, index, "columns", f"{point.name} is of type {point.type}", "name properties that are numbers")
            return ""
    units = sorted({p.unit for p in points})
    if len(units) > 1:
        _wrong(sheet, index, "columns", f"{column} has the units {', '.join(units)}", "name twins of one unit")
    return units[0] if units else ""


def _told(
    sheet: Sheet, index: int, task: str, asked: Mapping[str, Any], every_s: float
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """What a forecast tells, and how far ahead."""
    if task != "forecast":
        for key in ("tell", "ahead"):
            if asked[key] is not None and task in TASKS:
                _wrong(sheet, index, key, f"{key} is of forecasts", "leave it out")
        return (), ()
    columns = tuple(asked["columns"] or ())
    tell = columns if asked["tell"] is None else tuple(dict.fromkeys(asked["tell"]))
    for name in tell:
        if name not in columns:
            _wrong(sheet, index, "tell", f"{name!r} is no column", nearest(name, columns) or "name one of columns")
    if not asked["ahead"]:
        _wrong(sheet, index, "ahead", "a forecast of no time", 'add ahead = ["1m", "10m"]')
        return tell, ()
    ahead_s = []
    for text in dict.fromkeys(asked["ahead"]):
        far_s = _span_s(sheet, index, "ahead", str(text), every_s, AHEAD_STEPS_MAX * every_s)
        if not math.isclose(far_s / every_s, round(far_s / every_s)):
            _wrong(sheet, index, "ahead", f"{text} is no multiple of every = {every_s:g} s", "forecasts go in samples")
        ahead_s.append(far_s)
    return tell, tuple(sorted(ahead_s))


def _retraining(sheet: Sheet, index: int, task: str, asked: Mapping[str, Any], every_s: float) -> Retraining:
    default, text = Retraining(), str(asked["retrain"])
    when = WORDS.get(text, When.TIME)
    if when is not When.NEVER and task == "rul":
        _wrong(sheet, index, "retrain", "remaining life is learned from runs to failure", "train on such runs by hand")
    if when is When.TIME and not text[:1].isdigit():
        _wrong(
            sheet, index, "retrain", f"retrain = {text!r}", nearest(text, WORDS) or "never, drift, or a time such as 7d"
        )
        return default
    again_s = default.every_s if when is not When.TIME else _span_s(sheet, index, "retrain", text, 600.0, LEARN_MAX_S)
    learn_s = _span_s(sheet, index, "learn", str(asked["learn"]), 100 * every_s, LEARN_MAX_S)
    hold_s = learn_s / 5
    if asked["hold"] is not None:
        hold_s = _span_s(sheet, index, "hold", str(asked["hold"]), 20 * every_s, learn_s / 2)
    return Retraining(when, again_s, learn_s, hold_s)


def _span_s(sheet: Sheet, index: int, key: str, text: str, low_s: float, high_s: float) -> float:
    try:
        span_s = parse_duration_s(text, key)
    except BadRequest as error:
        _wrong(sheet, index, key, error.message, error.hint)
        return low_s
    if not low_s <= span_s <= high_s:
        _wrong(sheet, index, key, f"{key} = {text!r} is out of bounds", f"{low_s:g} s … {high_s:g} s")
        return low_s
    return span_s


def _wrong(sheet: Sheet, index: int, key: str, message: str, fix: str) -> None:
    sheet.mistake("learned", index, key, message, fix)
