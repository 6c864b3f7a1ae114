"""Hints for names that are not known; must not know what is named."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

COMPARED_MAX = 20_000  # names: a fraction of a second


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the names most like the unknown one; "" when none is."""
    close = get_close_matches(name, islice(known, COMPARED_MAX), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else ""
