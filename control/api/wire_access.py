"""Accounts, sessions and tokens as they travel; must not know how they are kept."""

from __future__ import annotations

import msgspec


class SignInWays(msgspec.Struct, frozen=True):
    """GET /api/v1/sign-in, for who is not signed in, too. `provider` is what a button says, "" without one; `path` begins it.

    `signed_in`: whether the caller is already.
    """

    password: bool
    provider: str
    path: str
    signed_in: bool


class AccountRecord(msgspec.Struct, frozen=True):
    """An account, without anything of its password."""

    name: str
    role: str
    disabled: bool


class AccountRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/accounts."""

    name: str
    password: str
    role: str = "viewer"


class AccountChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /api/v1/accounts/{name}: what is left out stays. Another password, or `disabled`, ends its sessions."""

    role: str | None = None
    disabled: bool | None = None
    password: str | None = None


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/password: one's own; every session of the account ends, the answer is a new one."""

    old: str
    new: str


class SessionRecord(msgspec.Struct, frozen=True):
    """Somebody who is signed in. `by`: password, login link or the provider's name; `agent`: what the program calls itself.

    Times are ms since 1970; `ends` is the latest. `own`: it is the one that asks.
    """

    id: str
    name: str
    role: str
    by: str
    peer: str
    agent: str
    since: float
    seen: float
    ends: float
    own: bool


class SessionsEnded(msgspec.Struct, frozen=True):
    """DELETE /api/v1/sessions: how many there were."""

    ended: int


class SignedOut(msgspec.Struct, frozen=True):
    """DELETE /api/v1/session: where the provider that vouched is left, too; "" for nowhere."""

    next: str


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/tokens. `may`: rights; `points`: prefixes of points, none for all; `account`: whose, the caller's own
    where it is left out; `role` only for a token of the data folder's owner, which has no account."""

    name: str
    may: list[str]
    points: list[str] = []
    days: float | None = None
    account: str = ""
    role: str = ""


class TokenRecord(msgspec.Struct, frozen=True):
    """A token without its secret. `account` is "" where it is of the data folder's owner; times are ms since 1970."""

    id: str
    name: str
    account: str
    role: str
    may: list[str]
    points: list[str]
    since: float
    until: float
    used: float | None
    over: bool


class TokenMade(msgspec.Struct, frozen=True):
    """A new token. Nobody can read `secret` later."""

    token: TokenRecord
    secret: str
