"""Lists that people write in one line, with commas; must not know of what."""

from __future__ import annotations


def listed(text: str) -> list[str]:
    """In their order, without blanks around them and without empty ones."""
    return [word for part in text.split(",") if (word := part.strip())]
