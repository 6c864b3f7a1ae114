"""Handlers of accounts, sessions and tokens; decide nothing (control/access.py)."""

from __future__ import annotations

from control.access import Access
from control.accounts import Account
from control.api import wire
from control.api.part import Parts
from control.api.route import API, Call, Reply, Route
from control.api.session_routes import origin_of, signed_in
from control.api.wire_access import (
    AccountChange,
    AccountRecord,
    AccountRequest,
    PasswordChange,
    SessionRecord,
    SessionsEnded,
    TokenMade,
    TokenRecord,
    TokenRequest,
)
from control.sessions import Session
from control.tokens import Token
from twin.errors import BadRequest
from twin.role import Act, Role


async def accounts(parts: Parts, _: Call) -> list[AccountRecord]:
    return [_account(a) for a in parts.access.accounts()]


async def add_account(parts: Parts, call: Call) -> AccountRecord:
    asked: AccountRequest = call.body
    return _account(await parts.access.add(call.caller, asked.name, asked.password, _role(asked.role)))


async def change_account(parts: Parts, call: Call) -> AccountRecord:
    asked: AccountChange = call.body
    role = None if asked.role is None else _role(asked.role)
    return _account(await parts.access.change(call.caller, call.path["name"], role, asked.disabled, asked.password))


async def remove_account(parts: Parts, call: Call) -> None:
    await parts.access.remove(call.caller, call.path["name"])


async def change_password(parts: Parts, call: Call) -> Reply:
    asked: PasswordChange = call.body
    return signed_in(
        parts, call, *await parts.access.change_password(call.caller, asked.old, asked.new, origin_of(call, "password"))
    )


async def sessions(parts: Parts, call: Call) -> list[SessionRecord]:
    found = parts.access.sessions(call.caller, call.flag("all"))
    return [_session(call, s) for s in found]


async def revoke_session(parts: Parts, call: Call) -> None:
    parts.access.revoke(call.caller, call.path["id"])


async def revoke_sessions(parts: Parts, call: Call) -> SessionsEnded:
    ended = parts.access.revoke_all(call.caller, call.query.get("account", ""), call.flag("all"))
    return SessionsEnded(ended)


async def tokens(parts: Parts, call: Call) -> list[TokenRecord]:
    return [_token(parts, t) for t in parts.access.tokens(call.caller, call.flag("all"))]


async def give_token(parts: Parts, call: Call) -> TokenMade:
    asked: TokenRequest = call.body
    access: Access = parts.access
    token, secret = await access.give_token(
        call.caller, asked.name, asked.account, asked.role, asked.may, asked.points, asked.days
    )
    return TokenMade(_token(parts, token), secret)


async def revoke_token(parts: Parts, call: Call) -> None:
    parts.access.revoke_token(call.caller, call.path["id"])


def _role(text: str) -> Role:
    if text not in set(Role):
        raise BadRequest(f"role {text[:80]!r}", f"one of {', '.join(Role)}")
    return Role(text)


def _account(account: Account) -> AccountRecord:
    return AccountRecord(account.name, account.role.value, account.disabled)


def _session(call: Call, session: Session) -> SessionRecord:
    origin = session.origin
    own = bool(call.caller.session) and call.caller.session.startswith(session.id)
    return SessionRecord(
        session.id, session.caller.name, session.caller.role.value, origin.by, origin.peer, origin.agent,
        session.since / 1e6, session.seen / 1e6, session.ends / 1e6, own,
    )  # fmt: skip


def _token(parts: Parts, token: Token) -> TokenRecord:
    used = parts.access.used(token)
    return TokenRecord(
        token.id, token.name, token.account, token.role.value, sorted(token.acts), list(token.points),
        token.since / 1e6, token.until / 1e6, None if used is None else used / 1e6, token.until <= parts.clock(),
    )  # fmt: skip


_ACCOUNTS, _SESSIONS, _TOKENS = f"{API}/accounts", f"{API}/sessions", f"{API}/tokens"
ACCESS_ROUTES: tuple[Route, ...] = (
    Route("GET", _ACCOUNTS, accounts, "Accounts and their roles", list[AccountRecord], act=Act.OVERSEE),
    Route(
        "POST", _ACCOUNTS, add_account, "Add an account", AccountRecord, AccountRequest, status=201, act=Act.ADMINISTER
    ),
    Route(
        "PATCH", f"{_ACCOUNTS}/{{name}}", change_account, "Give an account another role or password, or disable it",
        AccountRecord, AccountChange, act=Act.ADMINISTER,
    ),
    Route(
        "DELETE", f"{_ACCOUNTS}/{{name}}", remove_account, "Remove an account, its sessions and tokens", None,
        status=204, act=Act.ADMINISTER,
    ),
    Route("POST", f"{API}/password", change_password, "Change one's own password", wire.Session, PasswordChange),
    Route(
        "GET", _SESSIONS, sessions, "One's own sessions, or everybody's", list[SessionRecord], query=("all",),
    ),
    Route("DELETE", f"{_SESSIONS}/{{id}}", revoke_session, "End a session", None, status=204),
    Route(
        "DELETE", _SESSIONS, revoke_sessions, "End one's other sessions, an account's or everybody's", SessionsEnded,
        query=("account", "all"),
    ),
    Route("GET", _TOKENS, tokens, "One's own tokens, or everybody's", list[TokenRecord], query=("all",)),
    Route("POST", _TOKENS, give_token, "Make a token for a program", TokenMade, TokenRequest, status=201),
    Route("DELETE", f"{_TOKENS}/{{id}}", revoke_token, "Revoke a token", None, status=204),
)  # fmt: skip
