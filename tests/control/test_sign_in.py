"""Signing in by password: who fits has a session and an entry in the ledger, and many at once cannot take the threads."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.accounts import Accounts
from control.evidence import Evidence
from control.identity import Identity
from control.sessions import Origin
from control.sign_in import SIGNING_IN_MAX, SignIn
from twin.errors import Denied, LimitExceeded
from twin.role import Role

PASSWORD = "eleven pumps"


@pytest.fixture
def evidence(tmp_path: Path) -> Iterator[Evidence]:
    made = Evidence(tmp_path / "ledger", "works", time.time_ns)
    yield made
    made.close()


async def test_who_fits_has_a_session_and_an_entry_and_more_than_a_few_at_once_are_told_to_wait(
    tmp_path: Path, evidence: Evidence
) -> None:
    accounts = Accounts(tmp_path, time.time_ns)
    accounts.add("anna", PASSWORD, Role.ENGINEER)
    identity = Identity(tmp_path, time.time_ns, secrets.token_hex, accounts.standing)
    door = SignIn(accounts, identity, evidence, time.time_ns)
    caller, session = await door.sign_in("anna", PASSWORD, Origin("password", "10.0.0.1"))
    assert identity.caller(session, None) == caller
    with pytest.raises(Denied):
        await door.sign_in("anna", "twelve pumps", Origin("password", "10.0.0.1"))
    crowd = [door.sign_in("anna", PASSWORD, Origin("password", f"10.0.1.{n}")) for n in range(SIGNING_IN_MAX + 3)]
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    assert sum(isinstance(a, LimitExceeded) for a in answers) == 3
    assert (await door.sign_in("anna", PASSWORD, Origin("password", "10.0.0.2")))[0].role is Role.ENGINEER
    await evidence.record("login", {"user": "last"})
    entries = [e.body for _, e in await asyncio.to_thread(evidence.entries, 50, "login")]
    assert {"user": "anna", "role": "engineer", "by": "password", "peer": "10.0.0.1"} in entries
    refused = [e for e in entries if e.get("refused")]
    assert [(e["user"], e["peer"]) for e in refused] == [("anna", "10.0.0.1")]
    assert len(entries) == 1 + SIGNING_IN_MAX + 1 + 1 + len(refused)
