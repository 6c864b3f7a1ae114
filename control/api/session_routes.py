"""Handlers of signing in and out: sessions, login links, tickets; decides nothing (control/identity.py, sign_in.py)."""

from __future__ import annotations

from control.api import wire
from control.api.part import Parts
from control.api.route import Call, Reply
from control.identity import SESSION_S, TICKET_S, Caller
from control.permissions import permit_invitation
from twin.role import RIGHTS

COOKIE = "twinloop_session"


def cookie(session: str) -> str:
    """The header's value that gives a browser its session."""
    return f"{COOKIE}={session}; HttpOnly; Path=/; SameSite=strict"


async def sign_in(parts: Parts, call: Call) -> Reply:
    asked: wire.SessionRequest = call.body
    caller, secret = await parts.sign_in.sign_in(asked.account, asked.password, call.peer)
    made = wire.Session(_who(caller), secret, int(SESSION_S * 1000))
    return Reply(made, headers={"set-cookie": cookie(secret)})


async def who(_: Parts, call: Call) -> wire.Who:
    return _who(call.caller)


async def sign_out(parts: Parts, call: Call) -> Reply:
    for secret in call.secrets:
        parts.identity.log_out(secret)
    return Reply(status=204, headers={"set-cookie": f"{COOKIE}=; Max-Age=0; Path=/; SameSite=strict"})


async def login_link(parts: Parts, call: Call) -> dict[str, str]:
    permit_invitation(call.caller)
    asked: wire.LoginLinkRequest = call.body
    return {"path": f"/login?token={parts.identity.login_link(asked.account)}"}


async def ticket(parts: Parts, call: Call) -> wire.Ticket:
    return wire.Ticket(parts.identity.ticket(call.caller), int(TICKET_S * 1000))


def _who(caller: Caller) -> wire.Who:
    rights = RIGHTS[caller.role]
    return wire.Who(
        caller.name, caller.role.value, caller.account, sorted(a.value for a in rights.may),
        sorted(r.value for r in rights.approves),
    )  # fmt: skip
