"""Accounts of those who use the server or a face of the twin: names, roles and password hashes in one file of the data folder.

Blocks for some 50 ms a password (argon2): call it from a thread. Must not know any protocol.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from control.attempts import Attempts
from control.authors import is_taken
from control.identity import Standing
from protocols.link import Clock
from twin.errors import BadRequest, Conflict, Denied, NotFound, Unavailable
from twin.nearest import nearest
from twin.role import Role

ACCOUNTS_FILE = "accounts.json"
ACCOUNTS_MAX = 1_000
NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
NAME_MAX = 64  # characters
PASSWORD_MIN, PASSWORD_MAX = 8, 256  # characters; NIST SP 800-63B asks for 8, and hashing must not be fed megabytes
HASHED_AT_ONCE = 2  # each takes 64 MiB and a core


@dataclass(frozen=True, slots=True)
class Account:
    """`hash` is argon2's own text form; `made` tells it from an earlier one of its name."""

    name: str
    role: Role
    hash: str
    made: str
    disabled: bool = False


class Accounts:
    """The file as it is now: a change by the command line counts at the next question."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / ACCOUNTS_FILE
        self._hasher = PasswordHasher()
        self._attempts = Attempts(clock)
        self._hashing = threading.BoundedSemaphore(HASHED_AT_ONCE)
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int], dict[str, Account]] = ((0, 0), {})
        self._nobody = ""

    def all(self) -> list[Account]:
        """In order of names."""
        found = self._accounts()
        return [found[name] for name in sorted(found)]

    def known(self, name: str) -> bool:
        return name in self._accounts()

    def role(self, name: str) -> Role:
        """
        Raises:
            Denied: there is no such account (any more), or it is disabled.
        """
        return self._account(name).role

    def standing(self, name: str) -> Standing:
        """
        Raises:
            Denied: there is no such account (any more), or it is disabled.
        """
        account = self._account(name)
        return Standing(account.role, account.made, hashlib.sha256(account.hash.encode()).hexdigest())

    def sign_in(self, name: str, password: str, peer: str) -> Role:
        """
        Raises:
            Throttled: too many attempts.
            Denied: no such account, a disabled one, or another password (it does not say which).
        """
        name = name[: NAME_MAX + 1]  # longer ones are nobody's, and need not be remembered
        with self._lock:
            self._attempts.check(name, peer)
        account = self._accounts().get(name)
        if account is not None and account.disabled:
            account = None
        with self._hashing:
            right = self._fits(account, password)
        with self._lock:
            self._attempts.note(name, peer, right)
        if not right or account is None:
            raise Denied("no such account, or another password", "`twinloop account list` shows the accounts")
        return account.role

    def _fits(self, account: Account | None, password: str) -> bool:
        if len(password) > PASSWORD_MAX:
            return False
        if not self._nobody:
            self._nobody = self._hasher.hash("nobody")
        try:  # a name that nobody has takes as long as one with another password
            return (
                self._hasher.verify(self._nobody if account is None else account.hash, password) and account is not None
            )
        except (VerificationError, InvalidHashError):
            return False

    # --- changes -------------------------------------------------------------------------------------------------

    def add(self, name: str, password: str, role: Role) -> None:
        """
        Raises:
            BadRequest, Conflict: it cannot be added so.
        """
        if not NAME.fullmatch(name):
            raise BadRequest(f"account name {name[:80]!r}", f"use 1 … {NAME_MAX} letters, digits, _ . @ and -")
        if is_taken(name):
            raise BadRequest(f"{name!r} stands for the server or for no account", "use the name of a person")
        made = self._hash(password)
        with self._changing() as found:
            held = next((other for other in found if other.casefold() == name.casefold()), None)
            if held is not None:  # approvals tell people apart by these names
                raise Conflict(f"there is an account {held!r}", "remove it first")
            if len(found) >= ACCOUNTS_MAX:
                raise Conflict(f"there are {ACCOUNTS_MAX} accounts", "remove one")
            found[name] = Account(name, role, made, secrets.token_hex(8))

    def change(
        self, name: str, *, role: Role | None = None, disabled: bool | None = None, password: str | None = None
    ) -> Account:
        """What is given; another password or a disabled account ends its sessions.

        Raises:
            NotFound, BadRequest.
        """
        made = None if password is None else self._hash(password)
        with self._changing() as found:
            old = found.get(name)
            if old is None:
                raise NotFound(f"there is no account {name[:80]!r}", nearest(name[:80], found))
            new = replace(
                old,
                role=old.role if role is None else role,
                disabled=old.disabled if disabled is None else disabled,
                hash=old.hash if made is None else made,
            )
            found[name] = new
        return new

    def remove(self, name: str) -> None:
        """
        Raises:
            NotFound.
        """
        with self._changing() as found:
            if name not in found:
                raise NotFound(f"there is no account {name[:80]!r}", nearest(name[:80], found))
            del found[name]

    def _hash(self, password: str) -> str:
        if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
            raise BadRequest(f"a password of {len(password)} characters", f"give {PASSWORD_MIN} … {PASSWORD_MAX}")
        with self._hashing:
            return self._hasher.hash(password)

    def _account(self, name: str) -> Account:
        account = self._accounts().get(name)
        if account is None:
            raise Denied(f"there is no account {name!r}", "`twinloop account add` makes one")
        if account.disabled:
            raise Denied(f"account {name!r} is disabled", "somebody who administers accounts can enable it")
        return account

    # --- the file ------------------------------------------------------------------------------------------------

    def _accounts(self) -> dict[str, Account]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return {}
        stamp = (status.st_mtime_ns, status.st_ino)
        held, accounts = self._read
        if held == stamp:
            return accounts
        accounts = _parsed(self._path)
        self._read = (stamp, accounts)
        return accounts

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Account]]:
        """What is left in it is written; one process at a time, so that no change undoes another."""
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = dict(self._accounts())
            yield found
            self._write(found)

    def _write(self, accounts: dict[str, Account]) -> None:
        draft = self._path.with_suffix(".new")
        draft.touch(0o600)
        rows = [
            {"name": a.name, "role": a.role.value, "hash": a.hash, "made": a.made, "disabled": a.disabled}
            for a in accounts.values()
        ]
        draft.write_text(json.dumps({"accounts": rows}, indent=1))
        draft.replace(self._path)


def _parsed(path: Path) -> dict[str, Account]:
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        rows = [
            Account(
                str(r["name"]), Role(r["role"]), str(r["hash"]), str(r.get("made", r["hash"])),
                bool(r.get("disabled", False)),
            )
            for r in document["accounts"]
        ]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(
            f"{path} cannot be read: {error}", "restore it, or delete it and add the accounts anew"
        ) from None
    return {a.name: a for a in rows}
