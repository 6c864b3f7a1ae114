"""Limits as plant.toml writes them, `tank_1.level<3`: checked against the points there are; must not know what they are for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from twin.limit_form import limit_fix
from twin.nearest import nearest
from twin.points import Point
from twin.sheet import Sheet

_LIMIT = re.compile(
    r"\s*(?P<point>[A-Za-z][\w.]*)\s*(?P<sign>[<>])=?\s*(?P<value>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*",
    re.ASCII,
)


def check_limits(sheet: Sheet, points: Mapping[str, Point], table: str, index: int, limits: Iterable[str]) -> None:
    """What is wrong with the texts of a row's `limits` goes to the sheet's mistakes."""
    known: dict[tuple[str, str, str], str] = {}
    for text in limits:
        form = _LIMIT.fullmatch(text)
        if form is None:
            sheet.mistake(table, index, "limits", f"limit {text!r} is not understood", limit_fix(text))
            continue
        name = form["point"]
        same = name, form["sign"], f"{float(form['value']):g}"  # a limit is called by six digits
        if same in known:
            fix = "name each limit once; <= counts as <, and >= as >"
            sheet.mistake(table, index, "limits", f"limit {text!r} is {known[same]!r} again", fix)
            continue
        known[same] = text
        point = points.get(name)
        if point is None:
            fix = nearest(name, points) or "name a point"
            sheet.mistake(table, index, "limits", f"limit {text!r}: {name!r} is no point", fix)
        elif point.type not in ("double", "integer", "boolean"):
            what = f"limit {text!r}: {name} is of type {point.type}"
            sheet.mistake(table, index, "limits", what, "limit points that are numbers, or on and off as 1 and 0")
