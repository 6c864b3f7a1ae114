"""Accounts of those who use a face: passwords are never kept, wrong ones are limited, changes count at once."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control.accounts import ACCOUNTS_FILE, Accounts
from control.attempts import FAILED_BY_NAME_MAX, FAILED_BY_PEER_MAX, REMEMBERED_MAX, WINDOW_S, Attempts
from control.cli import app
from twin.errors import BadRequest, Conflict, Denied, NotFound, Unavailable
from twin.role import Role

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
    assert before[0] is Role.OPERATOR
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
    for shared in ("operator", "cli"):
        with pytest.raises(BadRequest, match="author of commands without an account"):
            accounts.add(shared, PASSWORD, Role.ADMIN)
    with pytest.raises(NotFound, match="no account 'ana'"):
        accounts.remove("ana")


def test_a_file_that_is_no_list_of_accounts_lets_nobody_in(accounts: Accounts, tmp_path: Path) -> None:
    for spoiled in ("", "{}", '{"accounts": [{"name": "anna", "role": "king", "hash": ""}]}', "[1]"):
        (tmp_path / ACCOUNTS_FILE).write_text(spoiled)
        with pytest.raises(Unavailable, match=ACCOUNTS_FILE):
            accounts.role("anna")


def test_after_some_wrong_passwords_a_peer_waits_and_others_do_not(accounts: Accounts, clock: Clock) -> None:
    for _ in range(FAILED_BY_PEER_MAX):
        with pytest.raises(Denied, match="another password"):
            accounts.sign_in("anna", "a guess", "10.0.0.1")
    with pytest.raises(Denied, match=r"attempts of peer '10\.0\.0\.1' failed"):
        accounts.sign_in("anna", PASSWORD, "10.0.0.1")
    assert accounts.sign_in("anna", PASSWORD, "10.0.0.2") is Role.OPERATOR
    clock.forward(WINDOW_S)
    assert accounts.sign_in("anna", PASSWORD, "10.0.0.1") is Role.OPERATOR


def test_many_peers_together_guess_no_faster_than_a_name_allows(clock: Clock) -> None:
    attempts = Attempts(clock)
    for n in range(FAILED_BY_NAME_MAX):
        attempts.check("anna", f"10.0.0.{n}")
        attempts.note("anna", f"10.0.0.{n}", False)
    with pytest.raises(Denied, match="name 'anna'"):
        attempts.check("anna", "10.0.1.1")
    attempts.check("otto", "10.0.1.1")
    clock.forward(WINDOW_S)
    attempts.check("anna", "10.0.1.1")


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
    assert json.loads(listed.stdout) == [{"name": "anna", "role": "operator"}]
    assert isinstance(run.invoke(app, ["account", "add", "otto", "--role", "king", *data]).exception, BadRequest)
    assert run.invoke(app, ["account", "remove", "anna", *data]).exit_code == 0
    assert json.loads(run.invoke(app, ["account", "list", "--json", *data]).stdout) == []
