"""Accounts of those who use a face: passwords are never kept, wrong ones are limited, changes count at once."""

from __future__ import annotations

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from control.accounts import ACCOUNTS_FILE, Accounts
from control.attempts import FORGOTTEN_S, NAME, PEER, REMEMBERED_MAX, Attempts
from control.authors import AUTOMATIC, is_person
from control.cli import app
from control.identity import Standing
from control.persons import subjects_of
from control.places import LEDGER, only_one
from control.tokens import Tokens
from ledger.entry import decode
from ledger.log import Log
from ledger.personal import Salts, is_sealed
from ml.registry import AUTOMATIC as ml_automatic
from twin.errors import BadRequest, Conflict, Denied, NotFound, Throttled, Unavailable
from twin.role import Act, Role

PASSWORD = "eleven pumps"


@dataclass
class Clock:
    now: int = 10**18

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Accounts:
    made = Accounts(tmp_path, clock)
    made.add("anna", PASSWORD, Role.OPERATOR)
    return made


def test_the_right_password_gives_the_role_and_nothing_else_does(accounts: Accounts) -> None:
    assert accounts.sign_in("anna", PASSWORD, "10.0.0.1") is Role.OPERATOR
    for name, password in (("anna", "Eleven pumps"), ("anna", ""), ("anna", "x" * 10_000), ("nobody", PASSWORD)):
        with pytest.raises(Denied, match="no such account, or another password"):
            accounts.sign_in(name, password, "10.0.0.2")


def test_the_file_holds_no_password_and_is_its_owners(accounts: Accounts, tmp_path: Path) -> None:
    path = tmp_path / ACCOUNTS_FILE
    assert PASSWORD not in path.read_text()
    assert json.loads(path.read_text())["accounts"][0]["hash"].startswith("$argon2id$")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_change_by_another_process_counts_at_the_next_question(
    accounts: Accounts, tmp_path: Path, clock: Clock
) -> None:
    other = Accounts(tmp_path, clock)
    other.add("otto", PASSWORD, Role.VIEWER)
    assert accounts.role("otto") is Role.VIEWER
    other.remove("anna")
    with pytest.raises(Denied):
        accounts.role("anna")
    with pytest.raises(Denied):
        accounts.sign_in("anna", PASSWORD, "10.0.0.1")


def test_an_account_is_told_from_an_earlier_one_of_its_name(accounts: Accounts) -> None:
    before = accounts.standing("anna")
    assert before.role is Role.OPERATOR
    assert accounts.standing("anna") == before
    accounts.remove("anna")
    with pytest.raises(Denied):
        accounts.standing("anna")
    accounts.add("anna", PASSWORD, Role.OPERATOR)
    assert accounts.standing("anna") != before


def test_what_cannot_be_an_account_is_refused(accounts: Accounts) -> None:
    with pytest.raises(Conflict):
        accounts.add("anna", PASSWORD, Role.VIEWER)
    with pytest.raises(BadRequest, match="account name"):
        accounts.add("an na", PASSWORD, Role.VIEWER)
    with pytest.raises(BadRequest, match="7 characters"):
        accounts.add("otto", "1234567", Role.VIEWER)
    for shared in ("operator", "cli", "chain", "Twinloop", "lease", "group"):
        with pytest.raises(BadRequest, match="stands for the server or for no account"):
            accounts.add(shared, PASSWORD, Role.ADMIN)
    with pytest.raises(NotFound, match="no account 'ana'"):
        accounts.remove("ana")


def test_a_file_that_is_no_list_of_accounts_lets_nobody_in(accounts: Accounts, tmp_path: Path) -> None:
    for spoiled in ("", "{}", '{"accounts": [{"name": "anna", "role": "king", "hash": ""}]}', "[1]"):
        (tmp_path / ACCOUNTS_FILE).write_text(spoiled)
        with pytest.raises(Unavailable, match=ACCOUNTS_FILE):
            accounts.role("anna")


def test_after_some_wrong_passwords_a_peer_waits_ever_longer_and_others_do_not(
    accounts: Accounts, clock: Clock
) -> None:
    for _ in range(PEER.free):
        with pytest.raises(Denied, match="another password"):
            accounts.sign_in("anna", "a guess", "10.0.0.1")
    waits = []
    for _ in range(3):
        with pytest.raises(Throttled, match=r"attempts of peer '10\.0\.0\.1' failed") as told:
            accounts.sign_in("anna", PASSWORD, "10.0.0.1")
        waits.append(told.value.retry_after_s)
        clock.forward(waits[-1])
        with pytest.raises(Denied, match="another password"):
            accounts.sign_in("anna", "a guess", "10.0.0.1")
    assert waits == [1.0, 2.0, 4.0]
    assert accounts.sign_in("anna", PASSWORD, "10.0.0.2") is Role.OPERATOR
    clock.forward(PEER.most_s)
    assert accounts.sign_in("anna", PASSWORD, "10.0.0.1") is Role.OPERATOR


