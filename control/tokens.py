"""Tokens of programs: a name, whose they are, what they may do and until when; hashed, in one file of the data folder.

Must not know HTTP, nor whether the account behind a token still stands (control/identity.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from control.authors import is_taken
from control.sessions import ID_LENGTH, hash_of
from twin.errors import BadRequest, Conflict, NotFound, Unavailable
from twin.role import Act, Role

if TYPE_CHECKING:
    from protocols.link import Clock

TOKENS_FILE = "tokens.json"
TOKENS_MAX = 1_000
PREFIX = "twinloop"
"""Tokens begin with it, so that people and scanners know one when they see it."""
DAYS, DAYS_MAX = 90, 366
POINTS_MAX = 100  # prefixes of one token
USED_EVERY_S = 60.0  # how exactly the file knows when a token was last used
NAME = re.compile(r"[\w.-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """`account` is whose it is, `made` which account of that name; "" is nobody's: then `role` is its own.

    Attributes:
        acts: at most these, and only what the role may.
        points: prefixes of the points that it may touch; none is all of them.
        until: ns; from then on it is nothing.
        used: ns, None for never.
    """

    id: str
    name: str
    account: str
    made: str
    role: Role
    acts: frozenset[Act]
    points: tuple[str, ...]
    since: int
    until: int
    hash: str
    used: int | None = None

    @property
    def author(self) -> str:
        """Behind it stands one person: nobody approves an own command by a token."""
        return f"{self.name}:{self.account or 'cli'}"


class Tokens:
    """The file as it is now, and when each was last used."""

    def __init__(self, folder: Path, clock: Clock, new_secret: Callable[[], str]) -> None:
        self._path = folder / TOKENS_FILE
        self._clock, self._new_secret = clock, new_secret
        self._read: tuple[tuple[int, int], dict[str, Token]] = ((0, 0), {})
        self._used: dict[str, int] = {}
        self._kept_at = 0

    def all(self) -> list[Token]:
        """Newest first, also those that are over."""
        return sorted(self._tokens().values(), key=lambda t: (-t.since, t.id))

    def used(self, token: Token) -> int | None:
        return max((u for u in (token.used, self._used.get(token.id)) if u is not None), default=None)

    def look(self, secret: str) -> Token | None:
        """Whose secret it is, if it is good."""
        if not secret.startswith(f"{PREFIX}_"):
            return None
        wanted = hash_of(secret)
        found = self._tokens().get(wanted[:ID_LENGTH])
        if found is None or not hmac.compare_digest(found.hash, wanted):
            return None
        return self.alive(found.id)

    def alive(self, token_id: str) -> Token | None:
        """If it is there and not over; it counts as used now."""
        found = self._tokens().get(token_id)
        now = self._clock()
        if found is None or now >= found.until:
            return None
        self._used[token_id] = now
        return found

    def give(
        self, name: str, account: str, made: str, role: Role, acts: frozenset[Act], points: tuple[str, ...], days: float
    ) -> tuple[Token, str]:
        """A new one and its secret, which nobody can read later.

        Raises:
            BadRequest, Conflict: it cannot be so.
        """
        if not NAME.fullmatch(name):
            raise BadRequest(f"token name {name[:80]!r}", "use 1 … 40 letters, digits, _ . and -")
        if is_taken(name):  # what it writes would be taken for the server's own
            raise BadRequest(f"token name {name!r} stands for the server itself", "name it after what it is for")
        if not 0 < days <= DAYS_MAX:
            raise BadRequest(f"{days:g} days", f"a token is good for more than 0 and at most {DAYS_MAX} days")
        if not acts:
            raise BadRequest("a token that may nothing", f"give some of {', '.join(Act)}")
        if len(points) > POINTS_MAX or not all(0 < len(p) <= 200 for p in points):
            raise BadRequest(f"{len(points)} prefixes of points", f"at most {POINTS_MAX}, each of 1 … 200 characters")
        secret, now = f"{PREFIX}_{self._new_secret()}", self._clock()
        digest = hash_of(secret)
        token = Token(
            digest[:ID_LENGTH], name, account, made, role, acts, points, now, now + int(days * 86_400e9), digest
        )
        with self._changing() as found:
            if any((t.name, t.account) == (name, account) and now < t.until for t in found.values()):
                raise Conflict(f"{account or 'cli'} has a token {name!r}", "revoke it first, or choose another name")
            for over in [t.id for t in found.values() if t.until <= now]:
                del found[over]
            if len(found) >= TOKENS_MAX:
                raise Conflict(f"there are {TOKENS_MAX} tokens", "revoke one")
            found[token.id] = token
        return token, secret

    def revoke(self, token_id: str) -> Token:
        """
        Raises:
            NotFound.
        """
        with self._changing() as found:
            if token_id not in found:
                raise NotFound(f"there is no token {token_id[:80]!r}", "`twinloop token list` shows them")
            return found.pop(token_id)

    def revoke_of(self, account: str) -> None:
        """All of an account."""
        if not any(t.account == account for t in self._tokens().values()):
            return
        with self._changing() as found:
            for token_id in [t.id for t in found.values() if t.account == account]:
                del found[token_id]

    def get(self, token_id: str) -> Token:
        """
        Raises:
            NotFound.
        """
        found = self._tokens().get(token_id)
        if found is None:
            raise NotFound(f"there is no token {token_id[:80]!r}", "`twinloop token list` shows them")
        return found

    def keep_used(self) -> None:
        """Write when each was last used, at most every USED_EVERY_S; called by the server, off its loop."""
        now = self._clock()
        newest = max(self._used.values(), default=0)
        if newest <= self._kept_at or now - self._kept_at < USED_EVERY_S * 1e9:
            return
        with self._changing():
            self._kept_at = now

    # --- the file ------------------------------------------------------------------------------------------------

    def _tokens(self) -> dict[str, Token]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return {}
        stamp = (status.st_mtime_ns, status.st_ino)
        if self._read[0] != stamp:
            self._read = (stamp, _parsed(self._path))
        return self._read[1]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = dict(self._tokens())
            yield found
            draft = self._path.with_suffix(".new")
            draft.touch(0o600)
            draft.write_text(json.dumps({"tokens": [self._row(t) for t in found.values()]}, indent=1))
            draft.replace(self._path)

    def _row(self, token: Token) -> dict[str, Any]:
        return {
            "id": token.id, "name": token.name, "account": token.account, "made": token.made, "role": token.role.value,
            "acts": sorted(token.acts), "points": list(token.points), "since": token.since, "until": token.until,
            "hash": token.hash, "used": self.used(token),
        }  # fmt: skip


def _parsed(path: Path) -> dict[str, Token]:
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        rows = [
            Token(
                str(r["id"]), str(r["name"]), str(r["account"]), str(r["made"]), Role(r["role"]),
                frozenset(map(Act, r["acts"])), tuple(map(str, r["points"])), int(r["since"]), int(r["until"]),
                str(r["hash"]), None if r["used"] is None else int(r["used"]),
            )
            for r in document["tokens"]
        ]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"{path} cannot be read: {error}", "restore it, or delete it and make the tokens anew"
        ) from None
    return {t.id: t for t in rows}
