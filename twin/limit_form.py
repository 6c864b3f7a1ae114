"""What to write where a text is no limit: many are conditions, which take more; pure, must not know points."""

from __future__ import annotations

import re

FORM = "write point<value or point>value, in the point's unit: tank_1.level<3"
CONDITIONS = "`and`, `or`, units and sums are for conditions: an interlock's require, `when`, `suppress_when`"
TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}

_POINT, _NUMBER = r"[A-Za-z]\w*(?:\.\w+)+", r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_PLAIN = re.compile(rf"\s*({_POINT})\s*(<=|>=|<|>)\s*({_NUMBER})\s*(\S*)\s*", re.ASCII)
_AROUND = re.compile(rf"\s*({_NUMBER})\s*(\S*?)\s*(<=|>=|<|>)\s*({_POINT})\s*", re.ASCII)
_JOINED = re.compile(r"\s+(and|or)\s+")


def limit_fix(text: str) -> str:
    """How the text is written as a limit, or as several; else the form."""
    return rewritten(text) or f"{FORM}; {CONDITIONS}"


def rewritten(text: str) -> str:
    """ "" where it is no comparison of points with numbers."""
    parts = _JOINED.split(text)
    limits = [_one(part) for part in parts[::2]]
    if not all(limits):
        return ""
    if len(limits) == 1:
        return f"write {limits[0]}: the number is in the point's unit, which is not written"
    each = " and ".join(f'"{limit}"' for limit in limits)
    both = "; that both hold at once only a condition says" if "and" in parts else ""
    return f"one limit is one comparison: write {each}{both}"


def _one(text: str) -> str:
    """ "" where it is none."""
    if plain := _PLAIN.fullmatch(text):
        return f"{plain[1]}{plain[2]}{plain[3]}"
    if around := _AROUND.fullmatch(text):
        return f"{around[4]}{TURNED[around[3]]}{around[1]}"
    return ""