def test_many_peers_together_guess_no_faster_than_a_name_allows_and_keep_its_own_place_not_out(clock: Clock) -> None:
    attempts = Attempts(clock)
    attempts.note("anna", "10.0.9.9", True)
    for n in range(NAME.free):
        attempts.check("anna", f"10.0.0.{n}")
        attempts.note("anna", f"10.0.0.{n}", False)
    with pytest.raises(Throttled, match="name 'anna'"):
        attempts.check("anna", "10.0.1.1")
    attempts.check("otto", "10.0.1.1")
    attempts.check("anna", "10.0.9.9")
    clock.forward(NAME.most_s)
    attempts.check("anna", "10.0.1.1")


def test_no_wait_grows_without_end_and_old_failures_are_forgotten(clock: Clock) -> None:
    attempts = Attempts(clock)
    for _ in range(200):
        attempts.note("anna", "10.0.0.1", False)
    with pytest.raises(Throttled) as told:
        attempts.check("otto", "10.0.0.1")
    assert told.value.retry_after_s == PEER.most_s
    clock.forward(FORGOTTEN_S + 1)
    attempts.note("anna", "10.0.0.1", False)
    attempts.check("anna", "10.0.0.1")


def test_one_network_of_ipv6_is_one_peer(clock: Clock) -> None:
    attempts = Attempts(clock)
    for n in range(PEER.free):
        attempts.note(f"name{n}", f"2001:db8:1:2::{n}", False)
    with pytest.raises(Throttled):
        attempts.check("anna", "2001:db8:1:2:ffff::1")
    attempts.check("anna", "2001:db8:1:3::1")


def test_a_name_that_nobody_has_waits_as_one_that_somebody_has(accounts: Accounts) -> None:
    said = []
    for name in ("anna", "nobody"):
        for n in range(NAME.free):
            accounts._attempts.note(name, f"10.1.0.{n}", False)
        with pytest.raises(Throttled) as told:
            accounts.sign_in(name, PASSWORD, "10.2.0.1")
        said.append((str(told.value).replace(name, "…"), told.value.retry_after_s))
    assert said[0] == said[1]


def test_another_role_password_or_a_disabled_account_count_at_once(accounts: Accounts) -> None:
    before = accounts.standing("anna")
    accounts.change("anna", role=Role.ENGINEER)
    assert accounts.standing("anna") == Standing(Role.ENGINEER, before.made, before.password)
    accounts.change("anna", password="twelve pumps")
    after = accounts.standing("anna")
    assert (after.made, after.password != before.password) == (before.made, True)
    with pytest.raises(Denied):
        accounts.sign_in("anna", PASSWORD, "10.0.0.1")
    accounts.change("anna", disabled=True)
    for use in (lambda: accounts.role("anna"), lambda: accounts.standing("anna")):
        with pytest.raises(Denied, match="is disabled"):
            use()
    with pytest.raises(Denied, match="no such account, or another password"):
        accounts.sign_in("anna", "twelve pumps", "10.0.0.1")
    accounts.change("anna", disabled=False)
    assert accounts.sign_in("anna", "twelve pumps", "10.0.0.1") is Role.ENGINEER
    with pytest.raises(NotFound):
        accounts.change("ana", role=Role.ADMIN)


def test_two_processes_that_add_at_once_lose_no_account(tmp_path: Path, clock: Clock) -> None:
    several = [Accounts(tmp_path, clock) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda n: several[n % 4].add(f"name{n}", PASSWORD, Role.VIEWER), range(8)))
    assert len(Accounts(tmp_path, clock).all()) == 8


def test_guessing_fills_no_memory(clock: Clock) -> None:
    attempts = Attempts(clock)
    for n in range(REMEMBERED_MAX):
        attempts.note(f"name{n}", f"peer{n}", False)
    assert len(attempts._failed) == REMEMBERED_MAX


