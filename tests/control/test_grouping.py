"""Groups at work beside the dispatcher: what is sent when, and that a group that breaks is undone in the same orders."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.command import FINAL, Command, Priority, Status
from control.group import Group, GroupRequest, GroupStatus, MemberRequest, Team, group_of
from control.grouping import Grouping
from control.lease import LeaseRequest
from control.leasing import Leasing
from control.orders import Orders
from protocols.link import WriteOutcome
from tests.control.desk_ground import SECOND, SaidGround, Table
from twin.errors import Conflict, NotFound, OutOfRange, Refused, Reserved
from twin.interlock import ALLOWED
from twin.policy import FREE, Preflight

SPEED, STATUS, MODE, FAR = "pump.speed", "pump.status", "pump.mode", "far.status"
START = (MemberRequest(STATUS, 1.0, 0.0), MemberRequest(SPEED, 80.0, "previous"), MemberRequest(MODE, 4.0))


class Grouped(Table):
    """A table with groups, which follow whatever its orders changed."""

    def __post_init__(self) -> None:
        self.groups: dict[str, Team] = {}
        super().__post_init__()
        self.ground.values = {SPEED: 20.0, STATUS: 0.0, MODE: 0.0}

    def took(self, orders: Orders) -> Orders:
        if not hasattr(self, "grouping"):
            self.grouping = Grouping(self.desk, self.new_id)
        self.grouping.follow(orders, self.now)
        self.groups.update(orders.groups)
        return super().took(orders)

    def group(self, *members: MemberRequest, author: str = "anna", before: Team | None = None, **more: object) -> Group:
        asked = GroupRequest("k", members or START, **more)  # type: ignore[arg-type]
        team, orders = self.grouping.submit(asked, author, f"g{len(self.groups)}", before, self.now)
        self.groups[team.group.id] = team
        self.took(orders)
        return team.group

    def of(self, group: Group) -> list[Status]:
        return [c.status for c in self.commands.values() if c.terms.group == group.id]

    def member(self, group: Group, step: int) -> Command:
        return next(c for c in self.commands.values() if (c.terms.group, c.terms.step) == (group.id, step))

    def state(self, group: Group) -> GroupStatus:
        return self.groups[group.id].group.status


def test_in_sequence_each_member_goes_when_the_one_before_is_confirmed() -> None:
    table = Grouped()
    group = table.group()
    assert table.of(group) == [Status.SENT, Status.SCHEDULED, Status.SCHEDULED]
    table.confirm(table.sent[0])
    assert table.written == [(STATUS, 1.0), (SPEED, 80.0)]
    table.confirm(table.sent[1])
    table.confirm(table.sent[2])
    assert table.written[2:] == [(MODE, 4.0)]
    assert table.state(group) is GroupStatus.CONFIRMED
    assert table.grouping.get(group.id) is None


def test_together_no_member_waits_for_another_device() -> None:
    table = Grouped()
    table.online("dead")
    group = table.group(MemberRequest(STATUS, 1.0), MemberRequest(FAR, 1.0), order="together")
    assert table.of(group) == [Status.SENT, Status.SENT]


def test_a_refused_step_undoes_the_steps_before_it_last_first_and_sends_no_other() -> None:
    table = Grouped()
    group = table.group()
    table.confirm(table.sent[0])
    table.confirm(table.sent[1])
    table.answer(table.sent[2], WriteOutcome.REFUSED)
    assert table.state(group) is GroupStatus.COMPENSATING
    assert table.written[3:] == [(SPEED, 20.0)]  # what it reported at submission
    table.confirm(table.sent[3])
    assert table.written[4:] == [(STATUS, 0.0)]
    table.confirm(table.sent[4])
    assert table.state(group) is GroupStatus.COMPENSATED
    undo = table.commands[table.sent[4]]
    assert (undo.author, undo.key, undo.priority) == ("group:g0", "undo:0", Priority.SAFETY)


def test_a_member_in_doubt_is_undone_only_once_it_is_settled() -> None:
    table = Grouped()
    group = table.group()
    table.answer(table.sent[0], WriteOutcome.UNKNOWN)
    table.took(table.grouping.cancel(group.id, "bob", "wrong pump", table.now)[1])
    assert table.of(group) == [Status.UNKNOWN, Status.CANCELLED, Status.CANCELLED]
    assert len(table.written) == 1
    table.took(table.desk.settle(table.sent[0], "bob", Status.CONFIRMED, "it runs", table.now))
    assert table.written[1:] == [(STATUS, 0.0)]
    table.confirm(table.sent[1])
    assert table.state(group) is GroupStatus.CANCELLED
    assert table.groups[group.id].group.steps[1].by == "bob"


def test_a_group_that_is_being_undone_cannot_be_cancelled_and_an_ended_one_is_gone() -> None:
    table = Grouped()
    group = table.group(MemberRequest(STATUS, 1.0, 0.0), MemberRequest(SPEED, 80.0))
    table.confirm(table.sent[0])
    table.answer(table.sent[1], WriteOutcome.REFUSED)
    with pytest.raises(Conflict, match="is COMPENSATING and cannot become CANCELLING: step 2"):
        table.grouping.cancel(group.id, "bob", "", table.now)
    table.confirm(table.sent[2])
    with pytest.raises(NotFound):
        table.grouping.cancel(group.id, "bob", "", table.now)


def test_an_interlock_over_what_goes_first_refuses_the_whole_group_and_nothing_is_sent() -> None:
    for order, forbidden in (("sequence", STATUS), ("together", SPEED)):
        table = Grouped()
        table.ground.forbidden[forbidden] = "interlock dry does not hold"
        group = table.group(order=order)
        assert group.status is GroupStatus.REFUSED and group.final
        assert group.steps[0].detail.endswith(f"({forbidden}): interlock dry does not hold")
        assert not table.commands and not table.written


def test_in_sequence_a_later_step_is_judged_when_the_steps_before_it_have_made_its_interlock_hold() -> None:
    table = Grouped()
    table.ground.forbidden[SPEED] = "the pump does not run"
    group = table.group()
    del table.ground.forbidden[SPEED]  # the first step makes it hold
    table.confirm(table.sent[0])
    assert table.written[1:] == [(SPEED, 80.0)]
    table.ground.forbidden[MODE] = "the pump does not run"
    table.confirm(table.sent[1])
    assert table.member(group, 2).status is Status.REFUSED
    assert table.state(group) is GroupStatus.COMPENSATING


@pytest.mark.parametrize(
    ("member", "error"),
    [
        (MemberRequest(SPEED, 500.0), OutOfRange),
        (MemberRequest(SPEED, 80.0, 500.0), OutOfRange),
        (MemberRequest("pump.running", 1.0), Refused),
        (MemberRequest("pomp.speed", 1.0), NotFound),
        (MemberRequest(FAR, 1.0, "previous"), Refused),  # it reports nothing
    ],
)
def test_one_member_that_can_never_work_refuses_the_group_and_leaves_no_record(
    member: MemberRequest, error: type[Exception]
) -> None:
    table = Grouped()
    with pytest.raises(error):
        table.group(MemberRequest(STATUS, 1.0), member)
    assert not table.commands and not table.desk.open


def test_a_lease_of_somebody_else_refuses_the_group() -> None:
    table = Grouped()
    Leasing(table.desk, table.new_id).take(LeaseRequest("k", (MODE,)), "bob", "l1", table.ground.plant, None, table.now)
    with pytest.raises(Reserved, match="bob holds"):
        table.group()


def test_nothing_goes_before_every_approval_is_given() -> None:
    table = Grouped()
    table.ground.policies[MODE] = replace(FREE, approvals=1)
    group = table.group()
    assert table.of(group) == [Status.SCHEDULED, Status.SCHEDULED, Status.AWAITING_APPROVAL]
    assert not table.written
    table.took(table.desk.approve(table.member(group, 2).id, "sue", "", table.now))
    assert table.written == [(STATUS, 1.0)]


def test_together_a_member_that_is_refused_when_the_approval_comes_keeps_the_others_from_being_sent() -> None:
    table = Grouped()
    table.ground.policies[MODE] = replace(FREE, approvals=1)
    group = table.group(order="together")
    table.ground.forbidden[SPEED] = "the valve is shut"
    table.took(table.desk.approve(table.member(group, 2).id, "sue", "", table.now))
    assert not table.written
    assert table.state(group) is GroupStatus.COMPENSATED


def test_a_group_whose_approval_is_rejected_has_moved_nothing() -> None:
    table = Grouped()
    table.ground.policies[MODE] = replace(FREE, approvals=1)
    group = table.group()
    table.took(table.desk.reject(table.member(group, 2).id, "sue", "no", table.now))
    assert table.state(group) is GroupStatus.COMPENSATED
    assert table.groups[group.id].group.steps[-1].detail == "nothing to compensate"
    assert not table.written and all(s in FINAL for s in table.of(group))


def test_a_group_waits_for_the_predictions_of_its_members() -> None:
    table = Grouped()
    table.ground.policies[SPEED] = replace(FREE, preflight=Preflight.REFUSE)
    group = table.group()
    assert table.member(group, 1).status is Status.DRAFT and not table.written
    table.took(table.desk.predicted(table.member(group, 1).id, ALLOWED, table.now))
    assert table.written == [(STATUS, 1.0)]


def test_a_member_that_waits_too_long_for_its_turn_ends_the_group() -> None:
    table = Grouped()
    group = table.group()
    table.answer(table.sent[0], WriteOutcome.UNKNOWN)  # and its device stays dead
    table.now += 25 * 3600 * SECOND
    table.took(table.desk.tick(table.now))
    assert table.state(group) is GroupStatus.COMPENSATING
    assert "what it waited for did not come in time" in table.groups[group.id].group.steps[-1].detail
    assert len(table.written) == 1


def test_a_compensation_that_the_device_refuses_fails_the_group_after_the_others_are_undone() -> None:
    table = Grouped()
    group = table.group()
    table.confirm(table.sent[0])
    table.confirm(table.sent[1])
    table.answer(table.sent[2], WriteOutcome.REFUSED)
    table.answer(table.sent[3], WriteOutcome.REFUSED)
    table.confirm(table.sent[4])
    assert table.written[4:] == [(STATUS, 0.0)]
    assert table.state(group) is GroupStatus.FAILED
    assert "step 2 (pump.speed) is REFUSED" in table.groups[group.id].group.steps[-1].detail


def test_interlocks_hold_for_compensations_and_approvals_were_given_with_the_group() -> None:
    table = Grouped()
    group = table.group(MemberRequest(STATUS, 1.0, 0.0), MemberRequest(SPEED, 80.0, 20.0), MemberRequest(MODE, 4.0))
    table.confirm(table.sent[0])
    table.confirm(table.sent[1])
    table.ground.policies[SPEED] = replace(FREE, approvals=2, preflight=Preflight.REFUSE)
    table.ground.forbidden[STATUS] = "the valve is shut"
    table.answer(table.sent[2], WriteOutcome.REFUSED)
    assert table.written[3:] == [(SPEED, 20.0)]
    table.confirm(table.sent[3])
    assert table.state(group) is GroupStatus.FAILED
    assert "step 1 (pump.status) is REFUSED: the valve is shut" in table.groups[group.id].group.steps[-1].detail


def test_what_somebody_else_has_stopped_since_is_not_started_again_by_a_compensation() -> None:
    table = Grouped()
    group = table.group(
        MemberRequest(STATUS, 0.0, 1.0), MemberRequest(SPEED, 80.0, "previous"), MemberRequest(MODE, 4.0)
    )
    table.confirm(table.sent[0])
    table.confirm(table.sent[1])
    table.now += 1
    table.submit(STATUS, 0.0, "bob", priority=Priority.EMERGENCY)
    table.confirm(table.sent[3])
    table.answer(table.sent[2], WriteOutcome.REFUSED)
    table.confirm(table.sent[4])
    assert table.written[3:] == [(STATUS, 0.0), (SPEED, 20.0)]
    assert table.state(group) is GroupStatus.FAILED
    said = table.groups[group.id].group.steps[-1].detail
    assert said.endswith("step 1 (pump.status) is REFUSED: somebody else has commanded pump.status since")


def test_a_point_that_is_commanded_twice_by_its_group_goes_back_both_steps() -> None:
    table = Grouped()
    group = table.group(MemberRequest(SPEED, 40.0, 20.0), MemberRequest(SPEED, 60.0, 40.0), MemberRequest(MODE, 4.0))
    for step in range(2):
        table.confirm(table.sent[step])
        table.now += 1
    table.answer(table.sent[2], WriteOutcome.REFUSED)
    for step in (3, 4):
        table.now += 1
        table.confirm(table.sent[step])
    assert table.written[3:] == [(SPEED, 40.0), (SPEED, 20.0)]
    assert table.state(group) is GroupStatus.COMPENSATED


def test_a_point_that_an_edit_took_away_cannot_be_undone_and_the_group_says_so() -> None:
    table = Grouped()
    table.online("dead")
    group = table.group(MemberRequest(FAR, 1.0, 0.0), MemberRequest(SPEED, 80.0))
    table.confirm(table.sent[0])
    table.ground.gone.add(FAR)
    table.answer(table.sent[1], WriteOutcome.REFUSED)
    assert table.state(group) is GroupStatus.FAILED
    assert "step 1 (far.status) cannot be compensated" in table.groups[group.id].group.steps[-1].detail


def test_a_group_that_supersedes_another_groups_member_undoes_that_group_in_the_same_orders() -> None:
    table = Grouped()
    first = table.group(MemberRequest(STATUS, 1.0, 0.0), MemberRequest(SPEED, 80.0, 20.0))
    table.confirm(table.sent[0])
    table.online("plc", False)
    # The link broke while its second step was on its way: it waits in the queue again.
    table.answer(table.sent[1], WriteOutcome.NOT_SENT)
    assert table.member(first, 1).status is Status.QUEUED
    table.submit(SPEED, 50.0, "bob")
    assert table.member(first, 1).status is Status.SUPERSEDED
    assert table.state(first) is GroupStatus.COMPENSATING
    undo = next(c for c in table.commands.values() if c.author == "group:g0")
    assert (undo.point, undo.status) == (STATUS, Status.QUEUED)


def test_the_same_key_and_body_is_the_same_group_and_another_body_is_a_conflict() -> None:
    table = Grouped()
    group = table.group()
    table.ground.values.clear()  # what is reported by now does not matter any more
    assert table.group(before=table.groups[group.id]) == group
    with pytest.raises(Conflict, match="was used for another group"):
        table.group(order="together", before=table.groups[group.id])


def restarted(table: Grouped) -> Grouped:
    """The server stops and starts: only what was kept is left."""
    new = Grouped(SaidGround(), table.now)
    new.ground, new.desk._ground = table.ground, table.ground
    new.commands, new.groups, new.written, new.sent = table.commands, table.groups, table.written, table.sent
    new._numbers = table._numbers
    left = [c for c in table.commands.values() if not c.final]
    orders = new.desk.begin(left, [], new.now)
    teams = [Team(t.group, {}, {}) for t in table.groups.values() if not t.group.final]
    for command in table.commands.values():
        for team in teams:
            if group_of(command) == team.group.id:
                team.note(command)
    new.groups.update({t.group.id: t for t in teams})
    new.grouping.begin(teams, orders, new.now)
    new.took(orders)
    new.online("plc")
    return new


@pytest.mark.parametrize("crash_after", range(6))
def test_a_group_goes_on_after_a_restart_at_any_step_of_it(crash_after: int) -> None:
    table = Grouped()
    group = table.group()
    for step in range(5):
        if step == crash_after:
            table = restarted(table)
        identity = table.sent[step]
        if table.status(identity) is Status.UNKNOWN:  # it was on its way when the server stopped
            table.took(
                table.desk.settle(identity, "bob", Status.FAILED if step == 2 else Status.CONFIRMED, "", table.now)
            )
        elif step == 2:
            table.answer(identity, WriteOutcome.REFUSED)
        else:
            table.confirm(identity)
    if crash_after == 5:
        table = restarted(table)
    assert table.written == [(STATUS, 1.0), (SPEED, 80.0), (MODE, 4.0), (SPEED, 20.0), (STATUS, 0.0)]
    assert table.state(group) is GroupStatus.COMPENSATED
    assert not table.desk.open
