"""Which texts people may give, wherever they come in: reasons, notes, names; pure, and the only rule of its kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from twin.errors import BadRequest

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")
"""Unicode's Cc but tab and the ends of lines: a lone CR overwrites what stands before it on a terminal. And what turns the
direction of a text by force (UAX 9, 2.1 … 2.4): it reads otherwise than it is kept. Letters that go right to left need none."""
SECRETS = frozenset({"password", "old", "new"})
"""Nobody reads them, and one that was set elsewhere must still fit."""


def check_texts(given: Any) -> None:
    """
    Raises:
        BadRequest: a text has control characters; the message names the field.
    """
    for place, text in _texts(given, ""):
        if not text.isprintable() and (found := CONTROL.search(text)):
            raise BadRequest(
                f"{place or 'the body'} has the control character U+{ord(found[0]):04X}",
                "texts have letters, tabs and ends of lines",
            )


def _texts(given: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text with where it stands; a name of a map stands where its map does."""
    if isinstance(given, str):
        yield place, given
    elif isinstance(given, Mapping):
        for name, value in given.items():
            if isinstance(name, str):
                yield f"a name in {place or 'the body'}", name
            if name not in SECRETS:
                yield from _texts(value, f"{place}.{name}".lstrip("."))
    elif isinstance(given, list | tuple):
        for n, value in enumerate(given):
            yield from _texts(value, f"{place}[{n}]")
