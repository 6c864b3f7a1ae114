"""Who is calling: one-time login links, sessions, WebSocket tickets and the command line's token.

Pure but for the token file; must not know HTTP or passwords. All secrets are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from protocols.link import Clock
from twin.errors import Denied
from twin.role import Role

LOGIN_LINK_S = 15 * 60.0  # long enough to walk to the other screen
SESSION_S = 12 * 3600.0  # one shift
TICKET_S = 30.0  # a page connects at once
HELD_MAX = 1_000  # of each kind; the oldest goes first, so that nobody can fill memory by asking
TOKEN_FILE = "api-token"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        name: becomes the author of commands.
        account: the name is an account's, whose role is looked up again at every call.
        owner: it has shown the token, so it can read the data folder.
        session: which session it came by, hashed; "" for the token. When that ends, so does what was opened with it.
        made: tells the account from an earlier one of the same name.
    """

    name: str
    role: Role
    account: bool = False
    owner: bool = False
    session: str = field(default="", compare=False, repr=False)
    made: str = field(default="", compare=False, repr=False)


Standing = tuple[Role, str]
LINK = Caller("operator", Role.OPERATOR)
"""Whoever opened a login link that names no account."""
TOKEN = Caller("cli", Role.OPERATOR, owner=True)
RESERVED = frozenset({LINK.name, TOKEN.name})
"""No account may be called so: an author must be one person."""


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
        return self.named(_hash(secret))

    def named(self, name: str) -> Caller | None:
        """By the secret's hash."""
        found = self.held.get(name)
        return found[0] if found and self.clock() < found[1] else None

    def use(self, secret: str) -> Caller | None:
        """Good once."""
        caller = self.look(secret)
        self.held.pop(_hash(secret), None)
        return caller


class Identity:
    """Everything that lets a caller in.

    Args:
        standing: the role that an account has now, and what tells it from an earlier one of that name; Denied when there
            is no such account.
    """

    def __init__(
        self, directory: Path, clock: Clock, new_secret: Callable[[], str], standing: Callable[[str], Standing]
    ) -> None:
        self._links = _Grants(LOGIN_LINK_S, clock, new_secret, {})
        self._sessions = _Grants(SESSION_S, clock, new_secret, {})
        self._tickets = _Grants(TICKET_S, clock, new_secret, {})
        self._token = _token(directory / TOKEN_FILE, new_secret)
        self._standing = standing

    def login_link(self, account: str = "") -> str:
        """A secret that opens one session, once.

        Raises:
            Denied: there is no such account.
        """
        return self._links.give(self._caller(account) if account else LINK)

    def log_in(self, secret: str) -> tuple[Caller, str]:
        """Who a login link's secret stands for, and a session.

        Raises:
            Denied: it was used, is too old, or never was one; or the account was removed meanwhile.
        """
        caller = self._links.use(secret)
        if caller is None:
            raise Denied("this login link was used or is too old", "`twinloop login` prints a new one")
        caller = self.now(caller)
        return caller, self._sessions.give(caller)

    def session(self, account: str) -> tuple[Caller, str]:
        """A session for an account whose password fitted.

        Raises:
            Denied: it was removed meanwhile.
        """
        caller = self._caller(account)
        return caller, self._sessions.give(caller)

    def _caller(self, account: str) -> Caller:
        role, made = self._standing(account)
        return Caller(account, role, account=True, made=made)

    def log_out(self, session: str) -> None:
        self._sessions.use(session)

    def caller(self, session: str | None, token: str | None) -> Caller:
        """Who shows a session's secret, as cookie or as bearer token, or the command line's token.

        Raises:
            Denied: neither a living session nor the token; or the account was removed.
        """
        if token is not None and hmac.compare_digest(token.encode(), self._token.encode()):
            return TOKEN
        for secret in (token, session):
            if secret and (found := self._sessions.look(secret)):
                return self.now(replace(found, session=_hash(secret)))
        raise Denied("not signed in", "open the login link that the server printed; `twinloop login` prints a new one")

    def now(self, caller: Caller) -> Caller:
        """The caller with the role that the account has now.

        Raises:
            Denied: the session has ended, or the account was removed, be it that one of its name was added since.
        """
        if caller.session and self._sessions.named(caller.session) is None:
            raise Denied("the session has ended", "sign in again")
        if not caller.account:
            return caller
        role, made = self._standing(caller.name)
        if made != caller.made:
            raise Denied(f"account {caller.name!r} was removed and added again", "sign in again")
        return replace(caller, role=role)

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
        return self.now(caller)


def _token(path: Path, new_secret: Callable[[], str]) -> str:
    """The command line's token: made once, readable by its owner only."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_secret())
    return path.read_text().strip()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
