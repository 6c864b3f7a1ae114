"""Who is calling: one-time login links, sessions, WebSocket tickets, tokens of programs and the command line's own.

Pure but for the token files; must not know HTTP or passwords. All secrets are compared in constant time.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from control.authors import LINK_USER, TOKEN_USER
from control.sessions import ID_LENGTH, IDLE_S, SESSION_S, Origin, Session, Sessions, hash_of
from control.tokens import Token, Tokens
from twin.errors import Denied
from twin.role import Act, Role

if TYPE_CHECKING:
    from protocols.link import Clock

LOGIN_LINK_S = 15 * 60.0  # long enough to walk to the other screen
TICKET_S = 30.0  # a page connects at once
HELD_MAX = 1_000  # of each kind; the oldest goes first, so that nobody can fill memory by asking
TOKEN_FILE = "api-token"


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account is now: `made` tells it from an earlier one of its name, `password` from one with another."""

    role: Role
    made: str
    password: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        name: becomes the author of commands.
        account: the name is an account's, whose role is looked up again at every call.
        owner: it has shown the data folder's token, so it can read and write every file there: nothing is kept from it.
        session: which session it came by, hashed; "" for tokens. When that ends, so does what was opened with it.
        standing: of the account, when it signed in.
        token: which token it came by; "" for none, and for the data folder's.
        acts: a token's scope, None for all that the role may; `points` the prefixes of points that it may touch.
    """

    name: str
    role: Role
    account: bool = False
    owner: bool = False
    session: str = field(default="", compare=False, repr=False)
    standing: Standing | None = field(default=None, compare=False, repr=False)
    token: str = field(default="", compare=False, repr=False)
    acts: frozenset[Act] | None = None
    points: tuple[str, ...] = ()


LINK = Caller(LINK_USER, Role.OPERATOR)
"""Whoever opened a login link that names no account."""
TOKEN = Caller(TOKEN_USER, Role.OPERATOR, owner=True)
BY_LINK = Origin("login link")
SIGN_IN_AGAIN = "sign in again"


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
        self.held[hash_of(secret)] = (caller, self.clock() + int(self.life_s * 1e9))
        return secret

    def use(self, secret: str) -> Caller | None:
        """Good once."""
        found = self.held.pop(hash_of(secret), None)
        return found[0] if found and self.clock() < found[1] else None


class Identity:
    """Everything that lets a caller in.

    Args:
        standing: what an account is now; Denied when there is none, or it is disabled.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        new_secret: Callable[[], str],
        standing: Callable[[str], Standing],
        life_s: float = SESSION_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self.sessions = Sessions(clock, new_secret, life_s, idle_s)
        self.tokens = Tokens(directory, clock, new_secret)
        self._links = _Grants(LOGIN_LINK_S, clock, new_secret, {})
        self._tickets = _Grants(TICKET_S, clock, new_secret, {})
        self._token = _token(directory / TOKEN_FILE, new_secret)
        self._standing = standing

    def login_link(self, account: str = "") -> str:
        """A secret that opens one session, once.

        Raises:
            Denied: there is no such account.
        """
        return self._links.give(self._caller(account) if account else LINK)

    def log_in(self, secret: str, origin: Origin = BY_LINK) -> tuple[Caller, str]:
        """Who a login link's secret stands for, and a session.

        Raises:
            Denied: it was used, is too old, or never was one; or the account was removed meanwhile.
        """
        caller = self._links.use(secret)
        if caller is None:
            raise Denied("this login link was used or is too old", "`twinloop login` prints a new one")
        caller = self.now(caller)
        return caller, self.sessions.give(caller, origin)

    def session(self, account: str, origin: Origin = BY_LINK) -> tuple[Caller, str]:
        """A session for an account whose password fitted.

        Raises:
            Denied: it was removed meanwhile.
        """
        caller = self._caller(account)
        return caller, self.sessions.give(caller, origin)

    def session_of(self, caller: Caller, origin: Origin, life_s: float) -> str:
        """A session for somebody whom another has vouched for, with the role that it gave."""
        return self.sessions.give(caller, origin, life_s)

    def _caller(self, account: str) -> Caller:
        found = self._standing(account)
        return Caller(account, found.role, account=True, standing=found)

    def log_out(self, session: str) -> list[Session]:
        """What has ended."""
        name = hash_of(session)[:ID_LENGTH]
        return self.sessions.end(lambda s: s.id == name)

    def caller(self, session: str | None, token: str | None) -> Caller:
        """Who shows a session's secret, as cookie or as bearer token, or a token.

        Raises:
            Denied: nothing that is good; or the account was removed.
        """
        if token is not None and hmac.compare_digest(token.encode(), self._token.encode()):
            return TOKEN
        if token and (found := self.tokens.look(token)) is not None:
            return self._by_token(found)
        for secret in (token, session):
            if secret and (held := self.sessions.named(hash_of(secret))) is not None:
                return self.now(replace(held.caller, session=hash_of(secret)))
        raise Denied("not signed in", "open the login link that the server printed; `twinloop login` prints a new one")

    def now(self, caller: Caller) -> Caller:
        """The caller with what it may do now.

        Raises:
            Denied: the session or token has ended, or the account was removed, be it that one of its name was added
                since, disabled, or given another password.
        """
        if caller.token:
            token = self.tokens.alive(caller.token)
            if token is None:
                raise Denied("the token was revoked or is too old", "`twinloop token add` makes one")
            return self._by_token(token)
        if caller.session and self.sessions.named(caller.session) is None:
            raise Denied("the session has ended", SIGN_IN_AGAIN)
        if not caller.account:
            return caller
        found, then = self._standing(caller.name), caller.standing
        if then is None or found.made != then.made:
            raise Denied(f"account {caller.name!r} was removed and added again", SIGN_IN_AGAIN)
        if found.password != then.password:
            raise Denied(f"account {caller.name!r} has another password now", SIGN_IN_AGAIN)
        return replace(caller, role=found.role)

    def _by_token(self, token: Token) -> Caller:
        role = token.role
        if token.account:
            found = self._standing(token.account)
            if found.made != token.made:
                raise Denied(f"account {token.account!r} was removed and added again", "make the token anew")
            role = found.role
        return Caller(token.author, role, token=token.id, acts=token.acts, points=token.points)

    def made(self, account: str) -> str:
        """What tells the account from others of its name.

        Raises:
            Denied: there is none.
        """
        return self._standing(account).made

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
