"""Signs accounts in by their password, off the event loop; must not know HTTP, nor what a session may do."""

from __future__ import annotations

import asyncio
import logging

from control.accounts import Accounts
from control.evidence import Evidence
from control.identity import BY_LINK, Caller, Identity
from control.sessions import Origin
from ledger.entry import JSON
from ledger.errors import LedgerError
from protocols.link import Clock
from twin.errors import Denied, LimitExceeded, Throttled

SIGNING_IN_MAX = 4  # two are hashed at a time, 50 ms each: more would only keep threads waiting that others need
REFUSALS_MAX = 60  # entries of one minute: guessing from everywhere must not fill the ledger
MINUTE_NS = 60_000_000_000
log = logging.getLogger("twinloop.sign_in")


class Refusals:
    """Refused sign-ins as entries of the ledger; of more than REFUSALS_MAX a minute the next one tells how many.

    Names that no account has are not recorded: people type their password there by mistake.
    """

    def __init__(self, accounts: Accounts, evidence: Evidence, clock: Clock) -> None:
        self._accounts, self._evidence, self._clock = accounts, evidence, clock
        self._since, self._told, self._passed_over = 0, 0, 0

    def note(self, account: str, by: str, peer: str) -> None:
        now = self._clock()
        if now - self._since > MINUTE_NS:
            self._since, self._told = now, 0
        self._told += 1
        if self._told > REFUSALS_MAX:
            self._passed_over += 1
            return
        known = self._accounts.known(account)
        body: dict[str, JSON] = {
            "user": account if known else "", "known": known, "refused": True, "by": by, "peer": peer,
            "passed_over": self._passed_over,
        }  # fmt: skip
        try:
            self._evidence.record("login", body)
            self._passed_over = 0
        except LedgerError as error:  # refused all the same
            log.error("a refused sign-in is not recorded: %s", error)


class SignIn:
    """The one way from a password to a session."""

    def __init__(self, accounts: Accounts, identity: Identity, evidence: Evidence, clock: Clock) -> None:
        self._accounts, self._identity, self._evidence = accounts, identity, evidence
        self.refusals = Refusals(accounts, evidence, clock)
        self._busy = 0

    async def sign_in(self, account: str, password: str, origin: Origin = BY_LINK) -> tuple[Caller, str]:
        """Who it is now, and the secret of a session.

        Raises:
            Throttled: too many attempts.
            Denied: no such account, another password (it does not say which).
            LimitExceeded: too many sign in at this moment.
        """
        await self.check(account, password, origin)
        caller, secret = self._identity.session(account, origin)
        self._evidence.record(
            "login", {"user": account, "role": caller.role.value, "by": origin.by, "peer": origin.peer}
        )
        return caller, secret

    async def check(self, account: str, password: str, origin: Origin) -> None:
        """That the password fits; raises as `sign_in`."""
        if self._busy >= SIGNING_IN_MAX:
            raise LimitExceeded(
                f"{SIGNING_IN_MAX} are signing in at this moment", "try again in a second", retry_after_s=1.0
            )
        self._busy += 1
        try:
            await asyncio.to_thread(self._accounts.sign_in, account, password, origin.peer)
        except Throttled:
            raise  # nothing was tried: what led to it is recorded
        except Denied:
            self.refusals.note(account, origin.by, origin.peer)
            raise
        finally:
            self._busy -= 1

    def by_link(self, secret: str, origin: Origin) -> tuple[Caller, str]:
        """Who a login link stands for, and the secret of a session.

        Raises:
            Denied.
        """
        try:
            caller, session = self._identity.log_in(secret, origin)
        except Denied:
            self.refusals.note("", origin.by, origin.peer)
            raise
        self._evidence.record(
            "login", {"user": caller.name, "role": caller.role.value, "by": origin.by, "peer": origin.peer}
        )
        return caller, session
