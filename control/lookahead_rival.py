"""What a forecast of a counter must beat: that it goes on as it did. How fast that was, from look to look; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

KNOWN_SHARE = 0.25  # of the horizon: a pace over less of the past says little of the time ahead
KEPT = 96  # readings over a horizon: the pace is told to a hundredth of it


class Paces:
    """Readings of the counters over the last horizon, some KEPT of them.

    Args:
        counters: points that only count up.
    """

    def __init__(self, counters: Sequence[str], horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._read: Mapping[str, deque[tuple[float, float]]] = {name: deque() for name in counters}

    def look(self, clock_s: float, values: Mapping[str, float | None]) -> dict[str, float | None]:
        """What each rose by in a second over the last horizon, or as much of it as was seen; None: too little was.

        Args:
            clock_s: the plant's own time.
            values: what they read then; None where that was not good.
        """
        return {name: self._pace(read, clock_s, values.get(name)) for name, read in self._read.items()}

    def _pace(self, read: deque[tuple[float, float]], clock_s: float, value: float | None) -> float | None:
        if value is None:
            return None
        if read and (clock_s < read[-1][0] or value < read[-1][1]):
            read.clear()  # the clock was set back, or the counter began anew
        # The newest that is a horizon old stays, those before it do not.
        while len(read) > 1 and read[1][0] <= clock_s - self._horizon_s:
            read.popleft()
        found = None
        if read and clock_s - read[0][0] >= KNOWN_SHARE * self._horizon_s:
            found = (value - read[0][1]) / (clock_s - read[0][0])
        if not read or clock_s - read[-1][0] >= self._horizon_s / KEPT:
            read.append((clock_s, value))
        return found
