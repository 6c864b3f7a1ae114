"""Reads the table [lookahead] of plant.toml into a Lookahead; says every mistake. Must not know the simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twin.errors import BadRequest
from twin.limitsheet import check_limits
from twin.lookahead import Lookahead
from twin.nearest import nearest
from twin.points import Point
from twin.rules import Setting
from twin.sheet import Sheet
from twin.when import parse_duration_s

DEFAULT = Lookahead()
LIMITS_MAX = 50  # each is a line on a screen that somebody has to read, and their points must fit into one forecast
EVERY_MIN_S, EVERY_MAX_S = 2.0, 86_400.0  # a forecast of Net3 takes half a second of both cores
HORIZON_MIN_S, HORIZON_MAX_S = 600.0, 7 * 86_400.0  # ten samples a minute apart; as far as the simulation looks
OFF_DELAY_MAX_S = 86_400.0  # a limit that nobody hears of for longer is no limit of the plant

LOOKAHEAD: Mapping[str, Setting] = {
    "every": Setting(str, "60s", "from one look to the next, such as 30s"),
    "horizon": Setting(str, "4h", "how far to look, such as 4h"),
    "replications": Setting(int, DEFAULT.replications, "simulated futures of each look, a whole number", 20, 2_000),
    "p_min": Setting(float, DEFAULT.p_min, "probability from which an alarm is predicted, above 0", 0.01, 1),
    "p_clear": Setting(float, DEFAULT.p_clear, "probability below which it is taken back, below p_min", 0, 1),
    "off_delay": Setting(str, "5m", "how long a passed limit must be kept before it is predicted again, such as 5m"),
    "limits": Setting(list, None, 'what should not come to hold: ["tank_1.level<1"]'),
    "counters": Setting(list, None, 'points that only count up: ["line.packed"]'),
}


def read_lookahead(sheet: Sheet, points: Mapping[str, Point], others: Iterable[str]) -> Lookahead | None:
    """None where the plant has no such table.

    Args:
        others: the limits that hold where the table names none: those of the plant's policies.
    """
    table = sheet.document.get("lookahead")
    if not isinstance(table, dict):
        return None  # left out, or said by check_tables
    before = len(sheet.mistakes.found)
    asked = sheet.settings("the look-ahead", "lookahead", 0, table, LOOKAHEAD)
    every_s = _span_s(sheet, "every", str(asked["every"]), EVERY_MIN_S, EVERY_MAX_S, "2s … 1d")
    horizon_s = _span_s(sheet, "horizon", str(asked["horizon"]), HORIZON_MIN_S, HORIZON_MAX_S, "10m … 7d")
    off_delay_s = _span_s(sheet, "off_delay", str(asked["off_delay"]), 0.0, OFF_DELAY_MAX_S, "0s … 1d")
    limits = tuple(dict.fromkeys(others)) if asked["limits"] is None else tuple(asked["limits"])
    if asked["limits"] is not None:
        check_limits(sheet, points, "lookahead", 0, limits)
    counters = tuple(dict.fromkeys(asked["counters"] or ()))
    for name in counters:
        if name not in points:
            _wrong(sheet, "counters", f"{name!r} is no point", nearest(str(name), points) or "name a point")
    if len(limits) > LIMITS_MAX:
        _wrong(sheet, "limits", f"{len(limits)} limits", f"at most {LIMITS_MAX}: name those that people would act on")
    if not asked["p_clear"] < asked["p_min"]:
        what = f"p_clear = {asked['p_clear']:g} is not below p_min = {asked['p_min']:g}"
        _wrong(sheet, "p_clear", what, "leave a gap, or alarms come and go: p_min = 0.5 and p_clear = 0.2")
    if not sheet.document.get("model"):
        _wrong(sheet, "", "the plant has no [model] to look ahead with", "add [model], or remove [lookahead]")
    if len(sheet.mistakes.found) > before:
        return DEFAULT  # the plant is not loaded
    chances = asked["p_min"], asked["p_clear"]
    return Lookahead(every_s, horizon_s, asked["replications"], *chances, off_delay_s, limits, counters)


def _span_s(sheet: Sheet, key: str, text: str, low: float, high: float, form: str) -> float:
    try:
        span_s = parse_duration_s(text, key)
    except BadRequest as error:
        _wrong(sheet, key, error.message, error.hint)
        return low
    if not low <= span_s <= high:
        _wrong(sheet, key, f"{key} = {text!r}", f"take {form}")
    return span_s


def _wrong(sheet: Sheet, key: str, message: str, fix: str) -> None:
    sheet.mistake("lookahead", 0, key, message, fix)
