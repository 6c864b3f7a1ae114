"""Signs people in by a provider of identities: asks it over HTTP, makes sessions; what is believed decides control/oidc.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from joserfc.jwk import KeySet

from control import oidc
from control.evidence import ACCESS, Evidence
from control.identity import Caller, Identity
from control.oidc_logout import Logout, Used, logout_of
from control.sessions import Origin
from control.settings import Oidc
from control.sign_in import Refusals
from protocols.link import Clock
from twin.errors import BadRequest, Denied, Unavailable

ASK_S = 10.0  # for any answer of the provider
ANSWER_MAX = 262_144  # bytes
CONFIGURED_S = 3600.0  # how long its configuration is believed
KEYS_EVERY_S = 30.0  # at most so often its keys are asked for, however many tokens name unknown ones
Read = TypeVar("Read")
log = logging.getLogger("twinloop.oidc")


@dataclass(slots=True)
class Provider:
    """What is known of it, asked for when needed."""

    settings: Oidc
    clock: Clock
    _endpoints: oidc.Endpoints | None = None
    _keys: KeySet | None = None
    _asked: dict[str, int] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def endpoints(self) -> oidc.Endpoints:
        """
        Raises:
            Unavailable.
        """
        async with self._turn:
            if self._endpoints is None or self._since("configuration") > CONFIGURED_S:
                document = await self._get(f"{self.settings.issuer}/.well-known/openid-configuration")
                self._endpoints = oidc.endpoints_of(self.settings, document, self._allowed)
                self._asked["configuration"] = self.clock()
            return self._endpoints

    async def claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """Of an ID token.

        Raises:
            Denied, Unavailable.
        """
        now_s = self.clock() // 1_000_000_000
        return await self._by_its_keys(lambda keys: oidc.claims_of(self.settings, token, keys, nonce, now_s))

    async def logout(self, token: str, used: Used) -> Logout:
        """Whom a logout token is about.

        Raises:
            Denied, Unavailable.
        """
        now_s = self.clock() // 1_000_000_000
        return await self._by_its_keys(lambda keys: logout_of(self.settings, token, keys, used, now_s))

    async def _by_its_keys(self, read: Callable[[KeySet], Read]) -> Read:
        try:
            return read(await self._known_keys(False))
        except oidc.UnknownKey:
            try:
                return read(await self._known_keys(True))
            except oidc.UnknownKey as error:
                raise Denied(oidc.FAILED, f"the token is signed with the unknown key {error}") from None

    async def _known_keys(self, anew: bool) -> KeySet:
        endpoints = await self.endpoints()
        async with self._turn:
            if self._keys is None or (anew and self._since("keys") > KEYS_EVERY_S):
                self._asked["keys"] = self.clock()
                self._keys = oidc.keys_of(await self._get(endpoints.keys))
            return self._keys

    async def token(self, code: str, verifier: str) -> str:
        """The ID token for a code.

        Raises:
            Denied: it does not take the code. Unavailable: it does not answer.
        """
        settings, endpoints = self.settings, await self.endpoints()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": settings.redirect,
            "code_verifier": verifier, "client_id": settings.client_id,
        }  # fmt: skip
        secret = (quote(settings.client_id, safe=""), quote(settings.client_secret, safe=""))
        answer = await self._ask("POST", endpoints.token, form, secret if settings.client_secret else None)
        found = answer.get("id_token")
        if not isinstance(found, str):
            raise Denied(oidc.FAILED, f"it gave no ID token: {str(answer.get('error', ''))[:80]!r}")
        return found

    async def _get(self, address: str) -> Mapping[str, Any]:
        return await self._ask("GET", address, None, None)

    async def _ask(
        self, method: str, address: str, form: dict[str, str] | None, secret: tuple[str, str] | None
    ) -> Mapping[str, Any]:
        """A JSON object, also of a refusal."""
        body = b""
        try:
            async with (
                asyncio.timeout(ASK_S),
                httpx.AsyncClient(timeout=ASK_S, trust_env=False, follow_redirects=False) as http,
                http.stream(method, address, data=form, auth=secret, headers={"accept": "application/json"}) as answer,
            ):
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_MAX:
                        raise Unavailable(f"{address} answers more than {ANSWER_MAX} bytes", oidc.AGAIN)
                if answer.status_code >= 500 or (method == "GET" and not answer.is_success):
                    raise Unavailable(f"{address} answers {answer.status_code}", oidc.AGAIN)
            found = httpx.Response(200, content=body).json()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise Unavailable(f"{address} does not answer: {type(error).__name__} {error}", oidc.AGAIN) from None
        except ValueError:
            raise Unavailable(f"{address} answers something that is no JSON", oidc.AGAIN) from None
        if not isinstance(found, dict):
            raise Unavailable(f"{address} answers something that is no object", oidc.AGAIN)
        return found

    def _since(self, what: str) -> float:
        return (self.clock() - self._asked.get(what, 0)) / 1e9

    def _allowed(self, address: str) -> bool:
        """https, or as the issuer itself where that is on this machine."""
        parts, issuer = urlsplit(address), urlsplit(self.settings.issuer)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (issuer.scheme == "http" and parts.hostname == issuer.hostname)
        )


class OidcDoor:
    """The one way from a provider to a session."""

    def __init__(
        self, settings: Oidc, identity: Identity, evidence: Evidence, refusals: Refusals, clock: Clock,
        new_secret: Callable[[], str],
    ) -> None:  # fmt: skip
        self.settings = settings
        self._identity, self._evidence, self._refusals, self._clock = identity, evidence, refusals, clock
        self._provider = Provider(settings, clock)
        self._flows = oidc.Flows(new_secret)
        self._used = Used()

    async def begin(self, peer: str) -> tuple[str, str]:
        """Where to send the browser, and what it must show when it comes back.

        Raises:
            Unavailable, LimitExceeded.
        """
        endpoints = await self._provider.endpoints()
        flow = self._flows.begin(peer, self._clock())
        return oidc.address(self.settings, endpoints, flow), flow.browser

    async def end(self, answer: Mapping[str, str], browser: str, origin: Origin) -> tuple[Caller, str]:
        """Who it is now, and the secret of a session.

        Raises:
            Denied: in the same words whatever was wrong; the log says what. Unavailable: the provider does not answer.
        """
        try:
            caller, made = await self._known(answer, browser, origin)
        except Denied as error:
            self._refusals.note("", self.settings.name, origin.peer)
            log.warning("signing in by %s is refused: %s", self.settings.issuer, error.hint)
            raise Denied(oidc.FAILED, oidc.AGAIN) from None
        except Unavailable as error:
            log.warning("signing in by %s does not work: %s", self.settings.issuer, error.message)
            raise
        secret = self._identity.session_of(caller, made, self.settings.session_s)
        self._evidence.record(
            "login",
            {"user": caller.name, "role": caller.role.value, "by": f"oidc {self.settings.issuer}", "peer": origin.peer},
        )
        return caller, secret

    async def _known(self, answer: Mapping[str, str], browser: str, origin: Origin) -> tuple[Caller, Origin]:
        flow = self._flows.end(answer.get("state", ""), browser, self._clock())
        if "error" in answer:
            raise Denied(oidc.FAILED, f"the provider says {answer['error'][:80]!r}")
        if answer.get("iss", self.settings.issuer) not in (self.settings.issuer, f"{self.settings.issuer}/"):
            raise Denied(oidc.FAILED, "the answer is another provider's")
        token = await self._provider.token(answer.get("code", ""), flow.verifier)
        claims = await self._provider.claims(token, flow.nonce)
        sid = claims.get("sid", "")
        made = Origin(
            self.settings.name, origin.peer, origin.agent, token, claims["sub"], sid if isinstance(sid, str) else ""
        )
        return oidc.caller_of(self.settings, claims), made

    async def log_out(self, token: str, peer: str) -> int:
        """Ends the sessions that the provider has ended there (OpenID Connect Back-Channel Logout 1.0). How many.

        Raises:
            BadRequest: the token does not hold; the log says why. Unavailable: the provider's keys cannot be had.
        """
        try:
            about = await self._provider.logout(token, self._used)
        except Denied as error:
            log.warning("a logout token from %s is refused: %s", peer, error.hint)
            raise BadRequest("the logout token does not hold", "the server's log says why") from None
        ended = self._identity.sessions.end(lambda s: about.ends(s.origin))
        for session in ended:
            name = session.caller.name
            self._evidence.record(
                ACCESS, {"what": "signed out by the provider", "by": name, "user": name, "session": session.id}
            )
        return len(ended)

    async def farewell(self, hint: str) -> str:
        """Where to sign out of the provider, too; "" when that is not known."""
        try:
            return oidc.farewell(self.settings, await self._provider.endpoints(), hint)
        except Unavailable:
            return ""
