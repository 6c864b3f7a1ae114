"""How many calls somebody may make: token buckets, one a caller or address; pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

KEPT_MAX = 10_000  # callers and addresses; the one heard longest ago is forgotten first, with a full bucket


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` for ever, and `burst` at once after a pause."""

    per_s: float
    burst: float


class Buckets:
    """One bucket a key, all of one rate."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._held: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, key: str, now_ns: int) -> float:
        """0 when the call may go on, else how many seconds until one may; then nothing was taken."""
        rate = self._rate
        left, then = self._held.get(key, (rate.burst, now_ns))
        left = min(rate.burst, left + max(0, now_ns - then) / 1e9 * rate.per_s)
        wait_s = 0.0 if left > 1 - 1e-9 else (1 - left) / rate.per_s
        self._held[key] = (left if wait_s else left - 1, max(then, now_ns))
        self._held.move_to_end(key)
        if len(self._held) > KEPT_MAX:
            self._held.popitem(last=False)
        return wait_s
