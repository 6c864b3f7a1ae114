"""Links, sessions and tickets: each lets in whom it should, as long as it should, and links and tickets only once."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from control.identity import HELD_MAX, LOGIN_LINK_S, SESSION_S, TICKET_S, TOKEN_FILE, Caller, Identity
from twin.errors import Denied


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def identity(tmp_path: Path, clock: Clock) -> Identity:
    numbers = count()
    return Identity(tmp_path, clock, lambda: f"secret-{next(numbers)}")


def test_a_login_link_opens_one_session_once(identity: Identity) -> None:
    link = identity.login_link()
    session = identity.log_in(link)
    assert identity.caller(session, None) == Caller("operator")
    with pytest.raises(Denied, match="was used"):
        identity.log_in(link)


def test_links_sessions_and_tickets_end_with_their_time(identity: Identity, clock: Clock) -> None:
    session = identity.log_in(identity.login_link())
    link, ticket = identity.login_link(), identity.ticket(Caller("x"))
    clock.now = int(TICKET_S * 1e9)
    with pytest.raises(Denied):
        identity.redeem(ticket)
    clock.now = int(LOGIN_LINK_S * 1e9)
    with pytest.raises(Denied):
        identity.log_in(link)
    clock.now = int(SESSION_S * 1e9)
    with pytest.raises(Denied):
        identity.caller(session, None)


def test_a_ticket_is_good_once(identity: Identity) -> None:
    ticket = identity.ticket(Caller("ann"))
    assert identity.redeem(ticket) == Caller("ann")
    with pytest.raises(Denied):
        identity.redeem(ticket)


def test_the_token_is_kept_private_and_stays_the_same(tmp_path: Path, identity: Identity, clock: Clock) -> None:
    path = tmp_path / TOKEN_FILE
    assert path.stat().st_mode & 0o077 == 0
    again = Identity(tmp_path, clock, lambda: "other")
    assert again.caller(None, path.read_text()) == Caller("cli")


@pytest.mark.parametrize("token", ["", "x", "secret-1", "sécret"])
def test_a_wrong_token_is_denied(identity: Identity, token: str) -> None:
    with pytest.raises(Denied):
        identity.caller(None, token)


def test_a_session_that_logged_out_is_over(identity: Identity) -> None:
    session = identity.log_in(identity.login_link())
    identity.log_out(session)
    with pytest.raises(Denied):
        identity.caller(session, None)


def test_asking_for_ever_does_not_fill_memory_and_drops_the_oldest(identity: Identity) -> None:
    first = identity.ticket(Caller("first"))
    for _ in range(HELD_MAX):
        last = identity.ticket(Caller("last"))
    with pytest.raises(Denied):
        identity.redeem(first)
    assert identity.redeem(last) == Caller("last")
