"""Gives and takes accounts, sessions and tokens, each change an entry of the ledger; must not know HTTP.

An entry names what was done, who did it and to whom; never a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path

from control.accounts import Account, Accounts
from control.evidence import ACCESS, Evidence
from control.identity import TOKEN, Caller, Identity
from control.permissions import acts_of, permit, permit_person
from control.places import VIEWS_FILE
from control.sessions import Origin, Session
from control.sign_in import SignIn
from control.tokens import DAYS, Token, Tokens
from control.view_store import ViewStore
from ledger.entry import JSON
from twin.errors import BadRequest, Conflict, NotFound, NotPermitted
from twin.role import Act, Role

TOKENS_EVERY_S = 30.0


class Access:
    """What people may change of who may do what."""

    def __init__(
        self, accounts: Accounts, identity: Identity, sign_in: SignIn, evidence: Evidence, views: ViewStore
    ) -> None:
        self._accounts, self._identity, self._sign_in, self._evidence = accounts, identity, sign_in, evidence
        self._views = views

    async def run(self) -> None:
        """Keep when tokens were last used, until cancelled."""
        while True:
            await asyncio.sleep(TOKENS_EVERY_S)
            await asyncio.to_thread(self._identity.tokens.keep_used)

    # --- accounts ------------------------------------------------------------------------------------------------

    def accounts(self) -> list[Account]:
        return self._accounts.all()

    async def add(self, caller: Caller, name: str, password: str, role: Role) -> Account:
        _no_program(caller)
        await asyncio.to_thread(self._accounts.add, name, password, role)
        self._record("account added", caller, name, role=role.value)
        return self._account(name)

    async def change(
        self, caller: Caller, name: str, role: Role | None, disabled: bool | None, password: str | None
    ) -> Account:
        """Another password or `disabled` ends its sessions at once; another role counts at once."""
        _no_program(caller)
        if (role is not None and role is not Role.ADMIN) or disabled:
            self._keep_an_admin(caller, name)

        def work() -> Account:
            return self._accounts.change(name, role=role, disabled=disabled, password=password)

        changed = await asyncio.to_thread(work)
        said: dict[str, JSON] = {}
        if role is not None:
            said["role"] = role.value
        if disabled is not None:
            said["disabled"] = disabled
        if password is not None:
            said["password"] = "another"
        if disabled or password is not None:
            self._end(lambda s: s.caller.account and s.caller.name == name)
        self._record("account changed", caller, name, **said)
        return changed

    def _keep_an_admin(self, caller: Caller, name: str) -> None:
        """Who owns the data folder can always make another one; who has signed in cannot.

        Raises:
            Conflict: nobody else could administer.
        """
        admins = {a.name for a in self._accounts.all() if a.role is Role.ADMIN and not a.disabled}
        if caller.account and admins == {name}:
            raise Conflict(f"{name} is the only admin", "make another account an admin first")

    async def remove(self, caller: Caller, name: str) -> None:
        """With its sessions, tokens and views.

        Raises:
            NotFound. Conflict: it is the only admin.
        """
        _no_program(caller)
        self._account(name)
        self._keep_an_admin(caller, name)
        await asyncio.to_thread(self._views.forget_account, name)  # first: a kill in between leaves nobody's views
        self._accounts.remove(name)
        self._end(lambda s: s.caller.account and s.caller.name == name)
        self._identity.tokens.revoke_of(name)
        self._record("account removed", caller, name)

    async def change_password(self, caller: Caller, old: str, new: str, origin: Origin) -> tuple[Caller, str]:
        """One's own; every session of the account ends, and the caller has a new one.

        Raises:
            BadRequest, NotPermitted, Denied: the old one does not fit.
        """
        if caller.token or not caller.account:
            raise NotPermitted(f"{caller.name} has no password", "only who has signed in with an account has one")
        await self._sign_in.check(caller.name, old, origin)
        await self.change(caller, caller.name, None, None, new)
        return self._identity.session(caller.name, origin)

    def _account(self, name: str) -> Account:
        found = next((a for a in self._accounts.all() if a.name == name), None)
        if found is None:
            raise NotFound(f"there is no account {name!r}")
        return found

    # --- sessions ------------------------------------------------------------------------------------------------

    def sessions(self, caller: Caller, everybody: bool) -> list[Session]:
        if everybody:
            permit(caller, Act.OVERSEE)
        held = self._identity.sessions.all()
        return held if everybody else [s for s in held if _own(caller, s)]

    def revoke(self, caller: Caller, session_id: str) -> None:
        """One session.

        Raises:
            NotFound, NotPermitted.
        """
        found = next((s for s in self._identity.sessions.all() if s.id == session_id), None)
        if found is None or not (_own(caller, found) or caller.owner or Act.OVERSEE in acts_of(caller)):
            raise NotFound(f"there is no session {session_id[:80]!r}", "`twinloop session list` shows them")
        if not _own(caller, found):
            permit(caller, Act.ADMINISTER)
        self._end(lambda s: s.id == session_id)
        self._record("session revoked", caller, found.caller.name, session=session_id)

    def revoke_all(self, caller: Caller, name: str, everybody: bool) -> int:
        """All of somebody, of oneself without a name, or of everybody; the caller's own one stays. How many ended."""
        whose = name or caller.name
        if everybody or whose != caller.name:
            permit(caller, Act.ADMINISTER)
        _no_program(caller)
        ended = self._end(
            lambda s: (everybody or s.caller.name == whose) and not (caller.session and caller.session.startswith(s.id))
        )
        self._record("sessions revoked", caller, "" if everybody else whose, sessions=len(ended))
        return len(ended)

    def sign_out(self, names: Collection[str]) -> None:
        """Persons who are erased: without an entry, which would name them again."""
        self._end(lambda s: s.caller.name in names)

    def _end(self, ends: Callable[[Session], bool]) -> list[Session]:
        return self._identity.sessions.end(ends)

    def signed_out(self, caller: Caller) -> None:
        self._record("signed out", caller, caller.name)

    # --- tokens --------------------------------------------------------------------------------------------------

    def tokens(self, caller: Caller, everybody: bool) -> list[Token]:
        if everybody:
            permit(caller, Act.OVERSEE)
        held = self._identity.tokens.all()
        return held if everybody else [t for t in held if _owns(caller, t)]

    def used(self, token: Token) -> int | None:
        return self._identity.tokens.used(token)

    async def give_token(
        self, caller: Caller, name: str, account: str, role: str, acts: list[str], points: list[str], days: float | None
    ) -> tuple[Token, str]:
        """A token of an account, the caller's own where none is named, or one of the data folder's owner.

        Raises:
            BadRequest, Conflict, NotPermitted, Denied.
        """
        whose = account or (caller.name if caller.account else "")
        permit_person(caller, whose)
        if not whose and not caller.owner:
            raise NotPermitted(f"{caller.name} is no account and cannot have a token", "name an account")
        if role and (whose or role not in set(Role)):
            raise BadRequest(f"role {role[:80]!r}", f"a token has its account's; without one, one of {', '.join(Role)}")
        unknown = [a for a in acts if a not in set(Act)]
        if unknown:
            raise BadRequest(f"right {unknown[0][:80]!r}", f"one of {', '.join(Act)}")
        standing = "" if not whose else self._identity.made(whose)
        held = Role(role or Role.OPERATOR)
        token, secret = await asyncio.to_thread(
            self._identity.tokens.give, name, whose, standing, held, frozenset(map(Act, acts)), tuple(points),
            DAYS if days is None else days,
        )  # fmt: skip
        self._record(
            "token made", caller, whose or TOKEN.name, token=token.id, name=name, acts=[a.value for a in sorted(token.acts)],
            points=list(points), until_ns=token.until,
        )  # fmt: skip
        return token, secret

    def revoke_token(self, caller: Caller, token_id: str) -> None:
        """
        Raises:
            NotFound, NotPermitted.
        """
        token = self._identity.tokens.get(token_id)
        if not _owns(caller, token):
            permit(caller, Act.ADMINISTER)
        self._identity.tokens.revoke(token_id)
        self._record("token revoked", caller, token.account or TOKEN.name, token=token_id, name=token.name)

    def _record(self, what: str, by: Caller, user: str, **more: JSON) -> None:
        self._evidence.record(ACCESS, {"what": what, "by": by.name, "user": user, **more})


def remove_stopped(data: Path, name: str) -> None:
    """An account with its tokens and views, in the data folder of a server that does not run; without an entry.

    Raises:
        NotFound.
    """
    accounts = Accounts(data, time.time_ns)
    if accounts.known(name) and (data / VIEWS_FILE).is_file():
        with contextlib.closing(ViewStore(data / VIEWS_FILE)) as views:
            views.forget_account(name)
    accounts.remove(name)
    Tokens(data, time.time_ns, secrets.token_urlsafe).revoke_of(name)


def _own(caller: Caller, session: Session) -> bool:
    return not caller.token and session.caller.name == caller.name and session.caller.account == caller.account


def _owns(caller: Caller, token: Token) -> bool:
    """A token may give up itself: who finds one lying about can at least end it."""
    return (
        caller.token == token.id
        or (caller.account and caller.name == token.account)
        or (caller.owner and not token.account)
    )


def _no_program(caller: Caller) -> None:
    """
    Raises:
        NotPermitted.
    """
    if caller.token:
        raise NotPermitted("a token cannot change who may do what", "sign in as a person")
