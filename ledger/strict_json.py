"""What JSON from a stranger may not do: say a name twice, or nest so deep that reading it ends the process."""

from __future__ import annotations

import re
from collections import Counter
from itertools import accumulate
from typing import Any

NESTING_MAX = 500
"""Half of what Python's own limit allows; py-evm raises that limit so far that the stack ends before it."""

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r"[\[\]{}]")
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


def bounded(text: str) -> str:
    """The text itself, for `json.loads`. Raises ValueError when it nests deeper than NESTING_MAX."""
    if text.count("[") + text.count("{") > NESTING_MAX:
        bare = _TEXT.sub("", text)
        if max(accumulate(_STEP[found[0]] for found in _BRACKETS.finditer(bare)), default=0) > NESTING_MAX:
            raise ValueError(f"nested deeper than {NESTING_MAX} levels")
    return text


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: a name that stands twice is one thing to one reader and another to the next. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the name {str(twice)[:80]!r} stands twice in one object")
    return found
