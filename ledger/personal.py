"""Personal fields: recorded as salted hashes, so that deleting a person's salt makes all of them say nothing.

A field becomes `person:1:NONCE:HASH` with salt = HMAC-SHA-256(the person's secret, NONCE) and HASH = SHA-256 over
a domain, the salt and the name. The secret, 32 random bytes, is the only thing that leads back; it is kept outside the
log, so proofs stay valid when it goes. Must not know entries, nor where a name stands in them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path

from ledger import sqlite_read
from ledger.errors import NotFound

SALTS = "salts.sqlite"
NONCE_BYTES = 16
SEALED_KEPT = 50_000  # two seconds of the fastest writing: who was just sealed is opened at once, for some 12 MB
_DOMAIN = b"twinloop-person-1\n"
_SEALED = re.compile(r"person:1:([0-9a-f]{32}):([0-9a-f]{64})")
_SCHEMA = "CREATE TABLE IF NOT EXISTS subjects (subject TEXT PRIMARY KEY, secret BLOB NOT NULL) WITHOUT ROWID"


def is_sealed(text: object) -> bool:
    return isinstance(text, str) and _SEALED.fullmatch(text) is not None


def salt_of(secret: bytes, nonce: bytes) -> bytes:
    """The salt of one field: may be shown to prove one entry, and gives away no other."""
    return hmac.digest(secret, nonce, "sha256")


def sealed_with(salt: bytes, nonce: bytes, subject: str) -> str:
    return f"person:1:{nonce.hex()}:{_digest(salt, subject).hex()}"


def _digest(salt: bytes, subject: str) -> bytes:
    return hashlib.sha256(_DOMAIN + salt + subject.encode()).digest()


class _Person:
    """A secret, made ready: the salts of many fields are computed with one HMAC key."""

    __slots__ = ("_inner", "_outer", "tag")

    def __init__(self, secret: bytes) -> None:
        key = secret.ljust(64, b"\0")  # RFC 2104, with the key's two halves hashed once
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
        self.tag = int.from_bytes(self.salt(b"tag")[:8], "big") or 1

    def salt(self, nonce: bytes) -> bytes:
        """As `salt_of`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(nonce)
        outer.update(inner.digest())
        return outer.digest()


class Salts:
    """The secrets of all persons of one log, in `salts.sqlite` beside it. May be used from any thread."""

    def __init__(self, directory: Path, read_only: bool = False) -> None:
        """`read_only`: as they are now, none is made; where there is no file, nobody is known."""
        self._one = threading.Lock()
        self._known: OrderedDict[str, _Person] = OrderedDict()  # whoever was opened last comes last
        self._sealed: OrderedDict[str, str] = OrderedDict()  # who, of what was sealed last
        self._con = _open(directory / SALTS, read_only)
        if self._con is not None:
            held = self._con.execute("SELECT subject, secret FROM subjects").fetchall()
            self._known.update((subject, _Person(secret)) for subject, secret in held)

    def seal(self, subject: str) -> str:
        """What stands in the log for this person; never the same twice. Empty stays empty: nobody is no person."""
        if not subject:
            return ""
        nonce = secrets.token_bytes(NONCE_BYTES)
        with self._one:
            person = self._known.get(subject) or self._made(subject)
            sealed = sealed_with(person.salt(nonce), nonce, subject)
            self._sealed[sealed] = subject
            if len(self._sealed) > SEALED_KEPT:
                self._sealed.popitem(last=False)
        return sealed

    def _made(self, subject: str) -> _Person:
        """A new person, whose secret is durable before anything is sealed with it."""
        if self._con is None:
            raise NotFound(f"there is no {SALTS}: nobody can be sealed here")
        secret = secrets.token_bytes(32)
        self._con.execute("INSERT INTO subjects VALUES (?, ?)", (subject, secret))
        person = self._known[subject] = _Person(secret)
        return person

    def opened(self, sealed: str) -> str | None:
        """Who it stands for; None when that person was erased."""
        found = _SEALED.fullmatch(sealed)
        if found is None:
            return None
        nonce, digest = bytes.fromhex(found[1]), bytes.fromhex(found[2])
        with self._one:
            just = self._sealed.get(sealed)
            if just is not None:
                return just
            for subject in reversed(self._known):
                if _digest(self._known[subject].salt(nonce), subject) == digest:
                    self._known.move_to_end(subject)
                    return subject
        return None

    def tag(self, subject: str) -> int:
        """A number for this person alone, 0 for whoever is not known: it says nothing once the secret is gone."""
        with self._one:
            person = self._known.get(subject)
        return 0 if person is None else person.tag

    def tags(self) -> dict[str, int]:
        """Of everybody who is known."""
        return {subject: self.tag(subject) for subject in self.subjects()}

    def subjects(self) -> list[str]:
        """Everybody who is known."""
        with self._one:
            return list(self._known)

    def knows(self, subject: str) -> bool:
        """Whether anything recorded of this person can still be opened."""
        with self._one:
            return subject in self._known

    def erase(self, subject: str) -> None:
        """Delete the person's secret. Raises NotFound when there is none."""
        with self._one:
            gone = 0
            if self._con is not None:
                gone = self._con.execute("DELETE FROM subjects WHERE subject = ?", (subject,)).rowcount
            self._known.pop(subject, None)
            for sealed in [sealed for sealed, who in self._sealed.items() if who == subject]:
                del self._sealed[sealed]
        if not gone:
            raise NotFound(f"there is no person {subject!r} in {SALTS}: nothing of theirs can be opened any more")

    def close(self) -> None:
        if self._con is not None:
            self._con.close()


def _open(path: Path, read_only: bool) -> sqlite3.Connection | None:
    if read_only:
        if not path.exists():
            return None
        return sqlite_read.connect(path, check_same_thread=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    con = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    con.execute("PRAGMA secure_delete = ON")  # a deleted secret is overwritten, not only forgotten
    con.execute("PRAGMA synchronous = FULL")
    con.execute(_SCHEMA)
    return con
