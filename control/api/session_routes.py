"""Handlers of signing in and out: sessions, login links, tickets; decides nothing (control/identity.py, sign_in.py)."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl

from control.api import wire
from control.api.part import Parts
from control.api.route import API, Call, Reply, Route
from control.api.wire_access import SignedOut, SignInWays
from control.identity import TICKET_S, Caller
from control.oidc import FLOW_S
from control.permissions import acts_of, permit_invitation
from control.sessions import Origin
from twin.errors import BadRequest, Denied, NotFound
from twin.role import RIGHTS

COOKIE = "twinloop_session"
FLOW_COOKIE = "twinloop_sign_in"
OIDC_PATH = "/login/oidc"
FORM = "application/x-www-form-urlencoded"
LOGOUT_MAX = 20_000  # bytes: one token


def cookie_name(secure: bool) -> str:
    """Over TLS a browser takes it from this very host only, and shows it over TLS only (RFC 6265bis, 4.1.3.2)."""
    return f"__Host-{COOKIE}" if secure else COOKIE


def cookie(session: str, secure: bool) -> str:
    """The header's value that gives a browser its session."""
    return f"{cookie_name(secure)}={session}; HttpOnly; Path=/; SameSite=strict{'; Secure' if secure else ''}"


def flow_cookie_name(secure: bool) -> str:
    return f"__Host-{FLOW_COOKIE}" if secure else FLOW_COOKIE


def flow_cookie(browser: str, secure: bool) -> str:
    """Lax: the provider's site sends the browser back."""
    return (
        f"{flow_cookie_name(secure)}={browser}; HttpOnly; Path=/; SameSite=lax; Max-Age={int(FLOW_S) if browser else 0}"
        f"{'; Secure' if secure else ''}"
    )


def origin_of(call: Call, by: str) -> Origin:
    return Origin(by, call.peer, call.headers.get("user-agent", ""))


async def ways(parts: Parts, call: Call) -> SignInWays:
    door, known = parts.oidc, _is_signed_in(parts, call)
    return SignInWays(True, "", "", known) if door is None else SignInWays(True, door.settings.name, OIDC_PATH, known)


def _is_signed_in(parts: Parts, call: Call) -> bool:
    """A page asks before it asks for anything: a 401 would stand in the browser's own console as an error."""
    for secret in call.secrets:
        with suppress(Denied):
            parts.identity.caller(None, secret)
            return True
    return False


async def sign_in(parts: Parts, call: Call) -> Reply:
    asked: wire.SessionRequest = call.body
    return signed_in(
        parts, call, *await parts.sign_in.sign_in(asked.account, asked.password, origin_of(call, "password"))
    )


def signed_in(parts: Parts, call: Call, caller: Caller, secret: str) -> Reply:
    made = wire.Session(_who(caller), secret, int(parts.identity.sessions.life_s * 1000))
    return Reply(made, headers={"set-cookie": cookie(secret, call.secure)})


async def who(_: Parts, call: Call) -> wire.Who:
    return _who(call.caller)


async def sign_out(parts: Parts, call: Call) -> Reply:
    hints = [s.origin.hint for secret in call.secrets for s in parts.identity.log_out(secret)]
    parts.access.signed_out(call.caller)
    gone = f"{cookie('', call.secure)}; Max-Age=0"
    hint = next(filter(None, hints), "")
    after = await parts.oidc.farewell(hint) if hint and parts.oidc is not None else ""
    return Reply(SignedOut(after), headers={"set-cookie": gone})


async def provider_logout(parts: Parts, call: Call) -> None:
    """By a provider's server, without a session: the token itself says that it may."""
    if parts.oidc is None:
        raise NotFound("there is no provider to sign in by", "docs/security.md says how to name one")
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    given = parse_qsl(call.body.decode("ascii", "replace"), keep_blank_values=True)
    tokens = [value for name, value in given if name == "logout_token"]
    if kind != FORM or len(tokens) != 1:
        raise BadRequest("no logout_token", f"send one as {FORM}")
    await parts.oidc.log_out(tokens[0], call.peer)


async def login_link(parts: Parts, call: Call) -> dict[str, str]:
    permit_invitation(call.caller)
    asked: wire.LoginLinkRequest = call.body
    return {"path": f"/login?token={parts.identity.login_link(asked.account)}"}


async def ticket(parts: Parts, call: Call) -> wire.Ticket:
    return wire.Ticket(parts.identity.ticket(call.caller), int(TICKET_S * 1000))


def _who(caller: Caller) -> wire.Who:
    return wire.Who(
        caller.name, caller.role.value, caller.account, sorted(a.value for a in acts_of(caller)),
        sorted(r.value for r in RIGHTS[caller.role].approves),
    )  # fmt: skip


SESSION_ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        f"{API}/session",
        sign_in,
        "Sign in with an account",
        wire.Session,
        wire.SessionRequest,
        act=None,
    ),
    Route(
        "GET",
        f"{API}/sign-in",
        ways,
        "How somebody may sign in here, and whether the caller is signed in",
        SignInWays,
        act=None,
    ),
    Route("GET", f"{API}/session", who, "Who is signed in, and what the role may do", wire.Who),
    Route("DELETE", f"{API}/session", sign_out, "Sign out", SignedOut),
    Route(
        "POST",
        f"{API}/oidc/logout",
        provider_logout,
        "A provider of identities ends sessions (OpenID Connect Back-Channel Logout)",
        None,
        bytes,
        raw=True,
        body_max=LOGOUT_MAX,
        act=None,
    ),
    Route("POST", f"{API}/ticket", ticket, "A one-time ticket for the WebSocket", wire.Ticket),
    Route("POST", f"{API}/login-link", login_link, "A new one-time login link", dict, wire.LoginLinkRequest),
)
