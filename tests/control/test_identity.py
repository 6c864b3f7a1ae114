"""Links, sessions and tickets: each lets in whom it should, as long as it should, and links and tickets only once."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path

import pytest

from control.identity import (
    HELD_MAX,
    LINK,
    LOGIN_LINK_S,
    TICKET_S,
    TOKEN,
    TOKEN_FILE,
    Caller,
    Identity,
    Standing,
)
from control.sessions import IDLE_S, SESSION_S
from twin.errors import Denied
from twin.role import Role

ANN = Caller("ann", Role.VIEWER)


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Roles = dict[str, Role]


@pytest.fixture
def roles() -> Roles:
    """The accounts there are."""
    return {"anna": Role.SUPERVISOR}


def standing(roles: Roles, name: str) -> Standing:
    if name not in roles:
        raise Denied(f"there is no account {name!r}")
    return Standing(roles[name], str(id(roles)))


@pytest.fixture
def identity(tmp_path: Path, clock: Clock, roles: Roles) -> Identity:
    numbers = count()
    return Identity(tmp_path, clock, lambda: f"secret-{next(numbers)}", partial(standing, roles))


def test_a_login_link_opens_one_session_once(identity: Identity) -> None:
    link = identity.login_link()
    caller, session = identity.log_in(link)
    assert caller == identity.caller(session, None) == LINK
    with pytest.raises(Denied, match="was used"):
        identity.log_in(link)


def test_links_sessions_and_tickets_end_with_their_time(identity: Identity, clock: Clock) -> None:
    _, session = identity.log_in(identity.login_link())
    link, ticket = identity.login_link(), identity.ticket(ANN)
    clock.now = int(TICKET_S * 1e9)
    with pytest.raises(Denied):
        identity.redeem(ticket)
    clock.now = int(LOGIN_LINK_S * 1e9)
    with pytest.raises(Denied):
        identity.log_in(link)
    for hours in range(1, 12):
        clock.now = int(hours * 3600e9)
        identity.caller(session, None)
    clock.now = int(SESSION_S * 1e9)
    with pytest.raises(Denied):
        identity.caller(session, None)


def test_a_session_that_nobody_uses_ends_before_its_time(identity: Identity, clock: Clock) -> None:
    _, session = identity.log_in(identity.login_link())
    clock.now = int(IDLE_S * 1e9) - 1
    assert identity.caller(session, None) == LINK
    clock.now = 2 * int(IDLE_S * 1e9) - 2
    assert identity.caller(session, None) == LINK
    clock.now = 3 * int(IDLE_S * 1e9)
    with pytest.raises(Denied):
        identity.caller(session, None)


def test_a_ticket_is_good_once(identity: Identity) -> None:
    ticket = identity.ticket(ANN)
    assert identity.redeem(ticket) == ANN
    with pytest.raises(Denied):
        identity.redeem(ticket)


def test_the_token_is_kept_private_and_stays_the_same(
    tmp_path: Path, identity: Identity, clock: Clock, roles: Roles
) -> None:
    path = tmp_path / TOKEN_FILE
    assert path.stat().st_mode & 0o077 == 0
    again = Identity(tmp_path, clock, lambda: "other", partial(standing, roles))
    assert again.caller(None, path.read_text()) == TOKEN


@pytest.mark.parametrize("token", ["", "x", "secret-1", "sécret"])
def test_a_wrong_token_is_denied(identity: Identity, token: str) -> None:
    with pytest.raises(Denied):
        identity.caller(None, token)


def test_a_session_that_logged_out_is_over(identity: Identity) -> None:
    _, session = identity.log_in(identity.login_link())
    identity.log_out(session)
    with pytest.raises(Denied):
        identity.caller(session, None)


def test_asking_for_ever_does_not_fill_memory_and_drops_the_oldest(identity: Identity) -> None:
    first = identity.ticket(Caller("first", Role.VIEWER))
    for _ in range(HELD_MAX):
        last = identity.ticket(ANN)
    with pytest.raises(Denied):
        identity.redeem(first)
    assert identity.redeem(last) == ANN


def test_a_session_of_an_account_is_good_as_cookie_and_as_bearer_token(identity: Identity) -> None:
    caller, secret = identity.session("anna")
    assert caller == Caller("anna", Role.SUPERVISOR, account=True)
    assert identity.caller(secret, None) == identity.caller(None, secret) == caller


def test_a_role_counts_as_it_is_now_and_a_removed_account_is_out_at_once(identity: Identity, roles: Roles) -> None:
    caller, secret = identity.session("anna")
    ticket, link = identity.ticket(caller), identity.login_link("anna")
    roles["anna"] = Role.VIEWER
    assert identity.caller(secret, None).role is Role.VIEWER
    assert identity.now(caller).role is Role.VIEWER
    del roles["anna"]
    for use in (
        lambda: identity.caller(secret, None),
        lambda: identity.redeem(ticket),
        lambda: identity.log_in(link),
        lambda: identity.login_link("anna"),
    ):
        with pytest.raises(Denied, match="no account 'anna'"):
            use()


def test_a_login_link_for_an_account_signs_in_as_that_account(identity: Identity) -> None:
    caller, session = identity.log_in(identity.login_link("anna"))
    assert caller == identity.caller(session, None) == Caller("anna", Role.SUPERVISOR, account=True)


def test_what_was_opened_with_a_session_ends_with_it(identity: Identity, clock: Clock) -> None:
    sessions = [identity.session("anna")[1] for _ in range(2)]
    out, late = (identity.redeem(identity.ticket(identity.caller(s, None))) for s in sessions)
    identity.log_out(sessions[0])
    with pytest.raises(Denied, match="session has ended"):
        identity.now(out)
    assert identity.now(late).role is Role.SUPERVISOR
    clock.now = int(SESSION_S * 1e9)
    with pytest.raises(Denied, match="session has ended"):
        identity.now(late)


def test_an_account_that_was_made_anew_takes_no_session_over(tmp_path: Path, clock: Clock, roles: Roles) -> None:
    made, numbers = ["first"], count()
    identity = Identity(
        tmp_path, clock, lambda: f"secret-{next(numbers)}", lambda name: Standing(roles[name], made[-1])
    )
    caller, secret = identity.session("anna")
    assert identity.caller(None, secret) == caller
    made.append("second")
    for use in (lambda: identity.caller(None, secret), lambda: identity.now(caller)):
        with pytest.raises(Denied, match="removed and added again"):
            use()
