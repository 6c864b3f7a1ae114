"""Who is calling: one-time login links, browser sessions, WebSocket tickets and the command line's token.

Pure but for the token file; must not know HTTP. All secrets are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from protocols.link import Clock
from twin.errors import Denied

LOGIN_LINK_S = 15 * 60.0  # long enough to walk to the other screen
SESSION_S = 12 * 3600.0  # one shift
TICKET_S = 30.0  # a page connects at once
HELD_MAX = 1_000  # of each kind; the oldest goes first, so that nobody can fill memory by asking
TOKEN_FILE = "api-token"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller; `name` becomes the author of commands."""

    name: str


@dataclass(slots=True)
class _Grants:
    """Secrets by their hash, each with whom it stands for and until when."""

    life_s: float
    clock: Clock
    new_secret: Callable[[], str]
    held: dict[str, tuple[Caller, int]]

    def give(self, caller: Caller) -> str:
        secret = self.new_secret()
        while len(self.held) >= HELD_MAX:
            del self.held[next(iter(self.held))]
        self.held[_hash(secret)] = (caller, self.clock() + int(self.life_s * 1e9))
        return secret

    def look(self, secret: str) -> Caller | None:
        found = self.held.get(_hash(secret))
        return found[0] if found and self.clock() < found[1] else None

    def use(self, secret: str) -> Caller | None:
        """Good once."""
        caller = self.look(secret)
        self.held.pop(_hash(secret), None)
        return caller


class Identity:
    """Everything that lets a caller in."""

    def __init__(self, directory: Path, clock: Clock, new_secret: Callable[[], str]) -> None:
        self._links = _Grants(LOGIN_LINK_S, clock, new_secret, {})
        self._sessions = _Grants(SESSION_S, clock, new_secret, {})
        self._tickets = _Grants(TICKET_S, clock, new_secret, {})
        self._token = _token(directory / TOKEN_FILE, new_secret)

    def login_link(self) -> str:
        """A secret that opens one session, once."""
        return self._links.give(Caller("operator"))

    def log_in(self, secret: str) -> str:
        """A session for a login link's secret.

        Raises:
            Denied: it was used, is too old, or never was one.
        """
        caller = self._links.use(secret)
        if caller is None:
            raise Denied("this login link was used or is too old", "`twinloop login` prints a new one")
        return self._sessions.give(caller)

    def log_out(self, session: str) -> None:
        self._sessions.use(session)

    def caller(self, session: str | None, token: str | None) -> Caller:
        """
        Raises:
            Denied: neither a living session nor the token.
        """
        if token is not None and hmac.compare_digest(token.encode(), self._token.encode()):
            return Caller("cli")
        found = self._sessions.look(session) if session else None
        if found is None:
            raise Denied(
                "not signed in", "open the login link that the server printed; `twinloop login` prints a new one"
            )
        return found

    def ticket(self, caller: Caller) -> str:
        return self._tickets.give(caller)

    def redeem(self, ticket: str) -> Caller:
        """
        Raises:
            Denied: the ticket was used, is too old, or never was one.
        """
        caller = self._tickets.use(ticket)
        if caller is None:
            raise Denied("this ticket was used or is too old", "ask for a new one: POST /api/v1/ticket")
        return caller


def _token(path: Path, new_secret: Callable[[], str]) -> str:
    """The command line's token: made once, readable by its owner only."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_secret())
    return path.read_text().strip()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
