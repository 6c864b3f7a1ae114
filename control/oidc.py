"""OpenID Connect by authorisation code with PKCE: what is asked of a provider, and what of its answer is believed; pure.

OpenID Connect Core 1.0 (3.1), RFC 7636, RFC 9207. Must not know HTTP clients, sessions or the clock.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from control.accounts import NAME
from control.authors import PROVIDED
from control.identity import Caller
from control.settings import Oidc
from twin.errors import Denied, LimitExceeded, Unavailable

ALGORITHMS = ("RS256", "PS256", "ES256")
"""Of signatures by keys that only the provider has: never `none`, never one with a shared secret."""
KEYS_MAX = 50  # of a provider; those in use and some before and after a change
RSA_BITS_MIN = 2048
LEEWAY_S = 60  # between its clock and ours
TOKEN_MAX = 16_384  # characters
FLOW_S = 600.0  # to sign in there, with a second factor
FLOWS_MAX, FLOWS_EACH_MAX = 500, 20  # begun and not ended; of one address
FAILED = "signing in did not work"
AGAIN = "begin anew; the server's log says why"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What the provider's configuration says; "" for what it does not have."""

    authorize: str
    token: str
    keys: str
    end: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Somebody who was sent to the provider. `browser` is in a cookie: another browser cannot end it."""

    state: str
    nonce: str
    verifier: str
    browser: str
    peer: str
    made: int


class Flows:
    """Those that have not come back; each is good once."""

    def __init__(self, new_secret: Callable[[], str]) -> None:
        self._new_secret = new_secret
        self._held: OrderedDict[str, Flow] = OrderedDict()

    def begin(self, peer: str, now: int) -> Flow:
        """
        Raises:
            LimitExceeded: too many have begun from this address.
        """
        for state in [s for s, f in self._held.items() if now - f.made > FLOW_S * 1e9]:
            del self._held[state]
        if sum(f.peer == peer for f in self._held.values()) >= FLOWS_EACH_MAX:
            raise LimitExceeded("too many have begun to sign in from here", "end one, or wait", retry_after_s=60)
        while len(self._held) >= FLOWS_MAX:
            self._held.popitem(last=False)
        state, nonce, verifier, browser = (self._new_secret() for _ in range(4))
        flow = Flow(state, nonce, verifier, browser, peer, now)
        self._held[state] = flow
        return flow

    def end(self, state: str, browser: str, now: int) -> Flow:
        """
        Raises:
            Denied: it was not begun here by this browser, took too long, or ended before.
        """
        flow = self._held.get(state)
        if flow is None or not hmac.compare_digest(flow.browser.encode(), browser.encode()):
            raise Denied(FAILED, "it was not begun in this browser, or ended before")
        del self._held[state]
        if now - flow.made > FLOW_S * 1e9:
            raise Denied(FAILED, "it took too long; begin anew")
        return flow


def endpoints_of(settings: Oidc, document: Mapping[str, Any], allowed: Callable[[str], bool]) -> Endpoints:
    """What OpenID Connect Discovery says.

    Raises:
        Unavailable: it is another issuer's, or lacks something, or names an address that is not to be trusted.
    """
    if document.get("issuer") != settings.issuer and document.get("issuer") != f"{settings.issuer}/":
        raise Unavailable(f"the configuration of {settings.issuer} is that of another issuer", "correct [oidc] issuer")
    found = {k: document.get(k, "") for k in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    end = document.get("end_session_endpoint", "")
    for key, address in {**found, **({"end_session_endpoint": end} if end else {})}.items():
        if not isinstance(address, str) or not allowed(address):
            raise Unavailable(f"{settings.issuer} says {key} = {str(address)[:200]!r}", "that must be an https address")
    return Endpoints(found["authorization_endpoint"], found["token_endpoint"], found["jwks_uri"], end)


def address(settings: Oidc, endpoints: Endpoints, flow: Flow) -> str:
    """Where the browser is sent."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code", "client_id": settings.client_id, "redirect_uri": settings.redirect,
        "scope": " ".join(settings.scopes), "state": flow.state, "nonce": flow.nonce, "code_challenge": challenge,
        "code_challenge_method": "S256",
    }  # fmt: skip
    return f"{endpoints.authorize}{'&' if '?' in endpoints.authorize else '?'}{urlencode(asked)}"


def farewell(settings: Oidc, endpoints: Endpoints, hint: str) -> str:
    """Where the browser signs out of the provider, too; "" when it has no such place."""
    if not endpoints.end:
        return ""
    back = settings.redirect.removesuffix("/login/oidc/done") + "/"
    asked = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": back, "client_id": settings.client_id})
    return f"{endpoints.end}{'&' if '?' in endpoints.end else '?'}{asked}"


