"""Which sessions a provider of identities has ended, and what of its word is believed; pure.

OpenID Connect Back-Channel Logout 1.0 (2.4, 2.6). Must not know HTTP, sessions or the clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import KeySet

from control.oidc import FAILED, LEEWAY_S, number_of, signed_claims
from control.sessions import Origin
from control.settings import Oidc
from twin.errors import Denied

EVENT = "http://schemas.openid.net/event/backchannel-logout"
AGE_S = 300  # a token that is older is not sent, but sent again
USED_MAX = 10_000  # of the last AGE_S; only what the provider has signed gets in


@dataclass(frozen=True, slots=True)
class Logout:
    """`subject` and `sid` as the token names them, "" for what it does not."""

    subject: str
    sid: str

    def ends(self, origin: Origin) -> bool:
        """A session of which the provider never said its `sid` cannot be told from the one that is meant."""
        if not origin.subject or (self.subject and origin.subject != self.subject):
            return False
        return not self.sid or origin.sid == self.sid or bool(self.subject and not origin.sid)


class Used:
    """Tokens by their `jti`: each is good once."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    def use(self, jti: str, now_s: float) -> bool:
        """False when it was used before."""
        while self._until and (next(iter(self._until.values())) < now_s or len(self._until) >= USED_MAX):
            self._until.popitem(last=False)
        if jti in self._until:
            return False
        self._until[jti] = now_s + AGE_S + 2 * LEEWAY_S
        return True


def logout_of(settings: Oidc, token: str, keys: KeySet, used: Used, now_s: int) -> Logout:
    """
    Raises:
        UnknownKey: its key id is none of these.
        Denied: anything is not as it must be; the hint says what, for the log.
    """
    claims = signed_claims(token, keys)
    if wrong := _wrong(settings, claims, now_s):
        raise Denied(FAILED, wrong)
    if not used.use(claims["jti"], now_s):
        raise Denied(FAILED, "it was used before")
    return Logout(claims.get("sub", ""), claims.get("sid", ""))


def _wrong(settings: Oidc, claims: Mapping[str, Any], now_s: int) -> str:
    """What of the claims is not as it must be."""
    audience, events = claims.get("aud"), claims.get("events")
    audiences = audience if isinstance(audience, list) else [audience]
    made, until = number_of(claims.get("iat")), number_of(claims.get("exp", now_s))
    names = [claims[key] for key in ("sub", "sid") if key in claims]
    checks = (
        (claims.get("iss") in (settings.issuer, f"{settings.issuer}/"), "it is another issuer's"),
        (settings.client_id in audiences, "it is for another client"),
        (made - LEEWAY_S <= now_s, "it is of the future"),
        (now_s <= made + AGE_S + LEEWAY_S, "it is too old"),
        (until + LEEWAY_S > now_s, "it has expired"),
        (isinstance(events, dict) and isinstance(events.get(EVENT), dict), "it is not about signing out"),
        ("nonce" not in claims, "it has a nonce: it is an ID token"),
        (_is_name(claims.get("jti")), "it has no jti"),
        (bool(names) and all(map(_is_name, names)), "it names nobody and no session"),
    )
    return "; ".join(words for holds, words in checks if not holds)


def _is_name(said: object) -> bool:
    return isinstance(said, str) and 0 < len(said) <= 1_000
