"""A small provider of identities as a real HTTP server: authorisation code with PKCE, as OpenID Connect Core says it.

It can be told to misbehave, one way at a time; what it takes from clients it checks as a provider does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT, SECRET = "twinloop", "an s3cret: with/signs"


@dataclass
class Provider:
    """`claims` are put over those of the ID token; `algorithm` none and HS256 are forgeries."""

    url: str = ""
    user: str = "anna"
    groups: list[str] = field(default_factory=lambda: ["plant-operators"])
    claims: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    away: bool = False
    iss: str | None = None
    listed: bool = True
    keys: list[Any] = field(default_factory=lambda: [RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})])
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def rotate(self, kid: str, kind: str = "RSA") -> None:
        """Another key, and the old one is gone."""
        made: Any = (
            RSAKey.generate_key(2048, {"kid": kid}) if kind == "RSA" else ECKey.generate_key("P-256", {"kid": kid})
        )
        self.keys = [made]
        self.algorithm = "RS256" if kind == "RSA" else "ES256"

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks", "end_session_endpoint": f"{self.url}/end",
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        }  # fmt: skip

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes once the person has signed in here."""
        assert query["client_id"] == CLIENT and query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256" and "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        answer = {"code": code, "state": query["state"]}
        return f"{query['redirect_uri']}?{urlencode(answer | ({} if self.iss is None else {'iss': self.iss}))}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        name, _, password = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
        if (name, password) != (CLIENT, quote(SECRET, safe="")):
            return self._refuse(401, "invalid_client")
        query = self.codes.pop(form.get("code", ""), None)
        if query is None or form["redirect_uri"] != query["redirect_uri"] or form["grant_type"] != "authorization_code":
            return self._refuse(400, "invalid_grant")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != query["code_challenge"]:
            return self._refuse(400, "invalid_grant")
        return 200, {"access_token": "unused", "token_type": "Bearer", "id_token": self._id_token(query["nonce"])}

    def _refuse(self, status: int, why: str) -> tuple[int, dict[str, Any]]:
        self.refused.append(why)
        return status, {"error": why}

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        said = {
            "iss": self.url, "aud": CLIENT, "sub": "248289761001", "exp": now + 300, "iat": now, "nonce": nonce,
            "preferred_username": self.user, "groups": self.groups, **self.claims,
        }  # fmt: skip
        return self._signed(said)

    def logout_token(self, **more: Any) -> str:
        """As OpenID Connect Back-Channel Logout 1.0 says it; `more` is put over its claims, None leaves one out."""
        now = int(time.time())
        said = {
            "iss": self.url, "aud": CLIENT, "sub": "248289761001", "iat": now, "exp": now + 120,
            "jti": secrets.token_urlsafe(8), "events": {"http://schemas.openid.net/event/backchannel-logout": {}}, **more,
        }  # fmt: skip
        return self._signed(said)

    def _signed(self, said: dict[str, Any]) -> str:
        claims = {key: value for key, value in said.items() if value is not None}
        if self.algorithm == "none":
            return ".".join(_part(json.dumps(p).encode()) for p in ({"alg": "none", "kid": "first"}, claims)) + "."
        if self.algorithm == "HS256":  # signed with the public key as if it were a shared secret
            head = [_part(json.dumps(p).encode()) for p in ({"alg": "HS256", "kid": self.keys[0].kid}, claims)]
            digest = hmac.digest(self.keys[0].as_pem(private=False), ".".join(head).encode(), "sha256")
            return ".".join([*head, _part(digest)])
        return str(jwt.encode({"alg": self.algorithm, "kid": self.keys[0].kid}, claims, self.keys[0], [self.algorithm]))

    def jwks(self) -> dict[str, Any]:
        return {"keys": [k.as_dict(private=False) for k in self.keys] if self.listed else []}


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.provider.asked.append(parts.path)
        if self.provider.away:
            self._say(503, {})
        elif parts.path == "/.well-known/openid-configuration":
            self._say(200, self.provider.configuration())
        elif parts.path == "/jwks":
            self._say(200, self.provider.jwks())
        elif parts.path == "/authorize":
            self.send_response(302)
            self.send_header("location", self.provider.authorize(_flat(parts.query)))
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self._say(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.provider.asked.append(self.path)
        if self.provider.away:
            self._say(503, {})
        else:
            self._say(*self.provider.token(_flat(body), self.headers.get("authorization", "")))

    def _say(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


def _flat(query: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(query).items()}


@contextmanager
def provider() -> Iterator[Provider]:
    """Running on a free port until the end."""
    made = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": made}))
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