def test_the_command_line_adds_lists_and_removes(tmp_path: Path) -> None:
    run = CliRunner()
    data = ["--data", str(tmp_path)]
    added = run.invoke(app, ["account", "add", "anna", "--role", "operator", *data], input=f"{PASSWORD}\n")
    assert added.exit_code == 0, added.output
    listed = run.invoke(app, ["account", "list", "--json", *data])
    assert json.loads(listed.stdout) == [{"name": "anna", "role": "operator", "disabled": False}]
    assert isinstance(run.invoke(app, ["account", "add", "otto", "--role", "king", *data]).exception, BadRequest)
    assert run.invoke(app, ["account", "remove", "anna", *data]).exit_code == 0
    assert json.loads(run.invoke(app, ["account", "list", "--json", *data]).stdout) == []


def test_no_token_is_called_as_the_server_calls_itself(tmp_path: Path, clock: Clock) -> None:
    tokens = Tokens(tmp_path, clock, lambda: "secret")
    for name in ("lease", "group", "Lease", "chain", "twinloop", "cli", "operator"):
        with pytest.raises(BadRequest, match="stands for the server itself"):
            tokens.give(name, "anna", "", Role.OPERATOR, frozenset({Act.SEE}), (), 1)
    assert ml_automatic == AUTOMATIC
    assert [n for n in ("lease:x", "group:x", "chain", "twinloop", "alarm rule", "") if is_person(n)] == []
    assert is_person("my.tool:anna") and is_person("opcua:anna") and is_person("anna")


def test_whoever_stands_behind_tokens_and_faces_is_found_with_the_account() -> None:
    known = ["anna", "opcua:anna", "my.tool:anna", "hist-1:anna", "joanna", "my:anna.b", "ann", "otto:anna:x"]
    assert subjects_of(known, "anna") == ["anna", "opcua:anna", "my.tool:anna", "hist-1:anna"]


def test_changes_while_no_server_runs_are_entries_once_there_is_a_ledger(tmp_path: Path) -> None:
    def told(*words: str, given: str = "") -> None:
        done = CliRunner().invoke(app, ["account", *words, "--data", str(tmp_path)], input=given)
        assert done.exit_code == 0, done.exception

    told("add", "anna", given=f"{PASSWORD}\n")
    assert not (tmp_path / LEDGER).exists()
    Log.open(tmp_path / LEDGER).close()
    told("add", "otto", "--role", "operator", given=f"{PASSWORD}\n")
    told("role", "otto", "engineer")
    told("password", "otto", given="another word\n")
    told("disable", "anna")
    told("remove", "anna")
    with Log.open(tmp_path / LEDGER) as ledger:
        bodies = [decode(entry).body for entry in ledger.entries(0, 9)]
        assert ledger.size == 5
    opened = Salts(tmp_path / LEDGER)
    found = [{key: opened.opened(str(v)) if is_sealed(v) else v for key, v in body.items()} for body in bodies]
    otto, anna = {"by": "cli", "user": "otto"}, {"by": "cli", "user": "anna"}
    assert found == [
        otto | {"what": "account added", "role": "operator"}, otto | {"what": "account changed", "role": "engineer"},
        otto | {"what": "account changed", "password": "another"}, anna | {"what": "account changed", "disabled": True},
        anna | {"what": "account removed"},
    ]  # fmt: skip
    assert "another word" not in (tmp_path / LEDGER / "log").read_bytes().decode(errors="replace")
    with only_one(tmp_path):
        refused = CliRunner().invoke(app, ["account", "remove", "otto", "--data", str(tmp_path)])
    assert isinstance(refused.exception, Unavailable)
    assert Accounts(tmp_path, time.time_ns).role("otto") is Role.ENGINEER


def test_a_name_that_nobody_has_costs_as_much_as_a_wrong_password(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: each attempt verifies one hash of the same cost, whoever it is for."""
    accounts.add("dora", PASSWORD, Role.VIEWER)
    accounts.change("dora", disabled=True)
    verified: list[str] = []
    real = accounts._hasher.verify

    def verify(hash_: str, password: str) -> bool:
        verified.append(hash_.rsplit("$", 2)[0])
        return real(hash_, password)

    monkeypatch.setattr(accounts, "_hasher", SimpleNamespace(verify=verify, hash=accounts._hasher.hash))
    said = set()
    for name in ("anna", "nobody", "dora", "x" * 70, "", "operator"):
        with pytest.raises(Denied) as told:
            accounts.sign_in(name, "a guess!", "10.0.0.1")
        said.add(str(told.value))
    assert len(verified) == 6 and len(set(verified)) == 1 and len(said) == 1
