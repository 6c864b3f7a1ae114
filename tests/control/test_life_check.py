"""Leases and groups on disk: what was kept comes back as it was, and what is changed behind the ledger's back is named."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from control import group, lease
from control.command_store import CommandStore, Record, kind_of, told
from control.group import Group, GroupRequest, GroupStatus, MemberRequest
from control.lease import Lease, LeaseRequest, LeaseStatus
from control.life_check import check_lives, read_lives
from ledger.entry import Entry, decode, encode
from tests.control.plants import plant

PLANT = plant("modbus://127.0.0.1:1/1")
MEMBERS = (MemberRequest("pump.status", 1.0, 0.0), MemberRequest("pump.speed", 80.0))


def held(key: str = "k") -> Lease:
    asked = LeaseRequest(key, ("pump.speed", "pump.status"), 5.0, revert={"pump.speed": 30.0}, reason="tuning")
    return lease.admitted(asked, "anna", f"lease {key}", PLANT, 1_000)


def together(key: str = "k") -> Group:
    return group.admitted(GroupRequest(key, MEMBERS, "together"), "anna", f"group {key}", lambda _: 0.0, 2_000)


def test_leases_and_groups_come_back_as_they_were_kept(tmp_path: Path) -> None:
    store = CommandStore(tmp_path / "commands.sqlite")
    first, second, team = held("a"), held("b"), together()
    store.save((), (), [first, second], [team])
    assert store.leases.unfinished() == [first, second] and store.groups.unfinished() == [team]
    gone = lease.ended(first, LeaseStatus.EXPIRED, 9_000, "no heartbeat")
    done = group.moved(team, GroupStatus.CONFIRMED, 9_500, "all 2 are")
    store.save((), (), [gone], [done])
    assert store.leases.by_id(first.id) == gone and store.leases.by_key("anna", "a") == gone
    assert store.leases.unfinished() == [second] and store.groups.unfinished() == []
    assert store.leases.newest(10) == [second, gone] and store.groups.by_key("anna", "k") == done
    assert store.leases.by_key("bob", "a") is None
    store.close()


def test_what_has_no_entry_yet_comes_in_the_order_in_which_it_happened(tmp_path: Path) -> None:
    store = CommandStore(tmp_path / "commands.sqlite")
    gone = lease.ended(held(), LeaseStatus.RELEASED, 3_000, "released", "anna")
    store.save((), (), [gone], [together()])
    left = [(kind_of(u.record), u.n) for u in store.unaudited()]
    assert left == [("lease", 0), ("group", 0), ("lease", 1)]
    store.save((), [("lease", gone.id, 0, 7)])
    assert [(kind_of(u.record), u.n) for u in store.unaudited()] == left[1:]
    assert store.newest_entry() == 7
    store.close()


def test_a_lease_that_cannot_be_kept_leaves_nothing_else_behind(tmp_path: Path) -> None:
    store = CommandStore(tmp_path / "commands.sqlite")
    store.save((), (), [held()])
    again = replace(held(), id="another with the same key")
    with pytest.raises(sqlite3.IntegrityError):
        store.save((), (), [again], [together()])
    assert store.groups.newest(10) == []
    store.close()


def problems(path: Path, tampering: str) -> list[str]:
    records: list[Record] = [
        lease.ended(held(), LeaseStatus.RELEASED, 3_000, "released", "anna"),
        group.moved(together(), GroupStatus.CANCELLING, 9_500, "cancelled", "bob"),
    ]
    entries: dict[int, Entry] = {}
    marks = []
    for record in records:
        for n, step in enumerate(told(record)):
            body = lease.as_entry(record, n) if isinstance(record, Lease) else group.as_entry(record, n)  # type: ignore[arg-type]
            marks.append((kind_of(record), record.id, n, len(entries)))
            entries[len(entries)] = decode(encode(Entry(kind_of(record), step.time, body)))
    store = CommandStore(path)
    store.save((), marks, [records[0]], [records[1]])  # type: ignore[list-item]
    store.save((), marks)
    store.close()
    database = sqlite3.connect(path)
    database.executescript(tampering)
    database.close()
    return [f"{p['place']} {p['what']}" for p in check_lives(read_lives(path), entries)]


def test_an_untouched_store_fits(tmp_path: Path) -> None:
    assert problems(tmp_path / "commands.sqlite", "") == []


def test_a_step_that_a_crash_kept_from_the_ledger_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "commands.sqlite"
    store = CommandStore(path)
    store.save((), (), [held()])
    store.close()
    assert check_lives(read_lives(path), {}) == []


def test_a_store_of_before_there_were_leases_fits(tmp_path: Path) -> None:
    path = tmp_path / "commands.sqlite"
    sqlite3.connect(path).execute("CREATE TABLE commands (id)").connection.close()
    assert read_lives(path) == {}


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE leases SET author = 'you'",
        "UPDATE leases SET status = 'ACTIVE'",
        "DELETE FROM leases_steps",
        "UPDATE leases SET rest = replace(rest, '30.0', '90.0')",
        "UPDATE leases_steps SET detail = 'other' WHERE n = 1",
        "UPDATE leases_steps SET author = 'bob' WHERE n = 1",
        "DELETE FROM leases_steps WHERE n = 1; UPDATE leases SET status = 'ACTIVE'",
        "DELETE FROM leases_steps; DELETE FROM leases",
        "DELETE FROM leases_steps; DELETE FROM leases; DELETE FROM groups_steps; DELETE FROM groups",
        "UPDATE groups SET rest = replace(rest, '80.0', '90.0')",
        "UPDATE groups SET reason = 'because'",
        "UPDATE groups SET status = 'CONFIRMED'",
        "UPDATE groups_steps SET status = 'CONFIRMED' WHERE n = 1; UPDATE groups SET status = 'CONFIRMED'",
        "INSERT INTO leases SELECT 'forged', 'you', key, priority, reason, status, rest, asked FROM leases;"
        "INSERT INTO leases_steps VALUES ('forged', 0, 'RELEASED', 5, 'forged', 'you', 7)",
    ],
)
def test_a_change_behind_the_ledgers_back_is_named(tmp_path: Path, tampering: str) -> None:
    assert problems(tmp_path / "commands.sqlite", tampering) != []
