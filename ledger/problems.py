"""A finding of the verifier, as a value that a person can act on.

Must not know what was verified.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Where, what is wrong there, and what to do about it."""

    place: str
    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.hint}"
