"""Hints for names that are not known; must not know what is named."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nlargest

COMPARED_MAX = 200  # names compared letter by letter: some milliseconds
SCANNED_MAX = 100_000


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the names most like the unknown one; "" when none is."""
    names = [k for k, _ in zip(known, range(SCANNED_MAX), strict=False)]
    if len(names) > COMPARED_MAX:
        letters = {name[i : i + 2].lower() for i in range(len(name) - 1)}
        names = nlargest(COMPARED_MAX, names, key=lambda k: _alike(letters, k))
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else ""


def _alike(letters: set[str], other: str) -> float:
    """How many pairs of letters two names share, per pair they have; a cheap first look."""
    theirs = {other[i : i + 2].lower() for i in range(len(other) - 1)}
    return len(letters & theirs) / (len(letters) + len(theirs) or 1)
