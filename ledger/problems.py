"""A finding of the verifier, as a value that a person can act on, and how a time is said.

Must not know what was verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Problem:
    """Where, what is wrong there, and what to do about it."""

    place: str
    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.hint}"


def utc(time_s: int) -> str:
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a year that the calendar has not
        return f"{time_s} s"
