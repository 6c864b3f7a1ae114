"""Who is signed in: sessions by the hash of their secret, with where they came from; pure, in memory only.

A restart ends them all: nothing on disk could let somebody in, and no revocation can be undone by going back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from control.identity import Caller
    from protocols.link import Clock

SESSION_S = 12 * 3600.0  # one shift
IDLE_S = 2 * 3600.0  # with no call and no open socket: a console that is open in a control room is none
SESSIONS_MAX = 1_000  # the one unseen longest goes first, so that nobody can fill memory by signing in
SESSIONS_EACH_MAX = 20  # of one name, so that nobody can push others out
ID_LENGTH = 16  # hex digits of the secret's hash that name a session where it is shown
AGENT_MAX = 200  # characters


@dataclass(frozen=True, slots=True)
class Origin:
    """How somebody came in: `by` is a word such as password, `agent` what the program calls itself.

    `hint` is what a provider of identities wants to see again when the session ends; `subject` is whom it calls the person,
    `sid` what it calls its own session ("" where it does not say).
    """

    by: str
    peer: str = ""
    agent: str = ""
    hint: str = ""
    subject: str = ""
    sid: str = ""


@dataclass(slots=True)
class Session:
    """One that has not ended. Times are ns."""

    id: str
    caller: Caller
    origin: Origin
    since: int
    seen: int
    ends: int


class Sessions:
    """All of them."""

    def __init__(self, clock: Clock, new_secret: Callable[[], str], life_s: float, idle_s: float) -> None:
        self._clock, self._new_secret = clock, new_secret
        self.life_s, self.idle_s = life_s, idle_s
        self._held: dict[str, Session] = {}

    def give(self, caller: Caller, origin: Origin, life_s: float | None = None) -> str:
        """A secret that stands for the caller from now on, for `life_s` where that is less than usual."""
        self._make_room(caller.name)
        secret, now = self._new_secret(), self._clock()
        name = hash_of(secret)
        life_ns = int(min(self.life_s, self.life_s if life_s is None else life_s) * 1e9)
        origin = replace(origin, agent=origin.agent[:AGENT_MAX])
        self._held[name] = Session(name[:ID_LENGTH], caller, origin, now, now, now + life_ns)
        return secret

    def _make_room(self, name: str) -> None:
        self.all()
        own = [h for h, s in self._held.items() if s.caller.name == name]
        while len(own) >= SESSIONS_EACH_MAX:
            oldest = min(own, key=lambda h: self._held[h].seen)
            own.remove(oldest)
            del self._held[oldest]
        while len(self._held) >= SESSIONS_MAX:
            del self._held[min(self._held, key=lambda h: self._held[h].seen)]

    def named(self, name: str) -> Session | None:
        """By the secret's hash, if it has not ended; it counts as seen now."""
        found = self._held.get(name)
        if found is None:
            return None
        now = self._clock()
        if self._over(found, now):
            del self._held[name]
            return None
        found.seen = now
        return found

    def all(self) -> list[Session]:
        """Newest first; those that ended are forgotten."""
        now = self._clock()
        for name in [name for name, s in self._held.items() if self._over(s, now)]:
            del self._held[name]
        return sorted(self._held.values(), key=lambda s: -s.since)

    def end(self, ends: Callable[[Session], bool]) -> list[Session]:
        """Those that ended by it."""
        ended = {name: s for name, s in self._held.items() if ends(s)}
        for name in ended:
            del self._held[name]
        return list(ended.values())

    def _over(self, session: Session, now: int) -> bool:
        return now >= session.ends or now - session.seen >= self.idle_s * 1e9


def hash_of(secret: str) -> str:
    """Secrets are long and by chance: a fast hash keeps them as well as a slow one."""
    return hashlib.sha256(secret.encode()).hexdigest()
