"""Signs accounts in by their password, off the event loop; must not know HTTP, nor what a session may do."""

from __future__ import annotations

import asyncio

from control.accounts import Accounts
from control.evidence import Evidence
from control.identity import Caller, Identity
from twin.errors import LimitExceeded

SIGNING_IN_MAX = 4  # two are hashed at a time, 50 ms each: more would only keep threads waiting that others need


class SignIn:
    """The one way from a password to a session."""

    def __init__(self, accounts: Accounts, identity: Identity, evidence: Evidence) -> None:
        self._accounts, self._identity, self._evidence = accounts, identity, evidence
        self._busy = 0

    async def sign_in(self, account: str, password: str, peer: str) -> tuple[Caller, str]:
        """Who it is now, and the secret of a session.

        Raises:
            Denied: no such account, another password (it does not say which), or too many attempts.
            LimitExceeded: too many sign in at this moment.
        """
        if self._busy >= SIGNING_IN_MAX:
            raise LimitExceeded(f"{SIGNING_IN_MAX} are signing in at this moment", "try again in a second")
        self._busy += 1
        try:
            role = await asyncio.to_thread(self._accounts.sign_in, account, password, peer)
        finally:
            self._busy -= 1
        self._evidence.record("login", {"user": account, "role": role.value, "by": "password", "peer": peer})
        return self._identity.session(account)
