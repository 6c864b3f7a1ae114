"""How often somebody may try to sign in; pure: the clock is an argument, nothing is hashed or read here."""

from __future__ import annotations

from collections import OrderedDict, deque

from protocols.link import Clock
from twin.errors import Denied

WINDOW_S = 60.0
FAILED_BY_PEER_MAX = 10  # a person mistypes a few times; a program with an old password asks every few seconds
FAILED_BY_NAME_MAX = 30  # from anywhere: more than one place needs, so that one place cannot lock a name out
REMEMBERED_MAX = 10_000  # peers and names; the one that failed longest ago is forgotten first


class Attempts:
    """Failed attempts of the last WINDOW_S by peer and by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def check(self, name: str, peer: str) -> None:
        """
        Raises:
            Denied: too many failed; the message says how long to wait.
        """
        now = self._clock()
        for kind, who, most in (("peer", peer, FAILED_BY_PEER_MAX), ("name", name, FAILED_BY_NAME_MAX)):
            times = self._failed.get((kind, who))
            while times and times[0] <= now - int(WINDOW_S * 1e9):
                times.popleft()
            if times and len(times) >= most:
                wait_s = WINDOW_S - (now - times[0]) / 1e9
                raise Denied(f"{len(times)} attempts of {kind} {who!r} failed", f"wait {wait_s:.0f} s")

    def note(self, name: str, peer: str, right: bool) -> None:
        """The outcome of an attempt; a right password clears what its peer did before."""
        if right:
            self._failed.pop(("peer", peer), None)
            return
        for key, most in ((("peer", peer), FAILED_BY_PEER_MAX), (("name", name), FAILED_BY_NAME_MAX)):
            self._failed.setdefault(key, deque(maxlen=most)).append(self._clock())
            self._failed.move_to_end(key)
        while len(self._failed) > REMEMBERED_MAX:
            self._failed.popitem(last=False)
