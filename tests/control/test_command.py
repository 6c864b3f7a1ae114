"""The life of a command is its table: nothing moves outside it."""

from __future__ import annotations

from itertools import product

import pytest

from control.command import (
    FINAL,
    TRANSITIONS,
    UNSENT,
    Command,
    Priority,
    Status,
    Terms,
    Transition,
    answered,
    moved,
    recovered,
    supersedes,
)
from protocols.link import Verdict, WriteOutcome
from twin.errors import Conflict

MINUTE = 60 * 10**9


def command(identity: str = "a", at: int = 0, priority: Priority = Priority.OPERATOR, point: str = "p.x") -> Command:
    first = (Transition(Status.QUEUED, at, "submitted", "me"),)
    return Command(identity, identity, "me", point, 1.0, priority, at + 10 * MINUTE, "", Status.QUEUED, first)


def in_status(status: Status, **more: object) -> Command:
    made = command(**more)  # type: ignore[arg-type]
    if status in UNSENT:
        return Command(**{**{f: getattr(made, f) for f in made.__dataclass_fields__}, "status": status})
    paths = {
        Status.SENT: [Status.SENT],
        Status.ACKNOWLEDGED: [Status.SENT, Status.ACKNOWLEDGED],
        Status.UNKNOWN: [Status.SENT, Status.UNKNOWN],
        Status.CONFIRMED: [Status.SENT, Status.ACKNOWLEDGED, Status.CONFIRMED],
        Status.FAILED: [Status.SENT, Status.UNKNOWN, Status.FAILED],
    }
    for step in paths.get(status, [status]):
        made = moved(made, step, 1, "")
    return made


@pytest.mark.parametrize(("status", "to"), list(product(Status, Status)))
def test_a_command_moves_only_along_the_table(status: Status, to: Status) -> None:
    start = in_status(status)
    if to in TRANSITIONS[status]:
        assert moved(start, to, 9, "why").transitions[-1].detail == "why"
    else:
        with pytest.raises(Conflict, match=f"is {status} and cannot become {to}"):
            moved(start, to, 9, "why")


def test_every_status_can_be_reached_and_every_end_is_an_end() -> None:
    reached = {Status.DRAFT} | {s for following in TRANSITIONS.values() for s in following}
    assert reached == set(Status)
    assert {
        Status.CONFIRMED, Status.REFUSED, Status.EXPIRED, Status.CANCELLED, Status.SUPERSEDED, Status.FAILED
    } == FINAL  # fmt: skip


def test_whatever_was_not_sent_can_be_cancelled_refused_and_expires_and_nothing_else_can_be_cancelled() -> None:
    for status in Status:
        ends = {Status.CANCELLED, Status.REFUSED, Status.EXPIRED} & TRANSITIONS[status]
        assert (ends == {Status.CANCELLED, Status.REFUSED, Status.EXPIRED}) == (status in UNSENT)
        assert (Status.CANCELLED in TRANSITIONS[status]) == (status in UNSENT)


def test_a_lost_answer_is_unknown_and_never_failed() -> None:
    sent = in_status(Status.SENT)
    assert answered(sent, Verdict(WriteOutcome.UNKNOWN), 2).status is Status.UNKNOWN
    assert Status.FAILED not in TRANSITIONS[Status.SENT]
    assert Status.SENT not in TRANSITIONS[Status.UNKNOWN]


def test_a_restart_makes_what_was_being_sent_unknown_and_leaves_the_rest() -> None:
    assert recovered(in_status(Status.SENT), 5).status is Status.UNKNOWN
    for status in (*UNSENT, Status.ACKNOWLEDGED, Status.UNKNOWN):
        assert recovered(in_status(status), 5) == in_status(status)


def test_who_approved_is_read_from_the_steps() -> None:
    first = Transition(Status.AWAITING_APPROVAL, 1, "submitted", "me")
    asked = Command(
        "a", "a", "me", "p.x", 1.0, Priority.OPERATOR, MINUTE, "", Status.AWAITING_APPROVAL, (first,), None,
        Terms(30.0, approvals=2, approver="supervisor"),
    )  # fmt: skip
    one = moved(asked, Status.AWAITING_APPROVAL, 2, "approved (1 of 2)", by="anna")
    two = moved(one, Status.QUEUED, 3, "approved", by="bert")
    assert (asked.approvers, one.approvers, two.approvers) == ((), ("anna",), ("anna", "bert"))
    assert moved(one, Status.REFUSED, 3, "rejected", by="carl").approvers == ("anna",)


def test_only_a_queued_command_of_no_higher_class_is_superseded() -> None:
    newer = command("newer", at=5)
    assert supersedes(newer, command("older"))
    assert not supersedes(newer, command("stop", priority=Priority.EMERGENCY))
    assert not supersedes(newer, command("other", point="q.y"))
    assert not supersedes(newer, in_status(Status.SENT, identity="sent"))
    assert not supersedes(newer, in_status(Status.SCHEDULED, identity="tomorrow"))
