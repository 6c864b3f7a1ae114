"""One step in the life of a lease or a group; must not know either."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """
    Attributes:
        status: the one reached.
        time: ns since 1970 UTC.
        detail: why, in words.
        by: who did it; "" for the server itself.
    """

    status: str
    time: int
    detail: str
    by: str = ""

    def as_body(self) -> dict[str, object]:
        return {"status": str(self.status), "time": self.time / 1e6, "detail": self.detail, "by": self.by}
