"""The life of a command is its table: nothing moves outside it."""

from __future__ import annotations

from itertools import product

import pytest

from control import queue
from control.command import (
    FINAL,
    TRANSITIONS,
    Command,
    Priority,
    Status,
    answered,
    moved,
    recovered,
    same_body,
    submitted,
    supersedes,
)
from protocols.link import Verdict, WriteOutcome
from twin.errors import Conflict

MINUTE = 60 * 10**9


def command(identity: str = "a", at: int = 0, priority: Priority = Priority.OPERATOR, point: str = "p.x") -> Command:
    return submitted(identity, identity, "me", point, 1.0, priority, at + 10 * MINUTE, "", at)


def in_status(status: Status, **more: object) -> Command:
    made = command(**more)  # type: ignore[arg-type]
    paths = {
        Status.SENT: [Status.SENT],
        Status.ACKNOWLEDGED: [Status.SENT, Status.ACKNOWLEDGED],
        Status.UNKNOWN: [Status.SENT, Status.UNKNOWN],
        Status.CONFIRMED: [Status.SENT, Status.ACKNOWLEDGED, Status.CONFIRMED],
        Status.REFUSED: [Status.SENT, Status.REFUSED],
        Status.FAILED: [Status.SENT, Status.UNKNOWN, Status.FAILED],
    }
    for step in paths.get(status, [] if status is Status.QUEUED else [status]):
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
    reached = {Status.QUEUED} | {s for following in TRANSITIONS.values() for s in following}
    assert reached == set(Status)
    assert {
        Status.CONFIRMED, Status.REFUSED, Status.EXPIRED, Status.CANCELLED, Status.SUPERSEDED, Status.FAILED
    } == FINAL  # fmt: skip


def test_a_lost_answer_is_unknown_and_never_failed() -> None:
    sent = in_status(Status.SENT)
    assert answered(sent, Verdict(WriteOutcome.UNKNOWN), 2).status is Status.UNKNOWN
    assert Status.FAILED not in TRANSITIONS[Status.SENT]
    assert Status.SENT not in TRANSITIONS[Status.UNKNOWN]


def test_a_restart_makes_what_was_being_sent_unknown_and_leaves_the_rest() -> None:
    assert recovered(in_status(Status.SENT), 5).status is Status.UNKNOWN
    for status in (Status.QUEUED, Status.ACKNOWLEDGED, Status.UNKNOWN):
        assert recovered(in_status(status), 5) == in_status(status)


def test_an_emergency_goes_before_everything_and_nothing_ages_past_it() -> None:
    old = command("old", at=0, priority=Priority.OPTIMISER)
    stop = command("stop", at=100 * MINUTE, priority=Priority.EMERGENCY)
    late = submitted("l", "l", "me", "q.y", 1.0, Priority.OPTIMISER, 10**18, "", 0)
    assert queue.next_to_send([old, late, stop], 100 * MINUTE) is stop


def test_a_waiting_command_ages_towards_the_front() -> None:
    old = command("old", at=0, priority=Priority.SCHEDULE)
    new = command("new", at=2 * MINUTE, priority=Priority.OPERATOR, point="q.y")
    assert queue.next_to_send([new, old], 2 * MINUTE) is old
    assert queue.next_to_send([new, command("old", at=2 * MINUTE - 1, priority=Priority.SCHEDULE)], 2 * MINUTE) is new


def test_commands_of_one_class_go_first_come_first_served() -> None:
    first, second = command("first", at=1), command("second", at=2, point="q.y")
    assert queue.next_to_send([second, first], 3) is first


def test_nothing_goes_to_a_point_whose_last_write_is_unknown_but_an_emergency() -> None:
    lost = in_status(Status.UNKNOWN, identity="lost")
    waiting = command("waiting")
    elsewhere = command("elsewhere", at=5, point="q.y")
    stop = command("stop", at=9, priority=Priority.EMERGENCY)
    assert queue.next_to_send([lost, waiting], 10) is None
    assert queue.next_to_send([lost, waiting, elsewhere], 10) is elsewhere
    assert queue.next_to_send([lost, waiting, stop], 10) is stop


def test_a_command_past_its_deadline_is_expired_and_not_sent() -> None:
    late = command("late")
    assert queue.expired([late], 10 * MINUTE) == []
    assert queue.expired([late], 10 * MINUTE + 1) == [late]
    assert queue.next_to_send([late], 10 * MINUTE + 1) is None
    assert queue.next_deadline([late]) == 10 * MINUTE
    assert queue.next_deadline([in_status(Status.UNKNOWN)]) is None


def test_only_a_queued_command_of_no_higher_class_is_superseded() -> None:
    newer = command("newer", at=5)
    assert supersedes(newer, command("older"))
    assert not supersedes(newer, command("stop", priority=Priority.EMERGENCY))
    assert not supersedes(newer, command("other", point="q.y"))
    assert not supersedes(newer, in_status(Status.SENT, identity="sent"))


def test_bodies_are_the_same_whatever_their_deadlines() -> None:
    assert same_body(command("a", at=0), command("b", at=77))
    assert not same_body(command("a"), command("b", priority=Priority.SAFETY))
