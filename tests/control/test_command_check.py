"""The command store against the ledger: a changed, forged or removed command is named."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from control.command import Command, Priority, Status, moved
from control.command_check import check_commands, read_commands
from control.command_record import as_entry
from control.command_store import CommandStore
from ledger.entry import Entry
from tests.control.made import submitted


def life() -> Command:
    now = time.time_ns()
    command = submitted("c1", "k", "me", "pump.status", 1.0, Priority.OPERATOR, now + 10**9, "why", now)
    for status in (Status.SENT, Status.REFUSED):
        command = moved(command, status, now, "said")
    return command


def problems(path: Path, tampering: str) -> list[str]:
    command = life()
    store = CommandStore(path)
    store.save([command])
    entries = {n: Entry("command", t.time, as_entry(command, n)) for n, t in enumerate(command.transitions)}
    store.save((), [("command", command.id, n, n) for n in entries])
    store.close()
    database = sqlite3.connect(path)
    database.executescript(tampering)
    database.close()
    return [f"{p['place']} {p['what']}" for p in check_commands(read_commands(path), entries)]


def test_an_untouched_store_fits(tmp_path: Path) -> None:
    assert problems(tmp_path / "commands.sqlite", "") == []


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE commands SET status = 'CONFIRMED'",
        "UPDATE commands SET value = 0",
        "UPDATE commands SET author = 'you'",
        "UPDATE commands SET deadline = deadline + 1",
        "UPDATE transitions SET detail = 'other' WHERE n = 1",
        "UPDATE transitions SET status = 'CONFIRMED' WHERE n = 2; UPDATE commands SET status = 'CONFIRMED'",
        "DELETE FROM transitions WHERE n = 1",
        "UPDATE commands SET terms = '{\"deadline_s\":77.0}'",
        "UPDATE commands SET asked = 'nothing'",
        "UPDATE transitions SET time = time + 1 WHERE n = 1",
        "UPDATE transitions SET entry = NULL WHERE n = 0",
        "UPDATE transitions SET entry = 7 WHERE n = 1",
        "INSERT INTO commands SELECT 'c2', author, 'k2', point, value, priority, deadline, reason, 'CONFIRMED', 1, terms, "
        "asked FROM commands",
        "DELETE FROM transitions; DELETE FROM commands",
        "INSERT INTO commands SELECT 'c2', author, 'k2', point, value, priority, deadline, reason, 'CONFIRMED', 1, terms, "
        "asked FROM commands;"
        "INSERT INTO transitions VALUES ('c2', 0, 'CONFIRMED', 5, 'forged', 7, '', '', '')",
    ],
)
def test_a_change_behind_the_ledgers_back_is_named(tmp_path: Path, tampering: str) -> None:
    assert problems(tmp_path / "commands.sqlite", tampering)