def keys_of(document: Mapping[str, Any]) -> KeySet:
    """Those that may sign: RSA and EC, public halves; what else the provider lists is passed over.

    Raises:
        Unavailable: there is none.
    """
    listed = document.get("keys")
    found: list[OctKey | RSAKey | ECKey | OKPKey] = []  # as KeySet wants it: only two of the four get in
    for row in listed[:KEYS_MAX] if isinstance(listed, list) else ():
        if not isinstance(row, dict) or row.get("use", "sig") != "sig":
            continue
        public = {k: v for k, v in row.items() if k not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
        try:
            if row.get("kty") == "RSA":
                key = RSAKey.import_key(public)
                if key.raw_value.key_size >= RSA_BITS_MIN:
                    found.append(key)
            elif row.get("kty") == "EC":
                found.append(ECKey.import_key(public))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    if not found:
        raise Unavailable("the provider has no key that may sign", f"it takes one of {', '.join(ALGORITHMS)}")
    return KeySet(found)


class UnknownKey(Exception):
    """The token is signed by a key that is not among those known: the provider may have changed it."""


def claims_of(settings: Oidc, token: str, keys: KeySet, nonce: str, now_s: int) -> Mapping[str, Any]:
    """What an ID token says, once all of it holds (Core 3.1.3.7).

    Raises:
        UnknownKey: its key id is none of these.
        Denied: anything is not as it must be; the hint says what, for the log.
    """
    claims = signed_claims(token, keys)
    if wrong := _wrong(settings, claims, nonce, now_s):
        raise Denied(FAILED, wrong)
    return claims


def signed_claims(token: str, keys: KeySet) -> Mapping[str, Any]:
    """What a token says that the provider has signed, be it true of anything or not. Raises as `claims_of`."""
    if len(token) > TOKEN_MAX:
        raise Denied(FAILED, f"the token has {len(token)} characters")
    try:
        header = jwt_header(token)
        algorithm, identity = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise Denied(FAILED, f"the token is signed with {str(algorithm)[:20]!r}")
        if identity is not None and identity not in {k.kid for k in keys.keys}:
            raise UnknownKey(str(identity)[:80])
        return jwt.decode(token, keys, list(ALGORITHMS)).claims
    except (JoseError, ValueError, TypeError) as error:
        raise Denied(FAILED, f"the token does not hold: {error}") from None


def jwt_header(token: str) -> Mapping[str, Any]:
    """The head of a compact JWS; ValueError when there is none."""
    first = token.split(".", 1)[0]
    found = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    if not isinstance(found, dict):
        raise ValueError("no header")
    return found


def _wrong(settings: Oidc, claims: Mapping[str, Any], nonce: str, now_s: int) -> str:
    """What of the claims is not as it must be."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    until, since, begins = (
        number_of(claims.get(key, usual)) for key, usual in (("exp", None), ("iat", None), ("nbf", 0))
    )
    checks = (
        (claims.get("iss") in (settings.issuer, f"{settings.issuer}/"), "it is another issuer's"),
        (settings.client_id in audiences, "it is for another client"),
        (len(audiences) == 1 or claims.get("azp") == settings.client_id, "it is for several clients, and not by ours"),
        (claims.get("azp", settings.client_id) == settings.client_id, "it was given to another client"),
        (until + LEEWAY_S > now_s, "it has expired"),
        (since - LEEWAY_S <= now_s, "it is of the future"),
        (begins - LEEWAY_S <= now_s, "it is not good yet"),
        (isinstance(claims.get("sub"), str) and claims["sub"], "it names nobody"),
        (hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()), "its nonce is another"),
    )
    return "; ".join(words for holds, words in checks if not holds)


def number_of(value: object) -> float:
    """NaN, which no comparison holds for, where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def caller_of(settings: Oidc, claims: Mapping[str, Any]) -> Caller:
    """Who it is and as what, by the first row of `[oidc.roles]` that fits.

    Raises:
        Denied: no row fits, or the name cannot be an author's.
    """
    user = claims.get(settings.user, "")
    if not isinstance(user, str) or not NAME.fullmatch(user):
        raise Denied(FAILED, f"the claim {settings.user} is {str(user)[:80]!r}, and no name")
    held = claims.get(settings.claim)
    values = {str(v) for v in (held if isinstance(held, list) else [held]) if v is not None}
    role = next((role for value, role in settings.roles.items() if value in values), None)
    if role is None:
        raise Denied(FAILED, f"{user} has no role here: [oidc.roles] knows nothing of the claim {settings.claim}")
    return Caller(f"{PROVIDED}{user}", role)
