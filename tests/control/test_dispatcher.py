"""What follows from each event: lists of orders, no device, no clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.command import Command, Priority, Status, Terms, Transition
from control.dispatcher import DRAFT_MAX_NS
from control.queue import OF_POINT_MAX
from control.request import Request
from protocols.link import WriteOutcome
from tests.control.desk_ground import SECOND, Table
from twin.errors import (
    BadRequest,
    Conflict,
    Expired,
    LimitExceeded,
    NotPermitted,
    OutOfRange,
    PreconditionFailed,
    Refused,
    Reserved,
)
from twin.interlock import Judgement
from twin.policy import Policy, Preflight

SPEED, STATUS, FAR = "pump.speed", "pump.status", "far.status"


@pytest.fixture
def table() -> Table:
    return Table()


def steps(command: Command) -> list[str]:
    return [t.status.value for t in command.transitions]


def test_a_plain_command_is_queued_sent_and_confirmed(table: Table) -> None:
    made = table.submit(SPEED, 50.0, "anna")
    assert (made.status, table.written) == (Status.SENT, [(SPEED, 50.0)])
    table.confirm(made.id)
    assert steps(table.commands[made.id]) == ["QUEUED", "SENT", "ACKNOWLEDGED", "CONFIRMED"]
    assert table.desk.open == {}


def test_one_write_at_a_time_and_emergencies_at_once(table: Table) -> None:
    first = table.submit(SPEED, 50.0, "anna")
    second = table.submit(STATUS, 1.0, "anna")
    stop = table.submit(STATUS, 0.0, "anna", priority=Priority.EMERGENCY)
    assert table.sent == [first.id, stop.id]
    assert table.status(second.id) is Status.SUPERSEDED


def test_what_comes_later_for_the_point_makes_a_queued_command_pointless_but_not_a_scheduled_one(table: Table) -> None:
    table.ground.not_due[FAR] = "06:00"
    planned = table.submit(FAR, 1.0, "anna", at=table.now + SECOND)
    older = table.submit(FAR, 1.0, "anna")
    newer = table.submit(FAR, 0.0, "bert")
    assert [table.status(c.id) for c in (planned, older, newer)] == [Status.SCHEDULED, Status.SUPERSEDED, Status.QUEUED]


def test_a_selection_keeps_others_out_until_it_is_operated_or_expires(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(select=True, select_timeout_s=5.0)
    with pytest.raises(Refused, match=r"pump\.speed must be selected"):
        table.submit(SPEED, 50.0, "anna")
    chosen = table.submit(SPEED, 50.0, "anna", select=True)
    assert (chosen.status, table.written) == (Status.SELECTED, [])
    with pytest.raises(Reserved, match="anna has selected"):
        table.submit(SPEED, 60.0, "bert", select=True)
    with pytest.raises(NotPermitted, match="anna selected"):
        table.desk.operate(chosen.id, "bert", table.now)
    table.took(table.desk.operate(chosen.id, "anna", table.now))
    assert table.written == [(SPEED, 50.0)]
    late = table.submit(SPEED, 70.0, "anna", select=True)
    table.took(table.desk.tick(table.now + 5 * SECOND))
    assert table.status(late.id) is Status.EXPIRED


def test_a_command_that_waited_while_somebody_selected_its_point_is_refused(table: Table) -> None:
    table.online("plc", there=False)
    waiting = table.submit(SPEED, 50.0, "bert")
    table.submit(SPEED, 60.0, "anna", select=True)
    table.online("plc")
    assert (table.status(waiting.id), table.written) == (Status.REFUSED, [])


def test_two_other_people_must_approve(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(approvals=2, approver="supervisor")
    asked = table.submit(SPEED, 50.0, "anna")
    assert asked.status is Status.AWAITING_APPROVAL
    with pytest.raises(NotPermitted, match="anna asked for it"):
        table.desk.approve(asked.id, "anna", "", table.now)
    table.took(table.desk.approve(asked.id, "bert", "", table.now))
    with pytest.raises(NotPermitted, match="bert has approved it already"):
        table.desk.approve(asked.id, "bert", "", table.now)
    assert table.written == []
    table.took(table.desk.approve(asked.id, "carl", "agreed", table.now))
    assert (table.commands[asked.id].approvers, table.written) == (("bert", "carl"), [(SPEED, 50.0)])


def test_a_rejected_command_is_refused_by_name_and_one_nobody_approves_expires(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(approvals=1, approval_timeout_s=60.0)
    one, two = table.submit(SPEED, 50.0, "anna"), table.submit(SPEED, 60.0, "anna")
    table.took(table.desk.reject(one.id, "bert", "not today", table.now))
    last = table.commands[one.id].transitions[-1]
    assert (last.status, last.by, last.detail) == (Status.REFUSED, "bert", "rejected: not today")
    table.took(table.desk.tick(table.now + 60 * SECOND))
    assert table.status(two.id) is Status.EXPIRED


def test_an_emergency_needs_nobody(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(
        select=True, approvals=2, every_s=100.0, step_max=1.0, preflight=Preflight.REFUSE
    )
    table.ground.values[SPEED] = 90.0
    assert table.submit(SPEED, 0.0, "anna", priority=Priority.EMERGENCY).status is Status.SENT


def test_interlocks_are_asked_at_submission_at_release_and_when_it_is_sent(table: Table) -> None:
    table.ground.forbidden[SPEED] = "interlock dry: no water"
    refused = table.submit(SPEED, 50.0, "anna")
    assert (refused.status, refused.transitions[-1].detail) == (Status.REFUSED, "interlock dry: no water")
    del table.ground.forbidden[SPEED]
    table.ground.policies[SPEED] = Policy(approvals=1)
    asked = table.submit(SPEED, 50.0, "anna")
    table.ground.forbidden[SPEED] = "interlock dry: no water"
    assert table.took(table.desk.approve(asked.id, "bert", "", table.now)).answer.status is Status.REFUSED  # type: ignore[union-attr]
    del table.ground.forbidden[SPEED]
    table.ground.policies.clear()
    table.online("plc", there=False)
    waiting = table.submit(SPEED, 50.0, "anna")
    table.ground.forbidden[SPEED] = "interlock dry: no water"
    table.online("plc")
    assert (table.status(waiting.id), table.written) == (Status.REFUSED, [])


def test_a_point_has_its_pace_and_its_slew(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(every_s=10.0, slew_per_s=1.0)
    table.confirm(table.submit(SPEED, 50.0, "anna").id)
    with pytest.raises(LimitExceeded, match=r"lets this go in 20\.0 s only"):
        table.submit(SPEED, 70.0, "anna", deadline_s=15.0)
    slow = table.submit(SPEED, 70.0, "anna")
    assert (slow.status, table.desk.waits_for(slow.id, table.now)) == (Status.QUEUED, "its pace: 20.0 s")
    for after_s, sent in ((10, 1), (19, 1), (20, 2)):
        table.took(table.desk.tick(table.now + after_s * SECOND))
        assert len(table.written) == sent


def test_a_step_is_no_larger_than_the_policy_lets_it_be_and_starts_from_a_good_value(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(step_max=10.0)
    with pytest.raises(OutOfRange, match="is not good"):
        table.submit(SPEED, 50.0, "anna")
    table.ground.values[SPEED] = 45.0
    with pytest.raises(OutOfRange, match="a step of 11 % from 45; at most 10"):
        table.submit(SPEED, 56.0, "anna")
    assert table.submit(SPEED, 55.0, "anna").status is Status.SENT


def test_a_point_that_changed_since_the_author_looked_is_not_commanded(table: Table) -> None:
    with pytest.raises(PreconditionFailed, match=r"pump\.speed is at revision 0, not 7"):
        table.submit(SPEED, 50.0, "anna", revision=7)
    assert table.submit(SPEED, 50.0, "anna", revision=0).status is Status.SENT


def test_nothing_goes_to_a_point_whose_last_write_is_unknown_but_an_emergency(table: Table) -> None:
    lost = table.submit(SPEED, 50.0, "anna")
    table.answer(lost.id, WriteOutcome.UNKNOWN)
    waiting = table.submit(SPEED, 60.0, "anna")
    elsewhere = table.submit(STATUS, 1.0, "anna")
    assert table.sent == [lost.id, elsewhere.id]
    assert "UNKNOWN" in table.desk.waits_for(waiting.id, table.now)
    table.took(table.desk.observed(lost.id, 50.0, (), table.now))
    table.answer(elsewhere.id, WriteOutcome.ACCEPTED)
    table.took(table.desk.tick(table.now))
    assert table.sent[-1] == waiting.id


def test_an_unknown_command_that_nobody_can_read_is_settled_by_a_person(table: Table) -> None:
    lost = table.submit(SPEED, 50.0, "anna")
    with pytest.raises(Conflict, match="only an UNKNOWN"):
        table.desk.settle(lost.id, "bert", Status.FAILED, "looked", table.now)
    table.answer(lost.id, WriteOutcome.UNKNOWN)
    table.took(table.desk.settle(lost.id, "bert", Status.FAILED, "looked", table.now))
    assert table.commands[lost.id].transitions[-1].by == "bert"


def test_an_unknown_command_whose_process_can_be_read_is_not_settled_by_a_person(table: Table) -> None:
    lost = table.submit(SPEED, 50.0, "anna")
    table.answer(lost.id, WriteOutcome.UNKNOWN)
    table.took(table.desk.observed(lost.id, 20.0, (), table.now))
    with pytest.raises(Conflict, match="reads 20: the process itself says"):
        table.desk.settle(lost.id, "anna", Status.CONFIRMED, "trust me", table.now)


def test_a_point_has_so_many_open_commands_and_an_emergency_ends_them_all(table: Table) -> None:
    table.ground.not_due[FAR] = "06:00"
    for n in range(OF_POINT_MAX):
        table.submit(FAR, 1.0, "anna", at=table.now + SECOND + n)
    with pytest.raises(LimitExceeded, match=f"{OF_POINT_MAX} commands of point"):
        table.submit(FAR, 1.0, "anna")
    stop = table.submit(FAR, 0.0, "bert", priority=Priority.EMERGENCY)
    assert [c.id for c in table.commands.values() if not c.final] == [stop.id]


def test_a_link_that_could_not_send_is_asked_again_in_the_old_order(table: Table) -> None:
    first = table.submit(SPEED, 50.0, "anna")
    second = table.submit(STATUS, 1.0, "anna")
    table.answer(first.id, WriteOutcome.NOT_SENT)
    assert table.sent == [first.id]
    table.took(table.desk.tick(table.now + SECOND // 2))
    assert table.sent == [first.id, first.id]
    assert table.status(second.id) is Status.QUEUED


def test_a_bad_prediction_refuses_and_a_good_one_lets_go(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(preflight=Preflight.REFUSE)
    asked = table.desk.submit(Request("k", SPEED, 50.0), "anna", "c1", None, table.now)
    assert (asked.predictions, asked.writes) == (["c1"], [])
    assert steps(asked.kept["c1"]) == ["DRAFT"]
    table.took(table.desk.predicted("c1", Judgement(False, "P(tank_1.level<1) = 0.4"), table.now))
    assert table.status("c1") is Status.REFUSED
    table.took(table.desk.submit(Request("l", SPEED, 50.0), "anna", "c2", None, table.now))
    table.took(table.desk.predicted("c2", Judgement(True, "P(tank_1.level<1) = 0"), table.now))
    assert table.written == [(SPEED, 50.0)]


def test_a_prediction_that_never_comes_does_not_hold_a_command_for_ever(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(preflight=Preflight.WARN)
    table.took(table.desk.submit(Request("k", SPEED, 50.0), "anna", "c1", None, table.now))
    table.took(table.desk.tick(table.now + DRAFT_MAX_NS))
    assert table.status("c1") is Status.EXPIRED


def test_after_a_start_the_disk_says_what_is_open(table: Table) -> None:
    def left(identity: str, status: Status, point: str = SPEED) -> Command:
        first = (Transition(Status.QUEUED, table.now, "submitted"), Transition(status, table.now, ""))
        return Command(
            identity, identity, "anna", point, 50.0, Priority.OPERATOR, 10**18, "", status, first, None, Terms(30)
        )

    table.ground.gone.add("gone.point")
    found = Table().desk.__class__(table.ground).begin(
        [left("sent", Status.SENT), left("queued", Status.QUEUED), left("orphan", Status.QUEUED, "gone.point"),
         left("lost", Status.UNKNOWN, "gone.point")],
        [], table.now,
    )  # fmt: skip
    assert {i: c.status for i, c in found.kept.items()} == {
        "sent": Status.UNKNOWN, "orphan": Status.CANCELLED, "lost": Status.FAILED
    }  # fmt: skip
    assert (found.looks, found.writes) == (["sent"], [])


CHANGES: list[Callable[[Table, str], object]] = [
    lambda t, i: t.desk.operate(i, "anna", t.now),
    lambda t, i: t.desk.approve(i, "bert", "", t.now),
    lambda t, i: t.desk.reject(i, "bert", "", t.now),
    lambda t, i: t.desk.cancel(i, "anna", "", t.now),
    lambda t, i: t.desk.settle(i, "bert", Status.FAILED, "", t.now),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_sent_command_and_an_ended_one_take_none_of_these(
    table: Table, change: Callable[[Table, str], object]
) -> None:
    sent = table.submit(SPEED, 50.0, "anna")
    with pytest.raises(Conflict):
        change(table, sent.id)
    table.confirm(sent.id)
    with pytest.raises(Conflict, match="has ended"):
        change(table, sent.id)


def test_the_same_key_and_body_get_the_first_answer_and_another_body_a_conflict(table: Table) -> None:
    made = table.submit(SPEED, 50.0, "anna", key="k")
    again = Request("k", SPEED, 50.0)
    assert table.desk.submit(again, "anna", "c99", made, table.now).answer == table.commands[made.id]
    for other in (Request("k", SPEED, 51.0), Request("k", SPEED, 50.0, deadline_s=31.0), Request("k", STATUS, 1.0)):
        with pytest.raises(Conflict, match="was used for another"):
            table.desk.submit(other, "anna", "c99", made, table.now)


def test_what_should_have_happened_before_it_was_asked_for_is_expired(table: Table) -> None:
    with pytest.raises(Expired, match=r"its time came 31\.0 s ago"):
        table.submit(FAR, 1.0, "anna", at=table.now - 31 * SECOND)
    assert table.submit(FAR, 1.0, "anna", at=table.now - 29 * SECOND).status is Status.QUEUED


def test_what_an_emergency_stopped_does_not_start_again_by_what_was_planned(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(approvals=1)
    table.ground.not_due[STATUS] = "06:00"
    planned = table.submit(STATUS, 1.0, "anna", at=table.now + SECOND)
    chosen = table.submit(STATUS, 1.0, "anna", select=True)
    asked = table.submit(SPEED, 50.0, "anna")
    table.submit(STATUS, 0.0, "bert", priority=Priority.EMERGENCY)
    table.submit(SPEED, 0.0, "bert", priority=Priority.EMERGENCY)
    assert {table.status(c.id) for c in (planned, chosen, asked)} == {Status.SUPERSEDED}


def test_the_emergency_class_is_no_way_around_a_policy(table: Table) -> None:
    table.ground.policies[SPEED] = Policy(approvals=2)
    with pytest.raises(NotPermitted, match=r"only be set to what a \[\[stop\]\] sets"):
        table.submit(SPEED, 90.0, "anna", priority=Priority.EMERGENCY)
    assert table.submit(STATUS, 1.0, "anna", priority=Priority.EMERGENCY).status is Status.SENT
    assert table.written == [(STATUS, 1.0)]


@pytest.mark.parametrize(
    "waits", [{"select": True}, {"at": 5 * SECOND}, {"when": "x"}, {"at_plant_s": 1.0}, {"revision": 0}]
)
def test_an_emergency_that_is_to_wait_is_a_contradiction(table: Table, waits: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="waits for nothing"):
        table.submit(SPEED, 0.0, "anna", priority=Priority.EMERGENCY, **waits)
