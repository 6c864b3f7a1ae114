"""Every kind of entry is written as it was on the day its golden file was made, and old logs verify for ever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from control import group, lease
from control.command import Command, Priority, Status, Terms, Transition, moved
from control.command_record import as_entry
from control.entry_kinds import KINDS, renamed, sealed, told
from control.group import Group, GroupStatus, Member
from control.lease import Lease, LeaseStatus
from control.life import Step
from ledger.entry import Entry, decode, encode
from ledger.personal import is_sealed, salt_of, sealed_with
from ledger.verify import verify
from twin.interlock import Ruling, Sight

GOLDEN = Path(__file__).parent / "golden"
V1 = Path(__file__).parents[1] / "ledger" / "golden" / "entries_v1.jsonl"
INPUTS: list[dict[str, Any]] = json.loads((GOLDEN / "entries_v2_input.json").read_text())
LINES = (GOLDEN / "entries_v2.jsonl").read_bytes().splitlines()
DOCS = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text()
IN_LEDGER = 26
"""Lines that the golden log was made of; kinds that came later have lines of their own only."""
PERSON = "person-of-the-golden-entries"


def sealing() -> Callable[[str], str]:
    """Secrets and nonces that are the same every time."""
    count = iter(range(1_000))

    def seal(name: str) -> str:
        secret = hashlib.sha256(f"secret of {name}".encode()).digest()
        nonce = hashlib.sha256(f"nonce {next(count)}".encode()).digest()[:16]
        return sealed_with(salt_of(secret, nonce), nonce, name)

    return seal


def built(given: dict[str, Any]) -> bytes:
    return encode(Entry(given["kind"], given["time_ns"], sealed(given["kind"], given["body"], sealing())))


@pytest.mark.parametrize(("given", "line"), list(zip(INPUTS, LINES, strict=True)), ids=[g["kind"] for g in INPUTS])
def test_an_entry_of_version_2_is_written_as_it_was(given: dict[str, Any], line: bytes) -> None:
    assert built(given) == line
    entry = decode(line)
    assert encode(entry) == line
    assert (entry.version, entry.kind, entry.time_ns) == (2, given["kind"], given["time_ns"])
    assert told(entry.kind, entry.body).action


def test_every_kind_has_a_golden_entry_with_nobodys_name_and_a_row_in_the_docs() -> None:
    assert {given["kind"] for given in INPUTS} == set(KINDS)
    rows = {row.split("`")[1]: row for row in DOCS.splitlines() if row.startswith("| `")}
    for given, line in zip(INPUTS, LINES, strict=True):
        kind, body = given["kind"], given["body"]
        assert set(body) <= set(KINDS[kind].fields.split()), kind
        assert [f for f in KINDS[kind].fields.split() if f"`{f}`" not in rows[kind]] == [], kind
        assert PERSON.encode() not in line, kind
        named: list[str] = []
        renamed(kind, decode(line).body, lambda word, seen=named: (seen.append(word), word)[1])  # type: ignore[misc]
        assert all(is_sealed(word) for word in named if word), kind


def test_a_log_of_both_versions_verifies_for_ever() -> None:
    folder = GOLDEN / "ledger_v2"
    report = verify(folder, key=(folder / "key.pub").read_text().strip())
    assert report.problems == ()
    assert report.entries == len(V1.read_bytes().splitlines()) + IN_LEDGER
    assert report.root == (GOLDEN / "ledger_v2_root").read_text().strip()


def test_bodies_are_made_of_commands_leases_and_groups_as_the_golden_ones_were() -> None:
    bodies = [given["body"] for given in INPUTS if given["kind"] in ("command", "lease", "group")]
    assert [json.loads(json.dumps(body)) for body in lives()] == bodies


def lives() -> list[dict[str, Any]]:
    """A command with all that can happen to one, a lease and a group."""
    seen = (Sight("tank_1.level", 2.5, None, 0, 0.25), Sight("pump.mode", None, "auto", 0x40000000, None))
    first = Transition(Status.AWAITING_APPROVAL, 10, "submitted", PERSON, seen, (Ruling("interlocks", True),))
    command = Command(
        "c1", "k1", PERSON, "pump.speed", 60.0, Priority.OPERATOR, 99, "quieter", Status.AWAITING_APPROVAL, (first,),
        None, Terms(30.0, approvals=1, group="g1"), '{"point":"pump.speed"}',
    )  # fmt: skip
    ruled = (Ruling("interlocks", True), Ruling("preflight", True, "pre-flight: P = 0.01"))
    command = moved(command, Status.QUEUED, 20, "approved", by="the-other-" + PERSON, seen=seen, verdicts=ruled)
    command = moved(command, Status.SENT, 30, "writing 60 to 40001", seen=seen, verdicts=ruled[:1])
    command = moved(command, Status.ACKNOWLEDGED, 40, "accepted")
    read_back = (Sight("pump.actual", 60.5, None, 0, 0.0),)
    command = moved(command, Status.CONFIRMED, 50, "the feedback reads 60.5", 60.5, seen=read_back)
    steps = (
        Step(LeaseStatus.ACTIVE, 1, "taken", PERSON),
        Step(LeaseStatus.PREEMPTED, 2, "command c1 is safety", PERSON),
    )
    held = Lease(
        "l1", "k2", PERSON, ("pump.speed",), Priority.OPERATOR, 30.0, (("pump.speed", 0.0),), "works", "{}", steps, 1
    )
    ran = (Step(GroupStatus.RUNNING, 1, "1 commands in sequence", PERSON), Step(GroupStatus.CONFIRMED, 2, "all", ""))
    team = Group(
        "g1", "k3", PERSON, (Member("pump.speed", 60.0, 50.0),), "sequence", Priority.OPERATOR, 30.0, "", "{}", ran
    )
    return [
        *(dict(as_entry(command, n, "plc")) for n in range(5)),
        *(dict(lease.as_entry(held, n)) for n in range(2)),
        *(dict(group.as_entry(team, n)) for n in range(2)),
    ]
