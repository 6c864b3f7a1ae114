"""`server.toml` of the data folder: what a server's owner decides of sign-in, limits and figures; parsed once.

Not part of the plant: the same plant runs elsewhere with another. Every mistake is told, all at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from control.rates import Rate
from control.sessions import IDLE_S, SESSION_S
from twin.errors import BadRequest
from twin.nearest import nearest
from twin.role import Role

SETTINGS_FILE = "server.toml"
METRICS = ("loopback", "everybody", "signed-in")
# A console makes a few calls a second; a script a hundred. Beyond it the loop would have time for nothing else.
CALLER_RATE = Rate(300.0, 1_500.0)
PEER_RATE = Rate(600.0, 3_000.0)  # several people behind one address
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Oidc:
    """A provider of identities (OpenID Connect Core 1.0).

    Attributes:
        name: what the button says.
        claim: whose value, or values, `roles` makes a role; the first row that fits counts. Nobody without one gets in.
        user: the claim that names the person.
        session_s: how long a session lasts, since the provider is not asked again meanwhile.
    """

    name: str
    issuer: str
    client_id: str
    client_secret: str
    redirect: str
    claim: str
    roles: Mapping[str, Role]
    user: str = "preferred_username"
    scopes: tuple[str, ...] = ("openid", "profile")
    session_s: float = 8 * HOUR_S


@dataclass(frozen=True, slots=True)
class Settings:
    """What stands in the file, or else what is usual."""

    life_s: float = SESSION_S
    idle_s: float = IDLE_S
    metrics: str = "loopback"
    caller: Rate = CALLER_RATE
    peer: Rate = PEER_RATE
    oidc: Oidc | None = field(default=None)


def read_settings(folder: Path) -> Settings:
    """
    Raises:
        BadRequest: mistakes, all of them named.
    """
    path = folder / SETTINGS_FILE
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path}: {error}", "docs/security.md says what may stand there") from None
    reader = _Reader(path, document)
    made = reader.settings()
    if reader.mistakes:
        raise BadRequest(
            "\n".join(f"{path}: {m}" for m in reader.mistakes), "docs/security.md says what may stand there"
        )
    return made


class _Reader:
    """Takes what it knows out of the document and keeps every mistake."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self.mistakes: list[str] = []
        self._folder = path.parent
        self._document = document

    def settings(self) -> Settings:
        for name in self._document:
            if name not in KEYS:
                self.mistakes.append(f"there is no table [{name}]; {nearest(name, KEYS) or ', '.join(KEYS)}")
        session, limits, metrics = (self._table(name) for name in ("session", "limits", "metrics"))
        return Settings(
            self._number(session, "session", "hours", SESSION_S / HOUR_S, 0.01, 168) * HOUR_S,
            self._number(session, "session", "idle_hours", IDLE_S / HOUR_S, 0.01, 168) * HOUR_S,
            self._choice(metrics, "metrics", "open_to", METRICS),
            self._rate(limits, "caller", CALLER_RATE),
            self._rate(limits, "peer", PEER_RATE),
            self._oidc(),
        )

    def _table(self, name: str) -> dict[str, Any]:
        found = self._document.get(name, {})
        if not isinstance(found, dict):
            self.mistakes.append(f"{name} is no table; write [{name}]")
            return {}
        for key in found:
            if key not in KEYS[name]:
                hint = nearest(key, KEYS[name]) or f"it has {', '.join(KEYS[name])}"
                self.mistakes.append(f"[{name}] has no {key!r}; {hint}")
        return found

    def _number(self, table: Mapping[str, Any], name: str, key: str, usual: float, low: float, high: float) -> float:
        found = table.get(key, usual)
        if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
            self.mistakes.append(f"[{name}] {key} = {found!r}; give a number in {low:g} … {high:g}")
            return usual
        return float(found)

    def _choice(self, table: Mapping[str, Any], name: str, key: str, choices: tuple[str, ...]) -> str:
        found = table.get(key, choices[0])
        if found not in choices:
            self.mistakes.append(f"[{name}] {key} = {found!r}; one of {', '.join(choices)}")
            return choices[0]
        return str(found)

    def _rate(self, table: Mapping[str, Any], who: str, usual: Rate) -> Rate:
        per_s = self._number(table, "limits", f"{who}_calls_per_s", usual.per_s, 1, 1e6)
        return Rate(per_s, self._number(table, "limits", f"{who}_burst", max(usual.burst, per_s), 1, 1e7))

    def _text(self, table: Mapping[str, Any], key: str, usual: str | None = None) -> str:
        found = table.get(key, usual)
        if not isinstance(found, str) or not found:
            self.mistakes.append(f"[oidc] {key} = {found!r}; give a text")
            return ""
        return found

    def _oidc(self) -> Oidc | None:
        if "oidc" not in self._document:
            return None
        table = self._table("oidc")
        roles = table.get("roles")
        if not isinstance(roles, dict) or not roles or any(r not in set(Role) for r in roles.values()):
            self.mistakes.append(
                f'[oidc.roles] {roles!r}; write lines such as "plant-operators" = "operator", '
                f"with one of {', '.join(Role)}"
            )
            roles = {}
        made = Oidc(
            self._text(table, "name", "the company's account"),
            self._address(table, "issuer").rstrip("/"),
            self._text(table, "client_id"),
            self._secret(table),
            self._address(table, "redirect"),
            self._text(table, "claim", "groups"),
            {str(k): Role(v) for k, v in roles.items()},
            self._text(table, "user", "preferred_username"),
            tuple(self._text(table, "scopes", "openid profile").split()),
            self._number(table, "oidc", "hours", 8, 0.01, 24) * HOUR_S,
        )
        if "openid" not in made.scopes:
            self.mistakes.append("[oidc] scopes lack openid; add it")
        return made

    def _address(self, table: Mapping[str, Any], key: str) -> str:
        """https, or http on this machine: a code or an ID token in the open lets others in."""
        found = self._text(table, key)
        parts = urlsplit(found)
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if found and not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local))):
            self.mistakes.append(f"[oidc] {key} = {found!r}; give an https address")
        return found

    def _secret(self, table: Mapping[str, Any]) -> str:
        """From a file: nobody shows a secret by showing the settings. "" is a public client, which PKCE protects."""
        name = table.get("client_secret_file", "")
        if not name:
            return ""
        try:
            return (self._folder / str(name)).read_text("utf-8").strip()
        except OSError as error:
            self.mistakes.append(
                f"[oidc] client_secret_file: {error.strerror}: {name}; a file with nothing but the secret"
            )
            return ""


KEYS: Mapping[str, tuple[str, ...]] = {
    "session": ("hours", "idle_hours"),
    "limits": ("caller_calls_per_s", "caller_burst", "peer_calls_per_s", "peer_burst"),
    "metrics": ("open_to",),
    "oidc": (
        "name", "issuer", "client_id", "client_secret_file", "redirect", "claim", "roles", "user", "scopes", "hours",
    ),
}  # fmt: skip
"""Every table and key that may stand in the file."""
