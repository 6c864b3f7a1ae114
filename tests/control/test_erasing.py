"""Who is erased from a running server is gone from what only memory holds, and from what the ledger never heard of."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from control.access import Access, remove_stopped
from control.accounts import Accounts
from control.erasing import Erasing, erase_stopped
from control.evidence import Evidence
from control.identity import TOKEN, Caller, Identity
from control.places import VIEWS_FILE
from control.remembered import Told
from control.retraining import Course, Retrainings, Training
from control.sessions import Origin
from control.sign_in import SignIn
from control.view_store import Person, ViewStore
from twin.errors import BadRequest, Conflict, Denied, NotFound
from twin.feed import Feed
from twin.role import Act, Role

BY_TOKEN = Person("tok:anna", Role.OPERATOR)


@dataclass
class Site:
    """A server's parts that remember people, and nothing else of it."""

    data: Path
    evidence: Evidence
    views: ViewStore
    identity: Identity
    feed: Feed
    retrainings: Retrainings
    erasing: Erasing
    access: Access


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Site]:
    evidence = Evidence(tmp_path / "ledger", "works", time.time_ns)
    views = ViewStore(tmp_path / VIEWS_FILE)
    accounts = Accounts(tmp_path, time.time_ns)
    identity = Identity(tmp_path, time.time_ns, secrets.token_hex, accounts.standing)
    access = Access(accounts, identity, SignIn(accounts, identity, evidence, time.time_ns), evidence, views)
    feed = Feed(1, epoch=1)
    inference: Any = SimpleNamespace(rows=list)
    retrainings = Retrainings(inference, tmp_path, time.time_ns)
    backups: Any = SimpleNamespace(running=False)
    erasing = Erasing(tmp_path, evidence, backups, (retrainings, Told(feed)), views, access.sign_out)
    yield Site(tmp_path, evidence, views, identity, feed, retrainings, erasing, access)
    views.close()
    evidence.close()


async def test_notes_and_views_by_a_token_are_erased_with_the_account(works: Site) -> None:
    await works.evidence.record("login", {"user": "anna", "role": "operator", "by": "password", "peer": "192.0.2.7"})
    works.views.note(BY_TOKEN.name, "pump 3 is loud", 1)
    works.views.save(BY_TOKEN, "1", "mine", "#/plant", False, 1)
    done = await works.erasing.erase("anna", "boss")
    assert done.subjects == ["anna", "tok:anna"]
    assert works.views.names() == {f"(erased {done.entries[1]})"}
    with pytest.raises(NotFound):
        await works.erasing.erase("anna", "boss")
    with pytest.raises(NotFound):
        await works.erasing.erase(f"(erased {done.entries[1]})", "boss")


async def test_whom_only_a_note_names_is_erased_without_a_server_as_well(works: Site) -> None:
    works.views.note(BY_TOKEN.name, "pump 3 is loud", 1)
    works.views.close()
    works.evidence.close()
    done = erase_stopped(works.data, "anna", "root", time.time_ns())
    assert done.subjects == ["tok:anna"]
    views = ViewStore(works.data / VIEWS_FILE)
    assert views.names() == {f"(erased {done.entries[0]})"}
    views.close()


async def test_who_comes_back_for_events_is_told_no_erased_name(works: Site) -> None:
    await works.evidence.record("login", {"user": "anna", "role": "operator", "by": "password", "peer": ""})
    command = {"author": "anna", "transitions": [{"by": "anna"}], "approved_by": ["otto", "anna"], "reason": "anna"}
    works.feed.announce("command", 1, command)
    works.feed.announce("alarm", 2, {"changes": [{"by": "otto", "alarm": {"acked_by": "anna", "by": [0.5]}}]})
    first = (await works.erasing.erase("anna", "boss")).entries[0]
    gone = f"(erased {first})"
    assert [e.body for e in works.feed.events_since(0)] == [
        {"author": gone, "transitions": [{"by": gone}], "approved_by": ["otto", gone], "reason": "anna"},
        {"changes": [{"by": "otto", "alarm": {"acked_by": gone, "by": [0.5]}}]},
    ]


async def test_a_training_names_its_author_no_more_and_one_under_way_refuses_the_erasure(
    works: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.erasing.LEDGER_WAIT_S", 0.0)
    await works.evidence.record("login", {"user": "anna", "role": "engineer", "by": "password", "peer": ""})
    training = works.retrainings.newest["flow"] = Training("flow", "it drifts", "anna", 1)
    with pytest.raises(Conflict, match="flow"):
        await works.erasing.erase("anna", "boss")
    training.course = Course.DONE
    done = await works.erasing.erase("anna", "boss")
    assert training.by == f"(erased {done.entries[0]})"


async def test_whom_a_provider_vouches_for_is_signed_in_no_more(works: Site) -> None:
    caller = Caller("oidc:anna", Role.OPERATOR)
    session = works.identity.session_of(caller, Origin("works id"), 3_600.0)
    other = works.identity.session_of(Caller("oidc:otto", Role.OPERATOR), Origin("works id"), 3_600.0)
    await works.evidence.record("login", {"user": "oidc:anna", "role": "operator", "by": "works id", "peer": ""})
    assert (await works.erasing.erase("anna", "boss")).subjects == ["oidc:anna"]
    with pytest.raises(Denied):
        works.identity.caller(session, None)
    assert works.identity.caller(other, None).name == "oidc:otto"
    assert [s.caller.name for s in works.identity.sessions.all()] == ["oidc:otto"]


async def a_shift(works: Site) -> None:
    """Anna, a token of hers, and somebody at a provider who is called so as well: each has a view."""
    await works.access.add(TOKEN, "anna", "eleven pumps", Role.OPERATOR)
    await works.access.give_token(TOKEN, "tok", "anna", "", [Act.SEE], [], None)
    for n, owner in enumerate(("anna", "tok:anna", "oidc:anna", "otto")):
        person = Person(owner, Role.OPERATOR)
        works.views.save(person, str(n), "mine", "#/plant", False, 1)
        works.views.open_first(person, str(n))


async def views_of_the_next_anna(works: Site) -> list[int]:
    await works.access.add(TOKEN, "anna", "twelve pumps", Role.VIEWER)
    names = ("anna", "tok:anna", "oidc:anna", "otto")
    return [len(works.views.views(Person(name, Role.VIEWER))[0]) for name in names]


async def test_the_next_account_of_a_name_does_not_find_the_views_of_the_last(works: Site) -> None:
    await a_shift(works)
    await works.access.remove(TOKEN, "anna")
    assert works.identity.tokens.all() == []
    assert await views_of_the_next_anna(works) == [0, 0, 1, 1]
    with pytest.raises(NotFound):
        await works.access.remove(TOKEN, "nobody")


async def test_nor_when_it_was_removed_without_a_server(works: Site) -> None:
    await a_shift(works)
    remove_stopped(works.data, "anna")
    assert works.identity.tokens.all() == []
    assert await views_of_the_next_anna(works) == [0, 0, 1, 1]
    with pytest.raises(NotFound):
        remove_stopped(works.data, "nobody")


async def test_no_token_is_called_as_a_provider_would_call_people(works: Site) -> None:
    await works.access.add(TOKEN, "anna", "eleven pumps", Role.OPERATOR)
    with pytest.raises(BadRequest):
        await works.access.give_token(TOKEN, "oidc", "anna", "", [Act.SEE], [], None)
