"""How often somebody may try to sign in; pure: the clock is an argument, nothing is hashed or read here."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from protocols.link import Clock
from twin.errors import Throttled


@dataclass(frozen=True, slots=True)
class Pace:
    """After `free` failures each further one doubles the wait, from one second up to `most_s`."""

    free: int
    most_s: float

    def wait_s(self, failed: int) -> float:
        return 0.0 if failed < self.free else min(2.0 ** min(failed - self.free, 30), self.most_s)


# A person mistypes a few times; a program with an old password asks every few seconds, for ever.
PEER = Pace(10, 300.0)
# From anywhere: more than one place needs, and a short wait, so that no stranger can lock somebody out.
NAME = Pace(30, 30.0)
FORGOTTEN_S = 900.0  # after the last failure
REMEMBERED_MAX = 10_000  # peers and names; the one that failed longest ago is forgotten first
KNOWN_MAX = 2_000  # names with the place from which they signed in


class Attempts:
    """Failed attempts by peer and by name; a place from which a name signed in waits for its own failures only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()  # how many, and when the last
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def check(self, name: str, peer: str) -> None:
        """
        Raises:
            Throttled: too many failed; it says how long to wait. Names that nobody has wait as others do.
        """
        now, place = self._clock(), _place(peer)
        rows = [(("peer", place), PEER)]
        if (name, place) not in self._known:
            rows.append((("name", name), NAME))
        for key, pace in rows:
            failed, last = self._failed.get(key, (0, now))
            left_s = pace.wait_s(failed) - (now - last) / 1e9
            if left_s > 0 and failed:
                raise Throttled(f"{failed} attempts of {key[0]} {key[1][:80]!r} failed", f"wait {left_s:.0f} s", left_s)

    def note(self, name: str, peer: str, right: bool) -> None:
        """The outcome of an attempt; a right password clears what its peer did before."""
        place = _place(peer)
        if right:
            self._failed.pop(("peer", place), None)
            self._known[name, place] = None
            self._known.move_to_end((name, place))
            while len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
            return
        now = self._clock()
        for key in (("peer", place), ("name", name)):
            failed, last = self._failed.get(key, (0, now))
            self._failed[key] = (1 if now - last > FORGOTTEN_S * 1e9 else failed + 1, now)
            self._failed.move_to_end(key)
        while len(self._failed) > REMEMBERED_MAX:
            self._failed.popitem(last=False)


def _place(peer: str) -> str:
    """The address, of IPv6 the network: whoever has one address there has 2^64."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False).network_address) + "/64"
    return str(address)
